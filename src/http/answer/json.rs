//! A message as text.

use bytes::Bytes;
use serde::Serialize;

/// A message as the body of an answer: one line, for a person with curl.
pub fn json(message: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(message).expect("our messages have string keys and no I/O");
    text.push(b'\n');
    text.into()
}
