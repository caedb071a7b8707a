//! Files of `incoming/` as garbage collection sees them, and how a removal ended.

use std::time::SystemTime;

use uuid::Uuid;

use crate::model::{ChunkDigest, ChunkId, TransactionId};
use crate::rules::garbage::Pending;

/// A file of `incoming/` or `checkpoint/`, by its kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    Transaction(TransactionId),
    Alias(Uuid),
    Chunk(ChunkDigest),
    /// A chunk in `checkpoint/`.
    CheckpointChunk(ChunkDigest),
    /// By its name in `incoming/tmp`: a file, or the folder of a pushed bundle.
    Temporary(String),
}

impl From<ChunkId> for Item {
    fn from(id: ChunkId) -> Self {
        match id {
            ChunkId::Digest(digest) => Item::Chunk(digest),
            ChunkId::Alias(alias) => Item::Alias(alias),
        }
    }
}

/// A pending transaction as it was seen: all that rules ask for, and its length.
#[derive(Clone, Copy, Debug)]
pub struct PendingFile {
    pub pending: Pending,
    pub bytes: u64,
}

/// A chunk or an alias in `incoming/` as it was seen.
#[derive(Clone, Copy, Debug)]
pub struct IncomingFile {
    pub id: ChunkId,
    pub bytes: u64,
    pub time: SystemTime,
    /// The very same file has its committed name too: an advance did not get to drop this one.
    pub leftover: bool,
    /// The chain names it, as a mark in `lost+found` says, and the committed one is lost: this is the only one.
    pub was_lost: bool,
}

/// A chunk in `checkpoint/` as it was seen.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointChunkFile {
    pub digest: ChunkDigest,
    /// The room that would be free without this name: none where the file has another one too.
    pub bytes: u64,
    pub time: SystemTime,
}

/// Needs of a pending transaction: its parent, and the chunks that it names, those that its
/// aliases stand for included.
#[derive(Clone, Debug)]
pub struct Needs {
    pub parent: TransactionId,
    pub chunks: Vec<ChunkId>,
}

/// How the removal of a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    Gone,
    /// The file was gone already, or is another one now.
    NotThere,
    /// The file was put again, or asked about, since it was seen.
    Fresher,
    /// The chain names it, as a mark in `lost+found` says, or may name it: gc does not touch the last one there is.
    Needed,
}
