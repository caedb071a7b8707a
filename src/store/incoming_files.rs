//! Looks at all that stands in `incoming/`, for garbage collection.

use super::items::{IncomingFile, Item, Needs, PendingFile};
use super::layout::{self, Area, Dir, Shelf, Thing};
use super::mistake::Mistake;
use super::walk::Position;
use super::{Result, User};
use crate::disk::{Kind, Meta, Place};
use crate::model::{ChunkId, Head, TransactionId};
use crate::rules::garbage::{Ground, Pending};

impl User {
    /// The place of a file in `incoming/`, from the data directory down.
    pub fn place_of(&self, item: &Item) -> Place {
        match item {
            Item::Transaction(id) => self.folder.pending(*id),
            Item::Alias(alias) => self.folder.alias(Area::Incoming, alias),
            Item::Chunk(digest) => self.folder.chunk(Area::Incoming, digest),
            Item::CheckpointChunk(digest) => self.folder.checkpoint_chunk(digest),
            Item::Temporary(name) => self.folder.dir(Dir::Tmp).join(name),
        }
    }

    /// HEAD, durable; `None` for a user without a folder. What is dead seen from a HEAD that a
    /// power cut may take back is not dead.
    pub fn durable_head(&self) -> Result<Option<Head>> {
        self.state.check_writable()?;
        self.vouched_head()
    }

    /// All that stands in `incoming/transactions`. Reads the start of each file.
    ///
    /// # Errors
    /// [`super::Error::Damaged`] where one cannot be read: what it needs is not known then.
    pub fn pending_files(&self) -> Result<Vec<PendingFile>> {
        let mut files = Vec::new();
        for id in self.store.list_pending(&self.folder)? {
            let Some((handle, start)) =
                self.store.open_transaction(&self.folder.pending(id), id)?
            else {
                continue;
            };
            let meta = handle.meta()?;
            files.push(PendingFile {
                pending: Pending {
                    id,
                    parent: start.parent,
                    seq: start.seq,
                    time: meta.modified,
                },
                bytes: meta.bytes,
            });
        }
        Ok(files)
    }

    /// Where a transaction stands on the chain that ends at `head`; `Unknown` where it does not. A
    /// `log` that is wrong makes it unknown: gc mends nothing.
    pub fn ground(&self, head: Head, id: TransactionId) -> Result<Ground> {
        Ok(match self.position(head, id)? {
            Position::OnChain(_) if id == head.id => Ground::Head,
            Position::OnChain(_) => Ground::BelowHead,
            Position::OffChain | Position::LogIsWrong => Ground::Unknown,
        })
    }

    /// The needs of a pending transaction; `None` where it is not pending.
    pub fn needs(&self, id: TransactionId) -> Result<Option<Needs>> {
        let Some(transaction) = self.store.read_transaction(&self.folder.pending(id), id)? else {
            return Ok(None);
        };
        let mut chunks = transaction.chunks;
        for index in 0..chunks.len() {
            if let ChunkId::Alias(alias) = chunks[index] {
                chunks.extend(self.stands_for(&alias)?.map(ChunkId::Digest));
            }
        }
        Ok(Some(Needs {
            parent: transaction.parent,
            chunks,
        }))
    }

    /// Calls `each` for every chunk in `incoming/`.
    pub fn incoming_chunks(&self, mut each: impl FnMut(IncomingFile) -> Result<()>) -> Result<()> {
        self.incoming(Shelf::Chunks(Area::Incoming), &mut each)
    }

    /// Calls `each` for every alias in `incoming/`.
    pub fn incoming_aliases(&self, mut each: impl FnMut(IncomingFile) -> Result<()>) -> Result<()> {
        self.incoming(Shelf::Aliases(Area::Incoming), &mut each)
    }

    fn incoming(
        &self,
        shelf: Shelf,
        each: &mut dyn FnMut(IncomingFile) -> Result<()>,
    ) -> Result<()> {
        let any_lost = self.has_lost()?;
        for fan in self
            .store
            .names(&self.folder.dir(Dir::Shelf(shelf)), Kind::Directory)?
        {
            // Through the layout, so that only what it would find under the name is looked at.
            let Some(byte) = layout::parse_fan(&fan) else {
                continue;
            };
            for name in self
                .store
                .names(&self.folder.dir(Dir::Fan(shelf, byte)), Kind::File)?
            {
                let Some(id) = layout::parse_chunk(&name) else {
                    continue;
                };
                let Some(meta) = self
                    .store
                    .meta_if_there(&self.folder.thing(Area::Incoming, &Thing::from(id)))?
                else {
                    continue;
                };
                each(IncomingFile {
                    id,
                    bytes: meta.bytes,
                    time: meta.modified,
                    leftover: self.is_leftover(&id, &meta)?,
                    was_lost: any_lost && self.is_last(&id)?,
                })?;
            }
        }
        Ok(())
    }

    /// Whether a mark says that the chain names this chunk, and the committed one is not there.
    pub(super) fn is_last(&self, id: &ChunkId) -> Result<bool> {
        let ChunkId::Digest(digest) = id else {
            return Ok(false);
        };
        Ok(!self.store.mistakes.made(Mistake::SweptThoughLost)
            && self.was_lost(digest)?
            && (self
                .store
                .meta_if_there(&self.folder.chunk(Area::Committed, digest))?)
            .is_none())
    }

    pub(super) fn is_leftover(&self, id: &ChunkId, meta: &Meta) -> Result<bool> {
        if meta.links < 2 {
            return Ok(false);
        }
        let committed = self
            .store
            .meta_if_there(&self.folder.thing(Area::Committed, &Thing::from(*id)))?;
        Ok(committed.is_some_and(|there| there.inode == meta.inode))
    }
}
