//! How hard the tests look: a first look in a plain `cargo test`, and all there is with
//! `MENTAT_SYNC_TEST_EFFORT=full`, as `.ci/run` has it.
//!
//! A first look can fail: it takes fewer orders, seeds and seconds of the same thing. What cannot be had for less is
//! ignored in a plain run, with that as its reason, and `--include-ignored` runs it.

use std::fmt::Debug;
use std::str::FromStr;

/// The one switch.
const SWITCH: &str = "MENTAT_SYNC_TEST_EFFORT";

/// Whether all there is is to be looked at.
pub fn is_full() -> bool {
    match std::env::var(SWITCH).as_deref() {
        Err(_) | Ok("" | "first") => false,
        Ok("full") => true,
        Ok(other) => panic!("{SWITCH} is `first` or `full`, not `{other}`"),
    }
}

/// The one for a first look, or the other for a full one.
pub fn either<T>(first: T, full: T) -> T {
    if is_full() { full } else { first }
}

/// What this variable says, where a person or a script set it.
pub fn chosen<T: FromStr<Err: Debug>>(variable: &str) -> Option<T> {
    let text = std::env::var(variable)
        .ok()
        .filter(|text| !text.is_empty())?;
    let value = text.parse();
    Some(value.unwrap_or_else(|wrong| panic!("{variable}={text}: {wrong:?}")))
}
