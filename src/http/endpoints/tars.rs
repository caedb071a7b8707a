//! A tar as the body of an answer, read while it is sent.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use crate::http::answer::file::broken_off;
use crate::http::threads::begin;
use crate::http::work::outcome;
use crate::model::{UserId, limits};
use crate::store::{self, AskedReader, BundleReader};

/// A tar that is made while it is read.
pub trait TarReader: Send + 'static {
    /// Fills the buffer, or as much of it as there is: nothing at the end. Fails where the rest cannot be made.
    fn read(&mut self, buffer: &mut [u8]) -> store::Result<usize>;
}

impl TarReader for BundleReader {
    fn read(&mut self, buffer: &mut [u8]) -> store::Result<usize> {
        BundleReader::read(self, buffer)
    }
}

impl TarReader for AskedReader {
    fn read(&mut self, buffer: &mut [u8]) -> store::Result<usize> {
        AskedReader::read(self, buffer)
    }
}

/// A piece of a tar, and the reader of the next.
pub type TarPiece<R> = (Bytes, R);

/// Reads the next piece of a tar, of which so many bytes are left to be sent at most.
pub fn piece<R: TarReader>(mut reader: R, left: u64) -> store::Result<TarPiece<R>> {
    let mut buffer = vec![0; left.min(limits::PIECE as u64) as usize];
    let read = reader.read(&mut buffer)?;
    buffer.truncate(read);
    Ok((Bytes::from(buffer), reader))
}

/// The tar from its first piece on, so many bytes or all: while one piece is on its way the next is
/// read, and no thread is held while the network is waited for. A failure is logged, and breaks the
/// connection off behind what was read before, which never looks like an end.
pub fn pieces<R: TarReader>(
    user: UserId,
    start: TarPiece<R>,
    length: Option<u64>,
) -> impl Stream<Item = io::Result<Bytes>> {
    let read = move |reader, left| begin(&user, move || piece(reader, left));
    let next = move |(bytes, reader): TarPiece<R>, left: u64| {
        if bytes.is_empty() {
            return match length {
                Some(_) if left > 0 => Err(io::Error::other("a tar is shorter than it was")),
                _ => Ok(None),
            };
        }
        let left = left - bytes.len() as u64;
        let reading = (left > 0).then(|| (read(reader, left), left));
        Ok(Some((bytes, reading)))
    };
    let first = next(start, length.unwrap_or(u64::MAX));
    let (first, reading) = match first {
        Ok(Some((bytes, reading))) => (Some(Ok(bytes)), reading),
        Ok(None) => (None, None),
        Err(short) => (Some(Err(short)), None),
    };
    let rest = stream::try_unfold((reading, next), move |(reading, next)| async move {
        let Some((reading, left)) = reading else {
            return Ok(None);
        };
        let piece = outcome(reading).await.map_err(broken_off)?;
        let piece = piece.map_err(broken_off)?;
        let Some((bytes, reading)) = next(piece, left)? else {
            return Ok(None);
        };
        Ok(Some((bytes, (reading, next))))
    });
    stream::iter(first).chain(rest)
}
