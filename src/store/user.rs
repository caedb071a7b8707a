//! Users: their folders, and what this process knows of each.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use super::head::Vouched;
use super::json::Start;
use super::layout::{self, Dir, Folder, Shelf};
use super::meet::Standing;
use super::mistake::Mistake;
use super::pending::Counted;
use super::stamp::SweepStamp;
use super::vouch::Directories;
use super::{Error, Result, Store};
use crate::disk::{self, Disk, IfThere, Kind, Place, Target};
use crate::model::{TransactionId, UserId, limits};

/// What this process knows of a user. Nothing in it is held locked while the disk is asked.
pub(super) struct UserState {
    pub user: UserId,
    /// In-process, in front of the file locks: fair, and waiting holds no thread.
    pub front: Arc<tokio::sync::RwLock<()>>,
    /// Of those who got past it, one at a time tries the file locks.
    pub turn: Arc<tokio::sync::Mutex<()>>,
    /// Somebody mends `log`.
    pub mending: AtomicBool,
    /// How often something has come of that.
    pub mended: tokio::sync::watch::Sender<u64>,
    /// Held by who meets the user's folder, so that others need not.
    pub meeting: Arc<tokio::sync::Mutex<()>>,
    known: Mutex<Known>,
}

/// The part that can be forgotten.
#[derive(Default)]
pub(super) struct Known {
    /// The folder that the rest belongs to.
    pub standing: Standing,
    /// Another number for each folder, so that a look which began at another one is known.
    pub generation: u64,
    /// All of the folder was durable when this process met it.
    pub met: bool,
    /// A sync of all of it failed.
    pub lost: bool,
    /// The folder's time of change at the last look, and the one with which its name was durable.
    pub changed: Option<SystemTime>,
    pub named: Option<SystemTime>,
    /// A sync after HEAD's replacement failed: nothing more is written.
    pub read_only: bool,
    /// The HEAD that a sync by this process failed of: nothing but its replacement makes it durable.
    pub doubted: Option<Doubted>,
    /// The lock file of the folder: another one means that others worked on it without its lock.
    pub lock: Option<(u64, SystemTime)>,
    /// HEAD was there: it is no unfinished copy.
    pub complete: bool,
    /// The newest HEAD that this process has seen durable: no older one of this folder is told any more.
    pub head: Option<Vouched>,
    pub directories: Directories,
    /// Pending transactions that have been read, as they were listed last.
    pub pending: HashMap<TransactionId, Start>,
    /// How many there were when they were counted.
    pub counted: Counted,
    /// The last sweep of pending transactions that the two before take into account.
    pub swept: SweepStamp,
}

impl UserState {
    /// Of a user of whom nothing is known yet.
    pub fn new(user: UserId) -> Self {
        Self {
            user,
            front: Arc::default(),
            turn: Arc::default(),
            meeting: Arc::default(),
            mending: AtomicBool::default(),
            mended: tokio::sync::watch::Sender::default(),
            known: Mutex::default(),
        }
    }

    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known
            .lock()
            .expect("no code panics while it holds this")
    }

    pub fn check_writable(&self) -> Result<()> {
        if self.is_read_only() {
            return Err(Error::ReadOnly);
        }
        Ok(())
    }

    /// Whether a sync after HEAD's replacement failed.
    pub fn is_read_only(&self) -> bool {
        self.known().read_only
    }

    /// The second half of [`Store::sync_dirs`].
    pub fn dirs_synced(&self, new: NewDirs) {
        let mut known = self.known();
        // Not if the user was deleted and came again meanwhile: that is another folder.
        if known.generation == new.generation {
            for dir in new.dirs {
                known.directories.insert(dir);
            }
            known.named = new.named.or(known.named);
        }
    }
}

impl Known {
    /// It must not be forgotten: that a sync failed holds until a restart.
    fn is_lasting(&self) -> bool {
        self.read_only || self.doubted.is_some() || self.lost
    }
}

/// A HEAD's file: its inode, which nothing else gets while it has the name, and what it says.
pub(super) type Doubted = (u64, TransactionId);

/// Directories that this process is about to sync for the first time.
#[must_use = "say so once they are synced"]
pub(super) struct NewDirs {
    dirs: Vec<Dir>,
    /// The folder's time of change when its name is about to be synced.
    named: Option<SystemTime>,
    generation: u64,
}

/// The states of the users seen lately.
#[derive(Default)]
pub(super) struct Users(Mutex<HashMap<UserId, Arc<UserState>>>);

impl Users {
    /// The state of this user. Those that nobody uses are forgotten when there are too many.
    pub fn state(&self, user: &UserId) -> Arc<UserState> {
        let mut users = self.0.lock().expect("no code panics while it holds this");
        if let Some(state) = users.get(user) {
            return Arc::clone(state);
        }
        if users.len() >= limits::KNOWN_USERS {
            users.retain(|_, state| {
                Arc::strong_count(state) > 1
                    || Arc::strong_count(&state.front) > 1
                    || Arc::strong_count(&state.meeting) > 1
                    || state.known().is_lasting()
            });
        }
        let new = || Arc::new(UserState::new(*user));
        Arc::clone(users.entry(*user).or_insert_with(new))
    }
}

impl Store {
    /// The users who have a folder.
    pub fn users(&self) -> Result<Vec<UserId>> {
        let mut users = Vec::new();
        self.disk.list(&layout::users(), &mut |entry| {
            if entry.kind == Kind::Directory {
                users.extend(layout::parse_user(&entry.name));
            }
            true
        })?;
        users.sort_unstable();
        Ok(users)
    }

    /// The system's path of the user's folder, whether it is there or not: to be watched.
    pub fn path_of(&self, user: &UserId) -> Option<PathBuf> {
        self.disk.path(Folder::of(user).place())
    }

    /// The system's path of the folder of all users.
    pub fn path_of_users(&self) -> Option<PathBuf> {
        self.disk.path(&layout::users())
    }

    /// Whether the user has a folder.
    pub(crate) fn has_folder(&self, user: &UserId) -> Result<bool> {
        self.is_known(&Folder::of(user))
    }

    /// Whether the user has a folder.
    pub(crate) fn is_known(&self, folder: &Folder) -> Result<bool> {
        match self.disk.meta(folder.place()) {
            Ok(meta) if meta.kind == Kind::Directory => Ok(true),
            Ok(_) => Err(damaged(folder.place(), "not a directory")),
            // Where the store itself is gone, nobody knows who has one.
            Err(absent) if absent.is_absent() => self.is_there().map(|()| false),
            Err(other) => Err(other.into()),
        }
    }

    /// Makes the user's folder; says `false` where there is one.
    ///
    /// It is made complete in `tmp/`, synced, and renamed in, so that a folder without HEAD can
    /// only be an unfinished copy.
    pub fn add_user(&self, user: &UserId) -> Result<bool> {
        if self.is_known(&Folder::of(user))? {
            return Ok(false);
        }
        let place = layout::aside(&layout::tmp(), user, self.disk.random());
        let made = Folder::at(place.clone());
        let result = self.make_folder(&made).and_then(|()| {
            self.made(&self.disk.meta(&place)?);
            match self.disk.rename_new(&place, Folder::of(user).place()) {
                Ok(()) => Ok(true),
                Err(taken) if taken.is_taken() => Ok(false),
                Err(other) => Err(other.into()),
            }
        });
        if !matches!(result, Ok(true)) {
            // Best effort: what stays is swept when it is a day old.
            let _ = self.remove_tree(&place);
        }
        // Also for a folder that somebody else just renamed in: it is answered about.
        if result.is_ok() {
            let directories = [layout::users(), layout::tmp()].map(Target::Directory);
            self.disk.sync(&directories)?;
        }
        result
    }

    fn make_folder(&self, folder: &Folder) -> Result<()> {
        let mut targets = Vec::new();
        let dirs = [Dir::User, Dir::Incoming, Dir::Pending, Dir::Tmp];
        for dir in dirs.into_iter().chain(Shelf::ALL.map(Dir::Shelf)) {
            // Aliases are made when they are needed: most stores have none.
            if !matches!(dir, Dir::Shelf(Shelf::Aliases(_))) {
                self.disk.make_directory(&folder.dir(dir))?;
                targets.push(Target::Directory(folder.dir(dir)));
            }
        }
        let head = self.disk.create(&folder.head())?;
        head.append(format!("{}\n", TransactionId::ROOT).as_bytes())?;
        targets.push(Target::File(head));
        for place in [folder.lock(), folder.gate(), folder.log()] {
            targets.push(Target::File(self.disk.create(&place)?));
        }
        Ok(self.disk.sync(&targets)?)
    }

    /// Makes the folder of a user who uploads for the first time, where new users are admitted.
    pub(super) fn admit(&self, user: &UserId) -> Result<()> {
        if !self.options.new_users && !self.is_known(&Folder::of(user))? {
            return Err(Error::UnknownUser);
        }
        self.add_user(user).map(drop)
    }

    /// Makes a directory of the folder, and those above it. One made here is not vouched for.
    pub(super) fn make_dir(&self, state: &UserState, folder: &Folder, dir: Dir) -> Result<()> {
        let forget = |dir| state.known().directories.remove(dir);
        match make_dirs(&*self.disk, folder, dir, &forget) {
            Err(absent) if absent.is_absent() => Err(Error::UserGone),
            other => Ok(other?),
        }
    }

    /// Runs a verb that makes a name in `dir`, making the directory if it is not there.
    pub(super) fn in_dir<T>(
        &self,
        state: &UserState,
        folder: &Folder,
        dir: Dir,
        verb: impl Fn() -> disk::Result<T>,
    ) -> Result<T> {
        match verb() {
            Err(absent) if absent.is_absent() => {
                self.make_dir(state, folder, dir)?;
                Ok(verb()?)
            }
            other => Ok(other?),
        }
    }

    /// Syncs these directories, and the parent of any whose own name this process has not synced.
    pub(super) fn sync_dirs(
        &self,
        state: &UserState,
        folder: &Folder,
        dirs: impl IntoIterator<Item = Dir>,
        mut targets: Vec<Target>,
    ) -> Result<()> {
        let new = self.dirs_to_sync(state, folder, dirs, &mut targets);
        match self.disk.sync(&targets) {
            Err(absent) if absent.is_absent() => return Err(Error::UserGone),
            other => other?,
        }
        state.dirs_synced(new);
        Ok(())
    }

    /// Makes what is below a directory of the user's folder durable.
    pub(super) fn sync_below(&self, directory: &Place) -> Result<()> {
        let synced = self.disk.sync_written(directory).if_there()?;
        synced.ok_or(Error::UserGone)
    }

    /// The first half of [`Store::sync_dirs`]: adds what is to be synced to the targets. What it gives
    /// back is for [`UserState::dirs_synced`], once they are.
    pub(super) fn dirs_to_sync(
        &self,
        state: &UserState,
        folder: &Folder,
        dirs: impl IntoIterator<Item = Dir>,
        targets: &mut Vec<Target>,
    ) -> NewDirs {
        let mut wanted: Vec<Dir> = dirs.into_iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut new = Vec::new();
        let mut users = false;
        let (named, generation) = {
            let known = state.known();
            if matches!(known.standing, Standing::Here(_)) && !known.is_named() {
                users = true;
                wanted.extend((!wanted.contains(&Dir::User)).then_some(Dir::User));
            }
            let mut index = 0;
            while let Some(&dir) = wanted.get(index) {
                index += 1;
                if known.directories.has(dir) || self.mistakes.made(Mistake::NoParentSync) {
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
        targets.extend(wanted.iter().map(|&dir| Target::Directory(folder.dir(dir))));
        if users {
            targets.push(Target::Directory(layout::users()));
        }
        NewDirs {
            dirs: new,
            named,
            generation,
        }
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

pub(super) fn damaged(place: &Place, what: impl Into<String>) -> Error {
    Error::Damaged {
        place: place.clone(),
        what: what.into(),
    }
}

pub(super) fn taken_is_fine(error: disk::Error) -> disk::Result<()> {
    if error.is_taken() { Ok(()) } else { Err(error) }
}

fn absent_is_fine(error: disk::Error) -> disk::Result<()> {
    if error.is_absent() {
        Ok(())
    } else {
        Err(error)
    }
}
