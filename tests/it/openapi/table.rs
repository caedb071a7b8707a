//! The document against the tables of the source: routes, codes, statuses.

use std::collections::BTreeSet;

use mentat_sync::http::statuses::status;
use mentat_sync::wire::{API, Code, Route};
use serde_json::Value;

use super::document::Document;
use super::schema::follow;
use crate::kit::{ROOT, binary, digest, run_with_deadline};

/// A template with ids filled in.
fn filled(template: &str) -> String {
    template
        .replace("{user}", ROOT)
        .replace("{file}", "page.js")
        .replace("{transaction}", ROOT)
        .replace("{parent}", ROOT)
        .replace("{version}", ROOT)
        .replace("{chunk}", &digest(b""))
}

/// The patterns of all routes, as the source's `Route::pattern` has them: its `match` leaves none out.
fn patterns() -> BTreeSet<&'static str> {
    let source = include_str!("../../../src/wire/routes.rs");
    let (_, rest) = source.split_once("fn pattern(").expect("it is there");
    let (function, _) = rest.split_once("\n    }\n").expect("it ends");
    let quoted = |line: &'static str| line.split_once("=> \"")?.1.split_once('"');
    function
        .lines()
        .filter_map(|line| Some(quoted(line)?.0))
        .collect()
}

fn methods(list: &str) -> BTreeSet<String> {
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_paths_and_methods_are_those_of_the_route_table() {
    let document = Document::of_the_source();
    let paths = document.paths();
    let named: BTreeSet<&str> = paths.iter().map(|(path, _)| *path).collect();
    assert_eq!(named, patterns());
    assert!(named.len() > 12, "{named:?}");
    for (path, documented) in paths {
        let route = Route::parse_with(&filled(path), || Ok(ROOT.parse().unwrap()));
        let route = route.unwrap_or_else(|_| panic!("{path} is no route"));
        assert_eq!(route.pattern(), path);
        assert_eq!(documented, methods(route.allow()), "{path}");
    }
    assert_eq!(document.0["info"]["version"], API);
}

#[test]
fn the_codes_are_those_of_the_wire() {
    let document = Document::of_the_source();
    let listed = &document.0["components"]["schemas"]["Code"]["enum"];
    let codes: Vec<Value> = Code::ALL.iter().map(|code| code.as_str().into()).collect();
    assert_eq!(listed, &Value::from(codes));
}

/// The codes of a refusal, and the one status that its body says.
fn codes_of<'a>(document: &'a Document, response: &'a Value) -> Option<(BTreeSet<&'a str>, u64)> {
    let schema = &response["content"]["application/problem+json"]["schema"];
    let narrowed = &follow(&document.0, schema)["allOf"][1];
    let properties = narrowed.get("properties")?;
    let codes = properties["code"]["enum"].as_array()?;
    let codes = codes.iter().filter_map(Value::as_str).collect();
    let [status] = properties["status"]["enum"].as_array()?.as_slice() else {
        panic!("several statuses: {narrowed}");
    };
    Some((codes, status.as_u64()?))
}

#[test]
fn each_code_has_the_status_that_the_server_gives_it_and_no_other() {
    let document = Document::of_the_source();
    let mut documented = BTreeSet::new();
    for (path, method, at, response) in document.each_response() {
        let Some((codes, said)) = codes_of(&document, response) else {
            continue;
        };
        assert_eq!(said, u64::from(at), "{method} {path}");
        documented.extend(codes.into_iter().map(|code| (code.to_owned(), at)));
    }
    let pair = |code: Code, of_an_advance| (code.to_string(), status(code, of_an_advance).as_u16());
    let given: BTreeSet<_> = Code::ALL
        .iter()
        .flat_map(|&code| [pair(code, false), pair(code, true)])
        // HTTP has a status of its own for more of a head than is taken.
        .chain([(Code::MalformedRequest.to_string(), 431)])
        .collect();
    assert_eq!(documented, given);
}

#[test]
fn every_refusal_is_documented_as_a_problem() {
    let document = Document::of_the_source();
    for (path, method, at, response) in document.each_response() {
        let told = codes_of(&document, response).is_some();
        assert_eq!(told, at >= 400, "{method} {path} {at}");
    }
}

#[test]
fn operations_have_names_of_their_own_and_nothing_is_left_over() {
    let document = Document::of_the_source();
    let operations = document.operations();
    let names: BTreeSet<&str> = operations
        .iter()
        .filter_map(|(path, method)| {
            document.0["paths"][path][method.to_lowercase()]["operationId"].as_str()
        })
        .collect();
    assert_eq!(names.len(), operations.len());
    let text = document.0.to_string();
    for (kind, components) in document.0["components"].as_object().unwrap() {
        for name in components.as_object().unwrap().keys() {
            // A scheme of security is called by its name alone.
            let reference = match kind.as_str() {
                "securitySchemes" => format!("\"{name}\":[]"),
                _ => format!("\"#/components/{kind}/{name}\""),
            };
            assert!(text.contains(&reference), "nobody refers to {reference}");
        }
    }
}

/// Each body of the document: where it is, its media type, and what is said of it.
fn bodies(document: &Document) -> Vec<(String, &str, &Value)> {
    let mut all = Vec::new();
    for (path, method, status, response) in document.each_response() {
        for (media, body) in response["content"].as_object().into_iter().flatten() {
            all.push((format!("{method} {path} {status}"), media.as_str(), body));
        }
    }
    for (path, method) in document.operations() {
        let request = &document.0["paths"][&path][method.to_lowercase()]["requestBody"];
        for (media, body) in request["content"].as_object().into_iter().flatten() {
            all.push((format!("{method} {path}"), media.as_str(), body));
        }
    }
    all
}

#[test]
fn each_body_has_a_schema_and_bytes_have_a_binary_one() {
    let document = Document::of_the_source();
    let mut of_bytes = 0;
    for (at, media, body) in bodies(&document) {
        // Some bytes of a JSON are no JSON.
        if at.ends_with(" 206") && media == "application/json" {
            continue;
        }
        let schema = follow(&document.0, &body["schema"]);
        assert!(schema.is_object(), "{at} {media} has no schema");
        if ["application/octet-stream", "application/x-tar"].contains(&media) {
            assert_eq!(schema["format"], "binary", "{at} {media}");
            assert_eq!(schema["type"], "string", "{at} {media}");
            of_bytes += 1;
        }
        if media == "text/event-stream" {
            assert!(
                schema["description"].as_str().unwrap().contains("`data: `"),
                "{at}"
            );
        }
    }
    assert!(of_bytes > 7, "{of_bytes}");
}

/// Whether a key stands somewhere in the document.
fn has_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(object) => object
            .iter()
            .any(|(name, value)| name == key || has_key(value, key)),
        Value::Array(list) => list.iter().any(|value| has_key(value, key)),
        _ => false,
    }
}

/// What makes clients of the document understands an `enum` of one, and leaves out a response with a `const`.
#[test]
fn what_has_one_value_only_is_an_enum() {
    let document = Document::of_the_source().0;
    assert!(has_key(&document, "enum") && !has_key(&document, "const"));
}

#[test]
fn the_first_server_of_the_document_is_where_one_listens_that_is_told_nothing() {
    let document = Document::of_the_source();
    let help = run_with_deadline(binary().args(["serve", "--help"])).stdout;
    let url = document.0["servers"][0]["url"].as_str().unwrap();
    let address = url.strip_prefix("http://").expect("it is a whole address");
    assert!(help.contains(&format!("[default: {address}")), "{address}");
}
