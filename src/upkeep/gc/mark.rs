//! The mark: what is garbage, found without a lock. Proposals, which the sweep looks at again.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::event::{Garbage, Why};
use crate::model::{ChunkDigest, ChunkId, TransactionId};
use crate::rules::dates::Dates;
use crate::rules::garbage::{Ground, Pending, is_young, judge};
use crate::store::{Error, IncomingFile, Item, Result, SweepStamp, User};

/// A pending transaction as the mark saw it.
pub struct MarkedPending {
    pub time: SystemTime,
    pub bytes: u64,
    /// The transaction is on the chain.
    pub is_committed: bool,
}

/// The chain's claim to an old file, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The chain was not asked: the committed area had a file of the name, or something pending needed this one.
    Unasked,
    /// The chain names it, and the committed area does not have it.
    Named,
    /// The chain does not name it.
    Unnamed,
}

/// A chunk or alias that was old when it was marked.
pub struct Old {
    pub id: ChunkId,
    pub bytes: u64,
    pub time: SystemTime,
    pub spared: bool,
    pub claim: Claim,
}

/// The matters of `checkpoint/` that were found without a lock.
#[derive(Default)]
pub struct CheckpointMark {
    /// Old, and not named by CHECKPOINT; each with the room that it takes.
    pub old: Vec<(ChunkDigest, u64)>,
    /// Named by CHECKPOINT, and in `incoming/` only: lost, and uploaded again.
    pub uncommitted: Vec<ChunkDigest>,
}

/// The garbage of one moment, found without a lock: proposals, which the sweep looks at again.
pub struct Mark {
    pub stamp: SweepStamp,
    pub now: SystemTime,
    pub grace: Duration,
    /// Dates that can be believed.
    pub dates: Dates,
    /// Files whose dates cannot be right.
    pub misdated: Vec<Item>,
    /// The oldest of what stays though nothing pending needs it.
    stays: Option<SystemTime>,
    pub seen: HashMap<TransactionId, MarkedPending>,
    /// Transactions that are on the chain.
    pub committed: Vec<TransactionId>,
    /// Children before their parents.
    pub garbage: Vec<TransactionId>,
    /// Transactions whose needs, and whose ancestors' needs, have been met.
    pub spared: HashSet<TransactionId>,
    /// Aliases before chunks, so that no alias stands for nothing.
    pub old: Vec<Old>,
    /// Chunks and aliases that have their committed names.
    pub leftovers: Vec<ChunkId>,
    /// Chunks of `checkpoint/` that may go, or are to be mended.
    pub checkpoint: CheckpointMark,
    /// Why some of it stays that would go otherwise.
    pub trouble: Option<Error>,
}

impl Mark {
    /// Looks at all that is in `incoming/`; `None` for a user without a folder. The stamp is from
    /// before, from a moment when nobody was sweeping.
    pub fn of(user: &User, grace: Duration, stamp: SweepStamp) -> Result<Option<Self>> {
        let dates = user.dates()?;
        let now = user.store().now();
        // HEAD first: what is listed after it can only be closer to being committed.
        let Some(head) = user.durable_head()? else {
            return Ok(None);
        };
        let mut mark = Self {
            stamp,
            now,
            grace,
            dates,
            misdated: Vec::new(),
            stays: None,
            seen: HashMap::new(),
            committed: Vec::new(),
            garbage: Vec::new(),
            spared: HashSet::new(),
            old: Vec::new(),
            leftovers: Vec::new(),
            checkpoint: CheckpointMark::default(),
            trouble: None,
        };
        let mut pending: Vec<Pending> = Vec::new();
        for file in user.pending_files()? {
            let (id, time, bytes) = (file.pending.id, file.pending.time, file.bytes);
            let is_committed = user.ground(head, id)? != Ground::Unknown;
            let seen = MarkedPending {
                time,
                bytes,
                is_committed,
            };
            mark.seen.insert(id, seen);
            if is_committed {
                mark.committed.push(id);
            } else if mark.dates.are_not(time) {
                mark.misdated.push(Item::Transaction(id));
                let time = now;
                pending.push(Pending {
                    time,
                    ..file.pending
                });
            } else {
                pending.push(file.pending);
            }
        }
        mark.committed.sort_unstable();
        let verdict = judge(&pending, now, grace, |id| user.ground(head, id))?;
        mark.garbage = verdict.garbage;
        mark.find_old(user)?;
        for id in verdict.needed {
            mark.spare(user, id)?;
        }
        mark.ask_chain(user, head)?;
        mark.look_at_checkpoint(user)?;
        Ok(Some(mark))
    }

    fn find_old(&mut self, user: &User) -> Result<()> {
        let mut young = Vec::new();
        user.incoming_aliases(|file| {
            if let (false, ChunkId::Alias(alias)) = (self.take(&file), file.id) {
                young.push(alias);
            }
            Ok(())
        })?;
        user.incoming_chunks(|file| {
            self.take(&file);
            Ok(())
        })?;
        self.old
            .sort_unstable_by_key(|old| std::cmp::Reverse(old.id));
        self.leftovers.sort_unstable();
        for alias in young {
            self.spare_alias(user, &alias)?;
        }
        Ok(())
    }

    /// Notes a file if it may go; says whether it may.
    fn take(&mut self, file: &IncomingFile) -> bool {
        if file.leftover {
            self.leftovers.push(file.id);
        } else if self.dates.are_not(file.time) {
            self.misdated.push(file.id.into());
            return false;
        } else if self.is_old(file.time) && file.was_lost {
            self.stays(file.time);
            return false;
        } else if self.is_old(file.time) {
            self.old.push(Old {
                id: file.id,
                bytes: file.bytes,
                time: file.time,
                spared: false,
                claim: Claim::Unasked,
            });
        } else {
            return false;
        }
        true
    }

    /// Whether something of this date may go. One that cannot be right tells no age.
    pub fn is_old(&self, time: SystemTime) -> bool {
        !self.dates.are_not(time) && !is_young(time, self.now, self.grace)
    }

    /// Remembers the date of an old file that stays though nothing pending needs it.
    pub fn stays(&mut self, time: SystemTime) {
        self.stays = Some(self.stays.map_or(time, |oldest| oldest.min(time)));
    }

    /// The oldest date of what stays because something needs it, once all else is gone.
    pub fn oldest_left(&self) -> Option<SystemTime> {
        let seen = self.seen.values().filter(|seen| !seen.is_committed);
        let times = seen.map(|seen| seen.time);
        let spared = self.old.iter().filter(|old| old.spared);
        let spared = spared.map(|old| old.time);
        times.chain(spared).chain(self.stays).min()
    }

    /// A pending transaction stays: so do its pending ancestors, and what they all name.
    pub fn spare(&mut self, user: &User, id: TransactionId) -> Result<()> {
        let mut here = id;
        while self.spared.insert(here) {
            // One that is not pending any more was committed, or swept by somebody else.
            let Some(needs) = user.needs(here)? else {
                break;
            };
            for chunk in needs.chunks {
                self.spare_chunk(&chunk);
            }
            here = needs.parent;
        }
        Ok(())
    }

    fn spare_alias(&mut self, user: &User, alias: &Uuid) -> Result<()> {
        self.spare_chunk(&ChunkId::Alias(*alias));
        if let Some(digest) = user.stands_for(alias)? {
            self.spare_chunk(&ChunkId::Digest(digest));
        }
        Ok(())
    }

    pub(super) fn spare_chunk(&mut self, id: &ChunkId) {
        if let Ok(index) = self.old.binary_search_by(|old| id.cmp(&old.id)) {
            self.old[index].spared = true;
        }
    }

    /// All of it, in the order in which it would go.
    pub fn tell(&self, each: &mut dyn FnMut(Garbage)) {
        for id in &self.committed {
            each(leftover(Item::Transaction(*id)));
        }
        for id in &self.garbage {
            let bytes = self.seen.get(id).map_or(0, |seen| seen.bytes);
            each(abandoned(Item::Transaction(*id), bytes));
        }
        for old in self.old.iter().filter(|old| !old.spared) {
            each(abandoned(old.id.into(), old.bytes));
        }
        for id in &self.leftovers {
            each(leftover((*id).into()));
        }
        for (digest, bytes) in &self.checkpoint.old {
            each(abandoned(Item::CheckpointChunk(*digest), *bytes));
        }
    }
}

/// A file as garbage that nothing kept needs any more.
pub fn abandoned(item: Item, bytes: u64) -> Garbage {
    let why = Why::Abandoned;
    Garbage { item, why, bytes }
}

/// A leftover as garbage: of no bytes, since it shares them with the committed file.
pub fn leftover(item: Item) -> Garbage {
    let why = Why::Leftover;
    Garbage {
        item,
        why,
        bytes: 0,
    }
}
