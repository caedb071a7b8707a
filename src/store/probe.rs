//! Trials of the data directory: of all verbs that the store needs, before anything is promised; and, later, that a
//! file can be written.

use std::sync::atomic::Ordering;

use super::error::taken_is_fine;
use super::layout;
use super::{Error, Result, Store};
use crate::disk::{self, IfThere, Kind, Mode, Place, Target};

impl Store {
    /// Writes a file to the data directory, durably, and takes it away again. Where a probe was put off it is made
    /// now. Looks again at what this process has met that it may not use; where users came or went, all their folders are
    /// looked over aside, for the next one who asks.
    ///
    /// # Errors
    /// [`Error::StoreGone`] where the store is not there any more; [`Error::Denied`]; those of [`Store::probe`].
    pub fn heartbeat(&self) -> Result<()> {
        self.is_there()?;
        self.probe_if_due()?;
        let place = layout::probe(self.disk.random());
        let file = self.disk.create(&place)?;
        let tried = file
            .append(b"heartbeat\n")
            .and_then(|()| self.disk.sync(&[Target::File(file)]));
        let removed = self.disk.remove_file(&place);
        tried.and(removed)?;
        if self.denied.is_look_due(self.disk())?.is_some() {
            // Not in the time of whoever asks: the next one hears of it.
            let store = self.clone();
            std::thread::spawn(move || store.look_over());
        }
        self.denied.check(self.disk())
    }

    /// Takes note of a place that the disk did not let this process use, for [`Store::heartbeat`] to look at it again. Any
    /// other error is none of that.
    pub fn note_denied(&self, error: &Error) {
        self.denied.note(error);
    }

    /// Looks over all users' folders, whether they may be entered and HEAD be read, where `users/` has changed since that
    /// was done last: [`Store::heartbeat`] tells. Costs a listing and a few looks a user, so that it is for a thread of its own.
    pub fn look_over(&self) {
        let looked = self.denied.is_look_due(self.disk()).and_then(|due| {
            if let Some(changed) = due {
                self.denied.looks_over(changed);
                self.denied.look_over(self.disk(), &self.users()?);
            }
            Ok(())
        });
        if let Err(error) = looked {
            log::warn!("the users' folders cannot be looked over: {error}");
            self.note_denied(&error);
        }
    }

    /// Probes as [`Store::probe`] does, but where there is no room to write (nor an inode, nor quota), puts off what
    /// can only be probed by writing, and returns the refusal: a full disk is no reason not to start (DESIGN,
    /// Files). The first upload, advance of HEAD or heartbeat that finds room makes the probe then.
    ///
    /// # Errors
    /// Those of [`Store::probe`], but for want of room.
    pub fn probe_or_put_off(&self) -> Result<Option<Error>> {
        match self.probe() {
            Ok(()) => Ok(None),
            Err(full) if full.is_no_space() => {
                self.probe_is_due.store(true, Ordering::Release);
                Ok(Some(full))
            }
            Err(other) => Err(other),
        }
    }

    /// Makes the probe that was put off, if one was; it stays due where it fails. Costs nothing otherwise.
    ///
    /// # Errors
    /// Those of [`Store::probe`]; where it is for want of room, nothing is known as before.
    pub(super) fn probe_if_due(&self) -> Result<()> {
        if !self.probe_is_due.load(Ordering::Acquire) {
            return Ok(());
        }
        self.probe()?;
        if self.probe_is_due.swap(false, Ordering::AcqRel) {
            log::info!("there is room again, and the data directory can do all that is needed");
        }
        Ok(())
    }

    /// Tries what the store needs of the directory: to write, link, rename a file and a folder without
    /// replacing, lock, sync; and that users can be made, renamed and deleted. Leaves nothing.
    ///
    /// # Errors
    /// What the disk refused, where; [`Error::NotAStore`] where it does something else than it is asked to.
    pub fn probe(&self) -> Result<()> {
        let mut left = Vec::new();
        let tried = self
            .probe_directories()
            .and_then(|()| self.probe_file(&mut left))
            .and_then(|()| self.probe_folder(&mut left));
        let removed: Vec<_> = left.iter().map(|place| self.sweep_top(place)).collect();
        tried?;
        removed.into_iter().collect()
    }

    /// A user's folder is made in `tmp/`, moves to `users/` and, in the end, to `trash/`.
    fn probe_directories(&self) -> Result<()> {
        let device = self.disk.meta(&layout::top())?.device;
        for directory in [layout::users(), layout::tmp(), layout::trash()] {
            // There was no room to make it when the store was opened.
            let meta = match self.disk.meta(&directory).if_there()? {
                Some(meta) => meta,
                None => {
                    self.disk
                        .make_directory(&directory)
                        .or_else(taken_is_fine)?;
                    self.disk.meta(&directory)?
                }
            };
            if meta.kind != Kind::Directory {
                let what = format!("{directory:?} is not a directory");
                return Err(Error::NotAStore(what));
            }
            if meta.device != device {
                return Err(Error::NotAStore(format!(
                    "{directory:?} is on another file system, where nothing can be moved to: a store is \
                     on one, as a whole"
                )));
            }
            self.disk.list(&directory, &mut |_| false)?;
            self.disk.check_changes(&directory)?;
        }
        Ok(())
    }

    fn another(&self, left: &mut Vec<Place>) -> Place {
        let place = layout::probe(self.disk.random());
        left.push(place.clone());
        place
    }

    fn probe_file(&self, left: &mut Vec<Place>) -> Result<()> {
        let [one, two, three] = [(); 3].map(|()| self.another(left));
        let file = self.disk.create(&one)?;
        file.append(b"probe\n")?;
        self.disk.sync(&[Target::File(file)])?;
        self.disk.link(&one, &two)?;
        self.disk.rename_new(&one, &three)?;
        must_be_taken(&two, self.disk.rename_new(&three, &two))?;
        let held = self.disk.try_lock(&two, Mode::Exclusive)?;
        if held.is_none() || self.disk.try_lock(&two, Mode::Exclusive)?.is_some() {
            let what = "a file that is locked there (flock) can be locked again".to_owned();
            return Err(Error::NotAStore(what));
        }
        drop(held);
        Ok((self.disk).sync(&[Target::Directory(layout::tmp())])?)
    }

    fn probe_folder(&self, left: &mut Vec<Place>) -> Result<()> {
        let [one, two] = [(); 2].map(|()| self.another(left));
        self.disk.make_directory(&one)?;
        drop(self.disk.create(&one.join("probe"))?);
        self.disk.sync(&[Target::Directory(one.clone())])?;
        self.disk.rename_new(&one, &two)?;
        self.disk.make_directory(&one)?;
        must_be_taken(&two, self.disk.rename_new(&one, &two))
    }
}

fn must_be_taken(place: &Place, renamed: disk::Result<()>) -> Result<()> {
    match renamed {
        Err(taken) if taken.is_taken() => Ok(()),
        Err(other) => Err(other.into()),
        Ok(()) => Err(Error::NotAStore(format!(
            "a rename there replaces what has the name already ({place:?})"
        ))),
    }
}
