//! Listings of the chain, as `log` tells it or, where that is wrong and cannot be rebuilt, as a walk has seen it.

use std::sync::Arc;

use super::walk::{Position, Walk};
use super::{Error, Result, User, log};
use crate::disk::Handle;
use crate::model::{Head, TransactionId};

/// A part of the chain, ready to be read: ids oldest first.
pub struct Listing {
    user: User,
    head: Head,
    source: ChainSource,
    next: u64,
    last: u64,
}

/// Where its ids are.
enum ChainSource {
    Nowhere,
    Log(Handle),
    Walk(Arc<Walk>),
}

impl Listing {
    /// How many ids are left to read.
    pub fn left(&self) -> u64 {
        (self.last + 1).saturating_sub(self.next)
    }

    /// The sequence number of the next one.
    pub fn next_seq(&self) -> u64 {
        self.next
    }

    /// The next ids, at most `count`; empty at the end.
    pub fn read(&mut self, count: usize) -> Result<Vec<TransactionId>> {
        let count = self.left().min(count as u64).min(log::BATCH);
        if count == 0 {
            return Ok(Vec::new());
        }
        let ids = match &self.source {
            ChainSource::Nowhere => Vec::new(),
            ChainSource::Log(file) => match log::read(file, self.next, count)? {
                Some(ids) => ids,
                // It was right when the listing began.
                None => self.go_on_walking(count)?,
            },
            ChainSource::Walk(walk) => self.walked(walk, count)?,
        };
        self.next += ids.len() as u64;
        Ok(ids)
    }

    /// The next ids, as a walk tells them.
    fn walked(&self, walk: &Walk, count: u64) -> Result<Vec<TransactionId>> {
        let below = |here| self.user.below(here);
        walk.ids(&below, self.next, self.next + count - 1)
    }

    /// The next ids, and the others from now on, by a walk from HEAD down to here.
    fn go_on_walking(&mut self, count: u64) -> Result<Vec<TransactionId>> {
        let mut walk = Walk::from(self.head);
        let mut here = self.head;
        while here.seq >= self.next {
            walk.note(here);
            here = self.user.below(here)?;
        }
        let ids = self.walked(&walk, count)?;
        self.source = ChainSource::Walk(Arc::new(walk));
        Ok(ids)
    }
}

impl User {
    /// At most `limit` ids after `from` up to HEAD; `None` where `from` is not on the chain.
    ///
    /// # Errors
    /// [`Error::LogIsWrong`], as of all reads of the chain: [`User::mending_log`].
    pub fn listing(&self, from: TransactionId, limit: u64) -> Result<Option<Listing>> {
        let head = match self.vouched_head()? {
            Some(head) => head,
            None => self.unless_denied()?.unwrap_or(Head::ROOT),
        };
        match self.position(head, from)? {
            Position::OnChain(seq) => self.part(head, seq, limit).map(Some),
            Position::OffChain => Ok(None),
            Position::LogIsWrong => Err(Error::LogIsWrong),
        }
    }

    /// The last `count` ids up to and including `to`, which is HEAD where none is named, and the transaction before them;
    /// `None` where `to` is not on the chain.
    ///
    /// # Errors
    /// As of [`User::listing`].
    pub fn newest(&self, count: u64, to: Option<TransactionId>) -> Result<Option<(Head, Listing)>> {
        let head = match self.vouched_head()? {
            Some(head) => head,
            None => self.unless_denied()?.unwrap_or(Head::ROOT),
        };
        let last = match self.position(head, to.unwrap_or(head.id))? {
            Position::OnChain(seq) => seq,
            Position::OffChain => return Ok(None),
            Position::LogIsWrong => return Err(Error::LogIsWrong),
        };
        let before = last.saturating_sub(count);
        let id = match before.checked_sub(1) {
            None => TransactionId::ROOT,
            Some(below) => {
                let read = self.part(head, below, 1)?.read(1)?;
                *read.first().ok_or(Error::LogIsWrong)?
            }
        };
        let listing = self.part(head, before, last - before)?;
        Ok(Some((Head { id, seq: before }, listing)))
    }

    /// The part of the chain after this number: every line of it is looked at before it is given.
    pub(super) fn part(&self, head: Head, from: u64, limit: u64) -> Result<Listing> {
        let last = head.seq.min(from.saturating_add(limit));
        let source = if last <= from {
            ChainSource::Nowhere
        } else if let Some(log) = self.right_log(head, from, last)? {
            ChainSource::Log(log)
        } else {
            let walk = self
                .store
                .walks
                .of(&self.folder, head)
                .ok_or(Error::LogIsWrong)?;
            walk.tells(&|here| self.below(here), from + 1, last)?;
            ChainSource::Walk(walk)
        };
        Ok(Listing {
            user: self.clone(),
            head,
            source,
            next: from + 1,
            last,
        })
    }
}
