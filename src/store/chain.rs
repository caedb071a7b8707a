//! The chain as `log` tells it: listed, and rebuilt where it is wrong.

use super::head::Position;
use super::layout::{Dir, Folder};
use super::lock::UserLock;
use super::user::damaged;
use super::{Error, Result, Store, log};
use crate::disk::{self, Handle, Mode, Target};
use crate::model::{Head, TransactionId, UserId};

/// Why a look at the chain came to nothing.
#[derive(Debug)]
pub(super) enum Repair {
    /// `log` must be rebuilt first.
    Log,
    /// Something that a rebuilt log would not change.
    Not(Error),
}

impl<E: Into<Error>> From<E> for Repair {
    fn from(error: E) -> Self {
        Repair::Not(error.into())
    }
}

/// A part of the chain, ready to be read: ids oldest first.
pub struct Listing {
    log: Option<Handle>,
    next: u64,
    last: u64,
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
        let count = self.left().min(count as u64);
        let Some(log) = self.log.as_ref().filter(|_| count > 0) else {
            return Ok(Vec::new());
        };
        let ids = log::read(log, self.next, count)?.ok_or_else(|| Error::Damaged {
            place: crate::disk::Place::new(""),
            what: "the log changed below HEAD".to_owned(),
        })?;
        self.next += ids.len() as u64;
        Ok(ids)
    }
}

/// Lines that a rebuilt log is written in at a time.
const BATCH: usize = 4096;

impl Store {
    /// At most `limit` ids after `from` up to HEAD; `None` where `from` is not on the chain.
    pub fn listing(
        &self,
        user: &UserId,
        from: TransactionId,
        limit: u64,
    ) -> Result<Option<Listing>> {
        let state = self.users.state(user);
        let folder = Folder::of(user);
        self.mending_log(user, || {
            let head = match self.vouched_head(&state, &folder)? {
                Some(head) => head,
                None => self.unless_denied(&folder)?.unwrap_or(Head::ROOT),
            };
            match self.position(&folder, head, from)? {
                Position::OnChain(seq) => self.part(&folder, head, seq, limit).map(Some),
                Position::OffChain => Ok(None),
                Position::LogIsWrong => Err(Repair::Log),
            }
        })
    }

    /// The part of the chain after this number: every line of it is looked at before it is given.
    pub(super) fn part(
        &self,
        folder: &Folder,
        head: Head,
        from: u64,
        limit: u64,
    ) -> std::result::Result<Listing, Repair> {
        let last = head.seq.min(from.saturating_add(limit));
        let mut listing = Listing {
            log: None,
            next: from + 1,
            last,
        };
        if last > from {
            let log = self.open_log(folder)?.ok_or(Repair::Log)?;
            if log::look_up(&log, head.seq)? != Some(head.id) {
                return Err(Repair::Log);
            }
            let mut next = from + 1;
            while next <= last {
                let lines = log::read(&log, next, last + 1 - next)?.ok_or(Repair::Log)?;
                next += lines.len() as u64;
            }
            listing.log = Some(log);
        }
        Ok(listing)
    }

    /// Runs a look at the chain, and once more after rebuilding `log` if it says so. To be called
    /// without a lock: rebuilding takes the exclusive one.
    pub(super) fn mending_log<T>(
        &self,
        user: &UserId,
        look: impl Fn() -> std::result::Result<T, Repair>,
    ) -> Result<T> {
        for _ in 0..2 {
            match look() {
                Ok(seen) => return Ok(seen),
                Err(Repair::Not(error)) => return Err(error),
                Err(Repair::Log) => {
                    let lock = self.lock_blocking(user, Mode::Exclusive)?;
                    let lock = lock.ok_or(Error::UserGone)?;
                    self.rebuild_log(&lock)?;
                }
            }
        }
        Err(damaged(
            &Folder::of(user).log(),
            "wrong again just after it was rebuilt",
        ))
    }

    /// Whether the log tells the chain at HEAD.
    pub(super) fn log_reaches(&self, folder: &Folder, head: Head) -> Result<bool> {
        if head.seq == 0 {
            return Ok(true);
        }
        Ok(match self.open_log(folder)? {
            Some(log) => log::look_up(&log, head.seq)? == Some(head.id),
            None => false,
        })
    }

    /// Rebuilds `log` by walking parents from HEAD: a new file, renamed over the old one. Needs the
    /// exclusive lock. Costs the length of the chain, and no memory.
    pub(crate) fn rebuild_log(&self, lock: &UserLock) -> Result<()> {
        let folder = &lock.folder;
        lock.state.check_writable()?;
        let head = self.vouched_head_under(lock)?.ok_or(Error::UserGone)?;
        ::log::warn!("user {}: rebuilding the log", lock.user.short());
        let mut temporary = self.temporary(&lock.state, folder)?;
        let mut lines = Vec::new();
        let (mut id, mut seq) = (head.id, head.seq);
        while seq > 0 {
            let place = folder.transaction(id);
            let start = self
                .start_of(&place, id)?
                .ok_or_else(|| damaged(&place, "the chain needs it, and it is not there"))?;
            if start.seq != seq {
                return Err(damaged(&place, format!("its number should be {seq}")));
            }
            lines.push(log::line(seq, id));
            if lines.len() == BATCH || seq == 1 {
                lines.reverse();
                (temporary.file).write_at(log::offset(seq), lines.concat().as_bytes())?;
                lines.clear();
            }
            (id, seq) = (start.parent, seq - 1);
        }
        if id != TransactionId::ROOT {
            return Err(damaged(
                &folder.head(),
                "the chain does not end at the root",
            ));
        }
        self.disk.sync(&[Target::File(temporary.file.clone())])?;
        temporary.replace(&folder.log())?;
        self.sync_dirs(&lock.state, folder, [Dir::User], Vec::new())
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
