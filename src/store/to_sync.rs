//! Names and dates that an answer relies on, until they are durable.

use std::collections::BTreeSet;

use super::layout::{Area, Dir, Thing};
use super::lookup::{Found, Resolved};
use super::mistake::Mistake;
use super::vouch::Name;
use super::{Result, User};
use crate::disk::{Handle, Meta, Target};
use crate::model::{ChunkId, limits};

/// Names and dates that an answer relies on and that may not be durable yet: directories and files to be synced, and
/// the chunks that can be vouched for after that.
pub(super) struct ToSync {
    dirs: BTreeSet<Dir>,
    files: Vec<Target>,
    /// Files that are kept open at most.
    open: usize,
    /// More files were made young than are kept open: all of `incoming/` is synced.
    many: bool,
    names: Vec<(Area, ChunkId, Meta)>,
}

impl Default for ToSync {
    fn default() -> Self {
        Self::keeping(limits::SYNCED_APART)
    }
}

impl ToSync {
    /// An empty list; of the files that are made young so many are kept open until they are synced.
    pub fn keeping(open: usize) -> Self {
        Self {
            dirs: BTreeSet::new(),
            files: Vec::new(),
            open,
            many: false,
            names: Vec::new(),
        }
    }

    /// Whether there is nothing to sync.
    pub fn is_empty(&self) -> bool {
        self.dirs.is_empty() && self.files.is_empty() && !self.many
    }

    /// The answer relies on names in this directory.
    pub fn dir(&mut self, dir: Dir) {
        self.dirs.insert(dir);
    }

    /// Adds a file that was made young. Where more are than are kept open, all of `incoming/` is synced.
    pub fn young(&mut self, file: Handle) {
        if self.files.len() < self.open {
            self.files.push(Target::File(file));
        } else {
            self.many = true;
        }
    }

    /// Takes the directories out.
    pub fn take_dirs(&mut self) -> BTreeSet<Dir> {
        std::mem::take(&mut self.dirs)
    }

    /// A chunk or alias that can be vouched for once all is synced. Only so many are remembered, so that a large
    /// request does not make all the others forgotten.
    pub fn vouches(&mut self, area: Area, thing: &Thing, meta: Meta) {
        let Some(id) = chunk_of(thing) else {
            return;
        };
        if self.names.len() < limits::VOUCHED_AT_ONCE {
            self.names.push((area, id, meta));
        }
    }

    /// The parts: what is to be synced, and what can be vouched for then.
    pub fn into_parts(self) -> (BTreeSet<Dir>, Vec<Target>, SyncedNames) {
        (self.dirs, self.files, SyncedNames(self.names))
    }
}

/// Chunks and aliases whose names are about to be durable, for [`User::vouch`].
pub(super) struct SyncedNames(Vec<(Area, ChunkId, Meta)>);

fn chunk_of(thing: &Thing) -> Option<ChunkId> {
    match thing {
        Thing::Chunk(digest) => Some(ChunkId::Digest(*digest)),
        Thing::Alias(alias) => Some(ChunkId::Alias(*alias)),
        Thing::Transaction(_) => None,
    }
}

impl User {
    /// Relies on a file that is there: unless this process has synced its name, that is to be synced.
    pub(super) fn rely_on(&self, thing: &Thing, found: &Found, to_sync: &mut ToSync) {
        if !self.is_vouched(thing, found) {
            to_sync.dir(thing.dir(found.area));
        }
        to_sync.vouches(found.area, thing, found.meta);
    }

    /// Relies on a chunk that was looked up, and on its alias where it was called by one.
    pub(super) fn rely_on_chunk(&self, resolved: &Resolved, to_sync: &mut ToSync) {
        for (thing, found) in resolved.things() {
            self.rely_on(&thing, &found, to_sync);
        }
    }

    /// Relies on a file that is there, and makes it young if it is in `incoming/`, so that it stays for another
    /// grace period.
    pub(super) fn refresh(
        &self,
        thing: &Thing,
        mut found: Found,
        to_sync: &mut ToSync,
    ) -> Result<()> {
        if !self.is_vouched(thing, &found) {
            to_sync.dir(thing.dir(found.area));
        }
        if found.area == Area::Incoming {
            let disk = &self.store.disk;
            let file = disk.open(&self.folder.thing(found.area, thing))?;
            file.touch(disk.now())?;
            found.meta = file.meta()?;
            to_sync.young(file);
        }
        to_sync.vouches(found.area, thing, found.meta);
        Ok(())
    }

    fn is_vouched(&self, thing: &Thing, found: &Found) -> bool {
        let Some(chunk) = chunk_of(thing) else {
            return false;
        };
        let (user, area) = (self.id, found.area);
        let name = Name { user, area, chunk };
        self.store.mistakes.made(Mistake::NoVouch) || self.store.vouched.has(&name, &found.meta)
    }

    /// Makes all of it durable, and vouches for it then.
    ///
    /// # Errors
    /// Those of the sync: nothing may be said about any of it.
    pub(super) fn sync(&self, to_sync: ToSync) -> Result<()> {
        if to_sync.many {
            self.store.sync_below(&self.folder.dir(Dir::Incoming))?;
        }
        let (dirs, files, synced) = to_sync.into_parts();
        self.sync_dirs(dirs, files)?;
        self.vouch(synced);
        Ok(())
    }

    /// Remembers that these names are durable.
    pub(super) fn vouch(&self, synced: SyncedNames) {
        let user = self.id;
        for (area, chunk, meta) in synced.0 {
            self.store.vouched.insert(Name { user, area, chunk }, &meta);
        }
    }
}
