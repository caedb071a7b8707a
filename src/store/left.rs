//! Temporary files and folders, at the top and of each user, that whoever made them has left behind: told from
//! their dates, as far as these can be believed.

use std::time::SystemTime;

use super::items::{Item, Swept};
use super::layout::{self, Dir};
use super::usage::bytes_below;
use super::{Result, Store, User};
use crate::disk::{IfThere, Kind, Place};
use crate::model::limits;
use crate::rules::dates::Dates;

impl User {
    /// The temporary files of a user, and the folders of pushed bundles, that whoever made them has left
    /// behind, with their lengths.
    pub fn left_behind(&self, dates: &Dates) -> Result<Vec<(Item, u64)>> {
        let dir = self.folder.dir(Dir::Tmp);
        let mut left = Vec::new();
        for kind in [Kind::File, Kind::Directory] {
            for name in self.store.names(&dir, kind)? {
                let place = dir.join(&name);
                if self.store.is_left_behind(&place, dates)? {
                    let bytes = match kind {
                        Kind::Directory => bytes_below(&*self.store.disk, &place)?,
                        _ => self
                            .store
                            .meta_if_there(&place)?
                            .map_or(0, |meta| meta.bytes),
                    };
                    left.push((Item::Temporary(name), bytes));
                }
            }
        }
        left.sort_unstable();
        Ok(left)
    }

    /// Removes a temporary file, or a folder, that was left behind.
    pub fn sweep_temporary(&self, item: &Item, dates: &Dates) -> Result<Swept> {
        let place = self.place_of(item);
        if !self.store.is_left_behind(&place, dates)? {
            return Ok(Swept::Fresher);
        }
        match self.store.meta_if_there(&place)? {
            Some(meta) if meta.kind == Kind::Directory => {
                self.store.remove_tree(&place).map(|()| Swept::Gone)
            }
            _ => self.store.sweep(&place),
        }
    }

    /// Takes away what killed processes left behind more than a day ago, of this user and at the top: for a device, whose store
    /// no `gc` visits. Best effort; costs a look at three directories.
    pub fn clear_left_behind(&self) {
        if let Err(error) = self.try_clear_left_behind() {
            log::warn!("a leftover stays: {error}");
        }
    }

    fn try_clear_left_behind(&self) -> Result<()> {
        self.store.clear_top()?;
        let dates = Dates::default();
        self.redate_temporaries(&dates)?;
        for (item, _) in self.left_behind(&dates)? {
            self.sweep_temporary(&item, &dates)?;
        }
        Ok(())
    }

    /// Makes young what is temporary and has a date that cannot be right: somebody may be at it.
    pub fn redate_temporaries(&self, dates: &Dates) -> Result<()> {
        let dir = self.folder.dir(Dir::Tmp);
        for kind in [Kind::File, Kind::Directory] {
            for place in (self.store.names(&dir, kind)?.iter()).map(|name| dir.join(name)) {
                if self.store.age_of_temporary(&place, dates)? == Age::Misdated {
                    self.store.redate_temporary(&place)?;
                }
            }
        }
        Ok(())
    }
}

impl Store {
    /// Takes away what crashes left at the top: deleted users, and folders that were being made more
    /// than a day ago.
    pub fn clear_top(&self) -> Result<()> {
        if let Err(error) = self.redate_top() {
            log::warn!("something at the top keeps a date that cannot be right: {error}");
        }
        for left in self.left_at_top() {
            if let Err(error) = left.and_then(|place| self.sweep_top(&place)) {
                log::warn!("a leftover stays: {error}");
            }
        }
        Ok(())
    }

    /// The places that [`Store::clear_top`] would take away; an error for each of which that cannot be seen.
    pub fn left_at_top(&self) -> Vec<Result<Place>> {
        let all = self.at_top().into_iter();
        let left = all.filter_map(|aged| match aged {
            Ok((place, age)) => (age == Age::Left).then_some(Ok(place)),
            Err(error) => Some(Err(error)),
        });
        left.collect()
    }

    /// Makes young what stands at the top with a date that cannot be right, so that it goes a day from now.
    ///
    /// # Errors
    /// The first of those that there were; all others are young.
    pub fn redate_top(&self) -> Result<()> {
        let mut outcome = Ok(());
        for (place, age) in self.at_top().into_iter().flatten() {
            if age == Age::Misdated {
                outcome = outcome.and(self.redate_temporary(&place));
            }
        }
        outcome
    }

    /// The places in `trash/` and `tmp/`, each with how old it is; an error for each that cannot be seen.
    fn at_top(&self) -> Vec<Result<(Place, Age)>> {
        let mut places = Vec::new();
        for directory in [layout::trash(), layout::tmp()] {
            let mut names = Vec::new();
            let listed = self.disk.list(&directory, &mut |entry| {
                names.push(entry.name);
                true
            });
            if let Err(error) = listed.if_there() {
                places.push(Err(error.into()));
            }
            names.sort_unstable();
            let is_trash = directory == layout::trash();
            for place in names.iter().map(|name| directory.join(name)) {
                let age = match is_trash {
                    true => Ok(Age::Left),
                    false => self.age_of_temporary(&place, &Dates::default()),
                };
                places.push(age.map(|age| (place, age)));
            }
        }
        places
    }

    /// Takes away one of them, and all below it.
    pub fn sweep_top(&self, place: &Place) -> Result<()> {
        match self.disk.meta(place).if_there()? {
            Some(meta) if meta.kind == Kind::Directory => self.remove_tree(place),
            Some(_) => {
                self.disk.remove_file(place).if_there()?;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether a temporary thing is so old that whoever made it is gone; of a folder, when the last name
    /// came into it or into a directory in it. What is not there is not left behind.
    pub(crate) fn is_left_behind(&self, place: &Place, dates: &Dates) -> Result<bool> {
        Ok(self.age_of_temporary(place, dates)? == Age::Left)
    }

    /// How old a temporary thing is, as far as its date can be believed.
    fn age_of_temporary(&self, place: &Place, dates: &Dates) -> Result<Age> {
        let now = self.disk.now();
        let is_fresh = |time: SystemTime| {
            let age = now.duration_since(time);
            !dates.are_not_temporary(time) && age.is_ok_and(|age| age <= limits::TEMPORARY)
        };
        Ok(match self.newest(place, &is_fresh)? {
            None => Age::Fresh,
            Some(time) if dates.are_not_temporary(time) => Age::Misdated,
            Some(time) if is_fresh(time) || time > now => Age::Fresh,
            Some(_) => Age::Left,
        })
    }

    /// The date of a thing or, if that is a later one, of a directory in it; the first that is fresh will do.
    /// `None` where it is not there.
    fn newest(
        &self,
        place: &Place,
        is_fresh: &dyn Fn(SystemTime) -> bool,
    ) -> Result<Option<SystemTime>> {
        let Some(meta) = self.disk.meta(place).if_there()? else {
            return Ok(None);
        };
        let mut newest = meta.modified;
        if meta.kind == Kind::Directory && !is_fresh(newest) {
            for name in self.names(place, Kind::Directory)? {
                newest = match self.newest(&place.join(&name), is_fresh)? {
                    Some(time) => newest.max(time),
                    None => newest,
                };
                if is_fresh(newest) {
                    break;
                }
            }
        }
        Ok(Some(newest))
    }

    /// Makes a temporary thing with a date that cannot be right as old as if it had just been made.
    fn redate_temporary(&self, place: &Place) -> Result<()> {
        match self.disk.meta(place).if_there()? {
            Some(meta) if meta.kind == Kind::Directory => {
                // A name that comes and goes dates it.
                let name = place.join(layout::probe(self.disk.random()).name());
                drop(self.disk.create(&name)?);
                Ok(self.disk.remove_file(&name)?)
            }
            Some(_) => Ok(self.disk.open_to_write(place)?.touch(self.disk.now())?),
            None => Ok(()),
        }
    }
}

/// How old a temporary thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// The thing may be in use.
    Fresh,
    /// The process that made the thing is gone.
    Left,
    /// The age cannot be told from the date, which is wrong.
    Misdated,
}
