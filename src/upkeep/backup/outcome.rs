//! The outcome of a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::disk;
use crate::model::UserId;
use crate::store;

/// The users that a copy holds afterwards, by what became of each.
#[derive(Debug, Default)]
pub struct BackedUp {
    /// Users whose copy is as good as new.
    pub users: BTreeSet<UserId>,
    /// Users who are not in the copy, or as the last good one had them, each with what is the matter.
    pub left: BTreeMap<UserId, String>,
    /// Users who were deleted while the copy was made; DEST has them as they were, or not at all.
    pub went: BTreeSet<UserId>,
    /// Users whose past is another than before, in DATA and now in DEST as well.
    pub anew: BTreeSet<UserId>,
    /// How many users DEST has as they were, who are not in DATA any more.
    pub kept: u64,
    /// The complaints of rsync, which are of interest where a user was left.
    pub complaints: String,
}

/// Why there is no new copy. The one before, if any, is as sound as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Lacking(String),
    #[error("DEST {0:?} is in the data directory")]
    Inside(PathBuf),
    #[error("the data directory is in DEST {0:?}")]
    Around(PathBuf),
    /// DEST is no place for a copy, and why.
    #[error("DEST is no place for a copy: {0}")]
    Refused(String),
    #[error("another copy to DEST is under way")]
    Taken,
    #[error("cannot write to DEST: {0}")]
    Unreachable(String),
    #[error("rsync failed: {0}; what DEST has is sound")]
    Rsync(String),
    #[error("users are renamed all the time; those who were not copied are in DEST as they were")]
    Unsettled,
    #[error("cannot make names for the time of the copy in {0:?}: {1}")]
    Aside(PathBuf, #[source] std::io::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<disk::Error> for Error {
    fn from(error: disk::Error) -> Self {
        Error::Store(error.into())
    }
}
