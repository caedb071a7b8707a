//! Transactions looked for on the chain and among the pending, and read where HEAD reaches them.

use super::error::damaged;
use super::json::Start;
use super::walk::Position;
use super::{Content, Error, Result, User};
use crate::model::{Head, TransactionId};

/// A transaction's place: on the chain, pending, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    OnChain(u64),
    Pending(Start),
    Nowhere,
}

impl Where {
    /// The number of a transaction that is there.
    pub fn seq(self) -> Option<u64> {
        match self {
            Where::OnChain(seq) => Some(seq),
            Where::Pending(start) => Some(start.seq),
            Where::Nowhere => None,
        }
    }
}

impl User {
    /// The JSON of a transaction on the chain (never the root's), newline included; else `None`.
    pub fn transaction(&self, id: TransactionId) -> Result<Option<Content>> {
        let Some(head) = self.vouched_head()? else {
            return self.unless_denied();
        };
        let place = self.folder.transaction(id);
        let Some((handle, start)) = self.store.open_transaction(&place, id)? else {
            return Ok(None);
        };
        match self.position_at(head, id, start.seq)? {
            Position::OnChain(_) => {
                let bytes = handle.opened()?.bytes;
                Ok(Some(Content { handle, bytes }))
            }
            Position::OffChain => Ok(None),
            Position::LogIsWrong => Err(Error::LogIsWrong),
        }
    }

    /// Looks for a transaction on the chain only.
    pub(super) fn locate_on_chain(&self, head: Head, id: TransactionId) -> Result<Where> {
        match self.position(head, id)? {
            Position::OnChain(seq) => Ok(Where::OnChain(seq)),
            Position::LogIsWrong => Err(Error::LogIsWrong),
            Position::OffChain => Ok(Where::Nowhere),
        }
    }

    /// Looks for a transaction on the chain, and then among the pending.
    pub(super) fn locate(&self, head: Head, id: TransactionId) -> Result<Where> {
        if let Where::OnChain(seq) = self.locate_on_chain(head, id)? {
            return Ok(Where::OnChain(seq));
        }
        Ok(match self.store.start_of(&self.folder.pending(id), id)? {
            Some(start) => Where::Pending(start),
            None => Where::Nowhere,
        })
    }

    /// Where the parent stands in the count; `None` where it is not there.
    pub(super) fn parent_seq(&self, head: Head, parent: TransactionId) -> Result<Option<u64>> {
        Ok(self.locate(head, parent)?.seq())
    }

    /// Takes a wrong `log` for damage: under a lock nobody can rebuild it, and it was right before.
    pub(super) fn log_was_mended<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| match error {
            Error::LogIsWrong => damaged(&self.folder.log(), "it does not tell the chain"),
            other => other,
        })
    }
}
