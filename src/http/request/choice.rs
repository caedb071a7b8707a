//! The part of a resource that a request chooses, by its conditions and its range.

use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};

use super::conditions::{Wanted, wanted};
use crate::http::answer::problem::Problem;
use crate::wire::Code;

/// The part of a resource that a `GET` or `HEAD` is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// 200: the whole resource.
    Whole,
    /// 206: the bytes from the first up to and including the last.
    Part { first: u64, last: u64 },
    /// 304: nothing, since the client has it.
    NotModified,
}

impl Choice {
    /// The choice of a request with these headers among the bytes of the resource with this tag. `ranges` says
    /// whether ranges are served of it, and to this method.
    ///
    /// # Errors
    /// 412 `precondition-failed` where `If-Match` does not name the tag; 416 `range` where no byte of the range
    /// is there.
    pub fn of(headers: &HeaderMap, tag: &str, bytes: u64, ranges: bool) -> Result<Self, Problem> {
        match wanted(headers, tag, bytes, ranges) {
            Wanted::Whole => Ok(Self::Whole),
            Wanted::Part { first, last } => Ok(Self::Part { first, last }),
            Wanted::NotModified => Ok(Self::NotModified),
            Wanted::Unsatisfiable => Err(Problem::range(bytes)),
            Wanted::Failed => {
                let detail = "it is not the one that If-Match names";
                Err(Problem::new(Code::PreconditionFailed, detail))
            }
        }
    }

    /// The first byte that is chosen.
    pub fn first(&self) -> u64 {
        match self {
            Self::Part { first, .. } => *first,
            Self::Whole | Self::NotModified => 0,
        }
    }

    /// The number of bytes that are chosen of so many, which may be unknown where all are.
    pub fn length(&self, bytes: Option<u64>) -> Option<u64> {
        match self {
            Self::Whole => bytes,
            Self::Part { first, last } => Some(last - first + 1),
            Self::NotModified => None,
        }
    }

    /// The start of a response with the chosen part of so many bytes: status, tag, caching and range.
    pub fn respond(&self, tag: String, caching: &'static str, bytes: u64) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(match self {
            Self::Whole => StatusCode::OK,
            Self::Part { .. } => StatusCode::PARTIAL_CONTENT,
            Self::NotModified => StatusCode::NOT_MODIFIED,
        });
        response
            .insert_header((header::ETAG, tag))
            .insert_header((header::CACHE_CONTROL, caching));
        if let Self::Part { first, last } = self {
            let range = format!("bytes {first}-{last}/{bytes}");
            response.insert_header((header::CONTENT_RANGE, range));
        }
        response
    }
}
