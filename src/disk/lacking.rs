//! Stand-ins for system calls that a file system does not have.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::{Disk, Error, IfThere, Kind, Listed, Place, Result, Target};

/// Syncs what is below a directory one by one, and then the directory. What went since it was listed
/// needs no sync: whoever took it away sees to that. Nor does what may not be read: nothing is told of it.
pub fn sync_walking(disk: &dyn Disk, directory: &Place) -> Result<()> {
    let mut inner = Vec::new();
    let listed = disk.list(directory, &mut |entry| {
        inner.push(entry);
        true
    });
    listed?;
    for Listed { name, kind } in inner {
        let place = directory.join(name);
        match kind {
            Kind::Directory => sync_walking(disk, &place).or_else(unless_dark)?,
            Kind::File => match disk.open(&place).if_there() {
                Ok(Some(file)) => disk.sync(&[Target::File(file)])?,
                Ok(None) => {}
                Err(error) => unless_dark(error)?,
            },
            Kind::Other => {}
        }
    }
    disk.sync(&[Target::Directory(directory.clone())])
}

/// Passes an error on, unless something is gone or is not for us to read.
fn unless_dark(error: Error) -> Result<()> {
    if error.kind() == io::ErrorKind::PermissionDenied {
        log::warn!("not synced, and not answered about: {error}");
        return Ok(());
    }
    match error.is_absent() {
        true => Ok(()),
        false => Err(error),
    }
}

/// A rename that replaces nothing, where the system has none. A file gets its second name, which link(2)
/// gives to nobody who has one, and then loses the first. A directory is renamed plainly, which takes the
/// place of an empty directory at most: of no file, and of nothing that anybody has put anything into.
pub fn rename_new(
    source: &OwnedFd,
    old: &str,
    target: &OwnedFd,
    new: &str,
) -> rustix::io::Result<()> {
    let look = |directory, name| rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    let kind = FileType::from_raw_mode(look(source, old)?.st_mode);
    if kind != FileType::Directory {
        rustix::fs::linkat(source, old, target, new, AtFlags::empty())?;
        return rustix::fs::unlinkat(source, old, AtFlags::empty());
    }
    match look(target, new) {
        Err(Errno::NOENT) => match rustix::fs::renameat(source, old, target, new) {
            // Somebody was quicker, with a file.
            Err(Errno::NOTDIR) => Err(Errno::EXIST),
            other => other,
        },
        Ok(_) => Err(Errno::EXIST),
        Err(other) => Err(other),
    }
}
