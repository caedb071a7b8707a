//! Small chunks of what is pending, held in memory from the first look at them until they were pushed and shown: each is opened
//! once on its way, instead of for its length, for the server and for the application.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::Replica;
use super::both::both;
use super::known::SmallChunks;
use crate::client::error::Result;
use crate::model::{ChunkDigest, ChunkId, limits};

impl Replica {
    /// The length of a chunk; `None` where it is not here. Where it is small, its bytes are held as long as there is room.
    pub(super) fn weighed(&self, digest: &ChunkDigest) -> Result<Option<u64>> {
        if let Some(held) = self.held(digest) {
            return Ok(Some(held.len() as u64));
        }
        let Some(content) = self.user.chunk(&ChunkId::Digest(*digest))? else {
            return Ok(None);
        };
        let bytes = content.bytes;
        if bytes <= limits::SMALL as u64
            && self.small().bytes + bytes as usize <= limits::HELD_SMALL
        {
            let mut chunk = vec![0; bytes as usize];
            if content.handle.read_at(0, &mut chunk)? == chunk.len() {
                let mut small = self.small();
                if small.chunks.insert(*digest, chunk.into()).is_none() {
                    small.bytes += bytes as usize;
                }
            }
        }
        Ok(Some(bytes))
    }

    /// The lengths of these chunks, as [`Replica::weighed`] says them. Of many, half are looked at beside the others.
    pub(super) fn all_weighed(&self, digests: &[ChunkDigest]) -> Result<Vec<Option<u64>>> {
        let weigh = |digests: &[ChunkDigest]| -> Result<Vec<_>> {
            digests.iter().map(|digest| self.weighed(digest)).collect()
        };
        if digests.len() < limits::WEIGHED_ALONE {
            return weigh(digests);
        }
        let (first, second) = digests.split_at(digests.len() / 2);
        let (first, second) = both("weigh", || weigh(first), || weigh(second));
        let mut lengths = first?;
        lengths.extend(second?);
        Ok(lengths)
    }

    /// The bytes of a chunk that is held.
    pub(super) fn held(&self, digest: &ChunkDigest) -> Option<Arc<[u8]>> {
        self.small().chunks.get(digest).cloned()
    }

    /// Lets go of all that is held.
    pub(super) fn let_go(&self) {
        *self.small() = SmallChunks::default();
    }

    fn small(&self) -> MutexGuard<'_, SmallChunks> {
        self.small.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
