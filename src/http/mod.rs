//! The server's side of the wire: parse, call the store, render. No rules of the store are here.
//!
//! A request comes in at [`dispatch`], which holds the whole route table; it goes to the file of its
//! endpoint ([`about`], [`stores`], [`heads`], [`events`],
//! [`transactions`], [`chunks`], [`bundles`]), whose doc names every
//! status; a refusal is a [`Problem`], and [`statuses`] alone says with which
//! status. The store is synchronous, and `blocking` is the way there, over `threads` that all share.

pub mod about;
mod accept;
mod access;
mod blocking;
mod body;
pub mod bundles;
pub mod chunks;
pub mod conditions;
mod connection;
mod content;
pub mod dispatch;
mod door;
pub mod events;
mod framing;
mod gather;
pub mod heads;
mod life;
mod open;
pub mod problem;
mod queue;
mod rooms;
mod server;
mod socket;
mod sound;
pub mod statuses;
pub mod stores;
mod threads;
pub mod transactions;
mod turn;
pub mod watch;
mod workers;

pub use access::ACCESS;
pub use server::{Listener, Server, ServerOptions};

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;

use crate::model::limits;
use crate::store::Store;
use problem::Problem;
use rooms::Rooms;
use watch::Watch;

/// What came of a request: an answer, or a refusal that says why.
type Answer = Result<HttpResponse, Problem>;

/// What all requests share.
pub struct Site {
    pub store: Arc<Store>,
    pub settings: Settings,
    pub watch: Arc<Watch>,
    gather: Arc<gather::Gather>,
    heartbeat: about::Pulse,
    rooms: Rooms,
}

/// What the operator chose that is not the store's business.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a request body may stall.
    pub body_stall: Duration,
    /// `DELETE` of a whole user is answered.
    pub allow_delete: bool,
    /// How many clients may wait for another head at a time.
    pub waiters: usize,
    /// Small uploads that come at a time go in groups; otherwise each on a thread of its own.
    pub together: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_stall: limits::BODY_STALL,
            allow_delete: false,
            waiters: limits::WAITERS,
            together: true,
        }
    }
}

impl Site {
    /// A site over this store.
    pub fn new(store: Arc<Store>, settings: Settings) -> Self {
        Self {
            watch: Watch::new(Arc::clone(&store)),
            rooms: Rooms::new(settings.waiters),
            store,
            settings,
            gather: Arc::default(),
            heartbeat: about::Pulse::default(),
        }
    }
}
