//! Temporary files: the first step of every write.

use std::sync::Arc;

use super::layout::{Dir, Folder};
use super::mistake::Mistake;
use super::quota::check_room;
use super::user::UserState;
use super::{Error, Result, Store};
use crate::disk::{self, Disk, Handle, Place};

/// A file that has no name in the store yet. Dropped, it is removed.
pub(super) struct Temporary {
    disk: Arc<dyn Disk>,
    /// What it is called in `incoming/tmp` until it is published, if it is called anything.
    place: Option<Place>,
    pub file: Handle,
}

impl Temporary {
    /// Whether the disk has room for so many more bytes.
    pub fn check_room(&self, min_free: u64, bytes: u64) -> Result<()> {
        check_room(&*self.disk, min_free, bytes)
    }

    /// Gives the file its name, which must be free.
    pub fn publish(&mut self, to: &Place) -> disk::Result<()> {
        match &self.place {
            Some(place) => self.disk.rename_new(place, to)?,
            None => self.disk.name(&self.file, to)?,
        }
        self.place = None;
        Ok(())
    }

    /// Gives the file its name in place of what has it: for HEAD and a rebuilt log.
    ///
    /// # Panics
    /// If it had no name at all before.
    pub fn replace(&mut self, to: &Place) -> disk::Result<()> {
        let place = self
            .place
            .as_ref()
            .expect("only what has a name is renamed");
        self.disk.rename_over(place, to)?;
        self.place = None;
        Ok(())
    }

    /// It has no name at all, so far: once it is published, the file is to be synced too.
    pub fn is_nameless(&self) -> bool {
        self.place.is_none()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(place) = &self.place
            && let Err(error) = self.disk.remove_file(place)
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
            place: Some(place),
            file,
        })
    }

    /// The same without a name until it is published, where there is such a thing: that is less work for
    /// the file system, but for one more file to sync.
    pub(super) fn nameless(&self, state: &UserState, folder: &Folder) -> Result<Temporary> {
        if self.mistakes.made(Mistake::Replace) {
            return self.temporary(state, folder);
        }
        let tmp = folder.dir(Dir::Tmp);
        match self.in_dir(state, folder, Dir::Tmp, || self.disk.create_nameless(&tmp)) {
            Err(Error::Disk(unsupported)) if unsupported.is_unsupported() => {
                self.temporary(state, folder)
            }
            other => Ok(Temporary {
                disk: Arc::clone(&self.disk),
                place: None,
                file: other?,
            }),
        }
    }
}
