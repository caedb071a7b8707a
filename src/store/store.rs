//! The store: an open data directory, with all users in it.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::SystemTime;

use super::denied::Denied;
use super::format;
use super::kind::StoreKind;
use super::layout;
use super::met::{Met, Opened};
use super::mistake::Mistakes;
use super::options::Options;
use super::state::States;
use super::tally::Tallies;
use super::vouch::Files;
use super::walk::Walks;
use super::{Error, Result};
use crate::disk::{self, DirectoryIdentity, Disk, Kind, Meta};
use crate::model::UserId;

/// An open data directory. A clone costs nothing, and is of the very same store; all methods may be called
/// from any thread. Everything about one user is a method of [`User`](super::User).
#[derive(Clone)]
pub struct Store(Arc<Inner>);

/// Parts of an open data directory.
pub struct Inner {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: Options,
    pub(crate) mistakes: Mistakes,
    pub(super) states: States,
    pub(super) vouched: Files,
    pub(super) met: Met,
    pub(super) opened: Opened,
    pub(super) tallies: Tallies,
    pub(super) walks: Walks,
    pub(super) denied: Denied,
    /// How often this process has moved HEAD of a user.
    pub(super) head_moves: AtomicU64,
    /// A probe was put off for want of room.
    pub(super) probe_is_due: AtomicBool,
}

/// The users' names in `users/`, by what has them.
#[derive(Clone, Debug, Default)]
pub struct UserNames {
    /// The users who have a folder, sorted.
    pub folders: Vec<UserId>,
    /// The users whose name a symlink, a file or a device has, sorted: every answer about such a user is
    /// [`Error::Damaged`].
    pub others: Vec<UserId>,
}

impl Deref for Store {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Store {
    /// A store over this directory, nothing of which is looked at. `clear_dead` drops the pending transactions of
    /// a user that can never be committed.
    pub(super) fn over(
        disk: Arc<dyn Disk>,
        options: Options,
        mistakes: Mistakes,
        opened: Opened,
        clear_dead: fn(&Arc<dyn Disk>, &UserId),
    ) -> Self {
        Self(Arc::new(Inner {
            tallies: Tallies::new(Arc::clone(&disk), &options, clear_dead),
            disk,
            options,
            mistakes,
            states: States::default(),
            vouched: Files::default(),
            met: Met::default(),
            opened,
            walks: Walks::default(),
            denied: Denied::default(),
            head_moves: AtomicU64::new(0),
            probe_is_due: AtomicBool::new(false),
        }))
    }

    /// The choices of the operator.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Whether this is a device's own store. What HEAD cannot reach any more is kept there, since a rebase makes it anew.
    pub(crate) fn is_of_device(&self) -> bool {
        self.options.kind == StoreKind::Replica
    }

    /// Refuses what is for a server's store alone.
    ///
    /// # Errors
    /// [`Error::NotAStore`]
    pub(crate) fn for_a_server(&self) -> Result<()> {
        StoreKind::Server.expect(self.options.kind)
    }

    /// The disk under the store.
    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// The clock that stamps this store's files.
    pub fn now(&self) -> SystemTime {
        self.disk.now()
    }

    /// The users who have a folder, sorted. Costs a listing of `users/`.
    pub fn users(&self) -> Result<Vec<UserId>> {
        Ok(self.names_of_users()?.folders)
    }

    /// All users' names that are taken in `users/`, by whatever. Costs a listing of it.
    pub fn names_of_users(&self) -> Result<UserNames> {
        let mut names = UserNames::default();
        self.disk.list(&layout::users(), &mut |entry| {
            let taken = match entry.kind {
                Kind::Directory => &mut names.folders,
                Kind::File | Kind::Other => &mut names.others,
            };
            taken.extend(layout::parse_user(&entry.name));
            true
        })?;
        names.folders.sort_unstable();
        names.others.sort_unstable();
        Ok(names)
    }

    /// The system's path of the folder of all users, to be watched; `None` on a disk that has no paths.
    pub fn path_of_users(&self) -> Option<PathBuf> {
        self.disk.path(&layout::users())
    }

    /// Reads the first 64 bytes of `FORMAT`; `None` where there is no such file.
    pub(crate) fn read_format(&self) -> Result<Option<Vec<u8>>> {
        format::read_format(self.disk())
    }

    /// Whether anything stands in `users/`. Costs one look.
    pub(crate) fn has_users(&self) -> Result<bool> {
        format::has_users(self.disk())
    }

    /// Sees that the store is where it was opened: the same data directory at its path, and the same
    /// `users/` in it, with nothing mounted over them. Says when the latter changed last. Costs two looks.
    ///
    /// # Errors
    /// [`Error::StoreGone`]
    pub(super) fn check_there(&self) -> Result<SystemTime> {
        let Some([top, opened]) = self.opened.here else {
            return Ok(SystemTime::UNIX_EPOCH);
        };
        let gone = |what: &str| Error::StoreGone(what.to_owned());
        match self.disk.meta_by_path(&layout::top()) {
            Ok(there) if DirectoryIdentity::of(&there) == top => {}
            Ok(_) => return Err(gone("another directory is in its place")),
            Err(absent) if absent.is_absent() => {
                return Err(gone("its directory was removed or moved away"));
            }
            Err(other) => return Err(unseen(other)),
        }
        match self.disk.meta(&layout::users()) {
            Ok(meta) if DirectoryIdentity::of(&meta) == opened => Ok(meta.changed),
            Ok(_) => Err(gone("users/ is another directory than it was")),
            Err(absent) if absent.is_absent() => Err(gone("users/ was removed or moved away")),
            Err(other) => Err(unseen(other)),
        }
    }

    /// Whether the store is where it was opened. For whoever has worked on it for a while: what was written
    /// into a store that was moved away meanwhile is not acknowledged.
    ///
    /// # Errors
    /// [`Error::StoreGone`]
    pub fn is_there(&self) -> Result<()> {
        self.check_there().map(drop)
    }

    /// Notes that this process made the folder, all of it durable.
    pub(super) fn made(&self, folder: &Meta) {
        self.met.insert(DirectoryIdentity::of(folder));
    }
}

/// A store that cannot be seen where it was opened is not known to be there; but a look that failed for want of
/// something of this process, or of the box, tells nothing of the store.
fn unseen(error: disk::Error) -> Error {
    match error.out_of_reach() {
        Some(why) => Error::StoreGone(format!("{error}: {why}")),
        None => error.into(),
    }
}
