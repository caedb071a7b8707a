//! Choices of the operator that the store keeps to.

use super::kind::StoreKind;
use crate::model::{Shard, limits};

/// Choices of the operator.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kind of the store: one of another kind is not opened.
    pub kind: StoreKind,
    /// Users without a folder get one at their first upload.
    pub new_users: bool,
    /// The users that this box is for: others are served only where their folder is here. Everybody, without it.
    pub shard: Option<Shard>,
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
    /// The files of users are counted also where they are not limited.
    pub tally: bool,
    /// How many bytes of the disk uploads leave free, so that everything else still works; none at
    /// all where it is 0.
    pub min_free: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: StoreKind::default(),
            new_users: true,
            shard: None,
            uuid_chunk_ids: false,
            chunk_bytes: limits::CHUNK_BYTES,
            pending_transactions: limits::PENDING_TRANSACTIONS,
            user_bytes: None,
            user_files: None,
            tally: false,
            min_free: 0,
        }
    }
}
