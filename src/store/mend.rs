//! Repairs of a user's files.
//!
//! Each verb keeps the order of writes: a file has its new name, durably, before it loses the old one,
//! so that a crash between any two steps loses nothing. None of them moves HEAD.

use super::Result;
use super::error::taken_is_fine;
use super::layout::{self, Area, Dir, Thing};
use super::lock::Exclusive;
use crate::disk::{IfThere, Place, Target};
use crate::model::TransactionId;

impl Exclusive {
    /// Takes a damaged or stray file out of the way, into `lost+found`; says where it is now.
    ///
    /// With `marks` a chunk gets its plain name there, by which an upload knows that it was
    /// committed; without, a name that means nothing to anybody.
    pub(crate) fn set_aside(&self, area: Area, thing: &Thing, marks: bool) -> Result<Place> {
        let from = self.folder.thing(area, thing);
        let lost = thing.lost_dir();
        let spare = || layout::spare(&self.folder.dir(lost), thing, self.store.disk.random());
        let mut to = if marks {
            self.folder.dir(lost).join(thing.name())
        } else {
            spare()
        };
        let link = |to: &Place| {
            self.in_dir(lost, || match self.store.disk.link(&from, to) {
                Err(taken) if taken.is_taken() => Ok(false),
                other => other.map(|()| true),
            })
        };
        if !link(&to)? && self.store.disk.meta(&to)?.inode != self.store.disk.meta(&from)?.inode {
            // An older mark, which does its work whatever is in it.
            to = spare();
            link(&to)?;
        }
        self.sync_dirs([lost], Vec::new())?;
        self.unlink(&from, thing.dir(area))?;
        Ok(to)
    }

    /// Gives a chunk or alias that the chain names, and that stands in `incoming/` only, its place.
    pub(crate) fn bring_back(&self, thing: &Thing) -> Result<()> {
        let [from, to] =
            [Area::Incoming, Area::Committed].map(|area| self.folder.thing(area, thing));
        let dir = thing.dir(Area::Committed);
        self.in_dir(dir, || {
            self.store.disk.link(&from, &to).or_else(taken_is_fine)
        })?;
        let file = Target::File(self.store.disk.open(&to)?);
        self.sync_dirs([dir], vec![file])
    }

    /// Moves a committed chunk or alias that the chain does not name back to `incoming/`, where gc
    /// decides about it: a pending transaction may rely on this very file.
    pub(crate) fn send_back(&self, thing: &Thing) -> Result<()> {
        let [to, from] =
            [Area::Incoming, Area::Committed].map(|area| self.folder.thing(area, thing));
        let dir = thing.dir(Area::Incoming);
        self.in_dir(dir, || {
            self.store.disk.link(&from, &to).or_else(taken_is_fine)
        })?;
        let file = self.store.disk.open(&to)?;
        file.touch(self.store.disk.now())?;
        self.sync_dirs([dir], vec![Target::File(file)])?;
        self.unlink(&from, thing.dir(Area::Committed))
    }

    /// Drops the entry in `incoming/` of something committed.
    pub(crate) fn drop_leftover(&self, thing: &Thing) -> Result<()> {
        let committed = thing.dir(Area::Committed);
        self.sync_dirs([committed], Vec::new())?;
        let place = self.folder.thing(Area::Incoming, thing);
        self.unlink(&place, thing.dir(Area::Incoming))
    }

    /// Takes a committed transaction that is off the chain away. Where `incoming/` has the same one,
    /// that is the one that counts; where not, it is set aside. Says where it is now, then.
    pub(crate) fn drop_off_chain(&self, id: TransactionId) -> Result<Option<Place>> {
        let (here, twin) = (self.folder.transaction(id), self.folder.pending(id));
        let same = match self.store.disk.meta(&twin).if_there()? {
            Some(meta) => meta.inode == self.store.disk.meta(&here)?.inode,
            None => false,
        };
        if !same {
            let thing = Thing::Transaction(id);
            return self.set_aside(Area::Committed, &thing, true).map(Some);
        }
        self.sync_dirs([Dir::Pending], Vec::new())?;
        self.unlink(&here, Dir::of_transaction(id))?;
        Ok(None)
    }

    /// Removes a temporary file or a mark that has done its work.
    pub(crate) fn drop_file(&self, dir: Dir, name: &str) -> Result<()> {
        self.unlink(&self.folder.dir(dir).join(name), dir)
    }

    fn unlink(&self, place: &Place, dir: Dir) -> Result<()> {
        if dir == Dir::Pending {
            self.note_taken()?;
        }
        self.store.disk.remove_file(place).if_there()?;
        self.sync_dirs([dir], Vec::new())
    }
}
