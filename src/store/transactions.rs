//! A PUT of a transaction that is drafted: it is checked, and pending then.

use std::collections::HashSet;

use super::draft::Draft;
use super::incoming::Temporary;
use super::layout::{Area, Dir, Thing};
use super::locate::Where;
use super::lock::{Exclusive, Locked, Shared};
use super::lookup::Found;
use super::mistake::Mistake;
use super::pending::PendingRoom;
use super::publish::Published;
use super::to_sync::ToSync;
use super::{Error, Proposal, PutTransaction, Result, Store, User};
use crate::model::{ChunkId, Head, TransactionId, limits};

/// The lock under which a transaction is put: the shared one, or the exclusive one where room for pending
/// transactions is scarce.
pub enum PutLock {
    Shared(Shared),
    Exclusive(Exclusive),
}

/// The lock to be taken for a PUT of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutMode {
    /// The shared one: room for pending transactions is counted now and then.
    Shared,
    /// The exclusive one: each is counted in.
    Exclusive,
}

impl Store {
    /// The lock under which to put a transaction: where only few may be pending, the shared one never tells
    /// whether there is room.
    pub fn mode_to_put(&self) -> PutMode {
        match self.options.pending_transactions <= limits::PENDING_SCARCE {
            true => PutMode::Exclusive,
            false => PutMode::Shared,
        }
    }
}

impl User {
    /// Takes the lock under which a transaction is put; `None` for a user without a folder. Waits as
    /// [`User::shared`] does.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::UserGone`]
    pub async fn lock_to_put(&self, mode: PutMode) -> Result<Option<PutLock>> {
        Ok(match mode {
            PutMode::Shared => self.shared().await?.map(PutLock::Shared),
            PutMode::Exclusive => self.exclusive().await?.map(PutLock::Exclusive),
        })
    }

    /// Takes that lock if that needs no waiting; `None` where it does.
    ///
    /// # Errors
    /// [`Error::UserGone`] where there is no folder any more.
    pub fn lock_to_put_now(&self, mode: PutMode) -> Option<Result<PutLock>> {
        Some(match mode {
            PutMode::Shared => self.shared_now()?.map(PutLock::Shared),
            PutMode::Exclusive => self.exclusive_now()?.map(PutLock::Exclusive),
        })
    }
}

impl PutLock {
    /// Takes a drafted transaction in as pending, as [`Shared::put_transaction`] does.
    ///
    /// # Errors
    /// Those of [`Shared::put_transaction`].
    pub fn put_transaction(self, draft: Draft) -> Result<PutTransaction> {
        match self {
            PutLock::Shared(lock) => lock.put_transaction(draft),
            PutLock::Exclusive(lock) => lock.put_transaction(draft),
        }
    }
}

impl Shared {
    /// Takes a drafted transaction in as pending, after the checks in the protocol's order: the
    /// parent, whether it exists, the chunks. One that is there already is checked like a first, and made
    /// young. Gives the lock back before it waits for its last sync; under it only chunks are synced that this
    /// process has not.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`], [`Error::Busy`] where the parent changed since the draft, and those of the disk.
    pub fn put_transaction(self, draft: Draft) -> Result<PutTransaction> {
        let room = |_, head| self.room_for_one(head);
        let put = self.put(draft, &room)?;
        self.release().told(put)
    }
}

impl Exclusive {
    /// Takes a drafted transaction in as pending, as [`Shared::put_transaction`] does; what can never be committed
    /// makes room for it if it must. Never answers [`PutTransaction::Crowded`].
    ///
    /// # Errors
    /// Those of [`Shared::put_transaction`].
    pub fn put_transaction(self, draft: Draft) -> Result<PutTransaction> {
        let room = |parent: Option<TransactionId>, head| {
            let room = self.make_room(head, 1)?;
            // What made room may be the parent.
            match parent {
                Some(parent) if room == PendingRoom::Enough && self.is_gone(parent)? => {
                    Ok(PendingRoom::ParentGone)
                }
                _ => Ok(room),
            }
        };
        let put = self.put(draft, &room)?;
        self.release().told(put)
    }
}

/// How a PUT under the lock ended.
enum Put {
    /// The transaction has its name, which is to be synced.
    Named(ToSync),
    /// The client can be told.
    Told(PutTransaction),
}

/// Asks for room for one more pending transaction: its parent where that is pending too, and HEAD.
type AskRoom<'a> = &'a dyn Fn(Option<TransactionId>, Head) -> Result<PendingRoom>;

impl User {
    /// Makes a transaction that was put durable, the lock given back.
    fn told(self, put: Put) -> Result<PutTransaction> {
        match put {
            Put::Told(outcome) => Ok(outcome),
            Put::Named(to_sync) => {
                if !self.store.mistakes.made(Mistake::AnswerBeforeSync) {
                    self.sync(to_sync)?;
                }
                Ok(PutTransaction::Accepted)
            }
        }
    }
}

impl Locked {
    fn put(&self, draft: Draft, room: AskRoom<'_>) -> Result<Put> {
        self.state.check_writable()?;
        let Draft { proposal, written } = draft;
        let mut to_sync = ToSync::default();
        // The directory holds a pending parent's name too.
        to_sync.dir(Dir::Pending);
        if self.store.mistakes.made(Mistake::NoReplayCheck) && self.is_replay(&proposal)? {
            return Ok(Put::Named(to_sync));
        }
        let told = |outcome| Ok(Put::Told(outcome));
        let Some((seq, mut temporary)) = written else {
            return told(PutTransaction::UnknownParent);
        };
        let head = self.vouched_head()?.ok_or(Error::UserGone)?;

        // The parent.
        let parent = self.log_was_mended(self.locate(head, proposal.parent))?;
        let pending_parent = matches!(parent, Where::Pending(_)).then_some(proposal.parent);
        let Some(parent_seq) = parent.seq() else {
            return told(PutTransaction::UnknownParent);
        };
        if parent_seq + 1 != seq {
            // Since the draft the parent was collected as garbage and put anew, elsewhere.
            return Err(Error::Busy);
        }
        if proposal.seq.is_some_and(|sent| sent != seq) {
            return told(PutTransaction::WrongSeq { expected: seq });
        }

        // Whether it exists.
        let there = self.log_was_mended(self.locate(head, proposal.id))?;
        let place = self.folder.pending(proposal.id);
        match there {
            Where::OnChain(_) => return self.put_on_chain(&proposal).map(Put::Told),
            Where::Pending(_) => match self.store.read_transaction(&place, proposal.id)? {
                // One of another number followed a parent that went and came again elsewhere.
                Some(there) if proposal.is(&there) && there.seq == seq => {}
                _ => return self.refuse_id().map(Put::Told),
            },
            Where::Nowhere => {}
        }

        // The chunks.
        let missing = self.check_named(&proposal)?;
        if !missing.is_empty() {
            return told(PutTransaction::MissingChunks(missing));
        }

        // Publish.
        if let Where::Pending(_) = there {
            let thing = Thing::Transaction(proposal.id);
            let meta = self.look_for(Area::Incoming, &thing)?;
            let (area, meta) = (Area::Incoming, meta.ok_or(Error::UserGone)?);
            self.refresh(&thing, Found { area, meta }, &mut to_sync)?;
            return Ok(Put::Named(to_sync));
        }
        match room(pending_parent, head)? {
            PendingRoom::Enough => {}
            PendingRoom::ParentGone => return told(PutTransaction::UnknownParent),
            PendingRoom::Unsure => return told(PutTransaction::Crowded(Box::new(proposal))),
            PendingRoom::None { used, .. } => {
                let limit = self.store.options.pending_transactions;
                return told(PutTransaction::TooManyPending { limit, used });
            }
        }
        match self.publish_pending(&proposal, &mut temporary, &mut to_sync)? {
            Published::New | Published::There => Ok(Put::Named(to_sync)),
            Published::Other => self.refuse_id().map(Put::Told),
        }
    }

    /// Accepts a transaction that is on the chain with the same content. A chunk of its that was lost, and came
    /// again since, gets its place.
    fn put_on_chain(&self, proposal: &Proposal) -> Result<PutTransaction> {
        let place = self.folder.transaction(proposal.id);
        let there = self.store.read_transaction(&place, proposal.id)?;
        if !there.is_some_and(|there| proposal.is(&there)) {
            return Ok(PutTransaction::TransactionExists);
        }
        let missing = self.keep_named(&proposal.chunks)?;
        Ok(match missing.is_empty() {
            true => PutTransaction::Accepted,
            false => PutTransaction::MissingChunks(missing),
        })
    }

    /// Returns the chunks that a proposal names and that are not there, each once. Where all are, they are durable
    /// before the transaction has a name: a live one whose chunk is not there is damage, whatever a crash leaves.
    pub(super) fn check_named(&self, proposal: &Proposal) -> Result<Vec<ChunkId>> {
        let (mut missing, mut seen) = (Vec::new(), HashSet::new());
        let mut relied_on = ToSync::default();
        for chunk in &proposal.chunks {
            if seen.insert(chunk) {
                match self.reach(chunk, &mut relied_on)? {
                    Some(resolved) => self.rely_on_chunk(&resolved, &mut relied_on),
                    None => missing.push(*chunk),
                }
            }
        }
        if missing.is_empty() {
            match relied_on.is_empty() {
                true => self.vouch(relied_on.into_parts().2),
                false => self.sync(relied_on)?,
            }
        }
        Ok(missing)
    }

    fn publish_pending(
        &self,
        proposal: &Proposal,
        temporary: &mut Temporary,
        to_sync: &mut ToSync,
    ) -> Result<Published> {
        // Somebody else may be quicker with this id: perhaps with the same content.
        let is_same = |place: &_| {
            let there = self.store.read_transaction(place, proposal.id)?;
            Ok(there.is_some_and(|there| proposal.is(&there)))
        };
        let thing = Thing::Transaction(proposal.id);
        self.publish(&thing, temporary, &is_same, to_sync)
    }

    /// Whether this very transaction is pending already. For the mistake that asks nothing else.
    fn is_replay(&self, proposal: &Proposal) -> Result<bool> {
        let place = self.folder.pending(proposal.id);
        let there = self.store.read_transaction(&place, proposal.id)?;
        Ok(there.is_some_and(|there| proposal.is(&there)))
    }

    /// Refuses an id that stands for other content. That is a promise too: the name is synced before.
    fn refuse_id(&self) -> Result<PutTransaction> {
        self.sync_dirs([Dir::Pending], Vec::new())?;
        Ok(PutTransaction::TransactionExists)
    }
}
