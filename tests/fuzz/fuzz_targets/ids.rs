//! Any bytes as an id, and as a path with ids in it: see `edge.rs`.

#![no_main]

#[allow(dead_code)]
#[path = "../edge.rs"]
mod edge;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edge::ids(bytes));
