//! A transaction's file: compact JSON, keys in the order id, seq, parent, chunks, one newline, so
//! that a prefix tells the first three. The bytes are exactly those that GET answers.
//!
//! A bundle may spell one in any other way that JSON allows, which is read here too.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;

use crate::model::{ChunkId, Transaction, TransactionId, limits};

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

/// The facts in the start of a transaction's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub id: TransactionId,
    pub seq: u64,
    pub parent: TransactionId,
}

impl Start {
    /// The start of this transaction's file.
    pub fn of(transaction: &Transaction) -> Self {
        let Transaction {
            id, seq, parent, ..
        } = *transaction;
        Self { id, seq, parent }
    }
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

/// Splits a text in quotes off; no quote in it is escaped.
pub(super) fn quoted(bytes: &[u8]) -> Option<(&str, &[u8])> {
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

/// The keys of a transaction, between which there are commas too.
const KEYS: usize = 4;

/// A transaction in any spelling; the `id` and the `seq` may be left out.
#[derive(Debug, PartialEq, Eq)]
pub struct Spelt {
    pub id: Option<TransactionId>,
    pub seq: Option<u64>,
    pub parent: TransactionId,
    pub chunks: Vec<ChunkId>,
}

/// Reads a transaction as any JSON writer may spell it, with the keys that `PUT` takes and no others; or
/// says why not, without a word of what is in it.
pub fn read(bytes: &[u8]) -> Result<Spelt, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form<'a> {
        #[serde(borrow)]
        id: Option<Cow<'a, str>>,
        seq: Option<u64>,
        #[serde(borrow)]
        parent: Cow<'a, str>,
        #[serde(borrow)]
        chunks: Vec<Cow<'a, str>>,
    }
    // To serde a list of the values, in order, would do too.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err("a list, not an object".to_owned());
    }
    // Before a list of them takes many times the memory of its text.
    if bytes.iter().filter(|&&byte| byte == b',').count() > limits::TRANSACTION_CHUNKS + KEYS {
        let most = limits::TRANSACTION_CHUNKS;
        return Err(format!("it names more than {most} chunks"));
    }
    let form: Form = serde_json::from_slice(bytes).map_err(|error| {
        let what = if error.is_data() {
            r#"not of the form {"id","seq","parent","chunks"}"#
        } else {
            "not JSON"
        };
        format!(
            "{what}: see line {}, column {}",
            error.line(),
            error.column()
        )
    })?;
    let malformed = |_| "an id in it is malformed".to_owned();
    let id = form.id.map(|id| id.parse()).transpose();
    let chunks = form
        .chunks
        .iter()
        .map(|id| id.parse())
        .collect::<Result<_, _>>();
    Ok(Spelt {
        id: id.map_err(malformed)?,
        seq: form.seq,
        parent: form.parent.parse().map_err(malformed)?,
        chunks: chunks.map_err(malformed)?,
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
    fn any_spelling_of_the_same_object_is_read() {
        let transaction = sample(2);
        let (id, parent) = (transaction.id, transaction.parent);
        let text = String::from_utf8(encode(&transaction)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let escaped = text.replace("\"parent\":\"0", "\"parent\":\"\\u0030");
        for spelling in [
            text.clone(),
            value.to_string(),
            serde_json::to_string_pretty(&value).unwrap(),
            text.replace(',', ", ").replace(':', ": "),
            escaped,
        ] {
            let spelt = read(spelling.as_bytes()).unwrap();
            assert_eq!((spelt.id, spelt.seq), (Some(id), Some(u64::MAX)));
            assert_eq!(
                (spelt.parent, spelt.chunks),
                (parent, transaction.chunks.clone())
            );
        }
        let bare = format!(r#"{{"parent":"{parent}","chunks":[]}}"#);
        let spelt = read(bare.as_bytes()).unwrap();
        assert_eq!((spelt.id, spelt.seq, spelt.chunks), (None, None, vec![]));
    }

    #[test]
    fn another_object_is_not_read_and_it_is_said_why() {
        let parent = TransactionId::ROOT;
        let many = "\"\",".repeat(limits::TRANSACTION_CHUNKS + KEYS);
        for (text, why) in [
            (format!(r#"["{parent}",[]]"#), "a list"),
            (format!(r#"{{"parent":"{parent}"}}"#), "form"),
            (
                format!(r#"{{"parent":"{parent}","chunks":[],"x":1}}"#),
                "form",
            ),
            (
                format!(r#"{{"parent":"{parent}","parent":"{parent}","chunks":[]}}"#),
                "form",
            ),
            (
                format!(r#"{{"parent":"{parent}","chunks":["x"]}}"#),
                "malformed",
            ),
            (
                format!(r#"{{"parent":"{parent}","chunks":[]}} x"#),
                "not JSON",
            ),
            (
                format!(r#"{{"parent":"{parent}","chunks":[{many}""]}}"#),
                "more than",
            ),
        ] {
            let said = read(text.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{said}");
            assert!(!said.contains('x') || why == "form", "{said}");
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
