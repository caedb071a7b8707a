//! Paths of the files that a device has beside its store.

use crate::disk::Place;

/// A file that a device has beside its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceFile {
    /// Locked by the one process that syncs.
    Lock,
    /// Locked, by any number, by who puts what is still to be named.
    Putting,
    /// All its secrets.
    Remote,
    /// The secrets that a `rekey` is about to put in the place of those.
    NextRemote,
    Config,
    /// There while a clone is not whole yet.
    Cloning,
    /// There from a `rekey` on, until the server has the store under its new user.
    Moving,
    /// When the server was last heard.
    Seen,
    /// The server's checkpoint, from when it was taken until the chain here reaches its transaction.
    Checkpoint,
}

/// The place of a file beside a device's store.
pub fn beside_store(file: DeviceFile) -> Place {
    Place::new(match file {
        DeviceFile::Lock => "lock",
        DeviceFile::Putting => "putting",
        DeviceFile::Remote => "remote",
        DeviceFile::NextRemote => "remote.next",
        DeviceFile::Config => "config",
        DeviceFile::Cloning => "cloning",
        DeviceFile::Moving => "moving",
        DeviceFile::Seen => "seen",
        DeviceFile::Checkpoint => "checkpoint",
    })
}
