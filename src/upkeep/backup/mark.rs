//! The mark of the last good copy.

use crate::disk::{Disk, IfThere, Result, Target};
use crate::store::layout;

/// Writes the time into `last-copy` of DATA, one line, in place of the one before: whole and durable, or not at all.
///
/// # Errors
/// The data directory cannot be written to; it is as it was.
pub fn mark(data: &dyn Disk, line: &str) -> Result<()> {
    let temporary = layout::probe(data.random());
    if data.meta(&layout::tmp()).if_there()?.is_none() {
        // A store that nobody has served yet.
        data.make_directory(&layout::tmp())?;
    }
    let file = data.create(&temporary)?;
    let written = file
        .append(line.as_bytes())
        .and_then(|()| data.sync(&[Target::File(file)]))
        .and_then(|()| data.rename_over(&temporary, &layout::last_copy()));
    if let Err(refused) = written {
        // Best effort: a temporary file goes after a day.
        let _ = data.remove_file(&temporary);
        return Err(refused);
    }
    data.sync(&[Target::Directory(layout::top())])
}
