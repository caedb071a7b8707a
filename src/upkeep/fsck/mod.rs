//! Checks a store, also while it is served, and mends what can be mended without loss.
//!
//! HEAD is read first, then everything that it reaches: whatever an advance adds meanwhile is more than is
//! looked for, never less. What looks wrong is looked at again before it is reported. Memory does not
//! depend on the size of the store; every file is read once, on all cores.

mod chain;
mod crew;
mod doubts;
mod files;
mod filter;
mod finding;
mod owners;
mod pending;
mod repair;
mod top;
mod user;
mod walk;

pub use finding::{Finding, Kind, Mended, Severity};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{Disk, Owner};
use crate::model::{Head, UserId};
use crate::store::{self, Store, layout};

/// What to check, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// This user only.
    pub user: Option<UserId>,
    /// Chunks are looked at, but not read.
    pub quick: bool,
    /// Mend what can be mended without loss.
    pub repair: bool,
    /// How many files are read at a time. With 1 all happens on the caller's thread.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user: None,
            quick: false,
            repair: false,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
        }
    }
}

/// Whoever wants to know. Called from several threads at a time.
pub trait Watch: Sync {
    /// Something is not as it should be.
    fn found(&self, finding: &Finding);
    /// Something was mended, or could not be.
    fn mended(&self, mended: &Mended);
    /// The chain of this user is damaged; this is the newest transaction whose whole past is sound (the
    /// root if there is none other).
    fn newest_sound(&self, user: &UserId, newest: Head);
    /// One more transaction or chunk has been checked, with so many bytes read.
    fn checked(&self, bytes: u64);
}

/// What was checked and found.
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

#[derive(Default)]
struct Tally {
    users: AtomicU64,
    transactions: AtomicU64,
    chunks: AtomicU64,
    bytes: AtomicU64,
    harmless: AtomicU64,
    unchecked: AtomicU64,
    damage: AtomicU64,
}

/// One run of fsck.
struct Run<'a> {
    store: Store,
    /// Whose everything in it should be.
    owner: Owner,
    options: &'a Options,
    watch: &'a dyn Watch,
    tally: Tally,
}

/// Checks the store in this directory. Never stops at the first finding.
///
/// Costs one look at every file and, unless [`Options::quick`], reading every chunk once. Reads only,
/// unless [`Options::repair`].
///
/// # Errors
/// Nothing was checked.
pub fn check(disk: Arc<dyn Disk>, options: &Options, watch: &dyn Watch) -> Result<Summary, Error> {
    check_store(Store::examine(disk), options, watch)
}

/// The same, breaking one rule, for a test that must notice.
#[cfg(feature = "mistakes")]
pub fn check_with_mistake(
    disk: Arc<dyn Disk>,
    options: &Options,
    watch: &dyn Watch,
    mistake: store::Mistake,
) -> Result<Summary, Error> {
    check_store(Store::examine_with_mistake(disk, mistake), options, watch)
}

fn check_store(store: Store, options: &Options, watch: &dyn Watch) -> Result<Summary, Error> {
    let top = store.disk().meta(&layout::top());
    let run = Run {
        owner: top.map_err(store::Error::from)?.owner,
        store,
        options,
        watch,
        tally: Tally::default(),
    };
    let users = run.top()?;
    if options.repair {
        // As at the start of a server: what is relied on from here on is durable.
        let synced = run.store.disk().sync_everything();
        synced.map_err(store::Error::from)?;
    }
    for user in users {
        run.user(user);
    }
    Ok(run.tally.summary())
}

/// How many transactions and chunks there are to be checked, for a progress bar. Costs a listing.
pub fn count(disk: Arc<dyn Disk>, user: Option<UserId>) -> store::Result<u64> {
    let store = Store::examine(disk);
    let users = match user {
        Some(user) => vec![user],
        None => store.users()?,
    };
    Ok(users.iter().map(|user| files::count(&store, user)).sum())
}

impl Tally {
    fn summary(&self) -> Summary {
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
    fn found(&self, finding: &Finding) {
        let counter = match finding.severity {
            Severity::Harmless => &self.tally.harmless,
            Severity::Unchecked => &self.tally.unchecked,
            Severity::Damage => &self.tally.damage,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.watch.found(finding);
    }
}
