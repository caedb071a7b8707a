//! A look at a file or directory: the answer of the system becomes a [`Meta`].

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, StatxFlags, StatxTimestamp};
use rustix::io::Errno;

use super::{Kind, Meta, Owner};

/// The answer of the standard library.
pub fn from_std(meta: &std::fs::Metadata) -> Meta {
    let kind = if meta.is_file() {
        Kind::File
    } else if meta.is_dir() {
        Kind::Directory
    } else {
        Kind::Other
    };
    Meta {
        kind,
        bytes: meta.len(),
        inode: meta.ino(),
        device: meta.dev(),
        links: meta.nlink(),
        modified: since_epoch(meta.mtime(), meta.mtime_nsec()),
        changed: since_epoch(meta.ctime(), meta.ctime_nsec()),
        born: meta.created().ok(),
        mode: meta.mode() & 0o7777,
        owner: Owner {
            user: meta.uid(),
            group: meta.gid(),
        },
    }
}

/// Looks at a path; also when it was made, which the standard library tells with some C libraries only.
pub fn statx(at: BorrowedFd<'_>, path: &Path, flags: AtFlags) -> io::Result<Meta> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let found = match rustix::fs::statx(at, path, flags, wanted) {
        // A kernel, or a sandbox, without it.
        Err(Errno::NOSYS | Errno::PERM) => {
            return Ok(from_stat(&rustix::fs::statat(at, path, flags)?));
        }
        other => other?,
    };
    let time = |stamp: StatxTimestamp| since_epoch(stamp.tv_sec, stamp.tv_nsec.into());
    let born = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    Ok(Meta {
        kind: kind_of(FileType::from_raw_mode(found.stx_mode.into())),
        bytes: found.stx_size,
        inode: found.stx_ino,
        device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
        links: found.stx_nlink.into(),
        modified: time(found.stx_mtime),
        changed: time(found.stx_ctime),
        born: born.then(|| time(found.stx_btime)),
        mode: u32::from(found.stx_mode) & 0o7777,
        owner: Owner {
            user: found.stx_uid,
            group: found.stx_gid,
        },
    })
}

fn from_stat(found: &rustix::fs::Stat) -> Meta {
    Meta {
        kind: kind_of(FileType::from_raw_mode(found.st_mode)),
        bytes: u64::try_from(found.st_size).unwrap_or(0),
        inode: found.st_ino,
        device: found.st_dev,
        links: found.st_nlink,
        modified: since_epoch(found.st_mtime, found.st_mtime_nsec as i64),
        changed: since_epoch(found.st_ctime, found.st_ctime_nsec as i64),
        born: None,
        mode: found.st_mode & 0o7777,
        owner: Owner {
            user: found.st_uid,
            group: found.st_gid,
        },
    }
}

fn kind_of(found: FileType) -> Kind {
    match found {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        _ => Kind::Other,
    }
}

fn since_epoch(seconds: i64, nanoseconds: i64) -> SystemTime {
    let nanoseconds = Duration::from_nanos(nanoseconds.unsigned_abs());
    let whole = Duration::from_secs(seconds.unsigned_abs());
    if seconds >= 0 {
        UNIX_EPOCH + whole + nanoseconds
    } else {
        UNIX_EPOCH - whole + nanoseconds
    }
}
