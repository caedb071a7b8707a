//! Values: what the protocol and the files talk about, with no I/O, no serde and no clock.

mod content_id;
mod ids;
pub mod limits;
mod part;
mod shard;
mod tame;
pub mod timings;
mod user_name;

pub use ids::{ChunkDigest, ChunkId, MalformedId, ShortUserId, TransactionId, UserId};
pub use shard::{MalformedShard, Shard};
pub use tame::tame;
pub use user_name::{MalformedName, UserName};

/// A transaction: a strictly ordered sequence of chunks after a parent.
///
/// `seq` is the parent's plus one; the root has 0. Immutable once accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub id: TransactionId,
    pub seq: u64,
    pub parent: TransactionId,
    pub chunks: Vec<ChunkId>,
}

/// A checkpoint: a state that a new device can start from, in place of everything up to a transaction of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub transaction: TransactionId,
    pub seq: u64,
    /// Opaque to the server. Each is there, whole.
    pub chunks: Vec<ChunkDigest>,
}

/// Where a user's chain ends: the id of its newest visible transaction, and that one's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub id: TransactionId,
    pub seq: u64,
}

impl Head {
    /// The head of a user who has no transactions, known or unknown.
    pub const ROOT: Head = Head {
        id: TransactionId::ROOT,
        seq: 0,
    };
}
