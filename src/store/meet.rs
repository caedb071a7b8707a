//! Which folder a user has, and whether anything may be said about it.
//!
//! A folder that this process meets for the first time may have been moved in by hand a moment ago, and
//! nothing of it be durable: it is synced as a whole before a word about it (DESIGN, Vouching). Its name in
//! `users/` is synced again whenever the folder may have had another one since: a rename changes the
//! folder's time of change. And where there is no folder, it is asked first whether the store is there
//! at all: a data directory that was moved away has no users, and is not empty.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::layout::{self, Dir, Folder};
use super::mistake::Mistake;
use super::user::{Known, UserState, damaged};
use super::{Error, Result, Store};
use crate::disk::{Identity, IfThere, Kind, Meta, Target};
use crate::model::{UserId, limits};

/// What a user's place in `users/` was last seen to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody looked yet.
    #[default]
    Unseen,
    Absent,
    Here(Identity),
}

/// A user's folder at a look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub identity: Identity,
    /// Its time of change, which a rename sets too.
    changed: SystemTime,
    /// [`Known::generation`] at the look.
    pub generation: u64,
}

/// What one quick look says of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// Whatever is asked about the user may be answered.
    Met,
    /// There is no folder, and the store is there.
    Absent,
    /// [`Store::meet`] comes first.
    ToMeet,
}

/// The folders that this process has synced as a whole, or made: the last [`limits::MET`] or somewhat
/// more. Only ever forgets.
#[derive(Default)]
pub(super) struct Met(Mutex<(HashSet<Identity>, HashSet<Identity>)>);

impl Met {
    fn has(&self, folder: &Identity) -> bool {
        let both = self.0.lock().expect("no code panics while it holds this");
        both.0.contains(folder) || both.1.contains(folder)
    }

    fn insert(&self, folder: Identity) {
        let mut both = self.0.lock().expect("no code panics while it holds this");
        if both.0.len() >= limits::MET / 2 {
            both.1 = std::mem::take(&mut both.0);
        }
        both.0.insert(folder);
    }
}

/// The store as it was opened: what is compared with, to tell whether it is still there.
///
/// By default nothing is compared, and every folder counts as met: for a store that is examined as it is.
#[derive(Default)]
pub(super) struct Opened {
    /// The data directory and `users/`.
    here: Option<[Identity; 2]>,
    /// What has not changed since then was synced with all the rest, where everything was.
    since: Option<Mutex<Since>>,
}

/// When everything was synced, and the latest time that the clock showed since.
struct Since {
    all_synced: SystemTime,
    latest: SystemTime,
    /// The clock was put back: times tell nothing any more.
    put_back: bool,
}

impl Opened {
    /// To be called before everything is synced.
    pub fn new(top: &Meta, users: &Meta, now: SystemTime, syncs_everything: bool) -> Self {
        let since = Since {
            all_synced: now,
            latest: now,
            put_back: false,
        };
        Self {
            here: Some([top, users].map(Identity::of)),
            since: syncs_everything.then(|| Mutex::new(since)),
        }
    }

    /// Whether a folder that last changed then was in `users/` when everything was synced: whatever comes
    /// there has the time of its coming.
    fn was_here(&self, changed: SystemTime, now: SystemTime) -> bool {
        let Some(since) = &self.since else {
            return false;
        };
        let mut since = since.lock().expect("no code panics while it holds this");
        since.put_back |= now < since.latest;
        since.latest = since.latest.max(now);
        !since.put_back && changed + CLOCK_STEP < since.all_synced
    }
}

/// One number for each folder that anybody here began to know, never given twice, also where a user's state is
/// forgotten and made anew.
static GENERATIONS: AtomicU64 = AtomicU64::new(0);

/// The longest step in which a file system's clock goes (FAT has two seconds).
const CLOCK_STEP: Duration = Duration::from_secs(2);

impl Known {
    /// All that is known is of this from now on: what was known of another folder is forgotten.
    pub fn enter(&mut self, standing: Standing) {
        if self.standing != standing {
            self.forget();
            self.standing = standing;
        }
    }

    /// Nothing is known any more, not even which folder there is.
    pub fn forget(&mut self) {
        *self = Known {
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed) + 1,
            ..Known::default()
        };
    }

    /// The folder's name in `users/` is durable, as far as anybody has seen.
    pub fn is_named(&self) -> bool {
        self.named.is_some() && self.named == self.changed
    }
}

impl UserState {
    /// All of the folder is durable; its name too, where it is said with which time of change.
    fn has_met(&self, visit: &Visit, named: Option<SystemTime>) {
        let mut known = self.known();
        if known.generation == visit.generation {
            known.met = true;
            known.named = named.or(known.named);
        }
    }
}

impl Store {
    /// Whether anything may be said about this user at once. Two or three looks at the disk at most, which the
    /// kernel has in memory, and no sync.
    ///
    /// # Errors
    /// [`Error::StoreGone`] where the store is not there any more.
    pub fn glance(&self, user: &UserId) -> Result<Glance> {
        let state = self.users.state(user);
        let Some(visit) = self.visit(&state, &Folder::of(user))? else {
            return Ok(Glance::Absent);
        };
        let known = state.known();
        let is_met = known.generation == visit.generation
            && known.met
            && known.is_named()
            && known.doubted.is_none();
        Ok(if is_met { Glance::Met } else { Glance::ToMeet })
    }

    /// Makes durable what must be before anything is said about this user: all of a folder that this
    /// process has not met, or else its name and HEAD where they may have changed. Nothing for a user
    /// without a folder. May take as long as it takes to sync the whole folder.
    ///
    /// # Errors
    /// [`Error::NotDurable`] where a sync of the folder failed; [`Error::StoreGone`] where the store is
    /// not there any more. That HEAD is damaged is not said here.
    pub fn meet(&self, user: &UserId) -> Result<()> {
        let (state, folder) = (self.users.state(user), Folder::of(user));
        match self.vouched_head(&state, &folder) {
            Err(Error::Damaged { .. } | Error::ReadOnly) => {}
            other => return other.map(drop),
        }
        if let Some(visit) = self.visit(&state, &folder)? {
            self.meet_folder(&state, &folder, &visit)?;
            if !state.known().is_named() {
                self.sync_dirs(&state, &folder, [Dir::User], Vec::new())?;
            }
        }
        Ok(())
    }

    /// Who meets a user first, while others wait for that: held around [`Store::meet`], it is done once
    /// though many come.
    pub fn meeting(
        &self,
        user: &UserId,
    ) -> impl Future<Output = tokio::sync::OwnedMutexGuard<()>> + use<> {
        let meeting = self.users.state(user).meeting.clone();
        meeting.lock_owned()
    }

    /// Looks which folder the user has, and forgets what is known of another; `None` where there is none.
    pub(super) fn visit(&self, state: &UserState, folder: &Folder) -> Result<Option<Visit>> {
        loop {
            let (before, generation) = {
                let known = state.known();
                (known.standing, known.generation)
            };
            let now = self.look_for_folder(folder, before)?;
            let mut known = state.known();
            // Else somebody saw another folder meanwhile, and nobody knows which look was the later one.
            if known.generation != generation {
                continue;
            }
            let Some(meta) = now else {
                known.enter(Standing::Absent);
                return Ok(None);
            };
            let identity = Identity::of(&meta);
            known.enter(Standing::Here(identity));
            known.changed = Some(meta.changed);
            if self.mistakes.made(Mistake::NoNameSync) && known.named.is_some() {
                known.named = known.changed;
            }
            return Ok(Some(Visit {
                identity,
                changed: meta.changed,
                generation: known.generation,
            }));
        }
    }

    /// What the disk says of the folder; `None` where there is none in a store that is there.
    fn look_for_folder(&self, folder: &Folder, known: Standing) -> Result<Option<Meta>> {
        // By the store's path: where that leads to the folder that is known, the store is there too.
        if let Ok(meta) = self.disk.meta_by_path(folder.place())
            && known == Standing::Here(Identity::of(&meta))
        {
            return Ok(Some(meta));
        }
        for _ in 0..limits::LOOKS {
            let before = self.check_there()?;
            match self.disk.meta(folder.place()) {
                Ok(meta) if meta.kind == Kind::Directory => return Ok(Some(meta)),
                Ok(_) => return Err(damaged(folder.place(), "not a directory")),
                // It was there all the time: a folder that went away and came back would have changed it.
                Err(absent) if absent.is_absent() => {
                    if self.check_there()? == before {
                        return Ok(None);
                    }
                }
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::Busy)
    }

    /// Sees that the store is where it was opened: the same data directory at its path, and the same
    /// `users/` in it. Says when the latter changed last. Costs two looks.
    ///
    /// # Errors
    /// [`Error::StoreGone`]
    pub(super) fn check_there(&self) -> Result<SystemTime> {
        let Some([top, opened]) = self.opened.here else {
            return Ok(SystemTime::UNIX_EPOCH);
        };
        let gone = match self.disk.meta_by_path(&layout::top()) {
            Ok(there) if Identity::of(&there) == top => None,
            Ok(_) => Some("another directory is in its place"),
            Err(absent) if absent.is_absent() => Some("its directory was removed or moved away"),
            Err(other) => return Err(other.into()),
        };
        let users = match self.disk.meta(&layout::users()) {
            _ if gone.is_some() => Err("above"),
            Ok(meta) if Identity::of(&meta) == opened => Ok(meta.changed),
            Ok(_) => Err("users/ is another directory than it was"),
            Err(absent) if absent.is_absent() => Err("users/ was removed or moved away"),
            Err(other) => return Err(other.into()),
        };
        users.map_err(|what| Error::StoreGone(gone.unwrap_or(what)))
    }

    /// Whether the store is where it was opened. For whoever has worked on it for a while: what was written
    /// into a store that was moved away meanwhile is not acknowledged.
    ///
    /// # Errors
    /// [`Error::StoreGone`]
    pub fn is_there(&self) -> Result<()> {
        self.check_there().map(drop)
    }

    /// Syncs the folder as a whole, unless this process has met it.
    ///
    /// A sync that fails is remembered: a second one would find nothing left to do and prove nothing (DESIGN,
    /// Order of writes), so of this folder nothing is told until a restart.
    ///
    /// Whoever comes meanwhile syncs too, as far as the disk does not group that: nobody waits for a
    /// lock here, see [`Store::meeting`].
    pub(super) fn meet_folder(
        &self,
        state: &UserState,
        folder: &Folder,
        visit: &Visit,
    ) -> Result<()> {
        if self.has_met(state, visit) {
            return Ok(());
        }
        if state.known().lost {
            return Err(Error::NotDurable);
        }
        let synced = self.disk.sync_below(folder.place()).and_then(|()| {
            let names = [layout::users()].map(Target::Directory);
            self.disk.sync(&names)
        });
        match synced {
            Ok(()) => {}
            Err(absent) if absent.is_absent() => return Err(Error::UserGone),
            Err(error) => {
                let mut known = state.known();
                known.lost |= known.generation == visit.generation && error.is_lost_write();
                return Err(error.into());
            }
        }
        // What was synced is what the path led to.
        let still = self.disk.meta(folder.place()).if_there()?;
        if still.is_none_or(|meta| Identity::of(&meta) != visit.identity) {
            return Err(Error::UserGone);
        }
        self.met.insert(visit.identity);
        state.has_met(visit, Some(visit.changed));
        Ok(())
    }

    /// Whether this process has synced the folder as a whole, or made it; or it was there already when
    /// everything was synced.
    pub(super) fn has_met(&self, state: &UserState, visit: &Visit) -> bool {
        {
            let known = state.known();
            if known.generation != visit.generation || known.met {
                return true;
            }
        }
        let was_here = self.opened.was_here(visit.changed, self.disk.now());
        let is_met = was_here
            || self.opened.here.is_none()
            || self.met.has(&visit.identity)
            || self.mistakes.made(Mistake::NoFolderSync);
        if is_met {
            state.has_met(visit, was_here.then_some(visit.changed));
        }
        is_met
    }

    /// This process made the folder, all of it durable.
    pub(super) fn made(&self, folder: &Meta) {
        self.met.insert(Identity::of(folder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Grouping, Place, Real};

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn at(seconds: u64) -> SystemTime {
        START + Duration::from_secs(seconds)
    }

    fn some_meta() -> (tempfile::TempDir, Meta) {
        let directory = tempfile::tempdir().unwrap();
        let disk = Real::new(directory.path(), Grouping::Auto).unwrap();
        let meta = disk.meta(&Place::new("")).unwrap();
        (directory, meta)
    }

    #[test]
    fn only_what_has_not_changed_since_the_start_was_there_at_the_start() {
        let (_directory, meta) = some_meta();
        let opened = Opened::new(&meta, &meta, at(1000), true);
        assert!(opened.was_here(at(990), at(1001)));
        for changed in [at(999), at(1000), at(1001), at(5000)] {
            assert!(!opened.was_here(changed, at(1002)), "{changed:?}");
        }
        // Where syncing everything does nothing, the start says nothing.
        let opened = Opened::new(&meta, &meta, at(1000), false);
        assert!(!opened.was_here(at(990), at(1001)));
    }

    #[test]
    fn a_clock_that_was_put_back_tells_nothing_any_more() {
        let (_directory, meta) = some_meta();
        let opened = Opened::new(&meta, &meta, at(1000), true);
        assert!(opened.was_here(at(10), at(1500)));
        assert!(!opened.was_here(at(10), at(1400)));
        assert!(!opened.was_here(at(10), at(2000)), "nor later");
    }

    #[test]
    fn a_folder_is_another_one_though_it_has_the_inode_of_one_that_went() {
        let (_directory, meta) = some_meta();
        let met = Met::default();
        met.insert(Identity::of(&meta));
        assert!(met.has(&Identity::of(&meta)));
        let born = meta.born.map(|born| born + Duration::from_secs(1));
        if born.is_some() {
            assert!(!met.has(&Identity::of(&Meta { born, ..meta })));
        }
    }

    #[test]
    fn as_many_folders_are_remembered_as_the_limit_says() {
        let (_directory, meta) = some_meta();
        let met = Met::default();
        let folder = |inode| Identity::of(&Meta { inode, ..meta });
        for inode in 0..limits::MET as u64 {
            met.insert(folder(inode));
        }
        assert!((limits::MET as u64 / 2..limits::MET as u64).all(|inode| met.has(&folder(inode))));
        for inode in 0..limits::MET as u64 {
            met.insert(folder(inode + limits::MET as u64));
        }
        assert!(!met.has(&folder(0)), "it does not grow");
    }
}
