//! A bundle on its way to the server: chunks, transactions and HEAD, as they stand in the replica.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Replica;
use super::tar::{BundleFile, Tar, length_in_bundle};
use crate::client::error::{Error, Result};
use crate::client::file_body::FileBody;
use crate::client::progress::Progress;
use crate::client::remote::Parcel;
use crate::model::{ChunkDigest, ChunkId, Transaction, TransactionId};
use crate::store::{END, json};

/// Members of a bundle that is to be sent.
pub(super) struct Outgoing<'a> {
    pub replica: &'a Replica,
    pub chunks: &'a [ChunkDigest],
    pub transactions: &'a [Transaction],
    /// HEAD is to go there.
    pub head: Option<TransactionId>,
    /// The bytes of all the chunks, in the bundle.
    pub chunk_bytes: u64,
    /// How many of its bytes were told to have gone out, by whichever try.
    pub counted: AtomicU64,
}

impl Parcel for Outgoing<'_> {
    fn bytes(&self) -> u64 {
        let transactions = self.transactions.iter();
        let transactions = transactions
            .map(|transaction| length_in_bundle(json::encode(transaction).len() as u64));
        let head = self.head.map_or(0, |_| length_in_bundle(37));
        self.chunk_bytes + transactions.sum::<u64>() + head + END.len() as u64
    }

    fn open(&self) -> Result<Box<dyn Read + Send + '_>> {
        let mut chunks = self.chunks.iter();
        let mut transactions = self.transactions.iter();
        let mut head = self.head;
        let tar = Tar::of(move || {
            if let Some(chunk) = chunks.next() {
                if let Some(held) = self.replica.held(chunk) {
                    let bytes = held.len() as u64;
                    return Ok(Some(BundleFile::chunk(*chunk, bytes, Cursor::new(held))));
                }
                let id = ChunkId::Digest(*chunk);
                let content = self.replica.user.chunk(&id)?;
                let content = content.ok_or_else(|| Error::MissingChunks(vec![id]))?;
                let bytes = content.bytes;
                return Ok(Some(BundleFile::chunk(
                    *chunk,
                    bytes,
                    FileBody::of(content),
                )));
            }
            if let Some(transaction) = transactions.next() {
                return Ok(Some(BundleFile::transaction(transaction)));
            }
            Ok(head.take().map(BundleFile::head))
        });
        let progress = self.replica.progress.clone();
        Ok(Box::new(Told {
            tar,
            progress,
            at: 0,
            counted: &self.counted,
        }))
    }
}

/// A bundle that tells how far it is: what goes out once more is no progress.
struct Told<'a, R> {
    tar: R,
    progress: Option<Arc<dyn Progress>>,
    at: u64,
    counted: &'a AtomicU64,
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.tar.read(buffer)?;
        if let Some(progress) = &self.progress {
            self.at += read as u64;
            let before = self.counted.fetch_max(self.at, Ordering::Relaxed);
            progress.went(0, self.at.saturating_sub(before));
        }
        Ok(read)
    }
}
