//! A lock on a file: an advisory one of the system (`flock`), which other processes see too.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Shared,
    Exclusive,
}

/// A lock on a file, given back when this is dropped.
pub trait Held: Send + Sync {
    /// The file that is locked, to be compared with the one under its name.
    fn inode(&self) -> u64;
}

/// A file that is locked until this is dropped.
pub struct RealLock {
    file: File,
    inode: u64,
}

impl Held for RealLock {
    fn inode(&self) -> u64 {
        self.inode
    }
}

impl Drop for RealLock {
    fn drop(&mut self) {
        // Closing would do; a forked child that still has the descriptor must not keep the lock.
        let _ = fs2::FileExt::unlock(&self.file);
    }
}

impl RealLock {
    /// Tries to lock an open file; `None` when somebody else holds it in the way.
    pub fn try_on(file: File, mode: Mode) -> io::Result<Option<Self>> {
        let inode = file.metadata()?.ino();
        let tried = match mode {
            Mode::Shared => fs2::FileExt::try_lock_shared(&file),
            Mode::Exclusive => fs2::FileExt::try_lock_exclusive(&file),
        };
        match tried {
            Ok(()) => Ok(Some(Self { file, inode })),
            Err(held) if held.kind() == fs2::lock_contended_error().kind() => Ok(None),
            Err(other) => Err(other),
        }
    }
}
