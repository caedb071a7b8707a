//! The server's checkpoint, taken by a device before the chain is here, so that an application starts at once.
//!
//! Its chunks are put, durably, and opened in their place; then the file `checkpoint` beside the store names them. When HEAD reaches
//! its transaction, the chain confirms it: it becomes the store's own CHECKPOINT, which a collection of garbage spares, and the
//! file goes. A crash at any moment leaves one of the two, or chunks that nothing names.

use std::collections::HashSet;

use super::Replica;
use super::checkpoint::{OneChunk, SavedState};
use crate::client::beside;
use crate::client::error::{Error, Forgery, Result};
use crate::client::remote::Parcel;
use crate::model::{Checkpoint, ChunkDigest, ChunkId, Head, TransactionId, limits};
use crate::store::layout::DeviceFile;
use crate::store::{PutCheckpoint, checkpoint_file, json};

/// The largest file that can be a checkpoint.
const MOST: usize = limits::TRANSACTION_BYTES + json::PREFIX;

impl Replica {
    /// Takes the checkpoint that the server keeps, with all its chunks, for [`Replica::kept_state`]: durable when it returns.
    /// `None` where the server keeps none. A new device does so before it pulls the chain, and has the state of the
    /// application while that comes.
    ///
    /// # Errors
    /// [`Error::Forged`] and [`Error::WrongKey`] where it is none of ours, or not of the chain that is here, with nothing of it
    /// kept; those of the remote.
    pub fn take_checkpoint(&self) -> Result<Option<SavedState>> {
        let _lock = self.sync_lock()?;
        let Some(checkpoint) = self.remote.checkpoint()? else {
            self.note_heard();
            return Ok(None);
        };
        let state = self.state_there(&checkpoint)?;
        let (mut seen, mut missing) = (HashSet::new(), Vec::new());
        for chunk in &checkpoint.chunks {
            if seen.insert(*chunk) && !self.has_chunk(&ChunkId::Digest(*chunk))? {
                missing.push(*chunk);
            }
        }
        if let Some(progress) = &self.progress
            && !missing.is_empty()
        {
            // Their lengths are not said: none is much longer than this.
            let bytes = missing.len() as u64 * limits::SLICE_BYTES as u64;
            progress.will_come(0, Some(bytes));
        }
        for batch in missing.chunks(limits::FETCHED_TOGETHER) {
            self.fetch_chunks(state.at, batch)?;
        }
        let file = checkpoint_file::encode(&checkpoint);
        beside::replace(&*self.home, DeviceFile::Checkpoint, &file)?;
        self.settle_checkpoint()?;
        self.note_heard();
        Ok(Some(state))
    }

    /// The state that is kept here: that of the checkpoint which was taken last, or made here. `None` where there is none. Asks
    /// nobody. Its chunks are read by [`Replica::read`].
    ///
    /// # Errors
    /// [`Error::Forged`] and [`Error::WrongKey`] where it does not open; those of the disk.
    pub fn kept_state(&self) -> Result<Option<SavedState>> {
        let user = &self.user;
        let kept = match self.taken()? {
            Some(taken) => Some(taken),
            None => user.mending_log(|| user.checkpoint())?,
        };
        let state =
            kept.map(|checkpoint| self.state_of(&checkpoint, |first| self.chunk_whole(first)));
        state.transpose()
    }

    /// The checkpoint that was taken, and whose transaction the chain here has not reached.
    pub(super) fn taken(&self) -> Result<Option<Checkpoint>> {
        let bytes = beside::read(&*self.home, DeviceFile::Checkpoint, MOST)?;
        Ok(bytes.and_then(|bytes| checkpoint_file::decode(&bytes)))
    }

    /// Whether the chain is on its way to this transaction, for which a state was taken.
    pub(super) fn is_awaited(&self, id: TransactionId) -> Result<bool> {
        Ok(self.taken()?.is_some_and(|taken| taken.transaction == id))
    }

    /// The checkpoint that was taken is the store's own, once the chain has its transaction.
    ///
    /// # Errors
    /// [`Error::Forged`] where the chain goes past it: it is of another history, and nothing of it is kept.
    pub(super) fn settle_checkpoint(&self) -> Result<()> {
        let Some(taken) = self.taken()? else {
            return Ok(());
        };
        if self.head()?.seq < taken.seq {
            return Ok(());
        }
        let on_chain = self.find(taken.transaction)?.filter(|found| found.on_chain);
        if on_chain.is_none_or(|found| found.transaction.seq != taken.seq) {
            return Err(self.refuse(&taken)?);
        }
        self.keep(taken.transaction, &taken.chunks)?;
        Ok(beside::remove(&*self.home, DeviceFile::Checkpoint)?)
    }

    /// The chain is here as far as the server has it: a checkpoint beyond its end is of another history.
    pub(super) fn pulled_to(&self, head: Head) -> Result<()> {
        self.settle_checkpoint()?;
        match self.taken()? {
            Some(taken) if self.remote.head()?.seq <= head.seq => Err(self.refuse(&taken)?),
            _ => Ok(()),
        }
    }

    fn refuse(&self, taken: &Checkpoint) -> Result<Error> {
        beside::remove(&*self.home, DeviceFile::Checkpoint)?;
        Ok(Error::Forged {
            transaction: taken.transaction,
            what: Forgery::Checkpoint,
        })
    }

    /// Makes a checkpoint of a transaction on the chain the store's own, unless there is a newer one.
    fn keep(&self, at: TransactionId, chunks: &[ChunkDigest]) -> Result<()> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| ChunkId::Digest(*chunk)).collect();
        match self.exclusive()?.put_checkpoint(at, &chunks)? {
            PutCheckpoint::Stored | PutCheckpoint::Older { .. } => {}
            // They went meanwhile: who needs the state takes it again.
            PutCheckpoint::MissingChunks(missing) => {
                log::debug!("{} chunks of the checkpoint went", missing.len());
            }
            PutCheckpoint::UnknownTransaction { .. } => return Err(Error::UnknownTransaction(at)),
        }
        Ok(())
    }

    /// Keeps a checkpoint that was made here, whose first chunk is not in the store yet.
    pub(super) fn keep_own(
        &self,
        at: TransactionId,
        first: OneChunk<'_>,
        all: &[ChunkDigest],
    ) -> Result<()> {
        self.putting()?;
        let mut bundle = first.open()?;
        self.user.push_bundle(&mut bundle)?;
        let kept = self.keep(at, all);
        self.are_named(all);
        kept
    }

    /// Gives a server that was filled from here the checkpoint that is kept here.
    pub(super) fn send_checkpoint(&self) -> Result<()> {
        let user = &self.user;
        if let Some(kept) = user.mending_log(|| user.checkpoint())? {
            self.send_chunks(&kept.chunks)?;
            self.remote.put_checkpoint(kept.transaction, &kept.chunks)?;
        }
        Ok(())
    }
}
