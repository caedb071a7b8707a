//! Syncs, so that as few as possible wait for the disk: one `syncfs` serves many writers.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::fs::{Mode as Bits, OFlags};
use rustix::io::Errno;

use super::beneath::Beneath;
use super::lacking;
use super::real_file::RealFile;
use super::rounds::Rounds;
use super::{Disk, Error, IfThere, Kind, Place, Result, Target};

/// How writers sync: each its own, or several at once.
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
const MANY: usize = 2;

/// Files of a folder that are synced one by one at most, where each writer syncs its own. For a longer folder
/// all of the file system is synced, once, which is over sooner.
const ONE_BY_ONE: usize = 1024;

/// The syncs of one disk.
pub struct Syncing {
    grouping: Grouping,
    /// `syncfs` does what it says here: FUSE answers it and passes nothing on.
    has_syncfs: bool,
    rounds: Rounds,
    callers: AtomicUsize,
    /// A `syncfs` failed: see [`Syncing::in_group`].
    lost: AtomicBool,
    #[cfg(feature = "mistakes")]
    skipped: Option<super::Skipped>,
}

impl Syncing {
    /// Syncs on a file system that has a `syncfs` or, where each writer syncs its own whatever is asked, has
    /// none.
    pub fn new(has_syncfs: bool, grouping: Grouping) -> Self {
        Self {
            grouping: if has_syncfs { grouping } else { Grouping::Off },
            has_syncfs,
            rounds: Rounds::default(),
            callers: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            #[cfg(feature = "mistakes")]
            skipped: super::Skipped::of_environment(),
        }
    }

    /// Syncs of a directory below, in rounds of its own.
    pub fn for_below(&self) -> Self {
        Self {
            grouping: self.grouping,
            has_syncfs: self.has_syncfs,
            rounds: Rounds::default(),
            callers: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            #[cfg(feature = "mistakes")]
            skipped: self.skipped,
        }
    }

    /// How writers sync here.
    pub fn grouping(&self) -> Grouping {
        self.grouping
    }

    /// Whether `syncfs` does what it says here.
    pub fn has_syncfs(&self) -> bool {
        self.has_syncfs
    }

    /// See [`Disk::sync`].
    pub fn sync(&self, beneath: &Beneath, targets: &[Target]) -> Result<()> {
        #[cfg(feature = "mistakes")]
        if let Some(skipped) = self.skipped {
            let synced = sync_each(beneath, &skipped.rest(targets));
            return match skipped {
                super::Skipped::SyncErrorIgnored => Ok(()),
                _ => synced,
            };
        }
        if targets.is_empty() {
            return Ok(());
        }
        let callers = self.callers.fetch_add(1, Ordering::Relaxed) + 1;
        let together = callers >= CROWD || targets.len() >= MANY;
        let result = if self.grouping == Grouping::Auto && together {
            self.in_group(beneath, targets, || Ok(rustix::fs::syncfs(beneath)?))
        } else {
            sync_each(beneath, targets)
        };
        self.callers.fetch_sub(1, Ordering::Relaxed);
        result
    }

    /// See [`Disk::sync_written`].
    pub fn written(&self, disk: &dyn Disk, beneath: &Beneath, directory: &Place) -> Result<()> {
        if !self.has_syncfs {
            return lacking::sync_walking(disk, directory);
        }
        #[cfg(feature = "mistakes")]
        if self.skipped == Some(super::Skipped::SyncErrorIgnored) {
            let _ = rustix::fs::syncfs(beneath);
            return Ok(());
        }
        if self.lost.load(Ordering::Acquire) {
            return Err(Error::new("sync", &Place::new(""), Errno::IO.into()));
        }
        self.rounds
            .join(|| self.note_loss(rustix::fs::syncfs(beneath).map_err(Into::into)))
            .map_err(|source| Error::new("sync", &Place::new(""), source))
    }

    /// See [`Disk::sync_below`].
    pub fn below(&self, disk: &dyn Disk, beneath: &Beneath, directory: &Place) -> Result<()> {
        if !self.has_syncfs {
            return lacking::sync_walking(disk, directory)
                .if_there()
                .map(|_| ());
        }
        let is_sound = || !self.lost.load(Ordering::Acquire);
        if is_sound() && self.grouping == Grouping::Auto && disk.sync_everything().is_ok() {
            return Ok(());
        }
        // Where that failed, perhaps for a file of somebody else, each file says what became of it.
        let may_group = is_sound();
        let mut walk = SyncWalk {
            disk,
            beneath,
            left: may_group.then_some(ONE_BY_ONE),
        };
        match walk.sync(directory) {
            Ok(()) => Ok(()),
            // What this process may not open is reached in another way, if at all.
            Err(Refused::Closed(_) | Refused::Many) if may_group => disk.sync_everything(),
            Err(Refused::Closed(error) | Refused::Other(error)) => Err(error),
            Err(Refused::Many) => unreachable!("it counts only where it may"),
        }
    }

    /// Takes part in a `syncfs`.
    ///
    /// The system reports a failed write to one `syncfs` only. Whoever wrote before it and comes to
    /// the next would be told that all is well: so after a failed one nobody relies on another, and
    /// every file is asked for itself, which reports what was lost to each who has it open.
    fn in_group(
        &self,
        beneath: &Beneath,
        targets: &[Target],
        syncfs: impl Fn() -> io::Result<()>,
    ) -> Result<()> {
        if !self.lost.load(Ordering::Acquire) {
            self.rounds
                .join(|| self.note_loss(syncfs()))
                .map_err(|source| Error::new("sync", &Place::new(""), source))?;
            if !self.lost.load(Ordering::Acquire) {
                return Ok(());
            }
        }
        sync_each(beneath, targets)
    }

    fn note_loss(&self, result: io::Result<()>) -> io::Result<()> {
        result.inspect_err(|error| {
            self.lost.store(true, Ordering::Release);
            log::error!(
                "a sync of the file system failed ({error}): each file by itself from now on"
            );
        })
    }
}

/// Syncs files and directories one by one.
fn sync_each(beneath: &Beneath, targets: &[Target]) -> Result<()> {
    for target in targets {
        match target {
            Target::File(handle) => {
                let file = handle
                    .as_any()
                    .downcast_ref::<RealFile>()
                    .expect("a real disk is given its own files");
                (file.file.sync_all()).map_err(|source| Error::new("sync", &file.place, source))?;
            }
            Target::Directory(place) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                beneath
                    .resolve(place, flags, Bits::empty())
                    .and_then(|directory| Ok(rustix::fs::fsync(directory)?))
                    .map_err(|source| Error::new("sync", place, source))?;
            }
        }
    }
    Ok(())
}

/// Syncs files and directories one by one, with one directory's names in memory at each level.
struct SyncWalk<'a> {
    disk: &'a dyn Disk,
    beneath: &'a Beneath,
    /// How many more may be, where there is another way.
    left: Option<usize>,
}

/// Why a walk ended early.
enum Refused {
    /// A file or directory may not be opened.
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
        let synced = (self.beneath.resolve(place, flags, Bits::empty()))
            .and_then(|opened| Ok(rustix::fs::fsync(opened)?));
        Self::unless_gone(synced.map_err(|source| Error::new("sync", place, source)))
    }

    fn unless_gone(result: Result<()>) -> std::result::Result<(), Refused> {
        match result.if_there() {
            Ok(_) => Ok(()),
            Err(denied) if denied.kind() == io::ErrorKind::PermissionDenied => {
                Err(Refused::Closed(denied))
            }
            Err(other) => Err(Refused::Other(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Real;

    fn beneath(directory: &tempfile::TempDir) -> Beneath {
        Beneath::new(std::fs::File::open(directory.path()).unwrap().into())
    }

    #[test]
    fn after_a_failed_syncfs_nobody_relies_on_another() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Real::new(directory.path(), Grouping::Auto).unwrap();
        let beneath = beneath(&directory);
        let syncing = Syncing::new(true, Grouping::Auto);
        let file = Target::File(disk.create(&Place::new("f")).unwrap());
        let failing = || Err(Errno::IO.into());
        let failed = syncing.in_group(&beneath, std::slice::from_ref(&file), failing);
        assert!(failed.is_err());
        let never = || panic!("a syncfs after a failed one");
        syncing.in_group(&beneath, &[file], never).unwrap();
        let everything = Place::new("");
        assert!(syncing.written(&disk, &beneath, &everything).is_err());
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
        let beneath = beneath(&directory);
        let walk = |left| {
            let mut walk = SyncWalk {
                disk: &disk,
                beneath: &beneath,
                left,
            };
            walk.sync(&top)
        };
        // Two files and two directories.
        assert!(walk(Some(4)).is_ok());
        assert!(matches!(walk(Some(3)), Err(Refused::Many)));
        assert!(walk(None).is_ok());
        // What went meanwhile need not be synced.
        disk.sync_below(&top.join("gone")).unwrap();
    }
}
