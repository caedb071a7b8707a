//! Room for more: within the user's quota, and on the disk.

use super::tally::{Amount, Reservation};
use super::{Error, Result, Store, User};
use crate::disk::Disk;
use crate::model::{ChunkId, UserId, limits};

impl Store {
    /// Forgets what a user has, whose folder is another one now, or none.
    pub(super) fn forget_tally(&self, user: &UserId) {
        self.tallies.forget(user);
    }
}

impl User {
    /// Whether the operator chose limits for users.
    pub(super) fn has_quotas(&self) -> bool {
        self.store.tallies.is_on()
    }

    /// Refuses beforehand an upload that would be refused, so that its body need not be read. A chunk that is
    /// there already is not refused: it takes no room.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`], [`Error::NoRoom`].
    pub fn foresee_chunk(&self, id: &ChunkId, bytes: Option<u64>) -> Result<()> {
        let amount = Amount::file(bytes.unwrap_or(0));
        let refused = match self.check_room(bytes.unwrap_or(0)) {
            Ok(()) if !self.has_quotas() => return Ok(()),
            Ok(()) => self.foresee(amount),
            refused => refused,
        };
        match refused {
            Err(Error::QuotaExceeded { .. }) if self.resolve(id)?.is_some() => Ok(()),
            other => other,
        }
    }

    /// Refuses beforehand one more file that would be refused, so that its body need not be read; also one of which
    /// the same bytes are there already.
    ///
    /// # Errors
    /// [`Error::NoRoom`], [`Error::QuotaExceeded`]
    pub fn foresee_file(&self, bytes: Option<u64>) -> Result<()> {
        self.check_room(bytes.unwrap_or(0))?;
        match self.has_quotas() {
            true => self.foresee(Amount::file(bytes.unwrap_or(0))),
            false => Ok(()),
        }
    }

    /// Reserves room for one more file.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]
    pub(super) fn reserve(&self, bytes: u64) -> Result<Reservation> {
        self.reserve_all(Amount::file(bytes))
    }

    /// Reserves room for several files at once.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]
    pub(super) fn reserve_all(&self, amount: Amount) -> Result<Reservation> {
        self.store.tallies.reserve(&self.id, amount)
    }

    /// Sees whether so much more would be refused. Takes nothing.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]
    pub(super) fn foresee(&self, more: Amount) -> Result<()> {
        self.store.tallies.foresee(&self.id, more)
    }

    /// Notes a change of the user's files that needed no new name.
    pub(super) fn changed(&self, amount: Amount) {
        self.store.tallies.changed(&self.id, amount);
    }

    /// Notes that a file of the user's is gone.
    pub(super) fn removed(&self, bytes: u64) {
        self.changed(Amount::file(bytes).less());
    }

    /// Has the user counted, where this process keeps count and has not done so yet: on a thread of its own, for whoever asks
    /// later.
    pub fn begin_tally(&self) {
        if self.has_quotas() && self.tally().is_none() {
            // It takes nothing, so nothing is refused.
            let _ = self.store.tallies.foresee(&self.id, Amount::default());
        }
    }

    /// How many transactions are pending. Lists them.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn count_pending(&self) -> Result<usize> {
        Ok(self.store.list_pending(&self.folder)?.len())
    }

    /// The files and bytes that this process believes the user to have, once they were counted.
    pub fn tally(&self) -> Option<(u64, u64)> {
        self.store.tallies.of(&self.id)
    }

    /// Sees whether the disk has room for so many bytes, and the reserve stays free.
    ///
    /// # Errors
    /// [`Error::NoRoom`]; those of a probe that was put off until there is room.
    pub(super) fn check_room(&self, bytes: u64) -> Result<()> {
        self.store.probe_if_due()?;
        check_room(&*self.store.disk, self.store.options.min_free, bytes)
    }
}

/// Sees whether a disk has room for so many bytes, and a reserve of so many stays free.
///
/// # Errors
/// [`Error::NoRoom`]
pub(super) fn check_room(disk: &dyn Disk, min_free: u64, bytes: u64) -> Result<()> {
    if min_free == 0 {
        return Ok(());
    }
    let room = disk.room()?;
    let too_few_bytes = room.free_bytes < min_free.saturating_add(bytes);
    // None at all is what a file system says that has no such number.
    let too_few_files = (1..limits::MIN_FREE_FILES).contains(&room.free_files);
    if too_few_bytes || too_few_files {
        return Err(Error::NoRoom {
            min_free,
            free_bytes: room.free_bytes,
            free_files: room.free_files,
        });
    }
    Ok(())
}
