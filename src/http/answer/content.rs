//! Answers that carry something: JSON made here, and files of the store, with conditions and ranges.

use std::io;

use actix_web::body::BodyStream;
use actix_web::dev::RequestHead;
use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Serialize;

use super::problem::Problem;
use crate::disk::{self, Handle};
use crate::http::Answer;
use crate::http::blocking::for_user;
use crate::http::connection::turn::Turn;
use crate::http::request::conditions::{Wanted, wanted};
use crate::model::{UserId, limits};
use crate::store::{self, Content};
use crate::wire::{Code, JSON};

/// For what never changes under its address: chunks, and transactions on the chain. Private, since
/// the address holds the user's id.
pub const IMMUTABLE: &str = "private, max-age=31536000, immutable";

/// For what may be another thing at any time.
pub const CHANGING: &str = "private, no-cache";

/// Something with an entity tag.
pub struct Resource {
    /// The tag, quotes included.
    pub tag: String,
    pub media: &'static str,
    pub caching: &'static str,
    /// Parts of it may be asked for.
    pub ranges: bool,
    pub source: Source,
}

/// Where its bytes are.
pub enum Source {
    Memory(Bytes),
    /// A file of this user's.
    File(Content, UserId),
}

impl Source {
    fn bytes(&self) -> u64 {
        match self {
            Source::Memory(bytes) => bytes.len() as u64,
            Source::File(content, _) => content.bytes,
        }
    }
}

/// A message as the body of an answer: one line, for a person with curl.
pub fn json(message: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(message).expect("our messages have string keys and no I/O");
    text.push(b'\n');
    text.into()
}

/// 200 with a message.
pub fn json_answer(message: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, JSON))
        .insert_header((header::CACHE_CONTROL, CHANGING))
        .body(json(message))
}

/// 200, 206, 304, 412 `precondition-failed` or 416 `range`, as RFC 9110 has it for this request.
pub async fn answer(request: &RequestHead, turn: &Turn, resource: Resource) -> Answer {
    let bytes = resource.source.bytes();
    let get = request.method == Method::GET;
    let ranges = resource.ranges && get;
    let (status, first, length) = match wanted(request.headers(), &resource.tag, bytes, ranges) {
        Wanted::Whole => (StatusCode::OK, 0, bytes),
        Wanted::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Wanted::NotModified => (StatusCode::NOT_MODIFIED, 0, 0),
        Wanted::Unsatisfiable => return Err(Problem::range(bytes)),
        Wanted::Failed => {
            let detail = "it is not the one that If-Match names";
            return Err(Problem::new(Code::PreconditionFailed, detail));
        }
    };
    let mut response = HttpResponse::build(status);
    response
        .insert_header((header::ETAG, resource.tag))
        .insert_header((header::CACHE_CONTROL, resource.caching));
    if status == StatusCode::NOT_MODIFIED {
        return Ok(response.finish());
    }
    response.insert_header((header::CONTENT_TYPE, resource.media));
    if resource.ranges {
        response.insert_header((header::ACCEPT_RANGES, "bytes"));
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{bytes}", first + length - 1);
        response.insert_header((header::CONTENT_RANGE, range));
    }
    if !get {
        return Ok(headers_only(response, Some(length)));
    }
    Ok(match resource.source {
        Source::Memory(all) => {
            let part = first as usize..(first + length) as usize;
            response.body(all.slice(part))
        }
        Source::File(content, user) if length <= limits::COPIED as u64 => {
            let piece = read(&user, &content.handle, first, length as usize).await?;
            response.body(piece)
        }
        Source::File(content, user) => {
            // To actix it is a body without a length, since not all of it goes through its hands.
            response.no_chunking(length);
            let pieces = pieces(turn.clone(), user, content.handle, first, length);
            response.body(BodyStream::new(pieces))
        }
    })
}

/// The answer to a HEAD: what a GET would say, without its body, whose length may be nowhere.
pub fn headers_only(mut response: HttpResponseBuilder, length: Option<u64>) -> HttpResponse {
    if let Some(length) = length {
        response.no_chunking(length);
    }
    let mut response = response.streaming(stream::empty::<io::Result<Bytes>>());
    response.head_mut().no_chunking(true);
    response
}

/// This part of a file, in place if it is in memory and else from a thread.
async fn read(
    user: &UserId,
    handle: &Handle,
    offset: u64,
    length: usize,
) -> Result<Bytes, Problem> {
    match read_now(handle, offset, length) {
        Some(read) => whole(read?, length),
        None => read_on_a_thread(user, handle, offset, length).await,
    }
}

/// This part of a file, if it is in memory: a way to a thread and back would cost more than the copy.
fn read_now(handle: &Handle, offset: u64, length: usize) -> Option<Result<Vec<u8>, Problem>> {
    let mut buffer = vec![0; length];
    Some(match handle.read_now(offset, &mut buffer)? {
        Ok(read) => {
            buffer.truncate(read);
            Ok(buffer)
        }
        Err(error) => Err(store::Error::from(error).into()),
    })
}

async fn read_on_a_thread(
    user: &UserId,
    handle: &Handle,
    offset: u64,
    length: usize,
) -> Result<Bytes, Problem> {
    let handle = Handle::clone(handle);
    let read = for_user(user, move || {
        let mut buffer = vec![0; length];
        let read = handle.read_at(offset, &mut buffer)?;
        buffer.truncate(read);
        Ok(buffer)
    });
    whole(
        read.await?
            .map_err(|error: disk::Error| store::Error::from(error))?,
        length,
    )
}

fn whole(read: Vec<u8>, length: usize) -> Result<Bytes, Problem> {
    if read.len() < length {
        log::error!("a file is shorter than it was when it was opened");
        return Err(Problem::internal());
    }
    Ok(read.into())
}

/// This part of a file, piece by piece: the next is looked at when the last has gone into the network.
/// What is in memory the system sends by itself; what must be waited for is read on a thread. A failure
/// breaks the connection off, which never looks like an end.
fn pieces(
    turn: Turn,
    user: UserId,
    handle: Handle,
    first: u64,
    length: u64,
) -> impl Stream<Item = io::Result<Bytes>> {
    let end = first + length;
    stream::try_unfold((turn, handle, first), move |state| async move {
        let (turn, handle, mut offset) = state;
        let most = |most: usize, from: u64| {
            usize::try_from(end - from).map_or(most, |left| left.min(most))
        };
        while offset < end {
            let part = most(limits::SENT, offset);
            if !is_in_memory(&handle, offset, part) {
                break;
            }
            let sent = turn.send(Handle::clone(&handle), offset, part).await;
            offset += sent as u64;
            if sent < part {
                break;
            }
        }
        if offset == end {
            return Ok(None);
        }
        let piece = read_on_a_thread(&user, &handle, offset, most(limits::PIECE, offset)).await;
        let piece = piece.map_err(|_| io::Error::other("a read failed; see above"))?;
        let next = offset + piece.len() as u64;
        Ok(Some((piece, (turn, handle, next))))
    })
}

/// Whether this part of a file can be sent without waiting for the disk, as far as looks here and there
/// tell: files are read ahead in far longer pieces than lie between two looks.
fn is_in_memory(handle: &Handle, offset: u64, length: usize) -> bool {
    let last = offset + length as u64 - 1;
    let looks = (offset..last).step_by(limits::LOOK);
    looks
        .chain([last])
        .all(|at| matches!(handle.read_now(at, &mut [0]), Some(Ok(1))))
}
