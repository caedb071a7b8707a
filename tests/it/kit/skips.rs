//! Checks that cannot be made here. Each says so in one line, `skipped: CHECK: REASON`, which goes into the file
//! `$MENTAT_SYNC_SKIPPED` as well where there is one: `.ci/run` fails on any that it does not know.

use std::fmt::Display;
use std::io::Write;

/// Says that this check is skipped, and why.
pub fn skipped(check: &str, reason: impl Display) {
    let line = format!("skipped: {check}: {reason}\n");
    eprint!("{line}");
    let Some(file) = std::env::var_os("MENTAT_SYNC_SKIPPED").filter(|file| !file.is_empty()) else {
        return;
    };
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .expect("the file of what was skipped can be written");
    file.write_all(line.as_bytes())
        .expect("the file of what was skipped can be written");
}
