//! Where a replica stands: what the server confirmed, and what is pending after it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use super::Replica;
use super::known::{KnownLine, PendingLine};
use crate::client::error::{Error, Result};
use crate::model::{ChunkId, Head, Transaction, TransactionId, limits};
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
    /// When the server was last heard: by whichever verb that asked it and went well.
    pub heard: Option<SystemTime>,
}

impl Replica {
    /// Where the replica stands. Asks nobody. Costs a look at all that is pending.
    ///
    /// # Errors
    /// [`Error::Damaged`], and those of the disk.
    pub fn status(&self) -> Result<Status> {
        let line = self.pending()?;
        let mut bytes = 0;
        for ids in line.ids.chunks(8 * limits::WEIGHED_ALONE) {
            let mut digests = Vec::new();
            for id in ids {
                for chunk in self.in_line(&line, *id)?.chunks {
                    match chunk {
                        ChunkId::Digest(digest) => digests.push(digest),
                        ChunkId::Alias(_) => {
                            let found = self.user.chunk(&chunk)?;
                            bytes += found.map_or(0, |found| found.bytes);
                        }
                    }
                }
            }
            bytes += self
                .all_weighed(&digests)?
                .into_iter()
                .flatten()
                .sum::<u64>();
        }
        Ok(Status {
            base: self.user.head()?,
            tip: line.tip,
            pending: line.ids.len(),
            bytes,
            heard: self.last_heard()?,
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

    /// All that is pending: from the tip down to what the server confirmed, whichever of it that is. Costs a look at each,
    /// once: as long as `local` and HEAD are what they were, the line is too.
    pub(super) fn pending(&self) -> Result<Arc<PendingLine>> {
        let local = self.user.local()?.unwrap_or(TransactionId::ROOT);
        let head = self.head()?.id;
        let known = || self.walked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(walked) = &*known()
            && (walked.local, walked.head) == (local, head)
        {
            return Ok(walked.line.clone());
        }
        let line = Arc::new(self.pending_above(|found| found.on_chain)?);
        let is_local = line.ids.last() == Some(&local);
        *known() = is_local.then(|| KnownLine {
            local,
            head,
            line: line.clone(),
        });
        Ok(line)
    }

    /// A transaction of what is pending: as it was found, or else read again.
    pub(super) fn in_line(&self, line: &PendingLine, id: TransactionId) -> Result<Transaction> {
        match line.held.get(&id) {
            Some(transaction) => Ok(transaction.clone()),
            None => Ok(self.found(id)?.transaction),
        }
    }

    /// All of ours from the tip down to the first of which this is so.
    pub(super) fn pending_above(
        &self,
        is_base: impl Fn(&FoundTransaction) -> bool,
    ) -> Result<PendingLine> {
        self.while_it_stands(|local| {
            let head = self.head()?;
            let (mut ids, mut tip, mut at) = (Vec::new(), None, local);
            let (mut held, mut names) = (HashMap::new(), 0);
            let base = loop {
                if at == TransactionId::ROOT {
                    break Head::ROOT;
                }
                let found = self.found_on_line(head, at)?;
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
                names += 1 + found.transaction.chunks.len();
                if names <= limits::HELD_NAMES {
                    held.insert(here.id, found.transaction);
                }
            };
            ids.reverse();
            let (base, tip) = match tip {
                Some(tip) => (base, tip),
                None => (self.head()?, self.head()?),
            };
            Ok(PendingLine {
                base,
                ids,
                tip,
                held,
            })
        })
    }

    /// A transaction that is pending, most likely: so it is where HEAD, as it was before, has not come to its number.
    fn found_on_line(&self, head: Head, id: TransactionId) -> Result<FoundTransaction> {
        match self.user.find_pending(id)? {
            Some(transaction) if transaction.seq > head.seq => Ok(FoundTransaction {
                transaction,
                on_chain: false,
            }),
            _ => self.found(id),
        }
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
