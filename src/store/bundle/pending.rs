//! In, the transactions of a push that is no fast-forward.
//!
//! Where they are one line that HEAD reaches, they are committed without ever being pending: HEAD advances
//! over them where they stand. All others are taken in as pending, each checked like one that is put by
//! itself, and counted like it.

use std::collections::HashSet;

use super::intake::Intake;
use super::outcome::{PushBundle, Step, Stop};
use super::staging::{StagedTransaction, Staging};
use crate::disk::Place;
use crate::model::{Head, TransactionId, limits};
use crate::store::aside::Aside;
use crate::store::json::Start;
use crate::store::layout::{Dir, Thing};
use crate::store::lock::Exclusive;
use crate::store::mistake::Mistake;
use crate::store::pending::PendingRoom;
use crate::store::publish::Published;
use crate::store::tally::Amount;
use crate::store::to_sync::ToSync;
use crate::store::{Advance, AdvanceRefusal, Error, Leftovers, Result};

/// The answer to a push, and the leftovers to be cleared after it.
type Answered = (PushBundle, Option<Leftovers>);

/// Transactions that came with a push, looked up by id.
struct StagedById<'a> {
    staging: &'a Staging,
    by_id: Vec<u32>,
}

impl Aside for StagedById<'_> {
    fn find(&self, id: TransactionId) -> Option<(Start, Place)> {
        let transactions = &self.staging.transactions;
        let found = (self.by_id).binary_search_by_key(&id, |&i| transactions[i as usize].id);
        let staged = &transactions[self.by_id[found.ok()?] as usize];
        let StagedTransaction { seq, parent, .. } = *staged;
        let place = self.staging.place(&Thing::Transaction(id));
        (!staged.on_chain).then_some((Start { id, seq, parent }, place))
    }
}

impl Intake {
    /// Takes the transactions in and advances HEAD, where the bundle has one.
    pub fn take_transactions(&mut self, to: Option<TransactionId>) -> Step<Answered> {
        if self.staging.transactions.is_empty() {
            return self.finish(to);
        }
        self.sync_contents()?;
        self.sort_transactions();
        self.check_parents()?;
        let looked_at = self.find_on_chain()?;
        let mut refused = None;
        if let Some(to) = to.filter(|to| self.is_line_to(*to)) {
            match self.commit_line(to, looked_at)? {
                (outcome @ PushBundle::Refused { .. }, _) => refused = Some(outcome),
                taken => return Ok(taken),
            }
        }
        match (self.publish_transactions(looked_at)?, refused) {
            (PendingRoom::None { .. }, Some(lost)) if is_lost_race(&lost) => {
                // Never to be committed, they are nothing that a rebase could use; their chunks are.
                self.sync()?;
                Ok((lost, None))
            }
            (PendingRoom::None { used, wanted }, _) => Err(self.too_many(used, wanted)),
            _ => self.finish(to),
        }
    }

    /// Whether each that is not on the chain is the parent of the next, and the last one is to be HEAD.
    fn is_line_to(&self, to: TransactionId) -> bool {
        let mut last: Option<&StagedTransaction> = None;
        for staged in self
            .staging
            .transactions
            .iter()
            .filter(|staged| !staged.on_chain)
        {
            if last.is_some_and(|last| (last.id, last.seq + 1) != (staged.parent, staged.seq)) {
                return false;
            }
            last = Some(staged);
        }
        last.is_some_and(|last| last.id == to)
    }

    /// Advances HEAD over the line, which is not pending before, nor ever if HEAD goes there. Under one exclusive
    /// lock each transaction is checked like one that is put by itself, and the advance like any other.
    fn commit_line(&mut self, to: TransactionId, looked_at: Head) -> Step<Answered> {
        let lock = self.exclusive()?;
        let now = lock.head_under_lock()?;
        let now = now.ok_or(Error::UserGone)?;
        lock.look_at_pending(&self.staging.transaction_ids())?;
        let (mut stored, mut existing) = (self.stored, self.existing);
        let mut amount = Amount::default();
        for index in 0..self.staging.transactions.len() {
            if now != looked_at {
                self.look_again(now, index)?;
            }
            let id = self.staging.transactions[index].id;
            let is_pending = lock.state.known().pending.contains_key(&id);
            self.check_transaction(&lock, now, index, is_pending)?;
            let staged = &self.staging.transactions[index];
            match staged.on_chain || is_pending {
                true => existing.transaction(staged.bytes),
                false => {
                    stored.transaction(staged.bytes);
                    amount.add(Amount::file(staged.bytes.into()));
                }
            }
        }
        let room = self.user.reserve_all(amount)?;
        let staged = StagedById {
            staging: &self.staging,
            by_id: self.by_id(),
        };
        let (outcome, leftovers) = lock.advance_over(to, &staged)?;
        Ok(match outcome {
            Advance::Refused { head, why } => (PushBundle::Refused { head, why }, None),
            Advance::Advanced(head) => {
                room.keep();
                let taken = PushBundle::Taken {
                    head,
                    stored,
                    existing,
                };
                (taken, Some(leftovers))
            }
        })
    }

    /// Takes the transactions in as pending, parents before children, if there is room for all of them. Each
    /// batch is counted in under the exclusive lock.
    fn publish_transactions(&mut self, looked_at: Head) -> Step<PendingRoom> {
        let mut next = 0;
        while next < self.staging.transactions.len() {
            let lock = self.exclusive()?;
            let now = lock.head_under_lock()?;
            let now = now.ok_or(Error::UserGone)?;
            let end = (self.staging.transactions.len()).min(next + limits::PUBLISHED_AT_ONCE);
            // All of them at first, so that none is taken in where there is no room for the last.
            let counted = match next {
                0 => self.staging.transactions.len(),
                _ => end,
            };
            if now != looked_at {
                for index in next..counted {
                    self.look_again(now, index)?;
                }
            }
            let wanted = self.new_among(next..counted)?;
            let room = lock.make_room(now, wanted)?;
            let uncounted = self.user.store.mistakes.made(Mistake::BundleUncounted);
            if matches!(room, PendingRoom::None { .. }) && !uncounted {
                return Ok(room);
            }
            for index in next..end {
                self.publish_transaction(&lock, now, index)?;
            }
            next = end;
        }
        self.staging.transactions.clear();
        Ok(PendingRoom::Enough)
    }

    /// How many of these are neither on the chain nor pending.
    fn new_among(&self, range: std::ops::Range<usize>) -> Result<usize> {
        let pending: HashSet<_> = self
            .user
            .store
            .list_pending(&self.user.folder)?
            .into_iter()
            .collect();
        let is_new =
            |staged: &&StagedTransaction| !staged.on_chain && !pending.contains(&staged.id);
        Ok(self.staging.transactions[range]
            .iter()
            .filter(is_new)
            .count())
    }

    /// The refusal of so many more pending transactions than these that are there.
    fn too_many(&self, used: usize, wanted: usize) -> Stop {
        let limit = self.user.store.options.pending_transactions;
        let refusal = PushBundle::TooManyPending {
            limit,
            used,
            wanted,
        };
        refusal.into()
    }

    /// Refuses as early as can be what is too much, whatever HEAD will be: no line has two of one number,
    /// and what is no line is pending first.
    pub fn foresee_transactions(&mut self) -> Step<()> {
        let limit = self.user.store.options.pending_transactions;
        let staged = &self.staging.transactions;
        let look = staged.len().checked_sub(1) == Some(limit)
            || staged.len() > limit && staged.len().is_power_of_two();
        if !look {
            return Ok(());
        }
        let mut numbers: Vec<_> = staged
            .iter()
            .map(|staged| (staged.seq, staged.id))
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.windows(2).all(|pair| pair[0].0 != pair[1].0) {
            return Ok(());
        }
        let pending: HashSet<_> = self
            .user
            .store
            .list_pending(&self.user.folder)?
            .into_iter()
            .collect();
        let new = numbers.iter().filter(|(_, id)| !pending.contains(id));
        let wanted = new.count();
        if wanted <= limit {
            return Ok(());
        }
        // There is no room for so many, whatever goes; this tells how many there are that do not.
        let lock = self.exclusive()?;
        let now = lock.head_under_lock()?;
        match lock.make_room(now.ok_or(Error::UserGone)?, wanted)? {
            PendingRoom::None { used, wanted } => Err(self.too_many(used, wanted)),
            _ => Ok(()),
        }
    }

    fn publish_transaction(&mut self, lock: &Exclusive, now: Head, index: usize) -> Step<()> {
        self.check_transaction(lock, now, index, false)?;
        let staged = &self.staging.transactions[index];
        let (id, seq, bytes) = (staged.id, staged.seq, staged.bytes);
        let (parent, on_chain) = (staged.parent, staged.on_chain);
        if on_chain {
            self.existing.transaction(bytes);
            return Ok(());
        }

        // Publish.
        let thing = Thing::Transaction(id);
        let mut file = self.staging.unnamed(&thing, bytes.into());
        let mut to_sync = std::mem::replace(&mut self.to_sync, ToSync::keeping(0));
        to_sync.dir(Dir::Pending);
        let is_same = |place: &_| self.is_same(index, place);
        let published = lock.publish(&thing, &mut file, &is_same, &mut to_sync);
        self.to_sync = to_sync;
        match published? {
            Published::New => {
                let mut known = lock.state.known();
                known.pending.insert(id, Start { id, seq, parent });
                drop(known);
                self.stored.transaction(bytes);
            }
            Published::There => self.existing.transaction(bytes),
            Published::Other => self.refuse_id(index)?,
        }
        Ok(())
    }
}

fn is_lost_race(outcome: &PushBundle) -> bool {
    let why = AdvanceRefusal::NotADescendant;
    matches!(outcome, PushBundle::Refused { why: lost, .. } if *lost == why)
}
