//! Request bodies: as they come, bounded in time and size.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::limiters::{Full, Limiter, Permit, Who};
use crate::http::answer::problem::Problem;
use crate::http::connection::framing::announced;
use crate::http::connection::turns::Turns;
use crate::http::work::aside;
use crate::model::limits;
use crate::wire::Code;

/// A body that is in memory whole.
#[derive(Default)]
pub struct Gathered {
    bytes: Vec<u8>,
    /// A permit for memory that all bodies share, once the body is more than a little.
    permit: Option<Permit>,
}

impl Gathered {
    /// Adds these bytes, and never makes the memory larger than the permit, nor than `most`, the length of all.
    fn extend(
        &mut self,
        bytes: &[u8],
        most: usize,
        memory: &Limiter,
        who: Who,
    ) -> Result<(), Full> {
        let (length, before) = (self.bytes.len() + bytes.len(), self.bytes.capacity());
        if length > before {
            let after = length.max((2 * before).min(most));
            if after > limits::SMALL_BODY {
                match &mut self.permit {
                    Some(permit) => permit.widen(after - before)?,
                    None => self.permit = Some(memory.take(who, after)?),
                }
            }
            self.bytes.reserve_exact(after - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Has `read` make something of the bytes: in place where they are few, and else on a thread, so that a
    /// body of megabytes keeps nobody else waiting.
    ///
    /// # Errors
    /// 500 `internal` where `read` panics.
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

/// The time that so many bytes may take, by [`limits::BODY_PACE`].
fn worth(bytes: usize) -> Duration {
    Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / limits::BODY_PACE)
}

/// The body of a request, read at most once.
pub struct Body {
    payload: Payload,
    announced: Option<u64>,
    received: u64,
    stall: Duration,
    /// The time by which it may be behind.
    grace: Duration,
    /// The time for which the client has been waited for, beyond what the bytes that came may take. The time
    /// that the server takes itself is not counted.
    behind: Duration,
    memory: Limiter,
    who: Who,
    turns: Turns,
    state: BodyState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyState {
    Open,
    Ended,
    /// The body will never be whole.
    Broken,
}

/// The bounds of the bodies of a site.
#[derive(Clone)]
pub struct BodyBounds {
    /// The time for which a body may stall.
    pub stall: Duration,
    /// The memory for the large ones among them.
    pub memory: Limiter,
}

impl Body {
    /// The body that comes with these headers, from this client, on the connection of these turns.
    pub fn new(
        bounds: &BodyBounds,
        payload: Payload,
        headers: &HeaderMap,
        who: Who,
        turns: &Turns,
    ) -> Self {
        // A request says that it has a body (RFC 9112, 6.3); to actix the rest of a connection is one too,
        // after a CONNECT.
        let has_one = announced(headers).is_some_and(|bytes| bytes > 0)
            || headers.contains_key(header::TRANSFER_ENCODING);
        let state = if has_one {
            BodyState::Open
        } else {
            BodyState::Ended
        };
        Self {
            payload,
            announced: announced(headers),
            received: 0,
            stall: bounds.stall,
            grace: limits::BODY_GRACE.max(bounds.stall),
            behind: Duration::ZERO,
            memory: bounds.memory.clone(),
            who,
            turns: turns.clone(),
            state,
        }
    }

    /// The number of bytes that have come.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The client that sends it.
    pub fn who(&self) -> Who {
        self.who
    }

    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// 408 `timeout` when no more come in time, or when those that came are too few: by
    /// [`limits::BODY_GRACE`] behind [`limits::BODY_PACE`]. 400 `incomplete-body` when the body will never be
    /// whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.state == BodyState::Ended {
            return Ok(None);
        }
        let asked = Instant::now();
        let left = self.grace.saturating_sub(self.behind);
        match timeout_at(asked + left.min(self.stall), self.payload.next()).await {
            Ok(Some(Ok(bytes))) => {
                let behind = self.behind + asked.elapsed();
                self.behind = behind.saturating_sub(worth(bytes.len()));
                self.received += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Ok(None) => {
                self.state = BodyState::Ended;
                Ok(None)
            }
            Ok(Some(Err(_))) => {
                self.state = BodyState::Broken;
                let detail = if self.turns.is_body_broken() {
                    "the body's chunked framing is broken"
                } else {
                    "the body ended before it was whole"
                };
                Err(Problem::new(Code::IncompleteBody, detail))
            }
            Err(_) => {
                self.state = BodyState::Broken;
                let detail = if left < self.stall {
                    let (pace, seconds) = (limits::BODY_PACE, self.grace.as_secs_f64());
                    format!("the body is {seconds} s behind {pace} bytes a second")
                } else {
                    let seconds = self.stall.as_secs_f64();
                    format!("nothing more of the body came for {seconds} s")
                };
                Err(Problem::new(Code::Timeout, detail))
            }
        }
    }

    /// Reads the whole body into memory.
    ///
    /// # Errors
    /// Those of [`Body::next`]; the problem that `over` makes where the body is longer than `limit`; 503 `busy`
    /// where it is large and there is no memory for it.
    pub async fn gather(
        &mut self,
        limit: usize,
        over: fn(u64) -> Problem,
    ) -> Result<Gathered, Problem> {
        let mut gathered = Gathered::default();
        let announced = self.announced.and_then(|bytes| usize::try_from(bytes).ok());
        let most = announced.map_or(limit, |bytes| bytes.min(limit));
        while let Some(bytes) = self.next().await? {
            if gathered.bytes.len() + bytes.len() > limit {
                return Err(over(limit as u64));
            }
            gathered.extend(&bytes, most, &self.memory, self.who)?;
        }
        Ok(gathered)
    }

    /// A permit for a large piece of it in memory.
    ///
    /// # Errors
    /// When there is not so much memory left for bodies, or for those of this client.
    pub fn permit(&self, bytes: usize) -> Result<Permit, Full> {
        self.memory.take(self.who, bytes)
    }

    /// Reads the rest and throws it away, within a bound, so that the client (or the proxy between) gets to
    /// read the answer instead of a reset connection. Returns the payload if it has not ended even so: kept
    /// until the answer is sent, it makes actix close the connection after it.
    pub async fn drain(mut self) -> Option<Payload> {
        let deadline = Instant::now() + limits::DRAIN_WAIT;
        let mut left = limits::DRAIN_BYTES;
        while self.state == BodyState::Open {
            match timeout_at(deadline, self.payload.next()).await {
                Ok(Some(Ok(bytes))) => match left.checked_sub(bytes.len() as u64) {
                    Some(less) => left = less,
                    None => self.state = BodyState::Broken,
                },
                Ok(None) => self.state = BodyState::Ended,
                Ok(Some(Err(_))) | Err(_) => self.state = BodyState::Broken,
            }
        }
        (self.state == BodyState::Broken).then_some(self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use tokio::time::sleep;

    const GRACE: Duration = Duration::from_millis(400);

    /// A body of so many pieces, one after each pause, that may stall for as long as it likes.
    fn body(piece: usize, pieces: usize, pause: Duration) -> Body {
        let next = move |left: usize| async move {
            let left = left.checked_sub(1)?;
            sleep(pause).await;
            let piece: Result<Bytes, actix_web::error::PayloadError> = Ok(vec![b'x'; piece].into());
            Some((piece, left))
        };
        let payload = stream::unfold(pieces, next);
        Body {
            payload: Payload::Stream {
                payload: Box::pin(payload),
            },
            announced: None,
            received: 0,
            stall: Duration::from_secs(60),
            grace: GRACE,
            behind: Duration::ZERO,
            memory: crate::http::request::limiters::Limiters::new(1).bodies,
            who: Who::default(),
            turns: Turns::new(false),
            state: BodyState::Open,
        }
    }

    /// Reads all of it, with a pause of our own before each piece.
    async fn read(mut body: Body, pause: Duration) -> Result<u64, Problem> {
        while body.next().await?.is_some() {
            sleep(pause).await;
        }
        Ok(body.received)
    }

    #[tokio::test]
    async fn a_body_that_dribbles_has_an_end() {
        let since = Instant::now();
        let dribbled = read(body(1, 1000, Duration::from_millis(20)), Duration::ZERO).await;
        assert!(dribbled.is_err());
        assert!(since.elapsed() >= GRACE);
        assert!(since.elapsed() < GRACE * 20);
    }

    #[tokio::test]
    async fn a_slow_link_takes_the_time_that_it_takes() {
        // Some 3 KiB a second, for longer than the grace; and pauses, each made up for by what comes after it.
        for (piece, pieces, pause) in [(64, 50, 20), (128, 5, 300)] {
            let slow = body(piece, pieces, Duration::from_millis(pause));
            let read = read(slow, Duration::ZERO).await;
            assert_eq!(read.ok(), Some((piece * pieces) as u64));
        }
    }

    #[tokio::test]
    async fn the_time_that_we_take_is_not_the_clients() {
        let body = body(1, 20, Duration::from_millis(1));
        let read = read(body, Duration::from_millis(50)).await;
        assert_eq!(read.ok(), Some(20));
    }
}
