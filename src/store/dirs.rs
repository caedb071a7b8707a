//! Directories of a user's folder: made where they are missing, and synced so that names in them last.

use std::time::SystemTime;

use super::error::taken_is_fine;
use super::layout::{self, Dir, Folder};
use super::mistake::Mistake;
use super::state::FolderSeen;
use super::{Error, Result, User};
use crate::disk::{self, Disk, Target};

/// Directories that this process is about to sync for the first time.
#[must_use = "say so once they are synced"]
pub(super) struct NewDirs {
    dirs: Vec<Dir>,
    /// The folder's time of change when its name is about to be synced.
    named: Option<SystemTime>,
    generation: u64,
}

impl User {
    /// Makes a directory of the folder, and those above it. One made here is not vouched for.
    pub(super) fn make_dir(&self, dir: Dir) -> Result<()> {
        let forget = |dir| self.state.known().directories.remove(dir);
        match make_dirs(&*self.store.disk, &self.folder, dir, &forget) {
            Err(absent) if absent.is_absent() => Err(Error::UserGone),
            other => Ok(other?),
        }
    }

    /// Runs a verb that makes a name in `dir`, making the directory if it is not there.
    pub(super) fn in_dir<T>(&self, dir: Dir, verb: impl Fn() -> disk::Result<T>) -> Result<T> {
        match verb() {
            Err(absent) if absent.is_absent() => {
                self.make_dir(dir)?;
                Ok(verb()?)
            }
            other => Ok(other?),
        }
    }

    /// Syncs these directories, and the parent of any whose own name this process has not synced.
    pub(super) fn sync_dirs(
        &self,
        dirs: impl IntoIterator<Item = Dir>,
        mut targets: Vec<Target>,
    ) -> Result<()> {
        let new = self.dirs_to_sync(dirs, &mut targets);
        match self.store.disk.sync(&targets) {
            Err(absent) if absent.is_absent() => return Err(Error::UserGone),
            other => other?,
        }
        self.dirs_synced(new);
        Ok(())
    }

    /// The second half of [`User::sync_dirs`]: the directories are synced.
    pub(super) fn dirs_synced(&self, new: NewDirs) {
        let mut known = self.state.known();
        // Not if the user was deleted and came again meanwhile: that is another folder.
        if known.generation == new.generation {
            for dir in new.dirs {
                known.directories.insert(dir);
            }
            known.named = new.named.or(known.named);
        }
    }

    /// The first half of [`User::sync_dirs`]: adds what is to be synced to the targets. What it gives
    /// back is for [`User::dirs_synced`], once they are.
    pub(super) fn dirs_to_sync(
        &self,
        dirs: impl IntoIterator<Item = Dir>,
        targets: &mut Vec<Target>,
    ) -> NewDirs {
        let mut wanted: Vec<Dir> = dirs.into_iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut new = Vec::new();
        let mut users = false;
        let (named, generation) = {
            let known = self.state.known();
            if matches!(known.standing, FolderSeen::Here(_)) && !known.is_named() {
                users = true;
                wanted.extend((!wanted.contains(&Dir::User)).then_some(Dir::User));
            }
            let mut index = 0;
            while let Some(&dir) = wanted.get(index) {
                index += 1;
                if known.directories.has(dir) || self.store.mistakes.made(Mistake::NoParentSync) {
                    continue;
                }
                new.push(dir);
                match dir.parent() {
                    Some(parent) if !wanted.contains(&parent) => wanted.push(parent),
                    Some(_) => {}
                    None => users = true,
                }
            }
            (known.changed.filter(|_| users), known.generation)
        };
        targets.extend(
            wanted
                .iter()
                .map(|&dir| Target::Directory(self.folder.dir(dir))),
        );
        if users {
            targets.push(Target::Directory(layout::users()));
        }
        NewDirs {
            dirs: new,
            named,
            generation,
        }
    }
}

/// Makes a directory of a folder, and those above it but the folder itself; `each` hears of each that is
/// tried, before.
pub(super) fn make_dirs(
    disk: &dyn Disk,
    folder: &Folder,
    dir: Dir,
    each: &dyn Fn(Dir),
) -> disk::Result<()> {
    each(dir);
    let make = || disk.make_directory(&folder.dir(dir));
    let made = match (make(), dir.parent()) {
        (Err(absent), Some(parent)) if parent != Dir::User && absent.is_absent() => {
            make_dirs(disk, folder, parent, each)?;
            make()
        }
        (made, _) => made,
    };
    made.or_else(taken_is_fine)
}
