//! In, the fast-forward: a bundle that simply continues HEAD is committed at once.
//!
//! Its transactions are one line from HEAD to the bundle's own HEAD, and its chunks are what they name:
//! then nothing of it has to be pending first. With all contents durable, and under the exclusive lock, the
//! files get their committed names, chunks before transactions, and HEAD advances (DESIGN, Advance of HEAD). A
//! directory of first bytes that the user does not have yet moves in whole. What a crash leaves before
//! HEAD is replaced is what one leaves in any advance: files that nothing reaches.

use std::collections::BTreeSet;

use super::intake::{DirsSeen, Intake};
use super::outcome::{PushBundle, Step};
use super::staging::StagedTransaction;
use crate::disk::Place;
use crate::model::{Head, TransactionId};
use crate::store::error::damaged;
use crate::store::layout::{Area, Dir, Folder, Thing};
use crate::store::lock::Exclusive;
use crate::store::mistake::Mistake;
use crate::store::tally::Amount;
use crate::store::{Error, Leftovers, Result};

/// A file or directory that has moved from the push's folder to the same place in the user's.
#[derive(Clone, Copy)]
enum Moved {
    Dir(Dir),
    File(Thing),
}

impl Intake {
    /// Takes the bundle in as a fast-forward; `None`, and nothing is done, where it is none.
    pub fn fast_forward(
        &mut self,
        to: Option<TransactionId>,
    ) -> Step<Option<(PushBundle, Leftovers)>> {
        self.sync_contents()?;
        self.sort_chunks();
        self.sort_transactions();
        let Some(to) = to.filter(|to| self.is_one_line(*to)) else {
            return Ok(None);
        };
        self.user.mend_before_advance()?;
        let lock = self.exclusive()?;
        let head = lock.head_under_lock()?;
        let head = head.ok_or(Error::UserGone)?;
        if !self.continues(&lock, head, to)? || !self.has_all_chunks()? {
            return Ok(None);
        }
        let room = match self.user.reserve_all(self.amount()) {
            // Member by member it takes in what there is room for.
            Err(Error::QuotaExceeded { .. }) => return Ok(None),
            room => room?,
        };
        let ids = self.staging.transaction_ids();
        let before = self.existing;
        let staged = self.staging.folder().clone();
        let (head, _) = lock.or_take_back(
            |moved| {
                let (from, to) = ends(&staged, &lock.folder, *moved);
                lock.store.disk.rename_new(&to, &from)
            },
            |moved| {
                let dirs = self.name_all(&lock, moved)?;
                lock.move_head(head, &ids, dirs)
            },
        )?;
        room.keep();
        // What was there already takes no more room.
        let again = Amount {
            files: before.chunks as i64 - self.existing.chunks as i64,
            bytes: before.bytes as i64 - self.existing.bytes as i64,
        };
        self.user.changed(again);
        let taken = PushBundle::Taken {
            head,
            stored: self.stored,
            existing: self.existing,
        };
        Ok(Some((taken, Leftovers::none(lock))))
    }

    /// Whether each transaction is the parent of the next, the last one is to be HEAD, and every chunk is
    /// named by one of them.
    fn is_one_line(&self, to: TransactionId) -> bool {
        let Some(named) = &self.named else {
            return false;
        };
        let follows = |pair: &[StagedTransaction]| {
            (pair[1].parent, pair[1].seq) == (pair[0].id, pair[0].seq + 1)
        };
        let transactions = &self.staging.transactions;
        transactions.last().is_some_and(|last| last.id == to)
            && transactions.windows(2).all(follows)
            && self.staging.aliases.is_empty()
            && (self.staging.chunks.iter()).all(|staged| named.contains(&staged.digest))
    }

    /// Whether the first transaction's parent is HEAD; the last has no child; none of them is there, not even
    /// off the chain; and no chunk is, but for committed ones.
    fn continues(&self, lock: &Exclusive, head: Head, to: TransactionId) -> Result<bool> {
        let transactions = &self.staging.transactions;
        let first = transactions.first().map(|first| (first.parent, first.seq));
        if first != Some((head.id, head.seq + 1)) {
            return Ok(false);
        }
        lock.look_at_pending(&self.staging.transaction_ids())?;
        let seq = head.seq + transactions.len() as u64;
        if !(lock.pending_children(Head { id: to, seq })).is_empty() {
            return Ok(false);
        }
        let over_pending = self
            .user
            .store
            .mistakes
            .made(Mistake::FastForwardOverPending);
        let known = lock.state.known();
        let is_pending = |staged: &StagedTransaction| known.pending.contains_key(&staged.id);
        if !over_pending && transactions.iter().any(is_pending) {
            return Ok(false);
        }
        drop(known);
        let transactions = transactions
            .iter()
            .map(|staged| (Area::Committed, Thing::Transaction(staged.id)));
        let chunks = (self.staging.chunks.iter())
            .map(|staged| (Area::Incoming, Thing::Chunk(staged.digest)));
        let mut seen = DirsSeen::default();
        for (area, thing) in transactions.chain(chunks) {
            if seen.holds(&self.user, area, &thing)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether every chunk that is named came with the bundle, or is committed.
    fn has_all_chunks(&mut self) -> Result<bool> {
        let Some(mut named) = self.named.take() else {
            return Ok(false);
        };
        for staged in &self.staging.chunks {
            named.remove(&staged.digest);
        }
        for digest in named {
            if !self.is_there(&self.user.folder.chunk(Area::Committed, &digest))? {
                return Ok(false);
            }
            self.to_sync.dir(Dir::of_chunk(Area::Committed, &digest));
        }
        Ok(true)
    }

    fn amount(&self) -> Amount {
        let mut amount = Amount::default();
        for staged in &self.staging.chunks {
            amount.add(Amount::file(staged.bytes));
        }
        for staged in &self.staging.transactions {
            amount.add(Amount::file(staged.bytes.into()));
        }
        amount
    }

    /// Gives all members their committed names; returns the directories that hold what HEAD is to rely on.
    fn name_all(&mut self, lock: &Exclusive, moved: &mut Vec<Moved>) -> Result<BTreeSet<Dir>> {
        let chunks = std::mem::take(&mut self.staging.chunks);
        let chunks = chunks
            .iter()
            .map(|staged| (Thing::Chunk(staged.digest), staged.bytes));
        let transactions = (self.staging.transactions.iter())
            .map(|staged| (Thing::Transaction(staged.id), staged.bytes.into()));
        let kinds: [Vec<(Thing, u64)>; 2] = [chunks.collect(), transactions.collect()];
        let mut dirs = self.to_sync.take_dirs();
        for things in kinds {
            let theirs: BTreeSet<Dir> = things
                .iter()
                .map(|(thing, _)| thing.dir(Area::Committed))
                .collect();
            let mut whole = BTreeSet::new();
            for dir in &theirs {
                if self.move_over(lock, Moved::Dir(*dir), moved)? {
                    // It is made here, and so is not vouched for.
                    lock.state.known().directories.remove(*dir);
                    whole.insert(*dir);
                }
            }
            for (thing, bytes) in things {
                let new = whole.contains(&thing.dir(Area::Committed))
                    || self.move_over(lock, Moved::File(thing), moved)?;
                self.count(&thing, bytes, new)?;
                if !new {
                    self.replace_if_damaged(lock, &thing, bytes)?;
                }
            }
            dirs.extend(theirs);
        }
        dirs.extend(self.to_sync.take_dirs());
        Ok(dirs)
    }

    /// Gives a chunk that is there already the bytes that came, if it has not as many.
    fn replace_if_damaged(&mut self, lock: &Exclusive, thing: &Thing, bytes: u64) -> Result<()> {
        let there = lock.look_for(Area::Committed, thing)?;
        if there.is_some_and(|there| there.bytes != bytes) {
            let mut file = self.staging.unnamed(thing, bytes);
            lock.replace_damaged(thing, Area::Committed, &mut file, &mut self.to_sync)?;
        }
        Ok(())
    }

    fn count(&mut self, thing: &Thing, bytes: u64, new: bool) -> Result<()> {
        match (thing, new) {
            (Thing::Transaction(_), true) => self.stored.transaction(bytes as u32),
            (Thing::Transaction(_), false) => {
                let place = self.user.folder.thing(Area::Committed, thing);
                return Err(damaged(&place, "there, though the lock is held"));
            }
            (_, true) => self.stored.chunk(bytes),
            // A crash left it there, or it was committed meanwhile: it is the same.
            (_, false) => self.existing.chunk(bytes),
        }
        Ok(())
    }

    /// Moves a file, or a whole directory of first bytes; `false` where the user has one of that name.
    fn move_over(&self, lock: &Exclusive, what: Moved, moved: &mut Vec<Moved>) -> Result<bool> {
        let into = match what {
            Moved::Dir(dir) => dir.parent().expect("it stands on a shelf"),
            Moved::File(thing) => thing.dir(Area::Committed),
        };
        let (from, to) = ends(self.staging.folder(), &self.user.folder, what);
        let new = lock.make_name(into, || lock.store.disk.rename_new(&from, &to))?;
        if new {
            moved.push(what);
        }
        Ok(new)
    }
}

/// The places of a file or directory in the push's folder and in the user's.
fn ends(staged: &Folder, user: &Folder, what: Moved) -> (Place, Place) {
    match what {
        Moved::Dir(dir) => (staged.dir(dir), user.dir(dir)),
        Moved::File(thing) => (
            staged.thing(Area::Committed, &thing),
            user.thing(Area::Committed, &thing),
        ),
    }
}
