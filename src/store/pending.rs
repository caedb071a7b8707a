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

use std::collections::HashMap;
use std::time::SystemTime;

use super::layout::{self, Dir, Folder};
use super::lock::UserLock;
use super::mistake::Mistake;
use super::{Error, Result, Store};
use crate::disk::{IfThere, Mode};
use crate::model::{Head, TransactionId, UserId, limits};
use crate::rules::garbage::{Link, dead};

/// What was found when pending transactions were counted last. Only ever forgotten: then they are counted again.
#[derive(Default)]
pub(super) struct Counted {
    /// So many more may come before they are counted again, if that was when.
    uncounted: Option<(SystemTime, usize)>,
    /// There were as many as may be, none of them dead, seen from this HEAD at that time.
    full: Option<(SystemTime, TransactionId, usize)>,
}

/// Whether there is room for more pending transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    /// Only the exclusive lock can tell.
    Unsure,
    /// So many are pending, none of which is dead.
    None {
        used: usize,
    },
}

impl Store {
    /// The ids in `incoming/transactions`.
    pub(crate) fn list_pending(&self, folder: &Folder) -> Result<Vec<TransactionId>> {
        let mut ids = Vec::new();
        let listed = self.disk.list(&folder.dir(Dir::Pending), &mut |entry| {
            ids.extend(layout::parse_transaction(&entry.name));
            true
        });
        listed.if_there()?;
        Ok(ids)
    }

    /// Reads the starts of all pending transactions into memory. What has been read of one is
    /// remembered by its id, since it never changes, for as long as it is listed.
    pub(super) fn look_at_pending(&self, lock: &UserLock) -> Result<()> {
        self.forget_if_swept(lock)?;
        let listed = self.list_pending(&lock.folder)?;
        let before = std::mem::take(&mut lock.state.known().pending);
        let mut now = HashMap::with_capacity(listed.len());
        for id in &listed {
            let start = match before.get(id) {
                Some(start) => Some(*start),
                None => self.start_of(&lock.folder.pending(*id), *id)?,
            };
            if let Some(start) = start {
                now.insert(*id, start);
            }
        }
        lock.state.known().pending = now;
        Ok(())
    }

    /// The pending transactions that name this one as parent and have the number after its, as they
    /// were just looked at.
    pub(super) fn pending_children(&self, lock: &UserLock, parent: Head) -> Vec<TransactionId> {
        let known = lock.state.known();
        let mut children: Vec<_> = (known.pending.iter())
            .filter(|(_, start)| (start.parent, start.seq) == (parent.id, parent.seq + 1))
            .map(|(id, _)| *id)
            .collect();
        children.sort_unstable();
        children
    }

    /// Whether one more transaction may be pending: exactly, and after what is dead went if it had to,
    /// under the exclusive lock; under the shared one as far as there is much room, or was none a moment ago.
    ///
    /// Costs a listing of what is pending: each time under the exclusive lock, now and then under the
    /// shared one.
    pub(super) fn room_for_one(&self, lock: &UserLock, head: Head) -> Result<Room> {
        if lock.mode == Mode::Exclusive {
            return self.make_room(lock, head, 1);
        }
        self.forget_if_swept(lock)?;
        let now = self.disk.now();
        // A clock that was put back tells nothing of the age.
        let lately = |at| {
            now.duration_since(at)
                .is_ok_and(|age| age < limits::RECOUNT_PENDING)
        };
        {
            let mut known = lock.state.known();
            match &mut known.counted {
                Counted {
                    full: Some((at, seen_from, used)),
                    ..
                } if *seen_from == head.id && lately(*at) => {
                    return Ok(Room::None { used: *used });
                }
                Counted {
                    uncounted: Some((at, left)),
                    ..
                } if *left > 0 && lately(*at) => {
                    *left -= 1;
                    return Ok(Room::Enough);
                }
                _ => {}
            }
        }
        let limit = self.options.pending_transactions;
        if limit <= limits::PENDING_SCARCE {
            return Ok(Room::Unsure);
        }
        let count = self.list_pending(&lock.folder)?.len();
        if limit.saturating_sub(count) <= limits::PENDING_SCARCE {
            return Ok(Room::Unsure);
        }
        lock.state.known().counted.uncounted = Some((now, limits::PENDING_UNCOUNTED - 1));
        Ok(Room::Enough)
    }

    /// Room for so many more pending transactions: what is dead goes if it must, and only if there is room
    /// then. Needs the exclusive lock, which holds others off until they are there.
    ///
    /// Costs a listing of what is pending; where that is too much, a look at each.
    pub(super) fn make_room(&self, lock: &UserLock, head: Head, wanted: usize) -> Result<Room> {
        self.forget_if_swept(lock)?;
        lock.state.known().counted = Counted::default();
        let limit = self.options.pending_transactions;
        let count = self.list_pending(&lock.folder)?.len();
        if wanted <= limit.saturating_sub(count) {
            return Ok(Room::Enough);
        }
        let dead = match self.mistakes.made(Mistake::DeadCounted) {
            true => Vec::new(),
            false => self.dead(lock, head)?,
        };
        let used = count - dead.len().min(count);
        if wanted > limit.saturating_sub(used) {
            if wanted == 1 && dead.is_empty() {
                lock.state.known().counted.full = Some((self.disk.now(), head.id, used));
            }
            return Ok(Room::None { used });
        }
        // Some more than must be, so that the next one need not look again; not all, which may take long.
        let must = (count + wanted).saturating_sub(limit);
        let go = dead.len().min(must.max(limits::SWEEP_FILES));
        self.drop_dead(lock, &dead[..go])?;
        Ok(Room::Enough)
    }

    /// Whether one that was pending is not any more, by the doing of whoever holds this lock.
    pub(super) fn is_gone(&self, lock: &UserLock, id: TransactionId) -> Result<bool> {
        let is_ours = lock.mode == Mode::Exclusive;
        Ok(is_ours && self.meta_if_there(&lock.folder.pending(id))?.is_none())
    }

    /// The lock under which to put a transaction: where only few may be pending, the shared one never tells
    /// whether there is room.
    pub fn mode_to_put(&self) -> Mode {
        match self.options.pending_transactions <= limits::PENDING_SCARCE {
            true => Mode::Exclusive,
            false => Mode::Shared,
        }
    }

    /// Drops what is dead of a user's. For who has no room for something else.
    ///
    /// # Errors
    /// [`Error::Busy`] where the lock is not to be had.
    pub(super) fn drop_all_dead(&self, user: &UserId) -> Result<()> {
        loop {
            let Some(lock) = self.lock_blocking(user, Mode::Exclusive)? else {
                return Ok(());
            };
            lock.state.check_writable()?;
            let head = self.vouched_head_under(&lock)?;
            let dead = self.dead(&lock, head.ok_or(Error::UserGone)?)?;
            if dead.is_empty() {
                return Ok(());
            }
            let go = dead.len().min(limits::SWEEP_FILES);
            self.drop_dead(&lock, &dead[..go])?;
        }
    }

    /// The pending transactions that can never be committed, children before parents. Needs the
    /// exclusive lock.
    fn dead(&self, lock: &UserLock, head: Head) -> Result<Vec<TransactionId>> {
        self.look_at_pending(lock)?;
        let known = lock.state.known();
        let links = known.pending.iter().map(|(id, start)| Link {
            id: *id,
            parent: start.parent,
            seq: start.seq,
        });
        Ok(dead(links.collect(), head))
    }

    /// Drops these, as gc would once they are old, and in its order: whoever knows of them forgets it,
    /// children go before parents, and their chunks stay.
    fn drop_dead(&self, lock: &UserLock, dead: &[TransactionId]) -> Result<()> {
        if dead.is_empty() {
            return Ok(());
        }
        self.note_taken(lock)?;
        for id in dead {
            let place = lock.folder.pending(*id);
            if let Some(meta) = self.meta_if_there(&place)? {
                let swept = self.drop_pending(lock, *id, &place)?;
                self.note_removed(lock, swept, &meta);
            }
        }
        log::info!(
            "user {}: {} pending transactions that HEAD cannot reach any more made room",
            lock.user.short(),
            dead.len()
        );
        self.sync_dirs(&lock.state, &lock.folder, [Dir::Pending], Vec::new())
    }
}
