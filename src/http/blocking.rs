//! The way from an async request to the synchronous store.

use tokio::time::{Instant, timeout_at};

use super::answer::error::Error;
use super::site::Site;
use super::work::for_user;
use crate::model::{UserId, limits};
use crate::store::{self, Glance, User};

/// Runs work for this user that may wait for the disk on a thread; never for a lock, since all users share the
/// threads. Once started it goes on to its end, even if the client goes away meanwhile: whatever it needs,
/// locks included, moves into it.
///
/// # Errors
/// Those of the store; 503 `busy` where no thread is to be had in time.
pub async fn blocking<T: Send + 'static>(
    site: &Site,
    user: &UserId,
    work: impl FnOnce(&User) -> store::Result<T> + Send + 'static,
) -> Result<T, Error> {
    Ok(tried(site, user, work).await??)
}

/// Runs work as [`blocking`] does, and keeps the errors of the store apart.
async fn tried<T: Send + 'static>(
    site: &Site,
    user: &UserId,
    work: impl FnOnce(&User) -> store::Result<T> + Send + 'static,
) -> Result<store::Result<T>, Error> {
    let theirs = site.store.user(*user);
    Ok(for_user(user, move || work(&theirs)).await?)
}

/// Looks at the chain, and again once `log` was mended where the look says that it must be. Waiting for that
/// holds no thread.
///
/// # Errors
/// Those of [`blocking`]; 503 `busy` where mending takes longer than [`limits::LOCK_WAIT`].
pub async fn reading<T: Send + 'static>(
    site: &Site,
    user: &UserId,
    look: impl Fn(&User) -> store::Result<T> + Clone + Send + 'static,
) -> Result<T, Error> {
    let until = Instant::now() + limits::LOCK_WAIT;
    let theirs = site.store.user(*user);
    for _ in 0..limits::LOG_LOOKS {
        let before = theirs.mends();
        match tried(site, user, look.clone()).await? {
            Err(store::Error::LogIsWrong) => {}
            seen => {
                if theirs.is_mend_due() {
                    // The look went around the wrong line. Whether the mending can begin does not concern it.
                    let _ = theirs.mend_aside(before);
                }
                return Ok(seen?);
            }
        }
        theirs.mend_aside(before)?;
        let mended = theirs.mended(before);
        (timeout_at(until, mended).await).map_err(|_| store::Error::Busy)?;
    }
    Err(theirs.still_wrong().into())
}

/// Has `log` mended, for an advance that needs it: once, whatever the outcome.
///
/// # Errors
/// Those of the store; 503 `busy` where it takes longer than [`limits::LOCK_WAIT`].
pub async fn mend(site: &Site, user: &UserId, before: u64) -> Result<(), Error> {
    let until = Instant::now() + limits::LOCK_WAIT;
    let theirs = site.store.user(*user);
    theirs.mend_aside(before)?;
    let mended = theirs.mended_wholly();
    Ok((timeout_at(until, mended).await).map_err(|_| store::Error::Busy)?)
}

/// Makes sure that something may be said about this user: that the store is there, and all of a folder that
/// comes from outside is durable. That is done once though many ask; they wait without a thread.
///
/// # Errors
/// 500 `damaged` where the store went away; 503 `moving` where the user is frozen, and this is not for one who is; 503 `busy` where it takes longer than
/// [`limits::LOCK_WAIT`], and goes on meanwhile.
pub async fn meet(site: &Site, theirs: User) -> Result<(), Error> {
    let user = *theirs.id();
    if theirs.glance()? != Glance::ToMeet {
        return Ok(());
    }
    let met = async {
        let turn = theirs.meeting().await;
        if theirs.glance()? != Glance::ToMeet {
            return Ok(());
        }
        // The work goes on, with the turn, even if nobody waits for it any more.
        let met = theirs.clone();
        blocking(site, &user, move |_| {
            let _turn = turn;
            met.meet()
        })
        .await
    };
    let met = tokio::time::timeout(limits::LOCK_WAIT, met).await;
    met.map_err(|_| store::Error::Busy)?
}
