//! Upkeep of a checkpoint: a look at what its folder has and what it names, removals, and repairs.

use std::collections::HashSet;
use std::time::SystemTime;

use super::checkpoint_file::CheckpointFile;
use super::items::{CheckpointChunkFile, Swept};
use super::layout::{self, Area, Dir, Shelf, Thing};
use super::lock::Exclusive;
use super::mistake::Mistake;
use super::{Error, Result, User};
use crate::disk::{IfThere, Kind, Place};
use crate::model::ChunkDigest;

impl User {
    /// The chunks that CHECKPOINT names, whether its transaction is on the chain or not; none where there is no
    /// CHECKPOINT. What it says may not be durable: what the one before named is young then.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it is none: nobody knows what it names.
    pub fn named_by_checkpoint(&self) -> Result<HashSet<ChunkDigest>> {
        let read = self.store.read_checkpoint(&self.folder)?;
        let named = read.map(|CheckpointFile { checkpoint, .. }| checkpoint.chunks);
        Ok(named.unwrap_or_default().into_iter().collect())
    }

    /// Calls `each` for every chunk in `checkpoint/`. One look where there is no such folder.
    pub fn checkpoint_chunks(
        &self,
        mut each: impl FnMut(CheckpointChunkFile) -> Result<()>,
    ) -> Result<()> {
        let shelf = Shelf::Checkpoint;
        for fan in (self.store).names(&self.folder.dir(Dir::Shelf(shelf)), Kind::Directory)? {
            let Some(byte) = layout::parse_fan(&fan) else {
                continue;
            };
            let dir = Dir::Fan(shelf, byte);
            for name in self.store.names(&self.folder.dir(dir), Kind::File)? {
                // Through the layout, so that only what it would find under the name is looked at.
                let Some(layout::Recognised::CheckpointChunk(digest)) =
                    layout::recognise(dir, &name)
                else {
                    continue;
                };
                let place = self.folder.checkpoint_chunk(&digest);
                if let Some(meta) = self.store.meta_if_there(&place)? {
                    each(CheckpointChunkFile {
                        digest,
                        bytes: if meta.links > 1 { 0 } else { meta.bytes },
                        time: meta.modified,
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Whether a chunk stands in `incoming/` only, where gc would take it.
    pub fn is_incoming_only(&self, digest: &ChunkDigest) -> Result<bool> {
        let thing = Thing::Chunk(*digest);
        Ok(self.look_for(Area::Incoming, &thing)?.is_some()
            && self.look_for(Area::Committed, &thing)?.is_none()
            && (self.store)
                .look_at(&self.folder.checkpoint_chunk(digest))?
                .is_none())
    }
}

impl Exclusive {
    /// Removes chunks from `checkpoint/` that CHECKPOINT does not name now, and whose time, looked at once more, is still
    /// one that `is_old`.
    ///
    /// # Errors
    /// [`Error::Damaged`] where CHECKPOINT is none: nothing goes.
    pub fn sweep_checkpoint(
        &self,
        digests: &[ChunkDigest],
        is_old: impl Fn(SystemTime) -> bool,
    ) -> Result<Vec<Swept>> {
        let named = match self.store.mistakes.made(Mistake::NoSecondLook) {
            true => HashSet::new(),
            false => self.named_by_checkpoint()?,
        };
        let sweep = |digest: &ChunkDigest| {
            let place = self.folder.checkpoint_chunk(digest);
            let Some(meta) = self.store.meta_if_there(&place)? else {
                return Ok(Swept::NotThere);
            };
            if named.contains(digest) {
                return Ok(Swept::Needed);
            }
            if !is_old(meta.modified) && !self.store.mistakes.made(Mistake::NoSecondLook) {
                return Ok(Swept::Fresher);
            }
            let swept = self.store.sweep(&place)?;
            self.note_removed(swept, &meta);
            Ok(swept)
        };
        digests.iter().map(sweep).collect()
    }

    /// Gives chunks that CHECKPOINT names, and that stand in `incoming/` only, their names in `checkpoint/`, durably. Says
    /// how many have them now.
    pub fn mend_checkpoint(&self, digests: &[ChunkDigest]) -> Result<u64> {
        let named = self.named_by_checkpoint()?;
        let mut dirs = Vec::new();
        for digest in digests.iter().filter(|digest| named.contains(digest)) {
            if self.is_incoming_only(digest)? {
                self.link_into_checkpoint(digest)?;
                dirs.push(Dir::of_checkpoint_chunk(digest));
            }
        }
        let mended = dirs.len() as u64;
        if mended > 0 {
            self.sync_dirs(dirs, Vec::new())?;
        }
        Ok(mended)
    }

    /// Takes a damaged CHECKPOINT out of the way, into `lost+found`; says where it is now.
    pub(crate) fn set_checkpoint_aside(&self) -> Result<Place> {
        let lost = Dir::LostFound;
        let random = self.store.disk.random();
        let to = layout::spare_checkpoint(&self.folder.dir(lost), random);
        let from = self.folder.checkpoint();
        self.in_dir(lost, || self.store.disk.link(&from, &to))?;
        self.sync_dirs([lost], Vec::new())?;
        self.store.disk.remove_file(&from).if_there()?;
        self.sync_dirs([Dir::User], Vec::new())?;
        Ok(to)
    }

    /// Whether CHECKPOINT is none, or not the one of its transaction: it can only be set aside.
    pub(crate) fn is_checkpoint_damaged(&self) -> Result<bool> {
        let read = match self.store.read_checkpoint(&self.folder) {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(false),
            Err(Error::Damaged { .. }) => return Ok(true),
            Err(other) => return Err(other),
        };
        let head = self.head_under_lock()?.ok_or(Error::UserGone)?;
        match self.if_on_chain(head, read.checkpoint) {
            Ok(_) => Ok(false),
            Err(Error::Damaged { place, .. }) => Ok(place == self.folder.checkpoint()),
            Err(other) => Err(other),
        }
    }
}
