//! The sweep: the removal of what was marked, as far as a second look under the lock agrees.

use super::event::Garbage;
use super::mark::{Claim, Mark, Old, abandoned, leftover};
use crate::model::{ChunkId, limits};
use crate::store::{Error, Exclusive, Item, Mistake, Swept, User};

/// Why a sweep does not go on.
pub enum SweepStop {
    /// Another collection swept since the mark: an id that went may have come again with other content.
    Overtaken,
    Error(Error),
}

impl From<Error> for SweepStop {
    fn from(error: Error) -> Self {
        SweepStop::Error(error)
    }
}

/// A step of a sweep: an `Err` ends the sweep.
pub type SweepStep = std::result::Result<(), SweepStop>;

/// The removal of what was marked, as far as a second look under the lock agrees.
pub struct Sweep<'a> {
    pub user: &'a User,
    pub mark: Mark,
    /// How much was made young because its date could not be right.
    pub redated: u64,
    /// How much was given its place in the committed area.
    pub put_back: u64,
}

impl Sweep<'_> {
    /// Removes what was marked, children before parents and transactions before chunks, and calls `each` for
    /// everything that went. Costs the lock for each batch.
    ///
    /// # Errors
    /// The rest stays, and the store is sound.
    pub fn run(&mut self, each: &mut dyn FnMut(Garbage)) -> SweepStep {
        if self.user.store().mistakes.made(Mistake::ParentsFirst) {
            self.mark.garbage.reverse();
            self.mark.old.sort_unstable_by_key(|old| old.id);
            self.old(each)?;
            return self.transactions(each);
        }
        self.redate()?;
        self.committed(each)?;
        self.put_back()?;
        self.mend_checkpoint()?;
        self.transactions(each)?;
        self.old(each)?;
        self.leftovers(each)?;
        self.checkpoint(each)
    }

    /// The lock, and a look at what came since the mark: that and what it needs is spared.
    pub(super) fn lock(&mut self) -> std::result::Result<Exclusive, SweepStop> {
        let lock = self.user.exclusive_blocking()?;
        let lock = lock.ok_or(Error::UserGone)?;
        if self.user.sweep_stamp()? != self.mark.stamp {
            return Err(SweepStop::Overtaken);
        }
        for id in lock.unseen(&self.mark.seen)? {
            self.mark.spare(self.user, id)?;
        }
        Ok(lock)
    }

    /// First of all: from then on they are as young to everybody as they are to this run.
    fn redate(&mut self) -> SweepStep {
        let misdated = std::mem::take(&mut self.mark.misdated);
        for batch in misdated.chunks(limits::SWEEP_FILES) {
            let lock = self.lock()?;
            for (item, time) in lock.redate(batch, &self.mark.dates)? {
                self.redated += 1;
                if let Item::Transaction(id) = item
                    && let Some(seen) = self.mark.seen.get_mut(&id)
                {
                    seen.time = time;
                }
            }
        }
        Ok(())
    }

    fn committed(&mut self, each: &mut dyn FnMut(Garbage)) -> SweepStep {
        let committed = std::mem::take(&mut self.mark.committed);
        for batch in committed.chunks(limits::SWEEP_FILES) {
            let lock = self.lock()?;
            self.mark.stamp = lock.note_sweep()?;
            for id in batch {
                if lock.sweep_committed(*id)? == Swept::Gone {
                    each(leftover(Item::Transaction(*id)));
                }
            }
        }
        Ok(())
    }

    /// Gives what the chain names its place in the committed area. Where that cannot be done, it stays, and all else
    /// goes: a full disk may want just that.
    fn put_back(&mut self) -> SweepStep {
        for batch in self.mark.named().chunks(limits::SWEEP_FILES) {
            let lock = self.lock()?;
            match lock.put_back(batch) {
                Ok(files) => self.put_back += files,
                Err(Error::UserGone) => return Err(Error::UserGone.into()),
                Err(error) => {
                    self.mark.trouble = Some(error);
                    break;
                }
            }
        }
        Ok(())
    }

    fn transactions(&mut self, each: &mut dyn FnMut(Garbage)) -> SweepStep {
        let garbage = std::mem::take(&mut self.mark.garbage);
        let mut gone = false;
        for batch in garbage.chunks(limits::SWEEP_FILES) {
            let lock = self.lock()?;
            self.mark.stamp = lock.note_sweep()?;
            for id in batch {
                if self.mark.spared.contains(id) {
                    continue;
                }
                // From here on, whatever comes under this id is new.
                let Some(seen) = self.mark.seen.remove(id) else {
                    continue;
                };
                // Children were before: none of them is left that could be put again later.
                match lock.sweep_transaction(*id, seen.time)? {
                    Swept::Gone => {
                        gone = true;
                        each(abandoned(Item::Transaction(*id), seen.bytes));
                    }
                    Swept::Fresher => self.mark.spare(self.user, *id)?,
                    Swept::NotThere | Swept::Needed => {}
                }
            }
        }
        if gone {
            self.user.sync_swept_transactions()?;
        }
        Ok(())
    }

    fn old(&mut self, each: &mut dyn FnMut(Garbage)) -> SweepStep {
        let mut next = 0;
        let mut aliases = Vec::new();
        while next < self.mark.old.len() {
            if !aliases.is_empty() && matches!(self.mark.old[next].id, ChunkId::Digest(_)) {
                self.user.sync_swept_aliases(&aliases)?;
                aliases.clear();
            }
            let lock = self.lock()?;
            let is_chunk = |old: &Old| matches!(old.id, ChunkId::Digest(_));
            let kind = is_chunk(&self.mark.old[next]);
            let (mut files, mut bytes) = (0, 0);
            while let Some(old) = self.mark.old.get(next)
                && is_chunk(old) == kind
                && files < limits::SWEEP_FILES
                && bytes < limits::SWEEP_BYTES
            {
                next += 1;
                if old.spared {
                    continue;
                }
                files += 1;
                let is_old = |time| self.mark.is_old(time);
                match lock.sweep_chunk(&old.id, old.claim == Claim::Unnamed, is_old)? {
                    Swept::Gone => {
                        bytes += old.bytes;
                        each(abandoned(old.id.into(), old.bytes));
                        if let ChunkId::Alias(alias) = old.id {
                            aliases.push(alias);
                        }
                    }
                    Swept::Needed => {
                        let time = old.time;
                        self.mark.stays(time);
                    }
                    Swept::Fresher | Swept::NotThere => {}
                }
            }
        }
        Ok(())
    }

    fn leftovers(&mut self, each: &mut dyn FnMut(Garbage)) -> SweepStep {
        let leftovers = std::mem::take(&mut self.mark.leftovers);
        for batch in leftovers.chunks(limits::SWEEP_FILES) {
            let lock = self.lock()?;
            let swept = lock.sweep_leftovers(batch)?;
            for (id, swept) in batch.iter().zip(swept) {
                if swept == Swept::Gone {
                    each(leftover((*id).into()));
                }
            }
        }
        Ok(())
    }
}
