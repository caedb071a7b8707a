//! The file CHECKPOINT: compact JSON, keys in the order transaction, seq, chunks, one newline. The bytes are
//! exactly those that GET answers.

use std::fmt::Write;

use super::error::damaged;
use super::json::{self, quoted};
use super::layout::Folder;
use super::{Result, Store};
use crate::disk::{Handle, IfThere, Meta};
use crate::model::{Checkpoint, ChunkDigest, limits};

/// A CHECKPOINT that was read: the very file, and what it says.
pub(crate) struct CheckpointFile {
    pub handle: Handle,
    pub meta: Meta,
    pub checkpoint: Checkpoint,
}

/// The file of this checkpoint.
pub fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
    let Checkpoint {
        transaction,
        seq,
        chunks,
    } = checkpoint;
    let mut text = String::with_capacity(json::PREFIX + chunks.len() * 67 + 3);
    let fine = "a String takes whatever is written";
    write!(
        text,
        r#"{{"transaction":"{transaction}","seq":{seq},"chunks":["#
    )
    .expect(fine);
    for (index, chunk) in chunks.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(text, r#"{comma}"{chunk}""#).expect(fine);
    }
    text.push_str("]}\n");
    text.into_bytes()
}

/// Reads a whole file; `None` if it is not, byte for byte, what [`encode`] makes of a checkpoint.
pub fn decode(bytes: &[u8]) -> Option<Checkpoint> {
    let (transaction, rest) = quoted(bytes.strip_prefix(br#"{"transaction":"#)?)?;
    let rest = rest.strip_prefix(br#","seq":"#)?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (seq, rest) = rest.split_at(digits);
    let mut rest = rest.strip_prefix(br#","chunks":["#)?;
    let mut chunks: Vec<ChunkDigest> = Vec::new();
    while rest.first() == Some(&b'"') {
        let (chunk, after) = quoted(rest)?;
        chunks.push(chunk.parse().ok()?);
        rest = after.strip_prefix(b",").unwrap_or(after);
    }
    let checkpoint = Checkpoint {
        transaction: transaction.parse().ok()?,
        seq: std::str::from_utf8(seq).ok()?.parse().ok()?,
        chunks,
    };
    // Another spelling, a comma too many among them, would be another file.
    (rest == b"]}\n" && checkpoint.seq > 0 && encode(&checkpoint) == bytes).then_some(checkpoint)
}

/// The largest file that can be one.
const MOST: usize = limits::TRANSACTION_BYTES + json::PREFIX;

impl Store {
    /// The bytes of the CHECKPOINT of a folder, sound or not; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Damaged`](super::Error::Damaged) where it is larger than any.
    pub(crate) fn bytes_of_checkpoint(&self, folder: &Folder) -> Result<Option<Vec<u8>>> {
        self.read_file(&folder.checkpoint(), MOST)
    }

    /// Reads the CHECKPOINT of a folder, whether its transaction is on the chain or not; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Damaged`](super::Error::Damaged) where it is no checkpoint.
    pub(crate) fn read_checkpoint(&self, folder: &Folder) -> Result<Option<CheckpointFile>> {
        let place = folder.checkpoint();
        let Some(handle) = self.disk.open(&place).if_there()? else {
            return Ok(None);
        };
        let meta = handle.opened()?;
        if meta.bytes > MOST as u64 {
            return Err(damaged(&place, "larger than any checkpoint"));
        }
        let mut buffer = vec![0; meta.bytes as usize];
        let read = handle.read_at(0, &mut buffer)?;
        match decode(&buffer[..read]) {
            Some(checkpoint) => Ok(Some(CheckpointFile {
                handle,
                meta,
                checkpoint,
            })),
            None => Err(damaged(&place, "not a checkpoint")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TransactionId;

    fn checkpoint(chunks: u8) -> Checkpoint {
        Checkpoint {
            transaction: TransactionId::from_bytes([7; 16]),
            seq: 12,
            chunks: (0..chunks)
                .map(|n| ChunkDigest::from_bytes([n; 32]))
                .collect(),
        }
    }

    #[test]
    fn a_checkpoint_is_one_line_whose_keys_have_one_order() {
        let text = String::from_utf8(encode(&checkpoint(0))).unwrap();
        let expected =
            "{\"transaction\":\"07070707-0707-0707-0707-070707070707\",\"seq\":12,\"chunks\":[]}\n";
        assert_eq!(text, expected);
        for chunks in 0..3 {
            let checkpoint = checkpoint(chunks);
            assert_eq!(decode(&encode(&checkpoint)), Some(checkpoint));
        }
    }

    #[test]
    fn nothing_but_that_spelling_is_read() {
        let good = String::from_utf8(encode(&checkpoint(2))).unwrap();
        for end in 0..good.len() {
            assert_eq!(decode(&good.as_bytes()[..end]), None, "{end}");
        }
        for (from, to) in [
            (":12,", ":012,"),
            (":12,", ":0,"),
            (":12,", ": 12,"),
            (":12,", ":-12,"),
            (":12,", ":,"),
            (":12,", ":99999999999999999999,"),
            ("]}\n", ",]}\n"),
            ("]}\n", "]}\n\n"),
            ("\"]", "\"\"]"),
            ("\",\"0101", "\"\"0101"),
            ("\"0101", "\"AB01"),
        ] {
            assert!(good.contains(from), "{from}");
            let bad = good.replacen(from, to, 1);
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }
}
