//! Members of a pushed bundle on their way in: temporary files without an open handle, since a
//! bundle has more members than a process may have files open.

use std::sync::Arc;

use uuid::Uuid;

use crate::disk::{Disk, Handle, Place};
use crate::model::{ChunkDigest, TransactionId};
use crate::store::layout::{Dir, Folder};
use crate::store::quota::check_room;
use crate::store::user::UserState;
use crate::store::{Result, Store};

/// The name of a temporary file.
pub type Number = u64;

/// A chunk, whole, its digest found to be that of its name.
pub struct StagedChunk {
    pub number: Number,
    pub digest: ChunkDigest,
    pub bytes: u64,
}

/// A file of one line, the digest.
pub struct StagedAlias {
    pub number: Number,
    pub alias: Uuid,
    pub digest: ChunkDigest,
}

/// A transaction that is well-formed in itself.
pub struct StagedTransaction {
    pub number: Number,
    pub id: TransactionId,
    pub parent: TransactionId,
    pub seq: u64,
    pub bytes: u32,
    /// All its chunks are among those that came with the bundle not long before it.
    pub has_chunks: bool,
    /// Its parent did not come with the bundle.
    pub is_outside: bool,
    /// It is on the chain, as HEAD was looked at last.
    pub on_chain: bool,
}

/// Everything that has no name yet. Dropped, it is removed.
pub struct Staging {
    disk: Arc<dyn Disk>,
    folder: Folder,
    pub chunks: Vec<StagedChunk>,
    pub aliases: Vec<StagedAlias>,
    pub transactions: Vec<StagedTransaction>,
}

impl Staging {
    pub fn new(disk: Arc<dyn Disk>, folder: Folder) -> Self {
        Self {
            disk,
            folder,
            chunks: Vec::new(),
            aliases: Vec::new(),
            transactions: Vec::new(),
        }
    }

    /// Where a temporary file is.
    pub fn place(&self, number: Number) -> Place {
        self.folder.temporary(number)
    }

    /// Removes a temporary file that has not got a name.
    pub fn remove(&self, number: Number) {
        // One that has got its name is not there any more.
        if let Err(error) = self.disk.remove_file(&self.place(number))
            && !error.is_absent()
        {
            log::debug!("a temporary file stays until it is a day old: {error}");
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let chunks = self.chunks.iter().map(|staged| staged.number);
        let aliases = self.aliases.iter().map(|staged| staged.number);
        let transactions = self.transactions.iter().map(|staged| staged.number);
        for number in chunks.chain(aliases).chain(transactions) {
            self.remove(number);
        }
    }
}

/// A temporary file being written. Dropped before it is kept, it is removed.
pub struct Writing<'a> {
    staging: &'a Staging,
    number: Number,
    file: Handle,
    kept: bool,
    /// What uploads leave free of the disk.
    min_free: u64,
}

impl<'a> Writing<'a> {
    pub fn start(store: &Store, state: &UserState, staging: &'a Staging) -> Result<Self> {
        store.check_room(0)?;
        let number = store.disk.random();
        let place = staging.place(number);
        let folder = &staging.folder;
        let file = store.in_dir(state, folder, Dir::Tmp, || store.disk.create(&place))?;
        Ok(Self {
            staging,
            number,
            file,
            kept: false,
            min_free: store.options.min_free,
        })
    }

    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        check_room(&*self.staging.disk, self.min_free, bytes.len() as u64)?;
        Ok(self.file.append(bytes)?)
    }

    /// The file is whole: whoever calls this owns it from now on.
    pub fn keep(mut self) -> Number {
        self.kept = true;
        self.number
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.staging.remove(self.number);
        }
    }
}
