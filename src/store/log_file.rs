//! The file `log` of a user: opened, and compared with HEAD.

use std::io;

use super::log;
use super::{Error, Result, User};
use crate::disk::{self, Handle};
use crate::model::Head;

impl User {
    /// Opens `log`; `None` where there is none, or one that cannot be read, which is as good as none: a new one takes its place, or the chain
    /// is read by walking.
    pub(super) fn log_to_read(&self) -> Result<Option<Handle>> {
        match self.store.open_log(&self.folder) {
            Err(Error::Disk(error)) if is_no_log(&error) => Ok(None),
            other => other,
        }
    }

    /// `log`, if it is right at HEAD and in each line of this part.
    pub(super) fn right_log(&self, head: Head, from: u64, last: u64) -> Result<Option<Handle>> {
        let Some(log) = self.log_to_read()? else {
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

    /// Whether the log tells the chain at HEAD.
    pub(super) fn log_reaches(&self, head: Head) -> Result<bool> {
        if head.seq == 0 {
            return Ok(true);
        }
        Ok(match self.log_to_read()? {
            Some(log) => log::look_up(&log, head.seq)? == Some(head.id),
            None => false,
        })
    }
}

/// No regular file, or one that is not for us to read: a new one takes its place.
fn is_no_log(error: &disk::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied
    )
}
