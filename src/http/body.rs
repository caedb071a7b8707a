//! Request bodies: as they come, bounded in time and size.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{self, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::problem::Problem;
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

/// The body of a request, read at most once.
pub struct Body {
    payload: Payload,
    received: u64,
    /// The length after which nothing is asked of actix any more.
    whole: Option<u64>,
    stall: Duration,
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
    /// The body that comes with these headers. It may stall for so long.
    pub fn new(payload: Payload, headers: &HeaderMap, stall: Duration) -> Self {
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
            Ok(Some(Err(error))) => {
                self.state = State::Broken;
                Err(match error {
                    PayloadError::EncodingCorrupted => {
                        Problem::new(Code::IncompleteBody, "the body's chunked framing is broken")
                    }
                    _ => Problem::new(Code::IncompleteBody, "the body ended before it was whole"),
                })
            }
            Err(_) => {
                self.state = State::Broken;
                let seconds = self.stall.as_secs_f64();
                let detail = format!("nothing more of the body came for {seconds} s");
                Err(Problem::new(Code::Timeout, detail))
            }
        }
    }

    /// All of it in memory; refused with `over` where it is longer than this.
    pub async fn gather(
        &mut self,
        limit: usize,
        over: fn(u64) -> Problem,
    ) -> Result<Vec<u8>, Problem> {
        let mut gathered = Vec::new();
        while let Some(bytes) = self.next().await? {
            if gathered.len() + bytes.len() > limit {
                return Err(over(limit as u64));
            }
            gathered.extend_from_slice(&bytes);
        }
        Ok(gathered)
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
                Ok(Some(Ok(bytes))) => {
                    left = left.saturating_sub(bytes.len() as u64);
                    if left == 0 {
                        self.state = State::Broken;
                    }
                }
                Ok(None) => self.state = State::Ended,
                Ok(Some(Err(_))) | Err(_) => self.state = State::Broken,
            }
        }
        (self.state == State::Broken).then_some(self.payload)
    }
}
