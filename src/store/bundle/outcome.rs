//! In: how a push can end, and how one that is under way is stopped.

use std::io;

use uuid::Uuid;

use super::tar::{CUT_OFF, Trouble};
use crate::disk;
use crate::model::{ChunkId, Head, TransactionId};
use crate::store::{AdvanceRefusal, Error};

/// How a push ended, with what its answer needs.
#[derive(Debug)]
pub enum PushBundle {
    /// All members are there and durable, and HEAD is where the bundle's HEAD wants it (or where it was,
    /// if the bundle has none).
    Taken {
        head: Head,
        stored: Counts,
        existing: Counts,
    },
    /// All members are there and durable, but pending: HEAD may not go there.
    Refused { head: Head, why: AdvanceRefusal },
    /// The body is no bundle, and why.
    Bad(String),
    /// Reading the body failed.
    Cut(io::Error),
    /// A chunk is longer than chunks may be.
    TooLarge { limit: u64 },
    /// The parent of this transaction is neither in the bundle nor in the store.
    UnknownParent(TransactionId),
    /// The id stands for other content.
    TransactionExists(TransactionId),
    /// Chunks that are named and neither in the bundle nor in the store; the first of them, if they are many.
    MissingChunks(Vec<ChunkId>),
    /// The alias stands for other bytes.
    ChunkExists(Uuid),
    /// There would be more pending transactions than there may be: so many of the bundle (`wanted`), besides those
    /// that are there and can still be committed (`used`).
    TooManyPending {
        limit: usize,
        used: usize,
        wanted: usize,
    },
}

/// How much was in a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub chunks: u64,
    pub transactions: u64,
    /// Bytes in the files of both.
    pub bytes: u64,
}

/// Why a push goes no further.
pub(super) enum Stop {
    /// The client is answered.
    Outcome(Box<PushBundle>),
    /// The store failed.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

impl From<disk::Error> for Stop {
    fn from(error: disk::Error) -> Self {
        Stop::Error(error.into())
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Bad(why) => PushBundle::Bad(why),
            Trouble::Short => PushBundle::Bad(CUT_OFF.to_owned()),
            Trouble::Cut(error) => PushBundle::Cut(error),
        }
        .into()
    }
}

impl From<PushBundle> for Stop {
    fn from(outcome: PushBundle) -> Self {
        Stop::Outcome(Box::new(outcome))
    }
}

/// A step of a push: an `Err` ends the push, with an answer to its client or with an error.
pub(super) type Step<T> = std::result::Result<T, Stop>;

impl Counts {
    pub(super) fn chunk(&mut self, bytes: u64) {
        self.chunks += 1;
        self.bytes += bytes;
    }

    pub(super) fn transaction(&mut self, bytes: u32) {
        self.transactions += 1;
        self.bytes += u64::from(bytes);
    }
}
