//! Any bytes as a pushed bundle: see `check.rs`.

#![no_main]

#[path = "../check.rs"]
mod check;

use std::sync::LazyLock;

static SITE: LazyLock<check::Site> = LazyLock::new(check::Site::new);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| SITE.check(bytes));
