//! How a data directory is opened: to be served, or to be examined as it stands.

use std::sync::Arc;

use super::format::{check_format, format_trouble, read_format};
use super::layout;
use super::met::Opened;
#[cfg(feature = "mistakes")]
use super::mistake::Mistake;
use super::mistake::Mistakes;
use super::{Error, Options, Result, Store};
use crate::disk::Disk;
use crate::model::UserId;

impl Store {
    /// Opens the data directory, making it a store if there is nothing in it yet.
    ///
    /// Makes everything that is there durable, so that what an earlier process left, or a person
    /// restored, is as good as if this one had written it. Costs nothing that grows with the store.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where `FORMAT` is unknown, or missing beside users.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self> {
        Self::new(disk, options, Mistakes::of_environment())
    }

    /// Opens a store that breaks one rule, for a test that must notice.
    #[cfg(feature = "mistakes")]
    pub fn open_with_mistake(
        disk: Arc<dyn Disk>,
        options: Options,
        mistake: Mistake,
    ) -> Result<Self> {
        let one = Some(mistake);
        Self::new(disk, options, Mistakes { one })
    }

    fn new(disk: Arc<dyn Disk>, options: Options, mistakes: Mistakes) -> Result<Self> {
        check_format(&*disk)?;
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
        let (options, opened) = (Options::default(), Opened::default());
        Self::over(disk, options, mistakes, opened, drop_dead)
    }

    /// The directory as it stands, where there is a store of this format.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where there is none.
    pub(crate) fn to_read(disk: Arc<dyn Disk>) -> Result<Self> {
        match read_format(&*disk)? {
            Some(found) => match format_trouble(&found) {
                None => Ok(Self::examine(disk)),
                Some(trouble) => Err(Error::NotAStore(trouble)),
            },
            None => Err(Error::NotAStore("there is no store here".to_owned())),
        }
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
