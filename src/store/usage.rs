//! Usage of a user's folder: counted file by file.

use std::time::SystemTime;

use super::Result;
use super::layout::{self, Area, Dir, Folder, Recognised, Thing};
use crate::disk::{Disk, Kind, Place};

/// Numbers of files and bytes in a user's folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Regular files, but for temporary ones: each once, however many names it has.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Pending transactions.
    pub pending: u64,
    /// When HEAD moved or something was uploaded last, as far as the dates of the files tell.
    pub last_write: Option<SystemTime>,
}

/// Counts files and bytes, and pending transactions. What comes or goes meanwhile may be counted or not.
pub(super) fn count(disk: &dyn Disk, folder: &Folder) -> Result<Usage> {
    let mut usage = Usage::default();
    count_below(disk, folder, folder.place(), Some(Dir::User), &mut usage)?;
    Ok(usage)
}

/// How many bytes are in the files below this directory.
pub(super) fn bytes_below(disk: &dyn Disk, directory: &Place) -> Result<u64> {
    let mut usage = Usage::default();
    let folder = Folder::at(directory.clone());
    count_below(disk, &folder, directory, None, &mut usage)?;
    Ok(usage.bytes)
}

/// Counts what is in a directory, which is this one of the folder, if it is one that the layout knows.
fn count_below(
    disk: &dyn Disk,
    folder: &Folder,
    directory: &Place,
    dir: Option<Dir>,
    usage: &mut Usage,
) -> Result<()> {
    let mut entries = Vec::new();
    let listed = disk.list(directory, &mut |entry| {
        entries.push(entry);
        true
    });
    match listed {
        // The user's own folder must be there; what is below it may go meanwhile.
        Err(absent) if absent.is_absent() && dir != Some(Dir::User) => {}
        other => other?,
    }
    for entry in entries {
        let place = directory.join(&entry.name);
        let known = dir.and_then(|dir| layout::recognise(dir, &entry.name));
        match (entry.kind, known) {
            (Kind::Directory, Some(Recognised::Dir(Dir::Tmp))) => {}
            (Kind::Directory, Some(Recognised::Dir(inner))) => {
                count_below(disk, folder, &place, Some(inner), usage)?;
            }
            (Kind::Directory, _) => count_below(disk, folder, &place, None, usage)?,
            (_, known) => {
                usage.pending += u64::from(dir == Some(Dir::Pending) && known.is_some());
                count_file(disk, folder, &place, known, usage)?;
            }
        }
    }
    Ok(())
}

fn count_file(
    disk: &dyn Disk,
    folder: &Folder,
    place: &Place,
    known: Option<Recognised>,
    usage: &mut Usage,
) -> Result<()> {
    let meta = match disk.meta(place) {
        Err(absent) if absent.is_absent() => return Ok(()),
        other => other?,
    };
    // A leftover of an advance is one file with two names, and counted under the committed one; a chunk of a checkpoint
    // is counted there, or under the committed one too.
    let counted_at = match known {
        _ if meta.links < 2 => [None, None],
        Some(Recognised::Thing(Area::Incoming, thing @ Thing::Chunk(digest))) => [
            Some(folder.thing(Area::Committed, &thing)),
            Some(folder.checkpoint_chunk(&digest)),
        ],
        Some(Recognised::Thing(Area::Incoming, thing)) => {
            [Some(folder.thing(Area::Committed, &thing)), None]
        }
        Some(Recognised::CheckpointChunk(digest)) => {
            [Some(folder.chunk(Area::Committed, &digest)), None]
        }
        _ => [None, None],
    };
    for place in counted_at.into_iter().flatten() {
        match disk.meta(&place) {
            Ok(other) if other.inode == meta.inode => return Ok(()),
            Err(error) if !error.is_absent() => return Err(error.into()),
            _ => {}
        }
    }
    if matches!(known, Some(Recognised::Head | Recognised::Thing(..))) {
        usage.last_write = usage.last_write.max(Some(meta.modified));
    }
    usage.files += 1;
    usage.bytes += meta.bytes;
    Ok(())
}
