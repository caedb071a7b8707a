//! A pull: what others said comes here, the server's bundles, slice by slice, each durable and verified before HEAD reaches it.

use std::io;

use super::Replica;
use super::course::{CountedAnswer, Course};
use super::known::PendingLine;
use super::verify::{BundleAnswer, Verified};
use crate::client::error::{Error, Forgery, Result};
use crate::client::remote::WithChunks;
use crate::model::{Head, Transaction, limits};
use crate::store::{Advance, AdvanceRefusal, Members, PushBundle};

/// The outcome of pulling a slice.
struct Slice {
    /// HEAD, after it.
    head: Head,
    /// Chunks that came, whether or not HEAD reaches them.
    chunks: u64,
    /// The connection broke before it was whole.
    cut: Option<io::Error>,
}

impl Replica {
    /// Pulls all that the server has after our HEAD, and moves it there. What is pending stays as it is. Nothing new costs one
    /// request.
    ///
    /// # Errors
    /// [`Error::Offline`], with all that was verified by then kept; [`Error::Diverged`], [`Error::Forged`] and
    /// [`Error::WrongKey`], with nothing of that slice kept.
    pub(super) fn pull_confirmed(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            let before = self.head()?;
            let slice = self.pull_answer(before)?;
            let came = slice.head.seq - before.seq;
            let Some(cut) = slice.cut else {
                if came < limits::PULLED_TOGETHER {
                    return self.pulled_to(slice.head);
                }
                continue;
            };
            if came == 0 {
                tries += 1;
                if tries > limits::PULL_TRIES {
                    return Err(Error::offline(cut));
                }
                if slice.chunks > 0 || self.is_long(&cut) {
                    self.pull_by_chunk(slice.head)?;
                    tries = 0;
                }
            }
        }
    }

    /// Takes in one answer, slice by slice. What the last of them was is returned.
    fn pull_answer(&self, before: Head) -> Result<Slice> {
        let bundle = self
            .remote
            .bundle(before.id, limits::PULLED_TOGETHER, WithChunks::All)?;
        let Some(mut bundle) = bundle else {
            return Err(self.parted()?);
        };
        let course = Course::of_pull(self, before);
        let mut counted = CountedAnswer::of(&mut bundle, &course);
        let mut watched = BundleAnswer::new(&mut counted);
        let (mut slice, mut rest) = self.pull_slice(before, Members::new(&mut watched), &course)?;
        while let Some(members) = rest {
            (slice, rest) = self.pull_slice(slice.head, members, &course)?;
        }
        Ok(slice)
    }

    /// Whether a slice broke in a chunk that is not held in memory.
    fn is_long(&self, cut: &io::Error) -> bool {
        cut.get_ref().is_some_and(|inner| inner.is::<BrokenChunk>())
    }

    /// Takes in so much of an answer as is one slice; returns the rest of it where there is more.
    fn pull_slice<'a>(
        &'a self,
        before: Head,
        members: Members<'a>,
        course: &'a Course<'a>,
    ) -> Result<(Slice, Option<Members<'a>>)> {
        let mut verified = Verified::new(self, before, members, course);
        let (outcome, leftovers) = self.user.push_bundle(&mut verified)?;
        if let Some(leftovers) = leftovers {
            leftovers.clear();
        }
        let Verified {
            at,
            members,
            has_more,
            verdict,
            cut,
            chunks,
            ..
        } = verified;
        if let Some(verdict) = verdict {
            return Err(verdict);
        }
        match outcome {
            PushBundle::Cut(_) if cut.is_some() => {
                let cut = cut.map(|error| io::Error::new(error.kind(), BrokenChunk(error)));
                let (head, chunks) = (before, 0);
                Ok((Slice { head, chunks, cut }, None))
            }
            PushBundle::Taken { head, .. } => {
                let rest = has_more.then_some(members);
                Ok((Slice { head, chunks, cut }, rest))
            }
            other => Err(refused(other, at)),
        }
    }

    /// Moves HEAD to a transaction of our own that the server has confirmed. Those that are to be confirmed, and were read, are
    /// not read again.
    pub(super) fn confirm(
        &self,
        line: &PendingLine,
        head: Head,
        read: &[Transaction],
    ) -> Result<()> {
        debug_assert!(line.ids.contains(&head.id));
        let lock = self.exclusive()?;
        let (outcome, leftovers) = match read.last() {
            Some(last) if last.id == head.id => lock.advance_over_read(read)?,
            _ => lock.advance(head.id)?,
        };
        leftovers.clear();
        match outcome {
            Advance::Advanced(_) => Ok(()),
            Advance::Refused { head: now, .. } if now.seq >= head.seq => Ok(()),
            Advance::Refused { why, .. } => {
                Err(super::say::broken(format!("our own store refuses {why:?}")))
            }
        }
    }
}

/// The own store did not take a bundle in: something in it is wrong that only the whole of it shows.
pub(super) fn refused(outcome: PushBundle, at: Head) -> Error {
    let forged = |what| Error::Forged {
        transaction: at.id,
        what,
    };
    match outcome {
        PushBundle::MissingChunks(_)
        | PushBundle::Refused {
            why: AdvanceRefusal::MissingChunks(_),
            ..
        } => forged(Forgery::Missing),
        PushBundle::Bad(why) => forged(Forgery::Digest(why)),
        PushBundle::TooLarge { limit } => Error::TooLong {
            bytes: limit + 1,
            limit,
        },
        PushBundle::TransactionExists(id) => Error::Forged {
            transaction: id,
            what: Forgery::Id,
        },
        // Somebody moved HEAD who does not ask for the lock.
        PushBundle::Refused { .. } => Error::Busy,
        other => super::say::unexpected(other),
    }
}

/// The connection broke within a long chunk.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct BrokenChunk(io::Error);
