//! What the operator does to whole users, and to the data directory as a whole.

use super::layout::{self, Folder};
use super::lock::UserLock;
use super::meet::{Met, Opened};
use super::mistake::{Mistake, Mistakes};
use super::quota::Tallies;
use super::user::{Users, taken_is_fine};
use super::vouch::Files;
use super::{Error, Options, Result, Store};
use crate::disk::{Disk, IfThere, Place, Target};
use crate::model::UserId;
use std::sync::Arc;

/// What the file `FORMAT` says.
pub(crate) const FORMAT: &str = "mentat-sync 1\n";

/// What is wrong with a file `FORMAT` that says this; nothing where it is as it should be.
pub(crate) fn format_trouble(found: &[u8]) -> Option<String> {
    if found == FORMAT.as_bytes() {
        return None;
    }
    let ours = FORMAT.trim_end();
    let said = String::from_utf8_lossy(found);
    if said.trim_end().trim_start_matches('\u{feff}') == ours {
        return Some(format!(
            "FORMAT says {said:?} where it should say {FORMAT:?}, with one newline and nothing else \
             after it: an editor may have written it; `echo {ours} > FORMAT` mends it"
        ));
    }
    Some(format!(
        "FORMAT says {said:?}, and this program reads {FORMAT:?} only: use the version of mentat-sync \
         that wrote it, or name another directory with --data"
    ))
}

/// What became of a rename of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameUser {
    Renamed,
    /// There is no folder of the old id.
    NoSuchUser,
    /// There is a folder of the new id already.
    Taken,
}

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

    /// A store that breaks one rule, for a test that must notice.
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
        let mut store = Self {
            disk,
            options,
            mistakes,
            users: Users::default(),
            vouched: Files::default(),
            met: Met::default(),
            opened: Opened::default(),
            tallies: Tallies::default(),
            walks: Default::default(),
        };
        store.check_format()?;
        let (top, users) = (
            store.disk.meta(&layout::top())?,
            store.disk.meta(&layout::users())?,
        );
        let syncs_everything = store.disk.syncs_everything();
        store.opened = Opened::new(&top, &users, store.disk.now(), syncs_everything);
        store.disk.sync_everything()?;
        Ok(store)
    }

    fn check_format(&self) -> Result<()> {
        let place = layout::format();
        match self.read_format()? {
            Some(found) => match format_trouble(&found) {
                None => self.make_top(),
                Some(trouble) => Err(Error::NotAStore(trouble)),
            },
            None => {
                if self.has_users()? {
                    return Err(Error::NotAStore(format!(
                        "there are users but no file FORMAT: if this is a mentat-sync store of \
                         format 1 (a copy that was not finished, say), finish the copy, or make \
                         the file with `echo {} > FORMAT`; otherwise name another directory with \
                         --data",
                        FORMAT.trim_end(),
                    )));
                }
                self.make_top()?;
                self.write_format(&place)
            }
        }
    }

    pub(crate) fn has_users(&self) -> Result<bool> {
        let mut found = false;
        let listed = self.disk.list(&layout::users(), &mut |_| {
            found = true;
            false
        });
        listed.if_there()?;
        Ok(found)
    }

    fn make_top(&self) -> Result<()> {
        for place in [layout::users(), layout::tmp(), layout::trash()] {
            self.disk.make_directory(&place).or_else(taken_is_fine)?;
        }
        Ok(())
    }

    fn write_format(&self, place: &Place) -> Result<()> {
        let temporary = layout::probe(self.disk.random());
        let file = self.disk.create(&temporary)?;
        file.append(FORMAT.as_bytes())?;
        self.disk.sync(&[Target::File(file)])?;
        match self.disk.rename_new(&temporary, place) {
            Err(taken) if taken.is_taken() => self.disk.remove_file(&temporary)?,
            other => other?,
        }
        Ok(self.disk.sync(&[Target::Directory(layout::top())])?)
    }

    /// Writes a file to the data directory, durably, and takes it away again.
    ///
    /// # Errors
    /// [`Error::StoreGone`] where the store is not there any more.
    pub fn heartbeat(&self) -> Result<()> {
        self.is_there()?;
        let place = layout::probe(self.disk.random());
        let file = self.disk.create(&place)?;
        let tried = file
            .append(b"heartbeat\n")
            .and_then(|()| self.disk.sync(&[Target::File(file)]));
        let removed = self.disk.remove_file(&place);
        Ok(tried.and(removed)?)
    }

    /// Removes the user of this lock, which must be the exclusive one, and all that is theirs: out of sight
    /// at once and durably, then file by file.
    pub fn delete_user(&self, lock: UserLock) -> Result<()> {
        let place = layout::aside(&layout::trash(), lock.user(), self.disk.random());
        self.disk.rename_new(lock.folder.place(), &place)?;
        if !self.mistakes.made(Mistake::NoDeleteSync) {
            let directories = [layout::users(), layout::trash()].map(Target::Directory);
            self.disk.sync(&directories)?;
        }
        lock.state.known().forget();
        self.forget_tally(lock.user());
        drop(lock);
        if let Err(error) = self.remove_tree(&place) {
            log::warn!("a deleted user's files go at the next start or gc: {error}");
        }
        Ok(())
    }

    /// Gives a user's folder another id: a new secret for the same store. Needs the exclusive lock of
    /// the old one.
    pub fn rename_user(&self, lock: UserLock, to: &UserId) -> Result<RenameUser> {
        let new = Folder::of(to);
        match self.disk.rename_new(lock.folder.place(), new.place()) {
            Err(taken) if taken.is_taken() => return Ok(RenameUser::Taken),
            other => other?,
        }
        lock.state.known().forget();
        self.forget_tally(lock.user());
        self.forget_tally(to);
        (self.disk).sync(&[Target::Directory(layout::users())])?;
        Ok(RenameUser::Renamed)
    }
}
