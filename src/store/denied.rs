//! Places of the store that the disk did not let this process use: remembered, and looked at again, for whoever asks
//! whether all is well. Root may have moved a folder in, or mended one, and nobody else would notice but its user.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Mutex;
use std::time::SystemTime;

use super::layout::{self, Folder};
use super::{Error, Result};
use crate::disk::{self, Disk, IfThere, Kind, Place};
use crate::model::{UserId, limits};

/// Places that were denied, [`limits::DENIED`] at most, and when all folders were last looked over.
#[derive(Default)]
pub(super) struct Denied {
    /// Each with the verb that the disk refused.
    places: Mutex<BTreeMap<Place, &'static str>>,
    looked_over: Mutex<Option<SystemTime>>,
}

impl Denied {
    /// Takes note of a place that the disk did not let this process use. Any other error is none of ours.
    pub fn note(&self, error: &Error) {
        if let Error::Disk(error) = error
            && error.kind() == ErrorKind::PermissionDenied
        {
            let mut places = (self.places.lock()).expect("nobody panics with this");
            if places.len() < limits::DENIED {
                places.insert(error.place.clone(), error.verb);
            }
        }
    }

    /// Looks at those places again, and forgets those that may be used by now. Costs a few looks each.
    ///
    /// # Errors
    /// [`Error::Denied`] where one may still not be used.
    pub fn check(&self, disk: &dyn Disk) -> Result<()> {
        let noted = self.places.lock();
        let noted = noted.expect("nobody panics with this").clone();
        let (mut still, mut first) = (0, None);
        for (place, verb) in noted {
            if is_still_denied(disk, &place, verb) {
                still += 1;
                first.get_or_insert(place);
            } else {
                let mut places = (self.places.lock()).expect("nobody panics with this");
                places.remove(&place);
            }
        }
        match first {
            Some(first) => Err(Error::Denied { still, first }),
            None => Ok(()),
        }
    }

    /// Looks over these users' folders, whether they may be entered and HEAD be read. Costs a few looks a user.
    pub fn look_over(&self, disk: &dyn Disk, users: &[UserId]) {
        for user in users {
            if let Err(error) = look_at_folder(disk, &Folder::of(user)) {
                self.note(&error.into());
            }
        }
    }

    /// When `users/` changed last, if that is another time than when this was last taken for looking over.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn is_look_due(&self, disk: &dyn Disk) -> Result<Option<SystemTime>> {
        let changed = disk.meta(&layout::users())?.changed;
        let last = *(self.looked_over.lock()).expect("nobody panics with this");
        Ok((last != Some(changed)).then_some(changed))
    }

    /// Takes note that whatever was in `users/` at that time is being looked over.
    pub fn looks_over(&self, changed: SystemTime) {
        *(self.looked_over.lock()).expect("nobody panics with this") = Some(changed);
    }
}

/// Whether a place that was denied to this verb still is.
fn is_still_denied(disk: &dyn Disk, place: &Place, verb: &str) -> bool {
    let tried = match disk.meta(place).if_there() {
        Ok(Some(meta)) if meta.kind == Kind::Directory => disk.check_changes(place),
        Ok(Some(_)) if verb == "lock" => disk.open_to_write(place).map(drop),
        Ok(Some(_)) => disk.open(place).map(drop),
        // A file that was to be made, or has gone since: where it would stand.
        Ok(None) if !place.as_str().is_empty() => {
            return is_still_denied(disk, &place.parent(), verb);
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    tried.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

fn look_at_folder(disk: &dyn Disk, folder: &Folder) -> disk::Result<()> {
    disk.check_changes(folder.place()).if_there()?;
    disk.open(&folder.head()).if_there()?;
    Ok(())
}
