//! Committed chunks that are not in their place: how it is known, and how an upload goes back there.
//!
//! `lost+found/chunks/{sha256}` marks a chunk that the chain names and that fsck took out of the way, or did
//! not find. Whoever uploads it again is told that it is there for good: so it goes straight into `chunks/`,
//! where gc does not go.

use std::collections::HashSet;

use super::error::taken_is_fine;
use super::layout::{Area, Dir, Thing};
use super::lock::Locked;
use super::mistake::Mistake;
use super::{Result, User};
use crate::disk::{IfThere, Place, Target};
use crate::model::{ChunkDigest, ChunkId};

impl User {
    /// Whether any committed chunk of the user's is marked as lost. Costs one look.
    pub(super) fn has_lost(&self) -> Result<bool> {
        self.sees(&self.folder.dir(Dir::LostChunks))
    }

    /// Whether this chunk is marked as lost.
    pub(super) fn was_lost(&self, digest: &ChunkDigest) -> Result<bool> {
        self.sees(&self.folder.lost_chunk(digest))
    }

    fn sees(&self, place: &Place) -> Result<bool> {
        let seen = self.store.disk.meta(place).if_there();
        if self.store.mistakes.made(Mistake::UnseenIsAbsent) {
            return Ok(matches!(seen, Ok(Some(_))));
        }
        Ok(seen?.is_some())
    }
}

impl Locked {
    /// Whether any committed chunk of the user's is marked as lost: one look for as long as the lock is held, instead
    /// of one a chunk. Only a repair takes marks away, under the exclusive lock.
    ///
    /// # Errors
    /// Where that cannot be seen. An upload is refused then: it might be the one that was lost.
    pub(super) fn any_lost(&self) -> Result<bool> {
        if let Some(any) = self.lost.get() {
            return Ok(*any);
        }
        let any = self.has_lost()?;
        Ok(*self.lost.get_or_init(|| any))
    }

    /// Marks a committed chunk as missing, so that an upload of it goes straight into its place. Needs a
    /// lock; a repair, which takes marks away, holds the exclusive one.
    pub(crate) fn mark_missing(&self, digest: &ChunkDigest) -> Result<Place> {
        let place = self.folder.lost_chunk(digest);
        self.in_dir(Dir::LostChunks, || {
            self.store
                .disk
                .create(&place)
                .map(drop)
                .or_else(taken_is_fine)
        })?;
        let mark = Target::File(self.store.disk.open(&place)?);
        self.sync_dirs([Dir::LostChunks], vec![mark])?;
        Ok(place)
    }

    /// Sees to it that what a transaction of the chain names stands in the committed area: what is in
    /// `incoming/` only was uploaded again after it was lost, and gets its place. What is nowhere is marked;
    /// returns those, in their order. Durable then.
    pub(super) fn keep_named(&self, named: &[ChunkId]) -> Result<Vec<ChunkId>> {
        let (mut missing, mut dirs, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for id in named {
            if !seen.insert(id) {
                continue;
            }
            let digest = match id {
                ChunkId::Digest(digest) => *digest,
                ChunkId::Alias(alias) => match self.find_alias(alias)? {
                    Some((_, digest)) => digest,
                    None => {
                        missing.push(*id);
                        continue;
                    }
                },
            };
            // The bytes first, so that no alias ever stands for nothing.
            let mut there = self.keep(&Thing::Chunk(digest), &mut dirs)?;
            if let (true, ChunkId::Alias(alias)) = (there, id) {
                there = self.keep(&Thing::Alias(*alias), &mut dirs)?;
            }
            if !there {
                missing.push(*id);
                self.mark_missing(&digest)?;
            }
        }
        if !dirs.is_empty() {
            self.sync_dirs(dirs, Vec::new())?;
        }
        Ok(missing)
    }

    /// Links one thing from `incoming/` into the committed area if it is not there; says whether it is now.
    fn keep(&self, thing: &Thing, dirs: &mut Vec<Dir>) -> Result<bool> {
        let [to, from] =
            [Area::Committed, Area::Incoming].map(|area| self.folder.thing(area, thing));
        if self.store.meta_if_there(&to)?.is_some() {
            return Ok(true);
        }
        if self.store.meta_if_there(&from)?.is_none() {
            return Ok(false);
        }
        let dir = thing.dir(Area::Committed);
        self.in_dir(dir, || {
            self.store.disk.link(&from, &to).or_else(taken_is_fine)
        })?;
        dirs.push(dir);
        Ok(true)
    }
}
