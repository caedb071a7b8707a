//! Any bytes as a query: see `edge.rs`.

#![no_main]

#[allow(dead_code)]
#[path = "../edge.rs"]
mod edge;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edge::query(bytes));
