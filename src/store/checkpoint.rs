//! The checkpoint: a state that a new device can start from, in place of everything up to a transaction. Only the
//! newest is kept (DESIGN, Protocol). Here is how it is told; [`put_checkpoint`](super::put_checkpoint) has how it
//! is put.

use super::checkpoint_file::{self, CheckpointFile};
use super::error::damaged;
use super::layout::Dir;
use super::lock::Exclusive;
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
    /// What is told was the checkpoint at a moment of this call, so that none is told which was replaced before it began. HEAD is
    /// read after CHECKPOINT, so that an advance between the two makes no checkpoint stand on nothing.
    ///
    /// Where a sync of CHECKPOINT failed in this process, no later one proves anything: it is written anew with the same
    /// words before it is told, as HEAD is.
    ///
    /// # Errors
    /// [`Error::Damaged`] where CHECKPOINT is none, or has another number than its transaction; [`Error::LogIsWrong`],
    /// as of all reads of the chain.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        for _ in 0..limits::LOOKS {
            let Some(visit) = self.visit()? else {
                return self.unless_denied();
            };
            self.meet_folder(&visit)?;
            let read = self.store.read_checkpoint(&self.folder)?;
            if let Some(read) = &read
                && !self.vouch_for_checkpoint(&visit, read)?
            {
                self.renew_checkpoint(&visit)?;
                continue;
            }
            let Some(head) = self.vouched_head()? else {
                continue;
            };
            if self.state.known().generation != visit.generation {
                continue;
            }
            return match read {
                Some(read) => self.if_on_chain(head, read.checkpoint),
                None => Ok(None),
            };
        }
        Err(Error::Busy)
    }

    /// Makes a CHECKPOINT that was read durable, unless this process has done so. Returns `false` where that failed before:
    /// no later sync tells whether it is.
    pub(super) fn vouch_for_checkpoint(
        &self,
        visit: &Visit,
        read: &CheckpointFile,
    ) -> Result<bool> {
        let stamp = CheckpointStamp::of(&read.meta);
        {
            let known = self.state.known();
            if known.doubted_checkpoint == Some(read.meta.inode) {
                return Ok(false);
            }
            if known.checkpoint == Some(stamp) {
                return Ok(true);
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
        Ok(true)
    }

    /// Has CHECKPOINT written anew, and hardly waits for whoever has the exclusive lock: it may be another one then.
    fn renew_checkpoint(&self, visit: &Visit) -> Result<()> {
        match self.exclusive_now() {
            Some(Ok(lock)) => lock.renew_checkpoint_now(visit),
            Some(Err(error)) if !matches!(error, Error::UserGone) => Err(error),
            _ => {
                self.store.disk.pause(limits::LOCK_PAUSE.0);
                Ok(())
            }
        }
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

impl Exclusive {
    /// Writes CHECKPOINT anew with the same words, where a sync of the present one failed here.
    ///
    /// # Errors
    /// Those of the disk: it is as doubtful as it was.
    pub(super) fn renew_checkpoint_now(&self, visit: &Visit) -> Result<()> {
        let Some(doubted) = self.state.known().doubted_checkpoint else {
            return Ok(());
        };
        let read = self.store.read_checkpoint(&self.folder)?;
        let Some(read) = read.filter(|read| read.meta.inode == doubted) else {
            return Ok(());
        };
        let mut temporary = self.temporary()?;
        (temporary.file).append(&checkpoint_file::encode(&read.checkpoint))?;
        let file = Target::File(temporary.file.clone());
        self.store.disk.sync(&[file])?;
        temporary.replace(&self.folder.checkpoint())?;
        let meta = self.store.disk.meta(&self.folder.checkpoint())?;
        let synced = self.sync_dirs([Dir::User], Vec::new());
        synced.inspect_err(|error| self.state.doubt_checkpoint(visit, error, meta.inode))?;
        let mut known = self.state.known();
        known.doubted_checkpoint = None;
        known.checkpoint = Some(CheckpointStamp::of(&meta));
        Ok(())
    }
}
