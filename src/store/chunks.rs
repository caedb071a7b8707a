//! A PUT of a chunk whose bytes are durable: the chunk gets its name, and its alias where it is called by one.

use uuid::Uuid;

use super::layout::{Area, Dir, Thing};
use super::lock::{Locked, Shared};
use super::mistake::Mistake;
use super::publish::Published;
use super::staged::Sealed;
use super::to_sync::ToSync;
use super::{PutChunk, Result};
use crate::disk::{IfThere, Target};
use crate::model::{ChunkDigest, ChunkId};

impl Shared {
    /// Gives a chunk its name, or makes the one that is there young. Gives the lock back before it waits for the
    /// sync.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`](super::Error::QuotaExceeded), [`Error::UserGone`](super::Error::UserGone), and
    /// those of the disk: the chunk is not acknowledged then.
    pub fn put_chunk(self, sealed: Sealed, id: &ChunkId) -> Result<PutChunk> {
        self.check_takes()?;
        let mut to_sync = ToSync::default();
        match self.name_chunk(sealed, id, &mut to_sync)? {
            PutChunk::Stored => {}
            refused => return Ok(refused),
        }
        let user = self.release();
        if !user.store.mistakes.made(Mistake::AnswerBeforeSync) {
            user.sync(to_sync)?;
        }
        Ok(PutChunk::Stored)
    }
}

impl Locked {
    /// Gives a chunk its name, which `to_sync` makes durable. That the folder takes uploads has been seen under
    /// the lock.
    pub(super) fn name_chunk(
        &self,
        sealed: Sealed,
        id: &ChunkId,
        to_sync: &mut ToSync,
    ) -> Result<PutChunk> {
        let actual = sealed.digest();
        match id {
            ChunkId::Digest(named) if *named != actual => {
                return Ok(PutChunk::DigestMismatch { actual });
            }
            ChunkId::Digest(_) => self.publish_bytes(sealed, to_sync)?,
            ChunkId::Alias(alias) => {
                // The bytes first, so that no alias ever stands for nothing.
                match self.find_alias(alias)? {
                    Some((_, other)) if other != actual => return self.refuse_alias(alias),
                    _ => self.publish_bytes(sealed, to_sync)?,
                }
                if self.publish_alias(alias, &actual, to_sync)? == Published::Other {
                    return self.refuse_alias(alias);
                }
            }
        }
        Ok(PutChunk::Stored)
    }

    fn publish_bytes(&self, mut sealed: Sealed, to_sync: &mut ToSync) -> Result<()> {
        let thing = Thing::Chunk(sealed.digest());
        // The name is the digest.
        let is_same = |_: &_| Ok(true);
        self.publish(&thing, &mut sealed, &is_same, to_sync)
            .map(drop)
    }

    /// Makes the alias stand for the chunk.
    fn publish_alias(
        &self,
        alias: &Uuid,
        digest: &ChunkDigest,
        to_sync: &mut ToSync,
    ) -> Result<Published> {
        let thing = Thing::Alias(*alias);
        if let Some((found, stands_for)) = self.find_alias(alias)? {
            if stands_for != *digest {
                return Ok(Published::Other);
            }
            self.refresh(&thing, found, to_sync)?;
            return Ok(Published::There);
        }
        let mut temporary = self.temporary()?;
        temporary.file.append(format!("{digest}\n").as_bytes())?;
        self.store
            .disk
            .sync(&[Target::File(temporary.file.clone())])?;
        let is_same = |place: &_| {
            let there = self.store.read_alias(place)?;
            Ok(there.is_some_and(|(_, stands_for)| stands_for == *digest))
        };
        self.publish(&thing, &mut temporary, &is_same, to_sync)
    }

    /// Refuses an alias that stands for other bytes. That is a promise too: the name is synced before.
    fn refuse_alias(&self, alias: &Uuid) -> Result<PutChunk> {
        let mut there = Vec::new();
        for area in [Area::Committed, Area::Incoming] {
            let dir = Dir::of_alias(area, alias);
            let found = self.store.disk.meta(&self.folder.dir(dir)).if_there()?;
            there.extend(found.map(|_| dir));
        }
        self.sync_dirs(there, Vec::new())?;
        Ok(PutChunk::ChunkExists)
    }
}
