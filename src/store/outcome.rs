//! Outcomes of the protocol's verbs: values with all that an answer needs, not errors.

use super::proposal::Proposal;
use crate::disk::Handle;
use crate::model::{Checkpoint, ChunkDigest, ChunkId, Head, TransactionId};

/// A file's bytes: a chunk's or a transaction's.
pub struct Content {
    pub handle: Handle,
    pub bytes: u64,
}

/// How a PUT of a chunk ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutChunk {
    /// The chunk is there and durable, whether it was new or not.
    Stored,
    /// The bytes are not those of the digest it was called by.
    DigestMismatch { actual: ChunkDigest },
    /// The alias stands for other bytes.
    ChunkExists,
}

/// How a PUT of a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutTransaction {
    /// The transaction is there and durable, whether it was new or not.
    Accepted,
    UnknownParent,
    /// The id stands for other content.
    TransactionExists,
    /// The chunks that are not there, each once, in the order they are named.
    MissingChunks(Vec<ChunkId>),
    /// The sequence number sent along is not the parent's plus one.
    WrongSeq {
        expected: u64,
    },
    /// Room for pending transactions is scarce: the proposal is to be put again under the exclusive lock, which
    /// alone can tell.
    Crowded(Box<Proposal>),
    /// There are as many pending transactions as there may be (`limit`), or more, and all of them (`used`) can still
    /// be committed.
    TooManyPending {
        limit: usize,
        used: usize,
    },
}

/// How a PUT of the checkpoint ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutCheckpoint {
    /// The checkpoint is there and durable, whether it was new or not.
    Stored,
    /// The transaction is not on the chain that ends at `head`, or it is the root.
    UnknownTransaction { head: Head },
    /// The present one is of a later transaction.
    Older { head: Head, present: Checkpoint },
    /// The chunks that are not there, each once, in the order they are named.
    MissingChunks(Vec<ChunkId>),
}

/// How an advance of HEAD ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advance {
    Advanced(Head),
    Refused { head: Head, why: AdvanceRefusal },
}

/// Reasons why HEAD may not go there, in the order in which they are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdvanceRefusal {
    UnknownTransaction,
    NotADescendant,
    HasDescendants(Vec<TransactionId>),
    MissingChunks(Vec<ChunkId>),
}

impl AdvanceRefusal {
    /// The refusal of every advance of a user without a folder, for whom nothing can be pending.
    pub fn without_a_folder(head: Head, to: TransactionId) -> Self {
        match to == head.id {
            true => Self::NotADescendant,
            false => Self::UnknownTransaction,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_folder_only_the_root_is_known_and_head_is_there_already() {
        let other = TransactionId::from_bytes([1; 16]);
        for (to, why) in [
            (TransactionId::ROOT, AdvanceRefusal::NotADescendant),
            (other, AdvanceRefusal::UnknownTransaction),
        ] {
            assert_eq!(AdvanceRefusal::without_a_folder(Head::ROOT, to), why);
        }
    }
}
