//! What went wrong in the world, as the store tells it. Outcomes of the protocol are not here.

use crate::disk::{self, Place};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused a verb. Whatever it was for has not happened, and left nothing behind.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// A file is not what the layout says it is. Only `fsck` and a person can tell what to do.
    #[error("{place:?} is damaged: {what}")]
    Damaged { place: Place, what: String },
    /// Somebody else held the user's lock for longer than [`crate::model::limits::LOCK_WAIT`].
    #[error("the user's lock is held by somebody else")]
    Busy,
    /// The user was deleted or renamed while this was under way.
    #[error("the user's folder went away meanwhile")]
    UserGone,
    /// New users are not admitted, and this one has no folder.
    #[error("this user has no folder, and new ones are not admitted")]
    UnknownUser,
    /// The sync after HEAD's replacement failed: nobody knows which HEAD is durable, so this
    /// process writes nothing more for the user.
    #[error("a sync of this user's HEAD failed: read-only until a restart")]
    ReadOnly,
    /// The directory is not a store that this program can open.
    #[error("{0}")]
    NotAStore(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// No room: the disk, its inodes or a disk quota.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Error::Disk(error) if error.is_no_space())
    }
}
