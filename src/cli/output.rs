//! The output on stdout: lines for people, one JSON object a line for programs.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::failure::Failure;

/// Writes to stdout through a buffer. Whoever reads may stop reading (`| head`): that is no failure.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// One JSON object on a line of its own.
pub fn json_line(out: &mut dyn Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

/// A number of things, in words.
pub fn counted((number, what): (u64, &str)) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// A time as all our dates are spelled, to the second, in UTC: `2026-11-28T12:48:11Z`.
pub fn date(time: SystemTime) -> String {
    // The year 9999 ends then, and with it what four digits can spell.
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let time = time.clamp(SystemTime::UNIX_EPOCH, last);
    humantime::format_rfc3339_seconds(time).to_string()
}
