//! A transaction as a client proposes it.

use crate::model::{ChunkId, Transaction, TransactionId};

/// A transaction that a client proposes. The id is never the root's, nor the parent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub id: TransactionId,
    pub parent: TransactionId,
    pub chunks: Vec<ChunkId>,
    /// Sent along: must be the parent's plus one.
    pub seq: Option<u64>,
}

impl Proposal {
    /// Whether the transaction that is there has the same parent and chunks.
    pub(super) fn is(&self, there: &Transaction) -> bool {
        (self.parent, &self.chunks) == (there.parent, &there.chunks)
    }
}
