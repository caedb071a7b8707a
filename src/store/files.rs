//! Looks at files and directories wherever they stand, and removals: no word of users.

use super::error::{absent_is_fine, damaged};
use super::{Error, Result, Store};
use crate::disk::{IfThere, Kind, Meta, Place};

impl Store {
    /// Reads a file of at most so many bytes whole; `None` where there is none.
    pub(super) fn read_file(&self, place: &Place, limit: usize) -> Result<Option<Vec<u8>>> {
        let file = match self.disk.open(place) {
            Ok(file) => file,
            Err(absent) if absent.is_absent() => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let bytes = file.opened()?.bytes;
        if bytes > limit as u64 {
            return Err(damaged(place, "larger than it can be"));
        }
        let mut contents = vec![0; bytes as usize];
        let read = file.read_at(0, &mut contents)?;
        contents.truncate(read);
        Ok(Some(contents))
    }

    /// Makes the files below a directory durable that were written since the last time.
    pub(super) fn sync_below(&self, directory: &Place) -> Result<()> {
        let synced = self.disk.sync_written(directory).if_there()?;
        synced.ok_or(Error::UserGone)
    }

    /// Removes a directory and all below it, as far as it goes.
    pub(crate) fn remove_tree(&self, place: &Place) -> Result<()> {
        let mut entries = Vec::new();
        let listed = self.disk.list(place, &mut |entry| {
            entries.push(entry);
            true
        });
        listed.or_else(absent_is_fine)?;
        for entry in entries {
            let inner = place.join(&entry.name);
            match entry.kind {
                Kind::Directory => self.remove_tree(&inner)?,
                _ => self.disk.remove_file(&inner).or_else(absent_is_fine)?,
            }
        }
        // Somebody else may be at it too.
        Ok(self.disk.remove_directory(place).or_else(absent_is_fine)?)
    }

    /// Looks at a file or directory; `None` where there is none.
    pub(super) fn meta_if_there(&self, place: &Place) -> Result<Option<Meta>> {
        Ok(self.disk.meta(place).if_there()?)
    }

    /// The names of this kind in a directory; none where there is no directory.
    pub(super) fn names(&self, directory: &Place, kind: Kind) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let listed = self.disk.list(directory, &mut |entry| {
            if entry.kind == kind {
                names.push(entry.name);
            }
            true
        });
        listed.if_there()?;
        Ok(names)
    }
}
