//! Chunks that only a checkpoint has, and that something else is to stand on: each gets a name in `incoming/` first, young,
//! so that all other rules may leave `checkpoint/` out (the model's `at_checkpoint`).

use super::Result;
use super::error::taken_is_fine;
use super::layout::{Area, Dir, Thing};
use super::lock::Locked;
use super::lookup::{Found, Resolved};
use super::mistake::Mistake;
use super::to_sync::ToSync;
use crate::model::{ChunkDigest, ChunkId};

impl Locked {
    /// Looks a chunk id up to the end, also in `checkpoint/`: the alias where it is one, and the bytes. What makes a name durable
    /// that was made here is added to `to_sync`.
    pub(super) fn reach(&self, id: &ChunkId, to_sync: &mut ToSync) -> Result<Option<Resolved>> {
        let (digest, alias) = match id {
            ChunkId::Digest(digest) => (*digest, None),
            ChunkId::Alias(alias) => match self.find_alias(alias)? {
                Some((found, digest)) => (digest, Some((*alias, found))),
                None => return Ok(None),
            },
        };
        let chunk = self.reach_chunk(&digest, to_sync)?;
        Ok(chunk.map(|chunk| Resolved {
            digest,
            chunk,
            alias,
        }))
    }

    /// Finds a chunk. Nothing moves from one area to the other while the lock is held, so each is looked at once: what is
    /// nowhere costs as many looks as without a lock.
    pub(super) fn reach_chunk(
        &self,
        digest: &ChunkDigest,
        to_sync: &mut ToSync,
    ) -> Result<Option<Found>> {
        for area in [Area::Committed, Area::Incoming] {
            if let Some(meta) = self.look_for(area, &Thing::Chunk(*digest))? {
                return Ok(Some(Found { area, meta }));
            }
        }
        self.adopt(digest, to_sync)
    }

    /// Gives a chunk that only a checkpoint has its name in `incoming/`.
    fn adopt(&self, digest: &ChunkDigest, to_sync: &mut ToSync) -> Result<Option<Found>> {
        let from = self.folder.checkpoint_chunk(digest);
        let Some(meta) = self.store.look_at(&from)? else {
            return Ok(None);
        };
        let area = Area::Incoming;
        if self.store.mistakes.made(Mistake::CheckpointNotAdopted) {
            return Ok(Some(Found { area, meta }));
        }
        let (dir, to) = (Dir::of_chunk(area, digest), self.folder.chunk(area, digest));
        self.in_dir(dir, || {
            self.store.disk.link(&from, &to).or_else(taken_is_fine)
        })?;
        let file = self.store.disk.open(&to)?;
        file.touch(self.store.disk.now())?;
        let meta = file.meta()?;
        to_sync.dir(dir);
        to_sync.young(file);
        Ok(Some(Found { area, meta }))
    }
}
