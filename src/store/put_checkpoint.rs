//! A PUT of the checkpoint, in the model's order (`put_checkpoint` in `tests/model`): what it names has its names, which
//! are synced; what the one before named and this one does not is made young; CHECKPOINT is replaced, and synced.

use std::collections::{BTreeSet, HashSet};

use super::checkpoint_file::{self, CheckpointFile};
use super::error::taken_is_fine;
use super::layout::{self, Area, Dir, Shelf, Thing};
use super::lock::Exclusive;
use super::mistake::Mistake;
use super::state::CheckpointStamp;
use super::tally::Amount;
use super::walk::Position;
use super::{Error, PutCheckpoint, Result};
use crate::disk::{Handle, Place, Target};
use crate::model::{Checkpoint, ChunkDigest, ChunkId, Head, TransactionId, limits};

/// The chunks that are there, and those that are not, each once.
type Sought = (Vec<(ChunkDigest, Stands)>, Vec<ChunkId>);

/// A chunk of a new checkpoint, where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Committed,
    Incoming,
    Checkpoint,
}

impl Exclusive {
    /// Puts a checkpoint in the place of the one there is: of a transaction on the chain, which is not the root, and of
    /// chunks that are here. A chunk that is called by an alias is named by its digest from then on. The same again
    /// is stored too, after the same checks. To be run to its end whatever becomes of the client.
    ///
    /// Costs a look for each chunk, and a sync of each directory that one is in.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`], [`Error::NoRoom`], those of the disk, and [`Error::Damaged`] where there is a CHECKPOINT that
    /// is none. The one before stands then; but if the very last sync fails, nobody knows, and the user is read-only in
    /// this process from then on.
    pub fn put_checkpoint(
        &self,
        transaction: TransactionId,
        chunks: &[ChunkId],
    ) -> Result<PutCheckpoint> {
        self.state.check_writable()?;
        let head = self.head_under_lock()?.ok_or(Error::UserGone)?;
        let Some(seq) = self.number_on_chain(head, transaction)? else {
            return Ok(PutCheckpoint::UnknownTransaction { head });
        };
        let before = self.checkpoint_before()?;
        if let Some(present) = &before
            && present.seq > seq
            && let Some(present) = self.if_on_chain(head, present.clone())?
        {
            return Ok(PutCheckpoint::Older { head, present });
        }
        let (found, missing) = self.find_all(chunks)?;
        if !missing.is_empty() {
            return Ok(PutCheckpoint::MissingChunks(missing));
        }
        let new = Checkpoint {
            transaction,
            seq,
            chunks: found.iter().map(|(digest, _)| *digest).collect(),
        };
        let dirs = self.name_in_checkpoint(&found)?;
        if before.as_ref() == Some(&new) {
            self.sync_dirs(dirs, Vec::new())?;
            return Ok(PutCheckpoint::Stored);
        }
        self.replace_checkpoint(before.as_ref(), &new, dirs)?;
        Ok(PutCheckpoint::Stored)
    }

    /// The checkpoint as [`User::checkpoint`](super::User::checkpoint) tells it, which nobody replaces while the lock is
    /// held. Rebuilds `log` where it cannot tell.
    ///
    /// # Errors
    /// Those of [`User::checkpoint`](super::User::checkpoint).
    pub fn checkpoint_now(&self) -> Result<Option<Checkpoint>> {
        if let Some(visit) = self.visit()? {
            self.renew_checkpoint_now(&visit)?;
        }
        match self.checkpoint() {
            Err(Error::LogIsWrong) => {
                self.rebuild_log()?;
                self.checkpoint()
            }
            other => other,
        }
    }

    /// The number of a transaction on the chain, but not of the root: a state in place of nothing is none. Rebuilds `log`
    /// where it cannot tell.
    fn number_on_chain(&self, head: Head, id: TransactionId) -> Result<Option<u64>> {
        if id == TransactionId::ROOT {
            return Ok(None);
        }
        let mut position = self.position(head, id)?;
        if position == Position::LogIsWrong {
            self.rebuild_log()?;
            position = self.position(head, id)?;
        }
        match position {
            Position::OnChain(seq) => Ok(Some(seq)),
            Position::OffChain => Ok(None),
            Position::LogIsWrong => self.log_was_mended(Err(Error::LogIsWrong)),
        }
    }

    /// The checkpoint that there is, durable: a refusal is a promise about it, and the same again too.
    fn checkpoint_before(&self) -> Result<Option<Checkpoint>> {
        let visit = self.visit()?.ok_or(Error::UserGone)?;
        self.renew_checkpoint_now(&visit)?;
        let Some(read) = self.store.read_checkpoint(&self.folder)? else {
            return Ok(None);
        };
        if !self.store.mistakes.made(Mistake::CheckpointNotVouched) {
            self.vouch_for_checkpoint(&visit, &read)?;
        }
        let CheckpointFile { checkpoint, .. } = read;
        Ok(Some(checkpoint))
    }

    /// Looks for each of these chunks.
    fn find_all(&self, chunks: &[ChunkId]) -> Result<Sought> {
        let (mut found, mut missing) = (Vec::with_capacity(chunks.len()), Vec::new());
        let mut absent = HashSet::new();
        for id in chunks {
            let digest = match id {
                ChunkId::Digest(digest) => Some(*digest),
                ChunkId::Alias(alias) => self.stands_for(alias)?,
            };
            let stands = match digest {
                Some(digest) => self.stands(&digest)?.map(|stands| (digest, stands)),
                None => None,
            };
            match stands {
                Some(stands) => found.push(stands),
                None if missing.len() == limits::MISSING_NAMED => {}
                None => missing.extend(absent.insert(*id).then_some(*id)),
            }
        }
        Ok((found, missing))
    }

    /// Where a chunk stands. Nothing moves while the lock is held.
    fn stands(&self, digest: &ChunkDigest) -> Result<Option<Stands>> {
        let thing = Thing::Chunk(*digest);
        if self.look_for(Area::Committed, &thing)?.is_some() {
            return Ok(Some(Stands::Committed));
        }
        if self.look_for(Area::Incoming, &thing)?.is_some() {
            return Ok(Some(Stands::Incoming));
        }
        let there = self.store.look_at(&self.folder.checkpoint_chunk(digest))?;
        Ok(there.map(|_| Stands::Checkpoint))
    }

    /// Gives what stands in `incoming/` only a name in `checkpoint/`, where gc leaves it alone. Returns the directories that
    /// have the names which the checkpoint relies on, whoever made them.
    fn name_in_checkpoint(&self, found: &[(ChunkDigest, Stands)]) -> Result<BTreeSet<Dir>> {
        let vouches = !self.store.mistakes.made(Mistake::CheckpointNotVouched);
        let mut dirs = BTreeSet::new();
        for (digest, stands) in found {
            let dir = match stands {
                Stands::Committed => Dir::of_chunk(Area::Committed, digest),
                Stands::Incoming | Stands::Checkpoint => Dir::of_checkpoint_chunk(digest),
            };
            if *stands == Stands::Incoming {
                self.link_into_checkpoint(digest)?;
                dirs.insert(dir);
            }
            if vouches {
                dirs.insert(dir);
            }
        }
        Ok(dirs)
    }

    /// Gives a chunk of `incoming/` its name in `checkpoint/`. A file of another length that has it is damaged, and set aside.
    pub(super) fn link_into_checkpoint(&self, digest: &ChunkDigest) -> Result<()> {
        let from = self.folder.chunk(Area::Incoming, digest);
        let to = self.folder.checkpoint_chunk(digest);
        let dir = Dir::of_checkpoint_chunk(digest);
        let there = self.store.meta_if_there(&to)?;
        if let Some(there) = there
            && there.bytes != self.store.disk.meta(&from)?.bytes
        {
            self.set_checkpoint_chunk_aside(digest)?;
        }
        self.in_dir(dir, || {
            self.store.disk.link(&from, &to).or_else(taken_is_fine)
        })
    }

    /// Takes a damaged chunk of `checkpoint/` out of the way, into `lost+found`.
    pub(crate) fn set_checkpoint_chunk_aside(&self, digest: &ChunkDigest) -> Result<Place> {
        let from = self.folder.checkpoint_chunk(digest);
        let thing = Thing::Chunk(*digest);
        let lost = thing.lost_dir();
        let random = self.store.disk.random();
        let to = layout::spare(&self.folder.dir(lost), &thing, random);
        self.in_dir(lost, || self.store.disk.link(&from, &to))?;
        self.sync_dirs([lost], Vec::new())?;
        self.store.disk.remove_file(&from)?;
        self.sync_dirs([Dir::of_checkpoint_chunk(digest)], Vec::new())?;
        Ok(to)
    }

    /// Replaces CHECKPOINT, once what the new one names is durable in these directories.
    fn replace_checkpoint(
        &self,
        before: Option<&Checkpoint>,
        new: &Checkpoint,
        mut dirs: BTreeSet<Dir>,
    ) -> Result<()> {
        let bytes = checkpoint_file::encode(new);
        self.check_room(bytes.len() as u64)?;
        let mut more = Amount::file(bytes.len() as u64);
        if let Some(old) = self.store.meta_if_there(&self.folder.checkpoint())? {
            more.add(Amount::file(old.bytes).less());
        }
        let room = self.reserve_all(more)?;
        let mut temporary = self.temporary()?;
        temporary.file.append(&bytes)?;
        let touched = match before {
            Some(before) => self.make_young(before, new)?,
            None => Vec::new(),
        };
        if touched.len() > limits::SYNCED_APART {
            let shelf = self.folder.dir(Dir::Shelf(Shelf::Checkpoint));
            self.store.sync_below(&shelf)?;
        }
        let mut targets: Vec<_> = (touched.into_iter().take(limits::SYNCED_APART))
            .map(Target::File)
            .collect();
        targets.push(Target::File(temporary.file.clone()));
        let late = self.store.mistakes.made(Mistake::CheckpointBeforeChunks);
        let dirs_after = match late {
            true => std::mem::take(&mut dirs),
            false => BTreeSet::new(),
        };
        self.sync_dirs(dirs, targets)?;

        let inode = Some(temporary.file.meta()?.inode);
        // Replace CHECKPOINT; sync.
        temporary.replace(&self.folder.checkpoint())?;
        if self.store.mistakes.made(Mistake::AnswerBeforeSync) {
            return Ok(());
        }
        let finish = || {
            let metas = (
                self.store.disk.meta(&self.folder.checkpoint())?,
                self.store.disk.meta(self.folder.place())?,
            );
            self.sync_dirs([Dir::User], Vec::new())?;
            Ok(metas)
        };
        let (meta, folder) =
            finish().inspect_err(|_: &Error| self.state.doubt_checkpoint_for_good(inode))?;
        self.sync_dirs(dirs_after, Vec::new())?;
        (self.state).checkpoint_moved(CheckpointStamp::of(&meta), &folder);
        room.keep();
        Ok(())
    }

    /// Makes young what the checkpoint before named and the new one does not: whoever reads that one, or copies it, has
    /// the grace period from now on. Returns the files, of which no more than can be synced one by one are open.
    fn make_young(&self, before: &Checkpoint, new: &Checkpoint) -> Result<Vec<Handle>> {
        let mut touched = Vec::new();
        if self.store.mistakes.made(Mistake::CheckpointNotTouched) {
            return Ok(touched);
        }
        let stay: HashSet<_> = new.chunks.iter().collect();
        let go: BTreeSet<_> = (before.chunks.iter())
            .filter(|digest| !stay.contains(digest))
            .collect();
        for digest in go {
            let place = self.folder.checkpoint_chunk(digest);
            if self.store.meta_if_there(&place)?.is_none() {
                continue;
            }
            let file = self.store.disk.open(&place)?;
            file.touch(self.store.disk.now())?;
            if touched.len() <= limits::SYNCED_APART {
                touched.push(file);
            }
        }
        Ok(touched)
    }
}
