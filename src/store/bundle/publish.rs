//! In, the second half: what has come is made durable, gets its names, and HEAD advances.
//!
//! The order is the model's (`post_bundle`; DESIGN, Order of writes): the bytes of chunks and transactions are
//! durable before any of them has a name, the names of chunks before those of transactions, and
//! parents come before children. What is shared over all members is the syncs.

use super::intake::Intake;
use super::outcome::{PushBundle, Step};
use super::staging::{StagedAlias, StagedChunk};
use super::tar::bad;
use crate::model::{TransactionId, limits};
use crate::store::layout::{Area, Dir, Thing};
use crate::store::lock::{Exclusive, Locked, Shared};
use crate::store::publish::Published;
use crate::store::tally::Amount;
use crate::store::to_sync::ToSync;
use crate::store::{Advance, Error, Leftovers, Result};

/// Bytes in an alias's file: a digest and a newline.
const ALIAS_BYTES: u64 = 65;

impl Intake {
    /// Takes the user's shared lock, of the folder in which the first lock was taken.
    pub(super) fn shared(&mut self) -> Result<Shared> {
        let lock = self.user.shared_blocking()?.ok_or(Error::UserGone)?;
        self.check_folder()?;
        Ok(lock)
    }

    /// Takes the user's exclusive lock, of the folder in which the first lock was taken.
    pub(super) fn exclusive(&mut self) -> Result<Exclusive> {
        let lock = self.user.exclusive_blocking()?.ok_or(Error::UserGone)?;
        self.check_folder()?;
        Ok(lock)
    }

    /// Sees, under a lock, that the folder is the one of the first lock, and takes writes.
    fn check_folder(&mut self) -> Result<()> {
        let stamp = self.user.state.known().lock;
        if self.stamp.is_some() && self.stamp != stamp {
            return Err(Error::UserGone);
        }
        self.stamp = stamp;
        self.user.state.check_writable()
    }

    /// Gives the chunks that have come so far their names, durably; then the aliases of those that
    /// are there.
    pub fn publish_chunks(&mut self) -> Step<()> {
        self.sync_contents()?;
        self.sort_chunks();
        // Named, it is counted; transactions, which wait longer, are few bytes.
        self.expected = Amount::default();
        while !self.staging.chunks.is_empty() {
            let lock = self.shared()?;
            let head = self.user.vouched_head()?;
            let moved = head != Some(self.began_at);
            for _ in 0..limits::PUBLISHED_AT_ONCE {
                let Some(staged) = self.staging.chunks.pop() else {
                    break;
                };
                if self.publish_chunk(&lock, &staged, moved)? {
                    self.stored.chunk(staged.bytes);
                } else {
                    self.staging.remove(&Thing::Chunk(staged.digest));
                    self.existing.chunk(staged.bytes);
                }
            }
        }
        self.sync()?;
        self.publish_aliases()?;
        self.sync()?;
        self.keep_lost()
    }

    /// Gives what the chain names and had lost its committed name again.
    fn keep_lost(&mut self) -> Step<()> {
        if self.lost.is_empty() {
            return Ok(());
        }
        let lock = self.shared()?;
        let lost: Vec<_> = std::mem::take(&mut self.lost).into_iter().collect();
        lock.keep_named(&lost)?;
        Ok(())
    }

    /// Sorts by digest, so that names of one directory are made one after the other; one that came
    /// twice is there once.
    pub(super) fn sort_chunks(&mut self) {
        let existing = &mut self.existing;
        let chunks = &mut self.staging.chunks;
        chunks.sort_unstable_by_key(|staged| staged.digest);
        chunks.dedup_by(|again, staged| {
            let twice = again.digest == staged.digest;
            if twice {
                existing.chunk(again.bytes);
            }
            twice
        });
    }

    /// Makes the bytes of everything that has come durable.
    pub(super) fn sync_contents(&mut self) -> Step<()> {
        self.staging.finish()?;
        if std::mem::take(&mut self.staging.unsynced) > 0 {
            self.user.store.sync_below(&self.staging.dir(Dir::User))?;
        }
        Ok(())
    }

    /// Syncs all that was published, made young and relied on since the last time.
    pub(super) fn sync(&mut self) -> Step<()> {
        let to_sync = std::mem::replace(&mut self.to_sync, ToSync::keeping(0));
        if !to_sync.is_empty() {
            self.user.sync(to_sync)?;
        }
        Ok(())
    }

    /// Gives one chunk its name; `false` where it has it already.
    fn publish_chunk(&mut self, lock: &Locked, staged: &StagedChunk, moved: bool) -> Result<bool> {
        let thing = Thing::Chunk(staged.digest);
        let mut file = self.staging.unnamed(&thing, staged.bytes);
        // When it came it was not there: only an advance, which moves HEAD, could have changed that.
        file.is_new = !moved && !self.met_damage;
        // The name is the digest.
        let is_same = |_: &_| Ok(true);
        let published = lock.publish(&thing, &mut file, &is_same, &mut self.to_sync)?;
        Ok(published == Published::New)
    }

    /// Gives those aliases their names whose chunks are there, so that no alias ever stands for
    /// nothing; the others wait for theirs.
    fn publish_aliases(&mut self) -> Step<()> {
        let mut waiting = Vec::new();
        while !self.staging.aliases.is_empty() {
            let lock = self.shared()?;
            for _ in 0..limits::PUBLISHED_AT_ONCE {
                let Some(staged) = self.staging.aliases.pop() else {
                    break;
                };
                if self.publish_alias(&lock, &staged)?.is_none() {
                    waiting.push(staged);
                }
            }
        }
        self.staging.aliases = waiting;
        Ok(())
    }

    /// Gives an alias its name, unless it has it; `None` where its chunk is not there.
    fn publish_alias(&mut self, lock: &Locked, staged: &StagedAlias) -> Step<Option<()>> {
        let StagedAlias { alias, digest, .. } = staged;
        let Some(chunk) = lock.reach_chunk(digest, &mut self.to_sync)? else {
            return Ok(None);
        };
        let thing = Thing::Alias(*alias);
        self.to_sync.dir(Dir::of_chunk(chunk.area, digest));
        let published = match lock.find_alias(alias)? {
            Some((found, stands_for)) => {
                self.to_sync.dir(Dir::of_alias(found.area, alias));
                match stands_for == *digest {
                    true => {
                        lock.refresh(&thing, found, &mut self.to_sync)?;
                        Published::There
                    }
                    false => Published::Other,
                }
            }
            None => {
                let mut file = self.staging.unnamed(&thing, ALIAS_BYTES);
                let is_same = |place: &_| {
                    let there = lock.store.read_alias(place)?;
                    Ok(there.is_some_and(|(_, stands_for)| stands_for == *digest))
                };
                self.to_sync.dir(Dir::of_alias(Area::Incoming, alias));
                lock.publish(&thing, &mut file, &is_same, &mut self.to_sync)?
            }
        };
        if published == Published::Other {
            // That too is a promise: the name is synced before.
            self.sync()?;
            return Err(PushBundle::ChunkExists(*alias).into());
        }
        Ok(Some(()))
    }

    /// Refuses the push if an alias is left: all members have come, and the chunk that it stands for has not.
    pub fn publish_waiting_aliases(&mut self) -> Step<()> {
        match self.staging.aliases.first() {
            None => Ok(()),
            Some(StagedAlias { alias, digest, .. }) => Ok(bad(format!(
                "the alias {alias} stands for {digest}, which is not there"
            ))?),
        }
    }

    /// Advances HEAD, where the bundle has one. Otherwise it was a bulk upload.
    pub fn finish(&mut self, to: Option<TransactionId>) -> Step<(PushBundle, Option<Leftovers>)> {
        let (stored, existing) = (self.stored, self.existing);
        let taken = |head| PushBundle::Taken {
            head,
            stored,
            existing,
        };
        let Some(to) = to else {
            self.sync()?;
            let head = self.user.vouched_head()?;
            return Ok((taken(head.ok_or(Error::UserGone)?), None));
        };
        self.user.mend_before_advance()?;
        let (outcome, leftovers) = self.exclusive()?.advance(to)?;
        match outcome {
            Advance::Advanced(head) => Ok((taken(head), Some(leftovers))),
            Advance::Refused { head, why } => {
                drop(leftovers);
                self.sync()?;
                Ok((PushBundle::Refused { head, why }, None))
            }
        }
    }
}
