//! The endpoint of the module with which a page is a device: `src/client/js/mentat-sync.js`, as it is.

use std::sync::LazyLock;

use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use bytes::Bytes;
use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use crate::http::answer::outcome::{Answer, Contents, Resource};
use crate::http::answer::zipped::{takes_zipped, zipped};

/// The module, as the repository has it.
pub(super) const MODULE: &str = include_str!("../../client/js/mentat-sync.js");

/// The media type of a module (RFC 9239): a browser runs no other.
pub(super) const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The caching under an address that does not say which version it is: it is asked about each time, so that a page has
/// the module of the server that it talks to.
pub(super) const ASKED_AGAIN: &str = "public, no-cache";

/// The caching under an address that has the digest: it can never be another one.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The digest of what is answered, of which a zipped module's is another (RFC 9530).
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// The header of a zipped module.
const CODING: (HeaderName, HeaderValue) =
    (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));

/// The header of a module that there is in two forms.
const VARY: (HeaderName, HeaderValue) = (header::VARY, HeaderValue::from_static("Accept-Encoding"));

/// The digest of the module, in the two spellings that are said of it.
struct ModuleDigest {
    hex: String,
    header: HeaderValue,
}

static DIGEST: LazyLock<ModuleDigest> = LazyLock::new(|| {
    let digest = Sha256::digest(MODULE);
    let header = format!("sha-256=:{}:", BASE64.encode(&digest));
    ModuleDigest {
        hex: hex::encode(digest),
        header: HeaderValue::try_from(header).expect("base64 is fit for a header"),
    }
});

static ZIPPED: LazyLock<Option<Bytes>> = LazyLock::new(|| zipped(MODULE.as_bytes()));

/// `GET /mentat-sync.js`: 200 with the module, whose digest `Repr-Digest` says (RFC 9530), for `integrity`, or zipped for who takes
/// it so; 304 when `If-None-Match` names it; 412 `precondition-failed` when `If-Match` does not. With `?sha256=` and its
/// digest in hex it may be kept for ever; with another digest it is the present one, which is asked about each time.
pub fn get(request: &RequestHead) -> Answer {
    let pinned = (request.uri.query()).and_then(|query| query.strip_prefix("sha256="));
    let caching = match pinned == Some(&*DIGEST.hex) {
        true => FOR_EVER,
        false => ASKED_AGAIN,
    };
    let zipped = ZIPPED.clone().filter(|_| takes_zipped(request.headers()));
    let (tag, contents, said) = match zipped {
        Some(zipped) => (format!("\"{}-gzip\"", DIGEST.hex), zipped, CODING),
        None => {
            let said = (REPR_DIGEST, DIGEST.header.clone());
            let plain = Bytes::from_static(MODULE.as_bytes());
            (format!("\"{}\"", DIGEST.hex), plain, said)
        }
    };
    Answer::Resource(Resource {
        tag,
        media: JAVASCRIPT,
        caching,
        ranges: false,
        more: vec![VARY, said],
        contents: Contents::Memory(contents),
    })
}
