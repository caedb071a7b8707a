//! A rebase: what is pending is said again, after what others said first.
//!
//! All of it is written beside what there is; then `local` is renamed over, once: the commit point. A crash before it leaves
//! what was pending as it was, and garbage.

use std::collections::HashSet;
use std::sync::Arc;

use super::Replica;
use super::known::PendingLine;
use super::say::entry_of;
use super::slip::Slip;
use crate::client::app::{App, Entry, Rebase};
use crate::client::entry::Said;
use crate::client::error::{Error, Result};
use crate::model::{ChunkDigest, ChunkId, Head, TransactionId};

/// The outcome of a rebase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rebased {
    pub kept: u64,
    pub dropped: u64,
}

/// A rebase under way.
struct Rebasing<'a> {
    replica: &'a Replica,
    /// The newest of what is said again.
    at: Head,
    done: Rebased,
    renamed: Vec<(TransactionId, TransactionId)>,
    /// The transactions that are replaced, and the chunks of their entries.
    old: Vec<TransactionId>,
    old_chunks: Vec<ChunkDigest>,
    new_chunks: HashSet<ChunkDigest>,
}

impl Replica {
    /// Shows an application what is confirmed after its position, and what is pending after that: said again where HEAD has
    /// moved since it was said. `before` is where HEAD was when the sync began; of `line`, which was pending then, nothing is
    /// read again.
    ///
    /// # Errors
    /// [`Error::App`], and those of the replica's own files. What is pending is as it was then, or said again as a whole.
    pub(super) fn show<A: App>(
        &self,
        app: &mut A,
        before: Head,
        line: Option<Arc<PendingLine>>,
    ) -> Result<Rebased> {
        app.rewind().map_err(Error::app)?;
        for entry in self.confirmed_after(app.position(), line)? {
            app.apply(&entry?).map_err(Error::app)?;
        }
        let head = self.head()?;
        let line = match self.slips.made(Slip::LostAnswerNotRecognised) {
            true => self
                .pending_above(|found| found.transaction.id == before.id)?
                .into(),
            false => self.pending()?,
        };
        if line.base.id == head.id {
            for id in &line.ids {
                let (entry, _) = self.said(self.found(*id)?)?;
                app.apply(&entry).map_err(Error::app)?;
            }
            return Ok(Rebased::default());
        }
        let rebasing = Rebasing {
            replica: self,
            at: head,
            done: Rebased::default(),
            renamed: Vec::new(),
            old: Vec::new(),
            old_chunks: Vec::new(),
            new_chunks: HashSet::new(),
        };
        rebasing.run(app, line.ids.clone(), line.tip)
    }
}

impl Rebasing<'_> {
    fn run<A: App>(
        mut self,
        app: &mut A,
        mut ids: Vec<TransactionId>,
        mut tip: Head,
    ) -> Result<Rebased> {
        loop {
            for id in ids {
                self.say_again(app, id)?;
            }
            match self.commit(tip)? {
                None => return Ok(self.done),
                // Something was committed here meanwhile: it is pending like the rest.
                Some((more, now)) => (ids, tip) = (more, now),
            }
        }
    }

    /// One of ours is said again, if the application still wants it said.
    fn say_again<A: App>(&mut self, app: &mut A, id: TransactionId) -> Result<()> {
        let replica = self.replica;
        let found = replica.found(id)?;
        let entry_chunk = found.transaction.chunks.first().copied();
        let (ours, said) = replica.said(found)?;
        self.old.push(id);
        if let Some(ChunkId::Digest(chunk)) = entry_chunk {
            self.old_chunks.push(chunk);
        }
        let (body, chunks) = match app.rebase(&ours).map_err(Error::app)? {
            Rebase::Keep => (ours.body, ours.chunks),
            Rebase::Replace(body, chunks) => (body, chunks),
            Rebase::Drop => {
                self.done.dropped += 1;
                return Ok(());
            }
        };
        let nonce = match replica.slips.made(Slip::NonceNotKept) {
            true => replica.new_nonce(),
            false => said.nonce,
        };
        let app_bytes = Said { nonce, app: body };
        let new = replica.write_after(self.at, &app_bytes, &chunks)?;
        self.at = Head {
            id: new.id,
            seq: new.seq,
        };
        self.done.kept += 1;
        self.renamed.push((id, new.id));
        if let Some(ChunkId::Digest(chunk)) = new.chunks.first() {
            self.new_chunks.insert(*chunk);
        }
        if replica.slips.made(Slip::RebaseInPlace) {
            replica.exclusive()?.set_local(new.id)?;
        }
        let entry: Entry = entry_of(new, app_bytes.app, true);
        app.apply(&entry).map_err(Error::app)
    }

    /// Makes what was said again what is pending. Where more was committed here since `tip`, nothing is changed, and that is
    /// told.
    fn commit(&mut self, tip: Head) -> Result<Option<(Vec<TransactionId>, Head)>> {
        let replica = self.replica;
        let lock = replica.exclusive()?;
        let free = replica.slips.made(Slip::RebaseInPlace)
            || replica.slips.made(Slip::RebaseForgetsCommits);
        if replica.user.local()? != Some(tip.id) && !free {
            let line = replica.pending_above(|found| found.transaction.id == tip.id)?;
            return match line.base.id == tip.id {
                true => Ok(Some((line.ids, line.tip))),
                false => Err(Error::Busy),
            };
        }
        lock.add_renamed(&self.renamed)?;
        lock.set_local(self.at.id)?;
        let kept: Vec<_> = (self.old_chunks.iter())
            .filter(|chunk| !self.new_chunks.contains(chunk))
            .copied()
            .collect();
        if let Err(error) = lock.drop_replaced(&self.old, &kept) {
            log::debug!("what was replaced stays for now: {error}");
        }
        Ok(None)
    }
}
