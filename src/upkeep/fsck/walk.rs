//! The chain walked from its end, parent by parent: slower than along `log`, but it tells what is wrong.

use std::collections::BTreeSet;

use super::access::READ;
use super::check::{Check, remember};
use super::finding::Kind;
use super::lines::LogReader;
use super::named::NamedChunk;
use crate::disk::{IfThere, Place};
use crate::model::{ChunkDigest, ChunkId, Head, Transaction, TransactionId, limits};
use crate::store;
use crate::store::layout::{Area, Thing};

/// The purpose of a walk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ChainWalk<'a> {
    /// To report.
    Loud,
    /// To find the newest sound transaction, given the chunks whose bytes are wrong.
    Quiet(&'a BTreeSet<ChunkDigest>),
}

/// The result of a walk.
pub(super) struct Walked {
    /// All of it could be read and fits together, but for chunks.
    pub whole: bool,
    /// The newest transaction whose whole past is sound.
    pub sound: Head,
    /// Lines of `log` that are not as they should be, and the newest of them.
    pub wrong_lines: u64,
    pub newest_wrong: u64,
}

impl Check<'_> {
    /// Walks the chain from here (or, where that is not known, from the line of `log` with this number)
    /// to the root, and past each break to what `log` says comes before it.
    pub fn walk(
        &self,
        lines: &mut LogReader,
        (mut at, mut seq): (Option<TransactionId>, u64),
        walk: ChainWalk,
    ) -> Walked {
        let loud = walk == ChainWalk::Loud;
        let known = lines.count();
        let mut walked = Walked {
            whole: at.is_some(),
            sound: Head::ROOT,
            wrong_lines: 0,
            newest_wrong: 0,
        };
        let mut sound: Option<Head> = None;
        let mut twice = false;
        while seq > 0 {
            let line = lines.get(seq);
            if at.is_some() && line != at && seq <= known {
                walked.wrong_lines += 1;
                walked.newest_wrong = walked.newest_wrong.max(seq);
            }
            let Some(id) = at.or(line) else {
                (walked.whole, sound) = (false, None);
                seq -= 1;
                continue;
            };
            let place = self.folder.transaction(id);
            let transaction = match self.store().read_transaction_file(&place, id) {
                Ok(Some((meta, transaction))) => {
                    if loud {
                        self.mode(&place, &meta, READ);
                        self.content_ids.note(&transaction, &place);
                    }
                    transaction
                }
                outcome => {
                    if loud {
                        self.tell_lost(
                            place,
                            outcome.err(),
                            self.chain.head == Some(Head { id, seq }),
                            seq,
                        );
                    }
                    (walked.whole, sound, at) = (false, None, None);
                    seq -= 1;
                    continue;
                }
            };
            let mut fits = true;
            if transaction.seq != seq {
                (fits, walked.whole) = (false, false);
                if loud {
                    let said = transaction.seq;
                    let what =
                        format!("it says that its number is {said}, where it should be {seq}");
                    self.damage(Kind::WrongSeq, place.clone(), what);
                }
                // Twice in a row: it is rather the count that is wrong.
                if twice && transaction.seq < seq {
                    seq = transaction.seq;
                }
            }
            twice = !fits;
            self.members.insert(id.as_bytes());
            fits &= self.chunks_are_there(&transaction, walk);
            fits &= !self.content_ids.is_wrong(id);
            let at_root = transaction.parent == TransactionId::ROOT;
            if at_root != (seq == 1) {
                if loud {
                    self.tell_break(place, &transaction, seq);
                }
                (fits, walked.whole) = (false, false);
            }
            if fits {
                sound = sound.or(Some(Head { id, seq }));
            } else {
                sound = None;
            }
            at = (!at_root).then_some(transaction.parent);
            seq -= 1;
            if loud {
                self.run.watch.checked(0);
            }
        }
        walked.sound = sound.unwrap_or(Head::ROOT);
        walked
    }

    fn tell_lost(&self, place: Place, error: Option<store::Error>, head: bool, seq: u64) {
        match error {
            Some(error) => self.trouble(&place, &error, Kind::TransactionDamaged),
            None if head => {
                let what = "HEAD names it, and it is not there";
                self.damage(Kind::HeadToNowhere, place, what);
            }
            None => {
                let what = format!("the chain needs it as number {seq}, and it is not there");
                self.damage(Kind::TransactionMissing, place, what);
            }
        }
    }

    fn tell_break(&self, place: Place, transaction: &Transaction, seq: u64) {
        let what = if seq == 1 {
            let parent = transaction.parent;
            format!("it is the first, and its parent is {parent} instead of the root")
        } else {
            format!("its parent is the root, though it is number {seq}")
        };
        self.damage(Kind::BrokenChain, place, what);
    }

    fn chunks_are_there(&self, transaction: &Transaction, walk: ChainWalk) -> bool {
        let mut all = true;
        for id in &transaction.chunks {
            match walk {
                ChainWalk::Loud => {
                    let named = self.look_for(id);
                    all &= matches!(named, NamedChunk::There);
                    self.tell_named(id, named, transaction);
                }
                ChainWalk::Quiet(damaged) => {
                    let digest = match id {
                        ChunkId::Digest(digest) => Some(*digest),
                        ChunkId::Alias(alias) => self
                            .store()
                            .read_alias(&self.folder.alias(Area::Committed, alias))
                            .ok()
                            .flatten()
                            .map(|(_, digest)| digest),
                    };
                    all &= digest.is_some_and(|digest| !damaged.contains(&digest));
                    all &= matches!(self.look_for(id), NamedChunk::There);
                }
            }
        }
        all
    }

    /// Reports a chunk that is not where it should be, once.
    fn tell_named(&self, id: &ChunkId, named: NamedChunk, transaction: &Transaction) {
        let (kind, thing) = match named {
            NamedChunk::There | NamedChunk::Unknown => return,
            NamedChunk::Uncommitted(thing) => (Kind::ChunkUncommitted, thing),
            NamedChunk::Missing(thing) => (Kind::ChunkMissing, thing),
        };
        let mut told = self.missing.lock().expect("nobody panics with this");
        if told.len() < limits::FSCK_MENDED && !told.insert(*id) {
            return;
        }
        drop(told);
        let by = Self::named_by(transaction.id, transaction.seq);
        let what = match (kind, thing) {
            (Kind::ChunkUncommitted, _) => format!("{by}, and it is only in incoming/"),
            (_, Thing::Chunk(digest)) if self.is_marked(&digest) => {
                format!("{by}; lost+found/ marks it: the next upload of it goes into its place")
            }
            _ => format!("{by}, and it is not there"),
        };
        self.damage(kind, self.folder.thing(Area::Committed, &thing), what);
        remember(&mut self.todo().missing, thing);
    }

    fn is_marked(&self, digest: &ChunkDigest) -> bool {
        let mark = self.folder.lost_chunk(digest);
        let there = self.store().disk().meta(&mark).if_there();
        matches!(self.seen(&mark, there), Some(Some(_)))
    }
}
