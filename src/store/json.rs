//! A transaction's file: compact JSON, keys in the order id, seq, parent, chunks, one newline, so
//! that a prefix tells the first three. The bytes are exactly those that GET answers.

use std::fmt::Write;

use crate::model::{ChunkId, Transaction, TransactionId};

/// A prefix of this length holds everything before the chunks: 7 + 36 + 8 + 20 + 11 + 36 + 12.
pub const PREFIX: usize = 130;

/// The file of this transaction.
pub fn encode(transaction: &Transaction) -> Vec<u8> {
    let mut text = String::with_capacity(PREFIX + transaction.chunks.len() * 67 + 3);
    let Transaction {
        id, seq, parent, ..
    } = transaction;
    let fine = "a String takes whatever is written";
    write!(
        text,
        r#"{{"id":"{id}","seq":{seq},"parent":"{parent}","chunks":["#
    )
    .expect(fine);
    for (index, chunk) in transaction.chunks.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(text, r#"{comma}"{chunk}""#).expect(fine);
    }
    text.push_str("]}\n");
    text.into_bytes()
}

/// What the start of a transaction's file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub id: TransactionId,
    pub seq: u64,
    pub parent: TransactionId,
}

/// Reads the start of a file; `None` if it is not a transaction's.
pub fn parse_start(bytes: &[u8]) -> Option<Start> {
    start_and_rest(bytes).map(|(start, _)| start)
}

fn start_and_rest(bytes: &[u8]) -> Option<(Start, &[u8])> {
    let (id, rest) = quoted(bytes.strip_prefix(br#"{"id":"#)?)?;
    let rest = rest.strip_prefix(br#","seq":"#)?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let seq = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let (parent, rest) = quoted(rest[digits..].strip_prefix(br#","parent":"#)?)?;
    let start = Start {
        id: id.parse().ok()?,
        seq,
        parent: parent.parse().ok()?,
    };
    Some((start, rest.strip_prefix(br#","chunks":["#)?))
}

fn quoted(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let bytes = bytes.strip_prefix(b"\"")?;
    let end = bytes.iter().position(|&b| b == b'"')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

/// Reads a whole file; `None` if it is not, byte for byte, what [`encode`] makes of a transaction.
pub fn decode(bytes: &[u8]) -> Option<Transaction> {
    let (Start { id, seq, parent }, mut rest) = start_and_rest(bytes)?;
    let mut chunks = Vec::new();
    if rest.first() == Some(&b'"') {
        loop {
            let (chunk, after) = quoted(rest)?;
            chunks.push(chunk.parse::<ChunkId>().ok()?);
            match after.strip_prefix(b",") {
                Some(next) => rest = next,
                None => {
                    rest = after;
                    break;
                }
            }
        }
    }
    (rest == b"]}\n").then_some(Transaction {
        id,
        seq,
        parent,
        chunks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(chunks: usize) -> Transaction {
        Transaction {
            id: TransactionId::from_bytes([1; 16]),
            seq: u64::MAX,
            parent: TransactionId::from_bytes([2; 16]),
            chunks: (0..chunks)
                .map(|n| ChunkId::Digest(crate::model::ChunkDigest::from_bytes([n as u8; 32])))
                .collect(),
        }
    }

    #[test]
    fn a_transaction_is_read_back() {
        for chunks in [0, 1, 2, 95] {
            let transaction = sample(chunks);
            let bytes = encode(&transaction);
            assert_eq!(decode(&bytes), Some(transaction.clone()));
            let start = parse_start(&bytes[..PREFIX.min(bytes.len())]).unwrap();
            assert_eq!(start.parent, transaction.parent);
            let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(json["chunks"].as_array().unwrap().len(), chunks);
        }
    }

    #[test]
    fn nothing_else_is_read() {
        let bytes = encode(&sample(2));
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None);
        }
        let text = String::from_utf8(bytes).unwrap();
        for (from, to) in [
            (",\"chunks", ", \"chunks"),
            ("]}", ",]}"),
            ("\",\"0", "\"\"0"),
        ] {
            assert_eq!(decode(text.replace(from, to).as_bytes()), None, "{to}");
        }
        assert_eq!(decode(format!("{text} ").as_bytes()), None);
    }
}
