//! A transaction that did not come in one piece is fetched by chunk: what has arrived is durable, and is not fetched twice.

use std::collections::HashSet;
use std::io::Read;

use super::Replica;
use super::course::{CountedAnswer, Course};
use super::pull::refused;
use super::tar::{BundleFile, Tar};
use super::verify::{BundleAnswer, Verified};
use crate::client::error::{Error, Forgery, Result};
use crate::client::remote::WithChunks;
use crate::model::{ChunkDigest, ChunkId, Head, Transaction, limits};
use crate::store::layout::Member;
use crate::store::{Members, PushBundle, Trouble, json};

impl Replica {
    /// Fetches the next transaction after this one by chunk, and moves HEAD over it.
    ///
    /// # Errors
    /// As those of a pull. What has come stays.
    pub(super) fn pull_by_chunk(&self, before: Head) -> Result<()> {
        let Some(mut bundle) = self.remote.bundle(before.id, 1, WithChunks::None)? else {
            return Err(self.parted()?);
        };
        let Some(next) = self.only_transaction(before, &mut bundle)? else {
            return Ok(());
        };
        let mut seen = HashSet::new();
        let mut missing = Vec::new();
        for chunk in &next.chunks {
            if let ChunkId::Digest(digest) = chunk
                && seen.insert(*digest)
                && !self.has_chunk(chunk)?
            {
                missing.push(*digest);
            }
        }
        for batch in missing.chunks(limits::FETCHED_TOGETHER) {
            self.fetch_chunks(before, batch)?;
        }
        let mut files = vec![BundleFile::head(next.id), BundleFile::transaction(&next)];
        let mut tar = Tar::of(|| Ok(files.pop()));
        self.take(before, &mut tar)
    }

    /// Takes in a bundle that needs nothing more from the server, verified like one that comes from there.
    fn take(&self, before: Head, tar: &mut (dyn Read + '_)) -> Result<()> {
        let course = Course::of_rest(self, before);
        let mut watched = BundleAnswer::new(tar);
        let mut verified = Verified::new(self, before, Members::new(&mut watched), &course);
        let (outcome, leftovers) = self.user.push_bundle(&mut verified)?;
        if let Some(leftovers) = leftovers {
            leftovers.clear();
        }
        if let Some(verdict) = verified.verdict {
            return Err(verdict);
        }
        match outcome {
            PushBundle::Taken { .. } => Ok(()),
            other => Err(refused(other, verified.at)),
        }
    }

    /// The one transaction of a bundle without chunks; `None` where there is none after this one.
    fn only_transaction(&self, before: Head, bundle: &mut dyn Read) -> Result<Option<Transaction>> {
        let garbage = |what: &str| Error::Forged {
            transaction: before.id,
            what: Forgery::Garbage(what.to_owned()),
        };
        let mut watched = BundleAnswer::new(bundle);
        let mut members = Members::new(&mut watched);
        let mut found = None;
        while let Some(member) = members.next().map_err(|trouble| broke(trouble, before))? {
            let limit = limits::TRANSACTION_BYTES + json::PREFIX;
            let contents = members.whole_within(member.bytes, limit);
            let contents = contents.map_err(|trouble| broke(trouble, before))?;
            match Member::parse(&member.name) {
                Some(Member::Transaction(id)) if found.is_none() => {
                    let read = json::decode(&contents).filter(|read| read.id == id);
                    found = Some(read.ok_or_else(|| garbage("it is no transaction"))?);
                }
                Some(Member::Head) => {}
                _ => return Err(garbage("it has more than was asked for")),
            }
        }
        Ok(found)
    }

    /// Fetches these chunks, and goes on as long as some come.
    pub(super) fn fetch_chunks(&self, before: Head, wanted: &[ChunkDigest]) -> Result<()> {
        let mut left = wanted.to_vec();
        let mut tries = 0;
        let course = Course::of_rest(self, before);
        while !left.is_empty() {
            let mut answer = self.remote.chunks(&left)?;
            let mut cut = None;
            let mut came = HashSet::new();
            let mut counted = CountedAnswer::of(&mut answer, &course);
            let mut watched = BundleAnswer::new(&mut counted);
            let mut members = Members::new(&mut watched);
            let mut tar = Tar::of(|| {
                let next = next_chunk(&mut members, &left);
                match next {
                    Ok(Some((digest, bytes))) => {
                        came.insert(digest);
                        Ok(Some(BundleFile::whole_chunk(digest, bytes)))
                    }
                    Ok(None) => Ok(None),
                    Err(trouble @ Trouble::Bad(_)) => Err(broke(trouble, before)),
                    // What has come is a bundle of its own.
                    Err(trouble) => {
                        cut = Some(trouble);
                        Ok(None)
                    }
                }
            });
            let (outcome, _) = self.user.push_bundle(&mut tar)?;
            if let Some(trouble) = tar.trouble {
                return Err(trouble);
            }
            if !matches!(outcome, PushBundle::Taken { .. }) {
                return Err(refused(outcome, before));
            }
            left.retain(|digest| !came.contains(digest));
            match cut {
                None if came.is_empty() => {
                    return Err(Error::Forged {
                        transaction: before.id,
                        what: Forgery::Missing,
                    });
                }
                Some(cut) if came.is_empty() && tries >= limits::PULL_TRIES => {
                    return Err(broke(cut, before));
                }
                _ if came.is_empty() => tries += 1,
                _ => tries = 0,
            }
        }
        Ok(())
    }
}

/// The next chunk of an answer, which must be one of these.
fn next_chunk(
    members: &mut Members<'_>,
    wanted: &[ChunkDigest],
) -> std::result::Result<Option<(ChunkDigest, Vec<u8>)>, Trouble> {
    let Some(member) = members.next()? else {
        return Ok(None);
    };
    match Member::parse(&member.name) {
        Some(Member::Chunk(digest)) if wanted.contains(&digest) => {
            let bytes = members.whole_within(member.bytes, limits::CHUNK_BYTES as usize)?;
            Ok(Some((digest, bytes)))
        }
        _ => Err(Trouble::Bad(format!("{:?} was not asked for", member.name))),
    }
}

fn broke(trouble: Trouble, at: Head) -> Error {
    match trouble {
        Trouble::Cut(error) => Error::offline(error),
        Trouble::Short => Error::offline(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
        Trouble::Bad(why) => Error::Forged {
            transaction: at.id,
            what: Forgery::Garbage(why),
        },
    }
}
