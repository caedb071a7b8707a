//! Transactions: read where HEAD reaches them, and taken in as pending.

use std::collections::HashSet;
use std::sync::Arc;

use super::head::Position;
use super::incoming::Temporary;
use super::json::{self, Start};
use super::layout::{Dir, Folder};
use super::lock::UserLock;
use super::mistake::Mistake;
use super::pending::Room;
use super::user::{UserState, damaged};
use super::{Content, Error, PutTransaction, Result, Store};
use crate::disk::{Meta, Place, Target};
use crate::model::{ChunkId, Head, Transaction, TransactionId, UserId, limits};

/// What a client wants a transaction to be. The id is never the root's, nor the parent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub id: TransactionId,
    pub parent: TransactionId,
    pub chunks: Vec<ChunkId>,
    /// Sent along: must be the parent's plus one.
    pub seq: Option<u64>,
}

/// A proposed transaction, written and durable, but without a name. Dropped, it leaves nothing.
pub struct Draft {
    proposal: Proposal,
    /// The number and the file; none where the parent was not there.
    written: Option<(u64, Temporary)>,
}

/// Where a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    OnChain(u64),
    Pending(Start),
    Nowhere,
}

impl Store {
    /// The JSON of a transaction on the chain (never the root's), newline included; else `None`.
    pub fn transaction(&self, user: &UserId, id: TransactionId) -> Result<Option<Content>> {
        let state = self.users.state(user);
        let folder = Folder::of(user);
        let Some(head) = self.vouched_head(&state, &folder)? else {
            return self.unless_denied(&folder);
        };
        let place = folder.transaction(id);
        let Some((handle, start)) = self.open_transaction(&place, id)? else {
            return Ok(None);
        };
        match self.position_at(&folder, head, id, start.seq)? {
            Position::OnChain(_) => {
                let bytes = handle.opened()?.bytes;
                Ok(Some(Content { handle, bytes }))
            }
            Position::OffChain => Ok(None),
            Position::LogIsWrong => Err(Error::LogIsWrong),
        }
    }

    /// Reads a whole transaction; `None` where there is no file.
    pub(super) fn read_transaction(
        &self,
        place: &Place,
        id: TransactionId,
    ) -> Result<Option<Transaction>> {
        Ok(self
            .read_transaction_file(place, id)?
            .map(|(_, transaction)| transaction))
    }

    /// The same, and what the disk says of the file.
    pub(crate) fn read_transaction_file(
        &self,
        place: &Place,
        id: TransactionId,
    ) -> Result<Option<(Meta, Transaction)>> {
        let file = match self.disk.open(place) {
            Ok(file) => file,
            Err(absent) if absent.is_absent() => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let meta = file.opened()?;
        if meta.bytes > (limits::TRANSACTION_BYTES + json::PREFIX) as u64 {
            return Err(damaged(place, "larger than any transaction"));
        }
        let mut buffer = vec![0; meta.bytes as usize];
        let read = file.read_at(0, &mut buffer)?;
        match json::decode(&buffer[..read]) {
            Some(there) if there.id == id && there.seq > 0 => Ok(Some((meta, there))),
            _ => Err(damaged(place, "not the transaction of its name")),
        }
    }

    /// Reads a file of at most so many bytes whole; `None` where there is none.
    pub(super) fn read_file(&self, place: &Place, limit: usize) -> Result<Option<Vec<u8>>> {
        let file = match self.disk.open(place) {
            Ok(file) => file,
            Err(absent) if absent.is_absent() => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let bytes = file.opened()?.bytes;
        if bytes > limit as u64 {
            return Err(damaged(place, "larger than it can be"));
        }
        let mut contents = vec![0; bytes as usize];
        let read = file.read_at(0, &mut contents)?;
        contents.truncate(read);
        Ok(Some(contents))
    }

    /// Looks for a transaction on the chain only.
    pub(super) fn locate_on_chain(
        &self,
        folder: &Folder,
        head: Head,
        id: TransactionId,
    ) -> Result<Where> {
        match self.position(folder, head, id)? {
            Position::OnChain(seq) => Ok(Where::OnChain(seq)),
            Position::LogIsWrong => Err(Error::LogIsWrong),
            Position::OffChain => Ok(Where::Nowhere),
        }
    }

    /// Looks for a transaction on the chain, and then among the pending.
    fn locate(&self, folder: &Folder, head: Head, id: TransactionId) -> Result<Where> {
        if let Where::OnChain(seq) = self.locate_on_chain(folder, head, id)? {
            return Ok(Where::OnChain(seq));
        }
        Ok(match self.start_of(&folder.pending(id), id)? {
            Some(start) => Where::Pending(start),
            None => Where::Nowhere,
        })
    }

    /// Where the parent stands in the count; `None` where it is not there.
    pub(super) fn parent_seq(
        &self,
        folder: &Folder,
        head: Head,
        parent: TransactionId,
    ) -> Result<Option<u64>> {
        Ok(match self.locate(folder, head, parent)? {
            Where::OnChain(seq) => Some(seq),
            Where::Pending(start) => Some(start.seq),
            Where::Nowhere => None,
        })
    }

    /// Writes a proposed transaction to a temporary file, durably. Makes the user's folder if there
    /// is none.
    ///
    /// # Errors
    /// [`Error::LogIsWrong`]: it is to be mended before somebody needs it under the shared lock.
    pub fn draft(&self, user: &UserId, proposal: Proposal) -> Result<Draft> {
        let parent_seq = self.parent_now(user, proposal.parent)?;
        self.draft_after(user, proposal, parent_seq)
    }

    /// The same where [`Store::parent_now`] has just said where its parent stands.
    pub fn draft_after(
        &self,
        user: &UserId,
        proposal: Proposal,
        parent_seq: Option<u64>,
    ) -> Result<Draft> {
        let state = self.users.state(user);
        state.check_writable()?;
        let folder = Folder::of(user);
        let Some(seq) = parent_seq else {
            return Ok(Draft {
                proposal,
                written: None,
            });
        };
        self.check_room(0)?;
        let temporary = self.write_transaction(&state, &folder, &proposal, seq + 1)?;
        Ok(Draft {
            proposal,
            written: Some((seq + 1, temporary)),
        })
    }

    /// Where a parent stands in the count, on the chain or pending; `None` where it is not there.
    /// Makes the user's folder if there is none.
    ///
    /// # Errors
    /// [`Error::LogIsWrong`]
    pub fn parent_now(&self, user: &UserId, parent: TransactionId) -> Result<Option<u64>> {
        let state = self.users.state(user);
        state.check_writable()?;
        let folder = Folder::of(user);
        let head = match self.vouched_head(&state, &folder)? {
            Some(head) => head,
            None => {
                self.admit(user)?;
                self.vouched_head(&state, &folder)?.ok_or(Error::UserGone)?
            }
        };
        let seq = self.parent_seq(&folder, head, parent)?;
        if seq.is_none() {
            // Perhaps it was pending at the first look, and HEAD reached it before the second.
            let head = self.vouched_head(&state, &folder)?.ok_or(Error::UserGone)?;
            return self.parent_seq(&folder, head, parent);
        }
        Ok(seq)
    }

    fn write_transaction(
        &self,
        state: &UserState,
        folder: &Folder,
        proposal: &Proposal,
        seq: u64,
    ) -> Result<Temporary> {
        let temporary = self.temporary(state, folder)?;
        temporary.file.append(&json::encode(&Transaction {
            id: proposal.id,
            seq,
            parent: proposal.parent,
            chunks: proposal.chunks.clone(),
        }))?;
        self.disk.sync(&[Target::File(temporary.file.clone())])?;
        Ok(temporary)
    }

    /// Takes a drafted transaction in as pending, after the checks in the protocol's order: the
    /// parent, whether it exists, the chunks. The same one again is checked like a first, and made
    /// young. Needs the shared lock, and gives it back before it waits for its last sync; under it only
    /// chunks are synced that this process has not. Where it answers [`PutTransaction::Crowded`] it needs
    /// the exclusive one.
    pub fn put_transaction(&self, lock: UserLock, draft: Draft) -> Result<PutTransaction> {
        lock.state.check_writable()?;
        let Draft { proposal, written } = draft;
        if self.mistakes.made(Mistake::NoReplayCheck) && self.is_replay(&lock, &proposal)? {
            let (_, state, folder) = lock.release();
            self.sync_dirs(&state, &folder, [Dir::Pending], Vec::new())?;
            return Ok(PutTransaction::Accepted);
        }
        let Some((seq, mut temporary)) = written else {
            return Ok(PutTransaction::UnknownParent);
        };
        let folder = lock.folder.clone();
        let head = self
            .vouched_head(&lock.state, &folder)?
            .ok_or(Error::UserGone)?;
        let mut targets = Vec::new();

        // The parent.
        let outcome = self.locate(&folder, head, proposal.parent);
        let parent = self.log_was_mended(outcome, &folder)?;
        let parent_is_pending = matches!(parent, Where::Pending(_));
        let parent_seq = match parent {
            Where::Nowhere => return Ok(PutTransaction::UnknownParent),
            Where::OnChain(parent_seq) => parent_seq,
            Where::Pending(start) => start.seq,
        };
        if parent_seq + 1 != seq {
            // Since the draft the parent was collected as garbage and put anew, elsewhere.
            return Err(Error::Busy);
        }
        if proposal.seq.is_some_and(|sent| sent != seq) {
            return Ok(PutTransaction::WrongSeq { expected: seq });
        }

        // Whether it exists.
        let outcome = self.locate(&folder, head, proposal.id);
        let pending = match self.log_was_mended(outcome, &folder)? {
            Where::OnChain(_) => {
                let there = self.read_transaction(&folder.transaction(proposal.id), proposal.id)?;
                if !there.is_some_and(|there| proposal.is(&there)) {
                    return Ok(PutTransaction::TransactionExists);
                }
                let missing = self.keep_named(&lock, &proposal.chunks)?;
                return Ok(match missing.is_empty() {
                    true => PutTransaction::Accepted,
                    false => PutTransaction::MissingChunks(missing),
                });
            }
            Where::Pending(_) => true,
            Where::Nowhere => false,
        };
        let place = folder.pending(proposal.id);
        if pending {
            match self.read_transaction(&place, proposal.id)? {
                // One of another number followed a parent that went and came again elsewhere.
                Some(there) if proposal.is(&there) && there.seq == seq => {}
                _ => return self.refuse_id(&lock),
            }
        }

        // The chunks.
        let mut named = Vec::new();
        let mut missing = Vec::new();
        let mut seen = HashSet::new();
        for chunk in &proposal.chunks {
            if seen.insert(chunk) {
                match self.resolve(&folder, chunk)? {
                    Some(resolved) => named.push(resolved),
                    None => missing.push(*chunk),
                }
            }
        }
        if !missing.is_empty() {
            return Ok(PutTransaction::MissingChunks(missing));
        }

        // What this process has not itself synced is, before the transaction has a name: a live one
        // whose chunk is not there is damage, whatever a crash leaves.
        let mut unvouched: Vec<Dir> = Vec::new();
        for resolved in &named {
            unvouched.extend(self.unvouched(&lock.user, resolved));
        }
        if !unvouched.is_empty() {
            self.sync_dirs(&lock.state, &folder, unvouched, Vec::new())?;
        }
        for resolved in &named {
            self.vouch(&lock.user, resolved);
        }

        // Publish.
        if pending {
            let file = self.disk.open(&place)?;
            file.touch(self.disk.now())?;
            targets.push(Target::File(file));
        } else {
            match self.room_for_one(&lock, head)? {
                // What made room may be the parent.
                Room::Enough if parent_is_pending && self.is_gone(&lock, proposal.parent)? => {
                    return Ok(PutTransaction::UnknownParent);
                }
                Room::Enough => {}
                Room::Unsure => return Ok(PutTransaction::Crowded(Box::new(proposal))),
                Room::None { used } => {
                    let limit = self.options.pending_transactions;
                    return Ok(PutTransaction::TooManyPending { limit, used });
                }
            }
            let room = self.reserve(&lock.user, temporary.file.meta()?.bytes)?;
            if self.publish(&lock, &mut temporary, Dir::Pending, &place)? {
                // Somebody else was quicker with this id: perhaps with the same content.
                match self.read_transaction(&place, proposal.id)? {
                    Some(there) if proposal.is(&there) => {}
                    _ => return self.refuse_id(&lock),
                }
            } else {
                room.keep();
            }
        }
        let (_, state, folder) = lock.release();
        if self.mistakes.made(Mistake::AnswerBeforeSync) {
            return Ok(PutTransaction::Accepted);
        }
        // Its directory holds a pending parent's name too.
        self.sync_dirs(&state, &folder, [Dir::Pending], targets)?;
        Ok(PutTransaction::Accepted)
    }

    /// Whether this very transaction is pending already. For the mistake that asks nothing else.
    fn is_replay(&self, lock: &UserLock, proposal: &Proposal) -> Result<bool> {
        let there = self.read_transaction(&lock.folder.pending(proposal.id), proposal.id)?;
        Ok(there.is_some_and(|there| proposal.is(&there)))
    }

    /// "It stands for other content" is a promise too: the name is synced before.
    fn refuse_id(&self, lock: &UserLock) -> Result<PutTransaction> {
        self.sync_dirs(&lock.state, &lock.folder, [Dir::Pending], Vec::new())?;
        Ok(PutTransaction::TransactionExists)
    }

    /// Under a lock nobody can rebuild `log`; the draft did, so it can only be damage since.
    pub(super) fn log_was_mended<T>(&self, outcome: Result<T>, folder: &Folder) -> Result<T> {
        outcome.map_err(|error| match error {
            Error::LogIsWrong => damaged(&folder.log(), "it does not tell the chain"),
            other => other,
        })
    }
}

impl Proposal {
    fn is(&self, there: &Transaction) -> bool {
        (self.parent, &self.chunks) == (there.parent, &there.chunks)
    }
}

impl UserLock {
    /// Gives the lock back, and keeps what it was about.
    pub(super) fn release(self) -> (UserId, Arc<UserState>, Folder) {
        (self.user, Arc::clone(&self.state), self.folder.clone())
    }
}
