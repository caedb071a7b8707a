//! The line of pending transactions and their small chunks, as a replica holds them in memory.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{ChunkDigest, Head, Transaction, TransactionId};

/// The transactions that are pending: one line, which begins after a confirmed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PendingLine {
    /// The confirmed transaction that the line follows. It is HEAD, unless others came first.
    pub base: Head,
    /// Oldest first.
    pub ids: Vec<TransactionId>,
    pub tip: Head,
    /// The transactions that are held in memory: a part, where they name very many chunks.
    pub held: HashMap<TransactionId, Transaction>,
}

/// The line as it was found when `local` and HEAD were these: it follows from them alone.
#[derive(Debug)]
pub(super) struct KnownLine {
    pub local: TransactionId,
    pub head: TransactionId,
    pub line: Arc<PendingLine>,
}

/// The chunks that are held, and the bytes of all.
#[derive(Debug, Default)]
pub(super) struct SmallChunks {
    pub chunks: HashMap<ChunkDigest, Arc<[u8]>>,
    pub bytes: usize,
}
