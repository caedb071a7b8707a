//! From a handler's answer to the response, by the conditions and the range of the request.

use actix_web::HttpResponse;
use actix_web::body::BodyStream;
use actix_web::dev::RequestHead;
use actix_web::http::{Method, header};

use super::answer::error::Error;
use super::answer::file::{pieces, read};
use super::answer::outcome::{Answer, Contents, Resource, headers_only};
use super::connection::turns::Turns;
use super::request::choice::Choice;
use crate::model::limits;

/// The response to this request. A long file is sent behind it by the connection of these turns, from the
/// system's memory.
///
/// # Errors
/// 412 `precondition-failed` and 416 `range`, as RFC 9110 has them, and failed reads.
pub async fn render(
    request: &RequestHead,
    turns: &Turns,
    answer: Answer,
) -> Result<HttpResponse, Error> {
    match answer {
        Answer::Response(response) => Ok(response),
        Answer::Resource(resource) => chosen(request, turns, resource).await,
    }
}

/// 200, 206 or 304, with what the request chooses of a resource.
async fn chosen(
    request: &RequestHead,
    turns: &Turns,
    resource: Resource,
) -> Result<HttpResponse, Error> {
    let bytes = resource.contents.bytes();
    let get = request.method == Method::GET;
    let ranges = resource.ranges && get;
    let choice = Choice::of(request.headers(), &resource.tag, bytes, ranges)?;
    let mut response = choice.respond(resource.tag, resource.caching, bytes);
    for header in resource.more {
        response.insert_header(header);
    }
    let Some(length) = choice.length(Some(bytes)) else {
        return Ok(response.finish());
    };
    response.insert_header((header::CONTENT_TYPE, resource.media));
    if resource.ranges {
        response.insert_header((header::ACCEPT_RANGES, "bytes"));
    }
    if !get {
        return Ok(headers_only(response, Some(length)));
    }
    let first = choice.first();
    Ok(match resource.contents {
        Contents::Memory(all) => {
            let part = first as usize..(first + length) as usize;
            response.body(all.slice(part))
        }
        Contents::File(content, user) if length <= limits::COPIED as u64 => {
            let piece = read(&user, &content.handle, first, length as usize).await?;
            response.body(piece)
        }
        Contents::File(content, user) => {
            let pieces = pieces(turns.clone(), user, content.handle, first, length).await?;
            // To actix it is a body without a length, since not all of it goes through its hands.
            response.no_chunking(length);
            response.body(BodyStream::new(pieces))
        }
    })
}
