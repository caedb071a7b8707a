//! The data directory: what is in it, who may change it, and in which order it is written.
//!
//! Everything here is synchronous and may wait for the disk; an async caller gives it a thread.
//! `FORMAT.md` beside this file is the document of the files.

mod error;

pub use error::{Error, Result};

use std::sync::Arc;

use crate::disk::{Disk, Handle, Mode};
use crate::model::{ChunkDigest, ChunkId, Head, TransactionId, UserId, limits};

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct Options {
    /// Users without a folder get one at their first upload.
    pub new_users: bool,
    /// A chunk may also be called by a uuid.
    pub uuid_chunk_ids: bool,
    /// The longest chunk, in bytes.
    pub chunk_bytes: u64,
    /// The most pending transactions a user.
    pub pending_transactions: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            new_users: true,
            uuid_chunk_ids: false,
            chunk_bytes: limits::CHUNK_BYTES,
            pending_transactions: limits::PENDING_TRANSACTIONS,
        }
    }
}

/// An open data directory. Cheap to share; all methods may be called from any thread.
pub struct Store {
    disk: Arc<dyn Disk>,
    options: Options,
}

/// A user's lock, held; given back when dropped.
pub struct UserLock {
    user: UserId,
    mode: Mode,
}

/// A file's bytes: a chunk's or a transaction's.
pub struct Content {
    pub handle: Handle,
    pub bytes: u64,
}

/// A part of the chain, ready to be read: the ids after `from`, oldest first.
pub struct Listing {
    log: Handle,
    next: u64,
    last: u64,
}

/// A chunk on its way in: a temporary file and its digest so far. Dropped, it leaves nothing.
pub struct Staged {
    bytes: u64,
}

/// A chunk that is whole and durable, but has no name yet. Dropped, it leaves nothing.
pub struct Sealed {
    pub digest: ChunkDigest,
    pub bytes: u64,
}

/// What a client wants a transaction to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub id: TransactionId,
    pub parent: TransactionId,
    pub chunks: Vec<ChunkId>,
    /// Sent along: must be the parent's plus one.
    pub seq: Option<u64>,
}

/// What became of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutChunk {
    /// It is there and durable, whether it was new or not.
    Stored,
    /// The bytes are not those of the digest it was called by.
    DigestMismatch { actual: ChunkDigest },
    /// The alias stands for other bytes.
    ChunkExists,
}

/// What became of a proposed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutTransaction {
    /// It is there and durable, whether it was new or not.
    Accepted,
    UnknownParent,
    /// The id stands for other content.
    TransactionExists,
    /// The chunks that are not there, each once, in the order they are named.
    MissingChunks(Vec<ChunkId>),
    /// The sequence number sent along is not the parent's plus one.
    WrongSeq { expected: u64 },
    /// There are as many pending transactions as there may be.
    TooManyPending { limit: usize, used: usize },
}

/// What became of an advance of HEAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advance {
    Advanced(Head),
    Refused { head: Head, why: AdvanceRefusal },
}

/// Why HEAD may not go there, in the order in which the reasons are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdvanceRefusal {
    UnknownTransaction,
    NotADescendant,
    HasDescendants(Vec<TransactionId>),
    MissingChunks(Vec<ChunkId>),
}

impl Store {
    /// Opens the data directory, making it a store if it is empty.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self> {
        Ok(Self { disk, options })
    }

    /// What the operator chose.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The user's head; the root for a user who has no folder.
    pub fn head(&self, user: &UserId) -> Result<Head> {
        todo!()
    }

    /// At most `limit` ids after `from` up to HEAD; `None` where `from` is not on the chain.
    pub fn listing(&self, user: &UserId, from: TransactionId, limit: u64) -> Result<Option<Listing>> {
        todo!()
    }

    /// The JSON of a transaction on the chain (never the root's), newline included; else `None`.
    pub fn transaction(&self, user: &UserId, id: TransactionId) -> Result<Option<Content>> {
        todo!()
    }

    /// The bytes of a chunk that is there, committed or not.
    pub fn chunk(&self, user: &UserId, id: &ChunkId) -> Result<Option<Content>> {
        todo!()
    }

    /// Takes the user's lock, waiting without a thread. Makes the user's folder if there is none.
    pub async fn lock(&self, user: &UserId, mode: Mode) -> Result<UserLock> {
        todo!()
    }

    /// Takes the user's lock, waiting in place.
    pub fn lock_blocking(&self, user: &UserId, mode: Mode) -> Result<UserLock> {
        todo!()
    }

    /// A place for a chunk's bytes. Makes the user's folder if there is none.
    pub fn stage(&self, user: &UserId) -> Result<Staged> {
        todo!()
    }

    /// Gives a chunk its name. Needs the shared lock.
    pub fn put_chunk(&self, lock: UserLock, sealed: Sealed, id: &ChunkId) -> Result<PutChunk> {
        todo!()
    }

    /// Takes a transaction in as pending. Needs the shared lock.
    pub fn put_transaction(&self, lock: UserLock, proposal: &Proposal) -> Result<PutTransaction> {
        todo!()
    }

    /// Advances HEAD by compare-and-swap. Needs the exclusive lock.
    pub fn advance(&self, lock: UserLock, to: TransactionId) -> Result<Advance> {
        todo!()
    }

    /// Removes the user and all that is theirs. Nothing there is fine too.
    /// Takes the exclusive lock itself, waiting in place.
    pub fn delete_user(&self, user: &UserId) -> Result<()> {
        todo!()
    }

    /// Writes a file to the data directory and takes it away again.
    pub fn heartbeat(&self) -> Result<()> {
        todo!()
    }
}

impl Staged {
    /// More of the chunk. The caller watches the limit.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        todo!()
    }

    /// How much has been written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The chunk is whole: makes its bytes durable.
    pub fn seal(self) -> Result<Sealed> {
        todo!()
    }
}

impl Listing {
    /// How many ids are left to read.
    pub fn left(&self) -> u64 {
        todo!()
    }

    /// The next ids, at most `count`; empty at the end.
    pub fn read(&mut self, count: usize) -> Result<Vec<TransactionId>> {
        todo!()
    }
}
