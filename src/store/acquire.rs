//! Waits for a user's lock: without a thread, or in place on a thread that is nobody else's.

use super::lock::{Exclusive, Locked, Shared, Tried, Wait, queue};
use super::mistake::Mistake;
use super::waiting::wait_in_place;
use super::{Error, Result, User};
use crate::disk::{self, Mode};
use crate::model::limits;

impl User {
    /// Takes the shared lock; `None` for a user without a folder. Waiting holds no thread, and ends
    /// [`limits::LOCK_WAIT`] after it began, whatever it was for: those in this process who came before, or
    /// another process.
    ///
    /// # Errors
    /// [`Error::Busy`] when the time is up; [`Error::UserGone`] where another folder came just now, of which
    /// nothing may be said before it is met; [`Error::Moving`] where the user is frozen.
    pub async fn shared(&self) -> Result<Option<Shared>> {
        Ok(self.lock(Mode::Shared).await?.map(Shared::of))
    }

    /// Takes the exclusive lock, as [`User::shared`] takes the shared one.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::UserGone`], [`Error::Moving`]
    pub async fn exclusive(&self) -> Result<Option<Exclusive>> {
        Ok(self.lock(Mode::Exclusive).await?.map(Exclusive::of))
    }

    async fn lock(&self, mode: Mode) -> Result<Option<Locked>> {
        let mut wait = Wait::new(self, mode);
        let (front, _turn) = tokio::time::timeout(limits::LOCK_WAIT, queue(&self.state, mode))
            .await
            .map_err(|_| Error::Busy)?;
        if self.store.mistakes.made(Mistake::NoLock) {
            return Ok(Some(self.locked(None, front)));
        }
        loop {
            match self.try_lock(&mut wait)? {
                Tried::Got(held, _) => return Ok(Some(self.locked(Some(held), front))),
                Tried::Later(pause) => tokio::time::sleep(pause).await,
                Tried::NoFolder => return Ok(None),
                // It came just now. Whoever is here has met the one before it.
                Tried::Unmet => return Err(Error::UserGone),
            }
        }
    }

    /// Takes the shared lock; `None` for a user without a folder. Waits in place, [`limits::LOCK_WAIT`] at most:
    /// only for work that has a thread of its own, never on one of a pool that others need, who would wait for
    /// this user too.
    ///
    /// # Errors
    /// [`Error::Busy`] when the time is up; [`Error::Moving`] where the user is frozen.
    pub fn shared_blocking(&self) -> Result<Option<Shared>> {
        Ok(self.lock_blocking(Mode::Shared)?.map(Shared::of))
    }

    /// Takes the exclusive lock, as [`User::shared_blocking`] takes the shared one.
    ///
    /// # Errors
    /// [`Error::Busy`] when the time is up; [`Error::Moving`] where the user is frozen.
    pub fn exclusive_blocking(&self) -> Result<Option<Exclusive>> {
        Ok(self.lock_blocking(Mode::Exclusive)?.map(Exclusive::of))
    }

    fn lock_blocking(&self, mode: Mode) -> Result<Option<Locked>> {
        let mut wait = Wait::new(self, mode);
        let disk = &*self.store.disk;
        let (front, _turn) = wait_in_place(disk, wait.until, queue(&self.state, mode))?;
        if self.store.mistakes.made(Mistake::NoLock) {
            return Ok(Some(self.locked(None, front)));
        }
        loop {
            match self.try_lock(&mut wait)? {
                Tried::Got(held, _) => return Ok(Some(self.locked(Some(held), front))),
                Tried::Later(pause) => disk.pause(pause),
                Tried::NoFolder => return Ok(None),
                Tried::Unmet => {
                    wait = Wait::new(self, mode);
                    self.meet()?;
                }
            }
        }
    }

    /// Takes the shared lock if the folder has the files for it and they can be had: nothing is
    /// made for it, so that a copy can be looked at too that is on a read-only disk or somebody else's.
    ///
    /// # Errors
    /// Those of a disk that fails. Without the lock, what an advance under way looks like is not told from
    /// what one left; nothing else depends on it.
    pub(crate) fn shared_if_there(&self) -> Result<Option<Shared>> {
        for place in [self.folder.gate(), self.folder.lock()] {
            if self.store.meta_if_there(&place)?.is_none() {
                return Ok(None);
            }
        }
        match self.shared_blocking() {
            Err(Error::Busy) => Ok(None),
            Err(Error::Disk(error)) if may_not_write(&error) => Ok(None),
            other => other,
        }
    }
}

/// Whether a file cannot be opened for writing, as it must be to take a lock.
fn may_not_write(error: &disk::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}
