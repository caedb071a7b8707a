//! The chain as an application reads it: each transaction verified and opened as it is reached.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Replica;
use super::known::PendingLine;
use super::say::{digest, entry_of};
use crate::client::app::Entry;
use crate::client::entry::Said;
use crate::client::envelope::Context;
use crate::client::error::{Error, Forgery, Result};
use crate::model::{ChunkDigest, ChunkId, TransactionId, limits};
use crate::store::{FoundTransaction, Listing};

/// Ids that are read from the log at a time.
const LISTED: usize = 1024;

/// The entries after one, oldest first: those of the chain, then those that are pending. Holds a few thousand ids in
/// memory and one entry, however many there are.
pub struct Entries<'a> {
    replica: &'a Replica,
    listing: Option<Listing>,
    ids: VecDeque<TransactionId>,
    pending: VecDeque<TransactionId>,
    /// A line that was pending, whose transactions are not read again.
    known: Option<Arc<PendingLine>>,
    trouble: Option<Error>,
}

impl Replica {
    /// The entries after `from` (the root's id: all), oldest first, then what is pending. It is the chain as it is now:
    /// what comes later is not in it.
    ///
    /// Each is verified and opened as it is reached; the first that cannot be is the last item. [`Error::Busy`] where a
    /// sync in another process replaced what was pending meanwhile; [`Error::UnknownTransaction`] where `from` is not here.
    pub fn entries(&self, from: TransactionId) -> Entries<'_> {
        self.entries_after(from).unwrap_or_else(|trouble| Entries {
            replica: self,
            listing: None,
            ids: VecDeque::new(),
            pending: VecDeque::new(),
            known: None,
            trouble: Some(trouble),
        })
    }

    fn entries_after(&self, from: TransactionId) -> Result<Entries<'_>> {
        // First, so that what is confirmed meanwhile comes once, and as confirmed or pending as it was.
        let mut pending: VecDeque<_> = self.pending()?.ids.iter().copied().collect();
        let user = &self.user;
        let listing = user.mending_log(|| user.listing(from, u64::MAX))?;
        match &listing {
            // A state was taken from there, and the chain is on its way to it.
            None if !pending.contains(&from) && self.is_awaited(from)? => {}
            None if !pending.contains(&from) => return Err(Error::UnknownTransaction(from)),
            None => while pending.pop_front() != Some(from) {},
            Some(_) => {}
        }
        Ok(Entries {
            replica: self,
            listing,
            ids: VecDeque::new(),
            pending,
            known: None,
            trouble: None,
        })
    }

    /// The entries after `from` that are confirmed. Those of this line, which was pending, are not read again.
    pub(super) fn confirmed_after(
        &self,
        from: TransactionId,
        known: Option<Arc<PendingLine>>,
    ) -> Result<Entries<'_>> {
        let user = &self.user;
        let listing = user.mending_log(|| user.listing(from, u64::MAX))?;
        if listing.is_none() && !self.is_awaited(from)? {
            return Err(Error::UnknownTransaction(from));
        }
        Ok(Entries {
            replica: self,
            listing,
            ids: VecDeque::new(),
            pending: VecDeque::new(),
            known,
            trouble: None,
        })
    }

    /// One entry, on the chain or pending, by its id or by one that it had before a rebase; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Forged`], [`Error::WrongKey`], and those of the disk.
    pub fn entry(&self, id: TransactionId) -> Result<Option<Entry>> {
        let mut id = id;
        let renamed = self.user.renamed()?;
        // A later line is what became of the earlier one.
        for (old, new) in &renamed {
            if *old == id && self.find(*old)?.is_none() {
                id = *new;
            }
        }
        let found = self.find(id)?;
        let said = found.map(|found| self.said(found));
        Ok(said.transpose()?.map(|(entry, _)| entry))
    }

    /// The bytes of a chunk that an entry names, opened.
    ///
    /// # Errors
    /// [`Error::MissingChunks`]; [`Error::UnopenedChunk`] and [`Error::WrongKey`] where it is none of ours; those of the disk.
    pub fn read(&self, chunk: &ChunkDigest) -> Result<Vec<u8>> {
        let bytes = self.chunk_whole(chunk)?;
        let bytes = bytes.ok_or_else(|| Error::MissingChunks(vec![ChunkId::Digest(*chunk)]))?;
        let opened = self.keys.open(&Context::Data, &bytes);
        let opened = opened.map_err(|why| Error::unopened_chunk(*chunk, why))?;
        // A sealed chunk tells by itself whether it is what was put.
        if self.keys.is_plain() && digest(&bytes) != *chunk {
            return Err(Error::UnopenedChunk {
                chunk: *chunk,
                why: crate::client::envelope::OpenError::Tag,
            });
        }
        Ok(opened)
    }

    /// All bytes of a chunk as it is stored.
    pub(super) fn chunk_whole(&self, chunk: &ChunkDigest) -> Result<Option<Vec<u8>>> {
        let Some(content) = self.user.chunk(&ChunkId::Digest(*chunk))? else {
            return Ok(None);
        };
        let mut bytes = vec![0; content.bytes as usize];
        let read = content.handle.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }

    /// The entry of a transaction that was found, with its random bytes.
    pub(super) fn said(&self, found: FoundTransaction) -> Result<(Entry, Said)> {
        let FoundTransaction {
            transaction,
            on_chain,
        } = found;
        let id = transaction.id;
        let forged = |what| Error::Forged {
            transaction: id,
            what,
        };
        if transaction.content_id() != Some(id) {
            return Err(forged(Forgery::Id));
        }
        let (parent, seq) = (transaction.parent, transaction.seq);
        let Some(ChunkId::Digest(first)) = transaction.chunks.first().copied() else {
            return Err(forged(Forgery::Missing));
        };
        let entry = entry_of(transaction, Vec::new(), !on_chain);
        let chunk = self.entry_chunk(&first)?;
        // Its transaction is here, so that it was too: the loss is none of the server's doing.
        let missing = || Error::MissingChunks(vec![ChunkId::Digest(first)]);
        let chunk = chunk.ok_or_else(missing)?;
        let said = self.keys.open_entry(parent, seq, &entry.chunks, &chunk);
        let said = said.map_err(|why| Error::unopened(id, why))?;
        let entry = Entry {
            body: said.app.clone(),
            ..entry
        };
        Ok((entry, said))
    }

    /// The bytes of an entry's chunk, unless it is too long for one.
    pub(super) fn entry_chunk(&self, chunk: &ChunkDigest) -> Result<Option<Vec<u8>>> {
        if let Some(held) = self.held(chunk) {
            return Ok(Some(held.to_vec()));
        }
        let content = self.user.chunk(&ChunkId::Digest(*chunk))?;
        match content {
            Some(content) if content.bytes <= limits::HELD_BYTES => self.chunk_whole(chunk),
            _ => Ok(None),
        }
    }
}

impl Entries<'_> {
    /// The next one, found.
    fn next_found(&mut self) -> Result<Option<FoundTransaction>> {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        if self.ids.is_empty()
            && let Some(listing) = &mut self.listing
        {
            self.ids = listing.read(LISTED)?.into();
        }
        if let Some(id) = self.ids.pop_front() {
            let held = self.known.as_ref().and_then(|known| known.held.get(&id));
            let listed = match held {
                Some(transaction) => Some(transaction.clone()),
                None => self.replica.user.listed(id)?,
            };
            return match listed {
                Some(transaction) => Ok(Some(FoundTransaction {
                    transaction,
                    on_chain: true,
                })),
                None => self.there(id).map(Some),
            };
        }
        self.listing = None;
        match self.pending.pop_front() {
            Some(id) => self.there(id).map(Some),
            None => Ok(None),
        }
    }

    /// Finds one. Only what is pending can go, when a rebase puts another line in its place.
    fn there(&self, id: TransactionId) -> Result<FoundTransaction> {
        self.replica.find(id)?.ok_or(Error::Busy)
    }

    /// The next entry, with its random bytes.
    pub(super) fn next_said(&mut self) -> Option<Result<(Entry, Said)>> {
        let found = self.next_found().transpose()?;
        let said = found.and_then(|found| self.replica.said(found));
        if said.is_err() {
            (self.listing, self.trouble) = (None, None);
            self.ids.clear();
            self.pending.clear();
        }
        Some(said)
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let said = self.next_said()?;
        Some(said.map(|(entry, _)| entry))
    }
}
