//! An import: what was lost when a server forked is said again, from the old replica, by the same rebase.

use std::collections::HashSet;

use super::Replica;
use crate::client::app::{App, Entry, Rebase};
use crate::client::entry::Said;
use crate::client::error::{Error, Result};
use crate::model::{ChunkDigest, ChunkId, Head, TransactionId};

/// The outcome of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Entries that are said again, and pending now.
    pub said: u64,
    /// Entries that were said here already.
    pub there: u64,
    /// Entries that the application had no use for.
    pub dropped: u64,
}

impl Replica {
    /// Imports, after what is here, all that an older replica of the same store has and this one has not, pending or
    /// confirmed. The application decides on each, as in a rebase. Run again after a break it goes on: what has been said
    /// is known by its random bytes.
    ///
    /// # Errors
    /// [`Error::App`], those of reading the old replica and of a commit. What was said by then is pending.
    pub fn import<A: App>(&self, old: &Replica, app: &mut A) -> Result<Imported> {
        let _lock = self.sync_lock()?;
        self.show(app, self.head()?, None)?;
        let common = self.newest_of(old)?;
        let mut here = HashSet::new();
        let mut ours = self.entries(common);
        while let Some(said) = ours.next_said() {
            here.insert(*said?.1.nonce.as_bytes());
        }
        let mut imported = Imported::default();
        let mut theirs = old.entries(common);
        while let Some(said) = theirs.next_said() {
            let (entry, said) = said?;
            match here.contains(said.nonce.as_bytes()) {
                true => imported.there += 1,
                false => match self.import_one(old, app, entry, said)? {
                    true => imported.said += 1,
                    false => imported.dropped += 1,
                },
            }
        }
        Ok(imported)
    }

    /// One entry of another replica is said here; `false` where the application has no use for it.
    fn import_one<A: App>(
        &self,
        old: &Replica,
        app: &mut A,
        entry: Entry,
        said: Said,
    ) -> Result<bool> {
        let mut chunks = Vec::with_capacity(entry.chunks.len());
        for chunk in &entry.chunks {
            chunks.push(self.import_chunk(old, chunk)?);
        }
        let entry = Entry { chunks, ..entry };
        let (body, chunks) = match app.rebase(&entry).map_err(Error::app)? {
            Rebase::Keep => (entry.body, entry.chunks),
            Rebase::Replace(body, chunks) => (body, chunks),
            Rebase::Drop => return Ok(false),
        };
        let said = Said {
            nonce: said.nonce,
            app: body,
        };
        let entry = self.say(said, &chunks)?;
        app.apply(&entry).map_err(Error::app)?;
        Ok(true)
    }

    /// Puts a chunk of another replica here; under the same keys it has the same name.
    fn import_chunk(&self, old: &Replica, chunk: &ChunkDigest) -> Result<ChunkDigest> {
        if self.has_chunk(&ChunkId::Digest(*chunk))? {
            return Ok(*chunk);
        }
        let bytes = old.read(chunk)?;
        match self.put(bytes.as_slice())?.as_slice() {
            [new] => Ok(*new),
            _ => Err(Error::MissingChunks(vec![ChunkId::Digest(*chunk)])),
        }
    }

    /// The newest transaction that the old replica's chain and ours have in common.
    fn newest_of(&self, old: &Replica) -> Result<TransactionId> {
        let head = old.head()?;
        let is_here = |id| -> Result<bool> {
            Ok(id == TransactionId::ROOT || self.find(id)?.is_some_and(|found| found.on_chain))
        };
        if is_here(head.id)? {
            return Ok(head.id);
        }
        let (mut common, mut other) = (Head::ROOT, head);
        while other.seq - common.seq > 1 {
            let middle = old.numbered(head, common.seq + (other.seq - common.seq) / 2)?;
            match is_here(middle.id)? {
                true => common = middle,
                false => other = middle,
            }
        }
        Ok(common.id)
    }
}
