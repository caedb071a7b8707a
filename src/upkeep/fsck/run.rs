//! A run of fsck: what it is asked, whom it tells, and what it counts.

use std::sync::atomic::{AtomicU64, Ordering};

use super::finding::{Finding, Mended, Severity};
use crate::disk::Owner;
use crate::model::{Head, UserId};
use crate::store::{self, Store};

/// The options of a check.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// The only user to be checked; `None` for all.
    pub user: Option<UserId>,
    /// Chunks are looked at, but not read.
    pub quick: bool,
    /// Mend what can be mended without loss.
    pub repair: bool,
    /// Ids of version 8 must be those of their transactions' content. A copy is none the worse for one that is not: a client
    /// chose it.
    pub content_ids: bool,
    /// How many files are read at a time. With 1 all happens on the caller's thread.
    pub threads: usize,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            user: None,
            quick: false,
            repair: false,
            content_ids: true,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
        }
    }
}

/// The caller's end of a check. Called from several threads at a time.
pub trait Observer: Sync {
    /// Takes note of a finding.
    fn found(&self, finding: &Finding);
    /// Takes note of what was mended, or could not be.
    fn mended(&self, mended: &Mended);
    /// Takes note that the chain of this user is damaged: `newest` is the newest transaction whose whole past is sound (the
    /// root if there is none other).
    fn newest_sound(&self, user: &UserId, newest: Head);
    /// Takes note that one more transaction or chunk has been checked, with so many bytes read.
    fn checked(&self, bytes: u64);
}

/// How much was checked and found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub users: u64,
    /// On the chains.
    pub transactions: u64,
    /// Committed and pending.
    pub chunks: u64,
    /// Read to be hashed.
    pub bytes: u64,
    pub harmless: u64,
    pub unchecked: u64,
    pub damage: u64,
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no store here, or one of a format that this program does not know.
    #[error("{0}")]
    NotAStore(String),
    /// The user who was named has no folder.
    #[error("there is no such user")]
    NoSuchUser,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Counters that all threads of a run count in.
#[derive(Default)]
pub(super) struct Counters {
    pub users: AtomicU64,
    pub transactions: AtomicU64,
    pub chunks: AtomicU64,
    pub bytes: AtomicU64,
    pub harmless: AtomicU64,
    pub unchecked: AtomicU64,
    pub damage: AtomicU64,
}

/// One run of fsck.
pub(super) struct Run<'a> {
    pub store: Store,
    /// The owner that all in the store should have.
    pub owner: Owner,
    pub options: &'a CheckOptions,
    pub watch: &'a dyn Observer,
    pub tally: Counters,
}

impl Counters {
    /// The counters as they stand.
    pub fn summary(&self) -> Summary {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Summary {
            users: get(&self.users),
            transactions: get(&self.transactions),
            chunks: get(&self.chunks),
            bytes: get(&self.bytes),
            harmless: get(&self.harmless),
            unchecked: get(&self.unchecked),
            damage: get(&self.damage),
        }
    }
}

impl Run<'_> {
    /// Counts a finding and passes it on.
    pub fn found(&self, finding: &Finding) {
        let counter = match finding.severity {
            Severity::Harmless => &self.tally.harmless,
            Severity::Unchecked => &self.tally.unchecked,
            Severity::Damage => &self.tally.damage,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.watch.found(finding);
    }
}
