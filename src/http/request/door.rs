//! Letting connections in, and sending others away.
//!
//! So many connections are accepted as there may be, and more wait until there are fewer. That alone would
//! let one client that opens so many lock everybody else out: so one address has a part of them at the most,
//! and a connection that it opens beyond that is told so and closed, which makes the way free for those
//! behind it.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_http::error::DispatchError;
use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::limiters::{Full, Limiter, Permit, Who};
use crate::http::answer::problem::Problem;
use crate::http::connection::socket::Socket;
use crate::model::limits;

/// The way in for connections, which all listeners share.
pub struct Door {
    connections: Limiter,
    /// A permit for each connection that may be read on while it is sent away.
    away: Arc<Semaphore>,
}

impl Door {
    /// A door for so many connections at a time.
    pub fn new(connections: usize) -> Self {
        let away = limits::SENT_AWAY.of(connections);
        Self {
            // A connection has no user, so the part of one user does not matter.
            connections: Limiter::new("connection", connections, limits::ADDRESS_PART),
            away: Arc::new(Semaphore::new(away.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// The limiter of those that are let in.
    pub fn connections(&self) -> &Limiter {
        &self.connections
    }

    /// Lets a connection in, and gives it its permit. A socket in the file system has no peer by which its
    /// clients could be told apart.
    ///
    /// # Errors
    /// When there is no permit: the client has been told so with 503 `busy`, and the connection is closed.
    pub async fn admit<S: Socket>(
        &self,
        stream: S,
        peer: Option<SocketAddr>,
    ) -> Result<(S, Permit), DispatchError> {
        let who = Who {
            user: None,
            address: peer.map(|peer| peer.ip().into()),
        };
        match self.connections.take(who, 1) {
            Ok(permit) => Ok((stream, permit)),
            Err(full) => {
                self.send_away(stream, full).await;
                Err(DispatchError::DisconnectTimeout)
            }
        }
    }

    async fn send_away<S: Socket>(&self, mut stream: S, full: Full) {
        log::debug!("a connection is sent away: {full}");
        let answer = Problem::from(full).bare();
        // A new socket takes so little at once, unless it is to be secured first.
        let told = stream.say_now(&answer);
        let Ok(_permit) = self.away.try_acquire() else {
            return;
        };
        let rest = async {
            if told.is_err() {
                stream.write_all(&answer).await?;
            }
            stream.shutdown().await?;
            // Its request is read, or the end of the connection could overtake the answer.
            copy(&mut stream, &mut sink()).await
        };
        let _ = timeout(limits::SENT_AWAY_WAIT, rest).await;
    }
}
