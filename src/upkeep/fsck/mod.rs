//! Checks a store, also while it is served, and mends what can be mended without loss.
//!
//! HEAD is read first, then everything that it reaches: whatever an advance adds meanwhile is more than is
//! looked for, never less. What looks wrong is looked at again before it is reported. Memory does not
//! depend on the size of the store; every file is read once, on all cores.

mod access;
mod chain;
mod check;
mod checkpoint;
mod content_ids;
mod crew;
mod files;
mod filter;
mod finding;
mod frozen;
mod lines;
mod local;
mod named;
mod owners;
mod pending;
mod pending_listing;
mod repair;
mod run;
mod seen_checkpoint;
mod suspect;
mod suspects;
mod top;
mod user;
mod walk;
mod wrong_ids;

pub(super) use access::is_foreign;
pub use finding::{Finding, Kind, Mended, Severity};
pub use run::{CheckOptions, Error, Observer, Summary};

use std::sync::Arc;

use run::{Counters, Run};

use crate::disk::Disk;
use crate::model::UserId;
use crate::store::{self, Store, layout};

/// Checks the store in this directory. Never stops at the first finding.
///
/// Costs one look at every file and, unless [`CheckOptions::quick`], reading every chunk once. Reads only,
/// unless [`CheckOptions::repair`].
///
/// # Errors
/// Nothing was checked.
pub fn check(
    disk: Arc<dyn Disk>,
    options: &CheckOptions,
    watch: &dyn Observer,
) -> Result<Summary, Error> {
    check_store(Store::examine(disk), options, watch)
}

/// Checks as [`check`] does, breaking one rule, for a test that must notice.
#[cfg(feature = "mistakes")]
pub fn check_with_mistake(
    disk: Arc<dyn Disk>,
    options: &CheckOptions,
    watch: &dyn Observer,
    mistake: store::Mistake,
) -> Result<Summary, Error> {
    check_store(Store::examine_with_mistake(disk, mistake), options, watch)
}

fn check_store(
    store: Store,
    options: &CheckOptions,
    watch: &dyn Observer,
) -> Result<Summary, Error> {
    let top = store.disk().meta(&layout::top());
    let run = Run {
        owner: top.map_err(store::Error::from)?.owner,
        store,
        options,
        watch,
        tally: Counters::default(),
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
