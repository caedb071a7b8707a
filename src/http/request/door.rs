//! Which connections come in, and how others are sent away.
//!
//! As many are accepted as there may be, and more wait until there are fewer. That alone would let
//! whoever opens so many lock everybody else out: so one address has a part of them at the most, and
//! what it opens beyond that is told so and closed, which makes the way free for those behind it.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_http::error::DispatchError;
use actix_web::http::StatusCode;
use rustix::net::{SendFlags, Shutdown};
use tokio::io::{copy, sink};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::rooms::{Full, Place, Room, Who};
use crate::http::answer::problem::Problem;
use crate::http::connection::socket::Socket;
use crate::model::limits;

/// The way in, which all listeners share.
pub struct Door {
    connections: Room,
    /// One permit for each that may be read on while it is sent away.
    away: Arc<Semaphore>,
}

impl Door {
    /// For so many connections at a time.
    pub fn new(connections: usize) -> Self {
        let away = limits::SENT_AWAY.of(connections);
        Self {
            // A connection has no user whose part it could be.
            connections: Room::new("connection", connections, limits::ADDRESS_PART),
            away: Arc::new(Semaphore::new(away.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Lets a connection in, and gives it its place; or tells it why not, with 503 `busy`, and is done
    /// with it. A socket in the file system has no peer that could be told from others.
    pub async fn admit<S: Socket>(
        &self,
        stream: S,
        peer: Option<SocketAddr>,
    ) -> Result<(S, Place), DispatchError> {
        let who = Who {
            user: None,
            address: peer.map(|peer| peer.ip().into()),
        };
        match self.connections.take(who, 1) {
            Ok(place) => Ok((stream, place)),
            Err(full) => {
                self.send_away(stream, full).await;
                Err(DispatchError::DisconnectTimeout)
            }
        }
    }

    async fn send_away<S: Socket>(&self, mut stream: S, full: Full) {
        log::debug!("a connection is sent away: {full}");
        let answer = Problem::from(full).bare(StatusCode::SERVICE_UNAVAILABLE);
        // A new socket takes so little at once; whoever cannot be told is closed all the same.
        let told = rustix::net::send(&stream, &answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        let (Ok(_), Ok(_permit)) = (told, self.away.try_acquire()) else {
            return;
        };
        // What it has asked is read, or the end of the connection could overtake the answer.
        if rustix::net::shutdown(&stream, Shutdown::Write).is_ok() {
            let _ = timeout(limits::SENT_AWAY_WAIT, copy(&mut stream, &mut sink())).await;
        }
    }
}
