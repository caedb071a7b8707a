//! When gc last ran, and when it last swept pending transactions: the time of `gate`, once that is one
//! byte long.
//!
//! It takes no room, since the byte is a hole. A sweep changes it under the exclusive lock, before it
//! removes anything, and whoever knows of pending transactions forgets them when it has changed: an id
//! that went may have come again with other content. A repair that takes some away moves it a little.

use std::time::{Duration, SystemTime};

use super::layout::Folder;
use super::lock::UserLock;
use super::mistake::Mistake;
use super::sweep::exclusive;
use super::{Result, Store};
use crate::disk::IfThere;
use crate::model::UserId;

/// The time of `gate`, which gc changes before it sweeps pending transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepStamp(Option<(SystemTime, SystemTime)>);

impl Store {
    /// Remembers that pending transactions are swept now, so that whoever knows of them forgets it; and,
    /// with that, when gc last ran. Needs the exclusive lock.
    pub fn note_sweep(&self, lock: &UserLock) -> Result<SweepStamp> {
        exclusive(lock);
        self.forget_if_swept(lock)?;
        self.remember_gc(&lock.user)?;
        let stamp = self.sweep_stamp(&lock.user)?;
        lock.state.known().swept = stamp;
        Ok(stamp)
    }

    /// Something else than gc takes pending transactions away now: whoever knows of them forgets it. Needs
    /// the exclusive lock, before anything is removed. When gc last ran stays known, to a nanosecond.
    pub(super) fn note_taken(&self, lock: &UserLock) -> Result<()> {
        exclusive(lock);
        lock.state.known().pending.clear();
        lock.state.known().pending_count = None;
        if self.mistakes.made(Mistake::UntoldRepair) {
            return Ok(());
        }
        // It is there: the lock was got through it.
        let file = self.disk.open_to_write(&lock.folder.gate())?;
        let next = file.meta()?.modified + Duration::from_nanos(1);
        Ok(file.touch(next)?)
    }

    /// Remembers that gc ran on this user just now: `gate` is one byte long and has that time.
    /// Takes no room: the byte is a hole.
    pub fn remember_gc(&self, user: &UserId) -> Result<()> {
        let place = Folder::of(user).gate();
        let Some(file) = self.disk.open_to_write(&place).if_there()? else {
            return Ok(());
        };
        if file.meta()?.bytes == 0 {
            file.set_len(1)?;
        }
        Ok(file.touch(self.disk.now())?)
    }

    /// When gc last ran on this user, if ever.
    pub fn last_gc(&self, user: &UserId) -> Result<Option<SystemTime>> {
        let meta = self.meta_if_there(&Folder::of(user).gate())?;
        Ok(meta.and_then(|meta| (meta.bytes > 0).then_some(meta.modified)))
    }

    /// What changes with every sweep of pending transactions, by whomever.
    pub fn sweep_stamp(&self, user: &UserId) -> Result<SweepStamp> {
        let meta = self.meta_if_there(&Folder::of(user).gate())?;
        Ok(SweepStamp(meta.map(|meta| (meta.modified, meta.changed))))
    }

    /// Forgets what is known of the pending transactions if somebody has swept since: an id that
    /// went may have come again with other content. Needs a lock, so that nobody sweeps now.
    pub(super) fn forget_if_swept(&self, lock: &UserLock) -> Result<()> {
        let stamp = self.sweep_stamp(&lock.user)?;
        let mut known = lock.state.known();
        if known.swept != stamp {
            known.swept = stamp;
            known.pending.clear();
            known.pending_count = None;
        }
        Ok(())
    }
}
