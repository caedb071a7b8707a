//! In, the second half: what has come is made durable, gets its names, and HEAD advances.
//!
//! The order is the model's (`post_bundle`; DESIGN, Order of writes): the bytes of chunks and transactions are
//! durable before any of them has a name, the names of chunks before those of transactions, and
//! parents come before children. What is shared over all members is the syncs.

use super::intake::Intake;
use super::outcome::{PushBundle, Step};
use super::staging::{StagedAlias, StagedChunk};
use super::tar::bad;
use crate::disk::{Mode, Place};
use crate::model::{TransactionId, limits};
use crate::store::chunks::ALIAS_BYTES;
use crate::store::layout::{Area, Dir, Thing};
use crate::store::lock::UserLock;
use crate::store::quota::Amount;
use crate::store::{Advance, Error, Leftovers, Result};

impl Intake<'_> {
    pub(super) fn lock(&mut self, mode: Mode) -> Result<UserLock> {
        let lock = self.store.lock_blocking(&self.user, mode)?;
        let lock = lock.ok_or(Error::UserGone)?;
        let stamp = lock.state.known().lock;
        if self.stamp.is_some() && self.stamp != stamp {
            return Err(Error::UserGone);
        }
        self.stamp = stamp;
        lock.state.check_writable()?;
        Ok(lock)
    }

    /// Gives the chunks that have come so far their names, durably; then the aliases of those that
    /// are there.
    pub fn publish_chunks(&mut self) -> Step<()> {
        self.sync_contents()?;
        self.sort_chunks();
        // Named, it is counted; transactions, which wait longer, are few bytes.
        self.expected = Amount::default();
        while !self.staging.chunks.is_empty() {
            let lock = self.lock(Mode::Shared)?;
            let head = self.store.vouched_head(&self.state, &self.folder)?;
            let moved = head != Some(self.began_at);
            let lost = self.store.has_lost(&self.folder)?;
            for _ in 0..limits::PUBLISHED_AT_ONCE {
                let Some(staged) = self.staging.chunks.pop() else {
                    break;
                };
                if self.publish_chunk(&lock, &staged, moved, lost)? {
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
        let lock = self.lock(Mode::Shared)?;
        let lost: Vec<_> = std::mem::take(&mut self.lost).into_iter().collect();
        self.store.keep_named(&lock, &lost)?;
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
            self.store.sync_below(&self.staging.dir(Dir::User))?;
        }
        Ok(())
    }

    /// Syncs what was published, touched and relied on since the last time.
    pub(super) fn sync(&mut self) -> Step<()> {
        if std::mem::take(&mut self.touched) {
            self.store.sync_below(&self.folder.dir(Dir::Incoming))?;
        }
        let dirs = std::mem::take(&mut self.dirs);
        if !dirs.is_empty() {
            self.store
                .sync_dirs(&self.state, &self.folder, dirs, Vec::new())?;
        }
        Ok(())
    }

    /// Gives one chunk its name; `false` where it has it already.
    fn publish_chunk(
        &mut self,
        lock: &UserLock,
        staged: &StagedChunk,
        moved: bool,
        lost: bool,
    ) -> Result<bool> {
        let digest = &staged.digest;
        let committed = self.folder.chunk(Area::Committed, digest);
        // When it came it was not there: only an advance, which moves HEAD, could have changed that.
        if moved && self.is_there(&committed)? {
            self.dirs.insert(Dir::of_chunk(Area::Committed, digest));
            return Ok(false);
        }
        let area = match lost && self.store.was_lost(&self.folder, digest)? {
            true => Area::Committed,
            false => Area::Incoming,
        };
        let place = self.folder.chunk(area, digest);
        let dir = Dir::of_chunk(area, digest);
        let new = self.name(lock, &Thing::Chunk(*digest), staged.bytes, dir, &place)?;
        if !new && area == Area::Incoming {
            self.touch(&place)?;
        }
        Ok(new)
    }

    /// Gives a member's file a name in `dir`, which is to be synced then; `false` where the
    /// name is taken.
    pub(super) fn name(
        &mut self,
        lock: &UserLock,
        thing: &Thing,
        bytes: u64,
        dir: Dir,
        to: &Place,
    ) -> Result<bool> {
        let from = self.staging.place(thing);
        self.dirs.insert(dir);
        let room = match self.store.reserve(&lock.user, bytes) {
            // What is there takes no room.
            Err(Error::QuotaExceeded { .. }) if self.is_there(to)? => return Ok(false),
            other => other?,
        };
        let new = self.move_new(lock, dir, &from, to)?;
        if new {
            room.keep();
        }
        Ok(new)
    }

    /// Moves a file or directory of the push into `dir`; `false` where the name is taken.
    pub(super) fn move_new(
        &self,
        lock: &UserLock,
        dir: Dir,
        from: &Place,
        to: &Place,
    ) -> Result<bool> {
        let disk = &self.store.disk;
        let moved = (self.store).in_dir(&lock.state, &lock.folder, dir, || {
            match disk.rename_new(from, to) {
                Ok(()) => Ok(true),
                Err(taken) if taken.is_taken() => Ok(false),
                Err(other) => Err(other),
            }
        });
        moved.map_err(|error| match error {
            // The directory is there, so it is what came that is not: the folder that it lay in was deleted, and
            // this is the user's next one.
            Error::Disk(absent) if absent.is_absent() => Error::UserGone,
            other => other,
        })
    }

    /// Makes a file in `incoming/` young: its grace period begins again.
    pub(super) fn touch(&mut self, place: &Place) -> Result<()> {
        let file = self.store.disk.open(place)?;
        file.touch(self.store.disk.now())?;
        self.touched = true;
        Ok(())
    }

    /// Gives those aliases their names whose chunks are there, so that no alias ever stands for
    /// nothing; the others wait for theirs.
    fn publish_aliases(&mut self) -> Step<()> {
        let mut waiting = Vec::new();
        while !self.staging.aliases.is_empty() {
            let lock = self.lock(Mode::Shared)?;
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
    fn publish_alias(&mut self, lock: &UserLock, staged: &StagedAlias) -> Step<Option<()>> {
        let StagedAlias { alias, digest, .. } = staged;
        let Some(chunk) = self.store.find_chunk(&self.folder, digest)? else {
            return Ok(None);
        };
        self.dirs.insert(Dir::of_chunk(chunk.area, digest));
        let there = match self.store.find_alias(&self.folder, alias)? {
            Some(there) => there,
            None => {
                let dir = Dir::of_alias(Area::Incoming, alias);
                let place = self.folder.alias(Area::Incoming, alias);
                if self.name(lock, &Thing::Alias(*alias), ALIAS_BYTES, dir, &place)? {
                    return Ok(Some(()));
                }
                let there = self.store.find_alias(&self.folder, alias)?;
                there.ok_or(Error::UserGone)?
            }
        };
        let (found, stands_for) = there;
        self.dirs.insert(Dir::of_alias(found.area, alias));
        if stands_for != *digest {
            // That too is a promise: the name is synced before.
            self.sync()?;
            return Err(PushBundle::ChunkExists(*alias).into());
        }
        if found.area == Area::Incoming {
            let place = self.folder.alias(Area::Incoming, alias);
            self.touch(&place)?;
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
            let head = self.store.vouched_head(&self.state, &self.folder)?;
            return Ok((taken(head.ok_or(Error::UserGone)?), None));
        };
        self.store.mend_before_advance(&self.user)?;
        let lock = self.lock(Mode::Exclusive)?;
        let (outcome, leftovers) = self.store.advance(lock, to)?;
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
