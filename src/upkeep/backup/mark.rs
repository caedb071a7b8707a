//! The mark of the last good copy.

use crate::disk::{Disk, IfThere, Result, Target};
use crate::store::{Bytes, layout, write_at_top};

/// Writes the time into `last-copy` of DATA, one line, in place of the one before: whole and durable, or not at all.
///
/// # Errors
/// The data directory cannot be written to; it is as it was.
pub fn mark(data: &dyn Disk, line: &str) -> Result<()> {
    if data.meta(&layout::tmp()).if_there()?.is_none() {
        // A store that nobody has served yet.
        data.make_directory(&layout::tmp())?;
    }
    write_at_top(data, line.as_bytes(), Bytes::Durable, |temporary| {
        data.rename_over(temporary, &layout::last_copy())
    })?;
    data.sync(&[Target::Directory(layout::top())])
}
