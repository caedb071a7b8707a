//! One user of a store, and the user's folder.

use std::path::PathBuf;
use std::sync::Arc;

use super::layout::{self, Dir, Folder, Shelf};
use super::naming::{Naming, write_name};
use super::state::UserState;
use super::{Error, Result, Store};
use crate::disk::Target;
use crate::model::{TransactionId, UserId, UserName};

/// One user of a store. A clone costs little, and is of the very same user; whether there is a folder is seen
/// by each method for itself. Methods of `User` take no lock unless they say so; verbs that need one are
/// methods of its guards, [`Shared`](super::Shared) and [`Exclusive`](super::Exclusive).
#[derive(Clone)]
pub struct User {
    pub(super) store: Store,
    pub(super) id: UserId,
    pub(super) state: Arc<UserState>,
    pub(crate) folder: Folder,
    /// Whether this is for whoever works on a frozen user as well, see [`User::though_frozen`].
    pub(super) though_frozen: bool,
}

impl Store {
    /// The user of this id, who need not have a folder. Costs no look at the disk.
    pub fn user(&self, id: UserId) -> User {
        User {
            state: self.states.of(&id),
            folder: Folder::of(&id),
            though_frozen: false,
            store: self.clone(),
            id,
        }
    }
}

impl User {
    /// The id of the user.
    pub fn id(&self) -> &UserId {
        &self.id
    }

    /// The store that the user is one of.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The system's path of the user's folder, whether it is there or not, to be watched; `None` on a disk that
    /// has no paths.
    pub fn path(&self) -> Option<PathBuf> {
        self.store.disk.path(self.folder.place())
    }

    /// Whether the user has a folder.
    ///
    /// # Errors
    /// [`Error::Damaged`] where something else has its place; [`Error::StoreGone`].
    pub fn has_folder(&self) -> Result<bool> {
        self.store.has_folder(&self.folder)
    }

    /// Makes the user's folder; returns `false` where there is one.
    ///
    /// It is made complete in `tmp/`, synced, and renamed in, so that a folder without HEAD can
    /// only be an unfinished copy.
    pub fn add(&self) -> Result<bool> {
        self.add_called(None)
    }

    /// Makes the user's folder as [`User::add`] does, with this name in it, which whoever has the right to give names
    /// has seen to be nobody's.
    pub fn add_named(&self, _: &Naming, name: &UserName) -> Result<bool> {
        self.add_called(Some(name))
    }

    fn add_called(&self, name: Option<&UserName>) -> Result<bool> {
        if self.has_folder()? {
            return Ok(false);
        }
        let store = &self.store;
        let place = layout::aside(&layout::tmp(), &self.id, store.disk.random());
        let made = Folder::at(place.clone());
        let result = make_folder(store, &made, name).and_then(|()| {
            store.made(&store.disk.meta(&place)?);
            match store.disk.rename_new(&place, self.folder.place()) {
                Ok(()) => Ok(true),
                Err(taken) if taken.is_taken() => Ok(false),
                Err(other) => Err(other.into()),
            }
        });
        if !matches!(result, Ok(true)) {
            // Best effort: what stays is swept when it is a day old.
            let _ = store.remove_tree(&place);
        }
        // Also for a folder that somebody else just renamed in: it is answered about.
        if result.is_ok() {
            let directories = [layout::users(), layout::tmp()].map(Target::Directory);
            store.disk.sync(&directories)?;
        }
        result
    }

    /// Makes the folder of a user who uploads for the first time, where new users are admitted.
    ///
    /// # Errors
    /// [`Error::UnknownUser`] or [`Error::WrongShard`] where they are not.
    pub(super) fn admit(&self) -> Result<()> {
        match self.may_be_unknown() {
            Ok(()) => self.add().map(drop),
            // A folder that goes meanwhile is not made anew.
            Err(denied) => self.has_folder()?.then_some(()).ok_or(denied),
        }
    }

    /// Returns `None`, for a user who may be unknown.
    ///
    /// # Errors
    /// [`Error::UnknownUser`] or [`Error::WrongShard`] for one who may not.
    pub(super) fn unless_denied<T>(&self) -> Result<Option<T>> {
        match self.may_be_unknown() {
            Err(denied) if !self.has_folder()? => Err(denied),
            _ => Ok(None),
        }
    }

    /// Whether a user without a folder may be answered about, as one who has nothing yet. Costs no look at the disk.
    ///
    /// # Errors
    /// [`Error::WrongShard`] where another box is for the user; [`Error::UnknownUser`] where new users are not admitted.
    pub(super) fn may_be_unknown(&self) -> Result<()> {
        let options = &self.store.options;
        if (options.shard.as_ref()).is_some_and(|shard| !shard.has(&self.id)) {
            return Err(Error::WrongShard);
        }
        match options.new_users {
            true => Ok(()),
            false => Err(Error::UnknownUser),
        }
    }

    /// Refuses a user whom another box is for, unless the folder is here: then the user was moved to this box. Costs a look
    /// at the disk for a user beyond the range, none for others.
    ///
    /// # Errors
    /// [`Error::WrongShard`]; [`Error::StoreGone`].
    pub fn check_shard(&self) -> Result<()> {
        match self.may_be_unknown() {
            Err(Error::WrongShard) if !self.has_folder()? => Err(Error::WrongShard),
            _ => Ok(()),
        }
    }
}

fn make_folder(store: &Store, folder: &Folder, name: Option<&UserName>) -> Result<()> {
    let mut targets = Vec::new();
    let dirs = [Dir::User, Dir::Incoming, Dir::Pending, Dir::Tmp];
    for dir in dirs.into_iter().chain(Shelf::ALL.map(Dir::Shelf)) {
        if !matches!(dir, Dir::Shelf(shelf) if !shelf.is_made_at_first()) {
            store.disk.make_directory(&folder.dir(dir))?;
            targets.push(Target::Directory(folder.dir(dir)));
        }
    }
    let head = store.disk.create(&folder.head())?;
    head.append(format!("{}\n", TransactionId::ROOT).as_bytes())?;
    targets.push(Target::File(head));
    for place in [folder.lock(), folder.gate(), folder.log()] {
        targets.push(Target::File(store.disk.create(&place)?));
    }
    if let Some(name) = name {
        let file = write_name(&*store.disk, &folder.name(), name)?;
        targets.push(Target::File(file));
    }
    Ok(store.disk.sync(&targets)?)
}
