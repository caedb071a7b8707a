//! The way from an async request to the synchronous store.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::Site;
use super::answer::problem::Problem;
use super::threads::{self, Begun, NoOutcome};
use crate::disk::Mode;
use crate::model::{UserId, limits};
use crate::store::{self, Glance, Store, UserLock};

/// Runs work for this user that may wait for the disk on a thread; never for a lock, since the thread is
/// everybody's. 503 `busy` where none is to be had in time.
///
/// Once started it goes on to its end, even if the client goes away meanwhile: whatever it needs,
/// locks included, moves into it.
pub async fn blocking<T: Send + 'static>(
    site: &Site,
    user: &UserId,
    work: impl FnOnce(&Store) -> store::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    Ok(tried(site, user, work).await??)
}

/// The same, with what the store says of it.
async fn tried<T: Send + 'static>(
    site: &Site,
    user: &UserId,
    work: impl FnOnce(&Store) -> store::Result<T> + Send + 'static,
) -> Result<store::Result<T>, Problem> {
    let store = Arc::clone(&site.store);
    for_user(user, move || work(&store)).await
}

/// Runs work for this user that needs no store.
pub async fn for_user<T: Send + 'static>(
    user: &UserId,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    outcome(threads::begin(user, work)).await
}

/// What came of work for a user.
pub async fn outcome<T>(begun: Begun<T>) -> Result<T, Problem> {
    begun.outcome().await.map_err(|none| match none {
        NoOutcome::Busy => Problem::busy("this user has as many requests under way as are served"),
        NoOutcome::BrokeOff => {
            log::error!("work for a request broke off");
            Problem::internal()
        }
    })
}

/// Runs work that is no user's in particular.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|broken| {
        log::error!("work for a request broke off: {broken}");
        Problem::internal()
    })
}

/// Looks at the chain, and again once `log` was mended where the look says that it must be. Waiting for that
/// holds no thread; 503 `busy` where it takes longer than one waits for a lock.
pub async fn reading<T: Send + 'static>(
    site: &Site,
    user: &UserId,
    look: impl Fn(&Store) -> store::Result<T> + Clone + Send + 'static,
) -> Result<T, Problem> {
    let until = Instant::now() + limits::LOCK_WAIT;
    for _ in 0..limits::LOG_LOOKS {
        let before = site.store.mends(user);
        match tried(site, user, look.clone()).await? {
            Err(store::Error::LogIsWrong) => {}
            seen => {
                if site.store.is_mend_due(user) {
                    // It was read around; whether the next one must be is not this one's concern.
                    let _ = site.store.mend_aside(user, before);
                }
                return Ok(seen?);
            }
        }
        site.store.mend_aside(user, before)?;
        let mended = site.store.mended(user, before);
        (timeout_at(until, mended).await).map_err(|_| store::Error::Busy)?;
    }
    Err(store::still_wrong(user).into())
}

/// Has `log` mended, for an advance that needs it: once, whatever comes of it.
pub async fn mend(site: &Site, user: &UserId, before: u64) -> Result<(), Problem> {
    let until = Instant::now() + limits::LOCK_WAIT;
    site.store.mend_aside(user, before)?;
    let mended = site.store.mended_wholly(user);
    Ok((timeout_at(until, mended).await).map_err(|_| store::Error::Busy)?)
}

/// Sees that something may be said about this user: that the store is there, and all of a folder that comes
/// from outside is durable. That is done once though many ask; they wait without a thread.
///
/// # Errors
/// 500 `damaged` where the store went away; 503 `busy` where it takes longer than
/// [`limits::LOCK_WAIT`], and goes on meanwhile.
pub async fn meet(site: &Site, user: UserId) -> Result<(), Problem> {
    if site.store.glance(&user)? != Glance::ToMeet {
        return Ok(());
    }
    let met = async {
        let turn = site.store.meeting(&user).await;
        if site.store.glance(&user)? != Glance::ToMeet {
            return Ok(());
        }
        // It goes on, with the turn, even if nobody waits for it any more.
        blocking(site, &user, move |store| {
            let _turn = turn;
            store.meet(&user)
        })
        .await
    };
    let met = tokio::time::timeout(limits::LOCK_WAIT, met).await;
    met.map_err(|_| store::Error::Busy)?
}

/// Takes the user's lock, waiting without a thread; `None` where the user has no folder.
pub async fn lock(site: &Site, user: &UserId, mode: Mode) -> Result<Option<UserLock>, Problem> {
    Ok(site.store.lock(user, mode).await?)
}

/// The same for a user who has just been seen to have one.
pub async fn lock_known(site: &Site, user: &UserId, mode: Mode) -> Result<UserLock, Problem> {
    Ok(lock(site, user, mode)
        .await?
        .ok_or(store::Error::UserGone)?)
}

/// Takes the lock of a user who has just been seen to have a folder, if that needs no waiting: for
/// work that is on a thread already.
pub fn lock_now(store: &Store, user: &UserId, mode: Mode) -> Option<store::Result<UserLock>> {
    let lock = store.lock(user, mode).now_or_never()?;
    Some(lock.and_then(|lock| lock.ok_or(store::Error::UserGone)))
}
