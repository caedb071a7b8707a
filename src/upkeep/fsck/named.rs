//! A chunk id that the chain names is looked up, and remembered as named.

use std::sync::atomic::Ordering;

use super::check::Check;
use crate::disk::{self, IfThere};
use crate::model::ChunkId;
use crate::store::layout::{Area, Thing};

/// The place in which a chunk was found whose id a transaction names.
pub(super) enum NamedChunk {
    There,
    /// In `incoming/` only.
    Uncommitted(Thing),
    Missing(Thing),
    /// The disk did not let fsck look it up.
    Unknown,
}

impl Check<'_> {
    /// Looks a chunk id up that the chain names, and remembers that it is named. What cannot be read is
    /// reported where the files are.
    pub fn look_for(&self, id: &ChunkId) -> NamedChunk {
        let digest = match id {
            ChunkId::Digest(digest) => *digest,
            ChunkId::Alias(alias) => {
                self.named.insert(alias.as_bytes());
                let thing = Thing::Alias(*alias);
                let read = |area| self.store().read_alias(&self.folder.alias(area, alias));
                match (read(Area::Committed), read(Area::Incoming)) {
                    (Ok(Some((_, digest))), _) => digest,
                    (Ok(None), Ok(Some((_, digest)))) => {
                        self.named.insert(digest.as_bytes());
                        return NamedChunk::Uncommitted(thing);
                    }
                    (outcome, _) => {
                        // Some chunk is named, and nobody knows which.
                        self.blind.store(true, Ordering::Relaxed);
                        return match outcome {
                            Ok(_) => NamedChunk::Missing(thing),
                            Err(_) => NamedChunk::Unknown,
                        };
                    }
                }
            }
        };
        self.named.insert(digest.as_bytes());
        let disk = self.store().disk();
        let there = |area| {
            let meta = disk.meta(&self.folder.chunk(area, &digest)).if_there();
            meta.map(|meta| meta.is_some_and(|meta| meta.kind == disk::Kind::File))
        };
        let thing = Thing::Chunk(digest);
        let both = there(Area::Committed).and_then(|committed| {
            let incoming = !committed && there(Area::Incoming)?;
            Ok((committed, incoming))
        });
        match both {
            Ok((true, _)) => NamedChunk::There,
            Ok((false, true)) => NamedChunk::Uncommitted(thing),
            Ok((false, false)) => NamedChunk::Missing(thing),
            Err(_) => NamedChunk::Unknown,
        }
    }

    /// The thing that a chunk id is.
    pub fn thing_of(id: &ChunkId) -> Thing {
        match id {
            ChunkId::Digest(digest) => Thing::Chunk(*digest),
            ChunkId::Alias(alias) => Thing::Alias(*alias),
        }
    }
}
