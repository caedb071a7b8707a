//! A length, a space, and any bytes as the value of a Range: see `edge.rs`.

#![no_main]

#[allow(dead_code)]
#[path = "../edge.rs"]
mod edge;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edge::range(bytes));
