//! The replica itself: its store, its keys, and the way to the server.

use std::sync::{Arc, Mutex};

use super::known::{KnownLine, SmallChunks};
use super::poll::Poll;
use super::slip::Slips;
use super::unnamed::UnnamedPuts;
use crate::client::error::Result;
use crate::client::keyring::Keyring;
use crate::client::progress::Progress;
use crate::client::remote::Remote;
use crate::disk::Disk;
use crate::model::UserId;
use crate::store::{Store, User};

/// A whole copy of a store, for use offline. Any number of processes may have it open, and any number of threads may use
/// it: one at a time syncs, all others go on meanwhile.
pub struct Replica {
    /// The directory that the store is in, with the lock of who syncs.
    pub(super) home: Arc<dyn Disk>,
    pub(super) user: User,
    pub(super) keys: Keyring,
    pub(super) remote: Arc<dyn Remote>,
    pub(super) slips: Slips,
    /// The server's address, where it has one.
    pub(super) server: Option<String>,
    pub(super) progress: Option<Arc<dyn Progress>>,
    pub(super) poll: Mutex<Option<Poll>>,
    /// The line that was pending at the last look.
    pub(super) walked: Mutex<Option<KnownLine>>,
    /// Small chunks on their way to the server.
    pub(super) small: Mutex<SmallChunks>,
    pub(super) puts: Mutex<UnnamedPuts>,
}

impl Replica {
    /// The replica in this store, which is of one user alone. `home` is where the lock of who syncs is.
    ///
    /// # Errors
    /// Those of the disk: the user's folder is made where there is none.
    pub fn over(
        home: Arc<dyn Disk>,
        store: &Store,
        user: UserId,
        keys: Keyring,
        remote: Arc<dyn Remote>,
    ) -> Result<Self> {
        let user = store.user(user);
        user.add()?;
        Ok(Self {
            home,
            user,
            keys,
            remote,
            slips: Slips::default(),
            server: None,
            progress: None,
            poll: Mutex::default(),
            walked: Mutex::default(),
            small: Mutex::default(),
            puts: Mutex::default(),
        })
    }

    /// A replica that tells this how far long work is.
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = Some(progress);
        self
    }

    /// A replica that breaks one rule, for a test that must notice.
    #[cfg(feature = "mistakes")]
    pub fn with_slip(mut self, slip: super::slip::Slip) -> Self {
        self.slips.one = Some(slip);
        self
    }

    /// The user whose store this is a copy of.
    pub fn user(&self) -> &UserId {
        self.user.id()
    }
}
