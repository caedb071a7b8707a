//! Members of a pushed bundle on their way in: unpacked into a folder of their own in `incoming/tmp`, of
//! the shape that a user's has. Nobody but the push looks into it.

use std::sync::Arc;

use uuid::Uuid;

use super::outcome::Step;
use super::unpack::{Crew, EarlySyncs, Unpacker};
use crate::disk::{self, Disk, Handle, Meta, Place};
use crate::model::{ChunkDigest, TransactionId, limits};
use crate::store::layout::{Dir, Folder, Thing};
use crate::store::publish::Unnamed;
use crate::store::{Result, User};

/// A chunk, whole, its digest found to be that of its name.
#[derive(Clone, Copy)]
pub struct StagedChunk {
    pub digest: ChunkDigest,
    pub bytes: u64,
}

/// A file of one line, the digest.
#[derive(Clone, Copy)]
pub struct StagedAlias {
    pub alias: Uuid,
    pub digest: ChunkDigest,
}

/// A transaction that is well-formed in itself.
#[derive(Clone, Copy)]
pub struct StagedTransaction {
    pub id: TransactionId,
    pub parent: TransactionId,
    pub seq: u64,
    pub bytes: u32,
    /// All its chunks are among those that came with the bundle not long before it.
    pub has_chunks: bool,
    /// The parent did not come with the bundle.
    pub is_outside: bool,
    /// The transaction is on the chain, as HEAD was looked at last.
    pub on_chain: bool,
}

/// Members that have no name in the store yet. Dropped, they are removed.
pub struct Staging {
    user: User,
    unpacker: Unpacker,
    crew: Option<Crew>,
    begun: bool,
    /// The bytes of longer members that were written since the last early sync of them, and those syncs.
    early: (u64, EarlySyncs),
    /// How many members were written since the last sync of all.
    pub unsynced: usize,
    pub chunks: Vec<StagedChunk>,
    pub aliases: Vec<StagedAlias>,
    pub transactions: Vec<StagedTransaction>,
}

impl Staging {
    pub fn new(user: User) -> Self {
        let store = &user.store;
        let place = user.folder.temporary(store.disk.random());
        Self {
            unpacker: Unpacker {
                disk: Arc::clone(&store.disk),
                folder: Folder::at(place),
                min_free: store.options.min_free,
            },
            crew: None,
            begun: false,
            early: Default::default(),
            unsynced: 0,
            chunks: Vec::new(),
            aliases: Vec::new(),
            transactions: Vec::new(),
            user,
        }
    }

    /// The ids of the transactions, in their order.
    pub fn transaction_ids(&self) -> Vec<TransactionId> {
        self.transactions.iter().map(|staged| staged.id).collect()
    }

    /// The place of a member's file.
    pub fn place(&self, thing: &Thing) -> Place {
        self.unpacker.place(thing)
    }

    /// The folder in which members stand, of the shape that a user's has.
    pub fn folder(&self) -> &Folder {
        &self.unpacker.folder
    }

    /// A member's file, to be published.
    pub fn unnamed(&self, thing: &Thing, bytes: u64) -> MemberFile {
        MemberFile {
            disk: Arc::clone(&self.unpacker.disk),
            place: self.place(thing),
            bytes,
            is_new: false,
        }
    }

    /// The place of the directory that holds members of a user's `dir`.
    pub fn dir(&self, dir: Dir) -> Place {
        self.unpacker.folder.dir(dir)
    }

    /// Writes a member, perhaps on another thread: done when [`Staging::finish`] returns. An error may be that of
    /// a member before.
    pub fn write(&mut self, thing: Thing, bytes: Vec<u8>) -> Step<()> {
        self.begin()?;
        if bytes.len() > limits::SMALL_MEMBER || self.unsynced <= limits::UNPACKED_ALONE {
            return self.unpacker.write(&thing, &bytes);
        }
        let crew = self.crew.take();
        let Some(mut crew) = crew.or_else(|| Crew::start(&self.unpacker)) else {
            return self.unpacker.write(&thing, &bytes);
        };
        if !crew.give(thing, bytes) {
            return crew.finish();
        }
        self.crew = Some(crew);
        Ok(())
    }

    /// A file for a member that comes piece by piece; `None` where one of its name has come before.
    pub fn create(&mut self, thing: &Thing) -> Result<Option<Handle>> {
        self.begin()?;
        self.unpacker.create(thing)
    }

    /// Writes more of a member that comes piece by piece.
    pub fn append(&mut self, file: &Handle, bytes: &[u8]) -> Result<()> {
        self.unpacker.append(file, bytes)?;
        let (written, syncs) = &mut self.early;
        *written += bytes.len() as u64;
        if *written >= limits::SYNCED_EARLY_BYTES
            && self.unpacker.disk.syncs_everything()
            && !syncs.are_running()
        {
            *written = 0;
            syncs.start(&self.unpacker);
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        self.user.check_room(0)?;
        self.unsynced += 1;
        if !self.begun {
            let place = self.unpacker.folder.place();
            self.user
                .in_dir(Dir::Tmp, || self.user.store.disk.make_directory(place))?;
            self.begun = true;
        }
        Ok(())
    }

    /// Waits until all members are written.
    pub fn finish(&mut self) -> Step<()> {
        let written = self.crew.take().map_or(Ok(()), Crew::finish);
        self.early.0 = 0;
        self.early.1.finish()?;
        written
    }

    /// Removes a member's file that has not got a name.
    pub fn remove(&self, thing: &Thing) {
        if let Err(error) = self.user.store.disk.remove_file(&self.place(thing)) {
            log::debug!("a temporary file stays until the push ends: {error}");
        }
    }
}

/// A member's file, durable and without a name in the store.
pub struct MemberFile {
    disk: Arc<dyn Disk>,
    place: Place,
    bytes: u64,
    /// The committed area does not have it.
    pub is_new: bool,
}

impl Unnamed for MemberFile {
    fn bytes(&self) -> Result<u64> {
        Ok(self.bytes)
    }

    fn give_name(&mut self, to: &Place) -> disk::Result<()> {
        self.disk.rename_new(&self.place, to)
    }

    fn replace(&mut self, to: &Place) -> disk::Result<()> {
        self.disk.rename_over(&self.place, to)
    }

    fn meta(&self) -> Result<Option<Meta>> {
        Ok(None)
    }

    fn is_new(&self) -> bool {
        self.is_new
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.crew = None;
        // A second time if need be: all of a bundle is much to leave behind for want of a descriptor.
        let remove = || self.user.store.remove_tree(self.unpacker.folder.place());
        if self.begun
            && let Err(error) = remove().or_else(|_| remove())
        {
            log::debug!("temporary files stay until they are a day old: {error}");
        }
    }
}
