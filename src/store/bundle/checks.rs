//! In: transactions of a push are checked as those that are put by themselves are: parent, content, chunks.

use std::collections::HashSet;

use super::intake::Intake;
use super::outcome::{PushBundle, Step};
use super::staging::StagedTransaction;
use super::tar::bad;
use crate::disk::Place;
use crate::model::{Head, limits};
use crate::store::json;
use crate::store::layout::{Dir, Thing};
use crate::store::locate::Where;
use crate::store::lock::Exclusive;
use crate::store::{Error, Result};

impl Intake {
    /// Sorts by number, so that parents stand before children; one that came twice is there once.
    pub(super) fn sort_transactions(&mut self) {
        let existing = &mut self.existing;
        let transactions = &mut self.staging.transactions;
        transactions.sort_unstable_by_key(|staged| (staged.seq, staged.id));
        // With the same content, as they were found to be, and so with the same number.
        transactions.dedup_by(|again, staged| {
            let twice = again.id == staged.id;
            if twice {
                existing.transaction(again.bytes);
            }
            twice
        });
    }

    /// The places of the transactions in `staging`, sorted by id.
    pub(super) fn by_id(&self) -> Vec<u32> {
        let transactions = &self.staging.transactions;
        let mut by_id: Vec<u32> = (0..transactions.len() as u32).collect();
        by_id.sort_unstable_by_key(|&index| transactions[index as usize].id);
        by_id
    }

    fn contents(&self, staged: &StagedTransaction) -> Result<Vec<u8>> {
        let place = self.staging.place(&Thing::Transaction(staged.id));
        let contents = self.user.store.read_file(&place, staged.bytes as usize)?;
        contents.ok_or(Error::UserGone)
    }

    /// Checks that every parent is there: in the bundle, on the chain or pending; and each number follows the
    /// parent's. Takes no lock, since `log` may have to be rebuilt for it.
    pub(super) fn check_parents(&mut self) -> Step<()> {
        let by_id = self.by_id();
        let mut outside = Vec::new();
        let transactions = &self.staging.transactions;
        let number_of = |parent| {
            let found = by_id.binary_search_by_key(&parent, |&i| transactions[i as usize].id);
            found.ok().map(|at| transactions[by_id[at] as usize].seq)
        };
        for (index, staged) in transactions.iter().enumerate() {
            let parent = match number_of(staged.parent) {
                Some(seq) => Some(seq),
                None => {
                    outside.push(index);
                    self.user
                        .mending_log(|| self.user.parent_now(staged.parent))?
                }
            };
            match parent {
                None => return Err(PushBundle::UnknownParent(staged.id).into()),
                Some(seq) if seq.checked_add(1) == Some(staged.seq) => {}
                Some(seq) => {
                    let StagedTransaction {
                        id, seq: number, ..
                    } = staged;
                    return Ok(bad(format!(
                        "the transaction {id} has the number {number}, and its parent {seq}"
                    ))?);
                }
            }
        }
        for index in outside {
            self.staging.transactions[index].is_outside = true;
        }
        Ok(())
    }

    /// Marks the transactions that are on the chain, and returns the HEAD that they were compared with. Takes
    /// no lock, as `log` may have to be rebuilt for it.
    pub(super) fn find_on_chain(&mut self) -> Step<Head> {
        // First, so that a HEAD that moves meanwhile is noticed.
        let head = self.user.vouched_head()?;
        for staged in &mut self.staging.transactions {
            let found = self.user.mending_log(|| {
                let head = self.user.vouched_head()?;
                self.user
                    .locate_on_chain(head.ok_or(Error::UserGone)?, staged.id)
            });
            staged.on_chain = matches!(found?, Where::OnChain(_));
        }
        Ok(head.ok_or(Error::UserGone)?)
    }

    /// Looks again whether a transaction is on the chain, since HEAD has moved.
    pub(super) fn look_again(&mut self, now: Head, index: usize) -> Step<()> {
        let staged = &mut self.staging.transactions[index];
        let found = self.user.locate_on_chain(now, staged.id);
        let found = self.user.log_was_mended(found)?;
        staged.on_chain = matches!(found, Where::OnChain(_));
        Ok(())
    }

    /// Checks a transaction as one that is put by itself is: its parent, whether it exists, its chunks. Syncs
    /// what another of its id stands on before it is refused for that.
    pub(super) fn check_transaction(
        &mut self,
        lock: &Exclusive,
        now: Head,
        index: usize,
        is_pending: bool,
    ) -> Step<()> {
        let staged = &self.staging.transactions[index];
        let (id, seq, has_chunks) = (staged.id, staged.seq, staged.has_chunks);

        // The parent, once more: an old one may have been collected as garbage meanwhile.
        if staged.is_outside {
            let there = self.user.parent_seq(now, staged.parent);
            match self.user.log_was_mended(there)? {
                None => return Err(PushBundle::UnknownParent(id).into()),
                Some(there) if there + 1 == seq => {}
                // It went, and came again elsewhere.
                Some(_) => return Err(Error::Busy.into()),
            }
        }

        // Whether it exists.
        if self.staging.transactions[index].on_chain {
            let there = self.user.folder.transaction(id);
            self.compare(index, &there, Dir::of_transaction(id))?;
            // What it names and was lost may have come with this bundle.
            let contents = self.contents(&self.staging.transactions[index])?;
            let transaction = json::decode(&contents).ok_or(Error::UserGone)?;
            lock.keep_named(&transaction.chunks)?;
            return Ok(());
        }
        if is_pending {
            let there = self.user.folder.pending(id);
            self.compare(index, &there, Dir::Pending)?;
        }

        // The chunks.
        if !has_chunks {
            self.check_chunks(lock, index)?;
        }
        Ok(())
    }

    /// Compares with the transaction of this id that is there: another content refuses the push.
    pub(super) fn compare(&mut self, index: usize, there: &Place, dir: Dir) -> Step<()> {
        let is_same = self.is_same(index, there)?;
        self.to_sync.dir(dir);
        match is_same {
            true => Ok(()),
            false => self.refuse_id(index),
        }
    }

    /// Whether the transaction that is there has the same content.
    pub(super) fn is_same(&self, index: usize, there: &Place) -> Result<bool> {
        let ours = self.contents(&self.staging.transactions[index])?;
        let limit = limits::TRANSACTION_BYTES + json::PREFIX;
        let theirs = self.user.store.read_file(there, limit)?;
        Ok(ours == theirs.ok_or(Error::UserGone)?)
    }

    /// Refuses the push because of an id that stands for other content. That is a promise too: the name is synced
    /// before.
    pub(super) fn refuse_id(&mut self, index: usize) -> Step<()> {
        self.sync()?;
        Err(PushBundle::TransactionExists(self.staging.transactions[index].id).into())
    }

    /// Looks for the chunks that this transaction names.
    fn check_chunks(&mut self, lock: &Exclusive, index: usize) -> Step<()> {
        let contents = self.contents(&self.staging.transactions[index])?;
        let transaction = json::decode(&contents).ok_or(Error::UserGone)?;
        let (mut missing, mut seen) = (Vec::new(), HashSet::new());
        for chunk in &transaction.chunks {
            if !seen.insert(chunk) {
                continue;
            }
            match lock.reach(chunk, &mut self.to_sync)? {
                Some(resolved) => self.user.rely_on_chunk(&resolved, &mut self.to_sync),
                None if missing.len() < limits::MISSING_NAMED => missing.push(*chunk),
                None => {}
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(PushBundle::MissingChunks(missing).into())
    }
}
