//! How a data directory is opened: to be served, or to be examined as it stands.

use std::sync::Arc;

use super::error::taken_is_fine;
use super::format::{NO_STORE, make_top, read_format, write_format};
use super::ground::Footing;
use super::kind::StoreKind;
use super::layout;
use super::met::Opened;
#[cfg(feature = "mistakes")]
use super::mistake::Mistake;
use super::mistake::Mistakes;
use super::{Error, Options, Result, Store};
use crate::disk::{Disk, IfThere, Target};
use crate::model::UserId;

impl Store {
    /// Opens the data directory, making it a store of the kind that the options say if there is nothing in it yet
    /// ([`Footing::Vacant`]).
    ///
    /// Makes everything that is there durable, so that what an earlier process left, or a person
    /// restored, is as good as if this one had written it. Costs nothing that grows with the store.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where `FORMAT` is unknown or another kind's, or missing beside whatever else is there, and where
    /// `users/` is missing beside it.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self> {
        Self::new(disk, options, Making::Allowed, Mistakes::of_environment())
    }

    /// Opens as [`Store::open`] does, but makes no store.
    ///
    /// # Errors
    /// [`Error::NotAStore`], also where there is nothing.
    pub fn open_existing(disk: Arc<dyn Disk>, options: Options) -> Result<Self> {
        Self::new(disk, options, Making::Refused, Mistakes::of_environment())
    }

    /// Opens a store that breaks one rule, for a test that must notice.
    #[cfg(feature = "mistakes")]
    pub fn open_with_mistake(
        disk: Arc<dyn Disk>,
        options: Options,
        mistake: Mistake,
    ) -> Result<Self> {
        let one = Some(mistake);
        Self::new(disk, options, Making::Allowed, Mistakes { one })
    }

    fn new(
        disk: Arc<dyn Disk>,
        options: Options,
        making: Making,
        mistakes: Mistakes,
    ) -> Result<Self> {
        check_format(&*disk, options.kind, making)?;
        let (top, users) = (disk.meta(&layout::top())?, disk.meta(&layout::users())?);
        let opened = Opened::new(&top, &users, disk.now(), disk.syncs_everything());
        disk.sync_everything()?;
        Ok(Self::over(disk, options, mistakes, opened, drop_dead))
    }

    /// The directory as it stands: nothing in it is checked, made or synced.
    pub(crate) fn examine(disk: Arc<dyn Disk>) -> Self {
        Self::examined(disk, Mistakes::default())
    }

    /// The directory as it stands, for a check that breaks one rule, for a test that must notice.
    #[cfg(feature = "mistakes")]
    pub(crate) fn examine_with_mistake(disk: Arc<dyn Disk>, mistake: Mistake) -> Self {
        let one = Some(mistake);
        Self::examined(disk, Mistakes { one })
    }

    fn examined(disk: Arc<dyn Disk>, mistakes: Mistakes) -> Self {
        let kind = StoreKind::at(&*disk).unwrap_or_default();
        let (options, opened) = (
            Options {
                kind,
                ..Options::default()
            },
            Opened::default(),
        );
        Self::over(disk, options, mistakes, opened, drop_dead)
    }

    /// The directory as it stands, where there is a server's store of this format.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where there is none.
    pub(crate) fn to_read(disk: Arc<dyn Disk>) -> Result<Self> {
        let store = Self::to_read_any(disk)?;
        StoreKind::Server.expect(store.options().kind)?;
        Ok(store)
    }

    /// The directory as it stands, where there is a store of this format, whosever it is.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where there is none.
    pub(crate) fn to_read_any(disk: Arc<dyn Disk>) -> Result<Self> {
        match read_format(&*disk)? {
            Some(found) => match StoreKind::said(&found) {
                Ok(_) => Ok(Self::examine(disk)),
                Err(trouble) => Err(Error::NotAStore(trouble)),
            },
            None => {
                Self::ground(&*disk)?;
                Err(Error::NotAStore(NO_STORE.to_owned()))
            }
        }
    }
}

/// Whether a store may be made where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Making {
    Allowed,
    Refused,
}

/// Sees that the directory is a store of this format, and makes it one where that is allowed and there is nothing
/// in it yet.
///
/// # Errors
/// [`Error::NotAStore`] where `FORMAT` is unknown or another kind's, where it is missing beside whatever else, and where
/// `users/` is missing beside it: every user would seem to have nothing.
fn check_format(disk: &dyn Disk, kind: StoreKind, making: Making) -> Result<()> {
    match read_format(disk)? {
        Some(found) => {
            kind.expect(StoreKind::said(&found).map_err(Error::NotAStore)?)?;
            check_users(disk)?;
            make_top(disk)
        }
        None => match (Store::ground(disk)?, making) {
            (Footing::Store, _) => check_format(disk, kind, making),
            (Footing::Vacant, Making::Refused) => Err(Error::NotAStore(NO_STORE.to_owned())),
            (Footing::Vacant, Making::Allowed) => {
                disk.make_directory(&layout::users())
                    .or_else(taken_is_fine)?;
                make_top(disk)?;
                // A FORMAT that outlived users/ in a power cut would be a store that lost its users.
                disk.sync(&[Target::Directory(layout::top())])?;
                write_format(disk, kind)
            }
        },
    }
}

fn check_users(disk: &dyn Disk) -> Result<()> {
    match disk.meta(&layout::users()).if_there()? {
        Some(_) => Ok(()),
        None => Err(Error::NotAStore(
            "there is a FORMAT here, but no users/, which every store has: bring it back from where it went, or from a \
             backup; where there never was a user, `mkdir -m 700 users` makes it"
                .to_owned(),
        )),
    }
}

/// Drops the pending transactions of a user that can never be committed, since room is wanted. As another process
/// would do it, with all locks.
fn drop_dead(disk: &Arc<dyn Disk>, user: &UserId) {
    let store = Store::examine(Arc::clone(disk));
    if let Err(error) = store.user(*user).drop_all_dead() {
        let user = user.short();
        log::debug!("user {user}: what is dead stays for now: {error}");
    }
}
