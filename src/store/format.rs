//! The file `FORMAT`, which tells a store and the version of its layout; and the directories beside it.

use super::Result;
use super::error::{absent_is_fine, taken_is_fine};
use super::layout;
use crate::disk::{Disk, IfThere, Target};

/// The contents of the file `FORMAT`.
pub(crate) const FORMAT: &str = "mentat-sync 1\n";

/// The words for a directory that is no store, and nothing else.
pub(super) const NO_STORE: &str = "there is no store here";

/// Returns the fault of a file `FORMAT` with these contents; `None` where it is as it should be.
pub(crate) fn format_trouble(found: &[u8]) -> Option<String> {
    if found == FORMAT.as_bytes() {
        return None;
    }
    let ours = FORMAT.trim_end();
    let said = String::from_utf8_lossy(found);
    if said.trim_end().trim_start_matches('\u{feff}') == ours {
        return Some(format!(
            "FORMAT says {said:?} where it should say {FORMAT:?}, with one newline and nothing else \
             after it: an editor may have written it; `echo {ours} > FORMAT` mends it"
        ));
    }
    Some(format!(
        "FORMAT says {said:?}, and this program reads {FORMAT:?} only: use the version of mentat-sync \
         that wrote it, or name another directory with --data"
    ))
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

/// Writes `FORMAT`, which makes a directory a store: durable then.
pub(super) fn write_format(disk: &dyn Disk) -> Result<()> {
    let place = &layout::format();
    let temporary = layout::probe(disk.random());
    let file = disk.create(&temporary)?;
    let written = (file.append(FORMAT.as_bytes()))
        .and_then(|()| disk.sync(&[Target::File(file)]))
        .and_then(|()| disk.rename_new(&temporary, place));
    if let Err(refused) = written {
        disk.remove_file(&temporary).or_else(absent_is_fine)?;
        if !refused.is_taken() {
            return Err(refused.into());
        }
    }
    Ok(disk.sync(&[Target::Directory(layout::top())])?)
}
