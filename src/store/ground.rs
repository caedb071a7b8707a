//! The ground that a store stands on, or could be made on: told before anything is made there.

use super::format::read_format;
use super::kind::StoreKind;
use super::layout;
use super::{Error, Result, Store};
use crate::disk::{Disk, IfThere, Kind, Listed, Place};
use crate::model::{limits, tame};

/// The use that a directory is in, as far as stores are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Footing {
    /// A file `FORMAT` is there, whatever it says.
    Store,
    /// There is nothing, but for a file system's `lost+found` and what the making of a store leaves that was cut short.
    Vacant,
}

impl Store {
    /// Whether a store of whatever version of this program is there. Costs a look at `FORMAT`.
    pub fn is_at(disk: &dyn Disk) -> bool {
        let found = read_format(disk).ok().flatten();
        found.is_some_and(|found| StoreKind::is_ours(&found))
    }

    /// Tells whether a directory has a store, or room for one. Lists it, and `users/`, `tmp/` and `trash/` in it.
    ///
    /// # Errors
    /// [`Error::NotAStore`] where something else is there, with words about what it looks like.
    pub fn ground(disk: &dyn Disk) -> Result<Footing> {
        if read_format(disk)?.is_some() {
            return Ok(Footing::Store);
        }
        let entries = entries_of(disk, &layout::top())?;
        let others: Vec<Listed> = (entries.into_iter())
            .filter(|entry| !layout::is_of_file_system(&entry.name))
            .collect();
        match in_the_way(disk, &others)? {
            None => Ok(Footing::Vacant),
            Some(what) => Err(Error::NotAStore(format!("there is no store here: {what}"))),
        }
    }
}

/// The names in a directory, sorted, but no more than are worth a look.
fn entries_of(disk: &dyn Disk, directory: &Place) -> Result<Vec<Listed>> {
    let mut entries = Vec::new();
    disk.list(directory, &mut |entry| {
        entries.push(entry);
        entries.len() < limits::GROUND_NAMES
    })?;
    entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// The words for what keeps a store from being made among these; `None` where nothing does.
fn in_the_way(disk: &dyn Disk, entries: &[Listed]) -> Result<Option<String>> {
    let Some(first) = entries.iter().find(|entry| !is_of_a_beginning(entry)) else {
        return left_of_a_beginning(disk, entries);
    };
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    let is_user = |entry: &Listed| layout::parse_user(&entry.name).is_some();
    if entries.iter().any(is_user) {
        return Ok(Some(
            "this looks like users/ of a store, since names in it are users' ids: the data directory is the one above it"
                .to_owned(),
        ));
    }
    let parts = layout::PARTS_OF_USER.iter().filter(|name| has(name));
    if parts.count() > 1 {
        return Ok(Some(
            "this looks like the folder of one user, or a part of it: the data directory is the one that has FORMAT and \
             users/ in it, two above the folder of a user"
                .to_owned(),
        ));
    }
    for entry in entries.iter().filter(|entry| entry.kind == Kind::Directory) {
        let format = layout::format_in(&entry.name);
        if disk
            .meta(&format)
            .if_there()
            .is_ok_and(|there| there.is_some())
        {
            return Ok(Some(format!("a store is one below, in {}", entry.name)));
        }
    }
    let name = tame(&first.name);
    Ok(Some(format!(
        "there are other things in it ({name}, for one), and a store is made in a directory of its own only, which is \
         empty or not there yet"
    )))
}

/// Whether this is a directory that the making of a store begins with.
fn is_of_a_beginning(entry: &Listed) -> bool {
    entry.kind == Kind::Directory && layout::is_begun(&entry.name)
}

/// The words for what is in the directories that the making of a store begins with; `None` where it is nothing.
fn left_of_a_beginning(disk: &dyn Disk, entries: &[Listed]) -> Result<Option<String>> {
    for entry in entries {
        let directory = layout::at_top(&entry.name);
        let inside = entries_of(disk, &directory)?;
        let is_probe = |within: &Listed| layout::is_probe(&directory.join(&within.name));
        if inside.iter().all(is_probe) {
            continue;
        }
        if directory == layout::users() {
            return Ok(Some(format!(
                "there are users but no file FORMAT: if this is a mentat-sync store of format 1 (a copy that was not \
                 finished, say), finish the copy, or make the file with `echo {} > FORMAT`; otherwise name another \
                 directory with --data",
                StoreKind::Server.format().trim_end()
            )));
        }
        return Ok(Some(format!(
            "there is something in {}/ and no file FORMAT, as in a copy of a store that was not finished: finish the \
             copy, or name another directory with --data",
            entry.name
        )));
    }
    Ok(None)
}
