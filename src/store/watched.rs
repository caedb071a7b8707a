//! Numbers that the store keeps anyway, for whoever watches. Nothing is counted for them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Result, Store, User};
use crate::disk::Room;
use crate::model::timings::Timings;

impl Store {
    /// How often this process has moved HEAD of a user.
    pub fn head_moves(&self) -> u64 {
        self.head_moves.load(Ordering::Relaxed)
    }

    /// How long the syncs took that requests waited for, on a disk that notes it.
    pub fn sync_times(&self) -> Option<Arc<Timings>> {
        self.disk.sync_times()
    }

    /// How much room there is. Costs one look at the file system.
    pub fn room(&self) -> Result<Room> {
        Ok(self.disk.room()?)
    }

    /// The files and bytes of all users together whom this process has counted; `None` where it counts nobody.
    pub fn tallied(&self) -> Option<(u64, u64)> {
        self.tallies.is_on().then(|| self.tallies.all())
    }
}

impl User {
    /// The number of pending transactions. Costs a listing of them.
    pub fn pending_count(&self) -> Result<u64> {
        Ok(self.store.list_pending(&self.folder)?.len() as u64)
    }
}
