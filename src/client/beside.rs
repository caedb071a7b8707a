//! The small files that a device has beside its store: each is replaced as a whole, and durable then.

use crate::disk::{Disk, IfThere, Place, Result, Target};
use crate::store::layout::{DeviceFile, beside_store, top};

/// The first bytes of a file, `most` of them; `None` where it is not there.
///
/// # Errors
/// Those of the disk.
pub fn read(disk: &dyn Disk, file: DeviceFile, most: usize) -> Result<Option<Vec<u8>>> {
    let Some(handle) = disk.open(&beside_store(file)).if_there()? else {
        return Ok(None);
    };
    let length = handle.meta()?.bytes.min(most as u64);
    let mut bytes = vec![0; length as usize];
    let read = handle.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Writes a file in place of the one that is there: durable when this returns.
///
/// # Errors
/// Those of the disk: nothing but the file that was there is left then, or, where the last sync failed, either.
pub fn replace(disk: &dyn Disk, file: DeviceFile, bytes: &[u8]) -> Result<()> {
    let place = beside_store(file);
    let aside = top().join(format_args!("{}.{:016x}", place.name(), disk.random()));
    write(disk, &aside, &place, bytes)
}

/// Writes a file aside, and puts it in place of the one that is there: durable when this returns.
///
/// # Errors
/// As [`replace`].
pub fn write(disk: &dyn Disk, aside: &Place, place: &Place, bytes: &[u8]) -> Result<()> {
    let written = disk.create(aside).and_then(|handle| {
        handle.append(bytes)?;
        disk.sync(&[Target::File(handle)])?;
        disk.rename_over(aside, place)
    });
    if let Err(error) = written {
        // The disk may be full: what was begun goes, if it can.
        let _ = disk.remove_file(aside);
        return Err(error);
    }
    disk.sync(&[Target::Directory(place.parent())])
}

/// Takes a file away, durably, if it is there.
///
/// # Errors
/// Those of the disk.
pub fn remove(disk: &dyn Disk, file: DeviceFile) -> Result<()> {
    if disk.remove_file(&beside_store(file)).if_there()?.is_some() {
        disk.sync(&[Target::Directory(top())])?;
    }
    Ok(())
}
