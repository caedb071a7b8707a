//! A server whose history is not ours: told apart, and the ways out of it.

use std::io::Read;

use super::Replica;
use crate::client::error::{Divergence, Error, Forgery, Parting, Result};
use crate::model::{ChunkId, Head, Transaction, TransactionId, limits};
use crate::wire::Code;

impl Replica {
    /// How the server's history and ours have parted; `None` where they have not. Costs one request, two more
    /// where HEAD is another one, or some twenty where it has to
    /// look for the newest transaction that both have.
    ///
    /// # Errors
    /// Those of the remote.
    pub fn diverged(&self) -> Result<Option<Divergence>> {
        let base = self.head()?;
        let theirs = match self.remote.head() {
            // Where new users are not admitted, one who is not known has nothing.
            Err(Error::Refused {
                code: Code::UnknownUser,
                ..
            }) if base != Head::ROOT => Head::ROOT,
            head => head?,
        };
        let parted = |how, common: Head| {
            Ok(Some(Divergence {
                how,
                common,
                ours: base.seq - common.seq,
                theirs: theirs.seq.saturating_sub(common.seq),
            }))
        };
        if base.id == theirs.id {
            return Ok(None);
        }
        if base == Head::ROOT {
            return self.moved_away(theirs);
        }
        if theirs.id == TransactionId::ROOT {
            return parted(Parting::Empty, Head::ROOT);
        }
        if let Some(found) = self.find(theirs.id)?.filter(|found| found.on_chain) {
            let seq = found.transaction.seq;
            return parted(Parting::Rollback, Head { id: theirs.id, seq });
        }
        if let Some(moved) = self.moved_away(theirs)? {
            return Ok(Some(moved));
        }
        if self.is_there(base)? {
            return Ok(None);
        }
        match self.newest_common(base)? {
            Head::ROOT => parted(Parting::OtherStore, Head::ROOT),
            common => parted(Parting::Fork, common),
        }
    }

    /// The error of a server that does not know our HEAD.
    pub(super) fn parted(&self) -> Result<Error> {
        Ok(match self.diverged()? {
            Some(divergence) => Error::Diverged(divergence),
            // It knows it by now.
            None => Error::Busy,
        })
    }

    /// The newest transaction of our chain that is on theirs, which our HEAD is not.
    fn newest_common(&self, head: Head) -> Result<Head> {
        let (mut common, mut other) = (Head::ROOT, head);
        while other.seq - common.seq > 1 {
            let middle = self.numbered(head, common.seq + (other.seq - common.seq) / 2)?;
            match self.is_there(middle)? {
                true => common = middle,
                false => other = middle,
            }
        }
        Ok(common)
    }

    fn is_there(&self, ours: Head) -> Result<bool> {
        let theirs = self.remote.transaction(ours.id)?;
        Ok(theirs.is_some_and(|theirs| (theirs.id, theirs.seq) == (ours.id, ours.seq)))
    }

    /// Sees that the newest that the server has, which is this, opens with our keys: pulls nothing. For a look, before
    /// anything is asked for.
    ///
    /// # Errors
    /// [`Error::WrongKey`], and [`Error::Forged`] where no device of this store made it; those of the remote.
    pub fn check_newest(&self, theirs: Head) -> Result<()> {
        if theirs == Head::ROOT {
            return Ok(());
        }
        if let Some(found) = self.find(theirs.id)? {
            return self.said(found).map(drop);
        }
        let forged = |what| Error::Forged {
            transaction: theirs.id,
            what,
        };
        // HEAD may have moved on, and been replaced, meanwhile.
        let transaction = self.remote.transaction(theirs.id)?.ok_or(Error::Busy)?;
        let digests = (transaction.chunks.iter()).filter_map(|chunk| match chunk {
            ChunkId::Digest(digest) => Some(*digest),
            ChunkId::Alias(_) => None,
        });
        let digests: Vec<_> = digests.collect();
        let (first, others) = (digests.split_first()).ok_or_else(|| forged(Forgery::Missing))?;
        let chunk = self.remote.chunk(first)?;
        let chunk = chunk.ok_or_else(|| forged(Forgery::Missing))?;
        let mut bytes = Vec::new();
        let read = chunk.take(limits::HELD_BYTES).read_to_end(&mut bytes);
        read.map_err(Error::offline)?;
        let Transaction { parent, seq, .. } = transaction;
        let opened = self.keys.open_entry(parent, seq, others, &bytes);
        opened
            .map(drop)
            .map_err(|why| Error::unopened(theirs.id, why))
    }

    /// Puts back what a server lacks that was restored from a backup: an ordinary advance from its HEAD, which is one of ours,
    /// to ours. Returns how many transactions that were.
    ///
    /// # Errors
    /// [`Error::Diverged`] where it is not that; those of the remote.
    pub fn restore(&self) -> Result<u64> {
        let _lock = self.sync_lock()?;
        match self.diverged()? {
            Some(Divergence {
                how: Parting::Rollback,
                common,
                ..
            }) => {
                let sent = self.send_confirmed(common.id)?;
                self.note_heard();
                Ok(sent)
            }
            Some(other) => Err(other.into()),
            None => Ok(0),
        }
    }

    /// Fills a server that knows nothing of this store with all of it, and with the checkpoint that is kept here. Returns how many transactions that were.
    ///
    /// # Errors
    /// [`Error::Diverged`] where it knows something under this user; those of the remote.
    pub fn seed(&self) -> Result<u64> {
        let _lock = self.sync_lock()?;
        match self.diverged()? {
            Some(Divergence {
                how: Parting::Empty,
                ..
            }) => {
                let sent = self.send_confirmed(TransactionId::ROOT)?;
                self.send_checkpoint()?;
                self.note_heard();
                Ok(sent)
            }
            Some(other) => Err(other.into()),
            None => Ok(0),
        }
    }
}
