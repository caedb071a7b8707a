//! The outcome of taking a snapshot.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::disk::{self, Place};
use crate::model::UserId;
use crate::store;
use crate::upkeep::fsck::Finding;

/// The contents of a snapshot, in numbers, and the users who are not in it.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub users: u64,
    /// Files that got a second name.
    pub files: u64,
    /// Users who are not in it, because they are damaged or cannot be read.
    pub left_out: Vec<LeftOut>,
    /// Users who are not in it, because they were deleted while it was taken.
    pub went: BTreeSet<UserId>,
    /// Pieces of damage in it, which the store has as well; and files that could not be looked at.
    pub damage: u64,
    pub unchecked: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
}

/// A user who is not in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    pub user: UserId,
    /// The place in the data directory that is in the way.
    pub place: Place,
    /// The matter with that place, in words for a person.
    pub what: String,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is not empty")]
    NotEmpty(PathBuf),
    #[error("{0:?} is in the data directory")]
    Inside(PathBuf),
    #[error(
        "{0:?} is not on the file system of the data directory, and a hard link cannot lead to another: \
         choose a place beside the data directory, or use `mentat-sync backup`"
    )]
    OtherFileSystem(PathBuf),
    #[error("users are renamed or deleted all the time: try again")]
    Unsettled,
    #[error("{0}")]
    NotAStore(String),
    #[error("cannot make {0:?}: {1}")]
    Destination(PathBuf, #[source] std::io::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<disk::Error> for Error {
    fn from(error: disk::Error) -> Self {
        Error::Store(error.into())
    }
}
