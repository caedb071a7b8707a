//! Names that the chain has for chunks and aliases, told by reading all of it: garbage collection must not take those.

use std::collections::HashSet;

use super::error::damaged;
use super::layout::{Area, Thing};
use super::{Result, User};
use crate::model::{ChunkId, Head, TransactionId};

impl User {
    /// Whether the committed area has this chunk or alias.
    pub fn is_committed(&self, id: &ChunkId) -> Result<bool> {
        let place = self.folder.thing(Area::Committed, &Thing::from(*id));
        Ok(self.store.meta_if_there(&place)?.is_some())
    }

    /// Picks out the chunks and aliases that the chain which ends at `head` names, also by an alias. Takes no
    /// lock: what HEAD reaches never changes.
    ///
    /// Reads each transaction of the chain, from HEAD down, until all are found to be named or the root is met.
    ///
    /// # Errors
    /// [`Error::Damaged`](super::Error::Damaged) where the chain cannot be read down to the root, or nobody knows
    /// for which chunk an alias that it names stood.
    pub fn named_by_chain(
        &self,
        head: Head,
        wanted: &HashSet<ChunkId>,
    ) -> Result<HashSet<ChunkId>> {
        let any_digest = wanted.iter().any(|id| matches!(id, ChunkId::Digest(_)));
        let mut named = HashSet::new();
        let mut note = |id: ChunkId| {
            if wanted.contains(&id) {
                named.insert(id);
            }
            named.len() < wanted.len()
        };
        let mut here = head;
        let mut goes_on = true;
        while here.seq > 0 && goes_on {
            let place = self.folder.transaction(here.id);
            let transaction = self
                .store
                .read_transaction(&place, here.id)?
                .ok_or_else(|| damaged(&place, "the chain needs it, and it is not there"))?;
            if transaction.seq != here.seq {
                let what = format!("its number should be {}", here.seq);
                return Err(damaged(&place, what));
            }
            if here.seq == 1 && transaction.parent != TransactionId::ROOT {
                return Err(damaged(&place, "the chain does not end at the root"));
            }
            for id in transaction.chunks {
                goes_on = note(id);
                if let (true, ChunkId::Alias(alias)) = (any_digest, id) {
                    let digest = self.stands_for(&alias)?.ok_or_else(|| {
                        let place = self.folder.alias(Area::Committed, &alias);
                        damaged(&place, "the chain names it, and it is not there")
                    })?;
                    goes_on = note(ChunkId::Digest(digest));
                }
            }
            here = Head {
                id: transaction.parent,
                seq: here.seq - 1,
            };
        }
        Ok(named)
    }
}
