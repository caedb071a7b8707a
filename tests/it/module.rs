use std::io::Read;

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use crate::kit::{Answer, Server};

const PATH: &str = "/mentat-sync.js";
const MODULE: &[u8] = include_bytes!("../../src/client/js/mentat-sync.js");
const APP: &str = "https://app.example.org";

fn ask(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    server.client().request("GET", path, headers, None)
}

#[test]
fn the_module_is_what_the_repository_has_and_says_its_digest() {
    let server = Server::start();
    let answer = server.client().get(PATH).expect(200);
    assert!(answer.body == MODULE);
    assert_eq!(
        answer.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let digest = Sha256::digest(MODULE);
    let said = format!("sha-256=:{}:", BASE64.encode(&digest));
    assert_eq!(answer.header("repr-digest"), Some(&*said));
    assert_eq!(
        answer.header("etag"),
        Some(&*format!("\"{}\"", hex::encode(digest)))
    );
}

#[test]
fn the_module_is_asked_about_each_time_and_kept_for_ever_under_its_digest_alone() {
    let server = Server::start();
    let caching = |path: &str| {
        let answer = server.client().get(path).expect(200);
        assert!(answer.body == MODULE, "{path}");
        answer.header("cache-control").unwrap().to_owned()
    };
    let digest = hex::encode(Sha256::digest(MODULE));
    let for_ever = "public, max-age=31536000, immutable";
    assert_eq!(caching(PATH), "public, no-cache");
    assert_eq!(caching(&format!("{PATH}?sha256={digest}")), for_ever);
    // Before or after an upgrade: what is under this address today is not what its digest says.
    for other in [
        "?sha256=",
        &format!("?sha256={}", "0".repeat(64)),
        &format!("?sha256={}", &digest[1..]),
        &format!("?sha256={digest}0"),
        &format!("?v={digest}"),
    ] {
        assert_eq!(caching(&format!("{PATH}{other}")), "public, no-cache");
    }
    let tag = format!("\"{digest}\"");
    let kept = ask(&server, PATH, &[("if-none-match", &tag)]).expect(304);
    assert_eq!(kept.header("cache-control"), Some("public, no-cache"));
    ask(&server, PATH, &[("if-none-match", "\"other\"")]).expect(200);
}

#[test]
fn the_module_is_zipped_for_who_takes_it_so_and_is_another_resource_then() {
    let server = Server::start();
    let zipped = ask(&server, PATH, &[("accept-encoding", "br, gzip")]).expect(200);
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert_eq!(zipped.header("vary"), Some("Accept-Encoding"));
    assert_eq!(zipped.header("repr-digest"), None);
    let mut whole = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&zipped.body[..]);
    decoder.read_to_end(&mut whole).unwrap();
    assert!(whole == MODULE);
    assert!(zipped.body.len() < 40 << 10, "{}", zipped.body.len());
    let tag = zipped.header("etag").unwrap();
    let plain = ask(&server, PATH, &[("if-none-match", tag)]).expect(200);
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
    assert_ne!(plain.header("etag"), Some(tag));
    let both = [("if-none-match", tag), ("accept-encoding", "gzip")];
    ask(&server, PATH, &both).expect(304);
}

#[test]
fn the_module_is_for_the_pages_that_may_ask() {
    let server = Server::with(&["--cors-origin", APP]);
    let answer = ask(&server, PATH, &[("origin", APP)]).expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
    assert!(
        answer
            .headers
            .iter()
            .any(|(name, value)| name == "vary" && value == "Origin")
    );
    let refused = ask(&server, PATH, &[("origin", "https://other.example.org")]).expect(403);
    assert_eq!(refused.header("access-control-allow-origin"), None);
}
