//! Garbage collection (DESIGN, Garbage): mark without the lock, sweep in small batches under it.
//!
//! Every step of the order is load-bearing; `model/` shows what each one prevents. Costs in
//! proportion to what is in `incoming/`, in time and in memory, never to the chain.

mod mark;
mod sweep;
mod timer;

pub use timer::every;

use std::time::{Duration, SystemTime};

use crate::disk::{Mode, Place};
use crate::model::{UserId, limits};
use crate::rules::dates::Memory;
use crate::rules::garbage::is_young;
use crate::store::{Error, Item, Result, Store, SweepStamp, Swept};
use mark::Mark;
use sweep::{Stop, Sweep};

/// How to collect.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long what nothing reachable needs is kept.
    pub grace: Duration,
    /// Tell what would go, and touch nothing.
    pub dry_run: bool,
    /// Collect though the clock has leapt.
    pub force: bool,
}

impl Default for Options {
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
pub enum Run {
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

/// Collects the garbage of one user or, without one, of all users and at the top.
///
/// # Errors
/// Only if the users cannot be listed; what goes wrong with one of them is an [`Event`].
pub fn run(
    store: &Store,
    only: Option<&UserId>,
    options: &Options,
    each: &mut dyn FnMut(Event),
) -> Result<Run> {
    match clock(store, options)? {
        Clock::Fine => {}
        Clock::Leapt { last, now } => return Ok(Run::ClockLeapt { last, now }),
        Clock::Unset { now } => return Ok(Run::ClockUnset { now }),
    }
    let users = match only {
        Some(user) => vec![*user],
        None => store.users()?,
    };
    for user in users {
        let mut files = 0;
        let collected = collect_and_redate(store, &user, options, &mut files, &mut |garbage| {
            each(Event::Garbage { user, garbage });
        });
        if files > 0 {
            each(Event::Redated { user, files });
        }
        match collected {
            Ok(Collected::All) => {}
            Ok(Collected::Overtaken) => each(Event::Overtaken(user)),
            Err(error) => each(Event::Failed {
                user: Some(user),
                error,
            }),
        }
    }
    if only.is_none() {
        if !options.dry_run
            && let Err(error) = store.redate_top()
        {
            each(Event::Failed { user: None, error });
        }
        for left in store.left_at_top()? {
            let swept = left.and_then(|place| match options.dry_run {
                true => Ok(place),
                false => store.sweep_top(&place).map(|()| place),
            });
            each(match swept {
                Ok(place) => Event::LeftBehind(place),
                Err(error) => Event::Failed { user: None, error },
            });
        }
    }
    Ok(Run::Done)
}

/// What gc makes of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Fine,
    Leapt {
        last: SystemTime,
        now: SystemTime,
    },
    /// It says a time before this program was written, as a box says that has no clock while it is off.
    Unset {
        now: SystemTime,
    },
}

/// Whether the clock may be believed: gc ran on some user not longer ago than the grace period, or
/// never. A clock that was put back only makes things young.
///
/// The period is the default one where a shorter was chosen, or a daily run could not collect after
/// an hour.
pub fn clock(store: &Store, options: &Options) -> Result<Clock> {
    let now = store.now();
    if !options.force && now < SystemTime::UNIX_EPOCH + limits::EARLIEST_DATE {
        return Ok(Clock::Unset { now });
    }
    let Some(last) = last_run(store)? else {
        return Ok(Clock::Fine);
    };
    let far = options.grace.max(limits::GRACE);
    if options.force || is_young(last, now, far) {
        Ok(Clock::Fine)
    } else {
        Ok(Clock::Leapt { last, now })
    }
}

/// When gc last ran, on any user.
pub fn last_run(store: &Store) -> Result<Option<SystemTime>> {
    let mut last = None;
    for user in store.users()? {
        last = last.max(store.last_gc(&user)?);
    }
    Ok(last)
}

/// How a collection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// All garbage is gone.
    All,
    /// Another collection is at work on this user: the rest is left to that one, or to the next.
    Overtaken,
}

/// Collects one user's garbage, and calls `each` for everything that went (or, in a dry run, would
/// go). What has a date that cannot be right is kept and made young. Safe beside a running server, and beside other collections. The caller asks [`clock`] first.
///
/// # Errors
/// What was told to `each` is gone, the rest stays, and the store is sound. [`Error::Damaged`] where
/// something pending cannot be read: what it needs cannot be known then, so nothing goes.
pub fn collect(
    store: &Store,
    user: &UserId,
    options: &Options,
    each: &mut dyn FnMut(Garbage),
) -> Result<Collected> {
    collect_and_redate(store, user, options, &mut 0, each)
}

/// The same, counting what was made young.
fn collect_and_redate(
    store: &Store,
    user: &UserId,
    options: &Options,
    redated: &mut u64,
    each: &mut dyn FnMut(Garbage),
) -> Result<Collected> {
    match collect_of_folder(store, user, options, redated, each) {
        // Whoever was deleted or renamed meanwhile, or came just now, has nothing that this run is about.
        Err(Error::UserGone) => Ok(Collected::All),
        other => other,
    }
}

/// The same, of the folder that is the user's when this begins.
fn collect_of_folder(
    store: &Store,
    user: &UserId,
    options: &Options,
    redated: &mut u64,
    each: &mut dyn FnMut(Garbage),
) -> Result<Collected> {
    let stamp = match options.dry_run {
        true => SweepStamp::default(),
        false => match store.lock_blocking(user, Mode::Shared)? {
            // Under the lock, or it could be that of a batch which goes on to sweep what is marked.
            Some(_lock) => store.sweep_stamp(user)?,
            None => return Ok(Collected::All),
        },
    };
    let Some(mark) = Mark::of(store, user, options.grace, stamp)? else {
        return Ok(Collected::All);
    };
    if options.dry_run {
        mark.tell(each);
        for (item, bytes) in store.left_behind(user, &mark.dates)? {
            each(left_behind(item, bytes));
        }
        return Ok(Collected::All);
    }
    let mut sweep = Sweep {
        store,
        user,
        mark,
        redated: 0,
    };
    let ran = sweep.run(each);
    *redated = sweep.redated;
    let mark = sweep.mark;
    let ended = match ran {
        Ok(()) => Collected::All,
        Err(Stop::Overtaken) => Collected::Overtaken,
        Err(Stop::Error(error)) => return Err(error),
    };
    store.redate_temporaries(user, &mark.dates)?;
    for (item, bytes) in store.left_behind(user, &mark.dates)? {
        if store.sweep_temporary(user, &item, &mark.dates)? == Swept::Gone {
            each(left_behind(item, bytes));
        }
    }
    if ended == Collected::All {
        let before = store.gc_memory(user)?;
        let memory = Memory::of(before.as_ref(), mark.now, mark.grace, mark.oldest_left());
        store.remember_gc(user, mark.stamp, mark.stamp == stamp, &memory)?;
    }
    Ok(ended)
}

fn left_behind(item: Item, bytes: u64) -> Garbage {
    let why = Why::LeftBehind;
    Garbage { item, why, bytes }
}
