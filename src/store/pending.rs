//! All of a user's pending transactions together: which there are, how many there may be, and what goes
//! when room is wanted.
//!
//! The bound is on the files in `incoming/transactions`, so that whoever has to look through them never
//! finds more. What does not descend from HEAD can never be committed: where room is wanted it goes, so
//! that lost races do not keep anybody from committing. What it named stays for as long as its own age
//! allows, since whoever lost the race sends most of it again.
//!
//! As long as there is much room it is enough to count now and then, under the shared lock that a PUT
//! holds anyway. Where it gets scarce, each is counted in under the exclusive one. Then nobody exceeds the bound,
//! however many processes there are, but for [`limits::PENDING_UNCOUNTED`] by each process that had
//! counted not a moment before.

use std::collections::{HashMap, HashSet};

use super::layout::Dir;
use super::lock::{Exclusive, Locked, Shared};
use super::mistake::Mistake;
use super::state::Counted;
use super::{Error, Result, User};
use crate::model::{Head, TransactionId, limits};
use crate::rules::garbage::{Link, dead};

/// Whether there is room for more pending transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingRoom {
    Enough,
    /// Only the exclusive lock can tell.
    Unsure,
    /// The parent of the transaction that the room is for was dropped to make room.
    ParentGone,
    /// The pending transactions that are not dead are so many (`used`), and those that would be besides (`wanted`)
    /// are too many.
    None {
        used: usize,
        wanted: usize,
    },
}

impl Locked {
    /// Reads the starts of all pending transactions into memory. What has been read of one is
    /// remembered by its id, since it never changes, for as long as it is listed.
    ///
    /// In a device's own store, where any number may be pending and nobody asks for children, it is those of `asked` alone.
    pub(super) fn look_at_pending(&self, asked: &[TransactionId]) -> Result<()> {
        self.forget_if_swept()?;
        let asked = match self.store.is_of_device() {
            true if asked.is_empty() => return Ok(()),
            true => Some(asked.iter().collect::<HashSet<_>>()),
            false => None,
        };
        let mut listed = Vec::new();
        self.store.each_pending(&self.folder, |id| {
            let is_asked = asked.as_ref().is_none_or(|asked| asked.contains(&id));
            listed.extend(is_asked.then_some(id));
        })?;
        let before = std::mem::take(&mut self.state.known().pending);
        let mut now = HashMap::with_capacity(listed.len());
        for id in &listed {
            let start = match before.get(id) {
                Some(start) => Some(*start),
                None => self.store.start_of(&self.folder.pending(*id), *id)?,
            };
            if let Some(start) = start {
                now.insert(*id, start);
            }
        }
        self.state.known().pending = now;
        Ok(())
    }

    /// The pending transactions that name this one as parent and have the number after its, as they
    /// were just looked at. In a device's own store there are none: HEAD is what the server confirmed, and what is pending
    /// after it is the device's next.
    pub(super) fn pending_children(&self, parent: Head) -> Vec<TransactionId> {
        if self.store.is_of_device() {
            return Vec::new();
        }
        let known = self.state.known();
        let mut children: Vec<_> = (known.pending.iter())
            .filter(|(_, start)| (start.parent, start.seq) == (parent.id, parent.seq + 1))
            .map(|(id, _)| *id)
            .collect();
        children.sort_unstable();
        children
    }
}

impl Shared {
    /// Whether one more transaction may be pending, as far as there is much room, or was none a moment ago.
    ///
    /// Costs a listing of what is pending now and then.
    pub(super) fn room_for_one(&self, head: Head) -> Result<PendingRoom> {
        self.forget_if_swept()?;
        let now = self.store.disk.now();
        // A clock that was put back tells nothing of the age.
        let lately = |at| {
            now.duration_since(at)
                .is_ok_and(|age| age < limits::RECOUNT_PENDING)
        };
        {
            let mut known = self.state.known();
            match &mut known.counted {
                Counted {
                    full: Some((at, seen_from, used)),
                    ..
                } if *seen_from == head.id && lately(*at) => {
                    let (used, wanted) = (*used, 1);
                    return Ok(PendingRoom::None { used, wanted });
                }
                Counted {
                    uncounted: Some((at, left)),
                    ..
                } if *left > 0 && lately(*at) => {
                    *left -= 1;
                    return Ok(PendingRoom::Enough);
                }
                _ => {}
            }
        }
        let limit = self.store.options.pending_transactions;
        if limit <= limits::PENDING_SCARCE {
            return Ok(PendingRoom::Unsure);
        }
        let count = self.store.list_pending(&self.folder)?.len();
        if limit.saturating_sub(count) <= limits::PENDING_SCARCE {
            return Ok(PendingRoom::Unsure);
        }
        self.state.known().counted.uncounted = Some((now, limits::PENDING_UNCOUNTED - 1));
        Ok(PendingRoom::Enough)
    }
}

impl Exclusive {
    /// Room for so many more pending transactions: what is dead goes if it must, and only if there is room
    /// then. The lock holds others off until they are there.
    ///
    /// Costs a listing of what is pending; where that is too much, a look at each.
    pub(super) fn make_room(&self, head: Head, wanted: usize) -> Result<PendingRoom> {
        self.forget_if_swept()?;
        self.state.known().counted = Counted::default();
        let limit = self.store.options.pending_transactions;
        let count = self.store.list_pending(&self.folder)?.len();
        if wanted <= limit.saturating_sub(count) {
            return Ok(PendingRoom::Enough);
        }
        let is_kept = self.store.is_of_device() || self.store.mistakes.made(Mistake::DeadCounted);
        let dead = match is_kept {
            true => Vec::new(),
            false => self.dead(head)?,
        };
        let used = count - dead.len().min(count);
        if wanted > limit.saturating_sub(used) {
            if wanted == 1 && dead.is_empty() {
                self.state.known().counted.full = Some((self.store.disk.now(), head.id, used));
            }
            return Ok(PendingRoom::None { used, wanted });
        }
        // Some more than must be, so that the next one need not look again; not all, which may take long.
        let must = (count + wanted).saturating_sub(limit);
        let go = dead.len().min(must.max(limits::SWEEP_FILES));
        self.drop_dead(&dead[..go])?;
        Ok(PendingRoom::Enough)
    }

    /// Whether a transaction that was pending under this lock is not any more.
    pub(super) fn is_gone(&self, id: TransactionId) -> Result<bool> {
        Ok(self
            .store
            .meta_if_there(&self.folder.pending(id))?
            .is_none())
    }

    /// The pending transactions that can never be committed, children before parents.
    fn dead(&self, head: Head) -> Result<Vec<TransactionId>> {
        self.look_at_pending(&[])?;
        let known = self.state.known();
        let links = known.pending.iter().map(|(id, start)| Link {
            id: *id,
            parent: start.parent,
            seq: start.seq,
        });
        Ok(dead(links.collect(), head))
    }

    /// Drops these, as gc would once they are old, and in its order: whoever knows of them forgets it,
    /// children go before parents, and their chunks stay.
    fn drop_dead(&self, dead: &[TransactionId]) -> Result<()> {
        if dead.is_empty() {
            return Ok(());
        }
        self.note_taken()?;
        for id in dead {
            let place = self.folder.pending(*id);
            if let Some(meta) = self.store.meta_if_there(&place)? {
                let swept = self.drop_pending(*id, &place)?;
                self.note_removed(swept, &meta);
            }
        }
        log::info!(
            "user {}: {} pending transactions that HEAD cannot reach any more made room",
            self.id.short(),
            dead.len()
        );
        self.sync_dirs([Dir::Pending], Vec::new())
    }
}

impl User {
    /// Drops the pending transactions that can never be committed, a batch under each lock: for who has no room for
    /// something else.
    ///
    /// # Errors
    /// [`Error::Busy`] where the lock is not to be had.
    pub(super) fn drop_all_dead(&self) -> Result<()> {
        if self.store.is_of_device() {
            return Ok(());
        }
        while let Some(lock) = self.exclusive_blocking()? {
            lock.state.check_writable()?;
            let head = lock.head_under_lock()?;
            let dead = lock.dead(head.ok_or(Error::UserGone)?)?;
            if dead.is_empty() {
                return Ok(());
            }
            let go = dead.len().min(limits::SWEEP_FILES);
            lock.drop_dead(&dead[..go])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::{Grouping, Real};
    use crate::model::{ChunkId, Transaction, UserId};
    use crate::store::{Advance, Options, Store, StoreKind};

    #[test]
    fn a_device_that_confirms_some_of_what_is_pending_looks_at_none_of_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(Real::new(directory.path(), Grouping::Auto).unwrap());
        let options = Options {
            kind: StoreKind::Replica,
            ..Options::default()
        };
        let user = Store::open(disk, options)
            .unwrap()
            .user(UserId::from_bytes([9; 16]));
        user.add().unwrap();
        let lock = || user.exclusive_blocking().unwrap().unwrap();
        let mut line = Vec::new();
        for seq in 1..=5 {
            let mut chunk = user.stage().unwrap();
            chunk.write(&[seq]).unwrap();
            let transaction = Transaction {
                id: TransactionId::from_bytes([seq; 16]),
                seq: seq.into(),
                parent: TransactionId::from_bytes([seq - 1; 16]),
                chunks: vec![ChunkId::Digest(chunk.digest())],
            };
            assert!(lock().say(chunk, &transaction).unwrap().is_empty());
            line.push(transaction);
        }
        let (outcome, leftovers) = lock().advance_over_read(&line[..2]).unwrap();
        leftovers.clear();
        assert!(matches!(outcome, Advance::Advanced(head) if head.id == line[1].id));
        assert!(lock().state.known().pending.is_empty());
        // Those that it is asked for it knows.
        let lock = lock();
        lock.look_at_pending(&[line[0].id, line[2].id]).unwrap();
        let known = lock.state.known();
        let known: Vec<_> = known.pending.keys().collect();
        assert_eq!(known, [&line[2].id]);
    }
}
