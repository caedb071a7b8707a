//! The way from an async request to the synchronous store.

use std::sync::Arc;

use futures_util::FutureExt;

use super::Site;
use super::problem::Problem;
use crate::disk::Mode;
use crate::model::{UserId, limits};
use crate::store::{self, Glance, Store, UserLock};

/// Runs work that may wait for the disk on a thread of its own.
///
/// Once started it goes on to its end, even if the client goes away meanwhile: whatever it needs,
/// locks included, moves into it.
pub async fn blocking<T: Send + 'static>(
    site: &Site,
    work: impl FnOnce(&Store) -> store::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let store = Arc::clone(&site.store);
    Ok(aside(move || work(&store)).await??)
}

/// The same for work that needs no store.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|broken| {
        log::error!("work for a request broke off: {broken}");
        Problem::internal()
    })
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
        blocking(site, move |store| {
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
/// work that is on a thread of its own already.
pub fn lock_now(store: &Store, user: &UserId, mode: Mode) -> Option<store::Result<UserLock>> {
    let lock = store.lock(user, mode).now_or_never()?;
    Some(lock.and_then(|lock| lock.ok_or(store::Error::UserGone)))
}
