//! A directory of the box.
//!
//! Every path is resolved with `openat2(2)` below the root, through no symlink and no mount point;
//! where the kernel (or a sandbox) has no `openat2`, component by component with `O_NOFOLLOW`.

use std::any::Any;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{Access, AtFlags, FileType, Mode as Bits, OFlags, RenameFlags, ResolveFlags};
use rustix::fs::{StatxFlags, StatxTimestamp};
use rustix::io::Errno;

use super::lacking;
use super::rounds::Rounds;
use super::{Disk, DiskFile, Entry, Error, FileSystem, Handle, Held, Kind, Meta, Mode, Owner};
use super::{IfThere, Place, Result, Room, Target};

/// Who syncs what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// A lone writer syncs its own files; as soon as several write, one `syncfs` serves them all.
    Auto,
    /// Every writer syncs its own files and directories: for a box on whose file system others
    /// write so much that `syncfs`, which waits for theirs too, takes longer.
    Off,
}

/// From this many callers at a time on, one `syncfs` for all is quicker than each its own `fsync`.
const CROWD: usize = 3;

/// From this many targets on, a lone caller is better off with one `syncfs` than with one `fsync`
/// each: every one of those waits for a journal commit or a cache flush of its own.
const MANY: usize = 3;

/// So many files of a folder are synced one by one, where each writer syncs its own; of a longer one all of
/// the file system is, once, which is over sooner.
const ONE_BY_ONE: usize = 1024;

/// A directory of the box, as a [`Disk`].
pub struct Real {
    root: OwnedFd,
    path: PathBuf,
    grouping: Grouping,
    /// What [`Disk::elapsed`] is measured from.
    opened: Instant,
    /// `syncfs` does what it says here: FUSE answers it and passes nothing on.
    has_syncfs: bool,
    /// Whose everything is that is made here, where that is somebody else than who makes it.
    owner: Option<Owner>,
    rounds: Rounds,
    syncing: AtomicUsize,
    /// A `syncfs` failed: see [`Real::sync_group`].
    lost: AtomicBool,
    /// There is no `openat2` here.
    walks: AtomicBool,
    #[cfg(feature = "mistakes")]
    skipped: Option<super::Skipped>,
}

impl Real {
    /// The directory at this path, which must exist. The path itself may lead through symlinks:
    /// it is the operator's. Where `syncfs` does nothing, the grouping is [`Grouping::Off`] whatever is asked.
    ///
    /// What is made in it belongs to the owner of the directory, also where root makes it.
    pub fn new(root: &Path, grouping: Grouping) -> io::Result<Self> {
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
        let theirs = Owner {
            user: meta.uid(),
            group: meta.gid(),
        };
        // Only root can give away what it makes.
        let gives = rustix::process::geteuid().is_root() && theirs.user != 0;
        Ok(Self {
            root: root.into(),
            path,
            grouping: if has_syncfs { grouping } else { Grouping::Off },
            opened: Instant::now(),
            has_syncfs,
            owner: gives.then_some(theirs),
            rounds: Rounds::default(),
            syncing: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            walks: AtomicBool::new(false),
            #[cfg(feature = "mistakes")]
            skipped: super::Skipped::of_environment(),
        })
    }

    /// Who syncs what here.
    pub fn grouping(&self) -> Grouping {
        self.grouping
    }

    fn resolve(&self, path: &str, flags: OFlags, mode: Bits) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let path = if path.is_empty() { "." } else { path };
        if !self.walks.load(Ordering::Relaxed) {
            let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            loop {
                match rustix::fs::openat2(&self.root, path, flags, mode, beneath) {
                    Err(Errno::NOSYS | Errno::PERM) => {
                        self.walks.store(true, Ordering::Relaxed);
                        break;
                    }
                    // The kernel could not tell whether a rename elsewhere led the walk astray.
                    Err(Errno::AGAIN | Errno::INTR) => continue,
                    other => return Ok(other?),
                }
            }
        }
        self.walk(path, flags, mode)
    }

    fn walk(&self, path: &str, flags: OFlags, mode: Bits) -> io::Result<OwnedFd> {
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut parts = path.split('/').peekable();
        let mut here: Option<OwnedFd> = None;
        loop {
            let part = parts.next().expect("a path has a last component");
            let at = here.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            if parts.peek().is_none() {
                return Ok(rustix::fs::openat(at, part, flags, mode)?);
            }
            here = Some(rustix::fs::openat(at, part, step, Bits::empty())?);
        }
    }

    fn directory(&self, place: &Place) -> io::Result<OwnedFd> {
        self.resolve(
            place.as_str(),
            OFlags::PATH | OFlags::DIRECTORY,
            Bits::empty(),
        )
    }

    /// Runs a verb that takes a directory and a name in it.
    fn at<T>(
        &self,
        verb: &'static str,
        place: &Place,
        run: impl FnOnce(OwnedFd, &str) -> io::Result<T>,
    ) -> Result<T> {
        let (parent, name) = place.split();
        self.directory(&parent)
            .and_then(|directory| run(directory, name))
            .map_err(|source| error(verb, place, source))
    }

    /// Runs a verb that takes two such pairs.
    fn at_two(
        &self,
        verb: &'static str,
        from: &Place,
        to: &Place,
        run: impl FnOnce(&OwnedFd, &str, &OwnedFd, &str) -> rustix::io::Result<()>,
    ) -> Result<()> {
        self.at(verb, from, |source, old| {
            let (parent, new) = to.split();
            let target = self.directory(&parent)?;
            Ok(run(&source, old, &target, new)?)
        })
        .map_err(|mut error| {
            error.place = to.clone();
            error
        })
    }

    /// A directory of this disk as a disk of its own: it stays the same one when its name changes.
    pub fn below(&self, place: &Place) -> Result<Real> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let root = self
            .resolve(place.as_str(), flags, Bits::empty())
            .map_err(|source| error("open", place, source))?;
        Ok(Self {
            root,
            path: self.path.join(place.as_str()),
            grouping: self.grouping,
            opened: self.opened,
            has_syncfs: self.has_syncfs,
            owner: self.owner,
            rounds: Rounds::default(),
            syncing: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            walks: AtomicBool::new(self.walks.load(Ordering::Relaxed)),
            #[cfg(feature = "mistakes")]
            skipped: self.skipped,
        })
    }

    /// A second name here for a regular file of another directory on the same file system; the name
    /// must be free. An error of kind `CrossesDevices` where it is another one.
    pub fn link_from(&self, other: &Real, from: &Place, to: &Place) -> Result<()> {
        let link = || {
            let ((old_parent, old), (new_parent, new)) = (from.split(), to.split());
            let (source, target) = (other.directory(&old_parent)?, self.directory(&new_parent)?);
            Ok(rustix::fs::linkat(
                &source,
                old,
                &target,
                new,
                AtFlags::empty(),
            )?)
        };
        link().map_err(|source| error("link", from, source))
    }

    fn open_file(&self, place: &Place, flags: OFlags, mode: Bits) -> Result<Handle> {
        let open = || {
            // NONBLOCK, or a planted FIFO would hold the thread; it means nothing to a file.
            let file = File::from(self.resolve(place.as_str(), flags | OFlags::NONBLOCK, mode)?);
            let mut opened = None;
            if flags.contains(OFlags::CREATE) {
                if let Some(owner) = self.owner
                    && let Err(refused) = give(&file, owner)
                {
                    // Rather nothing than what its owner cannot use.
                    let (parent, name) = place.split();
                    rustix::fs::unlinkat(self.directory(&parent)?, name, AtFlags::empty())?;
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
        let (file, opened) = open().map_err(|source| error("open", place, source))?;
        Ok(Arc::new(RealFile {
            file,
            place: place.clone(),
            opened,
        }))
    }

    /// Takes part in a `syncfs`.
    ///
    /// The system reports a failed write to one `syncfs` only. Whoever wrote before it and comes to
    /// the next would be told that all is well: so after a failed one nobody relies on another, and
    /// every file is asked for itself, which reports what was lost to each who has it open.
    fn sync_group(&self, targets: &[Target], syncfs: impl Fn() -> io::Result<()>) -> Result<()> {
        if !self.lost.load(Ordering::Acquire) {
            self.rounds
                .join(|| self.note_loss(syncfs()))
                .map_err(|source| error("sync", &Place::new(""), source))?;
            if !self.lost.load(Ordering::Acquire) {
                return Ok(());
            }
        }
        self.sync_each(targets)
    }

    fn note_loss(&self, result: io::Result<()>) -> io::Result<()> {
        result.inspect_err(|error| {
            self.lost.store(true, Ordering::Release);
            log::error!(
                "a sync of the file system failed ({error}): each file by itself from now on"
            );
        })
    }

    fn sync_each(&self, targets: &[Target]) -> Result<()> {
        for target in targets {
            match target {
                Target::File(handle) => {
                    let file = handle
                        .as_any()
                        .downcast_ref::<RealFile>()
                        .expect("a real disk is given its own files");
                    (file.file.sync_all()).map_err(|source| error("sync", &file.place, source))?;
                }
                Target::Directory(place) => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                    self.resolve(place.as_str(), flags, Bits::empty())
                        .and_then(|directory| Ok(rustix::fs::fsync(directory)?))
                        .map_err(|source| error("sync", place, source))?;
                }
            }
        }
        Ok(())
    }
}

impl AsFd for Real {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// Gives a file or directory away. Where the file system says whose everything is, that is who it says.
fn give(file: &File, owner: Owner) -> io::Result<()> {
    std::os::unix::fs::fchown(file, Some(owner.user), Some(owner.group)).or_else(|refused| {
        let meta = file.metadata()?;
        match (meta.uid(), meta.gid()) == (owner.user, owner.group) {
            true => Ok(()),
            false => Err(refused),
        }
    })
}

fn error(verb: &'static str, place: &Place, source: io::Error) -> Error {
    Error {
        verb,
        place: place.clone(),
        source,
    }
}

/// Syncs files and directories one by one, with one directory's names in memory at each level.
struct SyncWalk<'a> {
    disk: &'a Real,
    /// How many more may be, where there is another way.
    left: Option<usize>,
}

/// Why a walk ended early.
enum Refused {
    /// This may not be opened.
    Closed(Error),
    /// There is more than one by one is worth.
    Many,
    Other(Error),
}

impl SyncWalk<'_> {
    fn sync(&mut self, directory: &Place) -> std::result::Result<(), Refused> {
        let mut entries = Vec::new();
        let listed = self.disk.list(directory, &mut |entry| {
            entries.push(entry);
            true
        });
        Self::unless_gone(listed)?;
        for entry in entries {
            let place = directory.join(&entry.name);
            match entry.kind {
                Kind::Directory => self.sync(&place)?,
                Kind::File => self.one(&place, OFlags::NONBLOCK)?,
                Kind::Other => {}
            }
        }
        // Last, so that the names are durable when what they stand for is.
        self.one(directory, OFlags::DIRECTORY)
    }

    fn one(&mut self, place: &Place, flags: OFlags) -> std::result::Result<(), Refused> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or(Refused::Many)?;
        }
        let flags = OFlags::RDONLY | flags;
        let synced = (self.disk.resolve(place.as_str(), flags, Bits::empty()))
            .and_then(|opened| Ok(rustix::fs::fsync(opened)?));
        Self::unless_gone(synced.map_err(|source| error("sync", place, source)))
    }

    fn unless_gone(result: Result<()>) -> std::result::Result<(), Refused> {
        match result {
            Err(absent) if absent.is_absent() => Ok(()),
            Err(denied) if denied.kind() == io::ErrorKind::PermissionDenied => {
                Err(Refused::Closed(denied))
            }
            other => other.map_err(Refused::Other),
        }
    }
}

struct RealFile {
    file: File,
    place: Place,
    opened: Option<Meta>,
}

impl RealFile {
    fn named<T>(&self, verb: &'static str, result: io::Result<T>) -> Result<T> {
        result.map_err(|source| error(verb, &self.place, source))
    }
}

impl DiskFile for RealFile {
    fn append(&self, bytes: &[u8]) -> Result<()> {
        self.named("write", io::Write::write_all(&mut &self.file, bytes))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.named("write", self.file.write_all_at(bytes, offset))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match (self.file).read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(error("read", &self.place, source)),
            }
        }
        Ok(filled)
    }

    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize>> {
        let wanted = buffer.len();
        let read = rustix::io::preadv2(
            &self.file,
            &mut [IoSliceMut::new(buffer)],
            offset,
            rustix::io::ReadWriteFlags::NOWAIT,
        );
        match read {
            Ok(read) if read == wanted => Some(Ok(read)),
            _ => None,
        }
    }

    fn set_len(&self, bytes: u64) -> Result<()> {
        self.named("cut", self.file.set_len(bytes))
    }

    fn meta(&self) -> Result<Meta> {
        self.named("look at", self.file.metadata().map(|meta| from_std(&meta)))
    }

    fn opened(&self) -> Result<Meta> {
        self.opened.map_or_else(|| self.meta(), Ok)
    }

    fn touch(&self, time: SystemTime) -> Result<()> {
        let times = std::fs::FileTimes::new().set_modified(time);
        self.named("touch", self.file.set_times(times))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn from_std(meta: &std::fs::Metadata) -> Meta {
    let kind = if meta.is_file() {
        Kind::File
    } else if meta.is_dir() {
        Kind::Directory
    } else {
        Kind::Other
    };
    Meta {
        kind,
        bytes: meta.len(),
        inode: meta.ino(),
        device: meta.dev(),
        links: meta.nlink(),
        modified: since_epoch(meta.mtime(), meta.mtime_nsec()),
        changed: since_epoch(meta.ctime(), meta.ctime_nsec()),
        born: meta.created().ok(),
        mode: meta.mode() & 0o7777,
        owner: Owner {
            user: meta.uid(),
            group: meta.gid(),
        },
    }
}

/// Looks at a path; also when it was made, which the standard library tells with some C libraries only.
pub(super) fn statx(at: BorrowedFd<'_>, path: &Path, flags: AtFlags) -> io::Result<Meta> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let found = match rustix::fs::statx(at, path, flags, wanted) {
        // A kernel, or a sandbox, without it.
        Err(Errno::NOSYS | Errno::PERM) => {
            return Ok(from_stat(&rustix::fs::statat(at, path, flags)?));
        }
        other => other?,
    };
    let time = |stamp: StatxTimestamp| since_epoch(stamp.tv_sec, stamp.tv_nsec.into());
    let born = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    Ok(Meta {
        kind: kind_of(FileType::from_raw_mode(found.stx_mode.into())),
        bytes: found.stx_size,
        inode: found.stx_ino,
        device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
        links: found.stx_nlink.into(),
        modified: time(found.stx_mtime),
        changed: time(found.stx_ctime),
        born: born.then(|| time(found.stx_btime)),
        mode: u32::from(found.stx_mode) & 0o7777,
        owner: Owner {
            user: found.stx_uid,
            group: found.stx_gid,
        },
    })
}

fn from_stat(found: &rustix::fs::Stat) -> Meta {
    Meta {
        kind: kind_of(FileType::from_raw_mode(found.st_mode)),
        bytes: u64::try_from(found.st_size).unwrap_or(0),
        inode: found.st_ino,
        device: found.st_dev,
        links: found.st_nlink,
        modified: since_epoch(found.st_mtime, found.st_mtime_nsec as i64),
        changed: since_epoch(found.st_ctime, found.st_ctime_nsec as i64),
        born: None,
        mode: found.st_mode & 0o7777,
        owner: Owner {
            user: found.st_uid,
            group: found.st_gid,
        },
    }
}

fn kind_of(found: FileType) -> Kind {
    match found {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        _ => Kind::Other,
    }
}

fn since_epoch(seconds: i64, nanoseconds: i64) -> SystemTime {
    let nanoseconds = Duration::from_nanos(nanoseconds.unsigned_abs());
    let whole = Duration::from_secs(seconds.unsigned_abs());
    if seconds >= 0 {
        UNIX_EPOCH + whole + nanoseconds
    } else {
        UNIX_EPOCH - whole + nanoseconds
    }
}

struct RealLock {
    file: File,
    inode: u64,
}

impl Held for RealLock {
    fn inode(&self) -> u64 {
        self.inode
    }
}

impl Drop for RealLock {
    fn drop(&mut self) {
        // Closing would do; a forked child that still has the descriptor must not keep the lock.
        let _ = fs2::FileExt::unlock(&self.file);
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
            let handle = match self.resolve(place.as_str(), OFlags::PATH, Bits::empty()) {
                Err(found) if found.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                    // A symlink, here or on the way here: nothing that a store has.
                    let (parent, name) = place.split();
                    let parent = self.directory(&parent)?;
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
        look().map_err(|source| error("look at", place, source))
    }

    fn meta_by_path(&self, place: &Place) -> Result<Meta> {
        let found = match place.as_str() {
            "" => statx(rustix::fs::CWD, &self.path, AtFlags::empty()),
            below => {
                let path = self.path.join(below);
                statx(rustix::fs::CWD, &path, AtFlags::SYMLINK_NOFOLLOW)
            }
        };
        found.map_err(|source| error("look at", place, source))
    }

    fn list(&self, directory: &Place, each: &mut dyn FnMut(Entry) -> bool) -> Result<()> {
        let mut list = || -> io::Result<()> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let opened = self.resolve(directory.as_str(), flags, Bits::empty())?;
            for entry in rustix::fs::Dir::new(opened)? {
                let entry = entry?;
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                let name = name.to_string_lossy().into_owned();
                let kind = match entry.file_type() {
                    FileType::RegularFile => Kind::File,
                    FileType::Directory => Kind::Directory,
                    // Some file systems do not say in the listing.
                    FileType::Unknown => match self.meta(&directory.join(&name)).if_there() {
                        Ok(Some(meta)) => meta.kind,
                        Ok(None) => continue,
                        Err(error) => return Err(error.source),
                    },
                    _ => Kind::Other,
                };
                if !each(Entry { name, kind }) {
                    break;
                }
            }
            Ok(())
        };
        list().map_err(|source| error("list", directory, source))
    }

    fn make_directory(&self, place: &Place) -> Result<()> {
        self.at("make", place, |parent, name| {
            rustix::fs::mkdirat(&parent, name, Bits::from_raw_mode(0o700))?;
            let Some(owner) = self.owner else {
                return Ok(());
            };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let given = self
                .resolve(place.as_str(), flags, Bits::empty())
                .and_then(|made| give(&made.into(), owner));
            given.or_else(|refused| {
                // Rather nothing than what its owner cannot use.
                rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?;
                Err(refused)
            })
        })
    }

    fn link(&self, from: &Place, to: &Place) -> Result<()> {
        self.at_two("link", from, to, |source, old, target, new| {
            rustix::fs::linkat(source, old, target, new, AtFlags::empty())
        })
    }

    fn rename_new(&self, from: &Place, to: &Place) -> Result<()> {
        self.at_two("rename", from, to, |source, old, target, new| {
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
        self.at_two("rename", from, to, |source, old, target, new| {
            rustix::fs::renameat(source, old, target, new)
        })
    }

    fn remove_file(&self, place: &Place) -> Result<()> {
        self.at("remove", place, |directory, name| {
            Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?)
        })
    }

    fn remove_directory(&self, place: &Place) -> Result<()> {
        self.at("remove", place, |directory, name| {
            Ok(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?)
        })
    }

    fn sync(&self, targets: &[Target]) -> Result<()> {
        #[cfg(feature = "mistakes")]
        if let Some(skipped) = self.skipped {
            let synced = self.sync_each(&skipped.rest(targets));
            return match skipped {
                super::Skipped::SyncErrorIgnored => Ok(()),
                _ => synced,
            };
        }
        if targets.is_empty() {
            return Ok(());
        }
        let callers = self.syncing.fetch_add(1, Ordering::Relaxed) + 1;
        let together = callers >= CROWD || targets.len() >= MANY;
        let result = if self.grouping == Grouping::Auto && together {
            self.sync_group(targets, || Ok(rustix::fs::syncfs(&self.root)?))
        } else {
            self.sync_each(targets)
        };
        self.syncing.fetch_sub(1, Ordering::Relaxed);
        result
    }

    fn sync_everything(&self) -> Result<()> {
        self.sync_written(&Place::new(""))
    }

    fn sync_written(&self, directory: &Place) -> Result<()> {
        if !self.has_syncfs {
            return lacking::sync_walking(self, directory);
        }
        #[cfg(feature = "mistakes")]
        if self.skipped == Some(super::Skipped::SyncErrorIgnored) {
            let _ = rustix::fs::syncfs(&self.root);
            return Ok(());
        }
        if self.lost.load(Ordering::Acquire) {
            return Err(error("sync", &Place::new(""), Errno::IO.into()));
        }
        self.rounds
            .join(|| self.note_loss(rustix::fs::syncfs(&self.root).map_err(Into::into)))
            .map_err(|source| error("sync", &Place::new(""), source))
    }

    fn sync_below(&self, directory: &Place) -> Result<()> {
        if !self.has_syncfs {
            return lacking::sync_walking(self, directory)
                .if_there()
                .map(|_| ());
        }
        let is_sound = || !self.lost.load(Ordering::Acquire);
        if is_sound() && self.grouping == Grouping::Auto && self.sync_everything().is_ok() {
            return Ok(());
        }
        // Where that failed, perhaps for a file of somebody else, each file says what became of it.
        let may_group = is_sound();
        let mut walk = SyncWalk {
            disk: self,
            left: may_group.then_some(ONE_BY_ONE),
        };
        match walk.sync(directory) {
            Ok(()) => Ok(()),
            // What this process may not open is reached in another way, if at all.
            Err(Refused::Closed(_) | Refused::Many) if may_group => self.sync_everything(),
            Err(Refused::Closed(error) | Refused::Other(error)) => Err(error),
            Err(Refused::Many) => unreachable!("it counts only where it may"),
        }
    }

    fn syncs_everything(&self) -> bool {
        self.has_syncfs
    }

    fn check_changes(&self, directory: &Place) -> Result<()> {
        self.at("write to", directory, |parent, name| {
            let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
            Ok(rustix::fs::accessat(parent, name, all, AtFlags::EACCESS)?)
        })
    }

    fn give(&self, place: &Place, owner: Owner) -> Result<()> {
        // Neither read nor followed, whatever it is.
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        self.resolve(place.as_str(), flags, Bits::empty())
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
            .map_err(|source| error("give away", place, source))
    }

    fn try_lock(&self, place: &Place, mode: Mode) -> Result<Option<Box<dyn Held>>> {
        let lock = || {
            let file = File::from(self.resolve(place.as_str(), OFlags::RDWR, Bits::empty())?);
            let inode = file.metadata()?.ino();
            let tried = match mode {
                Mode::Shared => fs2::FileExt::try_lock_shared(&file),
                Mode::Exclusive => fs2::FileExt::try_lock_exclusive(&file),
            };
            match tried {
                Ok(()) => Ok(Some(Box::new(RealLock { file, inode }) as Box<dyn Held>)),
                Err(held) if held.kind() == fs2::lock_contended_error().kind() => Ok(None),
                Err(other) => Err(other),
            }
        };
        lock().map_err(|source| error("lock", place, source))
    }

    fn room(&self) -> Result<Room> {
        rustix::fs::fstatvfs(&self.root)
            .map(|room| Room {
                free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
                free_files: room.f_favail,
            })
            .map_err(|errno| error("look at", &Place::new(""), errno.into()))
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
            disk.walks.store(walks, Ordering::Relaxed);
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
    fn after_a_failed_syncfs_nobody_relies_on_another() {
        let (_directory, disk) = fresh();
        let place = Place::new("f");
        let file = Target::File(disk.create(&place).unwrap());
        let failing = || Err(Errno::IO.into());
        assert!(
            disk.sync_group(std::slice::from_ref(&file), failing)
                .is_err()
        );
        let never = || panic!("a syncfs after a failed one");
        disk.sync_group(&[file], never).unwrap();
        assert!(disk.sync_everything().is_err());
    }

    #[test]
    fn all_below_a_directory_is_synced_one_by_one_as_far_as_that_is_worth_it() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Real::new(directory.path(), Grouping::Off).unwrap();
        let top = Place::new("top");
        for place in [top.clone(), top.join("inner")] {
            disk.make_directory(&place).unwrap();
            drop(disk.create(&place.join("file")).unwrap());
        }
        disk.sync_below(&top).unwrap();
        let walk = |left| SyncWalk { disk: &disk, left }.sync(&top);
        // Two files and two directories.
        assert!(walk(Some(4)).is_ok());
        assert!(matches!(walk(Some(3)), Err(Refused::Many)));
        assert!(walk(None).is_ok());
        // What went meanwhile need not be synced.
        disk.sync_below(&top.join("gone")).unwrap();
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
