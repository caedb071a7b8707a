//! One sync: push, and where others were quicker pull and rebase, until HEAD is our tip.

use std::sync::Arc;

use super::Replica;
use super::known::PendingLine;
use super::push::Sent;
use crate::client::app::App;
use crate::client::error::{Error, Result};
use crate::disk::{Held, Mode};
use crate::model::{Head, limits};
use crate::store::layout::DeviceFile;

/// The outcome of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Transactions of others that came.
    pub pulled: u64,
    /// Transactions of ours that the server confirmed.
    pub pushed: u64,
    /// Entries of ours that were said again after others.
    pub rebased: u64,
    /// Entries of ours that the application had no more use for.
    pub dropped: u64,
    /// The newest transaction that the server confirmed.
    pub head: Head,
}

impl Replica {
    /// Pushes what is pending, and pulls what others said, until HEAD is our tip. Safe to call again after anything. With
    /// nothing to do, it costs one request; with a small commit to push and no news, one too.
    ///
    /// The application is shown all of it, also where the server cannot be reached: its state is that of
    /// [`Replica::entries`] then.
    ///
    /// # Errors
    /// [`Error::is_transient`] tells those that a later try may not meet. Nothing pending is lost by any.
    pub fn sync<A: App>(&self, app: &mut A) -> Result<Synced> {
        let _lock = self.sync_lock()?;
        self.user.clear_left_behind();
        let mut synced = self.nothing_synced()?;
        for _ in 0..limits::RACES {
            if self.tip()? == self.head()? || self.push_locked(app, &mut synced)? == Sent::Lost {
                self.pull_locked(app, &mut synced)?;
            }
            if self.tip()? == self.head()? {
                self.note_heard();
                self.clear_unneeded();
                return Ok(synced);
            }
        }
        Err(Error::Busy)
    }

    /// Pulls what others said, and says again after it what is pending; sends nothing. Nothing new costs one request.
    ///
    /// # Errors
    /// As [`Replica::sync`].
    pub fn pull<A: App>(&self, app: &mut A) -> Result<Synced> {
        let _lock = self.sync_lock()?;
        self.user.clear_left_behind();
        let mut synced = self.nothing_synced()?;
        self.pull_locked(app, &mut synced)?;
        self.note_heard();
        self.clear_unneeded();
        Ok(synced)
    }

    fn nothing_synced(&self) -> Result<Synced> {
        Ok(Synced {
            pulled: 0,
            pushed: 0,
            rebased: 0,
            dropped: 0,
            head: self.head()?,
        })
    }

    /// Sends what is pending; the application is shown what has become of it, whatever that is.
    fn push_locked<A: App>(&self, app: &mut A, synced: &mut Synced) -> Result<Sent> {
        let (before, line) = (self.head()?, self.pending()?);
        let sent = self.push_pending();
        synced.pushed += self.head()?.seq - before.seq;
        let shown = self.shown(app, before, Some(line), synced);
        self.let_go();
        shown?;
        sent
    }

    /// Takes in what others said; the application is shown as much of it as came.
    fn pull_locked<A: App>(&self, app: &mut A, synced: &mut Synced) -> Result<()> {
        let (before, ours) = (self.head()?, self.pending()?);
        let pulled = self.pull_confirmed();
        let after = self.head()?;
        // Ours that an earlier try got through with.
        let mut own = 0;
        for id in &ours.ids {
            match self.find(*id)? {
                Some(found) if found.on_chain => own += 1,
                _ => break,
            }
        }
        synced.pushed += own;
        synced.pulled += after.seq - before.seq - own;
        self.shown(app, before, None, synced)?;
        pulled
    }

    fn shown<A: App>(
        &self,
        app: &mut A,
        before: Head,
        line: Option<Arc<PendingLine>>,
        synced: &mut Synced,
    ) -> Result<()> {
        let rebased = self.show(app, before, line)?;
        synced.rebased += rebased.kept;
        synced.dropped += rebased.dropped;
        synced.head = self.head()?;
        Ok(())
    }

    /// Sends what is pending, where nobody was quicker, and shows no application anything. Returns how many were sent;
    /// `None` where they are to be said again first.
    ///
    /// # Errors
    /// Those of the remote.
    pub fn push_as_it_is(&self) -> Result<Option<u64>> {
        let _lock = self.sync_lock()?;
        let sent = self.push_pending();
        self.let_go();
        let sent = sent?;
        self.note_heard();
        Ok(match sent {
            Sent::All(sent) => Some(sent),
            Sent::Lost => None,
        })
    }

    /// Pulls all that the server has, and shows no application anything: what is pending stays where it is, and is said again
    /// at the next [`Replica::sync`]. For a clone, and for a mirror.
    ///
    /// # Errors
    /// As [`Replica::sync`].
    pub fn fetch(&self) -> Result<Head> {
        let _lock = self.sync_lock()?;
        self.pull_confirmed()?;
        self.note_heard();
        self.head()
    }

    /// Takes the lock of who syncs, and waits for whoever has it.
    ///
    /// # Errors
    /// [`Error::Busy`] when the time is up.
    pub(super) fn sync_lock(&self) -> Result<Box<dyn Held>> {
        self.waited(DeviceFile::Lock, Mode::Exclusive)
    }
}
