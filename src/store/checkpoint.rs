//! The checkpoint: a state that a new device can start from, in place of everything up to a transaction. Only the
//! newest is kept (DESIGN, Protocol). Here is how it is told; [`put_checkpoint`](super::put_checkpoint) has how it
//! is put.

use super::checkpoint_file::CheckpointFile;
use super::error::damaged;
use super::layout::Dir;
use super::mistake::Mistake;
use super::state::{CheckpointStamp, Visit};
use super::walk::Position;
use super::{Error, Result, User};
use crate::disk::Target;
use crate::model::{Checkpoint, Head, TransactionId, limits};

impl User {
    /// The user's checkpoint, durable; `None` where there is none, and where its transaction is not on the chain. Takes
    /// no lock.
    ///
    /// What is told never goes back: CHECKPOINT is looked at once more when all else is done, and what is not that file
    /// any more is not told. HEAD is read after it, so that an advance between the two makes no checkpoint stand on
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Damaged`] where CHECKPOINT is none, or has another number than its transaction; [`Error::NotDurable`]
    /// where a sync of it failed in this process; [`Error::LogIsWrong`], as of all reads of the chain.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        for _ in 0..limits::LOOKS {
            let Some(visit) = self.visit()? else {
                return self.unless_denied();
            };
            self.meet_folder(&visit)?;
            let read = self.store.read_checkpoint(&self.folder)?;
            if let Some(read) = &read {
                self.vouch_for_checkpoint(&visit, read)?;
            }
            let Some(head) = self.vouched_head()? else {
                continue;
            };
            let now = self.store.meta_if_there(&self.folder.checkpoint())?;
            let stamps = (read.as_ref()).map(|read| CheckpointStamp::of(&read.meta));
            let is_same = now.as_ref().map(CheckpointStamp::of) == stamps;
            if !is_same || self.state.known().generation != visit.generation {
                continue;
            }
            return match read {
                Some(read) => self.if_on_chain(head, read.checkpoint),
                None => Ok(None),
            };
        }
        Err(Error::Busy)
    }

    /// Makes a CHECKPOINT that was read durable, unless this process has done so.
    ///
    /// # Errors
    /// [`Error::NotDurable`] where that failed before: no later sync tells whether it is.
    pub(super) fn vouch_for_checkpoint(&self, visit: &Visit, read: &CheckpointFile) -> Result<()> {
        let stamp = CheckpointStamp::of(&read.meta);
        {
            let known = self.state.known();
            if known.doubted_checkpoint == Some(read.meta.inode) {
                return Err(Error::NotDurable);
            }
            if known.checkpoint == Some(stamp) {
                return Ok(());
            }
        }
        if !self.store.mistakes.made(Mistake::NoReadSync) {
            let synced = self.sync_dirs([Dir::User], vec![Target::File(read.handle.clone())]);
            synced.inspect_err(|error| {
                self.state.doubt_checkpoint(visit, error, read.meta.inode);
            })?;
        }
        let mut known = self.state.known();
        if known.generation == visit.generation {
            known.checkpoint = Some(stamp);
        }
        Ok(())
    }

    /// The checkpoint, if the chain that ends at `head` has its transaction.
    pub(super) fn if_on_chain(
        &self,
        head: Head,
        checkpoint: Checkpoint,
    ) -> Result<Option<Checkpoint>> {
        let Checkpoint {
            transaction, seq, ..
        } = checkpoint;
        if transaction == TransactionId::ROOT {
            return Err(damaged(&self.folder.checkpoint(), "it is of the root"));
        }
        match self.position(head, transaction)? {
            Position::OnChain(number) if number == seq => Ok(Some(checkpoint)),
            Position::OnChain(number) => {
                let what = format!("its number is {seq}, and its transaction's {number}");
                Err(damaged(&self.folder.checkpoint(), what))
            }
            Position::OffChain => Ok(None),
            Position::LogIsWrong => Err(Error::LogIsWrong),
        }
    }
}
