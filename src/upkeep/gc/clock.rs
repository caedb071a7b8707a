//! Whether the clock may be believed: with a wrong one everything looks old.

use std::time::SystemTime;

use super::event::CollectOptions;
use crate::model::limits;
use crate::rules::garbage::is_young;
use crate::store::{Result, Store};

/// The judgement of gc about the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Fine,
    Leapt {
        last: SystemTime,
        now: SystemTime,
    },
    /// The clock shows a time before this program was written, as on a box that has none while it is off.
    Unset {
        now: SystemTime,
    },
}

/// Whether the clock may be believed: gc ran on some user not longer ago than the grace period, or
/// never. A clock that was put back only makes things young.
///
/// The period is the default one where a shorter was chosen, or a daily run could not collect after
/// an hour.
pub fn clock(store: &Store, options: &CollectOptions) -> Result<Clock> {
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

/// The time of the last run of gc on any user; `None` if it never ran. Costs a look for each user.
///
/// Whoever cannot be looked at tells nothing, and the others tell enough: the collection of that user says what is
/// the matter.
///
/// # Errors
/// Only if the users cannot be listed.
pub fn last_run(store: &Store) -> Result<Option<SystemTime>> {
    let users = store.users()?.into_iter();
    let ran = users.filter_map(|user| store.user(user).last_gc().ok().flatten());
    Ok(ran.max())
}
