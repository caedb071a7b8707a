//! An open file of a [`Real`](super::Real) disk.

use std::any::Any;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

use super::look::from_std;
use super::{DiskFile, Error, Meta, Place, Result};

/// An open file, and where it was found.
pub struct RealFile {
    pub file: File,
    pub place: Place,
    /// The look at it when it was opened; `None` for one that was made then.
    pub opened: Option<Meta>,
}

impl RealFile {
    fn named<T>(&self, verb: &'static str, result: io::Result<T>) -> Result<T> {
        result.map_err(|source| Error::new(verb, &self.place, source))
    }
}

impl DiskFile for RealFile {
    fn append(&self, bytes: &[u8]) -> Result<()> {
        self.named("write", io::Write::write_all(&mut &self.file, bytes))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.named("write", self.file.write_all_at(bytes, offset))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match (self.file).read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::new("read", &self.place, source)),
            }
        }
        Ok(filled)
    }

    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<usize>> {
        let wanted = buffer.len();
        let read = rustix::io::preadv2(
            &self.file,
            &mut [IoSliceMut::new(buffer)],
            offset,
            rustix::io::ReadWriteFlags::NOWAIT,
        );
        match read {
            Ok(read) if read == wanted => Some(Ok(read)),
            _ => None,
        }
    }

    fn set_len(&self, bytes: u64) -> Result<()> {
        self.named("cut", self.file.set_len(bytes))
    }

    fn meta(&self) -> Result<Meta> {
        self.named("look at", self.file.metadata().map(|meta| from_std(&meta)))
    }

    fn opened(&self) -> Result<Meta> {
        self.opened.map_or_else(|| self.meta(), Ok)
    }

    fn touch(&self, time: SystemTime) -> Result<()> {
        let times = std::fs::FileTimes::new().set_modified(time);
        self.named("touch", self.file.set_times(times))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
