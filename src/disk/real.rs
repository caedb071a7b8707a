//! A directory of the box, as a disk.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{Access, AtFlags, Mode as Bits, OFlags, RenameFlags};
use rustix::io::Errno;

use super::beneath::Beneath;
use super::file_lock::RealLock;
use super::file_system::FileSystem;
use super::giving::{give, is_ours};
use super::look::{from_std, statx};
use super::real_file::RealFile;
use super::syncing::{Grouping, Syncing};
use super::{Disk, Error, Handle, Held, IfThere, Kind, Listed, Meta, Mode, Owner};
use super::{Place, Result, Room, Target};
use super::{lacking, listing, row};
use crate::model::timings::Timings;

/// A directory of the box, as a [`Disk`].
pub struct Real {
    beneath: Beneath,
    path: PathBuf,
    /// The moment that [`Disk::elapsed`] is measured from.
    opened: Instant,
    /// The owner that everything made here is given to, where that is somebody else than who makes it; only root can.
    owner: Option<Owner>,
    syncing: Syncing,
    sync_times: Arc<Timings>,
}

impl Real {
    /// Opens the directory at this path, which must exist. The path itself may lead through symlinks:
    /// it is the operator's. Where `syncfs` does nothing, the grouping is [`Grouping::Off`] whatever is asked.
    ///
    /// What is made in it belongs to the owner of the directory, also where root makes it. Whoever can make nothing
    /// that does makes nothing: every such verb fails.
    pub fn new(root: &Path, grouping: Grouping) -> io::Result<Self> {
        Self::opened(root, grouping, None)
    }

    /// Opens a directory as [`Real::new`] does, in which everything is to belong to this owner; where root opens it,
    /// the directory as well from now on.
    pub fn for_owner(root: &Path, grouping: Grouping, owner: Owner) -> io::Result<Self> {
        Self::opened(root, grouping, Some(owner))
    }

    fn opened(root: &Path, grouping: Grouping, owner: Option<Owner>) -> io::Result<Self> {
        let given = std::path::absolute(root)?;
        let canonical = root.canonicalize()?;
        let root = File::open(root)?;
        let meta = root.metadata()?;
        if !meta.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        // Not where the path leads through the root of another process, which has its own mounts.
        let is_there = canonical
            .metadata()
            .is_ok_and(|there| (there.dev(), there.ino()) == (meta.dev(), meta.ino()));
        let path = if is_there { canonical } else { given };
        let has_syncfs = !FileSystem::of_directory(&root)?.is_fuse();
        let theirs = owner.unwrap_or(from_std(&meta).owner);
        if owner.is_some() && rustix::process::geteuid().is_root() {
            give(&root, theirs)?;
        }
        Ok(Self {
            beneath: Beneath::new(root.into()),
            path,
            opened: Instant::now(),
            owner: (!is_ours(theirs)).then_some(theirs),
            syncing: Syncing::new(has_syncfs, grouping),
            sync_times: Arc::default(),
        })
    }

    /// How writers sync here: not always as was asked, see [`Real::new`].
    pub fn grouping(&self) -> Grouping {
        self.syncing.grouping()
    }

    /// The owner that everything made here is given to: whoever the directory belongs to, where root makes it for somebody else.
    pub fn gives_to(&self) -> Option<Owner> {
        self.owner
    }

    /// A directory of this disk as a disk of its own: it stays the same one when its name changes.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn below(&self, place: &Place) -> Result<Real> {
        Ok(Self {
            beneath: self.beneath.below(place)?,
            path: self.path.join(place.as_str()),
            opened: self.opened,
            owner: self.owner,
            syncing: self.syncing.for_below(),
            sync_times: Arc::clone(&self.sync_times),
        })
    }

    /// A second name here for a regular file of another directory on the same file system; the name
    /// must be free. An error of kind `CrossesDevices` where it is another one.
    pub fn link_from(&self, other: &Real, from: &Place, to: &Place) -> Result<()> {
        let link = || {
            let ((old_parent, old), (new_parent, new)) = (from.split(), to.split());
            let (source, target) = (
                other.beneath.directory(&old_parent)?,
                self.beneath.directory(&new_parent)?,
            );
            Ok(rustix::fs::linkat(
                &source,
                old,
                &target,
                new,
                AtFlags::empty(),
            )?)
        };
        link().map_err(|source| Error::new("link", from, source))
    }

    fn open_file(&self, place: &Place, flags: OFlags, mode: Bits) -> Result<Handle> {
        let open = || {
            // NONBLOCK, or a planted FIFO would hold the thread; it means nothing to a file.
            let file = File::from(
                self.beneath
                    .resolve(place, flags | OFlags::NONBLOCK, mode)?,
            );
            let mut opened = None;
            if flags.contains(OFlags::CREATE) {
                if let Some(owner) = self.owner
                    && let Err(refused) = give(&file, owner)
                {
                    // Rather nothing than what its owner cannot use.
                    let (parent, name) = place.split();
                    rustix::fs::unlinkat(self.beneath.directory(&parent)?, name, AtFlags::empty())?;
                    return Err(refused);
                }
            } else {
                let meta = from_std(&file.metadata()?);
                if meta.kind != Kind::File {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "not a regular file",
                    ));
                }
                opened = Some(meta);
            }
            Ok((file, opened))
        };
        let (file, opened) = open().map_err(|source| Error::new("open", place, source))?;
        Ok(Arc::new(RealFile {
            file,
            place: place.clone(),
            opened,
        }))
    }
}

impl AsFd for Real {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.beneath.as_fd()
    }
}

impl Disk for Real {
    fn open(&self, place: &Place) -> Result<Handle> {
        self.open_file(place, OFlags::RDONLY, Bits::empty())
    }

    fn open_to_write(&self, place: &Place) -> Result<Handle> {
        self.open_file(place, OFlags::RDWR, Bits::empty())
    }

    fn create(&self, place: &Place) -> Result<Handle> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        self.open_file(place, flags, Bits::from_raw_mode(0o600))
    }

    fn meta(&self, place: &Place) -> Result<Meta> {
        let look = || {
            let handle = match self.beneath.resolve(place, OFlags::PATH, Bits::empty()) {
                Err(found) if found.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                    // A symlink, here or on the way here: nothing that a store has.
                    let (parent, name) = place.split();
                    let parent = self.beneath.directory(&parent)?;
                    rustix::fs::openat(
                        parent,
                        name,
                        OFlags::PATH | OFlags::NOFOLLOW,
                        Bits::empty(),
                    )?
                }
                other => other?,
            };
            statx(handle.as_fd(), Path::new(""), AtFlags::EMPTY_PATH)
        };
        look().map_err(|source| Error::new("look at", place, source))
    }

    fn meta_by_path(&self, place: &Place) -> Result<Meta> {
        let found = match place.as_str() {
            "" => statx(rustix::fs::CWD, &self.path, AtFlags::empty()),
            below => {
                let path = self.path.join(below);
                statx(rustix::fs::CWD, &path, AtFlags::SYMLINK_NOFOLLOW)
            }
        };
        found.map_err(|source| Error::new("look at", place, source))
    }

    fn list(&self, directory: &Place, each: &mut dyn FnMut(Listed) -> bool) -> Result<()> {
        let mut list = || -> io::Result<()> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let opened = self.beneath.resolve(directory, flags, Bits::empty())?;
            let kind_of = |name: &str| match self.meta(&directory.join(name)).if_there() {
                Ok(meta) => Ok(meta.map(|meta| meta.kind)),
                Err(error) => Err(error.source),
            };
            listing::list(&opened, kind_of, each)
        };
        list().map_err(|source| Error::new("list", directory, source))
    }

    fn make_directory(&self, place: &Place) -> Result<()> {
        self.beneath.at("make", place, |parent, name| {
            rustix::fs::mkdirat(&parent, name, Bits::from_raw_mode(0o700))?;
            let Some(owner) = self.owner else {
                return Ok(());
            };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let given = self
                .beneath
                .resolve(place, flags, Bits::empty())
                .and_then(|made| give(&made.into(), owner));
            given.or_else(|refused| {
                // Rather nothing than what its owner cannot use.
                rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?;
                Err(refused)
            })
        })
    }

    fn link(&self, from: &Place, to: &Place) -> Result<()> {
        self.beneath
            .at_two("link", from, to, |source, old, target, new| {
                rustix::fs::linkat(source, old, target, new, AtFlags::empty())
            })
    }

    fn link_all(&self, names: &[(Place, Place)]) -> (usize, Result<()>) {
        row::link_all(&self.beneath, names)
    }

    fn rename_new(&self, from: &Place, to: &Place) -> Result<()> {
        self.beneath
            .at_two("rename", from, to, |source, old, target, new| {
                match rustix::fs::renameat_with(source, old, target, new, RenameFlags::NOREPLACE) {
                    // A file system that has no such rename.
                    Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                        lacking::rename_new(source, old, target, new)
                    }
                    other => other,
                }
            })
    }

    fn rename_over(&self, from: &Place, to: &Place) -> Result<()> {
        self.beneath
            .at_two("rename", from, to, |source, old, target, new| {
                rustix::fs::renameat(source, old, target, new)
            })
    }

    fn remove_file(&self, place: &Place) -> Result<()> {
        self.beneath.at("remove", place, |directory, name| {
            Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?)
        })
    }

    fn remove_all(&self, names: &[Place]) -> (usize, Result<()>) {
        row::remove_all(&self.beneath, names)
    }

    fn remove_directory(&self, place: &Place) -> Result<()> {
        self.beneath.at("remove", place, |directory, name| {
            Ok(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?)
        })
    }

    fn sync(&self, targets: &[Target]) -> Result<()> {
        let started = Instant::now();
        let synced = self.syncing.sync(&self.beneath, targets);
        self.sync_times.note(started.elapsed());
        synced
    }

    fn sync_everything(&self) -> Result<()> {
        self.sync_written(&Place::new(""))
    }

    fn sync_written(&self, directory: &Place) -> Result<()> {
        self.syncing.written(self, &self.beneath, directory)
    }

    fn sync_below(&self, directory: &Place) -> Result<()> {
        self.syncing.below(self, &self.beneath, directory)
    }

    fn syncs_everything(&self) -> bool {
        self.syncing.has_syncfs()
    }

    fn check_changes(&self, directory: &Place) -> Result<()> {
        self.beneath.at("write to", directory, |parent, name| {
            let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
            Ok(rustix::fs::accessat(parent, name, all, AtFlags::EACCESS)?)
        })
    }

    fn give(&self, place: &Place, owner: Owner) -> Result<()> {
        // Neither read nor followed, whatever it is.
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        self.beneath
            .resolve(place, flags, Bits::empty())
            .and_then(|found| {
                let user = Some(rustix::fs::Uid::from_raw(owner.user));
                let group = Some(rustix::fs::Gid::from_raw(owner.group));
                Ok(rustix::fs::chownat(
                    found,
                    "",
                    user,
                    group,
                    AtFlags::EMPTY_PATH,
                )?)
            })
            .map_err(|source| Error::new("give away", place, source))
    }

    fn try_lock(&self, place: &Place, mode: Mode) -> Result<Option<Box<dyn Held>>> {
        let lock = || {
            let file = File::from(self.beneath.resolve(place, OFlags::RDWR, Bits::empty())?);
            let lock = RealLock::try_on(file, mode)?;
            Ok(lock.map(|lock| Box::new(lock) as Box<dyn Held>))
        };
        lock().map_err(|source| Error::new("lock", place, source))
    }

    fn room(&self) -> Result<Room> {
        rustix::fs::fstatvfs(&self.beneath)
            .map(|room| Room {
                free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
                free_files: room.f_favail,
                bytes: room.f_blocks.saturating_mul(room.f_frsize),
                files: room.f_files,
            })
            .map_err(|errno| Error::new("look at", &Place::new(""), errno.into()))
    }

    fn sync_times(&self) -> Option<Arc<Timings>> {
        Some(Arc::clone(&self.sync_times))
    }

    fn path(&self, place: &Place) -> Option<PathBuf> {
        Some(self.path.join(place.as_str()))
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn elapsed(&self) -> Duration {
        self.opened.elapsed()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn random(&self) -> u64 {
        uuid::Uuid::new_v4().as_u64_pair().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, Real) {
        let directory = tempfile::tempdir().unwrap();
        let disk = Real::new(directory.path(), Grouping::Auto).unwrap();
        (directory, disk)
    }

    #[test]
    fn no_symlink_is_followed_with_openat2_or_without() {
        for walks in [false, true] {
            let (directory, disk) = fresh();
            if walks {
                disk.beneath.walk_always();
            }
            let outside = tempfile::tempdir().unwrap();
            let elsewhere = Real::new(outside.path(), Grouping::Auto).unwrap();
            drop(elsewhere.create(&Place::new("secret")).unwrap());
            std::os::unix::fs::symlink(outside.path(), directory.path().join("d")).unwrap();
            let target = outside.path().join("secret");
            std::os::unix::fs::symlink(target, directory.path().join("f")).unwrap();
            let inner = Place::new("d/secret");
            assert!(disk.open(&inner).is_err());
            assert!(disk.open(&Place::new("f")).is_err());
            assert!(disk.create(&Place::new("d/new")).is_err());
            assert!(disk.make_directory(&Place::new("d/new")).is_err());
            assert!(disk.remove_file(&inner).is_err());
            assert!(disk.link(&inner, &Place::new("x")).is_err());
            assert!(disk.list(&Place::new("d"), &mut |_| true).is_err());
            assert_eq!(disk.meta(&Place::new("f")).unwrap().kind, Kind::Other);
            assert!(target_is_whole(&outside));
        }
    }

    fn target_is_whole(outside: &tempfile::TempDir) -> bool {
        std::fs::read_dir(outside.path()).unwrap().count() == 1
    }

    #[test]
    fn publishing_never_replaces() {
        let (_directory, disk) = fresh();
        let (a, b) = (Place::new("a"), Place::new("b"));
        disk.create(&a).unwrap().append(b"a").unwrap();
        disk.create(&b).unwrap().append(b"b").unwrap();
        assert!(disk.rename_new(&a, &b).unwrap_err().is_taken());
        assert!(disk.link(&a, &b).unwrap_err().is_taken());
        assert!(disk.create(&b).err().unwrap().is_taken());
        disk.rename_over(&a, &b).unwrap();
        let mut read = [0; 2];
        assert_eq!(disk.open(&b).unwrap().read_at(0, &mut read).unwrap(), 1);
        assert_eq!(&read[..1], b"a");
    }

    #[test]
    fn a_directory_by_itself_stays_the_same_when_its_name_changes() {
        let (_directory, disk) = fresh();
        let [old, new] = ["old", "new"].map(Place::new);
        disk.make_directory(&old).unwrap();
        let inner = disk.below(&old).unwrap();
        disk.rename_new(&old, &new).unwrap();
        drop(inner.create(&Place::new("f")).unwrap());
        assert!(disk.meta(&new.join("f")).is_ok());
        assert!(disk.below(&new.join("f")).is_err());
        assert!(disk.below(&old).err().unwrap().is_absent());
    }

    #[test]
    fn a_link_from_another_directory_is_the_same_file_and_follows_no_symlink() {
        let (_one, source) = fresh();
        let (two, target) = fresh();
        let (a, b) = (Place::new("a"), Place::new("b"));
        source.create(&a).unwrap().append(b"a").unwrap();
        target.link_from(&source, &a, &b).unwrap();
        let inode = |disk: &Real, place| disk.meta(place).unwrap().inode;
        assert_eq!(inode(&source, &a), inode(&target, &b));
        assert!(target.link_from(&source, &a, &b).unwrap_err().is_taken());
        std::os::unix::fs::symlink("/", two.path().join("d")).unwrap();
        let through = Place::new("d/tmp/never");
        assert!(target.link_from(&source, &a, &through).is_err());
    }

    #[test]
    fn names_in_a_row_are_made_and_taken_away_up_to_the_first_that_is_refused() {
        let (root, disk) = fresh();
        for directory in ["from", "to"] {
            disk.make_directory(&Place::new(directory)).unwrap();
        }
        std::os::unix::fs::symlink("to", root.path().join("led")).unwrap();
        let places = |directory: &str| ["a", "b", "c"].map(|name| Place::new(directory).join(name));
        for place in places("from") {
            disk.create(&place).unwrap();
        }
        let links = |into: [&str; 3]| -> Vec<_> {
            let to = into.iter().zip(["a", "b", "c"]);
            let to = to.map(|(into, name)| Place::new(*into).join(name));
            places("from").into_iter().zip(to).collect()
        };
        for through in ["none", "led"] {
            let (done, refused) = disk.link_all(&links(["to", through, "to"]));
            assert_eq!((done, refused.is_err()), (1, true), "{through}");
            assert!(disk.meta(&Place::new("to/c")).is_err());
            disk.remove_file(&Place::new("to/a")).unwrap();
        }
        let (done, linked) = disk.link_all(&links(["to"; 3]));
        linked.unwrap();
        assert_eq!(
            (done, disk.meta(&Place::new("to/b")).unwrap().links),
            (3, 2)
        );
        let (done, taken) = disk.link_all(&links(["to"; 3]));
        assert!(done == 0 && taken.unwrap_err().is_taken());

        disk.remove_file(&Place::new("from/b")).unwrap();
        let [a, b, c] = places("from");
        let (done, absent) = disk.remove_all(&[a.clone(), b, c.clone()]);
        assert!(done == 1 && absent.unwrap_err().is_absent());
        assert!(disk.meta(&a).is_err() && disk.meta(&c).is_ok());
        let there = Place::new("to/a");
        assert_eq!(disk.remove_all(&[c, there.clone()]).0, 2);
        assert!(disk.meta(&there).is_err());
    }

    #[test]
    fn the_path_of_a_directory_that_was_moved_away_leads_to_it_no_more() {
        let above = tempfile::tempdir().unwrap();
        let (path, aside) = (above.path().join("data"), above.path().join("aside"));
        std::fs::create_dir(&path).unwrap();
        let disk = Real::new(&path, Grouping::Auto).unwrap();
        let top = Place::new("");
        let here = disk.meta(&top).unwrap();
        assert_eq!(disk.meta_by_path(&top).unwrap(), here);
        rustix::fs::rename(&path, &aside).unwrap();
        assert!(disk.meta_by_path(&top).unwrap_err().is_absent());
        std::fs::create_dir(&path).unwrap();
        assert_ne!(disk.meta_by_path(&top).unwrap().inode, here.inode);
        assert_eq!(disk.meta(&top).unwrap().inode, here.inode);
    }

    #[test]
    fn a_shared_lock_keeps_an_exclusive_one_out() {
        let (_directory, disk) = fresh();
        let lock = Place::new("lock");
        drop(disk.create(&lock).unwrap());
        let one = disk.try_lock(&lock, Mode::Shared).unwrap();
        let two = disk.try_lock(&lock, Mode::Shared).unwrap();
        assert!(one.is_some() && two.is_some());
        assert!(disk.try_lock(&lock, Mode::Exclusive).unwrap().is_none());
        drop((one, two));
        assert!(disk.try_lock(&lock, Mode::Exclusive).unwrap().is_some());
    }
}
