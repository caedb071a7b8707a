//! Users deleted and renamed: what the operator does to one as a whole.

use super::Result;
use super::layout::{self, Folder};
use super::lock::Exclusive;
use super::mistake::Mistake;
use crate::disk::Target;
use crate::model::UserId;

/// How a rename of a user ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameUser {
    Renamed,
    /// There is no folder of the old id.
    NoSuchUser,
    /// There is a folder of the new id already.
    Taken,
}

impl Exclusive {
    /// Deletes the user, and all that is theirs: out of sight at once and durably, then file by file, with the lock
    /// given back.
    pub fn delete(self) -> Result<()> {
        let store = self.store.clone();
        let place = layout::aside(&layout::trash(), &self.id, store.disk.random());
        store.disk.rename_new(self.folder.place(), &place)?;
        if !store.mistakes.made(Mistake::NoDeleteSync) {
            let directories = [layout::users(), layout::trash()].map(Target::Directory);
            store.disk.sync(&directories)?;
        }
        self.state.known().forget();
        store.forget_tally(&self.id);
        drop(self);
        if let Err(error) = store.remove_tree(&place) {
            log::warn!("a deleted user's files go at the next start or gc: {error}");
        }
        Ok(())
    }

    /// Gives the user's folder another id: a new secret for the same store. Durable then.
    pub fn rename(self, to: &UserId) -> Result<RenameUser> {
        let store = &self.store;
        let renamed = (store.disk).rename_new(self.folder.place(), Folder::of(to).place());
        match renamed {
            Err(taken) if taken.is_taken() => return Ok(RenameUser::Taken),
            other => other?,
        }
        self.state.known().forget();
        store.forget_tally(&self.id);
        store.forget_tally(to);
        (store.disk).sync(&[Target::Directory(layout::users())])?;
        Ok(RenameUser::Renamed)
    }
}
