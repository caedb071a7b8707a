//! What the server says of itself.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::dev::RequestHead;
use actix_web::http::header;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::http::answer::content::{self, CHANGING, Resource, Source, json_answer};
use crate::http::answer::problem::Problem;
use crate::http::blocking::aside;
use crate::http::connection::turn::Turn;
use crate::http::{Answer, Site};
use crate::wire::{JSON, VersionMessage};

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The whole protocol, for programs, as OpenAPI 3.1 has it. `tests/it/openapi.rs` keeps it honest.
const DOCUMENT: &str = include_str!("../openapi.json");

/// Its entity tag, which is another one where the document is.
static DOCUMENT_TAG: LazyLock<String> =
    LazyLock::new(|| format!("\"{}\"", hex::encode(Sha256::digest(DOCUMENT))));

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

  GET    /openapi.json                  all of it, for programs
  GET    /__version__  /__heartbeat__  /__lbheartbeat__
"
        ))
}

/// `GET /openapi.json`: 200 with the document of the protocol, 304 when `If-None-Match` names it; 412
/// `precondition-failed` when `If-Match` does not.
pub async fn document(request: &RequestHead, turn: &Turn) -> Answer {
    let resource = Resource {
        tag: DOCUMENT_TAG.clone(),
        media: JSON,
        caching: CHANGING,
        ranges: false,
        source: Source::Memory(Bytes::from_static(DOCUMENT.as_bytes())),
    };
    content::answer(request, turn, resource).await
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
            let store = Arc::clone(&site.store);
            let outcome = aside(move || store.heartbeat()).await;
            let outcome = outcome.and_then(|outcome| Ok(outcome?));
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
