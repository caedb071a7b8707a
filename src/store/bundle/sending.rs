//! The members of a tar that are on their way out.

use std::collections::VecDeque;

use super::tar::{BLOCK, END, header, padding};
use crate::disk::{Handle, Place};
use crate::store::error::damaged;
use crate::store::layout::Member;
use crate::store::{Content, Result};

/// A part of the tar: bytes, or the rest of an open file.
enum TarPart {
    Bytes(Vec<u8>, usize),
    File {
        handle: Handle,
        place: Place,
        offset: u64,
        bytes: u64,
    },
}

/// The part of the tar that is opened, and not sent yet: a member at most, so that memory depends on no length.
#[derive(Default)]
pub(super) struct Sending(VecDeque<TarPart>);

/// How long a member with so many bytes is in the tar, header and all.
pub(super) fn member_bytes(bytes: u64) -> u64 {
    BLOCK as u64 + bytes + padding(bytes) as u64
}

impl Sending {
    /// Whether all that was opened has been sent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Opens a member that is in memory.
    pub fn bytes(&mut self, member: Member, contents: Vec<u8>) {
        let bytes = contents.len() as u64;
        self.member(member, bytes, TarPart::Bytes(contents, 0));
    }

    /// Opens a member that is a file: as long as it is now, whoever removes it meanwhile.
    pub fn file(&mut self, member: Member, place: Place, content: Content) {
        let Content { handle, bytes } = content;
        let file = TarPart::File {
            handle,
            place,
            offset: 0,
            bytes,
        };
        self.member(member, bytes, file);
    }

    /// Opens the end of the tar.
    pub fn end(&mut self) {
        self.0.push_back(TarPart::Bytes(END.to_vec(), 0));
    }

    /// Opens a member: its header, its contents, and the zeroes after them.
    fn member(&mut self, member: Member, bytes: u64, contents: TarPart) {
        let header = header(&member.name(), bytes).to_vec();
        let zeroes = vec![0; padding(bytes)];
        let parts = [
            TarPart::Bytes(header, 0),
            contents,
            TarPart::Bytes(zeroes, 0),
        ];
        self.0
            .extend(parts.into_iter().filter(|part| part.left() > 0));
    }

    /// Drops the first so many bytes of what is being sent.
    pub fn cut(&mut self, mut bytes: u64) {
        while let Some(first) = self.0.front_mut() {
            let left = first.left();
            if bytes < left {
                first.pass(bytes);
                return;
            }
            bytes -= left;
            self.0.pop_front();
        }
    }

    /// Fills the buffer with what is opened, or as much of it as there is, and says how much that is.
    ///
    /// # Errors
    /// Where a file is shorter than it was when it was opened, or cannot be read.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let Some(first) = self.0.front_mut() else {
                break;
            };
            let length = first.left().min((buffer.len() - filled) as u64) as usize;
            let part = &mut buffer[filled..filled + length];
            match first {
                TarPart::Bytes(bytes, at) => part.copy_from_slice(&bytes[*at..*at + length]),
                TarPart::File {
                    handle,
                    place,
                    offset,
                    ..
                } => {
                    if handle.read_at(*offset, part)? < length {
                        return Err(damaged(place, "shorter than it was just now"));
                    }
                }
            }
            first.pass(length as u64);
            filled += length;
            if first.left() == 0 {
                self.0.pop_front();
            }
        }
        Ok(filled)
    }
}

impl TarPart {
    fn left(&self) -> u64 {
        match self {
            TarPart::Bytes(bytes, at) => (bytes.len() - at) as u64,
            TarPart::File { offset, bytes, .. } => bytes - offset,
        }
    }

    fn pass(&mut self, length: u64) {
        match self {
            TarPart::Bytes(_, at) => *at += length as usize,
            TarPart::File { offset, .. } => *offset += length,
        }
    }
}
