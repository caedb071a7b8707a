//! The errors of a device, told apart by what somebody can do about it.

use std::io;
use std::time::Duration;

use super::envelope::OpenError;
use super::keys::KeyId;
use super::remote_file::RemoteFileError;
use crate::disk;
use crate::model::{ChunkDigest, ChunkId, Head, TransactionId};
use crate::store;
use crate::wire::Code;

/// An error of whatever kind, from below or from the application.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A failure of a replica's verb. Nothing that was durable before it is lost by any of them, and each verb may be
/// tried again.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server was not reached, or did not come to the end of its answer; also where it is too busy.
    #[error("the server cannot be reached: {source}")]
    Offline {
        source: BoxError,
        /// The server's own word for when to try again.
        retry_after: Option<Duration>,
    },
    /// The server understood, and will not.
    #[error("the server refuses: {detail} ({code}, {status})")]
    Refused {
        status: u16,
        code: Code,
        detail: String,
    },
    /// The server's history is not ours.
    #[error(transparent)]
    Diverged(#[from] Divergence),
    /// Another key sealed it: an old invite, or another store's.
    #[error(
        "it is sealed with the key {theirs}, and ours is {ours}: this replica needs the present invite"
    )]
    WrongKey { ours: KeyId, theirs: KeyId },
    /// The server gave out something that no device of this store made. Nothing of it was taken.
    #[error("the server's history was tampered with: the transaction {transaction} {what}")]
    Forged {
        /// The transaction that is wrong; the last one that is right, where what follows it cannot be read at all.
        transaction: TransactionId,
        what: Forgery,
    },
    /// A chunk that an entry names is none that a device of this store made, or was changed here.
    #[error("the chunk {chunk} does not open: {why}")]
    UnopenedChunk { chunk: ChunkDigest, why: OpenError },
    /// The replica's own files are not what they must be.
    #[error("the replica is damaged: {0}")]
    Damaged(#[source] store::Error),
    /// The directory holds no replica, or another one.
    #[error("{0}")]
    NotThisReplica(String),
    /// The file with the secrets cannot be used.
    #[error(transparent)]
    Secrets(#[from] RemoteFileError),
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another process holds the replica for too long, or others were quicker each time.
    #[error("others are at it: try again")]
    Busy,
    /// A transaction is neither on the chain nor pending.
    #[error("there is no transaction {0} here")]
    UnknownTransaction(TransactionId),
    /// Chunks were named and are not here.
    #[error("{} chunks are not here, {} for one", .0.len(), first_of(.0))]
    MissingChunks(Vec<ChunkId>),
    /// A thing is longer than one of its kind may be.
    #[error("{bytes} bytes are too many: at most {limit}")]
    TooLong { bytes: u64, limit: u64 },
    /// The application could not take in an entry.
    #[error("the application: {0}")]
    App(#[source] BoxError),
}

fn first_of(chunks: &[ChunkId]) -> String {
    chunks.first().map(ToString::to_string).unwrap_or_default()
}

/// The result of a replica's verbs.
pub type Result<T> = std::result::Result<T, Error>;

/// The fault of a transaction that no device of ours made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Forgery {
    /// The id is not that of its contents.
    #[error("has an id that is not its contents'")]
    Id,
    /// The transaction does not follow the one before it.
    #[error("does not follow the one before it")]
    Order,
    /// The number is not the one after its parent's.
    #[error("has a wrong number")]
    Seq,
    /// The entry does not open in its place.
    #[error("has an entry that does not open: {0}")]
    Envelope(OpenError),
    /// The bytes of a chunk are not those of its name.
    #[error("comes with a chunk of other bytes: {0}")]
    Digest(String),
    /// A chunk that it names did not come with it, and is not here.
    #[error("names chunks that did not come")]
    Missing,
    /// The saved state that the server gave out is of another history than the chain.
    #[error("is not on the chain, though a saved state stands for it")]
    Checkpoint,
    /// The answer is no bundle at all, or one of something else.
    #[error("is followed by something that is no history: {0}")]
    Garbage(String),
}

/// How a server's history and ours have parted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parting {
    /// Theirs ends at a transaction of ours, as that of a server that was restored from a backup does. `Replica::restore`
    /// puts back what is missing.
    Rollback,
    /// Both go on after a common transaction, or theirs has nothing of ours: another device went on after a
    /// rollback. A clone beside this replica, and `Replica::import`, say again what was lost.
    Fork,
    /// The server knows nothing of this store: another server, a new box, or the store has a new user since a `rekey`.
    /// `Replica::seed` fills a new box.
    Empty,
    /// A device made a new key, and the store has another user: its last word under this one says so. A clone with the new
    /// invite beside this replica, and `Replica::import`, say again what was not sent.
    Moved,
    /// Theirs has no transaction in common with ours.
    OtherStore,
}

/// A server's history that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    pub how: Parting,
    /// The newest transaction that both have.
    pub common: Head,
    /// How many of ours, confirmed ones, come after it.
    pub ours: u64,
    /// How many of theirs do.
    pub theirs: u64,
}

impl std::error::Error for Divergence {}

impl std::fmt::Display for Divergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            common,
            ours,
            theirs,
            ..
        } = self;
        match self.how {
            Parting::Rollback => write!(
                f,
                "the server went back to {} ({}): it lacks {ours} transactions that it had confirmed",
                common.id, common.seq
            ),
            Parting::Fork => write!(
                f,
                "the server's history and ours part after {} ({}): {theirs} of theirs and {ours} of ours follow it",
                common.id, common.seq
            ),
            Parting::Empty => write!(
                f,
                "the server does not know this store, which has {ours} confirmed transactions: another server, a new box, or \
                 the store has a new invite"
            ),
            Parting::Moved => write!(
                f,
                "this store has a new invite: another device made a new key for it, and it is not at the server under this one any more"
            ),
            Parting::OtherStore => write!(
                f,
                "the server has another store under this user: none of its {theirs} transactions is one of our {ours}"
            ),
        }
    }
}

impl Error {
    /// Whether the same may well succeed later, with nothing done about it.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Offline { .. } | Error::Busy => true,
            Error::Refused { code, .. } => {
                matches!(code, Code::Busy | Code::Moving | Code::Timeout)
            }
            _ => false,
        }
    }

    /// The application's error.
    pub(super) fn app(error: impl Into<BoxError>) -> Self {
        Error::App(error.into())
    }

    /// The server was not reached.
    pub fn offline(source: impl Into<BoxError>) -> Self {
        Error::Offline {
            source: source.into(),
            retry_after: None,
        }
    }

    /// A chunk that does not open as what an entry names.
    pub(super) fn unopened_chunk(chunk: ChunkDigest, why: OpenError) -> Self {
        match why {
            OpenError::WrongKey { ours, theirs } => Error::WrongKey { ours, theirs },
            why => Error::UnopenedChunk { chunk, why },
        }
    }

    /// A chunk that does not open in the place of this transaction.
    pub(super) fn unopened(transaction: TransactionId, why: OpenError) -> Self {
        match why {
            OpenError::WrongKey { ours, theirs } => Error::WrongKey { ours, theirs },
            why => Error::Forged {
                transaction,
                what: Forgery::Envelope(why),
            },
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Busy => Error::Busy,
            store::Error::Disk(error) => error.into(),
            store::Error::NotAStore(why) => Error::NotThisReplica(why),
            other => Error::Damaged(other),
        }
    }
}

impl From<disk::Error> for Error {
    fn from(error: disk::Error) -> Self {
        Error::Io(io::Error::new(error.kind(), error))
    }
}
