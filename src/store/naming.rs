//! Users' names: what the owner of the box calls them, one line in the file `name` of a user's folder.
//!
//! No request reads or writes it. It is replaced as HEAD is: a temporary file, synced and renamed over. A name is one
//! user's alone: whoever gives one holds `FORMAT` locked meanwhile.

use super::format::lock_format;
use super::layout::Folder;
use super::{Result, Store};
use crate::disk::{Disk, Handle, Held, IfThere, Place};
use crate::model::{UserId, UserName, limits};

/// The file `name` of a user, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameFile {
    Absent,
    Holds(UserName),
    /// There is no name in it, or it is no file that could hold one; with the reason.
    Damaged(String),
}

/// The right to give names, which one process has at a time.
pub struct Naming {
    store: Store,
    _held: Box<dyn Held>,
}

impl Store {
    /// Waits for the right to give names, [`limits::LOCK_WAIT`] at most.
    ///
    /// # Errors
    /// [`Error::Busy`](super::Error::Busy) when the time is up.
    pub fn naming(&self) -> Result<Naming> {
        Ok(Naming {
            _held: lock_format(self.disk())?,
            store: self.clone(),
        })
    }

    /// Reads the name in a folder. Costs a look where there is none.
    ///
    /// # Errors
    /// Those of the disk, which may have one.
    pub(crate) fn read_name(&self, folder: &Folder) -> Result<NameFile> {
        let file = match self.disk.open(&folder.name()).if_there() {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(NameFile::Absent),
            Err(error) if error.is_out_of_shape() => {
                return Ok(NameFile::Damaged("it is no regular file".to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
        let mut buffer = [0; limits::NAME_BYTES + 2];
        let read = file.read_at(0, &mut buffer)?;
        let parsed = std::str::from_utf8(&buffer[..read])
            .map_err(|_| "it is no UTF-8".to_owned())
            .and_then(|text| {
                let line = text.strip_suffix('\n').unwrap_or(text);
                line.parse().map_err(|why| format!("{why}"))
            });
        Ok(match parsed {
            Ok(name) => NameFile::Holds(name),
            Err(why) => NameFile::Damaged(why),
        })
    }
}

impl Naming {
    /// Another user than this who has the name, if there is one. Costs a listing, and a look at each user. Whose name
    /// cannot be read has none.
    pub fn holder(&self, name: &UserName, but: &UserId) -> Result<Option<UserId>> {
        for user in self.store.users()? {
            let theirs = self.store.read_name(&Folder::of(&user));
            if user != *but && theirs.is_ok_and(|file| file == NameFile::Holds(name.clone())) {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }
}

/// Writes the name of a folder that is being made.
pub(crate) fn write_name(disk: &dyn Disk, place: &Place, name: &UserName) -> Result<Handle> {
    let file = disk.create(place)?;
    file.append(line(name).as_bytes())?;
    Ok(file)
}

/// The contents of the file that holds the name.
pub(super) fn line(name: &UserName) -> String {
    format!("{name}\n")
}
