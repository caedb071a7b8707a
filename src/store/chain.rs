//! The chain as `log` tells it or, where that is wrong and cannot be rebuilt, as a walk has seen it.

use std::sync::Arc;

use super::head::Position;
use super::layout::Folder;
use super::lock::UserLock;
use super::user::damaged;
use super::walk::Walk;
use super::{Error, Result, Store, log};
use crate::disk::{self, Handle};
use crate::model::{Head, TransactionId, UserId};

/// A part of the chain, ready to be read: ids oldest first.
pub struct Listing {
    source: Source,
    next: u64,
    last: u64,
}

/// Where its ids are.
enum Source {
    Nowhere,
    Log(Handle),
    Walk(Arc<Walk>, Folder),
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
    pub fn read(&mut self, store: &Store, count: usize) -> Result<Vec<TransactionId>> {
        let count = self.left().min(count as u64).min(log::BATCH);
        if count == 0 {
            return Ok(Vec::new());
        }
        let ids = match &self.source {
            Source::Nowhere => Vec::new(),
            Source::Log(file) => log::read(file, self.next, count)?
                .ok_or_else(|| damaged(&disk::Place::new(""), "the log changed below HEAD"))?,
            Source::Walk(walk, folder) => {
                walk.ids(store, folder, self.next, self.next + count - 1)?
            }
        };
        self.next += ids.len() as u64;
        Ok(ids)
    }
}

/// Lines that an advance writes at a time.
const BATCH: usize = 4096;

impl Store {
    /// At most `limit` ids after `from` up to HEAD; `None` where `from` is not on the chain.
    ///
    /// # Errors
    /// [`Error::LogIsWrong`], as of all reads of the chain: [`Store::mending_log`].
    pub fn listing(
        &self,
        user: &UserId,
        from: TransactionId,
        limit: u64,
    ) -> Result<Option<Listing>> {
        let state = self.users.state(user);
        let folder = Folder::of(user);
        let head = match self.vouched_head(&state, &folder)? {
            Some(head) => head,
            None => self.unless_denied(&folder)?.unwrap_or(Head::ROOT),
        };
        match self.position(&folder, head, from)? {
            Position::OnChain(seq) => self.part(&folder, head, seq, limit).map(Some),
            Position::OffChain => Ok(None),
            Position::LogIsWrong => Err(Error::LogIsWrong),
        }
    }

    /// The part of the chain after this number: every line of it is looked at before it is given.
    pub(super) fn part(
        &self,
        folder: &Folder,
        head: Head,
        from: u64,
        limit: u64,
    ) -> Result<Listing> {
        let last = head.seq.min(from.saturating_add(limit));
        let source = if last <= from {
            Source::Nowhere
        } else if let Some(log) = self.right_log(folder, head, from, last)? {
            Source::Log(log)
        } else {
            let walk = self.walks.of(folder, head).ok_or(Error::LogIsWrong)?;
            walk.tells(self, folder, from + 1, last)?;
            Source::Walk(walk, folder.clone())
        };
        Ok(Listing {
            source,
            next: from + 1,
            last,
        })
    }

    /// `log`, if it is right at HEAD and in each line of this part.
    fn right_log(
        &self,
        folder: &Folder,
        head: Head,
        from: u64,
        last: u64,
    ) -> Result<Option<Handle>> {
        let Some(log) = self.log_to_read(folder)? else {
            return Ok(None);
        };
        if log::look_up(&log, head.seq)? != Some(head.id) {
            return Ok(None);
        }
        let mut next = from + 1;
        while next <= last {
            let Some(lines) = log::read(&log, next, last + 1 - next)? else {
                return Ok(None);
            };
            next += lines.len() as u64;
        }
        Ok(Some(log))
    }

    /// Whether a transaction of this number is on the chain, where `log` cannot tell.
    pub(super) fn by_walking(
        &self,
        folder: &Folder,
        head: Head,
        id: TransactionId,
        seq: u64,
    ) -> Result<Position> {
        match self.walks.of(folder, head) {
            Some(walk) => walk.position(self, folder, id, seq),
            None => Ok(Position::LogIsWrong),
        }
    }

    /// Whether an advance from here would have to rebuild `log` first, which is better done without the
    /// lock.
    pub fn wants_log(&self, lock: &UserLock) -> Result<bool> {
        let head = self.vouched_head_under(lock)?;
        Ok(match head {
            Some(head) => !self.log_reaches(&lock.folder, head)?,
            None => false,
        })
    }

    /// Whether the log tells the chain at HEAD.
    pub(super) fn log_reaches(&self, folder: &Folder, head: Head) -> Result<bool> {
        if head.seq == 0 {
            return Ok(true);
        }
        Ok(match self.log_to_read(folder)? {
            Some(log) => log::look_up(&log, head.seq)? == Some(head.id),
            None => false,
        })
    }

    /// Opens `log` for an advance, right up to HEAD and cut there. Says whether it was made.
    pub(super) fn log_to_extend(&self, lock: &UserLock, head: Head) -> Result<(Handle, bool)> {
        let place = lock.folder.log();
        let checked = !self.mistakes.made(super::mistake::Mistake::NoLogCheck);
        if checked && !self.log_reaches(&lock.folder, head)? {
            self.rebuild_log(lock)?;
        }
        let (file, made) = match self.disk.open_to_write(&place) {
            Err(absent) if absent.is_absent() => (self.disk.create(&place)?, true),
            other => (other?, false),
        };
        file.set_len(log::LINE * head.seq)?;
        Ok((file, made))
    }
}

/// Writes these ids as the lines after `head`.
pub(super) fn extend(file: &Handle, head: Head, ids: &[TransactionId]) -> disk::Result<()> {
    let mut next = head.seq + 1;
    for batch in ids.chunks(BATCH) {
        let lines: String = (next..)
            .zip(batch)
            .map(|(seq, id)| log::line(seq, *id))
            .collect();
        file.write_at(log::offset(next), lines.as_bytes())?;
        next += batch.len() as u64;
    }
    Ok(())
}
