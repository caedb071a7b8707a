//! Users deleted, renamed and given names: what the operator does to one as a whole.

use super::layout::{self, Dir, Folder};
use super::lock::Exclusive;
use super::mistake::Mistake;
use super::naming::{NameFile, Naming, line};
use super::{Result, User};
use crate::disk::Target;
use crate::model::{UserId, UserName};

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

    /// Gives the user this name, or none. Durable then. Whether somebody else has it is looked at by whoever has the
    /// right to give names.
    pub fn set_name(&self, _: &Naming, name: Option<&UserName>) -> Result<()> {
        let place = self.folder.name();
        match name {
            Some(name) => {
                let mut temporary = self.temporary()?;
                temporary.file.append(line(name).as_bytes())?;
                let target = Target::File(temporary.file.clone());
                self.store.disk.sync(&[target])?;
                temporary.replace(&place)?;
            }
            None => match self.store.disk.remove_file(&place) {
                Err(absent) if absent.is_absent() => return Ok(()),
                other => other?,
            },
        }
        self.store.forget_tally(&self.id);
        self.sync_dirs([Dir::User], Vec::new())
    }
}

impl User {
    /// Reads the user's name.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn name(&self) -> Result<NameFile> {
        self.store.read_name(&self.folder)
    }
}
