//! Request bodies: as they come, bounded in time and size.

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::blocking::aside;
use super::problem::Problem;
use super::turn::Turn;
use crate::model::limits;
use crate::wire::Code;

/// The length of the body that these headers announce, if they do.
pub fn announced(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The memory that all bodies together may take while they are gathered, beyond a little for each: a
/// thousand clients that stop half-way must not hold a thousand transactions of 16 MiB.
#[derive(Clone)]
pub struct Room(Arc<Semaphore>);

/// Some of the room, held until it is dropped.
pub struct Share(#[expect(dead_code)] OwnedSemaphorePermit);

impl Room {
    /// So many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// Room for so many bytes more, if there is.
    pub fn share(&self, bytes: usize) -> Option<Share> {
        let bytes = u32::try_from(bytes).ok()?;
        let permit = Arc::clone(&self.0).try_acquire_many_owned(bytes);
        permit.ok().map(Share)
    }
}

/// A body that is in memory whole.
#[derive(Default)]
pub struct Gathered {
    bytes: Vec<u8>,
    shares: Vec<Share>,
}

impl Gathered {
    /// Adds these, and never makes the memory larger than it has a share for.
    fn extend(&mut self, bytes: &[u8], limit: usize, room: &Room) -> Result<(), Problem> {
        let (length, before) = (self.bytes.len() + bytes.len(), self.bytes.capacity());
        if length > before {
            let after = length.max((2 * before).min(limit));
            if after > limits::SMALL_BODY {
                let full = "the large bodies of others leave no room for this one now";
                let share = room.share(after - before);
                self.shares.push(share.ok_or_else(|| Problem::busy(full))?);
            }
            self.bytes.reserve_exact(after - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// What this makes of it: in place where it is short, and else on a thread, so that a body of
    /// megabytes keeps nobody else waiting.
    pub async fn read<T: Send + 'static>(
        self,
        read: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        match self.bytes.len() {
            ..=limits::SMALL => Ok(read(&self.bytes)),
            _ => aside(move || read(&self.bytes)).await,
        }
    }
}

/// The body of a request, read at most once.
pub struct Body {
    payload: Payload,
    received: u64,
    /// The length after which nothing is asked of actix any more.
    whole: Option<u64>,
    stall: Duration,
    room: Room,
    turn: Turn,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    /// Nothing more is to be expected of it.
    Broken,
}

impl Body {
    /// The body that comes with these headers. It may stall for so long, and is gathered in this room.
    pub fn new(
        payload: Payload,
        headers: &HeaderMap,
        stall: Duration,
        room: &Room,
        turn: &Turn,
    ) -> Self {
        // A request says that it has a body (RFC 9112, 6.3); to actix the rest of a connection may
        // be one too, after a CONNECT or an upgrade.
        let has_one = announced(headers).is_some_and(|bytes| bytes > 0)
            || headers.contains_key(header::TRANSFER_ENCODING);
        let state = if has_one { State::Open } else { State::Ended };
        let upgrade = headers.contains_key(header::UPGRADE);
        let whole = announced(headers).filter(|_| upgrade);
        Self {
            payload,
            received: 0,
            whole,
            stall,
            room: room.clone(),
            turn: turn.clone(),
            state,
        }
    }

    /// How much of it has come.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next bytes, or `None` at the end. 408 `timeout` when they do not come, 400
    /// `incomplete-body` when they never will.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.state == State::Ended {
            return Ok(None);
        }
        match timeout(self.stall, self.payload.next()).await {
            Ok(Some(Ok(bytes))) => {
                self.received += bytes.len() as u64;
                if self.whole.is_some_and(|whole| self.received >= whole) {
                    self.state = State::Ended;
                }
                Ok(Some(bytes))
            }
            Ok(None) => {
                self.state = State::Ended;
                Ok(None)
            }
            Ok(Some(Err(_))) => {
                self.state = State::Broken;
                let detail = if self.turn.is_body_broken() {
                    "the body's chunked framing is broken"
                } else {
                    "the body ended before it was whole"
                };
                Err(Problem::new(Code::IncompleteBody, detail))
            }
            Err(_) => {
                self.state = State::Broken;
                let seconds = self.stall.as_secs_f64();
                let detail = format!("nothing more of the body came for {seconds} s");
                Err(Problem::new(Code::Timeout, detail))
            }
        }
    }

    /// All of it in memory; refused with `over` where it is longer than this, and with 503 `busy` where
    /// it is large and there is no room.
    pub async fn gather(
        &mut self,
        limit: usize,
        over: fn(u64) -> Problem,
    ) -> Result<Gathered, Problem> {
        let mut gathered = Gathered::default();
        while let Some(bytes) = self.next().await? {
            if gathered.bytes.len() + bytes.len() > limit {
                return Err(over(limit as u64));
            }
            gathered.extend(&bytes, limit, &self.room)?;
        }
        Ok(gathered)
    }

    /// Room for a large piece of it, if there is.
    pub fn share(&self, bytes: usize) -> Option<Share> {
        self.room.share(bytes)
    }

    /// Reads what is left and throws it away, within a bound, so that the client (or the proxy
    /// between) gets to read the answer instead of a reset connection. Gives back a payload that
    /// has not ended even so: whoever answers keeps it until the answer is sent, which makes actix
    /// close the connection after it.
    pub async fn drain(mut self) -> Option<Payload> {
        let deadline = Instant::now() + limits::DRAIN_WAIT;
        let mut left = limits::DRAIN_BYTES;
        while self.state == State::Open {
            match timeout_at(deadline, self.payload.next()).await {
                Ok(Some(Ok(bytes))) => match left.checked_sub(bytes.len() as u64) {
                    Some(less) => left = less,
                    None => self.state = State::Broken,
                },
                Ok(None) => self.state = State::Ended,
                Ok(Some(Err(_))) | Err(_) => self.state = State::Broken,
            }
        }
        (self.state == State::Broken).then_some(self.payload)
    }
}
