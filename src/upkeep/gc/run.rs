//! A run of gc: all users one after the other, and the top of the data directory.

use super::clock::{Clock, clock};
use super::collect::{Collected, collect_and_mend};
use super::event::{Besides, CollectOptions, Ended, Event};
use crate::model::UserId;
use crate::store::{Result, Store};

/// Collects the garbage of one user or, without one, of all users and at the top.
///
/// # Errors
/// Only if the users cannot be listed, or the store is a device's, whose pending transactions nobody may take; what goes wrong with one of them is an [`Event`].
pub fn run(
    store: &Store,
    only: Option<&UserId>,
    options: &CollectOptions,
    each: &mut dyn FnMut(Event),
) -> Result<Ended> {
    store.for_a_server()?;
    match clock(store, options)? {
        Clock::Fine => {}
        Clock::Leapt { last, now } => return Ok(Ended::ClockLeapt { last, now }),
        Clock::Unset { now } => return Ok(Ended::ClockUnset { now }),
    }
    let users = match only {
        Some(user) => vec![*user],
        None => store.users()?,
    };
    for user in users {
        let mut besides = Besides::default();
        let collected =
            collect_and_mend(&store.user(user), options, &mut besides, &mut |garbage| {
                each(Event::Garbage { user, garbage });
            });
        let Besides {
            redated,
            put_back,
            trouble,
        } = besides;
        if redated > 0 {
            let files = redated;
            each(Event::Redated { user, files });
        }
        if put_back > 0 {
            let files = put_back;
            each(Event::PutBack { user, files });
        }
        if let Some(error) = trouble {
            each(Event::Unsure { user, error });
        }
        match collected {
            Ok(Collected::All) => {}
            Ok(Collected::Frozen) => each(Event::Frozen(user)),
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
        for left in store.left_at_top() {
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
    Ok(Ended::Done)
}
