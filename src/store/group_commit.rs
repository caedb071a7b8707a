//! Group commit: small chunks that come at the time share their syncs.
//!
//! One sync serves the bytes of some and the names of those before them, and the lock is taken once for each user's.
//! Each chunk goes the way of one that comes alone (DESIGN, Order of writes) and is told by itself; what is shared is
//! the waiting.
//!
//! Two threads at the most are at it: one writes what has come, while the other syncs what is written
//! and gives it its names, step by step. Whoever comes alone has one thread for both, and waits for
//! nobody. Between two steps of several, those who were just answered are given a moment to come again,
//! and are written by the thread that waits for them: so they are in the next step, not the one after it.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot::{self, Receiver, Sender};

use super::fair_queue::FairQueue;
use super::group::{Durable, Group, Taken, Upload, Written};
use super::{Error, PutChunk, Result, Shared, Store};
use crate::model::{ChunkDigest, UserId, limits};

/// The sender of one upload's outcome, which its client waits for.
type Reply = Sender<Result<Taken>>;

/// The group commit of a store's small chunks. A clone is of the very same one.
#[derive(Clone)]
pub struct GroupCommit(Arc<UnderWay>);

/// Uploads that are under way.
struct UnderWay {
    store: Store,
    state: Mutex<Uploads>,
    /// For a step that waits: somebody came, or as many are written as it waits for.
    more: Condvar,
}

#[derive(Default)]
struct Uploads {
    /// Uploads that have come. Users take turns in being written, so nobody waits for all of another's.
    waiting: FairQueue<(Upload, Reply)>,
    /// Uploads that are written and wait for the next step.
    written: Vec<(Written, Reply)>,
    /// Chunks that got their names between two steps, and wait for the next.
    named: Group<Reply>,
    /// How many of the written ones the next step waits for at this moment, if it does.
    expected: usize,
    /// A thread writes.
    writes: bool,
    /// A thread goes step by step.
    steps: bool,
}

impl GroupCommit {
    /// The group commit of this store, of which a process has one.
    pub fn of(store: Store) -> Self {
        Self(Arc::new(UnderWay {
            store,
            state: Mutex::default(),
            more: Condvar::new(),
        }))
    }

    /// Stores a chunk that is whole and in memory, durably, together with others that come at the time. Makes the
    /// user's folder if there is none. Waits without a thread, also for the user's lock; to be called on a tokio
    /// runtime, whose threads for blocking work it uses: two at most, and for a moment one for a chunk that waited for the
    /// lock.
    ///
    /// Dropped, it takes nothing back: the chunk may be stored all the same.
    ///
    /// # Errors
    /// Those of [`Shared::put_chunk`](super::Shared::put_chunk), and of a sync that others took part in; the chunk is
    /// not acknowledged then. [`Error::BrokeOff`] where a thread of the group panicked.
    pub async fn put(&self, user: UserId, id: ChunkDigest, bytes: Vec<u8>) -> Result<PutChunk> {
        let (reply, outcome) = oneshot::channel();
        let user = self.0.store.user(user);
        let upload = Upload {
            user: user.clone(),
            id,
            bytes,
        };
        self.add(upload, reply);
        let unnamed = match told(outcome).await? {
            Taken::Put(put) => return Ok(put),
            Taken::Unnamed(unnamed) => unnamed,
        };
        // Somebody works on this user: the others go on meanwhile, and this one gets its name once the lock is had.
        let lock = user.shared().await?.ok_or(Error::UserGone)?;
        let (reply, outcome) = oneshot::channel();
        let commit = self.clone();
        tokio::task::spawn_blocking(move || commit.name_under(lock, *unnamed, reply));
        match told(outcome).await? {
            Taken::Put(put) => Ok(put),
            Taken::Unnamed(_) => Err(Error::Busy),
        }
    }
}

impl GroupCommit {
    /// The uploads that have come and are not durable under their names yet, as far as no step has begun with them.
    pub fn waiting(&self) -> usize {
        let uploads = self.0.lock();
        uploads.waiting.len() + uploads.written.len()
    }
}

/// Waits for an outcome.
async fn told(outcome: Receiver<Result<Taken>>) -> Result<Taken> {
    outcome.await.map_err(|_| {
        log::error!("a group of uploads broke off");
        Error::BrokeOff
    })?
}

/// Tells an outcome. A client that is gone needs none; what it sent is there.
fn tell(reply: Reply, outcome: Result<Taken>) {
    let _ = reply.send(outcome);
}

impl GroupCommit {
    fn add(&self, upload: Upload, reply: Reply) {
        let mut uploads = self.0.lock();
        uploads.waiting.push(upload.user.id, (upload, reply));
        if uploads.expected > 0 {
            self.0.more.notify_one();
            if uploads.waiting.len() == 1 {
                return;
            }
        }
        self.have_written(uploads);
    }

    /// Sees to it that a thread writes, if there is something to write now.
    fn have_written(&self, mut uploads: MutexGuard<'_, Uploads>) {
        if uploads.writes || !uploads.may_write() {
            return;
        }
        uploads.writes = true;
        drop(uploads);
        self.start();
    }

    /// Gives a chunk its name under a lock that was waited for, and has the next step sync it.
    fn name_under(&self, lock: Shared, unnamed: Durable, reply: Reply) {
        let mut group = Group::default();
        group.name_under(lock, vec![(unnamed, reply)], &mut tell);
        if group.is_empty() {
            return;
        }
        let mut uploads = self.0.lock();
        uploads.named.join(group);
        if !uploads.writes && !uploads.steps {
            uploads.writes = true;
            drop(uploads);
            self.start();
        }
    }

    fn start(&self) {
        let shift = Shift {
            commit: self.clone(),
            flag: Some(|uploads| &mut uploads.writes),
        };
        tokio::task::spawn_blocking(move || shift.write());
    }
}

impl UnderWay {
    /// One more has a part in the next step.
    fn written(&self, written: (Written, Reply)) {
        let mut uploads = self.lock();
        uploads.written.push(written);
        if uploads.written.len() == uploads.expected {
            self.more.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Uploads> {
        self.state.lock().expect(POISONED)
    }
}

const POISONED: &str = "no code panics while it holds this";

impl Uploads {
    /// Whether there is work for a step.
    fn has_step(&self) -> bool {
        !self.written.is_empty() || !self.named.is_empty()
    }

    fn may_write(&self) -> bool {
        !self.waiting.is_empty() && self.written.len() < limits::TOGETHER
    }
}

/// The work of a step: chunks that were written, and chunks that got their names since the last one.
type NextStep = (Vec<(Written, Reply)>, Group<Reply>);

/// A thread's work.
struct Shift {
    commit: GroupCommit,
    /// The flag that stands for the thread until it is done.
    flag: Option<fn(&mut Uploads) -> &mut bool>,
}

impl Shift {
    /// Writes whatever comes, until nothing does; leaves that to another for the steps if nobody is at
    /// them.
    fn write(mut self) {
        loop {
            let mut uploads = self.commit.0.lock();
            let none_steps = !uploads.steps && uploads.has_step();
            if none_steps || !uploads.may_write() {
                uploads.writes = false;
                self.flag = None;
                if none_steps {
                    uploads.steps = true;
                    self.flag = Some(|uploads| &mut uploads.steps);
                    drop(uploads);
                    self.step();
                }
                return;
            }
            let next = uploads.waiting.pop().expect("somebody waits");
            drop(uploads);
            self.write_one(next);
        }
    }

    fn write_one(&self, (upload, reply): (Upload, Reply)) {
        match upload.write() {
            Ok(written) => self.commit.0.written((written, reply)),
            Err(error) => tell(reply, Err(error)),
        }
    }

    /// Goes one step after the other, until there is nothing to do: whoever comes after that starts anew.
    fn step(mut self) {
        let store = self.commit.0.store.clone();
        let mut group = Group::default();
        let told = Cell::new(0);
        let tell = |reply, outcome| {
            told.set(told.get() + 1);
            tell(reply, outcome);
        };
        let mut moment = Duration::ZERO;
        while let Some((written, named)) = self.next(group.is_empty(), told.take(), moment) {
            group.join(named);
            let started = Instant::now();
            let durable = group.sync(&store, written, &tell);
            moment = (started.elapsed() * 3 / 4).min(limits::COME_AGAIN);
            group.name(durable, &tell);
        }
    }

    /// Takes those who have a part in the next step; `None` at the end. `told` were just answered, and may come again
    /// in a moment; where nobody else waits for the step, it does not wait for them.
    fn next(&mut self, alone: bool, told: usize, moment: Duration) -> Option<NextStep> {
        let expected = if alone { 0 } else { told.min(limits::TOGETHER) };
        let until = Instant::now() + moment;
        let mut uploads = self.commit.0.lock();
        while uploads.written.len() < expected {
            if let Some(next) = uploads.waiting.pop() {
                drop(uploads);
                self.write_one(next);
                uploads = self.commit.0.lock();
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            uploads.expected = expected;
            let waited = self.commit.0.more.wait_timeout(uploads, left);
            (uploads, _) = waited.expect(POISONED);
            uploads.expected = 0;
        }
        if !uploads.has_step() && alone {
            uploads.steps = false;
            self.flag = None;
            return None;
        }
        let written = std::mem::take(&mut uploads.written);
        let named = std::mem::take(&mut uploads.named);
        self.commit.have_written(uploads);
        Some((written, named))
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        let Some(flag) = self.flag else {
            return;
        };
        // A panic: those who wait must not wait for nobody.
        let mut uploads = self.commit.0.lock();
        *flag(&mut uploads) = false;
        let waiting = std::mem::take(&mut uploads.waiting);
        let written = std::mem::take(&mut uploads.written);
        let named = std::mem::take(&mut uploads.named);
        drop(uploads);
        drop((waiting, written, named));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Grouping, Real};
    use crate::model::ChunkId;
    use crate::store::Options;
    use sha2::{Digest, Sha256};
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    fn commit() -> (tempfile::TempDir, GroupCommit) {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(Real::new(directory.path(), Grouping::Auto).unwrap());
        let store = Store::open(disk, Options::default()).unwrap();
        (directory, GroupCommit::of(store))
    }

    fn upload(user: u8, number: u16) -> (UserId, ChunkDigest, Vec<u8>) {
        let bytes = number.to_le_bytes().to_vec();
        let id = ChunkDigest::from_bytes(Sha256::digest(&bytes).into());
        (UserId::from_bytes([user; 16]), id, bytes)
    }

    /// All at once; whether each was stored.
    async fn put_all(
        commit: &GroupCommit,
        uploads: Vec<(UserId, ChunkDigest, Vec<u8>)>,
    ) -> Vec<bool> {
        let all = uploads.into_iter().map(|(user, id, bytes)| async move {
            matches!(commit.put(user, id, bytes).await, Ok(PutChunk::Stored))
        });
        futures_util::future::join_all(all).await
    }

    #[tokio::test]
    async fn more_than_are_written_ahead_are_all_stored_and_then_nobody_is_at_work() {
        let (_directory, commit) = commit();
        let many = 3 * limits::TOGETHER as u16;
        for _ in 0..2 {
            let uploads = (0..many).map(|number| upload((number % 3) as u8, number));
            let stored = put_all(&commit, uploads.collect()).await;
            assert!(stored.iter().all(|stored| *stored));
            for number in 0..many {
                let (user, id, bytes) = upload((number % 3) as u8, number);
                let found = commit
                    .0
                    .store
                    .user(user)
                    .chunk(&ChunkId::Digest(id))
                    .unwrap();
                assert_eq!(found.unwrap().bytes, bytes.len() as u64);
            }
        }
        while commit.0.lock().steps || commit.0.lock().writes {
            tokio::task::yield_now().await;
        }
        assert!(commit.0.lock().written.is_empty());
    }

    #[tokio::test]
    async fn who_puts_one_does_not_wait_for_all_of_another_one() {
        let (_directory, commit) = commit();
        let many = 2000;
        let done = Arc::new(AtomicU64::new(0));
        let hers: Vec<_> = (0..many)
            .map(|number| {
                let (commit, done) = (commit.clone(), Arc::clone(&done));
                tokio::spawn(async move {
                    assert_eq!(put_all(&commit, vec![upload(1, number)]).await, [true]);
                    done.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        while commit.0.lock().waiting.len() < usize::from(many) / 2 {
            assert!(hers.iter().any(|one| !one.is_finished()));
            tokio::task::yield_now().await;
        }
        let earlier = done.load(Ordering::Relaxed) as usize;
        assert_eq!(put_all(&commit, vec![upload(2, 1)]).await, [true]);
        // The step at hand, the one that the upload has a part in, and what else was written meanwhile.
        let before = done.load(Ordering::Relaxed) as usize - earlier;
        assert!(
            before <= 4 * limits::TOGETHER,
            "{before} of {many} came first"
        );
        for one in hers {
            one.await.unwrap();
        }
    }

    #[tokio::test]
    async fn each_is_told_its_own_outcome() {
        let (_directory, commit) = commit();
        let (user, wrong, _) = upload(1, 7);
        let uploads = vec![upload(1, 1), (user, wrong, vec![]), upload(1, 2)];
        assert_eq!(put_all(&commit, uploads).await, [true, false, true]);
    }

    #[tokio::test]
    async fn one_whose_user_is_locked_holds_up_nobody_else() {
        let (_directory, commit) = commit();
        assert_eq!(put_all(&commit, vec![upload(1, 1)]).await, [true]);
        let (ada, ..) = upload(1, 1);
        let lock = commit.0.store.user(ada).exclusive().await.unwrap();
        let hers = tokio::spawn({
            let commit = commit.clone();
            async move { put_all(&commit, vec![upload(1, 2)]).await }
        });
        for number in 0..20 {
            assert_eq!(put_all(&commit, vec![upload(2, number)]).await, [true]);
        }
        assert!(!hers.is_finished());
        drop(lock);
        assert_eq!(hers.await.unwrap(), [true]);
    }

    fn write(commit: &GroupCommit, number: u16) -> (Written, Reply) {
        let (user, id, bytes) = upload(1, number);
        let user = commit.0.store.user(user);
        let written = Upload { user, id, bytes }.write();
        (written.unwrap(), oneshot::channel().0)
    }

    #[test]
    fn a_step_waits_for_those_who_may_come_again_unless_it_is_for_nobody_else() {
        let (_directory, commit) = commit();
        let mut shift = Shift {
            commit: commit.clone(),
            flag: None,
        };
        let long = Duration::from_secs(60);
        let since = Instant::now();
        let mut next = |alone, told, moment| Some(shift.next(alone, told, moment)?.0.len());
        assert_eq!(next(true, 5, long), None);
        commit.0.written(write(&commit, 1));
        assert_eq!(next(true, 5, long), Some(1));
        assert_eq!(next(false, 5, Duration::from_millis(1)), Some(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while commit.0.lock().expected == 0 {
                    std::thread::yield_now();
                }
                commit.0.written(write(&commit, 2));
                // Whoever waits writes this one: no other thread is started.
                let (user, id, bytes) = upload(1, 3);
                let user = commit.0.store.user(user);
                commit.add(Upload { user, id, bytes }, oneshot::channel().0);
            });
            assert_eq!(next(false, 2, long), Some(2));
        });
        assert!(since.elapsed() < long);
    }

    #[tokio::test]
    async fn nobody_who_comes_alone_is_waited_for() {
        let (_directory, commit) = commit();
        let (waits, done) = (AtomicU64::new(0), AtomicBool::new(false));
        let runtime = tokio::runtime::Handle::current();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let waits_now = commit.0.lock().expected > 0;
                    waits.fetch_add(waits_now.into(), Ordering::Relaxed);
                    std::thread::yield_now();
                }
            });
            let alone = scope.spawn(|| {
                for number in 0..200 {
                    let one = put_all(&commit, vec![upload(1, number)]);
                    assert_eq!(runtime.block_on(one), [true]);
                }
            });
            let ended = alone.join();
            done.store(true, Ordering::Relaxed);
            ended.unwrap();
        });
        assert_eq!(waits.into_inner(), 0);
    }

    #[tokio::test]
    async fn after_a_thread_broke_off_nobody_waits_for_it_and_the_next_is_served() {
        let (_directory, commit) = commit();
        let mut outcomes = Vec::new();
        {
            let mut state = commit.0.lock();
            (state.writes, state.steps) = (true, true);
            for number in 0..2 {
                let (user, id, bytes) = upload(1, number);
                let (sender, outcome) = oneshot::channel();
                let one = Upload {
                    user: commit.0.store.user(user),
                    id,
                    bytes,
                };
                if number == 0 {
                    state.waiting.push(user, (one, sender));
                } else {
                    state.written.push((one.write().unwrap(), sender));
                }
                outcomes.push(outcome);
            }
        }
        for flag in [
            (|state| &mut state.writes) as fn(&mut Uploads) -> &mut bool,
            |state| &mut state.steps,
        ] {
            drop(Shift {
                commit: commit.clone(),
                flag: Some(flag),
            });
        }
        for outcome in outcomes {
            assert!(outcome.await.is_err());
        }
        assert_eq!(put_all(&commit, vec![upload(1, 3)]).await, [true]);
    }
}
