//! What a user's folder holds: counted file by file.

use super::layout::{Area, Dir, Folder, Shelf, parse_transaction, users};
use super::{Result, Store};
use crate::disk::{Disk, IfThere, Kind, Place};
use crate::model::UserId;

/// What a user's folder holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Regular files, but for temporary ones: each once, however many names it has.
    pub files: u64,
    /// What is in them.
    pub bytes: u64,
    /// Pending transactions.
    pub pending: u64,
}

impl Store {
    /// Counts what a user's folder holds. Reads the whole folder.
    pub fn usage(&self, user: &UserId) -> Result<Usage> {
        let folder = Folder::of(user);
        let mut usage = count(&*self.disk, &folder)?;
        usage.pending = self.list_pending(&folder)?.len() as u64;
        Ok(usage)
    }
}

/// Counts files and bytes. What comes or goes meanwhile may be counted or not.
pub(super) fn count(disk: &dyn Disk, folder: &Folder) -> Result<Usage> {
    let mut usage = Usage::default();
    count_below(
        disk,
        folder.place(),
        Some(&folder.dir(Dir::Tmp)),
        &mut usage,
    )?;
    // A leftover of an advance is one file with two names.
    for shelf in [Shelf::Chunks, Shelf::Aliases] {
        for byte in 0..=255 {
            let fan = |area| folder.dir(Dir::Fan(shelf(area), byte));
            let committed = |name: &str| Some(fan(Area::Committed).join(name));
            uncount_leftovers(disk, &fan(Area::Incoming), committed, &mut usage)?;
        }
    }
    let committed = |name: &str| Some(folder.transaction(parse_transaction(name)?));
    uncount_leftovers(disk, &folder.dir(Dir::Pending), committed, &mut usage)?;
    Ok(usage)
}

/// How many bytes are in the files below this directory.
pub(super) fn bytes_below(disk: &dyn Disk, directory: &Place) -> Result<u64> {
    let mut usage = Usage::default();
    count_below(disk, directory, None, &mut usage)?;
    Ok(usage.bytes)
}

/// Counts files and bytes, but not in the directory of temporary ones.
fn count_below(
    disk: &dyn Disk,
    directory: &Place,
    temporary: Option<&Place>,
    usage: &mut Usage,
) -> Result<()> {
    let mut entries = Vec::new();
    let listed = disk.list(directory, &mut |entry| {
        entries.push(entry);
        true
    });
    match listed {
        // The user's own folder must be there; what is below it may go meanwhile.
        Err(absent) if absent.is_absent() && directory.parent() != users() => {}
        other => other?,
    }
    for entry in entries {
        let place = directory.join(&entry.name);
        match entry.kind {
            Kind::Directory if Some(&place) == temporary => {}
            Kind::Directory => count_below(disk, &place, temporary, usage)?,
            _ => match disk.meta(&place) {
                Ok(meta) => {
                    usage.files += 1;
                    usage.bytes += meta.bytes;
                }
                Err(absent) if absent.is_absent() => {}
                Err(other) => return Err(other.into()),
            },
        }
    }
    Ok(())
}

fn uncount_leftovers(
    disk: &dyn Disk,
    incoming: &Place,
    committed: impl Fn(&str) -> Option<Place>,
    usage: &mut Usage,
) -> Result<()> {
    let mut names = Vec::new();
    let listed = disk.list(incoming, &mut |entry| {
        names.push(entry.name);
        true
    });
    match listed {
        Err(absent) if absent.is_absent() => return Ok(()),
        other => other?,
    }
    for name in names {
        if let Some(place) = committed(&name)
            && let Some(meta) = disk.meta(&place).if_there()?
        {
            usage.files = usage.files.saturating_sub(1);
            usage.bytes = usage.bytes.saturating_sub(meta.bytes);
        }
    }
    Ok(())
}
