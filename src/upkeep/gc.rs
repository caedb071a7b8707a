//! Garbage collection (DESIGN, Garbage): mark without the lock, sweep in small batches under it.
//!
//! Every step of the order is load-bearing; `model/` shows what each one prevents. Costs in
//! proportion to what is in `incoming/`, in time and in memory, never to the chain.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::disk::Mode;
use crate::model::{ChunkId, TransactionId, UserId, limits};
use crate::rules::garbage::{Ground, Pending, is_young, judge};
use crate::store::{
    Error, IncomingFile, Item, Mistake, Result, Store, SweepStamp, Swept, UserLock,
};

/// How to collect.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long what nothing reachable needs is kept.
    pub grace: Duration,
    /// Tell what would go, and touch nothing.
    pub dry_run: bool,
    /// Collect though the clock has leapt.
    pub force: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            grace: limits::GRACE,
            dry_run: false,
            force: false,
        }
    }
}

/// Why something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The grace period is over, and nothing that is kept needs it.
    Abandoned,
    /// It is committed, and has its committed name.
    Leftover,
    /// A temporary file, or a folder at the top, of somebody who is gone.
    LeftBehind,
}

/// Something that goes, or that went.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Garbage {
    pub item: Item,
    pub why: Why,
    /// The room that it took.
    pub bytes: u64,
}

/// How a collection began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Fine,
    /// It is further from gc's last run than any two runs should be.
    Leapt {
        last: SystemTime,
        now: SystemTime,
    },
}

/// Whether the clock may be believed: gc ran on some user not longer ago than the grace period, or
/// never. A clock that was put back only makes things young.
///
/// The period is the default one where a shorter was chosen, or a daily run could not collect after
/// an hour.
pub fn clock(store: &Store, options: &Options) -> Result<Clock> {
    let now = store.now();
    let Some(last) = last_run(store)? else {
        return Ok(Clock::Fine);
    };
    let far = options.grace.max(limits::GRACE);
    if options.force || is_young(last, now, far) {
        Ok(Clock::Fine)
    } else {
        Ok(Clock::Leapt { last, now })
    }
}

/// When gc last ran, on any user.
pub fn last_run(store: &Store) -> Result<Option<SystemTime>> {
    let mut last = None;
    for user in store.users()? {
        last = last.max(store.last_gc(&user)?);
    }
    Ok(last)
}

/// How a collection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// All garbage is gone.
    All,
    /// Another collection is at work on this user: the rest is left to that one, or to the next.
    Overtaken,
}

/// Collects one user's garbage, and calls `each` for everything that went (or, in a dry run, would
/// go). Safe beside a running server, and beside other collections. The caller asks [`clock`] first.
///
/// # Errors
/// What was told to `each` is gone, the rest stays, and the store is sound. [`Error::Damaged`] where
/// something pending cannot be read: what it needs cannot be known then, so nothing goes.
pub fn collect(
    store: &Store,
    user: &UserId,
    options: &Options,
    each: &mut dyn FnMut(Garbage),
) -> Result<Collected> {
    let Some(mark) = Mark::of(store, user, options.grace)? else {
        return Ok(Collected::All);
    };
    if options.dry_run {
        mark.tell(each);
        for (item, bytes) in store.left_behind(user)? {
            each(left_behind(item, bytes));
        }
        return Ok(Collected::All);
    }
    let stamp = mark.stamp;
    let ended = match (Sweep { store, user, mark }).run(each) {
        Ok(()) => Collected::All,
        Err(Stop::Overtaken) => Collected::Overtaken,
        Err(Stop::Error(Error::UserGone)) => return Ok(Collected::All),
        Err(Stop::Error(error)) => return Err(error),
    };
    if store.sweep_stamp(user)? == stamp {
        store.remember_gc(user)?;
    }
    for (item, bytes) in store.left_behind(user)? {
        if store.sweep_temporary(user, &item)? == Swept::Gone {
            each(left_behind(item, bytes));
        }
    }
    Ok(ended)
}

fn left_behind(item: Item, bytes: u64) -> Garbage {
    let why = Why::LeftBehind;
    Garbage { item, why, bytes }
}

/// A pending transaction as the mark saw it.
struct Seen {
    time: SystemTime,
    bytes: u64,
}

/// A chunk or alias that was old when it was marked.
struct Old {
    id: ChunkId,
    bytes: u64,
    spared: bool,
}

/// What was garbage at one time, found without a lock: proposals, which the sweep looks at again.
struct Mark {
    stamp: SweepStamp,
    now: SystemTime,
    grace: Duration,
    seen: HashMap<TransactionId, Seen>,
    /// Transactions that are on the chain.
    committed: Vec<TransactionId>,
    /// Children before their parents.
    garbage: Vec<TransactionId>,
    /// Transactions whose needs, and whose ancestors' needs, have been met.
    spared: HashSet<TransactionId>,
    /// Aliases before chunks, so that no alias stands for nothing.
    old: Vec<Old>,
    /// Chunks and aliases that have their committed names.
    leftovers: Vec<ChunkId>,
}

impl Mark {
    fn of(store: &Store, user: &UserId, grace: Duration) -> Result<Option<Self>> {
        let now = store.now();
        let stamp = store.sweep_stamp(user)?;
        // HEAD first: what is listed after it can only be closer to being committed.
        let Some(head) = store.durable_head(user)? else {
            return Ok(None);
        };
        let mut mark = Self {
            stamp,
            now,
            grace,
            seen: HashMap::new(),
            committed: Vec::new(),
            garbage: Vec::new(),
            spared: HashSet::new(),
            old: Vec::new(),
            leftovers: Vec::new(),
        };
        let mut pending: Vec<Pending> = Vec::new();
        for file in store.pending_files(user)? {
            let (id, time, bytes) = (file.pending.id, file.pending.time, file.bytes);
            mark.seen.insert(id, Seen { time, bytes });
            match store.ground(user, head, id)? {
                Ground::Unknown => pending.push(file.pending),
                Ground::Head | Ground::BelowHead => mark.committed.push(id),
            }
        }
        mark.committed.sort_unstable();
        let verdict = judge(&pending, now, grace, |id| store.ground(user, head, id))?;
        mark.garbage = verdict.garbage;
        mark.find_old(store, user)?;
        for id in verdict.needed {
            mark.spare(store, user, id)?;
        }
        Ok(Some(mark))
    }

    fn find_old(&mut self, store: &Store, user: &UserId) -> Result<()> {
        let mut young = Vec::new();
        store.incoming_aliases(user, |file| {
            if let (false, ChunkId::Alias(alias)) = (self.take(&file), file.id) {
                young.push(alias);
            }
            Ok(())
        })?;
        store.incoming_chunks(user, |file| {
            self.take(&file);
            Ok(())
        })?;
        self.old
            .sort_unstable_by_key(|old| std::cmp::Reverse(old.id));
        self.leftovers.sort_unstable();
        for alias in young {
            self.spare_alias(store, user, &alias)?;
        }
        Ok(())
    }

    /// Notes a file if it may go; says whether it may.
    fn take(&mut self, file: &IncomingFile) -> bool {
        if file.leftover {
            self.leftovers.push(file.id);
        } else if self.is_old(file.time) {
            self.old.push(Old {
                id: file.id,
                bytes: file.bytes,
                spared: false,
            });
        } else {
            return false;
        }
        true
    }

    fn is_old(&self, time: SystemTime) -> bool {
        !is_young(time, self.now, self.grace)
    }

    /// A pending transaction stays: so do its pending ancestors, and what they all name.
    fn spare(&mut self, store: &Store, user: &UserId, id: TransactionId) -> Result<()> {
        let mut here = id;
        while self.spared.insert(here) {
            // One that is not pending any more was committed, or swept by somebody else.
            let Some(needs) = store.needs(user, here)? else {
                break;
            };
            for chunk in needs.chunks {
                self.spare_chunk(&chunk);
            }
            here = needs.parent;
        }
        Ok(())
    }

    fn spare_alias(&mut self, store: &Store, user: &UserId, alias: &Uuid) -> Result<()> {
        self.spare_chunk(&ChunkId::Alias(*alias));
        if let Some(digest) = store.stands_for(user, alias)? {
            self.spare_chunk(&ChunkId::Digest(digest));
        }
        Ok(())
    }

    fn spare_chunk(&mut self, id: &ChunkId) {
        if let Ok(index) = self.old.binary_search_by(|old| id.cmp(&old.id)) {
            self.old[index].spared = true;
        }
    }

    /// All of it, in the order in which it would go.
    fn tell(&self, each: &mut dyn FnMut(Garbage)) {
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
    }
}

fn abandoned(item: Item, bytes: u64) -> Garbage {
    let why = Why::Abandoned;
    Garbage { item, why, bytes }
}

/// It shares its bytes with the committed file.
fn leftover(item: Item) -> Garbage {
    let why = Why::Leftover;
    Garbage {
        item,
        why,
        bytes: 0,
    }
}

/// Why a sweep does not go on.
enum Stop {
    /// Somebody else swept since the mark: an id that went may have come again with other content.
    Overtaken,
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

type Step = std::result::Result<(), Stop>;

/// The removal of what was marked, as far as a second look under the lock agrees.
struct Sweep<'a> {
    store: &'a Store,
    user: &'a UserId,
    mark: Mark,
}

impl Sweep<'_> {
    fn run(mut self, each: &mut dyn FnMut(Garbage)) -> Step {
        if self.store.mistakes.made(Mistake::ParentsFirst) {
            self.mark.garbage.reverse();
            self.mark.old.sort_unstable_by_key(|old| old.id);
            self.old(each)?;
            return self.transactions(each);
        }
        self.committed(each)?;
        self.transactions(each)?;
        self.old(each)?;
        self.leftovers(each)
    }

    /// The lock, and a look at what came since the mark: that and what it needs is spared.
    fn lock(&mut self) -> std::result::Result<UserLock, Stop> {
        let lock = self.store.lock_blocking(self.user, Mode::Exclusive)?;
        let lock = lock.ok_or(Error::UserGone)?;
        if self.store.sweep_stamp(self.user)? != self.mark.stamp {
            return Err(Stop::Overtaken);
        }
        for id in self.store.unseen(&lock, &self.mark.seen)? {
            self.mark.spare(self.store, self.user, id)?;
        }
        Ok(lock)
    }

    fn committed(&mut self, each: &mut dyn FnMut(Garbage)) -> Step {
        let committed = std::mem::take(&mut self.mark.committed);
        for batch in committed.chunks(limits::SWEEP_FILES) {
            let lock = self.lock()?;
            self.mark.stamp = self.store.note_sweep(&lock)?;
            for id in batch {
                if self.store.sweep_committed(&lock, *id)? == Swept::Gone {
                    each(leftover(Item::Transaction(*id)));
                }
            }
        }
        Ok(())
    }

    fn transactions(&mut self, each: &mut dyn FnMut(Garbage)) -> Step {
        let garbage = std::mem::take(&mut self.mark.garbage);
        let mut gone = false;
        for batch in garbage.chunks(limits::SWEEP_FILES) {
            let lock = self.lock()?;
            self.mark.stamp = self.store.note_sweep(&lock)?;
            for id in batch {
                if self.mark.spared.contains(id) {
                    continue;
                }
                // From here on, whatever comes under this id is new.
                let Some(seen) = self.mark.seen.remove(id) else {
                    continue;
                };
                // Children were before: none of them is left that could be put again later.
                match self.store.sweep_transaction(&lock, *id, seen.time)? {
                    Swept::Gone => {
                        gone = true;
                        each(abandoned(Item::Transaction(*id), seen.bytes));
                    }
                    Swept::Fresher => self.mark.spare(self.store, self.user, *id)?,
                    Swept::NotThere => {}
                }
            }
        }
        if gone {
            self.store.sync_swept_transactions(self.user)?;
        }
        Ok(())
    }

    fn old(&mut self, each: &mut dyn FnMut(Garbage)) -> Step {
        let mut next = 0;
        let mut aliases = Vec::new();
        while next < self.mark.old.len() {
            if !aliases.is_empty() && matches!(self.mark.old[next].id, ChunkId::Digest(_)) {
                self.store.sync_swept_aliases(self.user, &aliases)?;
                aliases.clear();
            }
            let lock = self.lock()?;
            let is_chunk = |old: &Old| matches!(old.id, ChunkId::Digest(_));
            let kind = is_chunk(&self.mark.old[next]);
            let (mut files, mut bytes) = (0, 0);
            while let Some(old) = self.mark.old.get(next)
                && is_chunk(old) == kind
                && files < limits::SWEEP_FILES
                && bytes < limits::SWEEP_BYTES
            {
                next += 1;
                if old.spared {
                    continue;
                }
                files += 1;
                let is_old = |time| self.mark.is_old(time);
                if self.store.sweep_chunk(&lock, &old.id, is_old)? == Swept::Gone {
                    bytes += old.bytes;
                    each(abandoned(old.id.into(), old.bytes));
                    if let ChunkId::Alias(alias) = old.id {
                        aliases.push(alias);
                    }
                }
            }
        }
        Ok(())
    }

    fn leftovers(&mut self, each: &mut dyn FnMut(Garbage)) -> Step {
        let leftovers = std::mem::take(&mut self.mark.leftovers);
        for batch in leftovers.chunks(limits::SWEEP_FILES) {
            let lock = self.lock()?;
            let swept = self.store.sweep_leftovers(&lock, batch)?;
            for (id, swept) in batch.iter().zip(swept) {
                if swept == Swept::Gone {
                    each(leftover((*id).into()));
                }
            }
        }
        Ok(())
    }
}
