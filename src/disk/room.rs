//! How much room there is.

/// The room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub free_bytes: u64,
    pub free_files: u64,
    /// Bytes that the file system has in all.
    pub bytes: u64,
    /// Files that it can have in all; 0 where it has no such number.
    pub files: u64,
}
