//! What the server says of itself.

use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::header;
use tokio::sync::Mutex;

use super::blocking::blocking;
use super::content::json_answer;
use super::problem::Problem;
use super::{Answer, Site};
use crate::wire::VersionMessage;

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long one try to write the data directory speaks for it.
const PULSE: Duration = Duration::from_secs(1);

/// The last try to write the data directory.
#[derive(Default)]
pub struct Pulse(Mutex<Option<(Instant, Result<(), Problem>)>>);

/// `GET /`: 200, for a person who found the address.
pub fn index(site: &Site) -> HttpResponse {
    let ids = if site.store.options().uuid_chunk_ids {
        "SHA-256 or a uuid"
    } else {
        "SHA-256"
    };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .body(format!(
            "{NAME} {VERSION}: a sync server. A user is a uuid; knowing it is the access.

  GET    /0.1/USER/                     head, limits
  GET    /0.1/USER/head                 where the chain ends
  PUT    /0.1/USER/head                 {{\"head\":ID}}: advance it, by compare-and-swap
  GET    /0.1/USER/transactions         ?from=ID&limit=N: the chain, oldest first
  GET    /0.1/USER/transactions/ID      one transaction of it
  PUT    /0.1/USER/transactions/ID      {{\"parent\":ID,\"chunks\":[ID...]}}
  GET    /0.1/USER/chunks/CHUNK         its bytes
  PUT    /0.1/USER/chunks/CHUNK         its bytes; CHUNK is their {ids}

  GET    /__version__  /__heartbeat__  /__lbheartbeat__
"
        ))
}

/// `GET /__lbheartbeat__`: 200 as long as the process answers.
pub fn load_balancer_heartbeat() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .body("alive\n")
}

/// `GET /__heartbeat__`: 200 when the data directory can be written; 507 `no-space` or 500
/// `internal` when not. At most one real write a second, whose outcome all askers share.
pub async fn heartbeat(site: &Site) -> Answer {
    let mut last = site.heartbeat.0.lock().await;
    let outcome = match &*last {
        Some((when, outcome)) if when.elapsed() < PULSE => outcome.clone(),
        _ => {
            let outcome = blocking(site, |store| store.heartbeat()).await;
            *last = Some((Instant::now(), outcome.clone()));
            outcome
        }
    };
    outcome.map(|()| {
        HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
            .body("alive, and the data directory can be written\n")
    })
}

/// `GET /__version__`: 200 with the name and the version.
pub fn version() -> HttpResponse {
    json_answer(&VersionMessage {
        name: NAME.to_owned(),
        version: VERSION.to_owned(),
    })
}
