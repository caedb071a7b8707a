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
    Part {
        /// The first byte, from 0.
        first: u64,
        /// The last byte.
        last: u64,
    },
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

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    const TAG: &str = "\"abc\"";

    fn choice(name: header::HeaderName, value: &'static str) -> Result<Choice, StatusCode> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        let choice = Choice::of(&headers, TAG, 10, true);
        choice.map_err(|problem| problem.respond().status())
    }

    #[test]
    fn a_request_chooses_the_whole_a_part_or_nothing() {
        for (name, value, expected) in [
            (header::RANGE, "bytes=3-5", Ok((206, 3, Some(3)))),
            (header::RANGE, "bytes=8-", Ok((206, 8, Some(2)))),
            (header::RANGE, "lines=1-2", Ok((200, 0, Some(10)))),
            (header::RANGE, "bytes=10-", Err(416)),
            (header::IF_NONE_MATCH, TAG, Ok((304, 0, None))),
            (header::IF_MATCH, TAG, Ok((200, 0, Some(10)))),
            (header::IF_MATCH, "\"x\"", Err(412)),
        ] {
            let chosen = choice(name, value).map_err(|status| status.as_u16());
            let chosen = chosen.map(|choice| {
                let status = choice.respond(TAG.to_owned(), "", 10).finish().status();
                (status.as_u16(), choice.first(), choice.length(Some(10)))
            });
            assert_eq!(chosen, expected, "{value}");
        }
        assert_eq!(Choice::Whole.length(None), None);
    }

    #[test]
    fn a_part_says_which_of_how_many_bytes_it_is() {
        let part = Choice::Part { first: 3, last: 5 };
        let response = part.respond(TAG.to_owned(), "no-store", 10).finish();
        let headers = response.headers();
        assert_eq!(headers.get(header::CONTENT_RANGE).unwrap(), "bytes 3-5/10");
        assert_eq!(headers.get(header::ETAG).unwrap(), TAG);
        assert_eq!(headers.get(header::CACHE_CONTROL).unwrap(), "no-store");
    }
}
