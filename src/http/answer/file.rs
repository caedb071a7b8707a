//! A part of a file as the body of an answer.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use super::error::Error;
use super::problem::Problem;
use crate::disk::{self, Handle};
use crate::http::connection::turns::Turns;
use crate::http::work::for_user;
use crate::model::{UserId, limits};
use crate::store;

/// Reads a part of a file, in place if it is in memory and else on a thread.
///
/// # Errors
/// When the file cannot be read, or is shorter than the part.
pub async fn read(
    user: &UserId,
    handle: &Handle,
    offset: u64,
    length: usize,
) -> Result<Bytes, Error> {
    match read_now(handle, offset, length) {
        Some(read) => whole(read.map_err(store::Error::from)?, length),
        None => read_on_a_thread(user, handle, offset, length).await,
    }
}

/// Reads a part of a file, if it is in memory: a way to a thread and back would cost more than the copy.
fn read_now(handle: &Handle, offset: u64, length: usize) -> Option<Result<Vec<u8>, disk::Error>> {
    let mut buffer = vec![0; length];
    let read = handle.read_now(offset, &mut buffer)?;
    Some(read.map(|read| {
        buffer.truncate(read);
        buffer
    }))
}

async fn read_on_a_thread(
    user: &UserId,
    handle: &Handle,
    offset: u64,
    length: usize,
) -> Result<Bytes, Error> {
    let handle = Handle::clone(handle);
    let read = for_user(user, move || {
        let mut buffer = vec![0; length];
        let read = handle.read_at(offset, &mut buffer)?;
        buffer.truncate(read);
        Ok(buffer)
    });
    let read: Result<_, disk::Error> = read.await?;
    whole(read.map_err(store::Error::from)?, length)
}

fn whole(read: Vec<u8>, length: usize) -> Result<Bytes, Error> {
    if read.len() < length {
        log::error!("a file is shorter than it was when it was opened");
        return Err(Problem::internal().into());
    }
    Ok(read.into())
}

/// A part of a file, piece by piece: the next is looked at when the last has gone into the network. Pieces that
/// are in memory the system sends by itself; others are read on a thread. A failure is logged, and breaks the
/// connection off, which never looks like an end.
///
/// # Errors
/// When the beginning cannot be read, which is looked at before anything is said: where it is not in memory, the
/// first piece is read.
pub async fn pieces(
    turns: Turns,
    user: UserId,
    handle: Handle,
    first: u64,
    length: u64,
) -> Result<impl Stream<Item = io::Result<Bytes>>, Error> {
    let end = first + length;
    let start = match handle.read_now(first, &mut [0]) {
        Some(Ok(1)) => None,
        _ => {
            let piece = length.min(limits::PIECE as u64) as usize;
            Some(read_on_a_thread(&user, &handle, first, piece).await?)
        }
    };
    let first = first + start.as_ref().map_or(0, |start| start.len() as u64);
    let rest = stream::try_unfold((turns, handle, first), move |state| async move {
        let (turns, handle, mut offset) = state;
        let most = |most: usize, from: u64| {
            usize::try_from(end - from).map_or(most, |left| left.min(most))
        };
        while offset < end {
            let part = most(limits::SENT, offset);
            if !is_in_memory(&handle, offset, part) {
                break;
            }
            let sent = turns.send(Handle::clone(&handle), offset, part).await;
            offset += sent as u64;
            if sent < part {
                break;
            }
        }
        if offset == end {
            return Ok(None);
        }
        let piece = read_on_a_thread(&user, &handle, offset, most(limits::PIECE, offset)).await;
        let piece = piece.map_err(broken_off)?;
        let next = offset + piece.len() as u64;
        Ok(Some((piece, (turns, handle, next))))
    });
    Ok(stream::iter(start.map(Ok)).chain(rest))
}

/// Whether a part of a file can be sent without waiting for the disk, as far as looks here and there
/// tell: files are read ahead in far longer pieces than lie between two looks.
fn is_in_memory(handle: &Handle, offset: u64, length: usize) -> bool {
    let last = offset + length as u64 - 1;
    let looks = (offset..last).step_by(limits::LOOK);
    looks
        .chain([last])
        .all(|at| matches!(handle.read_now(at, &mut [0]), Some(Ok(1))))
}

/// The error with which a body breaks off, of which actix makes nothing more than that; logs the reason.
pub fn broken_off(error: impl Into<Error>) -> io::Error {
    let _: Problem = error.into().log();
    io::Error::other("a read failed; see above")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Grouping, Place, Real};

    #[test]
    fn a_file_whose_beginning_cannot_be_read_is_refused_before_anything_is_said() {
        actix_web::rt::System::new().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let disk = Real::new(folder.path(), Grouping::Off).unwrap();
            let handle = disk.create(&Place::new("file")).unwrap();
            let length = 3 * limits::PIECE;
            handle.append(&vec![b'x'; length]).unwrap();
            let user: UserId = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
            let pieces = |first: usize| {
                let left = (length - first) as u64;
                let (turns, handle) = (Turns::new(false), Handle::clone(&handle));
                super::pieces(turns, user, handle, first as u64, left)
            };
            assert!(pieces(0).await.is_ok());
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(folder.path().join("file"));
            file.unwrap().set_len(10).unwrap();
            assert!(pieces(10).await.is_err());
            // It breaks off later where its beginning is there.
            assert!(pieces(0).await.is_ok());
        });
    }
}
