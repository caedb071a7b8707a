//! The chunks that a replica put and has not named yet.

use std::collections::HashSet;

use crate::disk::Held;
use crate::model::ChunkDigest;

/// The chunks that a replica put and no commit of its own has named since.
#[derive(Default)]
pub(super) struct UnnamedPuts {
    /// The lock of who puts, held while there are any.
    pub held: Option<Box<dyn Held>>,
    pub chunks: HashSet<ChunkDigest>,
}
