//! The place that a user goes to, as a send knows it.

use crate::store;
use crate::upkeep::backup;

/// Why a user was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    There(#[from] backup::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("there is no such user")]
    NoSuchUser,
    /// The folder is not here to be sent, and why.
    #[error("{0}")]
    NotHere(&'static str),
    /// The user was thawed by somebody meanwhile, or another move began.
    #[error("it was thawed here meanwhile, or is moved elsewhere: nothing was changed here")]
    Overtaken,
    #[error("it was sent elsewhere, by another move than the one that is known there")]
    OtherMove,
    #[error("it was told to stop")]
    Stopped,
}

/// One of the rounds in which a user is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyRound {
    /// All but HEAD and CHECKPOINT, for the first time. The user may be served.
    Bulk,
    /// All of that compared by content.
    Compared,
    /// All that came since, HEAD and CHECKPOINT too; the user is frozen. Files that never change are looked at by length and time, in
    /// nanoseconds; all else by its content.
    Rest,
}

/// The place that a user goes to. In tests it is a simulated box.
pub trait OtherSide {
    /// Has a step of `there.sh` done, and returns the lines that were said about it.
    ///
    /// # Errors
    /// It was not done, or not all of it is known to be.
    fn ask(&mut self, step: &str) -> Result<Vec<Vec<u8>>, SendError>;

    /// Copies what the user has here to where the last `begin` said.
    ///
    /// # Errors
    /// Not all of it is there.
    fn copy(&mut self, what: CopyRound) -> Result<(), SendError>;
}
