//! The few verbs that the store needs of a file system. No word of chunks or users.
//!
//! [`Disk`] is the one seam of the program: [`Real`] is a directory of the box, and the tests have one in memory that forgets, at
//! a power cut, whatever was not synced. Time, randomness and pauses come from here too, so that a test chooses them.
//!
//! No verb follows a symlink, at any component of a path.

mod beneath;
mod file_lock;
mod file_system;
mod giving;
mod identity;
mod lacking;
mod listing;
mod look;
mod reach;
mod real;
mod real_file;
mod room;
mod root;
mod rounds;
mod row;
#[cfg(feature = "mistakes")]
mod skipped;
mod syncing;

pub use file_lock::{Held, Mode};
pub use file_system::FileSystem;
pub use giving::{Owner, can_make_for};
pub use identity::DirectoryIdentity;
pub use listing::Listed;
pub use real::Real;
pub use room::Room;
pub use root::{make_root, remove_root};
#[cfg(feature = "mistakes")]
pub use skipped::Skipped;
pub use syncing::Grouping;

use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::io::Errno;

use crate::model::timings::Timings;

/// A path below the root of a [`Disk`], with `/` between its components; empty for the root itself.
///
/// Only `store::layout` makes these from names (a test keeps it so).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(String);

impl Place {
    /// The place with this path. It has no empty, `.` or `..` component, and does not start with `/`.
    pub fn new(path: impl Into<String>) -> Self {
        let path = path.into();
        debug_assert!(
            path.is_empty()
                || path
                    .split('/')
                    .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0')),
            "not a plain relative path: {path:?}"
        );
        Self(path)
    }

    /// The path, as `openat` takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that holds the name, and the name.
    pub fn split(&self) -> (Place, &str) {
        match self.0.rsplit_once('/') {
            Some((directory, name)) => (Place(directory.to_owned()), name),
            None => (Place(String::new()), &self.0),
        }
    }

    /// The directory that holds the name.
    pub fn parent(&self) -> Place {
        self.split().0
    }

    /// The last component.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The place of `name` in this directory.
    pub fn join(&self, name: impl fmt::Display) -> Place {
        // Room for the longest of our names, a directory of first bytes before it.
        let mut path = String::with_capacity(self.0.len() + 80);
        path.push_str(&self.0);
        if !path.is_empty() {
            path.push('/');
        }
        write!(path, "{name}").expect("a string takes everything");
        Place::new(path)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A verb that the disk refused: which, where, and what the system said.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {place:?}: {source}")]
pub struct Error {
    pub verb: &'static str,
    pub place: Place,
    pub source: io::Error,
}

impl Error {
    /// The error of a verb at a place.
    fn new(verb: &'static str, place: &Place, source: io::Error) -> Self {
        Self {
            verb,
            place: place.clone(),
            source,
        }
    }

    /// The system's words for it, as a kind.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Whether there is no such name. Nothing else is absent: a file where a directory should be is damage, and
    /// what may not be looked at may well be there.
    pub fn is_absent(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }

    /// Whether a symlink, or a file, stands where the path needs a directory: nothing that a store has.
    pub fn is_out_of_shape(&self) -> bool {
        match self.source.raw_os_error() {
            Some(number) => [Errno::LOOP, Errno::NOTDIR, Errno::ISDIR]
                .into_iter()
                .any(|errno| number == errno.raw_os_error()),
            // What `open` says of anything but a regular file.
            None => self.kind() == io::ErrorKind::InvalidInput,
        }
    }

    /// Whether the name is taken.
    pub fn is_taken(&self) -> bool {
        matches!(
            self.kind(),
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty
        )
    }

    /// Whether a sync failed so that nothing is known of what was to be synced, and no later sync tells of it. Not so where the
    /// sync was not even tried, since what was to be synced could not be opened.
    pub fn is_lost_write(&self) -> bool {
        let untried = self.source.raw_os_error().is_some_and(|number| {
            [
                Errno::MFILE,
                Errno::NFILE,
                Errno::NOMEM,
                Errno::ACCESS,
                Errno::INTR,
            ]
            .contains(&Errno::from_raw_os_error(number))
        });
        self.verb == "sync" && !untried && !self.is_absent()
    }

    /// Whether this tells nothing of what it was about: the process, or the system, lacked something for a moment.
    pub fn is_passing(&self) -> bool {
        let passing = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::INTR,
            Errno::AGAIN,
        ];
        self.source
            .raw_os_error()
            .is_some_and(|number| passing.contains(&Errno::from_raw_os_error(number)))
    }

    /// Whether room was lacking: on the disk, of its inodes or in a disk quota.
    pub fn is_no_space(&self) -> bool {
        matches!(
            self.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// The outcome of a verb.
pub type Result<T> = std::result::Result<T, Error>;

/// A look at something that need not be there.
pub trait IfThere<T> {
    /// Makes `None` of the absence of a name. Every other error stays one: a caller that went on as if nothing
    /// were there would take what cannot be read for what is not there.
    fn if_there(self) -> Result<Option<T>>;
}

impl<T> IfThere<T> for Result<T> {
    fn if_there(self) -> Result<Option<T>> {
        match self {
            Ok(found) => Ok(Some(found)),
            Err(absent) if absent.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The kind of thing that a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    /// A symlink, a socket, a device: nothing that a store has.
    Other,
}

/// The answer of the disk about a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    pub kind: Kind,
    pub bytes: u64,
    pub inode: u64,
    pub device: u64,
    pub links: u64,
    pub modified: SystemTime,
    pub changed: SystemTime,
    /// When it was made, where the file system remembers that: with the inode it tells two apart of which
    /// one got the number of the other.
    pub born: Option<SystemTime>,
    pub mode: u32,
    pub owner: Owner,
}

/// An open regular file.
pub trait DiskFile: Send + Sync {
    /// Writes all of it at the end of what this handle wrote so far.
    fn append(&self, bytes: &[u8]) -> Result<()>;
    /// Writes all of it at this place in the file.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Reads at this place until the buffer is full or the file ends; says how much it read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize>;
    /// Reads as [`DiskFile::read_at`] does, but only if no I/O has to be waited for: otherwise `None`.
    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize>> {
        let _ = (offset, buffer);
        None
    }
    /// Cuts the file, or fills it with zeroes, to this length.
    fn set_len(&self, bytes: u64) -> Result<()>;
    /// Looks at the file as it is now.
    fn meta(&self) -> Result<Meta>;
    /// The look at the file when it was opened, where there was one: a look less for what never changes.
    fn opened(&self) -> Result<Meta> {
        self.meta()
    }
    /// Sets the modification time.
    fn touch(&self, time: SystemTime) -> Result<()>;
    /// The system's descriptor, where there is one.
    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
    /// For the disk that opened it to know its own.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// An open file that may be shared between threads.
pub type Handle = Arc<dyn DiskFile>;

/// A part of the disk that a sync makes durable: the contents and times of a file, or the names in a directory.
pub enum Target {
    File(Handle),
    Directory(Place),
}

/// A file system, as far as the store needs one. See the module for what holds of every verb.
pub trait Disk: Send + Sync + 'static {
    /// Opens a regular file for reading. A symlink or anything but a regular file is an error of
    /// kind `InvalidInput`.
    fn open(&self, place: &Place) -> Result<Handle>;
    /// Opens a regular file for reading and writing in place.
    fn open_to_write(&self, place: &Place) -> Result<Handle>;
    /// Makes a new, empty file, mode 0600; the name must be free.
    fn create(&self, place: &Place) -> Result<Handle>;
    /// Looks at what stands under this name. A symlink is reported as [`Kind::Other`].
    fn meta(&self, place: &Place) -> Result<Meta>;
    /// Looks by the path that the disk was opened with, instead of by the directory that was found there
    /// then: something else, or nothing, where that was moved away, unmounted or removed. One system
    /// call. It may follow symlinks, so it is for comparing with what is known, and for nothing else.
    fn meta_by_path(&self, place: &Place) -> Result<Meta> {
        self.meta(place)
    }
    /// Calls `each` for every name in the directory, in no order, until it says `false`.
    fn list(&self, directory: &Place, each: &mut dyn FnMut(Listed) -> bool) -> Result<()>;
    /// Makes a directory, mode 0700; the name must be free.
    fn make_directory(&self, place: &Place) -> Result<()>;
    /// Gives a regular file a second name; the name must be free.
    fn link(&self, from: &Place, to: &Place) -> Result<()>;
    /// Gives files second names as [`Disk::link`] does, in this order, up to the first that cannot have its own; says how many
    /// have theirs. Costs less than one by one where neighbours stand in one directory.
    fn link_all(&self, names: &[(Place, Place)]) -> (usize, Result<()>) {
        until_refused(names, |(from, to)| self.link(from, to))
    }
    /// Gives a file or directory a new name, which must be free. Where the file system has no such
    /// rename, a directory may take the place of one that is empty.
    fn rename_new(&self, from: &Place, to: &Place) -> Result<()>;
    /// Gives a file a new name, in place of what has that name now.
    fn rename_over(&self, from: &Place, to: &Place) -> Result<()>;
    /// Takes a name away from a file. Where it was the last one, the file is gone once nobody has it open.
    fn remove_file(&self, place: &Place) -> Result<()>;
    /// Takes names away as [`Disk::remove_file`] does, in this order, up to the first that cannot go; says how many went.
    fn remove_all(&self, names: &[Place]) -> (usize, Result<()>) {
        until_refused(names, |place| self.remove_file(place))
    }
    /// Removes a directory, which must be empty.
    fn remove_directory(&self, place: &Place) -> Result<()>;
    /// Returns when all of it is durable, in no order. May be shared with others who sync at the
    /// time. After an error nothing is known of any of it, and trying again would prove nothing.
    fn sync(&self, targets: &[Target]) -> Result<()>;
    /// Makes everything on the file system durable.
    fn sync_everything(&self) -> Result<()>;
    /// Makes what this process has written in this directory and below it durable, and perhaps much more: what
    /// has to be walked for it, where the file system knows no better, is this and not the whole store. Where
    /// the directory has gone, that may be an error.
    fn sync_written(&self, directory: &Place) -> Result<()> {
        let _ = directory;
        self.sync_everything()
    }
    /// Makes the directory and everything below it durable, whoever wrote it; but not its own name in the
    /// directory above. What goes meanwhile need not be synced. Costs up to one sync for each file.
    fn sync_below(&self, directory: &Place) -> Result<()> {
        let _ = directory;
        self.sync_everything()
    }
    /// Whether [`Disk::sync_everything`] reaches what others wrote: not where the file system leaves
    /// `syncfs` undone.
    fn syncs_everything(&self) -> bool {
        true
    }
    /// Whether names in this directory may be looked up and changed by whoever asks, as far as modes tell.
    fn check_changes(&self, directory: &Place) -> Result<()> {
        let _ = directory;
        Ok(())
    }
    /// Gives a file or directory to this user and group of the box, where there are any.
    fn give(&self, place: &Place, owner: Owner) -> Result<()> {
        let _ = (place, owner);
        Ok(())
    }
    /// Tries to lock the file; `None` when somebody else holds it in the way.
    fn try_lock(&self, place: &Place, mode: Mode) -> Result<Option<Box<dyn Held>>>;
    /// How much room there is.
    fn room(&self) -> Result<Room>;
    /// How long syncs took, where that is noted.
    fn sync_times(&self) -> Option<Arc<Timings>> {
        None
    }
    /// The system's path of a place, where it has one: to be watched, not to be opened.
    fn path(&self, place: &Place) -> Option<std::path::PathBuf> {
        let _ = place;
        None
    }
    /// The clock that stamps files.
    fn now(&self) -> SystemTime;
    /// How long it is since some moment: what waits are measured with, which no setting of the clock
    /// changes.
    fn elapsed(&self) -> Duration;
    /// Waits.
    fn pause(&self, time: Duration);
    /// Waits for another thread of this process, which wakes this one by unparking it; no longer than this.
    fn park(&self, time: Duration) {
        std::thread::park_timeout(time);
    }
    /// A random number, for names that nobody else has.
    fn random(&self) -> u64;
}

/// Runs a verb on each of these, in their order, up to the first that it fails of; says how many it was run on before.
fn until_refused<N>(names: &[N], mut verb: impl FnMut(&N) -> Result<()>) -> (usize, Result<()>) {
    for (done, name) in names.iter().enumerate() {
        if let Err(refused) = verb(name) {
            return (done, Err(refused));
        }
    }
    (names.len(), Ok(()))
}
