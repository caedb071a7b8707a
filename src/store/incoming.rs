//! Temporary files: the first step of every write.

use std::sync::Arc;

use super::layout::{Dir, Folder};
use super::quota::check_room;
use super::user::UserState;
use super::{Result, Store};
use crate::disk::{self, Disk, Handle, Place};

/// A file that has no name in the store yet. Dropped, it is removed.
pub(super) struct Temporary {
    disk: Arc<dyn Disk>,
    place: Place,
    pub file: Handle,
    published: bool,
}

impl Temporary {
    /// Whether the disk has room for so many more bytes.
    pub fn check_room(&self, min_free: u64, bytes: u64) -> Result<()> {
        check_room(&*self.disk, min_free, bytes)
    }

    /// Gives the file its name, which must be free.
    pub fn publish(&mut self, to: &Place) -> disk::Result<()> {
        self.disk.rename_new(&self.place, to)?;
        self.published = true;
        Ok(())
    }

    /// Gives the file its name in place of what has it: for HEAD and a rebuilt log.
    pub fn replace(&mut self, to: &Place) -> disk::Result<()> {
        self.disk.rename_over(&self.place, to)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = self.disk.remove_file(&self.place)
        {
            log::debug!("a temporary file stays until it is a day old: {error}");
        }
    }
}

impl Store {
    /// A temporary file in the user's `incoming/tmp`.
    pub(super) fn temporary(&self, state: &UserState, folder: &Folder) -> Result<Temporary> {
        let place = folder.temporary(self.disk.random());
        let file = self.in_dir(state, folder, Dir::Tmp, || self.disk.create(&place))?;
        Ok(Temporary {
            disk: Arc::clone(&self.disk),
            place,
            file,
            published: false,
        })
    }
}
