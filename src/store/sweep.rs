//! What garbage collection asks of the store: what stands in `incoming/`, and its removal.
//!
//! Which of it is garbage is decided in [`crate::rules::garbage`], in which order it goes in
//! [`crate::upkeep::gc`]. Nothing here makes a file, so that it works on a full disk, and nothing
//! touches the committed area.

use std::collections::HashMap;
use std::time::SystemTime;

use uuid::Uuid;

use super::layout::{self, Area, Dir, Folder, Shelf};
use super::lock::UserLock;
use super::mistake::Mistake;
use super::pending::Counted;
use super::{Result, Store};
use crate::disk::{IfThere, Kind, Meta, Mode, Place, Target};
use crate::model::{ChunkDigest, ChunkId, Head, TransactionId, UserId, limits};
use crate::rules::dates::Dates;
use crate::rules::garbage::{Ground, Pending};

/// A file of `incoming/`, by what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    Transaction(TransactionId),
    Alias(Uuid),
    Chunk(ChunkDigest),
    /// By its name in `incoming/tmp`: a file, or the folder of a pushed bundle.
    Temporary(String),
}

impl From<ChunkId> for Item {
    fn from(id: ChunkId) -> Self {
        match id {
            ChunkId::Digest(digest) => Item::Chunk(digest),
            ChunkId::Alias(alias) => Item::Alias(alias),
        }
    }
}

/// A pending transaction as it was seen: what rules want to know, and its length.
#[derive(Clone, Copy, Debug)]
pub struct PendingFile {
    pub pending: Pending,
    pub bytes: u64,
}

/// A chunk or an alias in `incoming/` as it was seen.
#[derive(Clone, Copy, Debug)]
pub struct IncomingFile {
    pub id: ChunkId,
    pub bytes: u64,
    pub time: SystemTime,
    /// The very same file has its committed name too: an advance did not get to drop this one.
    pub leftover: bool,
    /// The chain names it, as a mark in `lost+found` says, and the committed one is lost: this is the only one.
    pub was_lost: bool,
}

/// What a pending transaction needs: its parent, and the chunks that it names, those that its
/// aliases stand for included.
#[derive(Clone, Debug)]
pub struct Needs {
    pub parent: TransactionId,
    pub chunks: Vec<ChunkId>,
}

/// What became of a file that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    Gone,
    /// Somebody else was quicker, or it is something else now.
    NotThere,
    /// It was put again, or asked about, since it was seen.
    Fresher,
    /// The chain names it, as a mark in `lost+found` says: gc does not touch the last one there is.
    Needed,
}

impl Store {
    /// The clock that stamps this store's files.
    pub fn now(&self) -> SystemTime {
        self.disk.now()
    }

    /// The place of a file in `incoming/`, from the data directory down.
    pub fn place_of(&self, user: &UserId, item: &Item) -> Place {
        let folder = Folder::of(user);
        match item {
            Item::Transaction(id) => folder.pending(*id),
            Item::Alias(alias) => folder.alias(Area::Incoming, alias),
            Item::Chunk(digest) => folder.chunk(Area::Incoming, digest),
            Item::Temporary(name) => folder.dir(Dir::Tmp).join(name),
        }
    }

    /// HEAD, durable; `None` for a user without a folder. What is dead seen from a HEAD that a
    /// power cut may take back is not dead.
    pub fn durable_head(&self, user: &UserId) -> Result<Option<Head>> {
        let state = self.users.state(user);
        state.check_writable()?;
        self.vouched_head(&state, &Folder::of(user))
    }

    /// All that stands in `incoming/transactions`. Reads the start of each file.
    ///
    /// # Errors
    /// [`super::Error::Damaged`] where one cannot be read: what it needs is not known then.
    pub fn pending_files(&self, user: &UserId) -> Result<Vec<PendingFile>> {
        let folder = Folder::of(user);
        let mut files = Vec::new();
        for id in self.list_pending(&folder)? {
            let Some((handle, start)) = self.open_transaction(&folder.pending(id), id)? else {
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
    pub fn ground(&self, user: &UserId, head: Head, id: TransactionId) -> Result<Ground> {
        use super::head::Position;
        Ok(match self.position(&Folder::of(user), head, id)? {
            Position::OnChain(_) if id == head.id => Ground::Head,
            Position::OnChain(_) => Ground::BelowHead,
            Position::OffChain | Position::LogIsWrong => Ground::Unknown,
        })
    }

    /// What a pending transaction needs; `None` where it is not pending.
    pub fn needs(&self, user: &UserId, id: TransactionId) -> Result<Option<Needs>> {
        let folder = Folder::of(user);
        let Some(transaction) = self.read_transaction(&folder.pending(id), id)? else {
            return Ok(None);
        };
        let mut chunks = transaction.chunks;
        for index in 0..chunks.len() {
            if let ChunkId::Alias(alias) = chunks[index] {
                chunks.extend(self.stands_for(user, &alias)?.map(ChunkId::Digest));
            }
        }
        Ok(Some(Needs {
            parent: transaction.parent,
            chunks,
        }))
    }

    /// The chunk that an alias stands for, if there is such an alias.
    pub fn stands_for(&self, user: &UserId, alias: &Uuid) -> Result<Option<ChunkDigest>> {
        let found = self.find_alias(&Folder::of(user), alias)?;
        Ok(found.map(|(_, digest)| digest))
    }

    /// Calls `each` for every chunk in `incoming/`.
    pub fn incoming_chunks(
        &self,
        user: &UserId,
        mut each: impl FnMut(IncomingFile) -> Result<()>,
    ) -> Result<()> {
        self.incoming(user, Shelf::Chunks(Area::Incoming), &mut each)
    }

    /// Calls `each` for every alias in `incoming/`.
    pub fn incoming_aliases(
        &self,
        user: &UserId,
        mut each: impl FnMut(IncomingFile) -> Result<()>,
    ) -> Result<()> {
        self.incoming(user, Shelf::Aliases(Area::Incoming), &mut each)
    }

    fn incoming(
        &self,
        user: &UserId,
        shelf: Shelf,
        each: &mut dyn FnMut(IncomingFile) -> Result<()>,
    ) -> Result<()> {
        let folder = Folder::of(user);
        let any_lost = self.has_lost(&folder)?;
        for fan in self.names(&folder.dir(Dir::Shelf(shelf)), Kind::Directory)? {
            // Through the layout, so that only what it would find under the name is looked at.
            let Some(byte) = layout::parse_fan(&fan) else {
                continue;
            };
            for name in self.names(&folder.dir(Dir::Fan(shelf, byte)), Kind::File)? {
                let Some(id) = layout::parse_chunk(&name) else {
                    continue;
                };
                let Some(meta) = self.meta_if_there(&place(&folder, Area::Incoming, &id))? else {
                    continue;
                };
                each(IncomingFile {
                    id,
                    bytes: meta.bytes,
                    time: meta.modified,
                    leftover: self.is_leftover(&folder, &id, &meta)?,
                    was_lost: any_lost && self.is_last(&folder, &id)?,
                })?;
            }
        }
        Ok(())
    }

    /// Makes young, durably, what has a date that cannot be right, if it has it still; says which and since
    /// when they are. Needs the exclusive lock, so that nobody else dates them meanwhile.
    pub fn redate(
        &self,
        lock: &UserLock,
        items: &[Item],
        dates: &Dates,
    ) -> Result<Vec<(Item, SystemTime)>> {
        exclusive(lock);
        let (mut redated, mut targets) = (Vec::new(), Vec::new());
        for item in items {
            let place = self.place_of(&lock.user, item);
            let wrong = |meta: Meta| dates.are_not(meta.modified);
            if !self.meta_if_there(&place)?.is_some_and(wrong) {
                continue;
            }
            let file = self.disk.open(&place)?;
            let now = self.disk.now();
            file.touch(now)?;
            redated.push((item.clone(), now));
            if targets.len() < limits::SYNCED_APART {
                targets.push(Target::File(file));
            }
        }
        if redated.len() > targets.len() {
            self.disk.sync_everything()?;
        } else {
            self.disk.sync(&targets)?;
        }
        Ok(redated)
    }

    /// The pending transactions that were not there when these were seen. Needs the exclusive lock.
    pub fn unseen<T>(
        &self,
        lock: &UserLock,
        seen: &HashMap<TransactionId, T>,
    ) -> Result<Vec<TransactionId>> {
        exclusive(lock);
        if self.mistakes.made(Mistake::NoSecondLook) {
            return Ok(Vec::new());
        }
        let mut ids = self.list_pending(&lock.folder)?;
        ids.retain(|id| !seen.contains_key(id));
        Ok(ids)
    }

    /// Removes a pending transaction, unless it was put again since it was seen with this time.
    /// Needs the exclusive lock, after [`Store::note_sweep`].
    pub fn sweep_transaction(
        &self,
        lock: &UserLock,
        id: TransactionId,
        time: SystemTime,
    ) -> Result<Swept> {
        exclusive(lock);
        let place = lock.folder.pending(id);
        let Some(meta) = self.meta_if_there(&place)? else {
            return Ok(Swept::NotThere);
        };
        if meta.modified != time && !self.mistakes.made(Mistake::NoSecondLook) {
            return Ok(Swept::Fresher);
        }
        let swept = self.drop_pending(lock, id, &place)?;
        self.note_removed(lock, swept, &meta);
        Ok(swept)
    }

    /// Removes a pending transaction's file that is on the chain by now. Needs the exclusive lock.
    pub fn sweep_committed(&self, lock: &UserLock, id: TransactionId) -> Result<Swept> {
        exclusive(lock);
        lock.state.check_writable()?;
        let Some(head) = self.vouched_head_under(lock)? else {
            return Ok(Swept::NotThere);
        };
        match self.ground(&lock.user, head, id)? {
            Ground::Unknown => Ok(Swept::NotThere),
            Ground::Head | Ground::BelowHead => {
                self.drop_pending(lock, id, &lock.folder.pending(id))
            }
        }
    }

    pub(super) fn drop_pending(
        &self,
        lock: &UserLock,
        id: TransactionId,
        place: &Place,
    ) -> Result<Swept> {
        let swept = self.sweep(place)?;
        let mut known = lock.state.known();
        known.pending.remove(&id);
        known.counted = Counted::default();
        Ok(swept)
    }

    /// Makes it durable that these pending transactions are gone, before what they named goes.
    pub fn sync_swept_transactions(&self, user: &UserId) -> Result<()> {
        let state = self.users.state(user);
        self.sync_dirs(&state, &Folder::of(user), [Dir::Pending], Vec::new())
    }

    /// Makes it durable that these aliases are gone, before what they stand for goes.
    pub fn sync_swept_aliases(&self, user: &UserId, aliases: &[Uuid]) -> Result<()> {
        let state = self.users.state(user);
        let dirs = (aliases.iter()).map(|alias| Dir::of_alias(Area::Incoming, alias));
        self.sync_dirs(&state, &Folder::of(user), dirs, Vec::new())
    }

    /// Removes a chunk or an alias from `incoming/` if, looked at once more, its time is still one
    /// that `is_old`. Needs the exclusive lock.
    pub fn sweep_chunk(
        &self,
        lock: &UserLock,
        id: &ChunkId,
        is_old: impl Fn(SystemTime) -> bool,
    ) -> Result<Swept> {
        exclusive(lock);
        let place = place(&lock.folder, Area::Incoming, id);
        match self.meta_if_there(&place)? {
            None => Ok(Swept::NotThere),
            Some(meta) if !is_old(meta.modified) && !self.mistakes.made(Mistake::NoSecondLook) => {
                Ok(Swept::Fresher)
            }
            Some(_) if self.has_lost(&lock.folder)? && self.is_last(&lock.folder, id)? => {
                Ok(Swept::Needed)
            }
            Some(meta) => {
                let swept = self.sweep(&place)?;
                self.note_removed(lock, swept, &meta);
                Ok(swept)
            }
        }
    }

    /// Whether a mark says that the chain names this chunk, and the committed one is not there.
    fn is_last(&self, folder: &Folder, id: &ChunkId) -> Result<bool> {
        let ChunkId::Digest(digest) = id else {
            return Ok(false);
        };
        Ok(!self.mistakes.made(Mistake::SweptThoughLost)
            && self.was_lost(folder, digest)?
            && (self.meta_if_there(&folder.chunk(Area::Committed, digest))?).is_none())
    }

    pub(super) fn note_removed(&self, lock: &UserLock, swept: Swept, meta: &Meta) {
        // With a second name it is still there, as what an advance that came to nothing has linked.
        if swept == Swept::Gone && meta.links == 1 {
            self.removed(&lock.user, meta.bytes);
        }
    }

    /// Removes from `incoming/` those that have their committed names too, after making those
    /// durable: an advance that was killed may have made them. Needs the exclusive lock.
    pub fn sweep_leftovers(&self, lock: &UserLock, ids: &[ChunkId]) -> Result<Vec<Swept>> {
        exclusive(lock);
        let mut committed = Vec::new();
        let mut leftovers = Vec::new();
        for id in ids {
            let meta = self.meta_if_there(&place(&lock.folder, Area::Incoming, id))?;
            let leftover = match meta {
                Some(meta) => self.is_leftover(&lock.folder, id, &meta)?,
                None => false,
            };
            if leftover {
                committed.push(dir_of(Area::Committed, id));
            }
            leftovers.push(leftover);
        }
        if !committed.is_empty() {
            self.sync_dirs(&lock.state, &lock.folder, committed, Vec::new())?;
        }
        (ids.iter().zip(leftovers))
            .map(|(id, leftover)| match leftover {
                true => self.sweep(&place(&lock.folder, Area::Incoming, id)),
                false => Ok(Swept::NotThere),
            })
            .collect()
    }

    fn is_leftover(&self, folder: &Folder, id: &ChunkId, meta: &Meta) -> Result<bool> {
        if meta.links < 2 {
            return Ok(false);
        }
        let committed = self.meta_if_there(&place(folder, Area::Committed, id))?;
        Ok(committed.is_some_and(|there| there.inode == meta.inode))
    }

    pub(super) fn sweep(&self, place: &Place) -> Result<Swept> {
        Ok(match self.disk.remove_file(place).if_there()? {
            Some(()) => Swept::Gone,
            None => Swept::NotThere,
        })
    }

    pub(super) fn meta_if_there(&self, place: &Place) -> Result<Option<Meta>> {
        Ok(self.disk.meta(place).if_there()?)
    }

    /// The names of this kind in a directory; none where there is no directory.
    pub(super) fn names(&self, directory: &Place, kind: Kind) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let listed = self.disk.list(directory, &mut |entry| {
            if entry.kind == kind {
                names.push(entry.name);
            }
            true
        });
        listed.if_there()?;
        Ok(names)
    }
}

pub(super) fn exclusive(lock: &UserLock) {
    assert_eq!(
        lock.mode,
        Mode::Exclusive,
        "gc sweeps under the exclusive lock"
    );
}

fn place(folder: &Folder, area: Area, id: &ChunkId) -> Place {
    match id {
        ChunkId::Digest(digest) => folder.chunk(area, digest),
        ChunkId::Alias(alias) => folder.alias(area, alias),
    }
}

fn dir_of(area: Area, id: &ChunkId) -> Dir {
    match id {
        ChunkId::Digest(digest) => Dir::of_chunk(area, digest),
        ChunkId::Alias(alias) => Dir::of_alias(area, alias),
    }
}
