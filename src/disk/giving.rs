//! The giving away of what is made: all of it belongs to the owner of the data directory, or is not made.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// The owner of a file or directory: a user and a group of the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub user: u32,
    pub group: u32,
}

/// Whether what this process makes belongs to this owner by itself.
pub(super) fn is_ours(owner: Owner) -> bool {
    owner.user == rustix::process::geteuid().as_raw()
}

/// Gives a file or directory away. Where the file system says whose everything is, that is who it says.
pub(super) fn give(file: &File, owner: Owner) -> io::Result<()> {
    std::os::unix::fs::fchown(file, Some(owner.user), Some(owner.group)).or_else(|refused| {
        let meta = file.metadata()?;
        if rustix::process::geteuid().is_root() {
            return match (meta.uid(), meta.gid()) == (owner.user, owner.group) {
                true => Ok(()),
                false => Err(refused),
            };
        }
        match meta.uid() == owner.user {
            true => Ok(()),
            false => Err(not_theirs(owner)),
        }
    })
}

/// The error of whoever would make what the owner of the directory cannot use.
fn not_theirs(owner: Owner) -> io::Error {
    let user = owner.user;
    let words = format!(
        "what this process makes would not belong to uid {user}, whose the data directory is, so that it makes nothing: run it \
         as that user, or as root, or let it make a data directory of its own"
    );
    io::Error::new(io::ErrorKind::PermissionDenied, words)
}

/// Whether what this process makes can belong to this owner.
///
/// # Errors
/// The words for it, where it cannot.
pub fn can_make_for(owner: Owner) -> io::Result<()> {
    let us = rustix::process::geteuid();
    match us.is_root() || us.as_raw() == owner.user {
        true => Ok(()),
        false => Err(not_theirs(owner)),
    }
}
