//! `log` extended by an advance.

use std::io;

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
        let disk = &self.store.disk;
        let (file, made) = match disk.open_to_write(&place) {
            Err(absent) if absent.is_absent() => (disk.create(&place)?, true),
            // Something else has the name, below the first line too, or it is not for us to write.
            Err(wrong) if !wrong.is_passing() && !is_read_only(&wrong) => {
                self.rebuild_log()?;
                (disk.open_to_write(&place)?, false)
            }
            other => (other?, false),
        };
        file.set_len(log::LINE * head.seq)?;
        Ok((file, made))
    }
}

/// Whether nothing can be written here at all, so that a new file cannot be made either.
fn is_read_only(error: &disk::Error) -> bool {
    error.kind() == io::ErrorKind::ReadOnlyFilesystem
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
