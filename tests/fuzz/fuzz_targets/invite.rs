//! Any text as an invite, an address and a key: see `sealed.rs`.

#![no_main]

#[allow(dead_code)]
#[path = "../sealed.rs"]
mod sealed;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sealed::invite(bytes));
