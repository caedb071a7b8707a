//! `log` extended by an advance.

use super::lock::Exclusive;
use super::mistake::Mistake;
use super::{Result, log};
use crate::disk::{self, Handle};
use crate::model::{Head, TransactionId};

/// Lines that an advance writes at a time.
const BATCH: usize = 4096;

impl Exclusive {
    /// Whether an advance from here would have to rebuild `log` first, which is better done without the
    /// lock.
    pub fn wants_log(&self) -> Result<bool> {
        let head = self.head_under_lock()?;
        Ok(match head {
            Some(head) => !self.log_reaches(head)?,
            None => false,
        })
    }

    /// Opens `log` for an advance, right up to HEAD and cut there. Says whether it was made.
    pub(super) fn log_to_extend(&self, head: Head) -> Result<(Handle, bool)> {
        let place = self.folder.log();
        let checked = !self.store.mistakes.made(Mistake::NoLogCheck);
        if checked && !self.log_reaches(head)? {
            self.rebuild_log()?;
        }
        let (file, made) = match self.store.disk.open_to_write(&place) {
            Err(absent) if absent.is_absent() => (self.store.disk.create(&place)?, true),
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
