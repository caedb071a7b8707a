//! `/0.1/{user}/chunks/missing`: which chunks are to be sent.

use actix_web::HttpResponse;
use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderName};

use super::chunks::check;
use crate::http::answer::error::Error;
use crate::http::answer::outcome::{Answer, CHANGING};
use crate::http::answer::problem::Problem;
use crate::http::blocking::blocking;
use crate::http::request::body::Body;
use crate::http::site::Site;
use crate::model::{ChunkId, UserId, limits};
use crate::wire::{JSON, MissingMessage, TEXT, parse_chunk_lines, parse_chunks};

/// `POST`: 200 with those of the ids whose chunks are not here, in the order given; as
/// lines where the ids came as lines (`text/plain`), unless `Accept` asks for JSON. 400
/// `malformed-json`, `malformed-id`; 413 `too-large`; 503 `busy`.
pub async fn post(
    site: &Site,
    request: &RequestHead,
    body: &mut Body,
    user: UserId,
) -> Result<Answer, Error> {
    let ids = named(site, request, body).await?;
    let lock = site.store.user(user).shared().await?;
    let missing = blocking(site, &user, move |user| match lock {
        Some(lock) => lock.missing(&ids),
        None => user.missing_all(&ids),
    })
    .await?;
    if !are_lines(request) || says(request, header::ACCEPT, JSON) {
        return Ok(Answer::json(&MissingMessage { missing }));
    }
    let lines: String = missing.iter().map(|id| format!("{id}\n")).collect();
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, TEXT))
        .insert_header((header::CACHE_CONTROL, CHANGING))
        .body(lines)
        .into())
}

/// The chunk ids that a body names: as a list in JSON or, with `text/plain`, as lines.
///
/// # Errors
/// 400 `malformed-json`, `malformed-id`; 413 `too-large`; 503 `busy`.
pub(super) async fn named(
    site: &Site,
    request: &RequestHead,
    body: &mut Body,
) -> Result<Vec<ChunkId>, Error> {
    let text = body
        .gather(limits::MISSING_BODY_BYTES, Problem::too_large)
        .await?;
    let parse = match are_lines(request) {
        true => parse_chunk_lines,
        false => parse_chunks,
    };
    let ids = text.read(parse).await??;
    for id in &ids {
        check(site, id)?;
    }
    Ok(ids)
}

/// Whether the body is lines.
fn are_lines(request: &RequestHead) -> bool {
    says(request, header::CONTENT_TYPE, "text/plain")
}

/// Whether a header begins with this name of a medium.
fn says(request: &RequestHead, name: HeaderName, media: &str) -> bool {
    let value = request.headers().get(name);
    // Names of media are the same in either case (RFC 9110, 8.3.1).
    let start = value.and_then(|value| value.as_bytes().get(..media.len()));
    start.is_some_and(|start| start.eq_ignore_ascii_case(media.as_bytes()))
}
