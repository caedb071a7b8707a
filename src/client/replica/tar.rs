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
    /// Fills the buffer, over as many members as fit: each is sent with those beside it.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reading.read(&mut buffer[filled..]) {
                Ok(0) if self.ended => break,
                Ok(0) => self.turn()?,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl<'a, N: FnMut() -> Result<Option<BundleFile<'a>>>> Tar<'a, N> {
    /// Goes on to the next member, or to the end.
    fn turn(&mut self) -> io::Result<()> {
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
        Ok(())
    }
}

/// The length in a bundle of a member with so many bytes.
pub(super) fn length_in_bundle(bytes: u64) -> u64 {
    512 + bytes + padding(bytes) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_read_has_as_many_members_as_fit_and_all_of_them_are_what_small_reads_have() {
        let bundle = || {
            let id = |n: u8| ChunkDigest::from_bytes([n; 32]);
            let mut files = (1..=3).map(move |n| BundleFile::whole_chunk(id(n), vec![n; 700]));
            Tar::of(move || Ok(files.next()))
        };
        let whole = 3 * length_in_bundle(700) as usize + END.len();
        let mut buffer = vec![0; whole + 1];
        assert_eq!(bundle().read(&mut buffer).unwrap(), whole);
        buffer.truncate(whole);

        let (mut small, mut tar) = (Vec::new(), bundle());
        let mut piece = [0; 100];
        loop {
            match tar.read(&mut piece).unwrap() {
                0 => break,
                read => small.extend_from_slice(&piece[..read]),
            }
        }
        assert!(small == buffer);
    }
}
