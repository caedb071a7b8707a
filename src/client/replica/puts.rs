//! Chunks that were put and are not named yet: kept for as long as somebody may name them, and taken away after that.
//!
//! Who puts holds the file `putting`, with others, until a commit named what was put or the replica is closed; the system lets go of
//! it when the process is killed. So whoever holds it alone, and the lock of who syncs besides, knows that what nothing needs will
//! be needed by nobody.

use std::sync::MutexGuard;

use super::Replica;
use super::unnamed::UnnamedPuts;
use crate::client::error::{Error, Result};
use crate::disk::{Held, Mode};
use crate::model::{ChunkDigest, ChunkId, limits};
use crate::store::NeededItems;
use crate::store::layout::{DeviceFile, beside_store};

impl Replica {
    /// Takes back all that was put here and that no commit named: for whoever has put something and will not say it after all.
    /// What others need as well, and what somebody else may be about to name, stays; it goes with a later sync. Best effort.
    pub fn take_back(&self) {
        let chunks: Vec<_> = self.puts().chunks.iter().copied().collect();
        self.take_back_these(&chunks);
    }

    /// Takes back some of what was put. What stays goes with a later sync.
    pub(super) fn take_back_these(&self, chunks: &[ChunkDigest]) {
        self.are_named(chunks);
        if chunks.is_empty() || self.slips.made(super::slip::Slip::PutsStay) {
            return;
        }
        if let Err(error) = self.try_take_back(chunks) {
            log::debug!("what was put stays for now: {error}");
        }
    }

    fn try_take_back(&self, chunks: &[ChunkDigest]) -> Result<()> {
        let (Some(_syncs), Some(_puts)) = (
            self.try_lock(DeviceFile::Lock, Mode::Exclusive)?,
            self.try_lock(DeviceFile::Putting, Mode::Exclusive)?,
        ) else {
            return Ok(());
        };
        let lock = self.exclusive()?;
        let needed = self.needed()?;
        for chunk in chunks.iter().map(|chunk| ChunkId::Digest(*chunk)) {
            if !needed.chunks.contains(&chunk) {
                // It came with this put, or it would be committed: the chain does not name it.
                lock.sweep_chunk(&chunk, true, |_| true)?;
            }
        }
        Ok(())
    }

    /// Notes that these are about to be put, and holds the lock of who puts.
    ///
    /// # Errors
    /// [`Error::Busy`] where somebody takes what is not needed away for too long; those of the disk.
    pub(super) fn putting(&self) -> Result<()> {
        if self.puts().held.is_some() {
            return Ok(());
        }
        let held = self.waited(DeviceFile::Putting, Mode::Shared)?;
        self.puts().held.get_or_insert(held);
        Ok(())
    }

    /// Notes what was put, for a commit to name.
    pub(super) fn were_put(&self, chunks: &[ChunkDigest]) {
        self.puts().chunks.extend(chunks);
    }

    /// Notes that these are named now, or never will be.
    pub(super) fn are_named(&self, chunks: &[ChunkDigest]) {
        let mut puts = self.puts();
        for chunk in chunks {
            puts.chunks.remove(chunk);
        }
        if puts.chunks.is_empty() {
            puts.held = None;
        }
    }

    fn puts(&self) -> MutexGuard<'_, UnnamedPuts> {
        let puts = self.puts.lock();
        puts.unwrap_or_else(|broken| broken.into_inner())
    }

    /// Takes away what killed commands left, as far as nothing needs it. To be called by who holds the lock of who syncs, when all
    /// that the server has is here: before that, what is not needed may be what has come of the rest. Best effort.
    pub(super) fn clear_unneeded(&self) {
        if self.slips.made(super::slip::Slip::PutsStay) {
            return;
        }
        if let Err(error) = self.try_clear_unneeded() {
            log::debug!("what is not needed stays for now: {error}");
        }
    }

    fn try_clear_unneeded(&self) -> Result<()> {
        let Some(_puts) = self.try_lock(DeviceFile::Putting, Mode::Exclusive)? else {
            return Ok(());
        };
        let found = self.user.unneeded(&self.needed()?)?;
        if found.is_empty() {
            return Ok(());
        }
        let lock = self.exclusive()?;
        Ok(lock.drop_unneeded(&found, &self.needed()?)?)
    }

    /// The items of `incoming/` that are needed: what is pending, and the checkpoint that was taken, or is kept here and stands
    /// nowhere else.
    fn needed(&self) -> Result<NeededItems> {
        let line = self.pending()?;
        let mut needed = NeededItems::default();
        for id in &line.ids {
            needed.transactions.insert(*id);
            needed.chunks.extend(self.found(*id)?.transaction.chunks);
        }
        let taken = self.taken()?.map(|taken| taken.chunks);
        let taken = taken.unwrap_or_default().into_iter();
        needed.chunks.extend(taken.map(ChunkId::Digest));
        for kept in self.user.named_by_checkpoint()? {
            if self.user.is_incoming_only(&kept)? {
                needed.chunks.insert(ChunkId::Digest(kept));
            }
        }
        Ok(needed)
    }

    /// Takes one of the locks beside the store; `None` where somebody has it in the way.
    fn try_lock(&self, file: DeviceFile, mode: Mode) -> Result<Option<Box<dyn Held>>> {
        let place = beside_store(file);
        loop {
            match self.home.try_lock(&place, mode) {
                Err(absent) if absent.is_absent() => match self.home.create(&place) {
                    Err(error) if !error.is_taken() => return Err(error.into()),
                    _ => continue,
                },
                other => return Ok(other?),
            }
        }
    }

    /// Takes one of the locks beside the store, and waits for whoever has it.
    ///
    /// # Errors
    /// [`Error::Busy`] when the time is up.
    pub(super) fn waited(&self, file: DeviceFile, mode: Mode) -> Result<Box<dyn Held>> {
        let until = self.home.elapsed() + limits::SYNC_WAIT;
        let mut pause = limits::LOCK_PAUSE.0;
        loop {
            if let Some(held) = self.try_lock(file, mode)? {
                return Ok(held);
            }
            if self.home.elapsed() >= until {
                return Err(Error::Busy);
            }
            self.home.pause(pause);
            pause = (pause * 2).min(limits::LOCK_PAUSE.1);
        }
    }
}
