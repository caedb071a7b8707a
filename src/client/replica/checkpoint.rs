//! A saved state of the application at the server, which a new device can start from. [`taken`](super::taken) has how it is kept
//! here.

use std::io::Read;

use super::Replica;
use super::say::digest;
use super::tar::{BundleFile, Tar, length_in_bundle};
use crate::client::envelope::Context;
use crate::client::error::{Error, Forgery, Result};
use crate::client::remote::{AnswerBody, Parcel};
use crate::model::{Checkpoint, ChunkDigest, ChunkId, Head, TransactionId, limits};
use crate::store::{END, PutCheckpoint};

/// The state of an application at a confirmed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// The transaction that it stands for: what comes after it is to be applied.
    pub at: Head,
    pub body: Vec<u8>,
    /// The chunks beside it.
    pub chunks: Vec<ChunkDigest>,
    /// The chain here has the transaction. Until it has, an application that starts from the state is shown nothing that is
    /// confirmed.
    pub confirmed: bool,
}

/// The one chunk that a checkpoint adds.
pub(super) struct OneChunk<'a>(ChunkDigest, &'a [u8]);

impl Parcel for OneChunk<'_> {
    fn bytes(&self) -> u64 {
        length_in_bundle(self.1.len() as u64) + END.len() as u64
    }

    fn open(&self) -> Result<Box<dyn Read + Send + '_>> {
        let mut chunk = Some(BundleFile::chunk(self.0, self.1.len() as u64, self.1));
        Ok(Box::new(Tar::of(move || Ok(chunk.take()))))
    }
}

impl Replica {
    /// Saves the state of an application at a confirmed transaction with the server: `body`, and chunks that are here.
    /// The server keeps the newest one, and so does this replica. Needs the network.
    ///
    /// # Errors
    /// [`Error::UnknownTransaction`] where the transaction is not confirmed, here or there; [`Error::TooLong`]; [`Error::Busy`]
    /// where the server has a newer one; those of the remote.
    pub fn checkpoint(&self, at: TransactionId, body: &[u8], chunks: &[ChunkDigest]) -> Result<()> {
        let found = self.find(at)?.filter(|found| found.on_chain);
        let seq = found.ok_or(Error::UnknownTransaction(at))?.transaction.seq;
        if body.len() > limits::ENTRY_BYTES {
            return Err(Error::TooLong {
                bytes: body.len() as u64,
                limit: limits::ENTRY_BYTES as u64,
            });
        }
        let place = Context::Checkpoint {
            transaction: at,
            seq,
            others: chunks,
        };
        let first = self.seal(&place, body)?;
        let id = digest(&first);
        self.send_chunks(chunks)?;
        self.remote.push_bundle(&OneChunk(id, &first))?;
        let all = [&[id], chunks].concat();
        match self.remote.put_checkpoint(at, &all)? {
            PutCheckpoint::Stored => {
                self.note_heard();
                if let Err(error) = self.keep_own(at, OneChunk(id, &first), &all) {
                    // The server has it, which is what was asked for.
                    log::debug!("the checkpoint is not kept here: {error}");
                }
                Ok(())
            }
            PutCheckpoint::UnknownTransaction { .. } => Err(Error::UnknownTransaction(at)),
            PutCheckpoint::Older { .. } => Err(Error::Busy),
            PutCheckpoint::MissingChunks(missing) => Err(Error::MissingChunks(missing)),
        }
    }

    /// The state that the server keeps, verified and opened; `None` where it keeps none. Its chunks are read by
    /// [`Replica::read_there`].
    ///
    /// # Errors
    /// [`Error::Forged`] and [`Error::WrongKey`] where it is none of ours; those of the remote.
    pub fn saved_state(&self) -> Result<Option<SavedState>> {
        let there = self.remote.checkpoint()?;
        let state = there.map(|checkpoint| self.state_there(&checkpoint));
        state.transpose()
    }

    /// The state of a checkpoint, whose first chunk the server is asked for.
    pub(super) fn state_there(&self, checkpoint: &Checkpoint) -> Result<SavedState> {
        self.state_of(checkpoint, |first| self.chunk_there(first))
    }

    /// The state of a checkpoint, opened in its place.
    pub(super) fn state_of(
        &self,
        checkpoint: &Checkpoint,
        read: impl Fn(&ChunkDigest) -> Result<Option<Vec<u8>>>,
    ) -> Result<SavedState> {
        let Checkpoint {
            transaction,
            seq,
            ref chunks,
        } = *checkpoint;
        let missing = || Error::Forged {
            transaction,
            what: Forgery::Missing,
        };
        let (first, others) = chunks.split_first().ok_or_else(missing)?;
        let chunk = read(first)?.ok_or_else(missing)?;
        let place = Context::Checkpoint {
            transaction,
            seq,
            others,
        };
        let body = self.keys.open(&place, &chunk);
        let body = body.map_err(|why| Error::unopened(transaction, why))?;
        let found = self.find(transaction)?;
        Ok(SavedState {
            at: Head {
                id: transaction,
                seq,
            },
            body,
            chunks: others.to_vec(),
            confirmed: found.is_some_and(|found| found.on_chain && found.transaction.seq == seq),
        })
    }

    /// The bytes of a chunk, opened, from here or else from the server.
    ///
    /// # Errors
    /// As [`Replica::read`], and those of the remote.
    pub fn read_there(&self, chunk: &ChunkDigest) -> Result<Vec<u8>> {
        if self.has_chunk(&ChunkId::Digest(*chunk))? {
            return self.read(chunk);
        }
        let bytes = self.chunk_there(chunk)?;
        let bytes = bytes.ok_or_else(|| Error::MissingChunks(vec![ChunkId::Digest(*chunk)]))?;
        let opened = self.keys.open(&Context::Data, &bytes);
        opened.map_err(|why| Error::unopened_chunk(*chunk, why))
    }

    /// A chunk from the server, whose bytes are those of its name.
    fn chunk_there(&self, chunk: &ChunkDigest) -> Result<Option<Vec<u8>>> {
        let Some(answer) = self.remote.chunk(chunk)? else {
            return Ok(None);
        };
        let bytes = read_whole(answer)?;
        match digest(&bytes) == *chunk {
            true => Ok(Some(bytes)),
            false => Err(Error::UnopenedChunk {
                chunk: *chunk,
                why: crate::client::envelope::OpenError::Tag,
            }),
        }
    }
}

fn read_whole(answer: AnswerBody) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = limits::CHUNK_BYTES;
    let read = answer.take(limit + 1).read_to_end(&mut bytes);
    let read = read.map_err(Error::offline)? as u64;
    match read > limit {
        true => Err(Error::TooLong { bytes: read, limit }),
        false => Ok(bytes),
    }
}
