//! The files at the top that tell how the store is used: `serving`, the addresses of those who serve it, and
//! `last-copy`, which whoever has copied it leaves.

use std::time::SystemTime;

use super::error::absent_is_fine;
use super::format::{Bytes, lock_format, write_at_top};
use super::layout;
use super::{Result, Store, User};
use crate::disk::{DirectoryIdentity, IfThere, Place};
use crate::model::{Head, limits};

impl Store {
    /// A short text by which a server tells whoever has the directory that it serves this one, and no other. It says
    /// nothing else.
    pub fn mark(&self) -> Option<String> {
        self.opened.here.map(|[top, _]| top.mark())
    }

    /// The mark of the directory as it stands, for who only reads it.
    pub fn mark_now(&self) -> Option<String> {
        let top = self.disk.meta(&layout::top()).ok()?;
        Some(DirectoryIdentity::of(&top).mark())
    }

    /// The addresses in `serving`; none where there is no such file. Whether anybody serves there now it does not tell: a
    /// server that was killed leaves its own.
    pub fn serving(&self) -> Result<Vec<String>> {
        let text = self.read_text(&layout::serving())?.unwrap_or_default();
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Changes the addresses in `serving`, which goes where none is left. Others who change it at the time wait; those who
    /// read it see it as it was or as it is then. Nothing is synced: after a power cut nobody serves.
    ///
    /// # Errors
    /// [`Error::Busy`](super::Error::Busy) where another process keeps the file for longer than [`limits::LOCK_WAIT`].
    pub fn change_serving(&self, change: impl FnOnce(&mut Vec<String>)) -> Result<()> {
        let _held = lock_format(self.disk())?;
        let before = self.serving()?;
        let mut addresses = before.clone();
        change(&mut addresses);
        if addresses == before {
            return Ok(());
        }
        if addresses.is_empty() {
            let removed = self.disk.remove_file(&layout::serving());
            return Ok(removed.or_else(absent_is_fine)?);
        }
        let lines: String = addresses.iter().map(|line| format!("{line}\n")).collect();
        let written = write_at_top(self.disk(), lines.as_bytes(), Bytes::Cached, |temporary| {
            self.disk.rename_over(temporary, &layout::serving())
        });
        Ok(written?)
    }

    /// The time at which the last copy of this store came to its end, by `last-copy`; `None` where there is no such
    /// file, or it says no time.
    pub fn last_copy(&self) -> Result<Option<SystemTime>> {
        let text = self.read_text(&layout::last_copy())?;
        Ok(text.and_then(|text| humantime::parse_rfc3339(text.trim_end()).ok()))
    }

    /// The first [`limits::SIGN_BYTES`] of a small file; `None` where there is none.
    fn read_text(&self, place: &Place) -> Result<Option<String>> {
        let Some(file) = self.disk.open(place).if_there()? else {
            return Ok(None);
        };
        let mut bytes = vec![0; limits::SIGN_BYTES];
        let read = file.read_at(0, &mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes[..read]).into_owned()))
    }
}

impl User {
    /// The time at which HEAD moved last; `None` where it never left the root, or there is no folder. Costs a look and a
    /// read; nothing is synced.
    pub fn last_write(&self) -> Result<Option<SystemTime>> {
        match self.store.read_head(&self.folder)? {
            Some((file, id)) if id != Head::ROOT.id => Ok(Some(file.opened()?.modified)),
            _ => Ok(None),
        }
    }
}
