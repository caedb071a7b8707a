//! A run of gc: how it is asked for, what it tells on its way, and how it ends.

use std::time::{Duration, SystemTime};

use crate::disk::Place;
use crate::model::{UserId, limits};
use crate::store::{Error, Item};

/// The options of a collection.
#[derive(Clone, Copy, Debug)]
pub struct CollectOptions {
    /// The grace period: how long a file that nothing kept needs stays.
    pub grace: Duration,
    /// Tell what would go, and touch nothing.
    pub dry_run: bool,
    /// Collect though the clock has leapt.
    pub force: bool,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self {
            grace: limits::GRACE,
            dry_run: false,
            force: false,
        }
    }
}

/// The reason for which a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The grace period is over, and nothing that is kept needs it.
    Abandoned,
    /// The file is committed, and has its committed name.
    Leftover,
    /// A temporary file, or a folder at the top, of somebody who is gone.
    LeftBehind,
}

/// A file that goes, or that went.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Garbage {
    pub item: Item,
    pub why: Why,
    /// The room that it took.
    pub bytes: u64,
}

/// News of a run.
#[derive(Debug)]
pub enum Event {
    /// A file is gone or, in a dry run, would go.
    Garbage { user: UserId, garbage: Garbage },
    /// A folder at the top of the data directory is gone, or would go: a deleted user's, or one that was never
    /// finished.
    LeftBehind(Place),
    /// Another collection is at work on this user: the rest is left to that one, or to the next.
    Overtaken(UserId),
    /// The user is frozen, and nothing of theirs goes.
    Frozen(UserId),
    /// Files of this user had dates that cannot be right, and are kept as if they had come now.
    Redated { user: UserId, files: u64 },
    /// Chunks and aliases of this user's that the chain names stood in `incoming/` only, and have their places in
    /// the committed area again; or, in a dry run, would get them.
    PutBack { user: UserId, files: u64 },
    /// Files that the chain may name stay in `incoming/`: the chain cannot be read, or they cannot be put back.
    Unsure { user: UserId, error: Error },
    /// Garbage stays: this user's or, without one, that at the top.
    Failed { user: Option<UserId>, error: Error },
}

/// The work of a collection besides removing.
#[derive(Debug, Default)]
pub(super) struct Besides {
    /// Files that were made young.
    pub redated: u64,
    /// Files that got their places in the committed area again, or would.
    pub put_back: u64,
    /// Why what the chain or the checkpoint may name stays.
    pub trouble: Option<Error>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All users were looked at.
    Done,
    /// The run did not begin: the clock is further from gc's last run than any two runs should be.
    ClockLeapt { last: SystemTime, now: SystemTime },
    /// The run did not begin: the clock has not been set.
    ClockUnset { now: SystemTime },
}
