//! Pending transactions. Their number is bounded, so that all of them can be held in mind.

use std::collections::HashMap;

use super::doubts::Doubt;
use super::user::{Check, READ};
use super::{Kind, Severity};
use crate::model::{ChunkId, Head, Transaction, TransactionId};
use crate::store::json::Start;
use crate::store::layout::{Area, Thing};
use crate::store::{self, Position};

/// The areas in the order in which a thing is looked for that may move meanwhile.
const LOOKS: [Area; 3] = [Area::Committed, Area::Incoming, Area::Committed];

/// The pending transactions, as they were listed, and HEAD after that.
struct Pending {
    starts: HashMap<TransactionId, Start>,
    head: Option<Head>,
}

impl Pending {
    /// Whether HEAD may still go there.
    fn is_live(&self, id: TransactionId) -> bool {
        let (mut here, mut steps) = (id, 0);
        while let Some(start) = self.starts.get(&here) {
            if self.head.is_some_and(|head| head.id == start.parent) {
                return true;
            }
            here = start.parent;
            steps += 1;
            // Damage can make a ring of parents.
            if steps > self.starts.len() {
                return false;
            }
        }
        false
    }
}

impl Check<'_> {
    /// Reads the pending transactions.
    pub fn read_pending(&self) {
        let ids = match self.store().list_pending(&self.folder) {
            Ok(ids) => ids,
            // What is wrong with the directory has been reported.
            Err(_) => return,
        };
        let mut starts = HashMap::new();
        for id in &ids {
            let place = self.folder.pending(*id);
            if let Ok(Some(start)) = self.store().start_of(&place, *id) {
                starts.insert(*id, start);
            }
        }
        let pending = Pending {
            starts,
            head: self.head_now(),
        };
        for id in ids {
            if self.is_gone() {
                return;
            }
            self.pending(id, &pending);
        }
    }

    /// HEAD as it is now, if all is well with it.
    fn head_now(&self) -> Option<Head> {
        let (_, id) = self.store().read_head(&self.folder).ok()??;
        if id == TransactionId::ROOT {
            return Some(Head::ROOT);
        }
        let start = self.store().start_of(&self.folder.transaction(id), id);
        let seq = start.ok()??.seq;
        Some(Head { id, seq })
    }

    fn pending(&self, id: TransactionId, pending: &Pending) {
        let place = self.folder.pending(id);
        let thing = Thing::Transaction(id);
        let (meta, transaction) = match self.store().read_transaction_file(&place, id) {
            Ok(Some(read)) => read,
            // Committed or collected since it was listed.
            Ok(None) => return,
            Err(error) => {
                self.trouble(&place, &error, Kind::TransactionDamaged);
                if matches!(error, store::Error::Damaged { .. }) {
                    self.note_damaged(Area::Incoming, thing);
                }
                return;
            }
        };
        self.mode(&place, &meta, READ);
        if let Some(head) = pending.head {
            let position = self.store().position(&self.folder, head, id);
            if matches!(position, Ok(Position::OnChain(_))) {
                return self.doubt(Doubt::Leftover(thing));
            }
            self.check_parent(&transaction, pending, head);
        }
        for chunk in &transaction.chunks {
            self.check_chunk(chunk, &transaction, pending);
        }
    }

    fn check_parent(&self, transaction: &Transaction, pending: &Pending, head: Head) {
        let (id, parent) = (transaction.id, transaction.parent);
        let place = self.folder.pending(id);
        let seq = match pending.starts.get(&parent) {
            Some(start) => start.seq,
            None => match self.store().position(&self.folder, head, parent) {
                Ok(Position::OnChain(seq)) => seq,
                Ok(Position::OffChain) => {
                    if self.is_there(Area::Incoming, &Thing::Transaction(id)) {
                        let what = format!("its parent {parent} is not there: it is dead");
                        self.harmless(Kind::Orphan, place, what);
                    }
                    return;
                }
                // What is wrong with the chain has been reported.
                _ => return,
            },
        };
        if transaction.seq != seq + 1 {
            let (said, expected) = (transaction.seq, seq + 1);
            let what = format!("it says that its number is {said}, where it should be {expected}");
            self.damage(Kind::WrongSeq, place, what);
            self.note_damaged(Area::Incoming, Thing::Transaction(id));
        }
    }

    /// Whether a pending transaction that was found wrong still is: unreadable, or with a number that is
    /// not its parent's plus one.
    pub fn is_wrong(&self, id: TransactionId) -> bool {
        let place = self.folder.pending(id);
        let (start, head) = match self.store().read_transaction_file(&place, id) {
            Ok(Some((_, there))) => (there, self.head_now()),
            Ok(None) => return false,
            Err(error) => return matches!(error, store::Error::Damaged { .. }),
        };
        let parent = start.parent;
        let pending = self.store().start_of(&self.folder.pending(parent), parent);
        let before = match (pending, head) {
            (Ok(Some(parent)), _) => Some(parent.seq),
            (_, Some(head)) => match self.store().position(&self.folder, head, parent) {
                Ok(Position::OnChain(seq)) => Some(seq),
                _ => None,
            },
            _ => None,
        };
        before.is_some_and(|seq| start.seq != seq + 1)
    }

    fn check_chunk(&self, id: &ChunkId, transaction: &Transaction, pending: &Pending) {
        let found = |thing: &Thing| LOOKS.into_iter().any(|area| self.is_there(area, thing));
        let mut thing = Self::thing_of(id);
        if let ChunkId::Alias(alias) = id {
            let read = LOOKS.into_iter().find_map(|area| {
                self.store()
                    .read_alias(&self.folder.alias(area, alias))
                    .ok()?
            });
            if let Some((_, digest)) = read {
                thing = Thing::Chunk(digest);
            }
        }
        if found(&thing) {
            return;
        }
        // gc takes the transaction before its chunks, so this tells whether it was gc.
        let still = Thing::Transaction(transaction.id);
        if !self.is_there(Area::Incoming, &still) {
            return;
        }
        let by = Self::named_by(transaction.id, transaction.seq);
        let (severity, what) = if pending.is_live(transaction.id) {
            (
                Severity::Damage,
                format!("pending {by}, and it is not there"),
            )
        } else {
            let what = format!("dead {by}, and it is not there, as gc may leave it");
            (Severity::Harmless, what)
        };
        let place = self.folder.thing(Area::Incoming, &thing);
        self.report(Kind::ChunkMissing, severity, place, what);
    }
}
