//! The directory that a [`Real`](super::Real) disk is rooted in.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::Owner;

/// Makes the directory, mode 0700, and those above it, if it is not there; says whether it was made.
/// Its name, and theirs, are durable then: what is put into a directory is worth no more than its name.
///
/// They belong to this owner, if there is one and root makes them, and else to whoever makes them.
pub fn make_root(path: &Path, owner: Option<Owner>) -> io::Result<bool> {
    match make(path, owner) {
        Ok(()) => {}
        Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {
            // Somebody else may just have made it. Where the directory above cannot be read, it
            // was there before any of us.
            match sync_parent(path) {
                Err(denied) if denied.kind() == io::ErrorKind::PermissionDenied => {}
                other => other?,
            }
            return Ok(false);
        }
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => {
            match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => make_root(parent, owner)?,
                _ => return Err(absent),
            };
            make(path, owner)?;
        }
        Err(other) => return Err(other),
    }
    sync_parent(path)?;
    Ok(true)
}

fn make(path: &Path, owner: Option<Owner>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    match owner.filter(|_| rustix::process::geteuid().is_root()) {
        Some(Owner { user, group }) => std::os::unix::fs::chown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// Removes the directory, which must be empty.
pub fn remove_root(path: &Path) -> io::Result<()> {
    std::fs::remove_dir(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        Some(_) => File::open(".")?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_root_and_those_above_it_are_made_for_their_owner_alone() {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("a/b");
        assert!(make_root(&root, None).unwrap());
        assert!(!make_root(&root, None).unwrap());
        for path in [&root, &above.path().join("a")] {
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o700);
        }
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let above = tempfile::tempdir().unwrap();
        let file = above.path().join("file");
        File::create_new(&file).unwrap();
        assert!(make_root(&file.join("root"), None).is_err());
    }
}
