//! A text that is built in and given out zipped to whoever takes it so: a browser does, and waits a quarter as long.

use std::io::{self, Write};

use actix_web::http::header::{self, HeaderMap};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// A built-in text as gzip (RFC 1952); nothing where that failed, which the memory's end alone can do. Costs some
/// milliseconds: once in a process.
pub fn zipped(text: &'static [u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let done = encoder.write_all(text).and_then(|()| encoder.finish());
    done.map(Bytes::from)
        .inspect_err(|error: &io::Error| log::warn!("a built-in text is not zipped: {error}"))
        .ok()
}

/// Whether these headers of a request say that the answer may be zipped (RFC 9110, section 12.5.3).
pub fn takes_zipped(headers: &HeaderMap) -> bool {
    let mut any = None;
    for part in (headers.get_all(header::ACCEPT_ENCODING)).filter_map(|value| value.to_str().ok()) {
        for coding in part.split(',') {
            let mut words = coding.split(';').map(str::trim);
            let name = words.next().unwrap_or_default().to_ascii_lowercase();
            let weights = words.filter_map(|word| word.split_once('='));
            let is_none = |(name, value): (&str, &str)| {
                name.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0)
            };
            let is_taken = !{ weights }.any(is_none);
            match &*name {
                "gzip" | "x-gzip" => return is_taken,
                "*" => any = Some(is_taken),
                _ => {}
            }
        }
    }
    any.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn a_text_is_zipped_for_those_who_say_that_they_take_it() {
        for (said, takes) in [
            ("gzip", true),
            ("GZIP", true),
            ("deflate, gzip;q=1.0, *;q=0.5", true),
            ("br, zstd, gzip", true),
            ("x-gzip", true),
            ("*", true),
            ("gzip;q=0.001", true),
            ("", false),
            ("identity", false),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip; Q=0.000", false),
            ("*, gzip;q=0", false),
            ("*;q=0", false),
            ("gzipped", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(said));
            assert_eq!(takes_zipped(&headers), takes, "{said:?}");
        }
        assert!(!takes_zipped(&HeaderMap::new()));
    }
}
