//! `log`, read backwards, a batch of lines at a time.

use crate::disk::{Handle, Meta};
use crate::model::TransactionId;
use crate::store::{self, log};

/// `log`, read backwards, as it was when it was opened.
pub(super) struct LogReader {
    pub log: Option<(Handle, Meta)>,
    first: u64,
    lines: Vec<Option<TransactionId>>,
    /// The disk did not give all of it.
    pub error: Option<store::Error>,
}

impl LogReader {
    /// The lines of an open `log`; none where there is no log.
    pub fn new(log: Option<(Handle, Meta)>) -> Self {
        Self {
            log,
            first: 0,
            lines: Vec::new(),
            error: None,
        }
    }

    /// The inode of the file, which another log does not have.
    pub fn inode(&self) -> Option<u64> {
        self.log.as_ref().map(|(_, meta)| meta.inode)
    }

    /// The length of the file.
    pub fn bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, |(_, meta)| meta.bytes)
    }

    /// How many whole lines there are.
    pub fn count(&self) -> u64 {
        self.bytes() / log::LINE
    }

    /// The id on the line with this number, if there is one.
    pub fn get(&mut self, seq: u64) -> Option<TransactionId> {
        let (log, _) = self.log.as_ref().filter(|_| seq > 0)?;
        if seq < self.first || seq >= self.first + self.lines.len() as u64 {
            self.first = (seq + 1).saturating_sub(log::BATCH).max(1);
            let count = seq + 1 - self.first;
            match log::read_lines(log, self.first, count) {
                Ok(lines) => self.lines = lines,
                Err(error) => {
                    self.lines = Vec::new();
                    self.error = Some(error.into());
                }
            }
        }
        let index = seq.checked_sub(self.first)?;
        *self.lines.get(usize::try_from(index).ok()?)?
    }
}
