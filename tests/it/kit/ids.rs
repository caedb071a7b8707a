//! Ids and chunks from words, the same in every run: a test reads `transaction_id("first")`.

use serde_json::json;
use sha2::{Digest, Sha256};

/// The root transaction.
pub const ROOT: &str = "00000000-0000-0000-0000-000000000000";

/// Bytes and what they are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub id: String,
    pub bytes: Vec<u8>,
}

/// The chunk with these bytes.
pub fn chunk(bytes: impl Into<Vec<u8>>) -> Chunk {
    let bytes = bytes.into();
    Chunk {
        id: digest(&bytes),
        bytes,
    }
}

/// The SHA-256, as `sha256sum` prints it.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The user of this name.
pub fn user_id(name: &str) -> String {
    uuid_of("user", name)
}

/// The transaction of this name.
pub fn transaction_id(name: &str) -> String {
    uuid_of("transaction", name)
}

fn uuid_of(kind: &str, name: &str) -> String {
    let hash = Sha256::digest(format!("{kind} {name}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// The body of a transaction's upload.
pub fn transaction_json(parent: &str, chunks: &[&str]) -> String {
    json!({ "parent": parent, "chunks": chunks }).to_string()
}
