//! The way from an async request to the synchronous store.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::answer::error::Error;
use super::site::Site;
use super::work::for_user;
use crate::disk::Mode;
use crate::model::{UserId, limits};
use crate::store::{self, Glance, Store, UserLock};

/// Runs work for this user that may wait for the disk on a thread; never for a lock, since all users share the
/// threads. Once started it goes on to its end, even if the client goes away meanwhile: whatever it needs,
/// locks included, moves into it.
///
/// # Errors
/// Those of the store; 503 `busy` where no thread is to be had in time.
pub async fn blocking<T: Send + 'static>(
    site: &Site,
    user: &UserId,
    work: impl FnOnce(&Store) -> store::Result<T> + Send + 'static,
) -> Result<T, Error> {
    Ok(tried(site, user, work).await??)
}

/// Runs work as [`blocking`] does, and keeps the errors of the store apart.
async fn tried<T: Send + 'static>(
    site: &Site,
    user: &UserId,
    work: impl FnOnce(&Store) -> store::Result<T> + Send + 'static,
) -> Result<store::Result<T>, Error> {
    let store = Arc::clone(&site.store);
    Ok(for_user(user, move || work(&store)).await?)
}

/// Looks at the chain, and again once `log` was mended where the look says that it must be. Waiting for that
/// holds no thread.
///
/// # Errors
/// Those of [`blocking`]; 503 `busy` where mending takes longer than [`limits::LOCK_WAIT`].
pub async fn reading<T: Send + 'static>(
    site: &Site,
    user: &UserId,
    look: impl Fn(&Store) -> store::Result<T> + Clone + Send + 'static,
) -> Result<T, Error> {
    let until = Instant::now() + limits::LOCK_WAIT;
    for _ in 0..limits::LOG_LOOKS {
        let before = site.store.mends(user);
        match tried(site, user, look.clone()).await? {
            Err(store::Error::LogIsWrong) => {}
            seen => {
                if site.store.is_mend_due(user) {
                    // The look went around the wrong line. Whether the mending can begin does not concern it.
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

/// Has `log` mended, for an advance that needs it: once, whatever the outcome.
///
/// # Errors
/// Those of the store; 503 `busy` where it takes longer than [`limits::LOCK_WAIT`].
pub async fn mend(site: &Site, user: &UserId, before: u64) -> Result<(), Error> {
    let until = Instant::now() + limits::LOCK_WAIT;
    site.store.mend_aside(user, before)?;
    let mended = site.store.mended_wholly(user);
    Ok((timeout_at(until, mended).await).map_err(|_| store::Error::Busy)?)
}

/// Makes sure that something may be said about this user: that the store is there, and all of a folder that
/// comes from outside is durable. That is done once though many ask; they wait without a thread.
///
/// # Errors
/// 500 `damaged` where the store went away; 503 `busy` where it takes longer than
/// [`limits::LOCK_WAIT`], and goes on meanwhile.
pub async fn meet(site: &Site, user: UserId) -> Result<(), Error> {
    if site.store.glance(&user)? != Glance::ToMeet {
        return Ok(());
    }
    let met = async {
        let turn = site.store.meeting(&user).await;
        if site.store.glance(&user)? != Glance::ToMeet {
            return Ok(());
        }
        // The work goes on, with the turn, even if nobody waits for it any more.
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
///
/// # Errors
/// Those of the store, `Busy` among them.
pub async fn lock(site: &Site, user: &UserId, mode: Mode) -> Result<Option<UserLock>, Error> {
    Ok(site.store.lock(user, mode).await?)
}

/// Takes the lock of a user who has just been seen to have a folder, waiting without a thread.
///
/// # Errors
/// Those of [`lock`], and `UserGone` where the folder is not there any more.
pub async fn lock_known(site: &Site, user: &UserId, mode: Mode) -> Result<UserLock, Error> {
    Ok(lock(site, user, mode)
        .await?
        .ok_or(store::Error::UserGone)?)
}

/// Takes the lock of a user who has just been seen to have a folder, if that needs no waiting: for
/// work that is on a thread already. `None` where it needs some.
///
/// # Errors
/// Those of [`lock_known`].
pub fn lock_now(store: &Store, user: &UserId, mode: Mode) -> Option<store::Result<UserLock>> {
    let lock = store.lock(user, mode).now_or_never()?;
    Some(lock.and_then(|lock| lock.ok_or(store::Error::UserGone)))
}
