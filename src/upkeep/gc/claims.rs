//! Claims of the chain to what gc would take: a committed chunk that went missing and was uploaded again stands
//! in `incoming/` alone, and belongs into the committed area.

use std::collections::HashSet;

use super::mark::{Claim, Mark};
use crate::model::{ChunkId, Head};
use crate::store::{Mistake, Result, User};

impl Mark {
    /// Asks the chain whether it names what would go and the committed area does not have. What it names is
    /// spared, to be put back; where it cannot be read to its start, all that it might name is spared.
    ///
    /// Costs a look for each file that would go, and where there is one that is not committed, one pass over the
    /// chain. No lock is held meanwhile, and none is needed: `head` was read before. What an advance reaches
    /// after that, it links into the committed area under the exclusive lock, before HEAD goes there; the sweep
    /// has that lock when it takes a file. So whatever the chain names and this pass has not seen is in the
    /// committed area by then, and the one in `incoming/` is a second name. A chunk that is lost later than that
    /// and uploaded again is young, which the sweep sees. And what was not asked about, since the committed area had
    /// it, is not taken if it has it no more.
    ///
    /// # Errors
    /// Those of the disk; that the chain cannot be read is not one, but [`Mark::trouble`]. Whether that is since the user went is
    /// seen when the collection has ended.
    pub fn ask_chain(&mut self, user: &User, head: Head) -> Result<()> {
        if user.store().mistakes.made(Mistake::SweptThoughNamed) {
            return Ok(());
        }
        let mut asked: HashSet<ChunkId> = HashSet::new();
        for old in self.old.iter().filter(|old| !old.spared) {
            if !user.is_committed(&old.id)? {
                asked.insert(old.id);
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let named = user.named_by_chain(head, &asked);
        let named = named.map_err(|error| self.trouble = Some(error)).ok();
        for old in self.old.iter_mut().filter(|old| asked.contains(&old.id)) {
            old.claim = match &named {
                None => Claim::Unasked,
                Some(named) if named.contains(&old.id) => Claim::Named,
                Some(_) => Claim::Unnamed,
            };
            old.spared = old.claim != Claim::Unnamed;
        }
        Ok(())
    }

    /// The chunks and aliases that are to be put back.
    pub fn named(&self) -> Vec<ChunkId> {
        let named = (self.old.iter()).filter(|old| old.claim == Claim::Named);
        named.map(|old| old.id).collect()
    }
}
