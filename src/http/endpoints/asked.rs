//! `/0.1/{user}/chunks/get`: many chunks by name, as one tar.

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::dev::RequestHead;
use actix_web::http::{Version, header};
use futures_util::StreamExt;

use super::missing::named;
use super::tars::{piece, pieces};
use crate::http::answer::error::Error;
use crate::http::answer::outcome::{Answer, CHANGING};
use crate::http::blocking::blocking;
use crate::http::request::body::Body;
use crate::http::site::Site;
use crate::model::{UserId, limits};
use crate::wire::TAR;

/// `POST`: 200 with a tar of those of the chunks that are here, in the order given, each once; the others are left out.
/// Streamed: what fails later than in the first piece breaks it off. 400 `malformed-json`, `malformed-id`; 413
/// `too-large`; 503 `busy`, also where too many ids are being answered about.
///
/// HTTP/1.0 needs the length of the whole: a look at each chunk.
pub async fn post(
    site: &Site,
    request: &RequestHead,
    body: &mut Body,
    user: UserId,
) -> Result<Answer, Error> {
    let ids = named(site, request, body).await?;
    // A little always has room. The list is held for as long as its reader takes.
    let permit = match ids.len() {
        ..=limits::FEW_ASKED => None,
        many => Some(site.limiters.asked.take(body.who(), many)?),
    };
    // A body without a length has no end that HTTP/1.0 could tell from a broken connection.
    let length = match request.version == Version::HTTP_10 {
        true => {
            let ids = ids.clone();
            let bytes = blocking(site, &user, move |user| user.read_asked(ids)?.bytes());
            Some(bytes.await?)
        }
        false => None,
    };
    let start = blocking(site, &user, move |user| {
        piece(user.read_asked(ids)?, length.unwrap_or(u64::MAX))
    })
    .await?;
    let pieces = pieces(user, start, length).inspect(move |_| {
        let _held = &permit;
    });
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, TAR))
        .insert_header((header::CACHE_CONTROL, CHANGING));
    let response = match length {
        Some(length) => response.body(SizedStream::new(length, pieces)),
        None => response.streaming(pieces),
    };
    Ok(response.into())
}
