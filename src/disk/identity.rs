//! Which directory it is, whatever it is called by now.

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, StatxFlags};

use super::{Error, Place, Real, Result};

/// What tells a directory from every other one, under whatever name, and from those that get its inode once it
/// is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
    /// When it was made, where the file system says so: two that have one inode after each other differ in this.
    born: Option<SystemTime>,
}

impl Identity {
    /// When the directory was made; `None` where the file system does not say. Then only whoever has the directory
    /// open knows that its inode is not given to another.
    pub fn born(&self) -> Option<SystemTime> {
        self.born
    }
}

impl Real {
    /// The identity of this directory. Costs two looks.
    pub fn identity(&self) -> Result<Identity> {
        let meta = rustix::fs::fstat(self.as_fd()).map_err(|errno| self.failed(errno))?;
        let wanted = StatxFlags::BTIME;
        // A kernel (or a sandbox) that does not know the call does not say when either.
        let born = rustix::fs::statx(self.as_fd(), "", AtFlags::EMPTY_PATH, wanted)
            .ok()
            .filter(|meta| meta.stx_mask & wanted.bits() != 0)
            .and_then(|meta| u64::try_from(meta.stx_btime.tv_sec).ok().zip(Some(meta)))
            .map(|(seconds, meta)| UNIX_EPOCH + Duration::new(seconds, meta.stx_btime.tv_nsec));
        Ok(Identity {
            device: meta.st_dev as u64,
            inode: meta.st_ino,
            born,
        })
    }

    /// Whether this directory has a name in that one at this moment. One look, which no rename comes between.
    pub fn is_in(&self, directory: &Identity) -> Result<bool> {
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
        let mut seen: Vec<Identity> = Vec::new();
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
            println!("SKIPPED: the file system does not say when a directory was made");
        }
    }
}
