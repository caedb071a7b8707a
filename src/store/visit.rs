//! Looks at which folder a user has, and whether all of it is durable.

use super::error::damaged;
use super::layout;
use super::mistake::Mistake;
use super::state::{FolderSeen, Visit};
use super::{Error, Result, User};
use crate::disk::{DirectoryIdentity, IfThere, Kind, Meta, Target};
use crate::model::limits;

impl User {
    /// Looks which folder the user has now: another number for each one that this process sees; `None` where there is
    /// none.
    ///
    /// # Errors
    /// Those of [`User::has_folder`].
    pub fn which_folder(&self) -> Result<Option<u64>> {
        Ok(self.visit()?.map(|visit| visit.generation))
    }

    /// Looks which folder the user has, and forgets what is known of another; `None` where there is none.
    pub(super) fn visit(&self) -> Result<Option<Visit>> {
        loop {
            let (before, generation) = {
                let known = self.state.known();
                (known.standing, known.generation)
            };
            let now = self.look_for_folder(before)?;
            let mut known = self.state.known();
            // Else somebody saw another folder meanwhile, and nobody knows which look was the later one.
            if known.generation != generation {
                continue;
            }
            let Some(meta) = now else {
                known.enter(FolderSeen::Absent);
                return Ok(None);
            };
            let identity = DirectoryIdentity::of(&meta);
            known.enter(FolderSeen::Here(identity));
            known.changed = Some(meta.changed);
            if self.store.mistakes.made(Mistake::NoNameSync) && known.named.is_some() {
                known.named = known.changed;
            }
            return Ok(Some(Visit {
                identity,
                changed: meta.changed,
                generation: known.generation,
            }));
        }
    }

    /// The metadata of the folder; `None` where there is none in a store that is there.
    fn look_for_folder(&self, known: FolderSeen) -> Result<Option<Meta>> {
        // By the store's path: where that leads to the folder that is known, the store is there too.
        if let Ok(meta) = self.store.disk.meta_by_path(self.folder.place())
            && known == FolderSeen::Here(DirectoryIdentity::of(&meta))
        {
            return Ok(Some(meta));
        }
        for _ in 0..limits::LOOKS {
            let before = self.store.check_there()?;
            match self.store.disk.meta(self.folder.place()) {
                Ok(meta) if meta.kind == Kind::Directory => return Ok(Some(meta)),
                Ok(_) => return Err(damaged(self.folder.place(), "not a directory")),
                // It was there all the time: a folder that went away and came back would have changed it.
                Err(absent) if absent.is_absent() => {
                    if self.store.check_there()? == before {
                        return Ok(None);
                    }
                }
                // Nothing of the user is seen, such as where another file system is mounted there.
                Err(other) => {
                    let what = other.out_of_reach();
                    return Err(what
                        .map_or_else(|| other.into(), |what| damaged(self.folder.place(), what)));
                }
            }
        }
        Err(Error::Busy)
    }

    /// Syncs the folder as a whole, unless this process has met it.
    ///
    /// A sync that fails is remembered: a second one would find nothing left to do and prove nothing (DESIGN,
    /// Order of writes), so of this folder nothing is told until a restart.
    ///
    /// Whoever comes meanwhile syncs too, as far as the disk does not group that: nobody waits for a
    /// lock here, see [`User::meeting`].
    pub(super) fn meet_folder(&self, visit: &Visit) -> Result<()> {
        if self.has_met(visit) {
            return Ok(());
        }
        if self.state.known().lost {
            return Err(Error::NotDurable);
        }
        let synced = self
            .store
            .disk
            .sync_below(self.folder.place())
            .and_then(|()| {
                let names = [layout::users()].map(Target::Directory);
                self.store.disk.sync(&names)
            });
        match synced {
            Ok(()) => {}
            Err(absent) if absent.is_absent() => return Err(Error::UserGone),
            Err(error) => {
                let mut known = self.state.known();
                known.lost |= known.generation == visit.generation && error.is_lost_write();
                return Err(error.into());
            }
        }
        // What was synced is what the path led to.
        let still = self.store.disk.meta(self.folder.place()).if_there()?;
        if still.is_none_or(|meta| DirectoryIdentity::of(&meta) != visit.identity) {
            return Err(Error::UserGone);
        }
        self.store.met.insert(visit.identity);
        self.state.has_met(visit, Some(visit.changed));
        Ok(())
    }

    /// Whether this process has synced the folder as a whole, or made it; or it was there already when
    /// everything was synced.
    pub(super) fn has_met(&self, visit: &Visit) -> bool {
        {
            let known = self.state.known();
            if known.generation != visit.generation || known.met {
                return true;
            }
        }
        let was_here = self
            .store
            .opened
            .was_here(visit.changed, self.store.disk.now());
        let is_met = was_here
            || self.store.opened.here.is_none()
            || self.store.met.has(&visit.identity)
            || self.store.mistakes.made(Mistake::NoFolderSync);
        if is_met {
            self.state.has_met(visit, was_here.then_some(visit.changed));
        }
        is_met
    }
}
