//! The page for a person who looks at a store: `/` for whoever asks for HTML, and the files that it loads.
//!
//! What it shows may be anybody's: no script but its own runs, nothing is loaded from elsewhere, and no other page may
//! hold it in a frame or reach it by a window.

use std::borrow::Cow;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use super::module::{ASKED_AGAIN, JAVASCRIPT, MODULE};
use crate::http::answer::outcome::{Answer, Contents, Resource};
use crate::http::answer::problem::Problem;
use crate::http::site::Site;
use crate::wire::{Code, PageFile};

const HTML: &str = include_str!("../../client/js/page/page.html");
const SCRIPT: &str = include_str!("../../client/js/page/page.js");
const STYLE: &str = include_str!("../../client/js/page/page.css");

/// The policy of the page, for browsers. `blob:` is for pictures that the page has looked at itself; nothing is a script
/// but the page's own files, and nothing that is text becomes a part of the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types 'none'";

/// One file, with what is said of it.
struct PageText {
    bytes: Bytes,
    tag: String,
    /// As `integrity` has it.
    integrity: String,
}

impl PageText {
    fn new(text: Cow<'static, str>) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        Self {
            tag: format!("\"{}\"", hex::encode(digest)),
            integrity: format!("sha256-{}", BASE64.encode(&digest)),
            bytes: match text {
                Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
                Cow::Owned(text) => text.into(),
            },
        }
    }
}

static FILES: LazyLock<[PageText; 3]> = LazyLock::new(|| {
    PageFile::ALL.map(|file| {
        PageText::new(match file {
            PageFile::Script => Cow::Borrowed(SCRIPT),
            PageFile::Style => Cow::Borrowed(STYLE),
            PageFile::Module => Cow::Owned(without_comments(looking())),
        })
    })
});

fn served(file: PageFile) -> &'static PageText {
    &FILES[file as usize]
}

/// The page, which says the digests of its files.
static PAGE: LazyLock<PageText> = LazyLock::new(|| {
    let mut page = HTML.to_owned();
    for file in PageFile::ALL {
        let name = format!("{{{}}}", file.name());
        page = page.replace(&name, &served(file).integrity);
    }
    PageText::new(page.replace("{version}", env!("CARGO_PKG_VERSION")).into())
});

/// The part of the module that the page uses, which is its first: the wire and the envelope, without the replica.
fn looking() -> &'static str {
    let replica = "\n// Where a replica is kept\n";
    MODULE.split_once(replica).map_or(MODULE, |(part, _)| part)
}

/// A script without the lines that are comments: whoever only looks at the page has no use for half of the bytes. A
/// comment begins and ends with a line, as in all that the repository has.
fn without_comments(script: &str) -> String {
    let mut short = String::with_capacity(script.len());
    let mut inside = false;
    for line in script.lines() {
        let text = line.trim();
        // What is after the end of a comment, as after a type that is said of a value, is no comment.
        let begins =
            text.starts_with("/*") && text.find("*/").is_none_or(|end| end + 2 == text.len());
        if inside || begins || text.starts_with("//") || text.is_empty() {
            inside = (inside || begins) && !text.ends_with("*/");
            continue;
        }
        short.push_str(line);
        short.push('\n');
    }
    short
}

/// Whether whoever asks would have HTML rather than text: `Accept` names it, as browsers do and programs do not, and puts
/// text no higher (RFC 9110, 12.5.1).
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let (mut html, mut text) = (0, 0);
    for value in headers.get_all(header::ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
            let weight = weight.map_or(1000, thousandths);
            if media.eq_ignore_ascii_case("text/html") {
                html = html.max(weight);
            } else if media.eq_ignore_ascii_case("text/plain") {
                text = text.max(weight);
            }
        }
    }
    html > 0 && html >= text
}

/// A weight in thousandths; what is none is nothing.
fn thousandths(weight: &str) -> u32 {
    match weight.parse::<f32>() {
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0) as u32,
        _ => 0,
    }
}

/// `GET /` of whoever asks for HTML: 200 with the page.
pub fn page() -> Answer {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, ASKED_AGAIN))
        .insert_header((header::VARY, "Accept"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .insert_header(OWN);
    response.body(PAGE.bytes.clone()).into()
}

/// No page of another place loads it.
const OWN: (&str, &str) = ("cross-origin-resource-policy", "same-origin");

/// `GET /page/{file}`: 200 with a file of the page, 304 when `If-None-Match` names it; 404 `not-found` with `--no-page`.
///
/// # Errors
/// 404 `not-found`, 412 `precondition-failed`
pub fn file(site: &Site, file: PageFile) -> Result<Answer, Problem> {
    if !site.settings.page {
        let detail = "this server was started with --no-page";
        return Err(Problem::new(Code::NotFound, detail));
    }
    let media = match file {
        PageFile::Script | PageFile::Module => JAVASCRIPT,
        PageFile::Style => "text/css; charset=utf-8",
    };
    let served = served(file);
    let own = (
        HeaderName::from_static(OWN.0),
        HeaderValue::from_static(OWN.1),
    );
    Ok(Answer::Resource(Resource {
        tag: served.tag.clone(),
        media,
        caching: ASKED_AGAIN,
        ranges: false,
        more: vec![own],
        contents: Contents::Memory(served.bytes.clone()),
    }))
}

/// Whether this request is for the page.
pub fn is_for_it(site: &Site, request: &RequestHead) -> bool {
    site.settings.page && is_wanted(request.headers())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_for_whoever_names_html_and_puts_text_no_higher() {
        for (accept, page) in [
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                true,
            ),
            ("text/html", true),
            ("TEXT/HTML; Q=0.5", true),
            ("text/plain;q=0.4, text/html;q=0.5", true),
            ("text/html;level=1;q=0.5, text/plain;q=0.5", true),
            ("*/*", false),
            ("text/*", false),
            ("text/html;q=0", false),
            ("text/html;q=x", false),
            ("text/plain, text/html;q=0.9", false),
            ("application/json", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(is_wanted(&headers), page, "{accept}");
        }
        assert!(!is_wanted(&HeaderMap::new()));
    }

    #[test]
    fn a_script_loses_its_comments_and_nothing_else() {
        let script = "// one\n/**\n * two\n */\nlet a = '/* no */'; // kept\n\n    /** three */\n    b();\n/** four */ (c);\n";
        let short = "let a = '/* no */'; // kept\n    b();\n/** four */ (c);\n";
        assert_eq!(without_comments(script), short);
    }

    #[test]
    fn the_page_is_light() {
        let files = PageFile::ALL.map(|file| served(file).bytes.len());
        let all = PAGE.bytes.len() + files.iter().sum::<usize>();
        assert!(all < 100 << 10, "{all} bytes");
        assert!(
            looking().len() < MODULE.len(),
            "the whole module is not needed"
        );
    }

    #[test]
    fn the_page_says_the_digests_of_its_files() {
        let page = std::str::from_utf8(&PAGE.bytes).unwrap();
        for file in PageFile::ALL {
            assert!(page.contains(&served(file).integrity), "{}", file.name());
        }
        assert!(!page.contains('{'));
    }
}
