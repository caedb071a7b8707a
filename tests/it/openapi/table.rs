//! The document against the tables of the source: routes, codes, statuses.

use std::collections::BTreeSet;

use mentat_sync::http::statuses::status;
use mentat_sync::wire::{API, Code, Route};
use serde_json::Value;

use super::document::Document;
use crate::kit::{ROOT, digest};

/// A template with ids filled in.
fn filled(template: &str) -> String {
    template
        .replace("{user}", ROOT)
        .replace("{transaction}", ROOT)
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
        let route = Route::parse(&filled(path)).unwrap_or_else(|_| panic!("{path} is no route"));
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

/// The codes of a refusal, and the status that its body says.
fn codes_of(response: &Value) -> Option<(BTreeSet<&str>, u64)> {
    let narrowed = &response["content"]["application/problem+json"]["schema"]["allOf"][1];
    let properties = narrowed.get("properties")?;
    let codes = properties["code"]["enum"].as_array()?;
    let codes = codes.iter().filter_map(Value::as_str).collect();
    Some((codes, properties["status"]["const"].as_u64()?))
}

#[test]
fn each_code_has_the_status_that_the_server_gives_it_and_no_other() {
    let document = Document::of_the_source();
    let mut documented = BTreeSet::new();
    for (path, method, at, response) in document.each_response() {
        let Some((codes, said)) = codes_of(response) else {
            continue;
        };
        assert_eq!(said, u64::from(at), "{method} {path}");
        documented.extend(codes.into_iter().map(|code| (code.to_owned(), at)));
    }
    let pair = |code: Code, of_an_advance| (code.to_string(), status(code, of_an_advance).as_u16());
    let given: BTreeSet<_> = Code::ALL
        .iter()
        // A path that is no route is no operation, either.
        .filter(|code| **code != Code::NotFound)
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
        let told = codes_of(response).is_some();
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
            let reference = format!("\"#/components/{kind}/{name}\"");
            assert!(text.contains(&reference), "nobody refers to {reference}");
        }
    }
}
