//! A replica: a whole copy of one user's store on a device, for use offline (CLIENT, sections 3 and 5).
//!
//! It is a data directory of one user in the format that a server has. HEAD is what the server confirmed; `incoming/` holds
//! what it has not confirmed yet, and `local` names the tip of that: it is renamed over, which is the commit point of
//! `say` and `rebase`. All crash safety is the store's.
//!
//! - `tip`: where the chain and what is pending end;
//! - `say`: something is put and committed, offline; `entries`: it is read again;
//! - `verify` and `pull`: the server's bundle goes into the store by way of a reader that lets nothing pass unverified, and HEAD
//!   last; `by_chunk` is for what is too large to come in one piece;
//! - `rebase`: what is pending is said again after what others said; `push`: it is sent;
//! - `sync`: all of it in order; `parted`: a server whose history is not ours, and the ways out of that; `import` is one.

mod by_chunk;
mod checkpoint;
mod entries;
mod import;
mod open;
mod parcel;
mod parted;
mod pull;
mod push;
mod rebase;
mod say;
mod slip;
mod sync;
mod tar;
mod tip;
mod verify;
mod wait;

pub use checkpoint::SavedState;
pub use entries::Entries;
pub use import::Imported;
pub use open::HOME;
pub use slip::Slip;
pub use sync::Synced;
pub use tip::Status;
pub use wait::Woken;

use std::sync::{Arc, Mutex};

use super::error::Result;
use super::keyring::Keyring;
use super::remote::Remote;
use crate::disk::Disk;
use crate::model::UserId;
use crate::store::{Store, User};
use slip::Slips;
use wait::Poll;

/// A whole copy of a store, for use offline. Any number of processes may have it open, and any number of threads may use
/// it: one at a time syncs, all others go on meanwhile.
pub struct Replica {
    /// The directory that the store is in, with the lock of who syncs.
    home: Arc<dyn Disk>,
    user: User,
    keys: Keyring,
    remote: Arc<dyn Remote>,
    slips: Slips,
    poll: Mutex<Option<Poll>>,
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
            poll: Mutex::default(),
        })
    }

    /// The same replica, which breaks one rule, for a test that must notice.
    #[cfg(feature = "mistakes")]
    pub fn with_slip(mut self, slip: Slip) -> Self {
        self.slips.one = Some(slip);
        self
    }

    /// The user whose store this is a copy of.
    pub fn user(&self) -> &UserId {
        self.user.id()
    }
}
