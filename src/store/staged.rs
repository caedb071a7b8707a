//! Bytes of a chunk on their way in: written, hashed and made durable, before they have a name.

use sha2::{Digest, Sha256};

use super::incoming::Temporary;
use super::publish::Unnamed;
use super::{Error, Result, User};
use crate::disk::{self, Meta, Place, Target};
use crate::model::ChunkDigest;

/// A chunk on its way in: a temporary file and its digest so far. Dropped, it leaves nothing.
pub struct Staged {
    user: User,
    temporary: Temporary,
    hasher: Sha256,
    bytes: u64,
}

/// A chunk that is whole and durable, but has no name yet. Dropped, it leaves nothing.
pub struct Sealed {
    digest: ChunkDigest,
    bytes: u64,
    temporary: Temporary,
}

impl User {
    /// Makes a temporary file for a chunk's bytes, and the user's folder if there is none.
    ///
    /// # Errors
    /// [`Error::UnknownUser`], [`Error::ReadOnly`], [`Error::NoRoom`], and those of the disk.
    pub fn stage(&self) -> Result<Staged> {
        self.state.check_writable()?;
        self.check_room(0)?;
        let temporary = match self.temporary() {
            Err(Error::UserGone) => {
                self.admit()?;
                self.temporary()?
            }
            other => other?,
        };
        // Another process may have made the folder just now.
        if let Some(visit) = self.visit()? {
            self.meet_folder(&visit)?;
        }
        Ok(Staged {
            user: self.clone(),
            temporary,
            hasher: Sha256::new(),
            bytes: 0,
        })
    }
}

impl Staged {
    /// Writes more of the chunk. The caller watches the limit.
    ///
    /// # Errors
    /// [`Error::NoRoom`], and those of the disk.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.user.check_room(bytes.len() as u64)?;
        self.temporary.file.append(bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// The number of bytes that have been written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the bytes of a chunk that is whole durable.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], and those of the sync.
    pub fn seal(self) -> Result<Sealed> {
        self.user.state.check_writable()?;
        self.user.store.disk.sync(&[self.target()])?;
        Ok(self.synced())
    }

    /// The file, to be synced before [`Staged::synced`].
    pub(super) fn target(&self) -> Target {
        Target::File(self.temporary.file.clone())
    }

    /// The SHA-256 of the bytes so far.
    pub(super) fn digest(&self) -> ChunkDigest {
        ChunkDigest::from_bytes(self.hasher.clone().finalize().into())
    }

    /// The chunk once its bytes are durable.
    pub(super) fn synced(self) -> Sealed {
        Sealed {
            digest: ChunkDigest::from_bytes(self.hasher.finalize().into()),
            bytes: self.bytes,
            temporary: self.temporary,
        }
    }
}

impl Sealed {
    /// The SHA-256 of the bytes.
    pub fn digest(&self) -> ChunkDigest {
        self.digest
    }

    /// The number of bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Unnamed for Sealed {
    fn bytes(&self) -> Result<u64> {
        Ok(self.bytes)
    }

    fn give_name(&mut self, to: &Place) -> disk::Result<()> {
        self.temporary.give_name(to)
    }

    fn replace(&mut self, to: &Place) -> disk::Result<()> {
        self.temporary.replace(to)
    }

    fn meta(&self) -> Result<Option<Meta>> {
        self.temporary.meta()
    }
}
