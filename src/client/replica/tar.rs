//! A bundle made of members one after the other, as it is read.

use std::io::{self, Cursor, Read};

use crate::client::error::{Error, Result};
use crate::model::{ChunkDigest, Transaction, TransactionId};
use crate::store::layout::Member;
use crate::store::{END, header, json, padding};

/// A file of a bundle: its name there, its length and its bytes.
pub(super) struct BundleFile<'a> {
    member: Member,
    bytes: u64,
    contents: Box<dyn Read + Send + 'a>,
}

impl<'a> BundleFile<'a> {
    /// A chunk, which is read from here.
    pub fn chunk(id: ChunkDigest, bytes: u64, contents: impl Read + Send + 'a) -> Self {
        Self {
            member: Member::Chunk(id),
            bytes,
            contents: Box::new(contents),
        }
    }

    /// A chunk of these bytes.
    pub fn whole_chunk(id: ChunkDigest, bytes: Vec<u8>) -> Self {
        Self::chunk(id, bytes.len() as u64, Cursor::new(bytes))
    }

    /// A transaction.
    pub fn transaction(transaction: &Transaction) -> Self {
        Self::small(
            Member::Transaction(transaction.id),
            json::encode(transaction),
        )
    }

    /// HEAD, which is the last.
    pub fn head(id: TransactionId) -> Self {
        Self::small(Member::Head, format!("{id}\n").into_bytes())
    }

    fn small(member: Member, bytes: Vec<u8>) -> Self {
        Self {
            member,
            bytes: bytes.len() as u64,
            contents: Box::new(Cursor::new(bytes)),
        }
    }

    /// The header, the bytes, and the zeroes after them.
    fn into_read(self) -> Box<dyn Read + Send + 'a> {
        let header = header(&self.member.name(), self.bytes);
        let zeroes = io::repeat(0).take(padding(self.bytes) as u64);
        Box::new(Cursor::new(header).chain(self.contents).chain(zeroes))
    }
}

/// A bundle that is made as it is read. Where a member cannot be had, reading fails, and `trouble` has the reason.
pub(super) struct Tar<'a, N> {
    next: N,
    reading: Box<dyn Read + Send + 'a>,
    ended: bool,
    pub trouble: Option<Error>,
}

impl<'a, N: FnMut() -> Result<Option<BundleFile<'a>>>> Tar<'a, N> {
    /// The bundle of these, until there are none.
    pub fn of(next: N) -> Self {
        Self {
            next,
            reading: Box::new(io::empty()),
            ended: false,
            trouble: None,
        }
    }
}

impl<'a, N: FnMut() -> Result<Option<BundleFile<'a>>>> Read for Tar<'a, N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.reading.read(buffer)?;
            if read > 0 || self.ended || buffer.is_empty() {
                return Ok(read);
            }
            match (self.next)() {
                Ok(Some(file)) => self.reading = file.into_read(),
                Ok(None) => {
                    self.ended = true;
                    self.reading = Box::new(Cursor::new(END));
                }
                Err(error) => {
                    let said = error.to_string();
                    self.trouble = Some(error);
                    return Err(io::Error::other(said));
                }
            }
        }
    }
}

/// The length in a bundle of a member with so many bytes.
pub(super) fn length_in_bundle(bytes: u64) -> u64 {
    512 + bytes + padding(bytes) as u64
}
