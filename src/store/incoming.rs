//! Temporary files: the first step of every write.

use std::sync::Arc;

use super::layout::Dir;
use super::publish::Unnamed;
use super::{Result, User};
use crate::disk::{self, Disk, Handle, Meta, Place};

/// A file that has no name in the store yet. Dropped, it is removed.
pub(super) struct Temporary {
    disk: Arc<dyn Disk>,
    place: Place,
    pub file: Handle,
    published: bool,
}

impl Temporary {
    /// Gives the file its name in place of what has it: for HEAD and a rebuilt log.
    pub fn replace(&mut self, to: &Place) -> disk::Result<()> {
        self.disk.rename_over(&self.place, to)?;
        self.published = true;
        Ok(())
    }
}

impl Unnamed for Temporary {
    fn bytes(&self) -> Result<u64> {
        Ok(self.file.meta()?.bytes)
    }

    fn give_name(&mut self, to: &Place) -> disk::Result<()> {
        self.disk.rename_new(&self.place, to)?;
        self.published = true;
        Ok(())
    }

    fn replace(&mut self, to: &Place) -> disk::Result<()> {
        Temporary::replace(self, to)
    }

    fn meta(&self) -> Result<Option<Meta>> {
        Ok(Some(self.file.meta()?))
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

impl User {
    /// Makes a temporary file in the user's `incoming/tmp`.
    pub(super) fn temporary(&self) -> Result<Temporary> {
        let disk = &self.store.disk;
        let place = self.folder.temporary(disk.random());
        let file = self.in_dir(Dir::Tmp, || disk.create(&place))?;
        Ok(Temporary {
            disk: Arc::clone(disk),
            place,
            file,
            published: false,
        })
    }
}
