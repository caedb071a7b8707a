//! A look at CHECKPOINT that is remembered as long as it is that file.

use std::collections::HashSet;
use std::time::SystemTime;

use crate::model::ChunkDigest;

/// A CHECKPOINT that was looked at: its inode, when that changed, and what it names; `None` of one that is none.
pub(super) struct SeenCheckpoint {
    pub inode: u64,
    pub changed: SystemTime,
    pub names: Option<HashSet<ChunkDigest>>,
}
