//! The file `log` of a user: opened, compared with HEAD, and replaced.

use std::io;

use super::incoming::Temporary;
use super::layout::{self, Dir, Folder};
use super::lock::Exclusive;
use super::{Result, Store, User, log};
use crate::disk::Handle;
use crate::model::Head;

impl Store {
    /// Opens `log` of a folder; `None` where it is wrong, as [`log::unless_wrong`] says.
    pub(crate) fn log_to_read(&self, folder: &Folder) -> Result<Option<Handle>> {
        Ok(log::unless_wrong(self.disk.open(&folder.log()))?)
    }
}

impl User {
    /// Opens `log`; `None` where it is wrong.
    pub(super) fn log_to_read(&self) -> Result<Option<Handle>> {
        self.store.log_to_read(&self.folder)
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

impl Exclusive {
    /// Gives a new file the name `log`, durably, whatever has it: a rename replaces a file, a symlink, a socket, and
    /// follows none. A directory, which no file replaces, goes to `lost+found` with all that is in it.
    pub(super) fn replace_log(&self, new: &mut Temporary) -> Result<()> {
        let place = self.folder.log();
        match new.replace(&place) {
            Err(refused) if refused.kind() == io::ErrorKind::IsADirectory => {
                let lost = self.folder.dir(Dir::LostFound);
                let to = layout::spare_log(&lost, self.store.disk.random());
                self.in_dir(Dir::LostFound, || self.store.disk.rename_new(&place, &to))?;
                self.sync_dirs([Dir::LostFound], Vec::new())?;
                new.replace(&place)?;
            }
            other => other?,
        }
        self.sync_dirs([Dir::User], Vec::new())
    }
}
