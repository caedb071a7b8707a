//! Where a replica stands: what the server confirmed, and what is pending after it.

use super::Replica;
use crate::client::error::{Error, Result};
use crate::model::{ChunkId, Head, TransactionId, limits};
use crate::store::{self, FoundTransaction};

/// Where a replica stands, as far as it knows without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The newest transaction that the server confirmed.
    pub base: Head,
    /// The newest of all, which we would like HEAD to be.
    pub tip: Head,
    /// The transactions that are not confirmed.
    pub pending: usize,
    /// The bytes of their chunks, each counted where it is named.
    pub bytes: u64,
}

/// The transactions that are pending: one line, which begins after a confirmed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PendingLine {
    /// The confirmed transaction that the line follows. It is HEAD, unless others came first.
    pub base: Head,
    /// Oldest first.
    pub ids: Vec<TransactionId>,
    pub tip: Head,
}

impl Replica {
    /// Where the replica stands. Asks nobody. Costs a look at all that is pending.
    ///
    /// # Errors
    /// [`Error::Damaged`], and those of the disk.
    pub fn status(&self) -> Result<Status> {
        let line = self.pending()?;
        let mut bytes = 0;
        for id in &line.ids {
            for chunk in self.found(*id)?.transaction.chunks {
                bytes += self.user.chunk(&chunk)?.map_or(0, |found| found.bytes);
            }
        }
        Ok(Status {
            base: self.user.head()?,
            tip: line.tip,
            pending: line.ids.len(),
            bytes,
        })
    }

    /// The newest transaction that the server confirmed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn head(&self) -> Result<Head> {
        Ok(self.user.head()?)
    }

    /// The newest transaction of all, pending or not: what is said next follows it.
    pub(super) fn tip(&self) -> Result<Head> {
        self.while_it_stands(|local| {
            if local == TransactionId::ROOT {
                return self.head();
            }
            let found = self.found(local)?;
            match found.on_chain {
                true => self.head(),
                false => Ok(Head {
                    id: local,
                    seq: found.transaction.seq,
                }),
            }
        })
    }

    /// All that is pending: from the tip down to what the server confirmed, whichever of it that is.
    pub(super) fn pending(&self) -> Result<PendingLine> {
        self.pending_above(|found| found.on_chain)
    }

    /// All of ours from the tip down to the first of which this is so.
    pub(super) fn pending_above(
        &self,
        is_base: impl Fn(&FoundTransaction) -> bool,
    ) -> Result<PendingLine> {
        self.while_it_stands(|local| {
            let (mut ids, mut tip, mut at) = (Vec::new(), None, local);
            let base = loop {
                if at == TransactionId::ROOT {
                    break Head::ROOT;
                }
                let found = self.found(at)?;
                let here = Head {
                    id: at,
                    seq: found.transaction.seq,
                };
                if is_base(&found) {
                    break here;
                }
                tip.get_or_insert(here);
                ids.push(at);
                at = found.transaction.parent;
            };
            ids.reverse();
            let (base, tip) = match tip {
                Some(tip) => (base, tip),
                None => (self.head()?, self.head()?),
            };
            Ok(PendingLine { base, ids, tip })
        })
    }

    /// Looks at what is pending, from the tip on, and looks anew where a rebase in another process has just put another line
    /// in its place.
    fn while_it_stands<T>(&self, look: impl Fn(TransactionId) -> Result<T>) -> Result<T> {
        for _ in 0..limits::LOOKS {
            let local = self.user.local()?;
            let looked = look(local.unwrap_or(TransactionId::ROOT));
            if !matches!(looked, Err(Error::Damaged(_))) || self.user.local()? == local {
                return looked;
            }
        }
        Err(Error::Busy)
    }

    /// A transaction on the chain or among the pending ones.
    pub(super) fn find(&self, id: TransactionId) -> Result<Option<FoundTransaction>> {
        let user = &self.user;
        Ok(user.mending_log(|| user.find_transaction(id))?)
    }

    /// A transaction that must be there.
    pub(super) fn found(&self, id: TransactionId) -> Result<FoundTransaction> {
        let found = self.find(id)?;
        found.ok_or_else(|| self.lost(id))
    }

    /// The id of the confirmed transaction with this number.
    pub(super) fn numbered(&self, head: Head, seq: u64) -> Result<Head> {
        let user = &self.user;
        Ok(user.mending_log(|| user.at(head, seq))?)
    }

    /// Whether a chunk is here.
    pub(super) fn has_chunk(&self, id: &ChunkId) -> Result<bool> {
        Ok(self.user.chunk(id)?.is_some())
    }

    /// A pending transaction that is not there.
    fn lost(&self, id: TransactionId) -> Error {
        Error::Damaged(store::Error::Damaged {
            place: self.user.folder.pending(id),
            what: "what is pending needs it, and it is not there".to_owned(),
        })
    }
}
