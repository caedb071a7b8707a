//! Out: what a pull is answered with, streamed.

use std::collections::VecDeque;

use uuid::Uuid;

use super::sending::{Sending, member_bytes};
use super::tar::END;
use super::window::Window;
use crate::disk::IfThere;
use crate::model::{ChunkDigest, ChunkId, Head, TransactionId, limits};
use crate::store::chain::Listing;
use crate::store::error::damaged;
use crate::store::json;
use crate::store::layout::{Area, Member};
use crate::store::walk::Position;
use crate::store::{Content, Error, Result, User};

/// How a pull ended.
pub enum PullBundle {
    Ready(Plan),
    /// `from` or `to` is not on the chain.
    UnknownTransaction(TransactionId),
    ToBeforeFrom,
}

/// A bundle that can be read, any number of times: the bytes are always the same.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The last transaction before the bundle.
    pub from: Head,
    /// The last transaction of the bundle, which its HEAD names.
    pub to: Head,
    /// The chunks are in it: without them it is the transactions and HEAD alone.
    pub chunks: bool,
}

/// A file in the tar that is about to be sent.
enum Next {
    Chunk(ChunkDigest),
    Bytes(Member, Vec<u8>),
    End,
}

/// A bundle being read, from any byte on.
pub struct BundleReader {
    user: User,
    plan: Plan,
    listing: Listing,
    ids: VecDeque<TransactionId>,
    /// The number of the next transaction.
    seq: u64,
    /// The chunks of the present transaction that are still to be looked at.
    chunks: std::vec::IntoIter<ChunkId>,
    /// An alias whose chunk goes before it.
    alias: Option<(Uuid, ChunkDigest)>,
    transaction: Option<(TransactionId, Vec<u8>)>,
    window: Window,
    sending: Sending,
    head_sent: bool,
    ended: bool,
}

impl User {
    /// Plans a bundle of all after `from` up to and including `to` (else HEAD), but at most `limit`
    /// transactions; the whole of it, chunks included. Only what is visible: nothing that is pending is ever in a bundle.
    ///
    /// # Errors
    /// [`Error::LogIsWrong`], as of all reads of the chain: [`User::mending_log`].
    pub fn bundle(
        &self,
        from: TransactionId,
        to: Option<TransactionId>,
        limit: u64,
    ) -> Result<PullBundle> {
        let head = match self.vouched_head()? {
            Some(head) => head,
            None => self.unless_denied()?.unwrap_or(Head::ROOT),
        };
        let find = |id| match self.position(head, id)? {
            Position::OnChain(seq) => Ok(Some(Head { id, seq })),
            Position::OffChain => Ok(None),
            Position::LogIsWrong => Err(Error::LogIsWrong),
        };
        let Some(from) = find(from)? else {
            return Ok(PullBundle::UnknownTransaction(from));
        };
        let to = match to {
            None => head,
            Some(to) => match find(to)? {
                Some(to) => to,
                None => return Ok(PullBundle::UnknownTransaction(to)),
            },
        };
        if to.seq < from.seq {
            return Ok(PullBundle::ToBeforeFrom);
        }
        let last = to.seq.min(from.seq.saturating_add(limit));
        let to = if last < to.seq {
            self.at(head, last)?
        } else {
            to
        };
        Ok(PullBundle::Ready(Plan {
            from,
            to,
            chunks: true,
        }))
    }

    /// The transaction with this number on the chain that ends at `head`.
    pub(crate) fn at(&self, head: Head, seq: u64) -> Result<Head> {
        if seq == 0 {
            return Ok(Head::ROOT);
        }
        let mut part = self.part(head, seq - 1, 1)?;
        let id = part.read(1)?.pop().ok_or(Error::LogIsWrong)?;
        Ok(Head { id, seq })
    }

    /// Starts to read a bundle at its first byte.
    pub fn read_bundle(&self, plan: &Plan) -> Result<BundleReader> {
        // HEAD has moved on at most, so that the plan still holds; not so if the user was
        // deleted and came again.
        let head = self.vouched_head()?.unwrap_or(Head::ROOT);
        for end in [plan.from, plan.to] {
            match self.position(head, end.id)? {
                Position::OnChain(seq) if seq == end.seq => {}
                Position::LogIsWrong => return Err(Error::LogIsWrong),
                _ => return Err(Error::UserGone),
            }
        }
        let count = plan.to.seq - plan.from.seq;
        let listing = self.part(head, plan.from.seq, count)?;
        Ok(BundleReader {
            user: self.clone(),
            plan: plan.clone(),
            listing,
            ids: VecDeque::new(),
            seq: plan.from.seq + 1,
            chunks: Vec::new().into_iter(),
            alias: None,
            transaction: None,
            window: Window::default(),
            sending: Sending::default(),
            head_sent: false,
            ended: false,
        })
    }

    /// How long a bundle is. Costs a look at each of its files, and reads its transactions.
    pub fn bundle_bytes(&self, plan: &Plan) -> Result<u64> {
        self.read_bundle(plan)?.skip(u64::MAX)
    }
}

impl BundleReader {
    /// Passes over so many bytes, without reading the chunks among them. Says how many those were:
    /// fewer at the end of the bundle. To be called before anything is read.
    pub fn skip(&mut self, wanted: u64) -> Result<u64> {
        let mut skipped: u64 = 0;
        while skipped < wanted && !self.ended {
            let next = self.next()?;
            let bytes = self.bytes_of(&next)?;
            if bytes <= wanted - skipped {
                skipped += bytes;
                continue;
            }
            self.send(next)?;
            self.sending.cut(wanted - skipped);
            skipped = wanted;
        }
        Ok(skipped)
    }

    /// How long a member is in the tar, header and all.
    fn bytes_of(&self, next: &Next) -> Result<u64> {
        let bytes = match next {
            Next::End => return Ok(END.len() as u64),
            Next::Bytes(_, contents) => contents.len() as u64,
            Next::Chunk(digest) => {
                let place = self.user.folder.chunk(Area::Committed, digest);
                match self.user.store.disk.meta(&place).if_there()? {
                    Some(meta) => meta.bytes,
                    None => return self.lost(digest),
                }
            }
        };
        Ok(member_bytes(bytes))
    }

    /// Fills the buffer, or as much of it as there is: nothing at the end of the bundle.
    ///
    /// # Errors
    /// Also where a file is not as it must be. What was read before is then no bundle, and must
    /// not look like one to whoever gets it.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.sending.is_empty() {
                if self.ended {
                    break;
                }
                let next = self.next()?;
                self.send(next)?;
            }
            filled += self.sending.fill(&mut buffer[filled..])?;
        }
        Ok(filled)
    }

    /// Opens a member.
    fn send(&mut self, next: Next) -> Result<()> {
        match next {
            Next::End => self.sending.end(),
            Next::Bytes(member, contents) => self.sending.bytes(member, contents),
            Next::Chunk(digest) => {
                let place = self.user.folder.chunk(Area::Committed, &digest);
                let Some(handle) = self.user.store.disk.open(&place).if_there()? else {
                    return self.lost(&digest);
                };
                let bytes = handle.opened()?.bytes;
                let content = Content { handle, bytes };
                self.sending.file(Member::Chunk(digest), place, content);
            }
        }
        Ok(())
    }

    /// A chunk of the chain that is not there: damage, unless the whole user went.
    fn lost<T>(&self, digest: &ChunkDigest) -> Result<T> {
        if !self.user.has_folder()? {
            return Err(Error::UserGone);
        }
        let place = self.user.folder.chunk(Area::Committed, digest);
        Err(damaged(&place, "the chain needs it, and it is not there"))
    }

    /// Finds the next member of the tar: for each transaction the chunks that are not among the last ones
    /// sent, each alias after its chunk, and then its JSON; at last HEAD.
    fn next(&mut self) -> Result<Next> {
        loop {
            if let Some((alias, digest)) = self.alias.take() {
                self.window.insert(ChunkId::Alias(alias));
                let line = format!("{digest}\n").into_bytes();
                return Ok(Next::Bytes(Member::Alias(alias), line));
            }
            if let Some(chunk) = self.chunks.next() {
                let digest = match chunk {
                    _ if self.window.has(&chunk) => continue,
                    ChunkId::Digest(digest) => digest,
                    ChunkId::Alias(alias) => {
                        let found = self.user.find_alias(&alias)?;
                        let place = self.user.folder.alias(Area::Committed, &alias);
                        let (_, digest) = found.ok_or_else(|| {
                            damaged(&place, "the chain needs it, and it is not there")
                        })?;
                        self.alias = Some((alias, digest));
                        digest
                    }
                };
                if self.window.insert(ChunkId::Digest(digest)) {
                    return Ok(Next::Chunk(digest));
                }
                continue;
            }
            if let Some((id, contents)) = self.transaction.take() {
                return Ok(Next::Bytes(Member::Transaction(id), contents));
            }
            if self.ids.is_empty() {
                self.ids = self.listing.read(4096)?.into();
            }
            if let Some(id) = self.ids.pop_front() {
                self.open_next(id)?;
                continue;
            }
            if !self.head_sent {
                self.head_sent = true;
                let line = format!("{}\n", self.plan.to.id).into_bytes();
                return Ok(Next::Bytes(Member::Head, line));
            }
            self.ended = true;
            return Ok(Next::End);
        }
    }

    /// Reads the next transaction of the chain.
    fn open_next(&mut self, id: TransactionId) -> Result<()> {
        let place = self.user.folder.transaction(id);
        let contents = match self
            .user
            .store
            .read_file(&place, limits::TRANSACTION_BYTES + json::PREFIX)?
        {
            Some(contents) => contents,
            None if !self.user.has_folder()? => return Err(Error::UserGone),
            None => return Err(damaged(&place, "the chain needs it, and it is not there")),
        };
        let transaction = json::decode(&contents)
            .filter(|transaction| (transaction.id, transaction.seq) == (id, self.seq))
            .ok_or_else(|| damaged(&place, "not the transaction of its name and number"))?;
        self.seq += 1;
        if self.plan.chunks {
            self.chunks = transaction.chunks.into_iter();
        }
        self.transaction = Some((id, contents));
        Ok(())
    }
}
