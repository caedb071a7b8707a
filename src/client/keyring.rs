//! The keys that a replica has: the present ones, those from before a `rekey`, or none at all where a store is plain.

use super::entry::Said;
use super::envelope::{self, Context, OpenError, TooLong};
use super::keys::Keys;
use crate::model::{ChunkDigest, TransactionId};

/// All keys of a store, or the word that it has none. Seals with the present key, and opens with whichever of them a
/// chunk says.
#[derive(Clone, Debug)]
pub enum Keyring {
    /// Chunks are the bytes as they are.
    Plain,
    /// Chunks are sealed with `current`; `old` ones were before it.
    Sealed { current: Keys, old: Vec<Keys> },
}

impl Keyring {
    /// Makes the chunk of these bytes in their place: [`envelope::seal`], or the bytes themselves where the store is plain.
    ///
    /// # Errors
    /// If they are too long for one chunk.
    pub fn seal(&self, context: &Context<'_>, plaintext: &[u8]) -> Result<Vec<u8>, TooLong> {
        match self {
            Keyring::Plain => Ok(plaintext.to_vec()),
            Keyring::Sealed { current, .. } => envelope::seal(current, context, plaintext),
        }
    }

    /// Reads a chunk in its place: [`envelope::open`] with the key that it says, or the bytes themselves where the
    /// store is plain.
    ///
    /// # Errors
    /// As [`envelope::open`]: [`OpenError::WrongKey`] where none of the keys is the one that the chunk says.
    pub fn open(&self, context: &Context<'_>, chunk: &[u8]) -> Result<Vec<u8>, OpenError> {
        match self {
            Keyring::Plain => Ok(chunk.to_vec()),
            Keyring::Sealed { current, old } => {
                let said = envelope::key_id(chunk)?;
                let keys = old.iter().find(|keys| keys.id() == said);
                envelope::open(keys.unwrap_or(current), context, chunk)
            }
        }
    }

    /// Makes an entry's chunk: [`Said::body`] sealed for where it stands.
    ///
    /// # Errors
    /// If it is too long for one chunk.
    pub fn seal_entry(
        &self,
        parent: TransactionId,
        seq: u64,
        others: &[ChunkDigest],
        said: &Said,
    ) -> Result<Vec<u8>, TooLong> {
        let context = Context::Entry {
            parent,
            seq,
            others,
        };
        match self {
            Keyring::Plain => Ok(said.plain()),
            Keyring::Sealed { .. } => self.seal(&context, &said.body()),
        }
    }

    /// Reads an entry's chunk where it stands.
    ///
    /// # Errors
    /// As [`Keyring::open`], and [`OpenError::Entry`] if it lacks the random bytes.
    pub fn open_entry(
        &self,
        parent: TransactionId,
        seq: u64,
        others: &[ChunkDigest],
        chunk: &[u8],
    ) -> Result<Said, OpenError> {
        let context = Context::Entry {
            parent,
            seq,
            others,
        };
        match self {
            Keyring::Plain => Said::of_plain(chunk),
            Keyring::Sealed { .. } => Said::of_body(&self.open(&context, chunk)?),
        }
    }

    /// Whether chunks are the bytes as they are.
    pub fn is_plain(&self) -> bool {
        matches!(self, Keyring::Plain)
    }
}
