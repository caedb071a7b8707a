//! Out: the chunks that a device asks for by name, as one tar.

use std::collections::HashSet;

use uuid::Uuid;

use super::sending::{Sending, member_bytes};
use super::tar::END;
use crate::model::{ChunkDigest, ChunkId};
use crate::store::layout::{Area, Member};
use crate::store::{Content, Error, Result, User};

/// A member of the tar whose turn has come.
enum AskedMember {
    Chunk(ChunkDigest, Content),
    Alias(Uuid, ChunkDigest),
    End,
}

/// Chunks that were asked for, being read as a tar: those that are here, in the order in which they were asked for, each
/// once. A chunk that is asked for by a uuid comes before the member of its alias; one that is not here is left out.
///
/// Takes some hundred bytes of memory for each that was asked for, and none for their bytes.
pub struct AskedReader {
    user: User,
    /// The user's folder was there when the first was looked for.
    had_folder: bool,
    ids: std::vec::IntoIter<ChunkId>,
    /// The chunks and aliases that were opened, so that none comes twice.
    opened: HashSet<ChunkId>,
    /// An alias whose chunk goes before it.
    alias: Option<(Uuid, ChunkDigest)>,
    sending: Sending,
    ended: bool,
}

impl User {
    /// Starts to read these chunks as a tar, whether HEAD reaches them or not. Nothing is looked at yet but the folder.
    ///
    /// # Errors
    /// [`Error::UnknownUser`] where new users are not admitted.
    pub fn read_asked(&self, ids: Vec<ChunkId>) -> Result<AskedReader> {
        let had_folder = self.has_folder()?;
        if !had_folder {
            let _: Option<()> = self.unless_denied()?;
        }
        Ok(AskedReader {
            had_folder,
            user: self.clone(),
            ids: ids.into_iter(),
            opened: HashSet::new(),
            alias: None,
            sending: Sending::default(),
            ended: false,
        })
    }
}

impl AskedReader {
    /// How long the tar is, of which nothing was read yet. Costs a look at each chunk.
    ///
    /// # Errors
    /// Those of [`AskedReader::read`].
    pub fn bytes(mut self) -> Result<u64> {
        let mut sum = 0;
        loop {
            sum += match self.next()? {
                AskedMember::End => return Ok(sum + END.len() as u64),
                AskedMember::Chunk(_, content) => member_bytes(content.bytes),
                AskedMember::Alias(_, digest) => member_bytes(line(&digest).len() as u64),
            };
        }
    }

    /// Fills the buffer, or as much of it as there is: nothing at the end of the tar.
    ///
    /// # Errors
    /// Also where a file is not as it must be, or the user went meanwhile. What was read before is then no tar, and must
    /// not look like one to whoever gets it.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.sending.is_empty() {
                if self.ended {
                    break;
                }
                match self.next()? {
                    AskedMember::Chunk(digest, content) => {
                        let place = self.user.folder.chunk(Area::Committed, &digest);
                        self.sending.file(Member::Chunk(digest), place, content);
                    }
                    AskedMember::Alias(alias, digest) => {
                        self.sending.bytes(Member::Alias(alias), line(&digest));
                    }
                    AskedMember::End => self.sending.end(),
                }
            }
            filled += self.sending.fill(&mut buffer[filled..])?;
        }
        Ok(filled)
    }

    /// Finds the next member: a file that is open stays whole, though gc take its name meanwhile.
    fn next(&mut self) -> Result<AskedMember> {
        loop {
            if let Some((alias, digest)) = self.alias.take() {
                self.opened.insert(ChunkId::Alias(alias));
                return Ok(AskedMember::Alias(alias, digest));
            }
            let Some(id) = self.ids.next() else {
                self.still_there()?;
                self.ended = true;
                return Ok(AskedMember::End);
            };
            if self.opened.contains(&id) {
                continue;
            }
            let digest = match id {
                ChunkId::Digest(digest) => digest,
                ChunkId::Alias(alias) => match self.user.stands_for(&alias)? {
                    Some(digest) => {
                        self.alias = Some((alias, digest));
                        digest
                    }
                    None => continue,
                },
            };
            if self.opened.contains(&ChunkId::Digest(digest)) {
                continue;
            }
            match self.user.chunk(&ChunkId::Digest(digest))? {
                Some(content) => {
                    self.opened.insert(ChunkId::Digest(digest));
                    return Ok(AskedMember::Chunk(digest, content));
                }
                // Without its chunk an alias stands for nothing.
                None => self.alias = None,
            }
        }
    }

    /// Sees that the folder is there still: of a user who went meanwhile nothing is known to be missing.
    fn still_there(&self) -> Result<()> {
        match self.had_folder && !self.user.has_folder()? {
            true => Err(Error::UserGone),
            false => Ok(()),
        }
    }
}

/// The contents of an alias's file.
fn line(digest: &ChunkDigest) -> Vec<u8> {
    format!("{digest}\n").into_bytes()
}
