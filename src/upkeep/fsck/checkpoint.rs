//! The checkpoint: whether it is one, stands on the chain, and has its chunks. One whose transaction is not on the chain
//! reads as none, and harms nobody.

use std::collections::HashSet;

use super::access::READ;
use super::check::{Check, remember};
use super::files::{ReadChunk, hash};
use super::finding::{Kind, Severity};
use super::seen_checkpoint::SeenCheckpoint;
use crate::disk::{IfThere, Place};
use crate::model::{Checkpoint, ChunkDigest, TransactionId};
use crate::store::layout::{Area, Thing};
use crate::store::{self, Error, Exclusive, Mistake, Position};

/// The place in which a chunk of a checkpoint was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FoundChunk {
    There,
    IncomingOnly,
    Nowhere,
}

impl Check<'_> {
    /// Reads CHECKPOINT. To be done before HEAD is read.
    pub fn read_checkpoint(&mut self) {
        let place = self.folder.checkpoint();
        match self.store().read_checkpoint(&self.folder) {
            Ok(read) => self.checkpoint = read.map(|read| read.checkpoint),
            Err(error) => {
                self.trouble(&place, &error, Kind::CheckpointDamaged);
                self.todo().checkpoint = matches!(error, Error::Damaged { .. });
            }
        }
    }

    /// Checks what was read: its transaction, and each chunk that it names.
    pub fn check_checkpoint(&self) {
        let Some(checkpoint) = self.checkpoint.as_ref().filter(|_| !self.is_gone()) else {
            return;
        };
        let on_chain = self.check_transaction_of(checkpoint);
        let severity = match on_chain {
            true => Severity::Damage,
            false => Severity::Harmless,
        };
        let mut seen = HashSet::new();
        for digest in &checkpoint.chunks {
            if seen.insert(digest) {
                self.check_chunk_of(checkpoint, digest, severity);
            }
        }
    }

    /// Whether the transaction is on the chain, as far as is known; reports what is wrong with it.
    fn check_transaction_of(&self, checkpoint: &Checkpoint) -> bool {
        let place = self.folder.checkpoint();
        let id = checkpoint.transaction;
        let Some(head) = self.chain.head else {
            // What is wrong with HEAD has been reported.
            return true;
        };
        let wrong = match self.store().user(self.user).position(head, id) {
            _ if id == TransactionId::ROOT => "it is of the root".to_owned(),
            Ok(Position::OnChain(seq)) if seq == checkpoint.seq => return true,
            Ok(Position::OnChain(seq)) => {
                let said = checkpoint.seq;
                format!("it says that its number is {said}, and its transaction's is {seq}")
            }
            Ok(Position::OffChain) => return self.tell_off_chain(checkpoint),
            // What is wrong with the chain has been reported.
            _ if self.chain.whole && !self.members.may_have(id.as_bytes()) => {
                return self.tell_off_chain(checkpoint);
            }
            _ => return true,
        };
        if self.is_still(checkpoint) {
            self.damage(Kind::CheckpointDamaged, place, wrong);
            self.todo().checkpoint = true;
        }
        true
    }

    fn tell_off_chain(&self, checkpoint: &Checkpoint) -> bool {
        if self.is_still(checkpoint) {
            let id = checkpoint.transaction;
            let what = format!("its transaction {id} is not on the chain: it reads as none");
            let place = self.folder.checkpoint();
            self.harmless(Kind::CheckpointOffChain, place, what);
        }
        false
    }

    fn check_chunk_of(&self, checkpoint: &Checkpoint, digest: &ChunkDigest, severity: Severity) {
        let place = self.folder.checkpoint_chunk(digest);
        let stands = || self.seen(&place, self.stands(digest));
        // Twice: an advance may have moved it between two looks.
        let (kind, what) = match stands().and_then(|first| match first {
            FoundChunk::There => Some(first),
            _ => stands(),
        }) {
            None | Some(FoundChunk::There) => return,
            Some(FoundChunk::IncomingOnly) => (Kind::ChunkUncommitted, "it is only in incoming/"),
            Some(FoundChunk::Nowhere) => (Kind::ChunkMissing, "it is not there"),
        };
        if self.is_still(checkpoint) {
            let what = format!("CHECKPOINT names it, and {what}");
            self.report(kind, severity, place, what);
            remember(&mut self.todo().checkpoint_chunks, *digest);
        }
    }

    fn stands(&self, digest: &ChunkDigest) -> store::Result<FoundChunk> {
        let thing = Thing::Chunk(*digest);
        let there = self.is_there(Area::Committed, &thing)?
            || self.is_file(&self.folder.checkpoint_chunk(digest))?;
        Ok(match there {
            true => FoundChunk::There,
            false if self.is_there(Area::Incoming, &thing)? => FoundChunk::IncomingOnly,
            false => FoundChunk::Nowhere,
        })
    }

    fn is_file(&self, place: &Place) -> store::Result<bool> {
        let meta = self.store().disk().meta(place).if_there()?;
        Ok(meta.is_some_and(|meta| meta.kind == crate::disk::Kind::File))
    }

    /// Whether CHECKPOINT is the one that was read: a second look, since a newer one may have come meanwhile.
    fn is_still(&self, checkpoint: &Checkpoint) -> bool {
        let now = self.store().read_checkpoint(&self.folder);
        matches!(now, Ok(Some(now)) if now.checkpoint == *checkpoint)
    }

    /// Whether CHECKPOINT, as it is now, names this: so it stays where it is. One that cannot be read may name
    /// anything.
    pub fn is_checkpoints(&self, thing: &Thing) -> store::Result<bool> {
        let Thing::Chunk(digest) = thing else {
            return Ok(false);
        };
        if (self.store().mistakes).made(Mistake::RepairedThoughCheckpoint) {
            return Ok(false);
        }
        let there = self.store().disk().meta(&self.folder.checkpoint());
        let Some(meta) = there.if_there()? else {
            return Ok(false);
        };
        let mut seen = (self.checkpoint_now.lock()).expect("nobody panics with this");
        let is_known =
            |seen: &SeenCheckpoint| (seen.inode, seen.changed) == (meta.inode, meta.changed);
        if !seen.as_ref().is_some_and(is_known) {
            *seen = match self.store().read_checkpoint(&self.folder) {
                Ok(Some(read)) => Some(SeenCheckpoint {
                    inode: read.meta.inode,
                    changed: read.meta.changed,
                    names: Some(read.checkpoint.chunks.into_iter().collect()),
                }),
                Ok(None) => None,
                Err(Error::Damaged { .. }) => Some(SeenCheckpoint {
                    inode: meta.inode,
                    changed: meta.changed,
                    names: None,
                }),
                Err(other) => return Err(other),
            };
        }
        let names = |seen: &SeenCheckpoint| {
            let names = seen.names.as_ref();
            names.is_none_or(|names| names.contains(digest))
        };
        Ok(seen.as_ref().is_some_and(names))
    }

    /// Reads a chunk of `checkpoint/`.
    pub fn checkpoint_chunk(&self, digest: ChunkDigest, buffer: &mut [u8]) {
        let place = self.folder.checkpoint_chunk(&digest);
        let file = match self.store().disk().open(&place).if_there() {
            Ok(Some(file)) => file,
            // Collected since it was listed.
            Ok(None) => return,
            Err(error) => return self.trouble(&place, &error.into(), Kind::ChunkDamaged),
        };
        if let Some(meta) = self.seen(&place, file.opened()) {
            self.mode(&place, &meta, READ);
        }
        Self::count(&self.run.tally.chunks, 1);
        let mut bytes = 0;
        if !self.run.options.quick {
            let (length, read) = self.read_chunk(digest, &place, &file, buffer);
            if read == ReadChunk::Damaged {
                remember(&mut self.todo().checkpoint_chunks, digest);
            }
            bytes = length;
            Self::count(&self.run.tally.bytes, bytes);
        }
        self.run.watch.checked(bytes);
    }

    /// Mends what was found of the checkpoint.
    pub fn repair_checkpoint(&self, is_damaged: bool, chunks: &[ChunkDigest]) {
        let damaged: &[()] = if is_damaged { &[()] } else { &[] };
        self.each(
            damaged,
            |()| self.folder.checkpoint(),
            |lock, ()| match lock.is_checkpoint_damaged()? {
                true => {
                    let to = lock.set_checkpoint_aside()?;
                    Ok(Some(format!("moved to {to:?}: a device can put one anew")))
                }
                false => Ok(None),
            },
        );
        self.each(
            chunks,
            |digest| self.folder.checkpoint_chunk(digest),
            |lock, digest| self.mend_checkpoint_chunk(lock, digest),
        );
    }

    fn mend_checkpoint_chunk(
        &self,
        lock: &Exclusive,
        digest: &ChunkDigest,
    ) -> store::Result<Option<String>> {
        let place = self.folder.checkpoint_chunk(digest);
        let mut done = None;
        if self.is_file(&place)? {
            let file = self.store().disk().open(&place)?;
            let mut buffer = vec![0; crate::model::limits::PIECE];
            if hash(&file, &mut buffer)?.0 == *digest {
                return Ok(None);
            }
            let to = lock.set_checkpoint_chunk_aside(digest)?;
            done = Some(format!("moved to {to:?}: a client can upload it again"));
        }
        if !self.store().user(self.user).is_incoming_only(digest)?
            || !self.is_sound(Area::Incoming, digest)?
        {
            return Ok(done);
        }
        Ok(match (lock.mend_checkpoint(&[*digest])?, done) {
            (0, done) => done,
            (_, Some(_)) => Some("set aside, and replaced by the one in incoming/".to_owned()),
            (_, None) => Some("linked from incoming/ into its place".to_owned()),
        })
    }
}
