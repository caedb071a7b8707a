//! Files that a device's own store has in `incoming/` and in `checkpoint/`, and nothing needs any more: killed commands put them. A
//! server's `gc` waits for a grace period, since others may be about to name it; here, whoever is about to holds a lock.

use std::collections::HashSet;

use super::layout::Dir;
use super::lock::Exclusive;
use super::{Result, User};
use crate::disk::Kind;
use crate::model::{ChunkDigest, ChunkId, TransactionId};

/// The items that are to stay of a device's `incoming/`.
#[derive(Clone, Debug, Default)]
pub struct NeededItems {
    /// The transactions that are pending.
    pub transactions: HashSet<TransactionId>,
    /// The chunks that these name, and those of a checkpoint.
    pub chunks: HashSet<ChunkId>,
}

/// The items that are not needed of a device's `incoming/` and `checkpoint/`, as it was seen.
#[derive(Clone, Debug, Default)]
pub struct UnneededItems {
    transactions: Vec<TransactionId>,
    chunks: Vec<ChunkId>,
    /// Second names of what is committed.
    leftovers: Vec<ChunkId>,
    checkpoint: Vec<ChunkDigest>,
    /// Names in `incoming/tmp` of folders that bundles were unpacked into.
    folders: Vec<String>,
}

impl UnneededItems {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        let Self {
            transactions,
            chunks,
            leftovers,
            checkpoint,
            folders,
        } = self;
        transactions.is_empty()
            && chunks.is_empty()
            && leftovers.is_empty()
            && checkpoint.is_empty()
            && folders.is_empty()
    }
}

impl User {
    /// Finds what stands in `incoming/` and `checkpoint/` beside what is needed and what the chain names. Takes no lock: what it
    /// finds is to be looked at again.
    ///
    /// Costs a look at each file there; where one of them is nobody's, a pass over the chain.
    ///
    /// # Errors
    /// Those of the disk; [`Error::Damaged`](super::Error::Damaged) where the chain cannot be read, so that nobody knows what it
    /// names.
    pub fn unneeded(&self, needed: &NeededItems) -> Result<UnneededItems> {
        let mut found = UnneededItems {
            transactions: self.store.list_pending(&self.folder)?,
            ..UnneededItems::default()
        };
        (found.transactions).retain(|id| !needed.transactions.contains(id));
        if self.local()?.is_none() && !found.transactions.is_empty() {
            // Nobody knows the tip of what is pending: it may be any of them.
            found.transactions.clear();
            return Ok(found);
        }
        self.incoming_chunks(|file| {
            match file.leftover {
                true => found.leftovers.push(file.id),
                false if !file.was_lost && !needed.chunks.contains(&file.id) => {
                    found.chunks.push(file.id);
                }
                false => {}
            }
            Ok(())
        })?;
        self.spare_named(&mut found.chunks)?;
        let named = self.named_by_checkpoint()?;
        self.checkpoint_chunks(|file| {
            if !named.contains(&file.digest) {
                found.checkpoint.push(file.digest);
            }
            Ok(())
        })?;
        let tmp = self.folder.dir(Dir::Tmp);
        found.folders = self.store.names(&tmp, Kind::Directory)?;
        Ok(found)
    }

    /// Leaves out what the chain names and the committed area has lost: this is the only one.
    fn spare_named(&self, chunks: &mut Vec<ChunkId>) -> Result<()> {
        let mut asked = HashSet::new();
        for chunk in chunks.iter() {
            if !self.is_committed(chunk)? {
                asked.insert(*chunk);
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        let named = self.named_by_chain(self.head()?, &asked)?;
        chunks.retain(|chunk| !named.contains(chunk));
        Ok(())
    }
}

impl Exclusive {
    /// Takes away what was found, but for what is needed by now. What stays on an error is garbage as before.
    ///
    /// To be called where nobody else is unpacking a bundle, or about to name what was put.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn drop_unneeded(&self, found: &UnneededItems, needed: &NeededItems) -> Result<()> {
        let mut transactions = found.transactions.clone();
        transactions.retain(|id| !needed.transactions.contains(id));
        if !transactions.is_empty() {
            self.drop_replaced(&transactions, &[])?;
        }
        for chunk in &found.chunks {
            if !needed.chunks.contains(chunk) {
                self.sweep_chunk(chunk, true, |_| true)?;
            }
        }
        self.sweep_leftovers(&found.leftovers)?;
        self.sweep_checkpoint(&found.checkpoint, |_| true)?;
        for name in &found.folders {
            self.store
                .remove_tree(&self.folder.dir(Dir::Tmp).join(name))?;
        }
        Ok(())
    }
}
