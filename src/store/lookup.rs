//! Chunks and their aliases, looked up in both areas.

use uuid::Uuid;

use super::error::damaged;
use super::layout::{Area, Thing};
use super::mistake::Mistake;
use super::{Content, Result, Store, User};
use crate::disk::{IfThere, Kind, Meta, Place};
use crate::model::{ChunkDigest, ChunkId};

/// The areas in the order in which a chunk is looked for: an advance links it into the committed
/// area before it leaves `incoming/`, so the third look finds what moved between the first two.
const LOOKS: [Area; 3] = [Area::Committed, Area::Incoming, Area::Committed];

/// A file that was found: its area, and its metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub area: Area,
    pub meta: Meta,
}

/// A chunk id looked up to the end.
pub(super) struct Resolved {
    pub digest: ChunkDigest,
    pub chunk: Found,
    /// The alias and where it stands, where the id is an alias.
    pub alias: Option<(Uuid, Found)>,
}

impl Resolved {
    /// The chunk as it is once an advance has linked it: another name, the same file.
    pub(super) fn committed(&self) -> Resolved {
        let at = |found: &Found| Found {
            area: Area::Committed,
            meta: found.meta,
        };
        Resolved {
            digest: self.digest,
            chunk: at(&self.chunk),
            alias: self
                .alias
                .as_ref()
                .map(|(alias, found)| (*alias, at(found))),
        }
    }

    /// The chunk, and the alias where there is one, each with where it was found.
    pub(super) fn things(&self) -> impl Iterator<Item = (Thing, Found)> {
        let chunk = (Thing::Chunk(self.digest), self.chunk);
        let alias = self
            .alias
            .map(|(alias, found)| (Thing::Alias(alias), found));
        [Some(chunk), alias].into_iter().flatten()
    }
}

impl User {
    /// The bytes of a chunk that is there, committed or not.
    pub fn chunk(&self, id: &ChunkId) -> Result<Option<Content>> {
        let digest = match id {
            ChunkId::Digest(digest) => *digest,
            ChunkId::Alias(alias) => match self.find_alias(alias)? {
                Some((_, digest)) => digest,
                None => return self.unless_denied(),
            },
        };
        let [first, second, last] = LOOKS.map(|area| self.folder.chunk(area, &digest));
        for place in [first, second, self.folder.checkpoint_chunk(&digest), last] {
            let opened = self.store.disk.open(&place);
            if let Some(handle) = opened.if_there()? {
                let bytes = handle.opened()?.bytes;
                if self.store.mistakes.made(Mistake::LeakedDescriptor) {
                    std::mem::forget(handle.clone());
                }
                return Ok(Some(Content { handle, bytes }));
            }
        }
        self.unless_denied()
    }

    fn find(&self, place: impl Fn(Area) -> Place) -> Result<Option<Found>> {
        for area in LOOKS {
            if let Some(meta) = self.store.look_at(&place(area))? {
                return Ok(Some(Found { area, meta }));
            }
        }
        Ok(None)
    }

    pub(super) fn find_chunk(&self, digest: &ChunkDigest) -> Result<Option<Found>> {
        self.find(|area| self.folder.chunk(area, digest))
    }

    /// Finds an alias, and reads which chunk it stands for.
    pub(super) fn find_alias(&self, alias: &Uuid) -> Result<Option<(Found, ChunkDigest)>> {
        for area in LOOKS {
            let Some((meta, digest)) = self.store.read_alias(&self.folder.alias(area, alias))?
            else {
                continue;
            };
            return Ok(Some((Found { area, meta }, digest)));
        }
        Ok(None)
    }

    /// Looks a chunk id up to the end in the two areas: the alias where it is one, and the bytes. Under a lock it is
    /// [`Locked::reach`](super::lock::Locked::reach) that finds what a checkpoint has too.
    pub(super) fn resolve(&self, id: &ChunkId) -> Result<Option<Resolved>> {
        let (digest, alias) = match id {
            ChunkId::Digest(digest) => (*digest, None),
            ChunkId::Alias(alias) => match self.find_alias(alias)? {
                Some((found, digest)) => (digest, Some((*alias, found))),
                None => return Ok(None),
            },
        };
        let chunk = self.find_chunk(&digest)?;
        Ok(chunk.map(|chunk| Resolved {
            digest,
            chunk,
            alias,
        }))
    }

    /// The chunk that an alias stands for, if there is such an alias.
    pub fn stands_for(&self, alias: &Uuid) -> Result<Option<ChunkDigest>> {
        let found = self.find_alias(alias)?;
        Ok(found.map(|(_, digest)| digest))
    }

    /// Looks for a thing in one area.
    pub(super) fn look_for(&self, area: Area, thing: &Thing) -> Result<Option<Meta>> {
        self.store.look_at(&self.folder.thing(area, thing))
    }
}

impl Store {
    /// Looks at a regular file; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Damaged`](super::Error::Damaged) where something else has the name.
    pub(super) fn look_at(&self, place: &Place) -> Result<Option<Meta>> {
        match self.disk.meta(place).if_there()? {
            Some(meta) if meta.kind != Kind::File => Err(damaged(place, "not a regular file")),
            found => Ok(found),
        }
    }

    /// Reads which chunk an alias's file stands for; `None` where there is no file.
    pub(crate) fn read_alias(&self, place: &Place) -> Result<Option<(Meta, ChunkDigest)>> {
        let Some(file) = self.disk.open(place).if_there()? else {
            return Ok(None);
        };
        let mut buffer = [0; 66];
        let read = file.read_at(0, &mut buffer)?;
        let digest = std::str::from_utf8(&buffer[..read])
            .ok()
            .and_then(|text| text.strip_suffix('\n')?.parse().ok())
            .ok_or_else(|| damaged(place, "not one digest and a newline"))?;
        Ok(Some((file.opened()?, digest)))
    }
}
