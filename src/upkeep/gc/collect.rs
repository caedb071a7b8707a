//! The collection of one user's garbage: mark, then sweep.

use super::event::{Besides, CollectOptions, Garbage, Why};
use super::mark::Mark;
use super::sweep::{Sweep, SweepStop};
use crate::model::UserId;
use crate::rules::dates::Memory;
use crate::store::{Error, Item, Result, Store, SweepStamp, Swept, User};

/// How a collection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// All garbage is gone.
    All,
    /// Another collection is at work on this user: the rest is left to that one, or to the next.
    Overtaken,
    /// The user is frozen, and nothing of theirs goes.
    Frozen,
}

/// Collects one user's garbage, and calls `each` for everything that went (or, in a dry run, would
/// go). A file with a date that cannot be right is kept and made young. Safe beside a running server, and beside
/// other collections. The caller asks [`clock`](super::clock()) first.
///
/// # Errors
/// What was told to `each` is gone, the rest stays, and the store is sound. [`Error::Damaged`] where
/// something pending cannot be read: what it needs cannot be known then, so nothing goes; and where the chain
/// cannot be read: then all went but what it might name.
pub fn collect(
    store: &Store,
    user: &UserId,
    options: &CollectOptions,
    each: &mut dyn FnMut(Garbage),
) -> Result<Collected> {
    store.for_a_server()?;
    let mut besides = Besides::default();
    let collected = collect_and_mend(&store.user(*user), options, &mut besides, each)?;
    match besides.trouble {
        Some(error) => Err(error),
        None => Ok(collected),
    }
}

/// Collects as [`collect`] does, and notes what else was done.
///
/// Whoever was deleted or renamed meanwhile, or came just now, has nothing that this run is about: however it ended, that is
/// no failure. What it found in one folder it takes from no other, see [`SweepStamp`].
pub(super) fn collect_and_mend(
    user: &User,
    options: &CollectOptions,
    besides: &mut Besides,
    each: &mut dyn FnMut(Garbage),
) -> Result<Collected> {
    let folder = user.which_folder()?;
    let collected = collect_of_folder(user, options, besides, each);
    if user.which_folder()? != folder {
        besides.trouble = None;
        return Ok(Collected::All);
    }
    match collected {
        Err(Error::UserGone) => Ok(Collected::All),
        Err(Error::Moving) => Ok(Collected::Frozen),
        other => other,
    }
}

/// Collects the garbage of the folder that is the user's when this begins.
fn collect_of_folder(
    user: &User,
    options: &CollectOptions,
    besides: &mut Besides,
    each: &mut dyn FnMut(Garbage),
) -> Result<Collected> {
    if user.is_frozen()? {
        return Ok(Collected::Frozen);
    }
    let stamp = match options.dry_run {
        true => SweepStamp::default(),
        false => match user.shared_blocking()? {
            // Under the lock, or it could be that of a batch which goes on to sweep what is marked.
            Some(_lock) => user.sweep_stamp()?,
            None => return Ok(Collected::All),
        },
    };
    let Some(mut mark) = Mark::of(user, options.grace, stamp)? else {
        return Ok(Collected::All);
    };
    if options.dry_run {
        mark.tell(each);
        besides.put_back = (mark.named().len() + mark.checkpoint.uncommitted.len()) as u64;
        besides.trouble = mark.trouble.take();
        for (item, bytes) in user.left_behind(&mark.dates)? {
            each(left_behind(item, bytes));
        }
        return Ok(Collected::All);
    }
    let mut sweep = Sweep {
        user,
        mark,
        redated: 0,
        put_back: 0,
    };
    let ran = sweep.run(each);
    (besides.redated, besides.put_back) = (sweep.redated, sweep.put_back);
    let mut mark = sweep.mark;
    besides.trouble = mark.trouble.take();
    let ended = match ran {
        Ok(()) => Collected::All,
        Err(SweepStop::Overtaken) => Collected::Overtaken,
        Err(SweepStop::Error(error)) => return Err(error),
    };
    user.redate_temporaries(&mark.dates)?;
    for (item, bytes) in user.left_behind(&mark.dates)? {
        if user.sweep_temporary(&item, &mark.dates)? == Swept::Gone {
            each(left_behind(item, bytes));
        }
    }
    if ended == Collected::All {
        let before = user.gc_memory()?;
        let memory = Memory::of(before.as_ref(), mark.now, mark.grace, mark.oldest_left());
        user.remember_gc(mark.stamp, mark.stamp == stamp, &memory)?;
    }
    Ok(ended)
}

fn left_behind(item: Item, bytes: u64) -> Garbage {
    let why = Why::LeftBehind;
    Garbage { item, why, bytes }
}
