//! An entry is said, offline: chunks are put, and a transaction that names them follows the tip.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::Replica;
use super::slip::Slip;
use super::tar::{BundleFile, Tar};
use crate::client::app::Entry;
use crate::client::entry::{Nonce, Said};
use crate::client::envelope::Context;
use crate::client::error::{Error, Result};
use crate::model::{ChunkDigest, ChunkId, Head, Transaction, TransactionId, limits};
use crate::store::{self, Exclusive, Proposal, PushBundle, PutChunk, PutTransaction, Shared};

impl Replica {
    /// Puts bytes beside, for an entry to name: in chunks of one MiB, sealed. All are durable when it returns. The same bytes
    /// are the same chunks, and take no more room; none are no chunk.
    ///
    /// They stay for as long as this replica is open. What no commit has named by then goes with a later sync.
    ///
    /// Costs a few MiB of memory, however many bytes there are, and one sync for all.
    ///
    /// # Errors
    /// [`Error::Io`] where the bytes cannot be read, and those of the disk. Nothing is lost then, and what was put is taken back.
    pub fn put(&self, bytes: impl Read) -> Result<Vec<ChunkDigest>> {
        self.putting()?;
        let mut chunks = Vec::new();
        let put = self.put_chunks(bytes, &mut chunks);
        self.were_put(&chunks);
        if put.is_err() || chunks.is_empty() {
            self.take_back_these(&chunks);
        }
        put.map(|()| chunks)
    }

    fn put_chunks(&self, mut bytes: impl Read, chunks: &mut Vec<ChunkDigest>) -> Result<()> {
        let mut next = || -> Result<Option<BundleFile<'_>>> {
            let mut slice = Vec::new();
            let limit = limits::SLICE_BYTES as u64;
            (&mut bytes).take(limit).read_to_end(&mut slice)?;
            if slice.is_empty() {
                return Ok(None);
            }
            if let Some(progress) = &self.progress {
                progress.put(slice.len() as u64);
            }
            let chunk = self.seal(&Context::Data, &slice)?;
            let id = digest(&chunk);
            chunks.push(id);
            Ok(Some(BundleFile::whole_chunk(id, chunk)))
        };
        let first = next()?;
        if first.is_none() {
            return Ok(());
        }
        let mut first = first;
        let mut tar = Tar::of(|| match first.take() {
            Some(file) => Ok(Some(file)),
            None => next(),
        });
        let (outcome, _) = self.user.push_bundle(&mut tar)?;
        if let Some(trouble) = tar.trouble {
            return Err(trouble);
        }
        match outcome {
            PushBundle::Taken { .. } => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Commits an entry: a transaction after the tip, with these chunks, which are here. Durable when it returns; no network is
    /// needed. Any process and thread may, at any time.
    ///
    /// # Errors
    /// [`Error::TooLong`] for an entry of more than [`ENTRY_BYTES`](limits::ENTRY_BYTES) or of too many chunks,
    /// [`Error::MissingChunks`], and those of the disk. Nothing is said then; but if the very last sync fails, nobody knows.
    pub fn commit(&self, entry: &[u8], chunks: &[ChunkDigest]) -> Result<Entry> {
        let said = Said {
            nonce: self.new_nonce(),
            app: entry.to_vec(),
        };
        self.say(said, chunks)
    }

    /// An entry is said after the tip, whichever that is in the end.
    pub(super) fn say(&self, said: Said, chunks: &[ChunkDigest]) -> Result<Entry> {
        loop {
            let tip = self.tip()?;
            if self.slips.made(Slip::LocalBeforeChunks) {
                let (_, transaction) = self.transaction_after(tip, &said, chunks)?;
                self.exclusive()?.set_local(transaction.id)?;
            }
            let (chunk, new) = self.transaction_after(tip, &said, chunks)?;
            let mut staged = self.user.stage()?;
            staged.write(&chunk)?;
            let lock = self.exclusive()?;
            let looks = !self.slips.made(Slip::CommitWithoutLook)
                && !self.slips.made(Slip::LocalBeforeChunks);
            if looks && self.tip()? != tip {
                // Somebody else was quicker.
                continue;
            }
            let missing = lock.say(staged, &new)?;
            return match missing.is_empty() {
                true => {
                    self.are_named(chunks);
                    Ok(entry_of(new, said.app, true))
                }
                false => Err(Error::MissingChunks(missing)),
            };
        }
    }

    /// Writes what is said as a transaction after this one: durable when it returns, and nothing reaches it yet.
    pub(super) fn write_after(
        &self,
        parent: Head,
        said: &Said,
        others: &[ChunkDigest],
    ) -> Result<Transaction> {
        let (entry, transaction) = self.transaction_after(parent, said, others)?;
        let mut staged = self.user.stage()?;
        staged.write(&entry)?;
        let sealed = staged.seal()?;
        let id = ChunkId::Digest(sealed.digest());
        match self.shared()?.put_chunk(sealed, &id)? {
            PutChunk::Stored => {}
            other => return Err(broken(format!("a chunk is answered {other:?}"))),
        }
        let proposal = Proposal {
            id: transaction.id,
            parent: transaction.parent,
            chunks: transaction.chunks.clone(),
            seq: Some(transaction.seq),
        };
        let user = &self.user;
        let draft = user.mending_log(|| user.draft(proposal.clone()))?;
        match self.shared()?.put_transaction(draft)? {
            PutTransaction::Accepted => {
                self.are_named(others);
                Ok(transaction)
            }
            PutTransaction::MissingChunks(missing) => Err(Error::MissingChunks(missing)),
            // A rebase has just replaced it.
            PutTransaction::UnknownParent => Err(Error::Busy),
            other => Err(broken(format!("a transaction is answered {other:?}"))),
        }
    }

    /// The entry's chunk, and the transaction that names it.
    fn transaction_after(
        &self,
        parent: Head,
        said: &Said,
        others: &[ChunkDigest],
    ) -> Result<(Vec<u8>, Transaction)> {
        let too_long = |bytes: usize, limit: usize| {
            let (bytes, limit) = (bytes as u64, limit as u64);
            Error::TooLong { bytes, limit }
        };
        if said.app.len() > limits::ENTRY_BYTES {
            return Err(too_long(said.app.len(), limits::ENTRY_BYTES));
        }
        if others.len() >= limits::TRANSACTION_CHUNKS {
            return Err(too_long(others.len(), limits::TRANSACTION_CHUNKS - 1));
        }
        let seq = parent.seq + 1;
        let entry = self.keys.seal_entry(parent.id, seq, others, said);
        let entry = entry.map_err(|long| too_long(long.length, limits::ENTRY_BYTES))?;
        let mut chunks = vec![digest(&entry)];
        chunks.extend_from_slice(others);
        let id = TransactionId::of_content(parent.id, seq, chunks.iter());
        let transaction = Transaction {
            id,
            seq,
            parent: parent.id,
            chunks: chunks.into_iter().map(ChunkId::Digest).collect(),
        };
        Ok((entry, transaction))
    }

    /// New random bytes for a new entry.
    pub(super) fn new_nonce(&self) -> Nonce {
        let mut bytes = [0; 16];
        if !self.slips.made(Slip::NoNonce) {
            let disk = self.user.store().disk();
            bytes[..8].copy_from_slice(&disk.random().to_be_bytes());
            bytes[8..].copy_from_slice(&disk.random().to_be_bytes());
        }
        Nonce::from_bytes(bytes)
    }

    /// The chunk of these bytes.
    pub(super) fn seal(&self, context: &Context<'_>, bytes: &[u8]) -> Result<Vec<u8>> {
        let sealed = self.keys.seal(context, bytes);
        sealed.map_err(|long| Error::TooLong {
            bytes: long.length as u64,
            limit: u32::MAX.into(),
        })
    }

    pub(super) fn shared(&self) -> Result<Shared> {
        let lock = self.user.shared_blocking()?;
        lock.ok_or_else(|| store::Error::UserGone.into())
    }

    pub(super) fn exclusive(&self) -> Result<Exclusive> {
        let lock = self.user.exclusive_blocking()?;
        lock.ok_or_else(|| store::Error::UserGone.into())
    }
}

/// The name of a chunk.
pub(super) fn digest(chunk: &[u8]) -> ChunkDigest {
    ChunkDigest::from_bytes(Sha256::digest(chunk).into())
}

/// A transaction whose entry says this.
pub(super) fn entry_of(transaction: Transaction, body: Vec<u8>, pending: bool) -> Entry {
    let digests = transaction.chunks.iter().filter_map(|chunk| match chunk {
        ChunkId::Digest(digest) => Some(*digest),
        ChunkId::Alias(_) => None,
    });
    Entry {
        id: transaction.id,
        seq: transaction.seq,
        parent: transaction.parent,
        body,
        chunks: digests.skip(1).collect(),
        pending,
    }
}

/// The own store refuses what it cannot refuse to who made it.
pub(super) fn unexpected(outcome: PushBundle) -> Error {
    match outcome {
        PushBundle::Cut(error) => error.into(),
        other => broken(format!("a bundle is answered {other:?}")),
    }
}

pub(super) fn broken(what: String) -> Error {
    Error::Io(io::Error::other(what))
}
