//! The garbage of `checkpoint/`: what CHECKPOINT does not name any more goes when the grace period is over, counted from
//! when it was replaced, so that whoever reads the one before, or copies it, finds what it names.

use super::event::Garbage;
use super::mark::{Mark, abandoned};
use super::sweep::{Sweep, SweepStep};
use crate::model::{ChunkId, limits};
use crate::store::{Error, Item, Result, Swept, User};

impl Mark {
    /// Looks at `checkpoint/`, and for what CHECKPOINT names. Costs two looks where there is neither.
    ///
    /// A CHECKPOINT that cannot be read keeps all that stands there, and that is said.
    pub(super) fn look_at_checkpoint(&mut self, user: &User) -> Result<()> {
        let named = match user.named_by_checkpoint() {
            Ok(named) => named,
            Err(error @ (Error::Damaged { .. } | Error::Disk(_))) => {
                self.trouble.get_or_insert(error);
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        user.checkpoint_chunks(|file| {
            let item = Item::CheckpointChunk(file.digest);
            if named.contains(&file.digest) {
                return Ok(());
            }
            if self.dates.are_not(file.time) {
                self.misdated.push(item);
            } else if self.is_old(file.time) {
                (self.checkpoint.old).push((file.digest, file.bytes));
            }
            Ok(())
        })?;
        self.checkpoint.old.sort_unstable();
        for digest in named {
            if user.is_incoming_only(&digest)? {
                self.checkpoint.uncommitted.push(digest);
            }
        }
        self.checkpoint.uncommitted.sort_unstable();
        Ok(())
    }
}

impl Sweep<'_> {
    /// Gives what CHECKPOINT names its name in `checkpoint/`. Where that cannot be done, it stays where it is.
    pub(super) fn mend_checkpoint(&mut self) -> SweepStep {
        let uncommitted = std::mem::take(&mut self.mark.checkpoint.uncommitted);
        for batch in uncommitted.chunks(limits::SWEEP_FILES) {
            let lock = self.lock()?;
            match lock.mend_checkpoint(batch) {
                Ok(files) => self.put_back += files,
                Err(Error::UserGone) => return Err(Error::UserGone.into()),
                Err(error) => {
                    self.mark.trouble.get_or_insert(error);
                    for digest in batch {
                        self.mark.spare_chunk(&ChunkId::Digest(*digest));
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes what CHECKPOINT does not name any more.
    pub(super) fn checkpoint(&mut self, each: &mut dyn FnMut(Garbage)) -> SweepStep {
        let old = std::mem::take(&mut self.mark.checkpoint.old);
        for batch in old.chunks(limits::SWEEP_FILES) {
            let lock = self.lock()?;
            let digests: Vec<_> = batch.iter().map(|(digest, _)| *digest).collect();
            let is_old = |time| self.mark.is_old(time);
            let swept = match lock.sweep_checkpoint(&digests, is_old) {
                Ok(swept) => swept,
                Err(error @ Error::Damaged { .. }) => {
                    self.mark.trouble.get_or_insert(error);
                    return Ok(());
                }
                Err(other) => return Err(other.into()),
            };
            for ((digest, bytes), swept) in batch.iter().zip(swept) {
                if swept == Swept::Gone {
                    each(abandoned(Item::CheckpointChunk(*digest), *bytes));
                }
            }
        }
        Ok(())
    }
}
