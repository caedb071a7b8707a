//! `log`: the chain as lines of 50 bytes, so that it can be entered anywhere at once.
//!
//! The line of seq *n* stands at 50 × (*n* − 1): `%012d %s\n`, the number and the id. The file is
//! derived: HEAD and the transactions can rebuild it. Lines past HEAD's seq mean nothing.
//!
//! So whatever keeps it from being read makes it wrong, and nothing else: [`unless_wrong`].

use crate::disk::{Handle, Result};
use crate::model::TransactionId;

/// Bytes in a line.
pub const LINE: u64 = 50;

/// Digits of the number in a line.
const DIGITS: usize = 12;

/// Lines that are read at a time.
pub const BATCH: u64 = 4096;

/// Where the line of this number stands.
pub fn offset(seq: u64) -> u64 {
    LINE * (seq - 1)
}

/// The line of this number.
pub fn line(seq: u64, id: TransactionId) -> String {
    format!("{seq:0DIGITS$} {id}\n")
}

/// The id in this line, if it is the line of this number and whole.
fn parse(line: &[u8], seq: u64) -> Option<TransactionId> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (number, id) = line.split_once(' ')?;
    (number.len() == DIGITS && number.parse() == Ok(seq)).then_some(())?;
    id.parse().ok()
}

/// The outcome of a look at `log`; `None` where it told nothing, so that the log is wrong: there is none, no regular file has
/// its name, or the disk does not let us open or read it. A new one takes its place, or the chain is read by walking.
///
/// # Errors
/// Those that pass, and say nothing of the log: see [`disk::Error::is_passing`](crate::disk::Error::is_passing).
pub fn unless_wrong<T>(looked: Result<T>) -> Result<Option<T>> {
    match looked {
        Ok(found) => Ok(Some(found)),
        Err(passing) if passing.is_passing() => Err(passing),
        Err(wrong) => {
            ::log::debug!("the log is wrong: {wrong}");
            Ok(None)
        }
    }
}

/// The id at this number; `None` where the log is wrong, or has no such line.
pub fn look_up(log: &Handle, seq: u64) -> Result<Option<TransactionId>> {
    let mut buffer = [0; LINE as usize];
    let read = unless_wrong(log.read_at(offset(seq), &mut buffer))?;
    Ok(read.and_then(|read| parse(&buffer[..read], seq)))
}

/// The ids from this number on, `count` of them or, for the sake of memory, fewer; `None` where the log is wrong, or a
/// line is not as it should be.
pub fn read(log: &Handle, first: u64, count: u64) -> Result<Option<Vec<TransactionId>>> {
    let count = count.min(BATCH);
    Ok(match unless_wrong(read_lines(log, first, count))? {
        Some(lines) if lines.len() as u64 == count => lines.into_iter().collect(),
        _ => None,
    })
}

/// The ids from this number on, line by line: `None` for a line that is not as it should be, and fewer lines where the
/// file ends.
///
/// # Errors
/// Those of the disk as they are, for whoever tells of them.
pub fn read_lines(log: &Handle, first: u64, count: u64) -> Result<Vec<Option<TransactionId>>> {
    let count = count.min(BATCH);
    let mut buffer = vec![0; (count * LINE) as usize];
    let read = log.read_at(offset(first), &mut buffer)?;
    Ok(buffer[..read]
        .chunks_exact(LINE as usize)
        .zip(first..)
        .map(|(line, seq)| parse(line, seq))
        .collect())
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::disk::{self, Place};

    /// The process may open no more files, say: the log may well be right.
    #[test]
    fn an_error_that_passes_says_nothing_of_the_log() {
        let looked = |errno: Errno| {
            unless_wrong::<()>(Err(disk::Error {
                verb: "open",
                place: Place::new("log"),
                source: errno.into(),
            }))
        };
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert!(looked(errno).is_err(), "{errno}");
        }
        for errno in [
            Errno::IO,
            Errno::LOOP,
            Errno::NXIO,
            Errno::NODEV,
            Errno::ISDIR,
            Errno::ACCESS,
            Errno::NOENT,
            Errno::STALE,
        ] {
            assert!(matches!(looked(errno), Ok(None)), "{errno}");
        }
    }

    #[test]
    fn a_line_has_fifty_bytes_and_is_read_back() {
        let id = TransactionId::from_bytes([7; 16]);
        let text = line(42, id);
        assert_eq!(text.len() as u64, LINE);
        assert_eq!(parse(text.as_bytes(), 42), Some(id));
        assert_eq!(parse(text.as_bytes(), 43), None);
        assert_eq!(parse(&text.as_bytes()[..49], 42), None);
        assert_eq!(parse(&[0; 50], 42), None);
    }
}
