//! `log`: the chain as lines of 50 bytes, so that it can be entered anywhere at once.
//!
//! The line of seq *n* stands at 50 × (*n* − 1): `%012d %s\n`, the number and the id. The file is
//! derived: HEAD and the transactions can rebuild it. Lines past HEAD's seq mean nothing.

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

/// The id at this number; `None` where the log has no such line.
pub fn look_up(log: &Handle, seq: u64) -> Result<Option<TransactionId>> {
    let mut buffer = [0; LINE as usize];
    let read = log.read_at(offset(seq), &mut buffer)?;
    Ok(parse(&buffer[..read], seq))
}

/// The ids from this number on, `count` of them or, for the sake of memory, fewer; `None` where a
/// line is not as it should be.
pub fn read(log: &Handle, first: u64, count: u64) -> Result<Option<Vec<TransactionId>>> {
    let count = count.min(BATCH);
    let lines = read_lines(log, first, count)?;
    if (lines.len() as u64) < count {
        return Ok(None);
    }
    Ok(lines.into_iter().collect())
}

/// The ids from this number on, line by line: `None` for a line that is not as it should be, and fewer lines where the
/// file ends.
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
    use super::*;

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
