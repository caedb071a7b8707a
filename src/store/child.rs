//! The transaction that follows another one on the chain, with the one chunk that it is made of.

use super::error::damaged;
use super::{Content, Result, User};
use crate::model::{Head, TransactionId};

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
