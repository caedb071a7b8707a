//! `/0.1/{user}/events`: the head, as it moves, for as long as the client listens.

use std::io;

use actix_web::HttpResponse;
use actix_web::dev::RequestHead;
use actix_web::http::{Method, header};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::{Instant, timeout_at};

use crate::http::answer::error::Error;
use crate::http::answer::outcome::Answer;
use crate::http::blocking::blocking;
use crate::http::request::limiters::{Permit, Who};
use crate::http::site::Site;
use crate::http::watch::{Waiter, WaiterWoken};
use crate::http::work::for_user;
use crate::model::{TransactionId, UserId, limits};
use crate::store::{self, SeenHead, Store};
use crate::wire::HeadMessage;

/// `GET`: 200, server-sent events (the WHATWG HTML standard, section 9.2): `id` the head, `data` the answer to
/// `GET …/head`. The current one comes first, unless `Last-Event-ID` is it. A comment every
/// [`limits::EVENT_HEARTBEAT`] shows that the stream is alive. 503 `busy` when too many wait.
pub async fn get(site: &Site, request: &RequestHead, user: UserId) -> Result<Answer, Error> {
    let permit = site
        .limiters
        .waiters
        .take(Who::of(request, Some(user)), 1)?;
    let waiter = site.watch.wait(user);
    let seen = blocking(site, &user, move |user| user.look()).await?;
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // nginx would keep events back until its buffer is full.
        .insert_header(("x-accel-buffering", "no"));
    if request.method != Method::GET {
        return Ok(Answer::headers_only(response, None));
    }
    let last: Option<TransactionId> = request
        .headers()
        .get("last-event-id")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let events = HeadEvents {
        store: site.store.clone(),
        user,
        waiter,
        _permit: permit,
        seen,
        told: last == Some(seen.head.id),
    };
    Ok(response.streaming(events.stream()).into())
}

/// The events for one client, for as long as it listens.
struct HeadEvents {
    store: Store,
    user: UserId,
    waiter: Waiter,
    _permit: Permit,
    seen: SeenHead,
    /// The client has been told of the head that was seen.
    told: bool,
}

impl HeadEvents {
    fn stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::unfold(self, |mut events| async move {
            let text = events.next().await?;
            Some((Ok(Bytes::from(text)), events))
        })
    }

    /// The next event, or a comment after [`limits::EVENT_HEARTBEAT`] without one; `None` when the server ends.
    async fn next(&mut self) -> Option<String> {
        let silent = Instant::now() + limits::EVENT_HEARTBEAT;
        while self.told {
            let Ok(woken) = timeout_at(silent, self.waiter.woken()).await else {
                return Some(":\n\n".to_owned());
            };
            let now = match woken {
                WaiterWoken::Seen(now) => now,
                WaiterWoken::Look => self.look().await?,
                WaiterWoken::Closed => return None,
            };
            if now.is_news_after(&self.seen) {
                self.told = now.head == self.seen.head;
                self.seen = now;
            }
        }
        self.told = true;
        let data = serde_json::to_string(&HeadMessage::from(self.seen.head))
            .expect("our messages have string keys and no I/O");
        Some(format!("id: {}\ndata: {data}\n\n", self.seen.head.id))
    }

    /// Reads the head; a failure, which is logged, ends the stream, and the client comes again.
    async fn look(&self) -> Option<SeenHead> {
        let (store, user) = (self.store.clone(), self.user);
        match for_user(&user, move || store.user(user).look()).await {
            Ok(Ok(seen)) => Some(seen),
            Ok(Err(store::Error::Moving)) => None,
            Ok(Err(error)) => {
                log::error!("user {}: events end: {error}", self.user.short());
                None
            }
            Err(_) => None,
        }
    }
}
