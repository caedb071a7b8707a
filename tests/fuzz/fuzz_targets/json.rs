//! Any bytes as the body of a request in JSON, or as lines: see `edge.rs`.

#![no_main]

#[allow(dead_code)]
#[path = "../edge.rs"]
mod edge;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edge::request_json(bytes));
