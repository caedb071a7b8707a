//! The one way to publish: a file that is durable gets its name.
//!
//! A PUT of a chunk, a group of small ones, an alias, a transaction and each member of a pushed bundle go this way,
//! in this order: a chunk that the chain names and that was lost goes straight back to its committed place; a
//! chunk that is committed stays; room is reserved; the name is given if it is free; and whatever has the name
//! already becomes young. Nothing is replaced but a chunk's file of another length, which is damaged.

use super::layout::{Area, Dir, Thing};
use super::lock::Locked;
use super::lookup::Found;
use super::mistake::Mistake;
use super::to_sync::ToSync;
use super::{Error, Result};
use crate::disk::{self, Meta, Place};

/// A file that is durable and has no name in the store yet.
pub(super) trait Unnamed {
    /// The number of bytes in it.
    fn bytes(&self) -> Result<u64>;

    /// Gives the file its name, which must be free.
    fn give_name(&mut self, to: &Place) -> disk::Result<()>;

    /// Gives the file its name in place of whatever has it: of a damaged file.
    fn replace(&mut self, to: &Place) -> disk::Result<()>;

    /// The file's metadata, to vouch for it by; `None` where that is not worth a look.
    fn meta(&self) -> Result<Option<Meta>>;

    /// Whether the committed area has been seen not to have the chunk, which saves the look.
    fn is_new(&self) -> bool {
        false
    }
}

/// How a file was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    /// The file has its name now.
    New,
    /// A file with the same content has the name already, and is young now.
    There,
    /// Another file has the name, and keeps it.
    Other,
}

impl Locked {
    /// Gives a file its name in the area where it belongs, and notes in `to_sync` what makes the name durable.
    /// `is_same` compares with the file that has the name already. A chunk's is known by its digest, and damaged
    /// where its length is another: then this one takes its place.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`] where there is no room for a new file; [`Error::UserGone`] where the folder was
    /// deleted meanwhile. The file has no name then.
    pub(super) fn publish(
        &self,
        thing: &Thing,
        file: &mut dyn Unnamed,
        is_same: &dyn Fn(&Place) -> Result<bool>,
        to_sync: &mut ToSync,
    ) -> Result<Published> {
        let there =
            |area: Area, meta: Option<Meta>, file: &mut dyn Unnamed, to_sync: &mut ToSync| {
                let meta = meta.ok_or(Error::UserGone)?;
                if matches!(thing, Thing::Chunk(_)) && meta.bytes != file.bytes()? {
                    self.replace_damaged(thing, area, file, to_sync)?;
                    return Ok(Published::New);
                }
                if !is_same(&self.folder.thing(area, thing))? {
                    return Ok(Published::Other);
                }
                self.refresh(thing, Found { area, meta }, to_sync)?;
                Ok(Published::There)
            };
        let area = match thing {
            Thing::Chunk(digest) => {
                let any_lost = self.any_lost()?;
                // Nothing moves from one area to the other while the lock is held: one look will do here, and
                // whether it is in `incoming/` is told by the try to give it that name.
                if !file.is_new()
                    && let Some(meta) = self.look_for(Area::Committed, thing)?
                {
                    return there(Area::Committed, Some(meta), file, to_sync);
                }
                match any_lost && self.was_lost(digest)? {
                    true => Area::Committed,
                    false => Area::Incoming,
                }
            }
            Thing::Alias(_) | Thing::Transaction(_) => Area::Incoming,
        };
        let room = match self.reserve(file.bytes()?) {
            // What is there takes no room.
            Err(refused @ Error::QuotaExceeded { .. }) => {
                let meta = self.look_for(area, thing)?.ok_or(refused)?;
                return there(area, Some(meta), file, to_sync);
            }
            other => other?,
        };
        let meta = file.meta()?;
        let (dir, place) = (thing.dir(area), self.folder.thing(area, thing));
        let is_new = self.make_name(dir, || match self.store.mistakes.made(Mistake::Replace) {
            true => file.replace(&place),
            false => file.give_name(&place),
        })?;
        if !is_new {
            drop(room);
            return there(area, self.look_for(area, thing)?, file, to_sync);
        }
        room.keep();
        to_sync.dir(dir);
        if let Some(meta) = meta {
            to_sync.vouches(area, thing, meta);
        }
        Ok(Published::New)
    }

    /// Makes a name in `dir`, and the directory if it is not there; returns `false` where the name is taken.
    ///
    /// # Errors
    /// [`Error::UserGone`] where the file to be named is gone: the folder that it was made in was deleted, and
    /// this is the user's next one.
    pub(super) fn make_name(
        &self,
        dir: Dir,
        mut make: impl FnMut() -> disk::Result<()>,
    ) -> Result<bool> {
        let made = match make() {
            Err(absent) if absent.is_absent() => {
                self.make_dir(dir)?;
                make()
            }
            other => other,
        };
        match made {
            Ok(()) => Ok(true),
            Err(taken) if taken.is_taken() => Ok(false),
            // The directory is there, so it is the file that is not.
            Err(absent) if absent.is_absent() => Err(Error::UserGone),
            Err(other) => Err(other.into()),
        }
    }
}
