//! A run of gc: how it is asked for, what it tells on its way, and how it ends.

use std::time::{Duration, SystemTime};

use crate::disk::Place;
use crate::model::{UserId, limits};
use crate::store::{Error, Item};

/// How to collect.
#[derive(Clone, Copy, Debug)]
pub struct CollectOptions {
    /// How long what nothing reachable needs is kept.
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

/// Why something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The grace period is over, and nothing that is kept needs it.
    Abandoned,
    /// It is committed, and has its committed name.
    Leftover,
    /// A temporary file, or a folder at the top, of somebody who is gone.
    LeftBehind,
}

/// Something that goes, or that went.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Garbage {
    pub item: Item,
    pub why: Why,
    /// The room that it took.
    pub bytes: u64,
}

/// What a run has to tell.
#[derive(Debug)]
pub enum Event {
    /// It is gone or, in a dry run, would go.
    Garbage { user: UserId, garbage: Garbage },
    /// So is this, at the top of the data directory: a deleted user's folder, or one that was never
    /// finished.
    LeftBehind(Place),
    /// Another collection is at work on this user: the rest is left to that one, or to the next.
    Overtaken(UserId),
    /// So many files of this user had dates that cannot be right, and are kept as if they had come now.
    Redated { user: UserId, files: u64 },
    /// Something stays: this user's garbage, or what is at the top.
    Failed { user: Option<UserId>, error: Error },
}

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Done,
    /// Nothing was looked at: the clock is further from gc's last run than any two runs should be.
    ClockLeapt {
        last: SystemTime,
        now: SystemTime,
    },
    /// Nothing was looked at: the clock has not been set.
    ClockUnset {
        now: SystemTime,
    },
}
