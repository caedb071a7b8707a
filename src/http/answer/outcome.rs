//! The outcome of a handler: an answer, which is a value, and is rendered once the handler is done.

use std::io;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;

use super::json::json;
use crate::model::UserId;
use crate::store::Content;
use crate::wire::{JSON, TEXT};

/// The caching of content that never changes under its address: chunks, and transactions on the chain. Private,
/// since the address holds the user's id.
pub const IMMUTABLE: &str = "private, max-age=31536000, immutable";

/// The caching of content that may be another at any time.
pub const CHANGING: &str = "private, no-cache";

/// The answer of a handler, whose other outcome is an [`Error`](super::error::Error).
pub enum Answer {
    /// A response that is sent as it is.
    Response(HttpResponse),
    /// Content with an entity tag, of which the conditions and the range of the request choose what is sent.
    Resource(Resource),
}

/// Content with an entity tag.
pub struct Resource {
    /// The tag, quotes included.
    pub tag: String,
    /// The media type.
    pub media: &'static str,
    /// The value of `Cache-Control`.
    pub caching: &'static str,
    /// Parts of it may be asked for.
    pub ranges: bool,
    /// Headers that only this kind of content has.
    pub more: Vec<(HeaderName, HeaderValue)>,
    /// The bytes.
    pub contents: Contents,
}

/// The bytes of a resource, by the place where they are.
pub enum Contents {
    /// Bytes in memory.
    Memory(Bytes),
    /// A file of this user's.
    File(Content, UserId),
}

impl Contents {
    /// The length of the whole.
    pub fn bytes(&self) -> u64 {
        match self {
            Contents::Memory(bytes) => bytes.len() as u64,
            Contents::File(content, _) => content.bytes,
        }
    }
}

impl Answer {
    /// A status without a body.
    pub fn empty(status: StatusCode) -> Self {
        HttpResponse::new(status).into()
    }

    /// 200 with a message.
    pub fn json(message: &impl Serialize) -> Self {
        HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, JSON))
            .insert_header((header::CACHE_CONTROL, CHANGING))
            .body(json(message))
            .into()
    }

    /// 200 with lines for a person or a machine that watches the server.
    pub fn text(text: impl Into<Bytes>) -> Self {
        HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, TEXT))
            .body(text.into())
            .into()
    }

    /// The answer to a HEAD: these headers, without the body of a GET, whose length may be nowhere.
    pub fn headers_only(response: HttpResponseBuilder, length: Option<u64>) -> Self {
        headers_only(response, length).into()
    }
}

/// The response to a HEAD: these headers, without the body of a GET, whose length may be nowhere.
pub fn headers_only(mut response: HttpResponseBuilder, length: Option<u64>) -> HttpResponse {
    if let Some(length) = length {
        response.no_chunking(length);
    }
    let mut response = response.streaming(stream::empty::<io::Result<Bytes>>());
    response.head_mut().no_chunking(true);
    response
}

impl From<HttpResponse> for Answer {
    fn from(response: HttpResponse) -> Self {
        Self::Response(response)
    }
}

impl From<Resource> for Answer {
    fn from(resource: Resource) -> Self {
        Self::Resource(resource)
    }
}
