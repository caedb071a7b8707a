//! The contract of a remote: the messages of the wire that a device needs, one method each.

use std::io::Read;
use std::time::Duration;

use crate::client::error::Result;
use crate::model::{Checkpoint, ChunkDigest, ChunkId, Head, Transaction, TransactionId};
use crate::store::PutCheckpoint;

/// Whether a bundle has the chunks that its transactions name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithChunks {
    All,
    None,
}

/// The bytes of an answer, as they come. A failed read is a connection that broke.
pub type AnswerBody = Box<dyn Read + Send>;

/// A bundle to be sent. It can be opened again, for another try.
pub trait Parcel {
    /// How many bytes it has.
    fn bytes(&self) -> u64;

    /// Opens it: the same bytes each time.
    ///
    /// # Errors
    /// Those of the replica's own files.
    fn open(&self) -> Result<Box<dyn Read + Send + '_>>;
}

/// How a bundle that was sent was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushAnswer {
    /// All of it is durable there, and HEAD is where the bundle's HEAD wants it (or where it was, if it has none).
    Taken(Head),
    /// HEAD is elsewhere, and may not go there.
    Lost(Head),
    /// The parent of a transaction is not there.
    UnknownParent,
    /// Chunks are not there.
    Missing(Vec<ChunkId>),
}

/// How to reach a server's store of one user: by HTTP, or a [`Store`](crate::store::Store) in this process.
///
/// Each method is one request of the protocol and, where it says so, may be tried again by the one who implements it:
/// all of them are idempotent. Nothing that comes back is believed: the replica verifies it.
///
/// # Errors
/// [`Error::Offline`](crate::client::Error::Offline) where the server was not reached, or nobody knows whether it was;
/// [`Error::Refused`](crate::client::Error::Refused) with the server's code for what is no outcome of the method.
pub trait Remote: Send + Sync {
    /// `GET head`. The root for a user who has nothing.
    fn head(&self) -> Result<Head>;

    /// `GET head?wait=`: HEAD as soon as it is another than `seen`, or when the time is up.
    fn wait(&self, seen: TransactionId, timeout: Duration) -> Result<Head>;

    /// `GET bundle?from=&limit=`: the chain after `from`; `None` where `from` is not on it (404 `unknown-transaction`).
    fn bundle(
        &self,
        from: TransactionId,
        limit: u64,
        chunks: WithChunks,
    ) -> Result<Option<AnswerBody>>;

    /// `HEAD bundle?from=&limit=`: the bytes that [`Remote::bundle`] would give with all chunks, where the server says that. It is
    /// for a bar on a terminal, and nothing rests on it.
    fn bundle_bytes(&self, from: TransactionId, limit: u64) -> Result<Option<u64>> {
        let _ = (from, limit);
        Ok(None)
    }

    /// `POST bundle`.
    fn push_bundle(&self, parcel: &dyn Parcel) -> Result<PushAnswer>;

    /// `POST chunks/missing`: those of these that are not there. At most
    /// [`MISSING_IDS`](crate::model::limits::MISSING_IDS) are asked about.
    fn missing(&self, chunks: &[ChunkDigest]) -> Result<Vec<ChunkDigest>>;

    /// `GET transactions/{id}`: `None` where it is not on the chain. The root is not asked for.
    fn transaction(&self, id: TransactionId) -> Result<Option<Transaction>>;

    /// `GET chunks/{id}`; `None` where it is not there.
    fn chunk(&self, id: &ChunkDigest) -> Result<Option<AnswerBody>>;

    /// `POST chunks/get`: a tar of those of these that are there, in this order.
    fn chunks(&self, ids: &[ChunkDigest]) -> Result<AnswerBody>;

    /// `GET checkpoint`; `None` where there is none.
    fn checkpoint(&self) -> Result<Option<Checkpoint>>;

    /// `PUT checkpoint`.
    fn put_checkpoint(
        &self,
        transaction: TransactionId,
        chunks: &[ChunkDigest],
    ) -> Result<PutCheckpoint>;
}
