//! Conditional requests and ranges, as RFC 9110 (sections 13 and 14) has them. Pure.
//!
//! All entity tags here are strong, and nothing has a modification date: what is called by its
//! content or by an immutable id does not need one, so the date conditions are ignored, as the RFC
//! has it for such resources.

use actix_web::http::header::{self, HeaderMap};

/// The answer that the conditions of a request ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The whole resource.
    Whole,
    /// The bytes from the first up to and including the last.
    Part {
        /// The first byte, from 0.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// No byte of the range is there: 416.
    Unsatisfiable,
    /// The client has it: 304.
    NotModified,
    /// The client wants something else: 412.
    Failed,
}

/// Evaluates the conditions of a `GET` or `HEAD` of a resource with this tag and length, in the RFC's order
/// (13.2.2). `ranges` says whether ranges are served of it, and to this method.
pub fn wanted(headers: &HeaderMap, tag: &str, bytes: u64, ranges: bool) -> Wanted {
    if !may_change(headers, tag) {
        return Wanted::Failed;
    }
    if holds(headers, tag) {
        return Wanted::NotModified;
    }
    let Some(value) = headers.get(header::RANGE).filter(|_| ranges) else {
        return Wanted::Whole;
    };
    let unchanged = match headers.get(header::IF_RANGE) {
        // A date, or a weak tag, never matches a strong one.
        Some(value) => value.as_bytes() == tag.as_bytes(),
        None => true,
    };
    match value.to_str() {
        Ok(value) if unchanged => range(value, bytes),
        _ => Wanted::Whole,
    }
}

/// Whether `If-None-Match` names this tag: the client has it.
pub fn holds(headers: &HeaderMap, tag: &str) -> bool {
    any_of(headers, header::IF_NONE_MATCH, tag, Comparison::Weak) == Some(true)
}

/// Whether `If-Match` lets a request go on with what has this tag.
pub fn may_change(headers: &HeaderMap, tag: &str) -> bool {
    any_of(headers, header::IF_MATCH, tag, Comparison::Strong).unwrap_or(true)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether one of the tags in the header is this one; `None` without the header. No tag of ours
/// holds a comma, so that no list needs more than to be cut at them.
fn any_of(
    headers: &HeaderMap,
    name: header::HeaderName,
    tag: &str,
    comparison: Comparison,
) -> Option<bool> {
    let mut values = headers.get_all(name).peekable();
    values.peek()?;
    Some(values.any(|value| {
        value.as_bytes().split(|&byte| byte == b',').any(|given| {
            let given = given.trim_ascii();
            let strong = match comparison {
                Comparison::Weak => given.strip_prefix(b"W/").unwrap_or(given),
                Comparison::Strong => given,
            };
            given == b"*" || strong == tag.as_bytes()
        })
    }))
}

/// Evaluates the value of a `Range` for so many bytes (14.2). Other units, wrong syntax, and more ranges than
/// one are ignored, as the RFC has it.
pub fn range(value: &str, bytes: u64) -> Wanted {
    let Some((unit, spec)) = value.split_once('=') else {
        return Wanted::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Wanted::Whole;
    };
    let numbers = [first, last].map(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    if !unit.trim().eq_ignore_ascii_case("bytes") || numbers != [true, true] {
        return Wanted::Whole;
    }
    // Digits that no u64 holds are beyond any end.
    let number = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap_or(u64::MAX));
    match (number(first), number(last)) {
        (None, None) => Wanted::Whole,
        (Some(first), Some(last)) if last < first => Wanted::Whole,
        (Some(first), _) if first >= bytes => Wanted::Unsatisfiable,
        (Some(first), last) => Wanted::Part {
            first,
            last: last.map_or(bytes - 1, |last| last.min(bytes - 1)),
        },
        (None, Some(0)) => Wanted::Unsatisfiable,
        (None, Some(_)) if bytes == 0 => Wanted::Whole,
        (None, Some(suffix)) => Wanted::Part {
            first: bytes.saturating_sub(suffix),
            last: bytes - 1,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    const TAG: &str = "\"abc\"";

    fn asked(headers: &[(header::HeaderName, &str)]) -> Wanted {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        wanted(&map, TAG, 10, true)
    }

    fn bytes(first: u64, last: u64) -> Wanted {
        Wanted::Part { first, last }
    }

    #[test]
    fn a_range_is_cut_to_what_is_there() {
        for (value, wanted) in [
            ("bytes=0-0", bytes(0, 0)),
            ("bytes=0-9", bytes(0, 9)),
            ("bytes=0-", bytes(0, 9)),
            ("Bytes= 3-5", bytes(3, 5)),
            ("bytes=9-99999999999999999999999", bytes(9, 9)),
            ("bytes=-1", bytes(9, 9)),
            ("bytes=-10", bytes(0, 9)),
            ("bytes=-11", bytes(0, 9)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
        ] {
            assert_eq!(range(value, 10), wanted, "{value}");
        }
        assert_eq!(range("bytes=0-", 0), Wanted::Unsatisfiable);
        assert_eq!(range("bytes=-5", 0), Wanted::Whole);
    }

    #[test]
    fn a_range_that_is_none_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=1",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "bytes=+0-1",
            "bytes=0--1",
            "lines=0-1",
            "bytes 0-1",
            "bytes=0 - 1",
        ] {
            assert_eq!(range(value, 10), Wanted::Whole, "{value}");
        }
    }

    #[test]
    fn a_tag_that_the_client_has_is_not_sent_again() {
        for (list, wanted) in [
            ("*", Wanted::NotModified),
            (TAG, Wanted::NotModified),
            ("W/\"abc\"", Wanted::NotModified),
            ("\"x\" ,\"abc\", \"y\"", Wanted::NotModified),
            ("\"x\"", Wanted::Whole),
            ("abc", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(asked(&[(header::IF_NONE_MATCH, list)]), wanted, "{list}");
        }
        let two = [
            (header::IF_NONE_MATCH, "\"x\""),
            (header::IF_NONE_MATCH, TAG),
        ];
        assert_eq!(asked(&two), Wanted::NotModified);
    }

    #[test]
    fn if_match_comes_first_and_compares_strongly() {
        for (list, wanted) in [
            ("*", Wanted::Whole),
            (TAG, Wanted::Whole),
            ("W/\"abc\"", Wanted::Failed),
            ("\"x\"", Wanted::Failed),
        ] {
            assert_eq!(asked(&[(header::IF_MATCH, list)]), wanted, "{list}");
        }
        let both = [(header::IF_MATCH, "\"x\""), (header::IF_NONE_MATCH, TAG)];
        assert_eq!(asked(&both), Wanted::Failed);
    }

    #[test]
    fn a_range_of_something_else_is_the_whole_of_this() {
        let range = (header::RANGE, "bytes=1-2");
        for (given, wanted) in [
            (TAG, bytes(1, 2)),
            ("W/\"abc\"", Wanted::Whole),
            ("\"x\"", Wanted::Whole),
            ("Sat, 29 Oct 1994 19:43:31 GMT", Wanted::Whole),
        ] {
            assert_eq!(
                asked(&[range.clone(), (header::IF_RANGE, given)]),
                wanted,
                "{given}"
            );
        }
        let held = [range.clone(), (header::IF_NONE_MATCH, TAG)];
        assert_eq!(asked(&held), Wanted::NotModified);
        let mut map = HeaderMap::new();
        map.append(range.0, HeaderValue::from_static("bytes=1-2"));
        assert_eq!(wanted(&map, TAG, 10, false), Wanted::Whole);
    }
}
