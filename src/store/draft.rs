//! Drafts: proposed transactions, written and durable before the lock is taken.

use super::incoming::Temporary;
use super::json;
use super::{Error, Proposal, Result, User};
use crate::disk::Target;
use crate::model::{Transaction, TransactionId};

/// A proposed transaction, written and durable, but without a name. Dropped, it leaves nothing.
pub struct Draft {
    pub(super) proposal: Proposal,
    /// The number and the file; none where the parent was not there.
    pub(super) written: Option<(u64, Temporary)>,
}

impl User {
    /// Writes a proposed transaction to a temporary file, durably. Makes the user's folder if there
    /// is none.
    ///
    /// # Errors
    /// [`Error::LogIsWrong`]: it is to be mended before somebody needs it under the shared lock.
    pub fn draft(&self, proposal: Proposal) -> Result<Draft> {
        let parent_seq = self.parent_now(proposal.parent)?;
        self.draft_after(proposal, parent_seq)
    }

    /// Writes a proposed transaction as [`User::draft`] does, where [`User::parent_now`] has just returned the number
    /// of its parent.
    pub fn draft_after(&self, proposal: Proposal, parent_seq: Option<u64>) -> Result<Draft> {
        self.state.check_writable()?;
        let Some(seq) = parent_seq else {
            return Ok(Draft {
                proposal,
                written: None,
            });
        };
        self.check_room(0)?;
        let temporary = self.write_transaction(&proposal, seq + 1)?;
        Ok(Draft {
            proposal,
            written: Some((seq + 1, temporary)),
        })
    }

    /// Where a parent stands in the count, on the chain or pending; `None` where it is not there.
    /// Makes the user's folder if there is none.
    ///
    /// # Errors
    /// [`Error::LogIsWrong`]
    pub fn parent_now(&self, parent: TransactionId) -> Result<Option<u64>> {
        self.state.check_writable()?;
        let head = match self.vouched_head()? {
            Some(head) => head,
            None => {
                self.admit()?;
                self.vouched_head()?.ok_or(Error::UserGone)?
            }
        };
        let seq = self.parent_seq(head, parent)?;
        if seq.is_none() {
            // Perhaps it was pending at the first look, and HEAD reached it before the second.
            let head = self.vouched_head()?.ok_or(Error::UserGone)?;
            return self.parent_seq(head, parent);
        }
        Ok(seq)
    }

    fn write_transaction(&self, proposal: &Proposal, seq: u64) -> Result<Temporary> {
        let temporary = self.temporary()?;
        temporary.file.append(&json::encode(&Transaction {
            id: proposal.id,
            seq,
            parent: proposal.parent,
            chunks: proposal.chunks.clone(),
        }))?;
        self.store
            .disk
            .sync(&[Target::File(temporary.file.clone())])?;
        Ok(temporary)
    }
}
