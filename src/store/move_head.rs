//! The second half of an advance: `log` is extended and HEAD replaced, once all that it reaches is durable.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::extend::extend;
use super::layout::Dir;
use super::lock::Exclusive;
use super::log;
use super::mistake::Mistake;
use super::state::DurableHead;
use super::tally::Amount;
use super::{Error, Result};
use crate::disk::{self, Target};
use crate::model::{Head, TransactionId};

impl Exclusive {
    /// Runs an advance that makes names in the committed area, and notes each in a list. Where it fails, the names
    /// are taken back, the last one first; not so where HEAD may have been replaced, which may reach them.
    ///
    /// # Errors
    /// Those of the advance.
    pub(super) fn or_take_back<N>(
        &self,
        take_back: impl Fn(&N) -> disk::Result<()>,
        advance: impl FnOnce(&mut Vec<N>) -> Result<Head>,
    ) -> Result<(Head, Vec<N>)> {
        let mut names = Vec::new();
        match advance(&mut names) {
            Ok(head) => Ok((head, names)),
            Err(error) => {
                if !self.state.is_read_only() {
                    for name in names.iter().rev() {
                        // As far as it goes: a name that stays is off the chain, and fsck's to find.
                        let _ = take_back(name);
                    }
                }
                Err(error)
            }
        }
    }

    /// The second half: what HEAD is to reach has its names in the committed area, in these
    /// directories; HEAD becomes the last of `ids`, the first of which continues it.
    ///
    /// # Errors
    /// HEAD has not moved; but if the very last sync fails, nobody knows, and the user is read-only.
    pub(super) fn move_head(
        &self,
        head: Head,
        ids: &[TransactionId],
        mut dirs: BTreeSet<Dir>,
    ) -> Result<Head> {
        // Make `log` right up to HEAD, cut it there, extend it.
        let (log, made) = self.log_to_extend(head)?;
        extend(&log, head, ids)?;
        if made {
            dirs.insert(Dir::User);
        }

        // Sync every directory and file relied on, whether or not this advance wrote it. The file
        // that will be HEAD is among them.
        let new = Head {
            id: *ids
                .last()
                .expect("a line has at least the transaction itself"),
            seq: head.seq + ids.len() as u64,
        };
        let mut temporary = self.temporary()?;
        (temporary.file).append(format!("{}\n", new.id).as_bytes())?;
        let targets = vec![Target::File(log), Target::File(temporary.file.clone())];
        let late = self.store.mistakes.made(Mistake::HeadBeforeObjects);
        if !late {
            self.sync_dirs(dirs.clone(), targets)?;
        }

        // Replace HEAD; sync.
        let doubted = Some((temporary.file.meta()?.inode, new.id));
        if let Err(error) = temporary.replace(&self.folder.head()) {
            if !matches!(self.store.read_head(&self.folder), Ok(Some((_, id))) if id == head.id) {
                self.state.doubt_for_good(doubted);
            }
            return Err(error.into());
        }
        if self.store.mistakes.made(Mistake::AnswerBeforeSync) {
            return Ok(new);
        }
        let finish = || {
            let metas = (
                self.store.disk.meta(&self.folder.head())?,
                self.store.disk.meta(self.folder.place())?,
            );
            self.sync_dirs([Dir::User], Vec::new())?;
            Ok(metas)
        };
        let (meta, changed) =
            finish().inspect_err(|_: &Error| self.state.doubt_for_good(doubted))?;
        if late {
            self.sync_dirs(dirs, Vec::new())?;
        }
        self.store.head_moves.fetch_add(1, Ordering::Relaxed);
        (self.state).head_moved(DurableHead::new(&meta, new), &changed);
        let lines = (log::LINE as i64).saturating_mul(ids.len() as i64);
        self.changed(Amount {
            files: 0,
            bytes: lines,
        });
        Ok(new)
    }
}
