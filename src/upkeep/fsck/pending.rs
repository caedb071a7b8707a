//! Pending transactions. Their number is bounded, so that all of them can be held in mind.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::access::READ;
use super::check::Check;
use super::finding::{Kind, Severity};
use super::pending_listing::{PendingListing, Reach};
use super::suspect::Suspect;
use crate::model::{ChunkDigest, ChunkId, Head, Transaction, TransactionId, limits};
use crate::store::layout::{Area, Thing};
use crate::store::{self, Position};

/// The areas in the order in which a thing is looked for that may move meanwhile.
pub(super) const LOOKS: [Area; 3] = [Area::Committed, Area::Incoming, Area::Committed];

impl Check<'_> {
    /// Reads the pending transactions.
    pub fn read_pending(&self) {
        let Some((mut ids, mut pending)) = self.list_pending() else {
            return;
        };
        // A device that commits or rebases meanwhile has another tip: then it is looked at again.
        for _ in 0..limits::LOOKS {
            if pending.local.is_ok() && pending.reach == Reach::Whole
                || self.local().ok() == pending.local.as_ref().ok().copied()
            {
                break;
            }
            match self.list_pending() {
                Some(again) => (ids, pending) = again,
                None => return,
            }
        }
        self.tell_local(&pending);
        for id in ids {
            if self.is_gone() {
                return;
            }
            self.pending(id, &pending);
        }
    }

    /// Lists the pending transactions; `None` where they cannot be, which has been reported. The tip of what is pending
    /// first: what it reaches was there before, whatever is done meanwhile.
    fn list_pending(&self) -> Option<(Vec<TransactionId>, PendingListing)> {
        let local = self.local();
        // What is wrong with the directory has been reported.
        let ids = self.store().list_pending(&self.folder).ok()?;
        let mut starts = HashMap::new();
        for id in &ids {
            match self.store().start_of(&self.folder.pending(*id), *id) {
                Ok(None) => {}
                Ok(start) => drop(starts.insert(*id, start)),
                // It is read again below, and what is wrong with it reported.
                Err(_) => drop(starts.insert(*id, None)),
            }
        }
        let head = self.seen(&self.folder.head(), self.head_now());
        let mut pending = PendingListing {
            starts,
            head: head.flatten(),
            on_chain: HashSet::new(),
            local,
            reached: HashSet::new(),
            reach: Reach::Whole,
        };
        if !matches!(pending.local, Ok(None)) {
            let tip = pending.local.as_ref().ok().copied().flatten();
            pending.on_chain = self.ends_on_the_chain(&pending, tip);
            pending.follow();
        }
        Some((ids, pending))
    }

    /// The tip and all parents, as far as they are on the chain, or may be where that cannot be told.
    fn ends_on_the_chain(
        &self,
        pending: &PendingListing,
        tip: Option<TransactionId>,
    ) -> HashSet<TransactionId> {
        let parents = pending.starts.values().flatten().map(|start| start.parent);
        let asked: HashSet<TransactionId> = parents.chain(tip).collect();
        let is_there = |id: &TransactionId| match pending.head {
            Some(head) => {
                let position = self.store().user(self.user).position(head, *id);
                !matches!(position, Ok(Position::OffChain))
            }
            None => !pending.starts.contains_key(id),
        };
        asked.into_iter().filter(is_there).collect()
    }

    /// HEAD as it is now; `None` where something is wrong with it, which has been reported.
    fn head_now(&self) -> store::Result<Option<Head>> {
        if self.chain.head.is_none() {
            return Ok(None);
        }
        let Some((_, id)) = self.store().read_head(&self.folder)? else {
            return Ok(None);
        };
        if id == TransactionId::ROOT {
            return Ok(Some(Head::ROOT));
        }
        match self.store().start_of(&self.folder.transaction(id), id) {
            Ok(start) => Ok(start.map(|start| Head { id, seq: start.seq })),
            Err(store::Error::Damaged { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn pending(&self, id: TransactionId, pending: &PendingListing) {
        let place = self.folder.pending(id);
        let thing = Thing::Transaction(id);
        let (meta, transaction) = match self.store().read_transaction_file(&place, id) {
            Ok(Some(read)) => read,
            // Committed or collected since it was listed.
            Ok(None) => return,
            Err(error) => {
                self.trouble(&place, &error, Kind::TransactionDamaged);
                // What a device is still to say stays where it is, whatever is the matter with it.
                if matches!(error, store::Error::Damaged { .. }) && !pending.reached.contains(&id) {
                    self.note_damaged(Area::Incoming, thing);
                }
                return;
            }
        };
        self.mode(&place, &meta, READ);
        self.content_ids.note(&transaction, &place);
        if let Some(head) = pending.head {
            // What is wrong with the chain has been reported.
            let position = self.store().user(self.user).position(head, id);
            if matches!(position, Ok(Position::OnChain(_))) {
                return self.suspect(Suspect::Leftover(thing));
            }
            self.check_parent(&transaction, pending, head);
        }
        for chunk in &transaction.chunks {
            self.check_chunk(chunk, &transaction, pending);
        }
    }

    fn check_parent(&self, transaction: &Transaction, pending: &PendingListing, head: Head) {
        let (id, parent) = (transaction.id, transaction.parent);
        let place = self.folder.pending(id);
        let seq = match pending.starts.get(&parent) {
            Some(Some(start)) => start.seq,
            // It is there, and cannot be read, which is reported with it.
            Some(None) => return,
            None => match self.store().user(self.user).position(head, parent) {
                Ok(Position::OnChain(seq)) => seq,
                Ok(Position::OffChain) => {
                    let still = self.is_there(Area::Incoming, &Thing::Transaction(id));
                    if self.seen(&place, still) == Some(true) {
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
            if !pending.reached.contains(&id) {
                self.note_damaged(Area::Incoming, Thing::Transaction(id));
            }
        }
    }

    /// Whether a pending transaction that was found wrong still is: unreadable, or with a number that is
    /// not its parent's plus one.
    pub fn is_wrong(&self, id: TransactionId) -> store::Result<bool> {
        let place = self.folder.pending(id);
        let there = match self.store().read_transaction_file(&place, id) {
            Ok(Some((_, there))) => there,
            Ok(None) => return Ok(false),
            Err(store::Error::Damaged { .. }) => return Ok(true),
            Err(other) => return Err(other),
        };
        let before = self.number_of(there.parent)?;
        Ok(before.is_some_and(|seq| there.seq != seq + 1))
    }

    /// The number of a transaction that is pending or on the chain; `None` where that is not known.
    fn number_of(&self, id: TransactionId) -> store::Result<Option<u64>> {
        match self.store().start_of(&self.folder.pending(id), id) {
            Ok(Some(start)) => return Ok(Some(start.seq)),
            Ok(None) | Err(store::Error::Damaged { .. }) => {}
            Err(other) => return Err(other),
        }
        let Some(head) = self.head_now()? else {
            return Ok(None);
        };
        match self.store().user(self.user).position(head, id) {
            Ok(Position::OnChain(seq)) => Ok(Some(seq)),
            Ok(_) | Err(store::Error::Damaged { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn check_chunk(&self, id: &ChunkId, transaction: &Transaction, pending: &PendingListing) {
        let mut thing = Self::thing_of(id);
        let place = self.folder.thing(Area::Incoming, &thing);
        if let ChunkId::Alias(alias) = id {
            // One that is damaged is reported where the files are read.
            match self.stands_for(alias) {
                Ok(Some(digest)) => thing = Thing::Chunk(digest),
                Ok(None) => {}
                Err(store::Error::Damaged { .. }) => return,
                Err(other) => return self.trouble(&place, &other, Kind::Unreadable),
            }
        }
        // gc takes the transaction before its chunks, so this tells whether it was gc.
        let still = Thing::Transaction(transaction.id);
        let missing = self.is_in(&LOOKS, &thing).and_then(|there| {
            let missing = !there && self.is_there(Area::Incoming, &still)?;
            Ok(missing)
        });
        let place = self.folder.thing(Area::Incoming, &thing);
        if self.seen(&place, missing) != Some(true) {
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
        self.report(Kind::ChunkMissing, severity, place, what);
    }

    fn stands_for(&self, alias: &Uuid) -> store::Result<Option<ChunkDigest>> {
        for area in LOOKS {
            let read = (self.store()).read_alias(&self.folder.alias(area, alias))?;
            if let Some((_, digest)) = read {
                return Ok(Some(digest));
            }
        }
        Ok(None)
    }
}
