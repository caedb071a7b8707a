//! The last word under a user whom a `rekey` left: the store has a new invite.
//!
//! The owner of the box moves the store to its new user, and nothing is left under the old one. A device that had nothing confirmed
//! by then would take that for a store that nobody has said anything in yet, and would fill it anew. So the device that made
//! the new key says one entry more there, under the old key, once it finds the store under the new user.

use std::io::Read;

use super::Replica;
use super::say::digest;
use super::tar::{BundleFile, Tar, length_in_bundle};
use crate::client::entry::{Nonce, Said};
use crate::client::error::{Divergence, Error, Parting, Result};
use crate::client::journal::{JournalBody, JournalEntry};
use crate::client::keyring::Keyring;
use crate::client::remote::{Parcel, PushAnswer, Remote};
use crate::model::{ChunkDigest, ChunkId, Head, Transaction, TransactionId, limits};
use crate::store::{END, json};
use crate::wire::Code;

/// A transaction with its entry, which nothing else goes with.
struct LastWord<'a> {
    chunk: &'a [u8],
    transaction: &'a Transaction,
}

impl Parcel for LastWord<'_> {
    fn bytes(&self) -> u64 {
        let transaction = json::encode(self.transaction).len() as u64;
        let members = [self.chunk.len() as u64, transaction, 37].map(length_in_bundle);
        members.iter().sum::<u64>() + END.len() as u64
    }

    fn open(&self) -> Result<Box<dyn Read + Send + '_>> {
        let id = self.transaction.id;
        let mut files = vec![
            BundleFile::head(id),
            BundleFile::transaction(self.transaction),
            BundleFile::whole_chunk(digest(self.chunk), self.chunk.to_vec()),
        ];
        Ok(Box::new(Tar::of(move || Ok(files.pop()))))
    }
}

/// Writes the last word at this remote, which is the old user's, under the old keys: after whatever was said there. Nothing, where it
/// is said already. `entry` is one that is [`JournalBody::Moved`].
///
/// # Errors
/// Those of the remote; [`Error::Busy`] where others are quicker each time.
pub fn say_farewell(remote: &dyn Remote, keys: &Keyring, entry: &JournalEntry) -> Result<()> {
    for _ in 0..limits::RACES {
        let head = remote.head()?;
        if is_farewell_at(remote, keys, head)? {
            return Ok(());
        }
        let nonce = Nonce::generate().map_err(std::io::Error::other)?;
        let app = entry.encode()?.to_vec();
        let (parent, seq) = (head.id, head.seq + 1);
        let chunk = keys.seal_entry(parent, seq, &[], &Said { nonce, app });
        let chunk = chunk.map_err(std::io::Error::other)?;
        let chunks = [digest(&chunk)];
        let transaction = Transaction {
            id: TransactionId::of_content(parent, seq, chunks.iter()),
            seq,
            parent,
            chunks: chunks.map(ChunkId::Digest).to_vec(),
        };
        let word = LastWord {
            chunk: &chunk,
            transaction: &transaction,
        };
        if let PushAnswer::Taken(_) = remote.push_bundle(&word)? {
            return Ok(());
        }
    }
    Err(Error::Busy)
}

/// Whether something was said under the user of this remote, and the last word was not, under these keys.
///
/// # Errors
/// Those of the remote.
pub fn has_entries(remote: &dyn Remote, keys: &Keyring) -> Result<bool> {
    let head = match remote.head() {
        // Where new users are not admitted, one who is not known has nothing.
        Err(Error::Refused {
            code: Code::UnknownUser,
            ..
        }) => Head::ROOT,
        head => head?,
    };
    Ok(head != Head::ROOT && !is_farewell_at(remote, keys, head)?)
}

/// Whether an application's bytes are the last word.
pub(super) fn is_farewell(app: &[u8]) -> bool {
    JournalEntry::decode(app).is_some_and(|entry| entry.what == JournalBody::Moved)
}

/// Whether the last word stands at this place of the remote.
fn is_farewell_at(remote: &dyn Remote, keys: &Keyring, head: Head) -> Result<bool> {
    if head == Head::ROOT {
        return Ok(false);
    }
    let Some(transaction) = remote.transaction(head.id)? else {
        return Ok(false);
    };
    let [ChunkId::Digest(first)] = transaction.chunks[..] else {
        return Ok(false);
    };
    let Some(answer) = remote.chunk(&first)? else {
        return Ok(false);
    };
    let mut chunk = Vec::new();
    let read = answer.take(limits::HELD_BYTES).read_to_end(&mut chunk);
    read.map_err(Error::offline)?;
    // What does not open is no word of ours.
    let others: [ChunkDigest; 0] = [];
    let said = keys.open_entry(transaction.parent, transaction.seq, &others, &chunk);
    Ok(said.is_ok_and(|said| is_farewell(&said.app)))
}

impl Replica {
    /// The parting from a server where the last word stands at this place.
    pub(super) fn moved_away(&self, theirs: Head) -> Result<Option<Divergence>> {
        match is_farewell_at(&*self.remote, &self.keys, theirs)? {
            true => Ok(Some(self.moved(theirs.seq)?)),
            false => Ok(None),
        }
    }

    /// The parting from a server that has said the last word.
    pub(super) fn moved(&self, theirs: u64) -> Result<Divergence> {
        Ok(Divergence {
            how: Parting::Moved,
            common: Head::ROOT,
            ours: self.head()?.seq,
            theirs,
        })
    }
}
