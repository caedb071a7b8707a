//! The server's side of the wire: parse, call the store, render. No rules of the store are here.
//!
//! A request comes in at [`dispatch`], which holds the whole route table, and goes to the file of its endpoint,
//! whose doc names every status. The endpoint returns an answer or an error, both values; [`render`] makes a
//! response of the answer, [`answer`] makes one of the error, and [`statuses`] alone says with which status.
//!
//! - [`connection`]: accepting, framing, turns, sending; and why none of that is left to actix-web
//! - [`request`]: the body, the conditions, and how much of everything a client may have
//! - [`answer`]: outcomes of handlers, refusals, statuses, the access log
//! - [`endpoints`]: one file an endpoint
//! - [`metrics`]: what is counted, and the address where that is told
//! - `service` and `server` tie them together; `blocking`, over `work` and `threads`, is the way to the store, which
//!   is synchronous; [`watch`] wakes those who wait for another head

pub mod answer;
mod blocking;
pub mod connection;
pub mod dispatch;
pub mod endpoints;
pub mod metrics;
mod pulse;
pub mod render;
pub mod request;
mod server;
mod service;
mod site;
mod threads;
pub mod watch;
mod work;

pub use answer::access::ACCESS;
pub use answer::statuses;
pub use connection::certificates::{CertificateFiles, Certificates, UnusablePair};
pub use connection::listen::{HandedOver, Listener, SocketAccess};
pub use metrics::exposition::Exposition;
pub use metrics::scrapes::Scrapes;
pub use request::clients::{Clients, TrustedProxy};
pub use request::conditions;
pub use request::origins::{Host, NamedOrigin, Origins};
pub use server::{Places, Server, ServerOptions, Watcher};
pub use site::{Settings, Site};
