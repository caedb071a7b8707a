//! Errors: failures of the world, as the store tells them. Outcomes of the protocol are not here.

use crate::disk::{self, Place};

/// A failure of the disk, damage in the store, or a verb that cannot be done now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused a verb. Whatever it was for has not happened, and left nothing behind.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// A file is not what the layout says it is. Only `fsck` and a person can tell what to do.
    #[error("{place:?} is damaged: {what}")]
    Damaged { place: Place, what: String },
    /// The data directory, or `users/` in it, is not what was opened, or cannot be seen: nothing is known of any user.
    #[error("the store went away: {0}")]
    StoreGone(String),
    /// The disk did not let this process use some places of the store, and does not by now.
    #[error(
        "{still} files or folders of the store may not be used, {first:?} for one: `mentat-sync fsck` says whose they are, and \
         root's `fsck --repair` mends that"
    )]
    Denied { still: usize, first: Place },
    /// The user's lock was held by somebody else for longer than [`crate::model::limits::LOCK_WAIT`].
    #[error("the user's lock is held by somebody else")]
    Busy,
    /// `log` does not tell the chain, and must be rebuilt before this can be said.
    #[error("the user's log does not tell the chain")]
    LogIsWrong,
    /// The user was deleted or renamed while this was under way.
    #[error("the user's folder went away meanwhile")]
    UserGone,
    /// A thread that worked on this panicked, so that nothing is known of it.
    #[error("work on this broke off")]
    BrokeOff,
    /// The user is frozen, or is on the way from box to box: nothing is told of it here, and nothing taken.
    #[error("the user is frozen here, or is moved to another box")]
    Moving,
    /// New users are not admitted, and this one has no folder.
    #[error("this user has no folder, and new ones are not admitted")]
    UnknownUser,
    /// Another box is for this user, who has no folder here.
    #[error("another box is for this user, who has no folder here")]
    WrongShard,
    /// The sync after HEAD's replacement failed: nobody knows which HEAD is durable, so this
    /// process writes nothing more for the user.
    #[error("a sync of this user's HEAD failed: read-only until a restart")]
    ReadOnly,
    /// A sync of a folder that this process met for the first time failed: nobody knows what of it is
    /// durable, so nothing is said about it.
    #[error("a sync of this user's folder failed: nothing is told of it until a restart")]
    NotDurable,
    /// The user has as much as one may have.
    #[error("the user has {used} {of} of at most {limit}")]
    QuotaExceeded { of: Limit, limit: u64, used: u64 },
    /// Less of the disk would be free than uploads leave to the rest.
    #[error(
        "of the disk {free_bytes} bytes in {free_files} files are free, and {min_free} bytes stay free (--min-free)"
    )]
    NoRoom {
        min_free: u64,
        free_bytes: u64,
        free_files: u64,
    },
    /// The directory is not a store that this program can open.
    #[error("{0}")]
    NotAStore(String),
}

/// A quantity that a quota bounds, for each user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Bytes,
    Files,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Limit::Bytes => "bytes",
            Limit::Files => "files",
        })
    }
}

/// An [`Error::Damaged`] of this place.
pub(super) fn damaged(place: &Place, what: impl Into<String>) -> Error {
    Error::Damaged {
        place: place.clone(),
        what: what.into(),
    }
}

/// Takes a name that is there already for made.
pub(super) fn taken_is_fine(error: disk::Error) -> disk::Result<()> {
    if error.is_taken() { Ok(()) } else { Err(error) }
}

/// Takes a file that is not there for removed.
pub(super) fn absent_is_fine(error: disk::Error) -> disk::Result<()> {
    if error.is_absent() {
        Ok(())
    } else {
        Err(error)
    }
}

/// The result of the store's verbs.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A sync failed, and no later one tells whether what was to be durable is.
    pub(super) fn is_lost_write(&self) -> bool {
        matches!(self, Error::Disk(error) if error.is_lost_write())
    }

    /// No room: the disk, its inodes, a disk quota, or what uploads leave free.
    pub fn is_no_space(&self) -> bool {
        match self {
            Error::Disk(error) => error.is_no_space(),
            Error::NoRoom { .. } => true,
            _ => false,
        }
    }

    /// The error for another one who is told: the one of the disk, or else that the user is busy.
    pub(super) fn again(&self) -> Self {
        match self {
            Error::Disk(error) => error.again().into(),
            Error::UserGone => Error::UserGone,
            Error::Moving => Error::Moving,
            Error::ReadOnly => Error::ReadOnly,
            Error::NotDurable => Error::NotDurable,
            Error::StoreGone(how) => Error::StoreGone(how.clone()),
            Error::Damaged { place, what } => Error::Damaged {
                place: place.clone(),
                what: what.clone(),
            },
            _ => Error::Busy,
        }
    }
}

impl disk::Error {
    /// The error for another one who took part in the verb.
    pub(super) fn again(&self) -> Self {
        let source = match self.source.raw_os_error() {
            Some(number) => std::io::Error::from_raw_os_error(number),
            None => self.source.kind().into(),
        };
        Self {
            verb: self.verb,
            place: self.place.clone(),
            source,
        }
    }
}
