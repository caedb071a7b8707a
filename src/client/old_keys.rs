//! A new device has the present key alone: the old ones are in the entry that a `rekey` made, one of the first under the new key.

use std::io::Read;

use super::envelope::key_id;
use super::error::{Error, Forgery, Result};
use super::identity::{Identity, Masters};
use super::journal::{JournalBody, JournalEntry};
use super::keys::{KeyId, Keys, Master};
use super::order::follows;
use super::remote::{AnswerBody, Remote, WithChunks};
use crate::model::{ChunkDigest, ChunkId, Head, Transaction, limits};
use crate::store::layout::Member;
use crate::store::{Members, Trouble, json};

/// A transaction as far as the search needs it.
struct SealedPlace {
    at: Head,
    entry: ChunkDigest,
}

impl Identity {
    /// Looks on a server for the entry with the old keys, and takes them over. Returns whether there was one. What is taken is
    /// sealed with the present key, so that no server can make it up.
    ///
    /// Costs the chain without its chunks up to there, some twenty entries, and those that were pending when the key was made.
    ///
    /// # Errors
    /// Those of the remote; [`Error::Forged`] where it gives out what is no history.
    pub fn find_old_keys(&mut self, remote: &dyn Remote) -> Result<bool> {
        let Masters::Sealed { current, old } = &mut self.masters else {
            return Ok(false);
        };
        let keys = Keys::derive(current);
        let mut from = Head::ROOT;
        let mut is_reached = false;
        let mut found = None;
        loop {
            let slice = slice_after(remote, from)?;
            let Some(last) = slice.last() else {
                break;
            };
            // The entry may be in a later answer than the first that is sealed with our key.
            let first = match is_reached {
                true => 0,
                false if sealed_with(remote, last)? == Some(keys.id()) => {
                    first_of(remote, &slice, keys.id())?
                }
                false => slice.len(),
            };
            is_reached |= first < slice.len();
            if look_for_keys(remote, &slice[first..], &keys, &mut found)? {
                break;
            }
            from = last.at;
        }
        let is_found = found.is_some();
        if let Some(found) = found {
            *old = found;
        }
        Ok(is_found)
    }
}

/// The place of the first transaction that is sealed with our key, where the last one is: all after it are.
fn first_of(remote: &dyn Remote, slice: &[SealedPlace], ours: KeyId) -> Result<usize> {
    let (mut before, mut from) = (0, slice.len() - 1);
    while before < from {
        let middle = before + (from - before) / 2;
        match sealed_with(remote, &slice[middle])? == Some(ours) {
            true => from = middle,
            false => before = middle + 1,
        }
    }
    Ok(from)
}

/// The key that an entry says that it is sealed with; `None` where it says none.
fn sealed_with(remote: &dyn Remote, transaction: &SealedPlace) -> Result<Option<KeyId>> {
    let chunk = remote.chunk(&transaction.entry)?;
    let chunk = chunk.map(whole).transpose()?.unwrap_or_default();
    Ok(key_id(&chunk).ok())
}

/// Looks for the old masters that the first entries under our key have, and says whether there are no more to be found. What was
/// pending when the `rekey` came may stand before its entry, where it had to be said again; and the entry of another `rekey` may
/// follow at once, which has more of them.
fn look_for_keys(
    remote: &dyn Remote,
    slice: &[SealedPlace],
    keys: &Keys,
    found: &mut Option<Vec<Master>>,
) -> Result<bool> {
    for place in slice {
        match keys_in(remote, place, keys)? {
            None if found.is_some() => return Ok(true),
            None => {}
            some => *found = some,
        }
    }
    Ok(false)
}

/// The old masters that an entry has, where it is one that a `rekey` made.
fn keys_in(remote: &dyn Remote, place: &SealedPlace, keys: &Keys) -> Result<Option<Vec<Master>>> {
    use super::keyring::Keyring;
    let forged = |what| Error::Forged {
        transaction: place.at.id,
        what,
    };
    let found = remote.transaction(place.at.id)?;
    let found = found.ok_or_else(|| forged(Forgery::Missing))?;
    let others = found.chunks.iter().skip(1);
    let others = others.map(|chunk| match chunk {
        ChunkId::Digest(digest) => Ok(*digest),
        ChunkId::Alias(_) => Err(forged(Forgery::Missing)),
    });
    let others = others.collect::<Result<Vec<_>>>()?;
    let chunk = remote.chunk(&place.entry)?.map(whole).transpose()?;
    let ring = Keyring::Sealed {
        current: keys.clone(),
        old: Vec::new(),
    };
    let chunk = chunk.unwrap_or_default();
    let said = ring.open_entry(found.parent, found.seq, &others, &chunk);
    let said = said.map_err(|why| Error::unopened(place.at.id, why))?;
    Ok(match JournalEntry::decode(&said.app) {
        Some(JournalEntry {
            what: JournalBody::Keys(keys),
            ..
        }) => Some(keys),
        _ => None,
    })
}

fn whole(answer: AnswerBody) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = answer.take(limits::HELD_BYTES).read_to_end(&mut bytes);
    read.map_err(Error::offline)?;
    Ok(bytes)
}

/// The next transactions after one, without their chunks, each of which follows the one before it: so no server can keep a device
/// asking with what it gave out before.
fn slice_after(remote: &dyn Remote, from: Head) -> Result<Vec<SealedPlace>> {
    let bundle = remote.bundle(from.id, limits::PULLED_TOGETHER, WithChunks::None)?;
    let Some(mut bundle) = bundle else {
        return Ok(Vec::new());
    };
    let (mut at, mut slice) = (from, Vec::new());
    let garbage = |at: Head, what: String| Error::Forged {
        transaction: at.id,
        what: Forgery::Garbage(what),
    };
    let broke = |at: Head, trouble: Trouble| match trouble {
        Trouble::Bad(why) => garbage(at, why),
        other => Error::offline(format!("{other:?}")),
    };
    let more = |at| garbage(at, "more than was asked for".to_owned());
    let mut members = Members::new(&mut bundle);
    while let Some(member) = members.next().map_err(|trouble| broke(at, trouble))? {
        let limit = limits::TRANSACTION_BYTES + json::PREFIX;
        let contents = members.whole_within(member.bytes, limit);
        let contents = contents.map_err(|trouble| broke(at, trouble))?;
        match Member::parse(&member.name) {
            Some(Member::Transaction(_)) if slice.len() as u64 == limits::PULLED_TOGETHER => {
                return Err(more(at));
            }
            Some(Member::Transaction(id)) => {
                let read = json::decode(&contents).filter(|read: &Transaction| read.id == id);
                let ours = read.and_then(|read| Some((read.chunks.first().copied()?, read)));
                let Some((ChunkId::Digest(entry), read)) = ours else {
                    return Err(garbage(at, "a transaction that is none of ours".to_owned()));
                };
                follows(at, &read)?;
                at = Head { id, seq: read.seq };
                slice.push(SealedPlace { at, entry });
            }
            Some(Member::Head) => {}
            _ => return Err(more(at)),
        }
    }
    Ok(slice)
}
