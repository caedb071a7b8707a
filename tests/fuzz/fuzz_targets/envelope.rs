//! Any bytes as a chunk, or as the body of one that the right key seals: see `sealed.rs`.

#![no_main]

#[allow(dead_code)]
#[path = "../sealed.rs"]
mod sealed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sealed::envelope(bytes));
