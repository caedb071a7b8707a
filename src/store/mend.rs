//! What upkeep may do to a user's files, under the exclusive lock.
//!
//! Each verb keeps the order of writes: a file has its new name, durably, before it loses the old one,
//! so that a crash between any two steps loses nothing. None of them moves HEAD.

use std::sync::Arc;

use super::admin::format_trouble;
use super::layout::{self, Area, Dir, Folder, Thing};
use super::lock::UserLock;
use super::mistake::Mistakes;
use super::quota::Tallies;
use super::user::{Users, taken_is_fine};
use super::vouch::Files;
use super::{Error, Options, Result, Store};
use crate::disk::{self, Disk, IfThere, Mode, Place, Target};
use crate::model::TransactionId;

impl Store {
    /// The directory as it stands: nothing in it is checked, made or synced.
    pub(crate) fn examine(disk: Arc<dyn Disk>) -> Self {
        Self::examined(disk, Mistakes::default())
    }

    /// The same, breaking one rule, for a test that must notice.
    #[cfg(feature = "mistakes")]
    pub(crate) fn examine_with_mistake(disk: Arc<dyn Disk>, mistake: super::Mistake) -> Self {
        let one = Some(mistake);
        Self::examined(disk, Mistakes { one })
    }

    fn examined(disk: Arc<dyn Disk>, mistakes: Mistakes) -> Self {
        Self {
            disk,
            options: Options::default(),
            mistakes,
            users: Users::default(),
            vouched: Files::default(),
            tallies: Tallies::default(),
            walks: Default::default(),
        }
    }

    /// The same, where there is a store of this format.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where there is none.
    pub(crate) fn look_at(disk: Arc<dyn Disk>) -> Result<Self> {
        let store = Self::examine(disk);
        match store.read_format()? {
            Some(found) => match format_trouble(&found) {
                None => Ok(store),
                Some(trouble) => Err(Error::NotAStore(trouble)),
            },
            None => Err(Error::NotAStore("there is no store here".to_owned())),
        }
    }

    /// The disk under the store.
    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// What `FORMAT` says, as far as 64 bytes go; `None` where there is no such file.
    pub(crate) fn read_format(&self) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.disk.open(&layout::format()).if_there()? else {
            return Ok(None);
        };
        let mut buffer = vec![0; 64];
        let read = file.read_at(0, &mut buffer)?;
        buffer.truncate(read);
        Ok(Some(buffer))
    }

    /// Takes a damaged or stray file out of the way, into `lost+found`; says where it is now.
    ///
    /// With `marks` a chunk gets its plain name there, by which [`Store::put_chunk`] knows that it was
    /// committed; without, a name that means nothing to anybody.
    pub(crate) fn set_aside(
        &self,
        lock: &UserLock,
        area: Area,
        thing: &Thing,
        marks: bool,
    ) -> Result<Place> {
        self.check_exclusive(lock);
        let folder = &lock.folder;
        let from = folder.thing(area, thing);
        let lost = thing.lost_dir();
        let spare = || layout::spare(&folder.dir(lost), thing, self.disk.random());
        let mut to = if marks {
            folder.dir(lost).join(thing.name())
        } else {
            spare()
        };
        let link = |to: &Place| {
            self.in_dir(&lock.state, folder, lost, || {
                match self.disk.link(&from, to) {
                    Err(taken) if taken.is_taken() => Ok(false),
                    other => other.map(|()| true),
                }
            })
        };
        if !link(&to)? && self.disk.meta(&to)?.inode != self.disk.meta(&from)?.inode {
            // An older mark, which does its work whatever is in it.
            to = spare();
            link(&to)?;
        }
        self.sync_dirs(&lock.state, folder, [lost], Vec::new())?;
        self.unlink(lock, &from, thing.dir(area))?;
        Ok(to)
    }

    /// Gives a chunk or alias that the chain names, and that stands in `incoming/` only, its place.
    pub(crate) fn bring_back(&self, lock: &UserLock, thing: &Thing) -> Result<()> {
        self.check_exclusive(lock);
        let folder = &lock.folder;
        let [from, to] = [Area::Incoming, Area::Committed].map(|area| folder.thing(area, thing));
        let dir = thing.dir(Area::Committed);
        self.in_dir(&lock.state, folder, dir, || {
            self.disk.link(&from, &to).or_else(taken_is_fine)
        })?;
        let file = Target::File(self.disk.open(&to)?);
        self.sync_dirs(&lock.state, folder, [dir], vec![file])
    }

    /// Moves a committed chunk or alias that the chain does not name back to `incoming/`, where gc
    /// decides about it: a pending transaction may rely on this very file.
    pub(crate) fn send_back(&self, lock: &UserLock, thing: &Thing) -> Result<()> {
        self.check_exclusive(lock);
        let folder = &lock.folder;
        let [to, from] = [Area::Incoming, Area::Committed].map(|area| folder.thing(area, thing));
        let dir = thing.dir(Area::Incoming);
        self.in_dir(&lock.state, folder, dir, || {
            self.disk.link(&from, &to).or_else(taken_is_fine)
        })?;
        let file = self.disk.open(&to)?;
        file.touch(self.disk.now())?;
        self.sync_dirs(&lock.state, folder, [dir], vec![Target::File(file)])?;
        self.unlink(lock, &from, thing.dir(Area::Committed))
    }

    /// Drops the entry in `incoming/` of something committed.
    pub(crate) fn drop_leftover(&self, lock: &UserLock, thing: &Thing) -> Result<()> {
        self.check_exclusive(lock);
        let committed = thing.dir(Area::Committed);
        self.sync_dirs(&lock.state, &lock.folder, [committed], Vec::new())?;
        let place = lock.folder.thing(Area::Incoming, thing);
        self.unlink(lock, &place, thing.dir(Area::Incoming))
    }

    /// Takes a committed transaction that is off the chain away. Where `incoming/` has the same one,
    /// that is the one that counts; where not, it is set aside. Says where it is now, then.
    pub(crate) fn drop_off_chain(
        &self,
        lock: &UserLock,
        id: TransactionId,
    ) -> Result<Option<Place>> {
        self.check_exclusive(lock);
        let (here, twin) = (lock.folder.transaction(id), lock.folder.pending(id));
        let same = match self.disk.meta(&twin).if_there()? {
            Some(meta) => meta.inode == self.disk.meta(&here)?.inode,
            None => false,
        };
        if !same {
            let thing = Thing::Transaction(id);
            return self
                .set_aside(lock, Area::Committed, &thing, true)
                .map(Some);
        }
        self.sync_dirs(&lock.state, &lock.folder, [Dir::Pending], Vec::new())?;
        self.unlink(lock, &here, Dir::of_transaction(id))?;
        Ok(None)
    }

    /// Removes a temporary file or a mark that has done its work.
    pub(crate) fn drop_file(&self, lock: &UserLock, dir: Dir, name: &str) -> Result<()> {
        self.check_exclusive(lock);
        self.unlink(lock, &lock.folder.dir(dir).join(name), dir)
    }

    fn unlink(&self, lock: &UserLock, place: &Place, dir: Dir) -> Result<()> {
        if dir == Dir::Pending {
            self.note_taken(lock)?;
        }
        self.disk.remove_file(place).if_there()?;
        self.sync_dirs(&lock.state, &lock.folder, [dir], Vec::new())
    }

    fn check_exclusive(&self, lock: &UserLock) {
        assert_eq!(
            lock.mode,
            Mode::Exclusive,
            "files are mended under the exclusive lock"
        );
    }

    /// The user's lock, shared, if the folder has the files for it and they can be had: nothing is
    /// made for it, so that a copy can be looked at too that is on a read-only disk or somebody else's.
    ///
    /// # Errors
    /// Those of a disk that fails. Without the lock, what an advance under way looks like is not told from
    /// what one left; nothing else depends on it.
    pub(crate) fn lock_if_there(&self, user: &crate::model::UserId) -> Result<Option<UserLock>> {
        let folder = Folder::of(user);
        for place in [folder.gate(), folder.lock()] {
            if self.meta_if_there(&place)?.is_none() {
                return Ok(None);
            }
        }
        match self.lock_blocking(user, Mode::Shared) {
            Err(Error::Busy) => Ok(None),
            Err(Error::Disk(error)) if may_not_write(&error) => Ok(None),
            other => other,
        }
    }
}

/// To take a lock, a file is opened for writing.
fn may_not_write(error: &disk::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}
