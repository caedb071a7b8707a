//! Obstacles to a copy: of one user, who is left out, or of all.

use rustix::io::Errno;

use super::outcome::{Error, LeftOut};
use crate::disk::{self, Disk, Kind, Place, Real};
use crate::model::UserId;
use crate::store;
use crate::store::layout::{self, Folder};

/// An obstacle that is one user's.
#[derive(Debug)]
pub(super) struct Obstacle {
    /// The place in the user's folder, since nobody knows yet what the folder is called at the end.
    place: Place,
    what: String,
    /// Whether the place is on another file system, so that no link can lead there.
    pub crosses: bool,
}

impl Obstacle {
    /// A file that is not what it should be.
    pub fn damage(place: Place, what: &str) -> Self {
        Self {
            place,
            what: what.to_owned(),
            crosses: false,
        }
    }

    /// The obstacle with its whole path, once the user whose folder it is in is known.
    pub fn of(self, user: UserId) -> LeftOut {
        let folder = Folder::of(&user);
        let place = match self.place == layout::top() {
            true => folder.place().clone(),
            false => folder.place().join(self.place.as_str()),
        };
        let what = self.what;
        LeftOut { user, place, what }
    }
}

/// Why a folder is not copied.
#[derive(Debug)]
pub(super) enum Stopped {
    /// An obstacle of this user: others can be copied.
    Folder(Obstacle),
    /// An obstacle to all: no other user can be copied either.
    Snapshot(Error),
}

impl Stopped {
    /// From a look into a user's folder, or a link out of it.
    pub fn of_source(from: &Real, error: impl Into<store::Error>) -> Self {
        match error.into() {
            store::Error::Damaged { place, what } => Obstacle::damage(place, &what).into(),
            store::Error::Disk(error) if !is_of_all(&error) => Self::Folder(Obstacle {
                what: words(&error, from.meta(&error.place).map(|meta| meta.kind).ok()),
                crosses: error.verb == "link" && crosses(&error),
                place: error.place,
            }),
            other => Self::Snapshot(other.into()),
        }
    }

    /// From a look at a user's folder as a whole.
    pub fn of_folder(source: &Real, user: &UserId, error: disk::Error) -> Self {
        let at_top = disk::Error {
            place: Folder::of(user).place().clone(),
            ..error
        };
        match Self::of_source(source, at_top) {
            Self::Folder(obstacle) => Self::Folder(Obstacle {
                place: layout::top(),
                ..obstacle
            }),
            other => other,
        }
    }
}

impl From<Obstacle> for Stopped {
    fn from(obstacle: Obstacle) -> Self {
        Self::Folder(obstacle)
    }
}

impl From<disk::Error> for Stopped {
    fn from(error: disk::Error) -> Self {
        Self::Snapshot(error.into())
    }
}

/// Whether the next user would fail alike: for want of room, or of what this process may have at a time.
fn is_of_all(error: &disk::Error) -> bool {
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ROFS];
    let number = error.source.raw_os_error();
    error.is_no_space()
        || lacking
            .iter()
            .any(|errno| number == Some(errno.raw_os_error()))
}

fn crosses(error: &disk::Error) -> bool {
    error.kind() == std::io::ErrorKind::CrossesDevices
}

/// Words for the matter, by which a person knows what to look for.
fn words(error: &disk::Error, found: Option<Kind>) -> String {
    if crosses(error) {
        return "on another file system, and no hard link leads there".to_owned();
    }
    let found = match found {
        Some(Kind::File) => "a file",
        Some(Kind::Directory) => "a directory",
        _ => "a symlink, pipe or device",
    };
    match (error.is_out_of_shape(), error.verb) {
        (true, "list") => format!("{found}, where a directory should be"),
        (true, _) => format!("{found}, where a file should be"),
        _ => format!("cannot {} it: {}", error.verb, error.source),
    }
}
