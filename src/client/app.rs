//! The application's side: what it does with the chain.

use crate::model::{ChunkDigest, TransactionId};

/// A transaction as an application sees it: its entry, opened, and the chunks that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: TransactionId,
    pub seq: u64,
    pub parent: TransactionId,
    /// The application's own bytes.
    pub body: Vec<u8>,
    /// The chunks beside the entry.
    pub chunks: Vec<ChunkDigest>,
    /// The server has not confirmed it yet: it may get another id and another place.
    pub pending: bool,
}

/// An application that follows the chain. Its state is always: the confirmed entries in order, then ours that are
/// pending.
///
/// It must be deterministic: the same entries, the same state, on every device. The library keeps nothing of it; what an
/// application saves is the state of the confirmed entries together with [`App::position`], in one write.
pub trait App {
    type Error: std::error::Error + Send + Sync + 'static;

    /// The last confirmed entry that the state holds; the root's id where it holds none. What comes after it is
    /// applied (again) at the next sync.
    fn position(&self) -> TransactionId;

    /// Takes an entry in, confirmed or pending, after all before it. Confirmed ones come first, each once.
    ///
    /// # Errors
    /// The sync ends with it. The same entries are applied again at the next one, after [`App::rewind`].
    fn apply(&mut self, entry: &Entry) -> Result<(), Self::Error>;

    /// Takes all pending entries out of the state: it is that of the confirmed ones then. Called at the beginning of each
    /// sync, whenever somebody else was quicker, and when ours were confirmed; also when none are in it.
    ///
    /// # Errors
    /// The sync ends with it.
    fn rewind(&mut self) -> Result<(), Self::Error>;

    /// Decides what becomes of a pending entry of ours: somebody else was quicker, and theirs are applied now, and those of
    /// ours that came before this one. What is kept or replaced is applied next.
    ///
    /// # Errors
    /// The sync ends with it, and what is pending stays as it was.
    fn rebase(&mut self, ours: &Entry) -> Result<Rebase, Self::Error>;
}

/// The fate of an entry that somebody else was quicker than.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebase {
    /// The entry is said as it is.
    Keep,
    /// Other words are said in its place, with these chunks, which are here.
    Replace(Vec<u8>, Vec<ChunkDigest>),
    /// No word of it is left to say.
    Drop,
}
