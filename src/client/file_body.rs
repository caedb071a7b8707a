//! The bytes of a file of a store, read one after the other.

use std::io::{self, Read};

use crate::disk::Handle;
use crate::store::Content;

/// A file's bytes from its beginning on.
pub(super) struct FileBody {
    handle: Handle,
    at: u64,
    bytes: u64,
}

impl FileBody {
    /// The bytes of a file that was found.
    pub fn of(content: Content) -> Self {
        Self {
            handle: content.handle,
            at: 0,
            bytes: content.bytes,
        }
    }
}

impl Read for FileBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = (self.bytes - self.at).min(buffer.len() as u64) as usize;
        let read = self.handle.read_at(self.at, &mut buffer[..length]);
        let read = read.map_err(io::Error::other)?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}
