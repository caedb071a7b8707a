//! Any bytes as what an application says, and as an entry of a plain store: see `sealed.rs`.

#![no_main]

#[allow(dead_code)]
#[path = "../sealed.rs"]
mod sealed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sealed::entry(bytes));
