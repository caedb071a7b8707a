//! The endpoints about the server itself.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::http::answer::error::Error;
use crate::http::answer::outcome::{Answer, CHANGING, Contents, Resource};
use crate::http::site::Site;
use crate::http::work::aside;
use crate::wire::{JSON, STORE_MARK, TEXT, VersionMessage};

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The whole protocol, for programs, as OpenAPI 3.1 has it. `tests/it/openapi.rs` keeps it honest.
const DOCUMENT: &str = include_str!("../openapi.json");

/// The entity tag of the document, which changes with it.
static DOCUMENT_TAG: LazyLock<String> =
    LazyLock::new(|| format!("\"{}\"", hex::encode(Sha256::digest(DOCUMENT))));

/// `GET /` of programs, and of whoever asks for no HTML: 200, for a person who found the address.
pub fn index(site: &Site) -> Answer {
    let ids = if site.store.options().uuid_chunk_ids {
        "SHA-256 or a uuid"
    } else {
        "SHA-256"
    };
    let text = format!(
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
    );
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, TEXT));
    if site.settings.page {
        response.insert_header((header::VARY, "Accept"));
    }
    response.body(text).into()
}

/// `GET /openapi.json`: 200 with the document of the protocol, 304 when `If-None-Match` names it; 412
/// `precondition-failed` when `If-Match` does not.
pub fn document() -> Answer {
    Answer::Resource(Resource {
        tag: DOCUMENT_TAG.clone(),
        media: JSON,
        caching: CHANGING,
        ranges: false,
        more: Vec::new(),
        contents: Contents::Memory(Bytes::from_static(DOCUMENT.as_bytes())),
    })
}

/// `GET /__lbheartbeat__`: 200 as long as the process answers.
pub fn load_balancer_heartbeat() -> Answer {
    Answer::text("alive\n")
}

/// `GET /__heartbeat__`: 200 when the data directory can be written; 507 `no-space`, 500 `internal`, or 500 `damaged`
/// where it is not there, when not. 500 `damaged` as well where the server has met what it may not use, and still may not. At most one real write a second, whose outcome all askers share.
/// A header tells whoever has the data directory that this is the one.
pub async fn heartbeat(site: &Site) -> Result<Answer, Error> {
    let try_once = async {
        let store = site.store.clone();
        let written = aside(move || store.heartbeat()).await?;
        written.map_err(|error| Error::Store(error).log())
    };
    site.heartbeat.take(try_once).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, TEXT));
    if let Some(mark) = site.store.mark() {
        response.insert_header((STORE_MARK, mark));
    }
    let told = response.body("alive, and the data directory can be written\n");
    Ok(told.into())
}

/// `GET /__version__`: 200 with the name and the version.
pub fn version() -> Answer {
    Answer::json(&VersionMessage {
        name: NAME.to_owned(),
        version: VERSION.to_owned(),
    })
}
