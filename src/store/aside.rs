//! Transactions of which an advance knows more than what `incoming/` tells: those that were never pending, and those that were
//! read before.

use std::collections::HashMap;

use super::json::Start;
use crate::disk::Place;
use crate::model::{ChunkId, Transaction, TransactionId};

/// Transactions that an advance may reach though they have no name in `incoming/`: a push's, which are
/// durable and well-formed, and stand in a folder of its own.
pub(super) trait Aside {
    /// Where one of them is, and what its file starts with.
    fn find(&self, id: TransactionId) -> Option<(Start, Place)>;

    /// The chunks that a transaction names, pending or not, where it need not be read for that.
    fn chunks(&self, id: TransactionId) -> Option<&[ChunkId]> {
        let _ = id;
        None
    }
}

/// None.
pub(super) struct Nothing;

impl Aside for Nothing {
    fn find(&self, _: TransactionId) -> Option<(Start, Place)> {
        None
    }
}

/// Pending transactions that whoever asks for the advance has read: their files never change.
pub(super) struct AlreadyRead<'a>(HashMap<TransactionId, &'a Transaction>);

impl<'a> AlreadyRead<'a> {
    /// Knows these transactions.
    pub fn of(transactions: &'a [Transaction]) -> Self {
        let by_id = |transaction: &'a Transaction| (transaction.id, transaction);
        Self(transactions.iter().map(by_id).collect())
    }
}

impl Aside for AlreadyRead<'_> {
    fn find(&self, _: TransactionId) -> Option<(Start, Place)> {
        None
    }

    fn chunks(&self, id: TransactionId) -> Option<&[ChunkId]> {
        self.0.get(&id).map(|read| read.chunks.as_slice())
    }
}
