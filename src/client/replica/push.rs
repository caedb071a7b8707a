//! A push: what is pending goes to the server, the chunks that it lacks, then transactions and HEAD.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use super::Replica;
use super::both::both;
use super::parcel::Outgoing;
use super::tar::length_in_bundle;
use crate::client::error::{Error, Result};
use crate::client::remote::PushAnswer;
use crate::model::{ChunkDigest, ChunkId, Head, Transaction, TransactionId, limits};

/// How a push ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// HEAD is the last of what was sent; so many were.
    All(u64),
    /// HEAD is elsewhere: others were quicker, or the server is not the one that it was.
    Lost,
}

/// Chunks, with their bytes in a bundle.
type ChunkLengths = Vec<(ChunkDigest, u64)>;

impl Replica {
    /// Sends all that is pending after HEAD.
    ///
    /// # Errors
    /// Those of the remote. What was sent is sent again next time, as far as it is not there.
    pub(super) fn push_pending(&self) -> Result<Sent> {
        let line = self.pending()?;
        if line.ids.is_empty() {
            return Ok(Sent::All(0));
        }
        if line.base != self.head()? {
            return Ok(Sent::Lost);
        }
        let mut sent = 0;
        for ids in line.ids.chunks(limits::PUSHED_SLICE) {
            let later = line.ids.len() - sent as usize - ids.len();
            if sent > 0 {
                // What went is not sent again: the next ones have its room.
                self.let_go();
            }
            let transactions = ids.iter().map(|id| self.in_line(&line, *id));
            let transactions = transactions.collect::<Result<Vec<_>>>()?;
            match self.send(line.base.id, &transactions, later)? {
                PushAnswer::Taken(head) => {
                    self.confirm(&line, head, &transactions)?;
                    sent += ids.len() as u64;
                }
                PushAnswer::Lost(head) if self.is_ours(&line.ids, head) => {
                    // An earlier try got through as far as this, and its answer was lost.
                    self.confirm(&line, head, &[])?;
                    return match head.id == line.tip.id {
                        true => Ok(Sent::All(line.ids.len() as u64)),
                        false => Ok(Sent::Lost),
                    };
                }
                _ => return Ok(Sent::Lost),
            }
        }
        Ok(Sent::All(sent))
    }

    fn is_ours(&self, ids: &[TransactionId], head: Head) -> bool {
        use super::slip::Slip;
        ids.contains(&head.id) && !self.slips.made(Slip::LostAnswerNotRecognised)
    }

    /// Sends transactions of ours, each after the one before it, and the chunks of theirs that are not there; and moves
    /// HEAD to the last. Chunks that are many go before, in bundles without HEAD: `base` must be HEAD for that. So many more
    /// transactions are sent later.
    pub(super) fn send(
        &self,
        base: TransactionId,
        transactions: &[Transaction],
        later: usize,
    ) -> Result<PushAnswer> {
        let mut chunks = self.weigh(transactions)?;
        let total = |chunks: &ChunkLengths| chunks.iter().map(|(_, bytes)| bytes).sum::<u64>();
        if total(&chunks) > limits::SMALL as u64 {
            chunks = self.missing_of(chunks)?;
        }
        self.will_go(transactions.len(), total(&chunks), later);
        if total(&chunks) > limits::PUSHED_BYTES {
            let head = self.remote.head()?;
            let before = transactions.first().map(|first| first.parent);
            if head.id != base && Some(head.id) != before {
                return Ok(PushAnswer::Lost(head));
            }
            self.send_in_bulk(std::mem::take(&mut chunks))?;
        }
        for _ in 0..limits::PULL_TRIES {
            match self.send_bundle(&chunks, transactions)? {
                PushAnswer::Missing(_) => chunks = self.missing_of(self.weigh(transactions)?)?,
                answer => {
                    if let PushAnswer::Taken(_) = answer {
                        self.went(transactions.len());
                    }
                    return Ok(answer);
                }
            }
        }
        Err(Error::Busy)
    }

    /// Sends those of these chunks that the server lacks.
    pub(super) fn send_chunks(&self, chunks: &[ChunkDigest]) -> Result<()> {
        let mut weighed = ChunkLengths::new();
        for digest in chunks {
            let id = ChunkId::Digest(*digest);
            let found = self.user.chunk(&id)?;
            let found = found.ok_or_else(|| Error::MissingChunks(vec![id]))?;
            weighed.push((*digest, length_in_bundle(found.bytes)));
        }
        let missing = self.missing_of(weighed)?;
        self.will_go(0, missing.iter().map(|(_, bytes)| bytes).sum(), 0);
        self.send_in_bulk(missing)
    }

    /// Sends chunks alone, as many bundles as they fill, two at a time.
    fn send_in_bulk(&self, chunks: ChunkLengths) -> Result<()> {
        let (mut batches, mut batch, mut bytes) = (Vec::new(), ChunkLengths::new(), 0);
        for (chunk, length) in chunks {
            if bytes + length > limits::PUSHED_BYTES && !batch.is_empty() {
                batches.push(std::mem::take(&mut batch));
                bytes = 0;
            }
            batch.push((chunk, length));
            bytes += length;
        }
        batches.extend((!batch.is_empty()).then_some(batch));
        let alone = batches.len() < 2;
        let batches = Mutex::new(batches.into_iter());
        let next = || batches.lock().unwrap_or_else(PoisonError::into_inner);
        let send = || {
            loop {
                let Some(batch) = next().next() else {
                    return Ok(());
                };
                if let Err(error) = self.send_bundle(&batch, &[]) {
                    // The other one sends no more either.
                    next().by_ref().for_each(drop);
                    return Err(error);
                }
            }
        };
        if alone {
            return send();
        }
        // While the server syncs the one, it takes in the other.
        let (one, other) = both("send", send, send);
        one.and(other)
    }

    fn send_bundle(
        &self,
        chunks: &ChunkLengths,
        transactions: &[Transaction],
    ) -> Result<PushAnswer> {
        let digests: Vec<_> = chunks.iter().map(|(digest, _)| *digest).collect();
        self.remote.push_bundle(&Outgoing {
            replica: self,
            chunks: &digests,
            transactions,
            head: transactions.last().map(|last| last.id),
            chunk_bytes: chunks.iter().map(|(_, bytes)| bytes).sum(),
            counted: AtomicU64::new(0),
        })
    }

    /// The chunks that these name, each once.
    fn weigh(&self, transactions: &[Transaction]) -> Result<ChunkLengths> {
        let mut seen = HashSet::new();
        let named = transactions
            .iter()
            .flat_map(|transaction| &transaction.chunks);
        let digests: Vec<_> = named
            .filter_map(|chunk| match chunk {
                ChunkId::Digest(digest) => seen.insert(*digest).then_some(*digest),
                ChunkId::Alias(_) => None,
            })
            .collect();
        let lengths = self.all_weighed(&digests)?.into_iter();
        let weighed = digests.into_iter().zip(lengths).map(|(digest, bytes)| {
            let missing = || Error::MissingChunks(vec![ChunkId::Digest(digest)]);
            Ok((digest, length_in_bundle(bytes.ok_or_else(missing)?)))
        });
        weighed.collect()
    }

    /// The chunks of these that the server lacks.
    fn missing_of(&self, chunks: ChunkLengths) -> Result<ChunkLengths> {
        let mut missing = HashSet::new();
        for asked in chunks.chunks(limits::MISSING_IDS) {
            let ids: Vec<_> = asked.iter().map(|(digest, _)| *digest).collect();
            missing.extend(self.remote.missing(&ids)?);
        }
        let is_missing = |(digest, _): &(ChunkDigest, u64)| missing.contains(digest);
        Ok(chunks.into_iter().filter(is_missing).collect())
    }

    /// Sends so much of the confirmed chain as comes after this transaction, and moves the server's HEAD over it.
    ///
    /// # Errors
    /// Those of the remote; [`Error::Busy`] where its HEAD is not that transaction any more.
    pub(super) fn send_confirmed(&self, after: TransactionId) -> Result<u64> {
        let user = &self.user;
        let listing = user.mending_log(|| user.listing(after, u64::MAX))?;
        let mut listing = listing.ok_or(Error::UnknownTransaction(after))?;
        let (mut sent, mut base) = (0, after);
        while listing.left() > 0 {
            let ids = listing.read(limits::PUSHED_SLICE)?;
            let later = listing.left() as usize;
            let transactions = ids.iter().map(|id| Ok(self.found(*id)?.transaction));
            match self.send(base, &transactions.collect::<Result<Vec<_>>>()?, later)? {
                PushAnswer::Taken(head) => base = head.id,
                _ => return Err(Error::Busy),
            }
            sent += ids.len() as u64;
        }
        Ok(sent)
    }
}
