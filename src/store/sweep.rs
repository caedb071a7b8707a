//! Garbage collection's removals, each after a second look under the exclusive lock.
//!
//! Which of it is garbage is decided in [`crate::rules::garbage`], in which order it goes in
//! [`crate::upkeep::gc`]. Nothing that is removed needs a new file, so that it works on a full disk, and nothing
//! in the committed area is touched: what the chain names gets its name there back.

use std::collections::HashMap;
use std::time::SystemTime;

use super::Result;
use super::items::{Item, Swept};
use super::layout::{Area, Thing};
use super::lock::Exclusive;
use super::mistake::Mistake;
use crate::disk::{Meta, Target};
use crate::model::{ChunkId, TransactionId, limits};
use crate::rules::dates::Dates;
use crate::rules::garbage::Ground;

impl Exclusive {
    /// Makes young, durably, what has a date that cannot be right, if it has it still; says which and since
    /// when they are. Nobody else dates them meanwhile.
    pub fn redate(&self, items: &[Item], dates: &Dates) -> Result<Vec<(Item, SystemTime)>> {
        let (mut redated, mut targets) = (Vec::new(), Vec::new());
        for item in items {
            let place = self.place_of(item);
            let wrong = |meta: Meta| dates.are_not(meta.modified);
            if !self.store.meta_if_there(&place)?.is_some_and(wrong) {
                continue;
            }
            let file = self.store.disk.open(&place)?;
            let now = self.store.disk.now();
            file.touch(now)?;
            redated.push((item.clone(), now));
            if targets.len() < limits::SYNCED_APART {
                targets.push(Target::File(file));
            }
        }
        if redated.len() > targets.len() {
            self.store.disk.sync_everything()?;
        } else {
            self.store.disk.sync(&targets)?;
        }
        Ok(redated)
    }

    /// The pending transactions that were not there when these were seen.
    pub fn unseen<T>(&self, seen: &HashMap<TransactionId, T>) -> Result<Vec<TransactionId>> {
        if self.store.mistakes.made(Mistake::NoSecondLook) {
            return Ok(Vec::new());
        }
        let mut ids = self.store.list_pending(&self.folder)?;
        ids.retain(|id| !seen.contains_key(id));
        Ok(ids)
    }

    /// Removes a pending transaction, unless it was put again since it was seen with this time.
    /// To be called after [`Exclusive::note_sweep`].
    pub fn sweep_transaction(&self, id: TransactionId, time: SystemTime) -> Result<Swept> {
        let place = self.folder.pending(id);
        let Some(meta) = self.store.meta_if_there(&place)? else {
            return Ok(Swept::NotThere);
        };
        if meta.modified != time && !self.store.mistakes.made(Mistake::NoSecondLook) {
            return Ok(Swept::Fresher);
        }
        let swept = self.drop_pending(id, &place)?;
        self.note_removed(swept, &meta);
        Ok(swept)
    }

    /// Removes a pending transaction's file that is on the chain by now.
    pub fn sweep_committed(&self, id: TransactionId) -> Result<Swept> {
        self.state.check_writable()?;
        let Some(head) = self.head_under_lock()? else {
            return Ok(Swept::NotThere);
        };
        match self.ground(head, id)? {
            Ground::Unknown => Ok(Swept::NotThere),
            Ground::Head | Ground::BelowHead => self.drop_pending(id, &self.folder.pending(id)),
        }
    }

    /// Removes a chunk or an alias from `incoming/` if, looked at once more, its time is still one
    /// that `is_old`; and the chain does not name it (`is_unnamed`), or the committed area has one as long.
    pub fn sweep_chunk(
        &self,
        id: &ChunkId,
        is_unnamed: bool,
        is_old: impl Fn(SystemTime) -> bool,
    ) -> Result<Swept> {
        let place = self.folder.thing(Area::Incoming, &Thing::from(*id));
        match self.store.meta_if_there(&place)? {
            None => Ok(Swept::NotThere),
            Some(meta)
                if !is_old(meta.modified) && !self.store.mistakes.made(Mistake::NoSecondLook) =>
            {
                Ok(Swept::Fresher)
            }
            Some(_) if self.has_lost()? && self.is_last(id)? => Ok(Swept::Needed),
            Some(meta) if !is_unnamed && !self.is_second(id, &meta)? => Ok(Swept::Needed),
            Some(meta) => {
                let swept = self.store.sweep(&place)?;
                self.note_removed(swept, &meta);
                Ok(swept)
            }
        }
    }

    /// Whether the committed area has such a chunk or alias too, of this length.
    fn is_second(&self, id: &ChunkId, meta: &Meta) -> Result<bool> {
        let place = self.folder.thing(Area::Committed, &Thing::from(*id));
        let there = self.store.meta_if_there(&place)?;
        Ok(there.is_some_and(|there| there.bytes == meta.bytes)
            || self.store.mistakes.made(Mistake::SweptThoughNamed))
    }

    /// Gives what the chain names, and stands in `incoming/` only, its place in the committed area, durably, and
    /// then drops the name in `incoming/`. Says how many are there.
    pub fn put_back(&self, ids: &[ChunkId]) -> Result<u64> {
        let missing = self.keep_named(ids)?;
        self.sweep_leftovers(ids)?;
        Ok((ids.len() - missing.len()) as u64)
    }

    /// Removes from `incoming/` those that have their committed names too, after making those
    /// durable: an advance that was killed may have made them.
    pub fn sweep_leftovers(&self, ids: &[ChunkId]) -> Result<Vec<Swept>> {
        let mut committed = Vec::new();
        let mut leftovers = Vec::new();
        for id in ids {
            let meta = self
                .store
                .meta_if_there(&self.folder.thing(Area::Incoming, &Thing::from(*id)))?;
            let leftover = match meta {
                Some(meta) => self.is_leftover(id, &meta)?,
                None => false,
            };
            if leftover {
                committed.push(Thing::from(*id).dir(Area::Committed));
            }
            leftovers.push(leftover);
        }
        if !committed.is_empty() {
            self.sync_dirs(committed, Vec::new())?;
        }
        (ids.iter().zip(leftovers))
            .map(|(id, leftover)| match leftover {
                true => self
                    .store
                    .sweep(&self.folder.thing(Area::Incoming, &Thing::from(*id))),
                false => Ok(Swept::NotThere),
            })
            .collect()
    }
}
