//! Suspects: files off the chain, left over, past HEAD. An advance under way looks like that too, so they are
//! gathered, and looked at again while no advance can be under way.

use std::sync::atomic::Ordering;

use super::check::{Check, remember};
use super::finding::Kind;
use super::suspect::Suspect;
use crate::disk::Place;
use crate::model::{Head, TransactionId, limits};
use crate::store::layout::{Area, Thing};
use crate::store::{self, Position, log};

impl Check<'_> {
    /// Takes note of a suspect, and settles them when they are many.
    pub fn suspect(&self, suspect: Suspect) {
        let mut suspects = self.suspects.lock().expect("nobody panics with this");
        suspects.push(suspect);
        let many = suspects.len() >= limits::FSCK_BATCH;
        drop(suspects);
        if many {
            self.settle();
        }
    }

    /// Looks at each suspect again, under the shared lock where it can be had.
    pub fn settle(&self) {
        let suspects = std::mem::take(&mut *self.suspects.lock().expect("nobody panics with this"));
        if suspects.is_empty() || self.is_gone() {
            return;
        }
        let lock = self
            .store()
            .user(self.user)
            .though_frozen()
            .shared_if_there();
        let _lock = self.seen(&self.folder.lock(), lock);
        let Some(Some(head)) = self.seen(&self.folder.head(), self.catch_up()) else {
            return;
        };
        for suspect in suspects {
            let (kind, place, what) = self.words(&suspect);
            if self.seen(&place, self.holds(&suspect, head)) != Some(true) {
                continue;
            }
            self.harmless(kind, place, what);
            remember(&mut self.todo().suspects, suspect);
        }
    }

    /// Brings the filters up to HEAD as it is now; `None` where they cannot tell what is on the chain.
    pub fn catch_up(&self) -> store::Result<Option<Head>> {
        let mut reached = self.reached.lock().expect("nobody panics with this");
        let Some(before) = reached.filter(|_| self.chain.whole) else {
            return Ok(None);
        };
        let Some((_, id)) = self.store().read_head(&self.folder)? else {
            return Ok(None);
        };
        if id == before.id {
            return Ok(Some(before));
        }
        let start = self.store().start_of(&self.folder.transaction(id), id)?;
        let (Some(start), Some(log)) = (start, self.store().log_to_read(&self.folder)?) else {
            return Ok(None);
        };
        let head = Head { id, seq: start.seq };
        for end in [before, head] {
            if end.seq > 0 && log::look_up(&log, end.seq)? != Some(end.id) {
                return Ok(None);
            }
        }
        for seq in before.seq + 1..=head.seq {
            let Some(id) = log::look_up(&log, seq)? else {
                return Ok(None);
            };
            if !self.learn(id, seq)? {
                return Ok(None);
            }
        }
        *reached = Some(head);
        Ok(*reached)
    }

    /// Puts what a transaction names into the filters; says `false` where it is not there.
    fn learn(&self, id: TransactionId, seq: u64) -> store::Result<bool> {
        let place = self.folder.transaction(id);
        let there = self.store().read_transaction_file(&place, id)?;
        let Some((_, transaction)) = there.filter(|(_, transaction)| transaction.seq == seq) else {
            return Ok(false);
        };
        self.members.insert(id.as_bytes());
        for chunk in &transaction.chunks {
            self.look_for(chunk);
        }
        Ok(true)
    }

    /// Whether the chain may name it. `false` is certain.
    pub fn may_be_named(&self, thing: &Thing) -> bool {
        let blind = self.blind.load(Ordering::Relaxed) && matches!(thing, Thing::Chunk(_));
        blind || self.seems_named(thing)
    }

    /// Whether the chain names it. `true` is almost certain.
    pub fn seems_named(&self, thing: &Thing) -> bool {
        match thing {
            Thing::Chunk(digest) => self.named.may_have(digest.as_bytes()),
            Thing::Alias(alias) => self.named.may_have(alias.as_bytes()),
            Thing::Transaction(id) => self.members.may_have(id.as_bytes()),
        }
    }

    /// Whether a suspect is still one. To be asked after [`Check::catch_up`], which gave the head.
    pub fn holds(&self, suspect: &Suspect, head: Head) -> store::Result<bool> {
        Ok(match suspect {
            Suspect::OffChain(thing) => {
                self.is_there(Area::Committed, thing)?
                    && !self.may_be_named(thing)
                    && !self.is_checkpoints(thing)?
            }
            Suspect::Leftover(thing) => {
                self.is_there(Area::Committed, thing)?
                    && self.is_there(Area::Incoming, thing)?
                    && match thing {
                        Thing::Transaction(id) => {
                            let at = self.store().user(self.user).position(head, *id)?;
                            matches!(at, Position::OnChain(_))
                        }
                        other => self.seems_named(other),
                    }
            }
            Suspect::LogTail => match self.store().open_log(&self.folder)? {
                Some(log) => log.meta()?.bytes > log::LINE * head.seq,
                None => false,
            },
        })
    }

    fn words(&self, suspect: &Suspect) -> (Kind, Place, &'static str) {
        let at = |area, thing| self.folder.thing(area, thing);
        match suspect {
            Suspect::OffChain(thing) => (
                Kind::OffChain,
                at(Area::Committed, thing),
                "the chain does not name it: left behind by an advance that did not come to its end",
            ),
            Suspect::Leftover(thing) => (
                Kind::Leftover,
                at(Area::Incoming, thing),
                "committed already: gc drops it",
            ),
            Suspect::LogTail => (
                Kind::LogTail,
                self.folder.log(),
                "it goes on after HEAD; the next advance cuts it",
            ),
        }
    }
}
