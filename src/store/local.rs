//! The files that a device's own store has beside a server's: the tip of what is pending, and the ids that a rebase replaced.
//!
//! `local` is what HEAD is to a server: the one small file that decides, replaced by rename once all that it reaches is
//! durable. `renamed` only helps a person to find what an old id has become.

use super::aside::AlreadyRead;
use super::incoming::Temporary;
use super::json::Start;
use super::layout::{Area, Dir};
use super::locate::Where;
use super::lock::Exclusive;
use super::{Advance, Error, Leftovers, Result, User};
use crate::disk::{Place, Target};
use crate::model::{ChunkDigest, Transaction, TransactionId, limits};

/// A transaction as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTransaction {
    pub transaction: Transaction,
    /// HEAD reaches it.
    pub on_chain: bool,
}

/// The bytes of a line of `renamed`: two ids, a blank and a newline.
const RENAMED_LINE: usize = 74;

impl User {
    /// The tip of what is pending, as it was last set; `None` where it never was. HEAD may have reached it since.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it is no id.
    pub fn local(&self) -> Result<Option<TransactionId>> {
        self.store.read_local(&self.folder)
    }

    /// The ids that were replaced, each with the one in its place, oldest first.
    ///
    /// # Errors
    /// Those of the disk. A line that is none tells nothing, and is left out.
    pub fn renamed(&self) -> Result<Vec<(TransactionId, TransactionId)>> {
        let most = limits::RENAMED * RENAMED_LINE;
        let file = self.store.read_file(&self.folder.renamed(), most)?;
        let text = String::from_utf8(file.unwrap_or_default()).unwrap_or_default();
        let parse = |line: &str| {
            let (old, new) = line.split_once(' ')?;
            Some((old.parse().ok()?, new.parse().ok()?))
        };
        Ok(text.lines().filter_map(parse).collect())
    }

    /// A transaction as it stands in `incoming/`, found at less cost than by [`User::find_transaction`]; `None` where it does
    /// not. HEAD does not reach it where its number is beyond HEAD's.
    pub fn find_pending(&self, id: TransactionId) -> Result<Option<Transaction>> {
        self.store.read_transaction(&self.folder.pending(id), id)
    }

    /// A transaction that a [`Listing`](super::Listing) told: it is on the chain. `None` where its file is not in its place.
    pub fn listed(&self, id: TransactionId) -> Result<Option<Transaction>> {
        self.store
            .read_transaction(&self.folder.transaction(id), id)
    }

    /// Finds a transaction on the chain or among the pending ones; `None` where it is neither. The root is neither.
    ///
    /// # Errors
    /// [`Error::LogIsWrong`], as of all reads of the chain; [`Error::Damaged`].
    pub fn find_transaction(&self, id: TransactionId) -> Result<Option<FoundTransaction>> {
        // What is pending at the first look may be on the chain at the second.
        for _ in 0..2 {
            let head = self.vouched_head()?.ok_or(Error::UserGone)?;
            let (place, on_chain) = match self.locate(head, id)? {
                Where::OnChain(_) => (self.folder.transaction(id), true),
                Where::Pending(_) => (self.folder.pending(id), false),
                Where::Nowhere => continue,
            };
            if id == TransactionId::ROOT {
                return Ok(None);
            }
            if let Some(transaction) = self.store.read_transaction(&place, id)? {
                return Ok(Some(FoundTransaction {
                    transaction,
                    on_chain,
                }));
            }
        }
        Ok(None)
    }
}

impl Exclusive {
    /// Advances HEAD as [`Exclusive::advance`] does, over a line of pending transactions that have been read: to the last of
    /// them. None of them is read again.
    pub fn advance_over_read(self, line: &[Transaction]) -> Result<(Advance, Leftovers)> {
        let to = line.last().map_or(TransactionId::ROOT, |last| last.id);
        // Else what is told here would be forgotten with what was known before.
        self.forget_if_swept()?;
        let starts = line
            .iter()
            .map(|read: &Transaction| (read.id, Start::of(read)));
        self.state.known().pending.extend(starts);
        self.advance_over(to, &AlreadyRead::of(line))
    }

    /// Sets the tip of what is pending: durable when it returns. All that it reaches is durable already, as what was put is.
    ///
    /// # Errors
    /// Those of the disk. After a failed sync either tip may be the one that is there after a power cut.
    pub fn set_local(&self, tip: TransactionId) -> Result<()> {
        self.replace_small(&self.folder.local(), format!("{tip}\n").as_bytes())
    }

    /// Remembers these ids as replaced, each with the one in its place: the last of them all, as many as are kept.
    pub fn add_renamed(&self, new: &[(TransactionId, TransactionId)]) -> Result<()> {
        let mut all = self.renamed()?;
        all.extend_from_slice(new);
        let kept = &all[all.len().saturating_sub(limits::RENAMED)..];
        let lines: String = kept
            .iter()
            .map(|(old, new)| format!("{old} {new}\n"))
            .collect();
        self.replace_small(&self.folder.renamed(), lines.as_bytes())
    }

    /// Drops pending transactions that nothing reaches any more, the last one first, and these chunks that only they
    /// named. Best effort: what stays is garbage.
    pub fn drop_replaced(
        &self,
        transactions: &[TransactionId],
        chunks: &[ChunkDigest],
    ) -> Result<()> {
        self.note_taken()?;
        for id in transactions.iter().rev() {
            self.drop_pending(*id, &self.folder.pending(*id))?;
        }
        self.sync_dirs([Dir::Pending], Vec::new())?;
        for digest in chunks {
            self.store
                .sweep(&self.folder.chunk(Area::Incoming, digest))?;
        }
        Ok(())
    }

    fn replace_small(&self, place: &Place, bytes: &[u8]) -> Result<()> {
        let mut temporary = self.temporary()?;
        temporary.file.append(bytes)?;
        let file = Target::File(temporary.file.clone());
        self.store.disk.sync(&[file])?;
        self.replace_in_folder(&mut temporary, place)
    }

    /// Renames a file that is durable over one of the user's folder: durable when it returns. The folder is another by that to
    /// whoever looks at its time of change, and its name as durable as it was.
    pub(super) fn replace_in_folder(&self, new: &mut Temporary, place: &Place) -> Result<()> {
        new.replace(place)?;
        let folder = self.store.disk.meta(self.folder.place())?;
        self.sync_dirs([Dir::User], Vec::new())?;
        drop(self.state.replaced_in(&folder));
        Ok(())
    }
}
