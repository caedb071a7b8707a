//! A server's bundle is verified as it passes, on its way into the store.
//!
//! The reader takes the server's bundle apart and makes one anew of what is right, so that the store reads nothing that was not
//! looked at. Each transaction must follow the one before it and have the id of its contents, and its entry must open in its
//! place; HEAD passes when all before it has, and names the last. So nothing is ever visible that does not verify.
//!
//! A long answer is taken in slice by slice, each of which ends after a transaction, with HEAD there.
//!
//! Where the connection breaks, what was verified by then is a whole bundle of its own: the reader ends it with HEAD at the last
//! transaction that was right, and nothing that arrived has to come again.

use std::collections::HashSet;
use std::io::{self, Read};

use super::Replica;
use super::course::Course;
use super::farewell::is_farewell;
use super::slip::Slip;
use crate::client::envelope::{Context, MAGIC};
use crate::client::error::{Error, Forgery};
use crate::client::order::follows;
use crate::model::{ChunkDigest, ChunkId, Head, Transaction, TransactionId, limits};
use crate::store::layout::Member;
use crate::store::{END, Members, Trouble, header, json, padding};

/// A server's bundle, verified as it is read.
pub(super) struct Verified<'a> {
    replica: &'a Replica,
    course: &'a Course<'a>,
    pub members: Members<'a>,
    /// The transaction that the slice follows.
    from: TransactionId,
    /// The last transaction that is right.
    pub at: Head,
    /// The chunk that may be the entry of the next transaction.
    held: Option<(ChunkDigest, Vec<u8>)>,
    /// The bytes that are passed on, and how many of them have been.
    out: Vec<u8>,
    sent: usize,
    /// How much is still to be passed on of a chunk that is too long to be held, and of the zeroes after it.
    passing: u64,
    zeroes: usize,
    ended: bool,
    /// Chunks that were passed on: their number, and which they are unless they were too many.
    pub chunks: u64,
    passed: Option<HashSet<ChunkDigest>>,
    /// How much was passed on.
    weight: Weight,
    /// The answer has more: what was read of it is a slice, as large as may be.
    pub has_more: bool,
    /// Why what came is not taken.
    pub verdict: Option<Error>,
    /// The connection broke.
    pub cut: Option<io::Error>,
}

/// How large a slice is.
#[derive(Clone, Copy, Default)]
struct Weight {
    bytes: u64,
    members: usize,
}

impl Weight {
    fn is_full(self) -> bool {
        self.bytes >= limits::PULLED_BYTES || self.members >= limits::PULLED_MEMBERS
    }
}

/// Why reading goes no further.
enum Halt {
    /// The connection broke.
    Cut(io::Error),
    /// The bundle is not this store's history.
    Refused(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Refused(error)
    }
}

impl<'a> Verified<'a> {
    /// So much of an answer as is one slice, after this transaction. The answer is read from where the slice before ended.
    pub fn new(
        replica: &'a Replica,
        after: Head,
        members: Members<'a>,
        course: &'a Course<'a>,
    ) -> Self {
        Self {
            replica,
            course,
            members,
            from: after.id,
            at: after,
            held: None,
            out: Vec::new(),
            sent: 0,
            passing: 0,
            zeroes: 0,
            ended: false,
            chunks: 0,
            passed: Some(HashSet::new()),
            weight: Weight::default(),
            has_more: false,
            verdict: None,
            cut: None,
        }
    }

    /// Reads on until there is something to pass on.
    fn more(&mut self) -> Result<(), Halt> {
        self.out.clear();
        self.sent = 0;
        if self.passing > 0 {
            let piece = self.members.piece();
            let piece = piece.map_err(|trouble| halted(trouble, self.at.id))?;
            self.passing -= piece.len() as u64;
            self.out.extend_from_slice(piece);
            if self.passing == 0 {
                self.out.resize(self.out.len() + self.zeroes, 0);
            }
            return Ok(());
        }
        let at = self.at.id;
        let Some(member) = (self.members.next()).map_err(|trouble| halted(trouble, at))? else {
            return Err(self.garbage("it has no HEAD").into());
        };
        match Member::parse(&member.name) {
            Some(Member::Chunk(digest)) => self.chunk(digest, member.bytes),
            Some(Member::Transaction(id)) => self.transaction(id, member.bytes),
            Some(Member::Head) => self.head(member.bytes),
            Some(Member::Alias(_)) | None => {
                let what = format!("{:?} is none of its names", member.name);
                Err(self.garbage(what).into())
            }
        }
    }

    fn chunk(&mut self, digest: ChunkDigest, bytes: u64) -> Result<(), Halt> {
        self.out
            .extend_from_slice(&header(&Member::Chunk(digest).name(), bytes));
        self.chunks += 1;
        self.weight.members += 1;
        self.weight.bytes += bytes;
        if let Some(passed) = &mut self.passed {
            passed.insert(digest);
        }
        if self.chunks > limits::FAST_FORWARD_CHUNKS as u64 {
            self.passed = None;
        }
        if bytes > limits::HELD_BYTES {
            (self.passing, self.zeroes) = (bytes, padding(bytes));
            return Ok(());
        }
        let contents = self.whole(bytes, limits::HELD_BYTES as usize);
        let contents = contents.inspect_err(|_| {
            // Its header is not passed on either.
            self.out.clear();
            self.chunks -= 1;
        })?;
        self.out.extend_from_slice(&contents);
        self.out.resize(self.out.len() + padding(bytes), 0);
        if self.held.is_none() && self.may_be_entry(&contents) {
            self.held = Some((digest, contents));
        }
        Ok(())
    }

    /// Whether a chunk says that it is an entry; in a plain store any may be one, and the first is.
    fn may_be_entry(&self, chunk: &[u8]) -> bool {
        let place = Context::Entry {
            parent: TransactionId::ROOT,
            seq: 0,
            others: &[],
        };
        self.replica.keys.is_plain()
            || chunk.starts_with(&MAGIC) && chunk.get(MAGIC.len()) == Some(&place.kind())
    }

    fn transaction(&mut self, id: TransactionId, bytes: u64) -> Result<(), Halt> {
        let contents = self.whole(bytes, limits::TRANSACTION_BYTES + json::PREFIX)?;
        let transaction = json::decode(&contents).filter(|read| read.id == id);
        let Some(transaction) = transaction else {
            return Err(self.garbage(format!("{id} is no transaction")).into());
        };
        if !self.replica.slips.made(Slip::HeadBeforeVerification) {
            let held = self.held.take();
            self.replica.verify(self.at, &transaction, held)?;
            self.check_chunks(&transaction)?;
        }
        self.at = Head {
            id,
            seq: transaction.seq,
        };
        self.pass(Member::Transaction(id), &contents);
        self.course.transaction();
        self.weight.members += 1;
        self.weight.bytes += bytes;
        if self.weight.is_full() {
            self.has_more = true;
            self.end();
        }
        Ok(())
    }

    /// Sees that all chunks of a transaction came with it, or are here. Where too many came to remember them, the store tells.
    fn check_chunks(&self, transaction: &Transaction) -> Result<(), Error> {
        let Some(passed) = &self.passed else {
            return Ok(());
        };
        for chunk in &transaction.chunks {
            let came = matches!(chunk, ChunkId::Digest(digest) if passed.contains(digest));
            if !came && !self.replica.has_chunk(chunk)? {
                return Err(Error::Forged {
                    transaction: transaction.id,
                    what: Forgery::Missing,
                });
            }
        }
        Ok(())
    }

    fn head(&mut self, bytes: u64) -> Result<(), Halt> {
        let contents = self.whole(bytes, 37)?;
        if contents != format!("{}\n", self.at.id).into_bytes() {
            let what = "its HEAD is not the last of its transactions";
            return Err(self.garbage(what).into());
        }
        let at = self.at.id;
        if (self.members.next())
            .map_err(|trouble| halted(trouble, at))?
            .is_some()
        {
            return Err(self.garbage("something follows its HEAD").into());
        }
        self.end();
        Ok(())
    }

    /// HEAD at the last transaction that is right, if any came, and the end.
    fn end(&mut self) {
        if self.at.id != self.from {
            let line = format!("{}\n", self.at.id);
            self.pass(Member::Head, line.as_bytes());
        }
        self.out.extend_from_slice(&END);
        self.ended = true;
    }

    fn pass(&mut self, member: Member, contents: &[u8]) {
        let bytes = contents.len() as u64;
        self.out.extend_from_slice(&header(&member.name(), bytes));
        self.out.extend_from_slice(contents);
        self.out.resize(self.out.len() + padding(bytes), 0);
    }

    /// All of a member.
    fn whole(&mut self, bytes: u64, limit: usize) -> Result<Vec<u8>, Halt> {
        let whole = self.members.whole_within(bytes, limit);
        whole.map_err(|trouble| halted(trouble, self.at.id))
    }

    fn garbage(&self, what: impl Into<String>) -> Error {
        Error::Forged {
            transaction: self.at.id,
            what: Forgery::Garbage(what.into()),
        }
    }
}

fn halted(trouble: Trouble, transaction: TransactionId) -> Halt {
    match trouble {
        Trouble::Cut(error) => Halt::Cut(error),
        Trouble::Short => Halt::Cut(io::ErrorKind::UnexpectedEof.into()),
        Trouble::Bad(why) => Halt::Refused(Error::Forged {
            transaction,
            what: Forgery::Garbage(why),
        }),
    }
}

impl Read for Verified<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.sent == self.out.len() && !self.ended {
            match self.more() {
                Ok(()) => {}
                // In the middle of a chunk that is not held, there is no end to be made.
                Err(Halt::Cut(error)) if self.passing == 0 => {
                    self.cut = Some(error);
                    self.out.clear();
                    self.end();
                }
                Err(Halt::Cut(error)) => {
                    let kind = error.kind();
                    self.cut = Some(error);
                    return Err(kind.into());
                }
                Err(Halt::Refused(error)) => {
                    self.verdict = Some(error);
                    return Err(io::Error::other("it does not verify"));
                }
            }
        }
        let length = (self.out.len() - self.sent).min(buffer.len());
        buffer[..length].copy_from_slice(&self.out[self.sent..self.sent + length]);
        self.sent += length;
        Ok(length)
    }
}

impl Replica {
    /// Sees that a transaction follows this one, has the id of its contents, and opens. Its entry's chunk is `held`, or in
    /// the store.
    pub(super) fn verify(
        &self,
        after: Head,
        transaction: &Transaction,
        held: Option<(ChunkDigest, Vec<u8>)>,
    ) -> Result<(), Error> {
        let forged = |what| {
            Err(Error::Forged {
                transaction: transaction.id,
                what,
            })
        };
        follows(after, transaction)?;
        let digests: Vec<ChunkDigest> = (transaction.chunks.iter())
            .filter_map(|chunk| match chunk {
                ChunkId::Digest(digest) => Some(*digest),
                ChunkId::Alias(_) => None,
            })
            .collect();
        let Some((first, others)) = digests.split_first() else {
            return forged(Forgery::Missing);
        };
        let chunk = match held {
            Some((digest, chunk)) if digest == *first => Some(chunk),
            _ => self.entry_chunk(first)?,
        };
        let Some(chunk) = chunk else {
            return forged(Forgery::Missing);
        };
        let opened = self
            .keys
            .open_entry(transaction.parent, transaction.seq, others, &chunk);
        match opened {
            Ok(said) if is_farewell(&said.app) => Err(self.moved(transaction.seq)?.into()),
            Ok(_) => Ok(()),
            Err(why) => Err(Error::unopened(transaction.id, why)),
        }
    }
}

/// A server's answer, of which nothing at all is a connection that broke.
pub(super) struct BundleAnswer<'a> {
    inner: &'a mut (dyn Read + 'a),
    begun: bool,
}

impl<'a> BundleAnswer<'a> {
    /// The answer that is read from here.
    pub fn new(inner: &'a mut (dyn Read + 'a)) -> Self {
        let begun = false;
        Self { inner, begun }
    }
}

impl Read for BundleAnswer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 && !std::mem::replace(&mut self.begun, true) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.begun = true;
        Ok(read)
    }
}
