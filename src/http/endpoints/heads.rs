//! `/0.1/{user}/head`: where the chain ends.

use std::time::Duration;

use actix_web::dev::RequestHead;
use actix_web::http::{StatusCode, header};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::http::answer::error::Error;
use crate::http::answer::json;
use crate::http::answer::outcome::{Answer, CHANGING, Contents, Resource};
use crate::http::answer::problem::Problem;
use crate::http::blocking::{blocking, mend};
use crate::http::request::body::Body;
use crate::http::request::conditions::{holds, may_change};
use crate::http::request::limiters::Who;
use crate::http::site::Site;
use crate::http::watch::WaiterWoken;
use crate::http::work::for_user;
use crate::model::{Head, TransactionId, UserId, limits};
use crate::store::{self, Advance, AdvanceRefusal, Exclusive};
use crate::wire::{Code, HeadMessage, JSON, parse_head, parse_wait};

/// `GET`: 200 with the head and its number, 304 when `If-None-Match` names it; 412
/// `precondition-failed` when `If-Match` does not. With `wait`, 304 only once the time is up: it is
/// answered as soon as the head is another one. 400 `bad-query`; 503 `busy` when too many wait.
pub async fn get(site: &Site, request: &RequestHead, user: UserId) -> Result<Answer, Error> {
    let wait = parse_wait(request.uri.query())?;
    let held = request.headers().contains_key(header::IF_NONE_MATCH);
    let head = if wait.is_zero() || !held {
        blocking(site, &user, move |user| user.head()).await?
    } else {
        let is_new = |head: Head| !holds(request.headers(), &tag(head));
        let _permit = site
            .limiters
            .waiters
            .take(Who::of(request, Some(user)), 1)?;
        another_head(site, user, wait, is_new).await?
    };
    Ok(Answer::Resource(Resource {
        tag: tag(head),
        media: JSON,
        caching: CHANGING,
        ranges: false,
        more: Vec::new(),
        contents: Contents::Memory(json(&HeadMessage::from(head))),
    }))
}

fn tag(head: Head) -> String {
    format!("\"{}\"", head.id)
}

/// Waits for the first head that is new; returns the last one seen when the time is up or the server ends. The
/// connection of a client that is gone ends, and the waiting with it. The disk is looked at once the request
/// is here, so a head that the client was told before, by whichever server, is no news. From then on, a head is news
/// where it comes after the one seen.
async fn another_head(
    site: &Site,
    user: UserId,
    wait: Duration,
    is_new: impl Fn(Head) -> bool,
) -> Result<Head, Error> {
    let end = Instant::now() + wait;
    let mut waiter = site.watch.wait(user);
    let look = || blocking(site, &user, move |user| user.look());
    let mut seen = look().await?;
    while !is_new(seen.head) {
        let now = match timeout_at(end, waiter.woken()).await {
            Ok(WaiterWoken::Seen(now)) => now,
            Ok(WaiterWoken::Look) => look().await?,
            Ok(WaiterWoken::Closed) | Err(_) => break,
        };
        if now.is_news_after(&seen) {
            seen = now;
        }
    }
    site.store.is_there()?;
    Ok(seen.head)
}

/// `PUT`: 204, HEAD is there. 412 `precondition-failed`, with the current head, where `If-Match` does not
/// name it: that is looked at under the lock under which HEAD moves. 409, each with the current head: `unknown-transaction`,
/// `not-a-descendant`, `has-descendants`, `missing-chunks`. 400 `malformed-json`, `malformed-id`;
/// 413 `too-large`; 503 `busy`; 507 `no-space`.
pub async fn put(
    site: &Site,
    request: &RequestHead,
    body: &mut Body,
    user: UserId,
) -> Result<Answer, Error> {
    let text = body
        .gather(limits::HEAD_BODY_BYTES, Problem::too_large)
        .await?;
    let to = text.read(parse_head).await??;
    let advanced = match advance_head(site, request, user, to).await? {
        Some(advanced) => advanced,
        None => unknown_user(site, user, to).await?,
    };
    match advanced {
        Advance::Advanced(_) => Ok(Answer::empty(StatusCode::NO_CONTENT)),
        Advance::Refused { head, why } => {
            // Where HEAD is the one proposed, an earlier try got through.
            if head.id != to {
                note_race(site, &why);
            }
            Err(refused(head, why).into())
        }
    }
}

/// Advances HEAD, after `log` was mended if it needed that, so that uploads need not wait for it; `None` for
/// a user without a folder.
async fn advance_head(
    site: &Site,
    request: &RequestHead,
    user: UserId,
    to: TransactionId,
) -> Result<Option<Advance>, Error> {
    let theirs = site.store.user(user);
    let before = theirs.mends();
    let lock = theirs.exclusive().await?;
    may_leave(site, request, user).await?;
    let Some(lock) = lock else {
        return Ok(None);
    };
    if let Some(advanced) = advance(lock, to, false).await? {
        return Ok(Some(advanced));
    }
    mend(site, &user, before).await?;
    // Where that did not help, the advance says why.
    let lock = theirs.exclusive().await?.ok_or(store::Error::UserGone)?;
    may_leave(site, request, user).await?;
    advance(lock, to, true).await
}

/// Refuses to move HEAD where `If-Match` does not name it. To be called under the lock.
async fn may_leave(site: &Site, request: &RequestHead, user: UserId) -> Result<(), Error> {
    if !request.headers().contains_key(header::IF_MATCH) {
        return Ok(());
    }
    let head = blocking(site, &user, move |user| user.head()).await?;
    if may_change(request.headers(), &tag(head)) {
        return Ok(());
    }
    if let Some(counters) = &site.counters {
        counters.race_lost();
    }
    let detail = "HEAD is another one than If-Match names";
    Err(Problem::of_advance(Code::PreconditionFailed, detail, head).into())
}

/// Advances HEAD on a thread, to the end whatever becomes of the client; `None`, and nothing is done, where
/// `log` is wrong and may not be rebuilt here. The answer does not wait until what the advance leaves in
/// `incoming/` is cleared.
async fn advance(
    lock: Exclusive,
    to: TransactionId,
    rebuild: bool,
) -> Result<Option<Advance>, Error> {
    let (tell, mut told) = oneshot::channel();
    let user = *lock.id();
    let work = move || {
        let wanted = match rebuild {
            true => Ok(false),
            false => lock.wants_log(),
        };
        let advanced = match wanted {
            Ok(true) => Ok(None),
            Ok(false) => lock.advance(to).map(Some),
            Err(error) => Err(error),
        };
        // A client that is gone has nobody listen.
        match advanced {
            Ok(Some((advance, leftovers))) => {
                let _ = tell.send(Ok(Some(advance)));
                leftovers.clear();
            }
            Ok(None) => drop(tell.send(Ok(None))),
            Err(error) => drop(tell.send(Err(error))),
        }
    };
    let working = for_user(&user, work);
    let outcome = tokio::select! {
        biased;
        outcome = &mut told => outcome,
        ended = working => {
            ended?;
            told.await
        }
    };
    match outcome {
        Ok(outcome) => Ok(outcome?),
        Err(_) => {
            log::error!("an advance broke off");
            Err(Problem::internal().into())
        }
    }
}

/// The refusal of an advance of a user without a folder; none is made to say so.
async fn unknown_user(site: &Site, user: UserId, to: TransactionId) -> Result<Advance, Error> {
    let head = blocking(site, &user, move |user| user.head()).await?;
    let why = AdvanceRefusal::without_a_folder(head, to);
    Ok(Advance::Refused { head, why })
}

/// Counts an advance that was refused since HEAD is elsewhere by now.
pub(super) fn note_race(site: &Site, why: &AdvanceRefusal) {
    if let Some(counters) = &site.counters
        && matches!(why, AdvanceRefusal::NotADescendant)
    {
        counters.race_lost();
    }
}

/// The problem of a refused advance, which tells the client where HEAD is.
pub(super) fn refused(head: Head, why: AdvanceRefusal) -> Problem {
    match why {
        AdvanceRefusal::UnknownTransaction => {
            let detail = "it, or an ancestor of it, is not here";
            Problem::of_advance(Code::UnknownTransaction, detail, head)
        }
        AdvanceRefusal::NotADescendant => {
            let detail = "it does not descend from the current head";
            Problem::of_advance(Code::NotADescendant, detail, head)
        }
        AdvanceRefusal::HasDescendants(children) => {
            let detail = "it is the parent of other transactions";
            Problem::of_advance(Code::HasDescendants, detail, head).descendants(children)
        }
        AdvanceRefusal::MissingChunks(chunks) => {
            let detail = "chunks that it needs are not here (any more)";
            Problem::of_advance(Code::MissingChunks, detail, head).missing(chunks)
        }
    }
}
