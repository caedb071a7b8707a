//! First meetings with a user's folder, before anything is said about it.
//!
//! A folder that this process meets for the first time may have been moved in by hand a moment ago, and
//! nothing of it be durable: it is synced as a whole before a word about it (DESIGN, Vouching). Its name in
//! `users/` is synced again whenever the folder may have had another one since: a rename changes the
//! folder's time of change. And where there is no folder, it is asked first whether the store is there
//! at all: a data directory that was moved away has no users, and is not empty.

use super::layout::Dir;
use super::{Error, Result, User};

/// A quick look at a user: whether anything may be said at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// Any question about the user may be answered.
    Met,
    /// There is no folder, and the store is there.
    Absent,
    /// [`User::meet`] comes first.
    ToMeet,
}

impl User {
    /// Whether anything may be said about this user at once. Two or three looks at the disk at most, which the
    /// kernel has in memory, and no sync.
    ///
    /// # Errors
    /// [`Error::StoreGone`] where the store is not there any more; [`Error::Moving`] where the user is frozen.
    pub fn glance(&self) -> Result<Glance> {
        let Some(visit) = self.visit()? else {
            return Ok(Glance::Absent);
        };
        self.check_serves()?;
        let known = self.state.known();
        let is_met = known.generation == visit.generation
            && known.met
            && known.is_named()
            && known.doubted.is_none();
        Ok(if is_met { Glance::Met } else { Glance::ToMeet })
    }

    /// Makes durable what must be before anything is said about this user: all of a folder that this
    /// process has not met, or else its name and HEAD where they may have changed. Nothing for a user
    /// without a folder. May take as long as it takes to sync the whole folder.
    ///
    /// # Errors
    /// [`Error::NotDurable`] where a sync of the folder failed; [`Error::StoreGone`] where the store is
    /// not there any more. That HEAD is damaged is not said here.
    pub fn meet(&self) -> Result<()> {
        match self.vouched_head() {
            Err(Error::Damaged { .. } | Error::ReadOnly) => {}
            other => return other.map(drop),
        }
        if let Some(visit) = self.visit()? {
            self.meet_folder(&visit)?;
            if !self.state.known().is_named() {
                self.sync_dirs([Dir::User], Vec::new())?;
            }
        }
        Ok(())
    }

    /// The turn to meet a user, while others wait for that: held around [`User::meet`], it is done once
    /// though many come.
    pub fn meeting(&self) -> impl Future<Output = tokio::sync::OwnedMutexGuard<()>> + use<> {
        let meeting = self.state.meeting.clone();
        meeting.lock_owned()
    }
}
