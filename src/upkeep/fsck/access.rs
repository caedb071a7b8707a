//! Whether the server, which runs as the owner of the data directory, can get at a file.

use super::finding::{Kind, Severity};
use crate::disk::{self, Meta, Owner};

/// Bits of the mode that the server needs of a file that it has no use for.
pub(super) const NONE: u32 = 0;
/// Bits of the mode that the server needs of a file that it reads.
pub(super) const READ: u32 = 0o400;
/// Bits that it needs of a file that it also writes.
pub(super) const READ_WRITE: u32 = 0o600;
/// Bits that it needs of a directory.
pub(super) const ENTER: u32 = 0o700;

/// Whether the owner of the data directory may not read or write this, since it is somebody else's. What its
/// own owner may not do is a matter of modes.
pub fn is_foreign(meta: &Meta, owner: Owner) -> bool {
    const ROOT: u32 = 0;
    if owner.user == ROOT || meta.owner.user == owner.user {
        return false;
    }
    let bits = match meta.owner.group == owner.group {
        true => meta.mode >> 3,
        false => meta.mode,
    };
    let needs = match meta.kind {
        disk::Kind::Directory => 0o7,
        disk::Kind::File => 0o6,
        // Nothing that a store has: reported as what it is.
        disk::Kind::Other => return false,
    };
    bits & needs != needs
}

/// The kind and severity of a look that failed.
pub(super) fn unread(error: &disk::Error) -> (Kind, Severity) {
    match lets_nobody_look(error) {
        true => (Kind::Unchecked, Severity::Unchecked),
        false => (Kind::Unreadable, Severity::Damage),
    }
}

/// Whether the disk did not even try: nothing is known of the file.
fn lets_nobody_look(error: &disk::Error) -> bool {
    use rustix::io::Errno;
    let ours = [
        Errno::ACCESS,
        Errno::PERM,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
    ];
    let number = error.source.raw_os_error();
    ours.iter()
        .any(|errno| number == Some(errno.raw_os_error()))
}
