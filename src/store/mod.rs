//! The data directory: what is in it, who may change it, and in which order it is written.
//!
//! Everything here is synchronous and may wait for the disk; an async caller gives it a thread.
//!
//! What follows is the document of the files, `FORMAT.md` beside this one.
#![doc = include_str!("FORMAT.md")]

mod admin;
mod advance;
mod aside;
mod bundle;
mod chain;
mod chunks;
mod error;
mod head;
mod incoming;
pub(crate) mod json;
pub(crate) mod layout;
mod left;
mod lock;
pub(crate) mod log;
mod lost;
mod meet;
pub(crate) mod mend;
mod missing;
mod mistake;
mod pending;
mod probe;
mod quota;
mod rebuild;
mod stamp;
mod sweep;
mod together;
mod transactions;
mod usage;
mod user;
mod vouch;
mod walk;

pub use admin::RenameUser;
pub(crate) use admin::{FORMAT, format_trouble};
pub use advance::Leftovers;
pub use bundle::{BundleReader, Counts, Plan, PullBundle, PushBundle};
pub use chain::Listing;
pub use chunks::{Sealed, Staged};
pub use error::{Error, Limit, Result};
pub(crate) use head::Position;
pub use head::Seen;
pub use lock::UserLock;
pub use meet::Glance;
pub use mistake::Mistake;
pub use rebuild::still_wrong;
pub use stamp::SweepStamp;
pub use sweep::{IncomingFile, Item, Needs, PendingFile, Swept};
pub use together::{Durable, Taken, Together, Upload, Written};
pub use transactions::{Draft, Proposal};
pub use usage::Usage;

use std::sync::Arc;

use crate::disk::{Disk, Handle};
use crate::model::{ChunkDigest, ChunkId, Head, TransactionId, limits};

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
    /// The most bytes a user, committed and pending together.
    pub user_bytes: Option<u64>,
    /// The most files a user, committed and pending together.
    pub user_files: Option<u64>,
    /// How many bytes of the disk uploads leave free, so that everything else still works; none at
    /// all where it is 0.
    pub min_free: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            new_users: true,
            uuid_chunk_ids: false,
            chunk_bytes: limits::CHUNK_BYTES,
            pending_transactions: limits::PENDING_TRANSACTIONS,
            user_bytes: None,
            user_files: None,
            min_free: 0,
        }
    }
}

/// An open data directory. All methods may be called from any thread.
pub struct Store {
    disk: Arc<dyn Disk>,
    options: Options,
    pub(crate) mistakes: mistake::Mistakes,
    users: user::Users,
    vouched: vouch::Files,
    met: meet::Met,
    opened: meet::Opened,
    tallies: quota::Tallies,
    walks: walk::Walks,
}

impl Store {
    /// What the operator chose.
    pub fn options(&self) -> &Options {
        &self.options
    }
}

/// A file's bytes: a chunk's or a transaction's.
pub struct Content {
    pub handle: Handle,
    pub bytes: u64,
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
    WrongSeq {
        expected: u64,
    },
    /// Room for it is scarce: it is to be put again under the exclusive lock, which alone can tell.
    Crowded(Box<Proposal>),
    /// There are as many pending transactions as there may be, and all of them can still be committed.
    TooManyPending {
        limit: usize,
        used: usize,
    },
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
    use crate::disk::{Grouping, Mode, Real};
    use crate::model::UserId;

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

    #[test]
    fn what_is_uploaded_becomes_visible_when_head_reaches_it() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(Real::new(directory.path(), Grouping::Auto).unwrap());
        let store = Store::open(disk, Options::default()).unwrap();
        store.probe().unwrap();
        let user = UserId::from_bytes([9; 16]);
        assert_eq!(store.head(&user).unwrap(), Head::ROOT);
        assert!(store.users().unwrap().is_empty());

        let mut staged = store.stage(&user).unwrap();
        staged.write(b"hello").unwrap();
        let sealed = store.seal(staged).unwrap();
        let chunk = ChunkId::Digest(sealed.digest());
        let lock = store.lock_blocking(&user, Mode::Shared).unwrap().unwrap();
        let outcome = store.put_chunk(lock, sealed, &chunk).unwrap();
        assert_eq!(outcome, PutChunk::Stored);
        assert_eq!(store.chunk(&user, &chunk).unwrap().unwrap().bytes, 5);

        let mut parent = TransactionId::ROOT;
        for n in 1..=3 {
            let id = TransactionId::from_bytes([n; 16]);
            let proposal = Proposal {
                id,
                parent,
                chunks: vec![chunk, chunk],
                seq: None,
            };
            let draft = store.draft(&user, proposal).unwrap();
            let lock = store.lock_blocking(&user, Mode::Shared).unwrap().unwrap();
            let outcome = store.put_transaction(lock, draft).unwrap();
            assert_eq!(outcome, PutTransaction::Accepted);
            assert!(store.transaction(&user, id).unwrap().is_none());
            if n != 2 {
                let lock = store
                    .lock_blocking(&user, Mode::Exclusive)
                    .unwrap()
                    .unwrap();
                let (outcome, leftovers) = store.advance(lock, id).unwrap();
                leftovers.clear(&store);
                let seq = u64::from(n);
                assert_eq!(outcome, Advance::Advanced(Head { id, seq }));
                assert_eq!(store.head(&user).unwrap(), Head { id, seq });
                assert!(store.transaction(&user, id).unwrap().is_some());
            }
            parent = id;
        }
        let mut listing = store
            .listing(&user, TransactionId::ROOT, 2)
            .unwrap()
            .unwrap();
        let listed = listing.read(&store, 10).unwrap();
        let expected = [1, 2].map(|n| TransactionId::from_bytes([n; 16]));
        assert_eq!(listed, expected);
        assert_eq!(store.usage(&user).unwrap().pending, 0);

        let lock = store
            .lock_blocking(&user, Mode::Exclusive)
            .unwrap()
            .unwrap();
        store.delete_user(lock).unwrap();
        assert_eq!(store.head(&user).unwrap(), Head::ROOT);
        assert!(store.users().unwrap().is_empty());
    }
}
