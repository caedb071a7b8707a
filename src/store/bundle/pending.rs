//! In, the transactions of a push: taken in as pending, each checked like one that is put by itself.

use std::collections::HashSet;

use super::intake::{Intake, PushBundle, Step};
use super::staging::StagedTransaction;
use super::tar::bad;
use crate::disk::{Mode, Place};
use crate::model::{Head, TransactionId, limits};
use crate::store::json::{self, Start};
use crate::store::layout::{Dir, Thing};
use crate::store::lock::UserLock;
use crate::store::transactions::Where;
use crate::store::{Error, Result};

impl Intake<'_> {
    /// Takes the transactions in as pending, parents before children, each checked like one that is
    /// put by itself: its parent, whether it exists, its chunks.
    pub fn publish_transactions(&mut self, head: Option<TransactionId>) -> Step<()> {
        if self.staging.transactions.is_empty() {
            return Ok(());
        }
        self.sync_contents()?;
        self.sort_transactions();
        self.check_parents()?;
        let looked_at = self.find_on_chain()?;
        let mut next = 0;
        while next < self.staging.transactions.len() {
            let lock = self.lock(Mode::Shared)?;
            let now = self.store.vouched_head(&self.state, &self.folder)?;
            let now = now.ok_or(Error::UserGone)?;
            self.store.forget_if_swept(&lock)?;
            if next == 0 {
                self.check_room(&lock, now, head)?;
            }
            for _ in 0..limits::PUBLISHED_AT_ONCE {
                if next == self.staging.transactions.len() {
                    break;
                }
                if now != looked_at {
                    self.look_again(now, next)?;
                }
                self.publish_transaction(&lock, now, next)?;
                next += 1;
            }
        }
        self.staging.transactions.clear();
        Ok(())
    }

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

    fn by_id(&self) -> Vec<u32> {
        let transactions = &self.staging.transactions;
        let mut by_id: Vec<u32> = (0..transactions.len() as u32).collect();
        by_id.sort_unstable_by_key(|&index| transactions[index as usize].id);
        by_id
    }

    fn contents(&self, staged: &StagedTransaction) -> Result<Vec<u8>> {
        let place = self.staging.place(&Thing::Transaction(staged.id));
        let contents = self.store.read_file(&place, staged.bytes as usize)?;
        contents.ok_or(Error::UserGone)
    }

    /// Every parent is there: in the bundle, on the chain or pending; and each number follows the
    /// parent's. Looked at without a lock, since `log` may have to be rebuilt for it.
    fn check_parents(&mut self) -> Step<()> {
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
                    self.store.mending_log(&self.user, || {
                        self.store.parent_now(&self.user, staged.parent)
                    })?
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

    /// Refuses more pending transactions than there may be. Those that HEAD is about to reach do not
    /// stay pending and are not counted.
    fn check_room(&self, lock: &UserLock, now: Head, head: Option<TransactionId>) -> Step<()> {
        let transactions = &self.staging.transactions;
        let by_id = self.by_id();
        let mut reached = 0;
        let mut here = head;
        while let Some(id) = here.filter(|id| *id != now.id) {
            let found = by_id.binary_search_by_key(&id, |&i| transactions[i as usize].id);
            here = found.ok().map(|at| transactions[by_id[at] as usize].parent);
            reached += usize::from(here.is_some());
        }
        let staying = match here {
            Some(_) => transactions.len() - reached,
            None => transactions.len(),
        };
        let used = self.store.count_pending(lock)?;
        let limit = self.store.options.pending_transactions;
        if staying > 0 && used + staying > limit {
            // Perhaps most of them are there: then it is not more that they need.
            let mut new = 0;
            for staged in transactions {
                let there = self.is_there(&self.folder.pending(staged.id))?
                    || self.is_there(&self.folder.transaction(staged.id))?;
                new += usize::from(!there);
            }
            if used + new.min(staying) > limit {
                return Err(PushBundle::TooManyPending { limit, used }.into());
            }
        }
        Ok(())
    }

    /// Which of them are on the chain; says at which HEAD. Without a lock, as `log` may have to be
    /// rebuilt for it.
    fn find_on_chain(&mut self) -> Step<Head> {
        let (store, folder) = (self.store, &self.folder);
        // First, so that a HEAD that moves meanwhile is noticed.
        let head = store.vouched_head(&self.state, folder)?;
        for staged in &mut self.staging.transactions {
            let found = store.mending_log(&self.user, || {
                let head = store.vouched_head(&self.state, folder)?;
                store.locate_on_chain(folder, head.ok_or(Error::UserGone)?, staged.id)
            });
            staged.on_chain = matches!(found?, Where::OnChain(_));
        }
        Ok(head.ok_or(Error::UserGone)?)
    }

    /// HEAD has moved since.
    fn look_again(&mut self, now: Head, index: usize) -> Step<()> {
        let staged = &mut self.staging.transactions[index];
        let found = self.store.locate_on_chain(&self.folder, now, staged.id);
        let found = self.store.log_was_mended(found, &self.folder)?;
        staged.on_chain = matches!(found, Where::OnChain(_));
        Ok(())
    }

    fn publish_transaction(&mut self, lock: &UserLock, now: Head, index: usize) -> Step<()> {
        let store = self.store;
        let staged = &self.staging.transactions[index];
        let (id, seq, bytes) = (staged.id, staged.seq, staged.bytes);
        let (parent, has_chunks) = (staged.parent, staged.has_chunks);

        // The parent, once more: an old one may have been collected as garbage meanwhile.
        if staged.is_outside {
            let there = store.parent_seq(&self.folder, now, parent);
            match store.log_was_mended(there, &self.folder)? {
                None => return Err(PushBundle::UnknownParent(id).into()),
                Some(there) if there + 1 == seq => {}
                // It went, and came again elsewhere.
                Some(_) => return Err(Error::Busy.into()),
            }
        }

        // Whether it exists.
        let place = self.folder.pending(id);
        if staged.on_chain {
            let there = self.folder.transaction(id);
            self.compare(index, &there, Dir::of_transaction(id))?;
            // What it names and was lost may have come with this bundle.
            let contents = self.contents(&self.staging.transactions[index])?;
            let transaction = json::decode(&contents).ok_or(Error::UserGone)?;
            store.keep_named(lock, &transaction.chunks)?;
            self.existing.transaction(bytes);
            return Ok(());
        }

        // The chunks.
        if !has_chunks {
            self.check_chunks(index)?;
        }

        // Publish.
        if self.name(
            lock,
            &Thing::Transaction(id),
            bytes.into(),
            Dir::Pending,
            &place,
        )? {
            let mut known = lock.state.known();
            if let Some(count) = &mut known.pending_count {
                *count += 1;
            }
            known.pending.insert(id, Start { id, seq, parent });
            drop(known);
            self.stored.transaction(bytes);
        } else {
            self.compare(index, &place, Dir::Pending)?;
            self.touch(&place)?;
            self.existing.transaction(bytes);
        }
        Ok(())
    }

    /// A transaction of this id is there: with the same content?
    fn compare(&mut self, index: usize, there: &Place, dir: Dir) -> Step<()> {
        let staged = &self.staging.transactions[index];
        let id = staged.id;
        let ours = self.contents(staged)?;
        let limit = limits::TRANSACTION_BYTES + json::PREFIX;
        let theirs = self.store.read_file(there, limit)?.ok_or(Error::UserGone)?;
        self.dirs.insert(dir);
        if ours != theirs {
            self.sync()?;
            return Err(PushBundle::TransactionExists(id).into());
        }
        Ok(())
    }

    /// Looks for the chunks that this transaction names.
    fn check_chunks(&mut self, index: usize) -> Step<()> {
        let contents = self.contents(&self.staging.transactions[index])?;
        let transaction = json::decode(&contents).ok_or(Error::UserGone)?;
        let (mut missing, mut seen) = (Vec::new(), HashSet::new());
        for chunk in &transaction.chunks {
            if !seen.insert(chunk) {
                continue;
            }
            match self.store.resolve(&self.folder, chunk)? {
                Some(resolved) => {
                    let dirs = self.store.unvouched(&self.user, &resolved);
                    self.dirs.extend(dirs);
                }
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
