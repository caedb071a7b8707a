//! The server's side of the wire: parse, call the store, render. No rules of the store are here.
//!
//! A request comes in at [`dispatch`], which holds the whole route table; it goes to the file of its
//! endpoint in [`endpoints`], whose doc names every status; a refusal is a [`Problem`], and [`statuses`]
//! alone says with which status. The store is synchronous, and `blocking` is the way there, over `threads`
//! that all share.
//!
//! - [`connection`]: the bytes of connections, and whose turn it is on one
//! - [`request`]: bodies, conditions, and how much of everything whoever asks may have
//! - [`answer`]: contents, refusals, statuses, the access log
//! - [`endpoints`]: one file an endpoint

pub mod answer;
mod blocking;
pub mod connection;
pub mod dispatch;
pub mod endpoints;
mod gather;
mod queue;
pub mod request;
mod server;
mod threads;
pub mod watch;

pub use answer::access::ACCESS;
pub use answer::statuses;
pub use request::conditions;
pub use server::{Listener, Server, ServerOptions};

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;

use crate::model::limits;
use crate::store::Store;
use answer::problem::{self, Problem};
use endpoints::about;
use request::rooms::Rooms;
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
