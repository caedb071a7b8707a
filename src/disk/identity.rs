//! The identity of a directory, whatever it is called by now.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::AtFlags;
use sha2::{Digest, Sha256};

use super::look::statx;
use super::{Error, Meta, Place, Real, Result};

/// The marks that tell a directory from every other one, under whatever name, and from those that get its inode
/// once it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DirectoryIdentity {
    device: u64,
    inode: u64,
    /// When it was made, where the file system says so: two that have one inode after each other differ in this.
    born: Option<SystemTime>,
}

impl DirectoryIdentity {
    /// The identity of the directory that the disk says this of.
    pub fn of(meta: &Meta) -> Self {
        Self {
            device: meta.device,
            inode: meta.inode,
            born: meta.born,
        }
    }

    /// A short text that is the same wherever this directory is looked at on this box, and tells nothing else.
    pub fn mark(&self) -> String {
        let born = self
            .born
            .and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
        let told = format!("{} {} {born:?}", self.device, self.inode);
        hex::encode(&Sha256::digest(told)[..8])
    }

    /// When the directory was made; `None` where the file system does not say. Then only whoever has the directory
    /// open knows that its inode is not given to another.
    pub fn born(&self) -> Option<SystemTime> {
        self.born
    }
}

impl Real {
    /// The identity of this directory. Costs a look.
    pub fn identity(&self) -> Result<DirectoryIdentity> {
        let meta = statx(self.as_fd(), Path::new(""), AtFlags::EMPTY_PATH);
        let meta = meta.map_err(|source| Error {
            verb: "look at",
            place: Place::new(""),
            source,
        })?;
        Ok(DirectoryIdentity::of(&meta))
    }

    /// Whether this directory has a name in that one at this moment. One look, which no rename comes between.
    pub fn is_in(&self, directory: &DirectoryIdentity) -> Result<bool> {
        let meta = rustix::fs::fstat(self.as_fd()).map_err(|errno| self.failed(errno))?;
        let above = match rustix::fs::statat(self.as_fd(), "..", AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(false),
            other => other.map_err(|errno| self.failed(errno))?,
        };
        let is_above = (above.st_dev as u64, above.st_ino) == (directory.device, directory.inode);
        // One that was removed keeps its way up.
        Ok(is_above && meta.st_nlink > 0)
    }

    fn failed(&self, errno: rustix::io::Errno) -> Error {
        Error {
            verb: "look at",
            place: Place::new(""),
            source: errno.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Grouping};
    use std::time::Duration;

    #[test]
    fn a_directory_is_the_same_under_another_name_and_another_one_under_the_same() {
        let top = tempfile::tempdir().unwrap();
        let disk = Real::new(top.path(), Grouping::Off).unwrap();
        let [users, trash, one, two] = ["users", "trash", "users/1", "users/2"].map(Place::new);
        for place in [&users, &trash, &one] {
            disk.make_directory(place).unwrap();
        }
        let within = disk.below(&users).unwrap().identity().unwrap();
        let first = disk.below(&one).unwrap();
        let known = first.identity().unwrap();
        assert!(first.is_in(&within).unwrap());
        disk.rename_new(&one, &two).unwrap();
        assert_eq!(disk.below(&two).unwrap().identity().unwrap(), known);
        assert!(first.is_in(&within).unwrap());
        disk.make_directory(&one).unwrap();
        assert_ne!(disk.below(&one).unwrap().identity().unwrap(), known);

        disk.rename_new(&two, &Place::new("trash/2")).unwrap();
        assert!(!first.is_in(&within).unwrap());
        disk.rename_new(&Place::new("trash/2"), &two).unwrap();
        disk.remove_directory(&two).unwrap();
        assert!(!first.is_in(&within).unwrap());
    }

    #[test]
    fn a_directory_that_gets_the_inode_of_another_is_not_taken_for_it() {
        let top = tempfile::tempdir().unwrap();
        let disk = Real::new(top.path(), Grouping::Off).unwrap();
        let place = Place::new("one");
        let mut seen: Vec<DirectoryIdentity> = Vec::new();
        for _ in 0..50 {
            disk.make_directory(&place).unwrap();
            let identity = disk.below(&place).unwrap().identity().unwrap();
            assert!(identity.born().is_none() || !seen.contains(&identity));
            seen.push(identity);
            disk.remove_directory(&place).unwrap();
            // Longer than the clock's tick, as any user's life is.
            std::thread::sleep(Duration::from_millis(5));
        }
        if seen[0].born().is_none() {
            let line =
                "skipped: directories of one inode: the file system does not say when one was made";
            eprintln!("{line}");
            // As in tests/it/kit/skips.rs, which is not to be had from here.
            if let Some(file) = std::env::var_os("MENTAT_SYNC_SKIPPED") {
                let file = std::fs::OpenOptions::new().append(true).open(file);
                std::io::Write::write_all(&mut file.unwrap(), format!("{line}\n").as_bytes())
                    .unwrap();
            }
        }
    }
}
