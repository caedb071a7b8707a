//! The file `FORMAT`, which tells a store and the version of its layout; and the directories beside it.

use super::error::{absent_is_fine, taken_is_fine};
use super::kind::StoreKind;
use super::layout;
use super::{Error, Result};
use crate::disk::{self, Disk, Held, IfThere, Mode, Place, Target};
use crate::model::limits;

/// The words for a directory that is no store, and nothing else.
pub(super) const NO_STORE: &str = "there is no store here";

impl StoreKind {
    /// The kind of the store in a directory; `None` where there is no `FORMAT`, or another version's.
    pub fn at(disk: &dyn Disk) -> Option<Self> {
        Self::said(&read_format(disk).ok()??).ok()
    }
}

/// Reads the first 64 bytes of `FORMAT`; `None` where there is no such file.
pub(super) fn read_format(disk: &dyn Disk) -> Result<Option<Vec<u8>>> {
    let Some(file) = disk.open(&layout::format()).if_there()? else {
        return Ok(None);
    };
    let mut buffer = vec![0; 64];
    let read = file.read_at(0, &mut buffer)?;
    buffer.truncate(read);
    Ok(Some(buffer))
}

/// Whether anything stands in `users/`. Costs one look.
pub(super) fn has_users(disk: &dyn Disk) -> Result<bool> {
    let mut found = false;
    let listed = disk.list(&layout::users(), &mut |_| {
        found = true;
        false
    });
    listed.if_there()?;
    Ok(found)
}

/// Makes what the top of a store has beside `users/`.
pub(super) fn make_top(disk: &dyn Disk) -> Result<()> {
    for place in [layout::tmp(), layout::trash()] {
        match disk.make_directory(&place).or_else(taken_is_fine) {
            // A full disk is no reason not to read what is there; the probe makes them once there is room.
            Err(full) if full.is_no_space() => {}
            other => other?,
        }
    }
    Ok(())
}

/// Whether the bytes of a file are to be durable before it has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    Durable,
    Cached,
}

/// Writes a file at the top of the data directory as a temporary one, which `name` gives its own name.
///
/// # Errors
/// Those of the disk; nothing is left of the temporary file then.
pub(crate) fn write_at_top(
    disk: &dyn Disk,
    contents: &[u8],
    bytes: Bytes,
    name: impl FnOnce(&Place) -> disk::Result<()>,
) -> disk::Result<()> {
    let temporary = layout::probe(disk.random());
    let file = disk.create(&temporary)?;
    let written = (file.append(contents))
        .and_then(|()| match bytes {
            Bytes::Durable => disk.sync(&[Target::File(file)]),
            Bytes::Cached => Ok(()),
        })
        .and_then(|()| name(&temporary));
    if written.is_err() {
        disk.remove_file(&temporary).or_else(absent_is_fine)?;
    }
    written
}

/// Writes `FORMAT`, which makes a directory a store: durable then.
pub(super) fn write_format(disk: &dyn Disk, kind: StoreKind) -> Result<()> {
    let contents = kind.format().as_bytes();
    let written = write_at_top(disk, contents, Bytes::Durable, |temporary| {
        disk.rename_new(temporary, &layout::format())
    });
    match written {
        Err(refused) if !refused.is_taken() => Err(refused.into()),
        _ => Ok(disk.sync(&[Target::Directory(layout::top())])?),
    }
}

/// Takes the lock on `FORMAT`, a file that is always there, for changes that concern no single user: a name that nobody
/// else is to have, and the file `serving`. Waits for it [`limits::LOCK_WAIT`] at most.
///
/// # Errors
/// [`Error::Busy`] when the time is up.
pub(super) fn lock_format(disk: &dyn Disk) -> Result<Box<dyn Held>> {
    let until = disk.elapsed() + limits::LOCK_WAIT;
    loop {
        if let Some(held) = disk.try_lock(&layout::format(), Mode::Exclusive)? {
            return Ok(held);
        }
        if disk.elapsed() > until {
            return Err(Error::Busy);
        }
        disk.pause(limits::LOCK_PAUSE.1);
    }
}
