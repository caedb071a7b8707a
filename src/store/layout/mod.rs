//! The only place that builds or parses a path of the store. `FORMAT.md` is its document.

mod build;
#[cfg(feature = "client")]
mod device;
mod recognise;

pub use build::{
    Area, Dir, Folder, Shelf, Thing, aside, at_top, format, format_in, last_copy, probe, serving,
    spare, spare_checkpoint, spare_log, tmp, top, trash, users,
};
#[cfg(feature = "client")]
pub use device::{DeviceFile, beside_store};
pub use recognise::{
    Member, PARTS_OF_USER, Recognised, is_apple_double, is_begun, is_of_file_system, is_probe,
    is_top, parse_chunk, parse_fan, parse_lost_chunk, parse_transaction, parse_user, recognise,
};
