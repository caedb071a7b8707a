//! The chain for those who read it one chunk at a time: what follows a transaction, and where to start.

use std::time::SystemTime;

use super::error::damaged;
use super::{Content, Result, User};
use crate::model::{ChunkId, Head, TransactionId};

/// The transaction that follows another one.
pub enum Child {
    /// A transaction of one chunk, and the chunk.
    Chunk(TransactionId, Content),
    /// No transaction, yet: the other one is HEAD, or the chain is empty.
    NotYet,
    /// The other one is not on the chain, or a transaction follows that is not of one chunk.
    Gone,
}

impl User {
    /// Whether the user has a folder.
    ///
    /// # Errors
    /// [`Error::UnknownUser`](super::Error::UnknownUser) where there is none, and new users are not admitted.
    pub fn is_known(&self) -> Result<bool> {
        match self.has_folder()? {
            true => Ok(true),
            false => self.unless_denied::<()>().map(|_| false),
        }
    }

    /// The bytes of the checkpoint, where it is of one chunk, and its transaction.
    ///
    /// # Errors
    /// Those of [`User::checkpoint`]; [`Error::Damaged`](super::Error::Damaged) where the chunk is not there.
    pub fn snapshot(&self) -> Result<Option<(TransactionId, Content)>> {
        let Some(checkpoint) = self.checkpoint()? else {
            return Ok(None);
        };
        let [digest] = checkpoint.chunks[..] else {
            return Ok(None);
        };
        match self.chunk(&ChunkId::Digest(digest))? {
            Some(content) => Ok(Some((checkpoint.transaction, content))),
            None => {
                let what = format!("it names the chunk {digest}, which is not there");
                Err(damaged(&self.folder.checkpoint(), what))
            }
        }
    }

    /// The time at which the checkpoint was put; `None` where there is none.
    pub fn checkpoint_time(&self) -> Result<Option<SystemTime>> {
        let there = self.store.meta_if_there(&self.folder.checkpoint())?;
        Ok(there.map(|meta| meta.modified))
    }

    /// Looks for the transaction that follows this one. Costs no more with a longer chain.
    ///
    /// # Errors
    /// [`Error::Damaged`](super::Error::Damaged) where the chunk is not there;
    /// [`Error::LogIsWrong`](super::Error::LogIsWrong), as of all reads of the chain.
    pub fn child(&self, parent: TransactionId) -> Result<Child> {
        let head = match self.vouched_head()? {
            Some(head) => head,
            None => self.unless_denied()?.unwrap_or(Head::ROOT),
        };
        if head == Head::ROOT || head.id == parent {
            return Ok(Child::NotYet);
        }
        let Some(mut listing) = self.listing(parent, 1)? else {
            return Ok(Child::Gone);
        };
        // Only a user who was deleted meanwhile has none.
        let Some(&id) = listing.read(1)?.first() else {
            return Ok(Child::NotYet);
        };
        let place = self.folder.transaction(id);
        let there = self.store.read_transaction(&place, id)?;
        let there = there.ok_or_else(|| damaged(&place, "on the chain, and it is not there"))?;
        let [chunk] = there.chunks[..] else {
            return Ok(Child::Gone);
        };
        match self.chunk(&chunk)? {
            Some(content) => Ok(Child::Chunk(id, content)),
            None => {
                let what = format!("it names the chunk {chunk}, which is not there");
                Err(damaged(&place, what))
            }
        }
    }
}
