//! Small uploads on their way to the disk, in steps that share their syncs.
//!
//! Two threads at the most are at it: one writes what has come, while the other syncs what is written
//! and gives it its names, step by step. Whoever comes alone has one thread for both, and waits for
//! nobody. Between two steps of several, those who were just answered are given a moment to come again,
//! and are written by the thread that waits for them: so they are in the next step, not the one after it.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot::{self, Sender};

use super::Site;
use super::answer::error::Error;
use super::answer::problem::Problem;
use super::blocking::{blocking, lock_known, lock_now};
use super::queue::Queue;
use crate::disk::Mode;
use crate::model::{ChunkDigest, ChunkId, UserId, limits};
use crate::store::{self, PutChunk, Store, Taken, Together, Upload, Written};

/// Where it is told what became of an upload.
type Reply = Sender<store::Result<Taken>>;

/// Uploads that are under way.
#[derive(Default)]
pub struct Gather {
    state: Mutex<State>,
    /// For a step that waits: somebody came, or as many are written as it waits for.
    more: Condvar,
}

#[derive(Default)]
struct State {
    /// Those that have come. Users take turns in being written, so nobody waits for all of another's.
    waiting: Queue<(Upload, Reply)>,
    /// Those that are written and wait for the next step.
    written: Vec<(Written, Reply)>,
    /// How many of those the next step waits for at this moment, if it does.
    expected: usize,
    /// A thread writes.
    writes: bool,
    /// A thread goes step by step.
    steps: bool,
}

/// Stores a chunk that is whole and in memory, durably.
pub async fn put(
    site: &Site,
    user: UserId,
    id: ChunkDigest,
    bytes: Vec<u8>,
) -> Result<PutChunk, Error> {
    let (sender, outcome) = oneshot::channel();
    site.gather
        .add(&site.store, Upload { user, id, bytes }, sender);
    let outcome = outcome.await.map_err(|_| {
        log::error!("a group of uploads broke off");
        Problem::internal()
    })?;
    match outcome? {
        Taken::Put(put) => Ok(put),
        Taken::Sealed(sealed) => {
            let lock = lock_known(site, &user, Mode::Shared).await?;
            let id = ChunkId::Digest(id);
            blocking(site, &user, move |store| store.put_chunk(lock, sealed, &id)).await
        }
    }
}

/// A client that is gone needs no answer; what it sent is there.
fn tell(reply: Reply, outcome: store::Result<Taken>) {
    let _ = reply.send(outcome);
}

impl Gather {
    fn add(self: &Arc<Self>, store: &Arc<Store>, upload: Upload, reply: Reply) {
        let mut state = self.lock();
        state.waiting.push(upload.user, (upload, reply));
        if state.expected > 0 {
            self.more.notify_one();
            if state.waiting.len() == 1 {
                return;
            }
        }
        self.have_written(state, store);
    }

    /// Sees to it that a thread writes, if there is something to write now.
    fn have_written(self: &Arc<Self>, mut state: MutexGuard<'_, State>, store: &Arc<Store>) {
        if state.writes || !state.may_write() {
            return;
        }
        state.writes = true;
        drop(state);
        let shift = Shift {
            gather: Arc::clone(self),
            store: Arc::clone(store),
            flag: Some(|state| &mut state.writes),
        };
        tokio::task::spawn_blocking(move || shift.write());
    }

    /// One more has a part in the next step.
    fn written(&self, written: (Written, Reply)) {
        let mut state = self.lock();
        state.written.push(written);
        if state.written.len() == state.expected {
            self.more.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(POISONED)
    }
}

const POISONED: &str = "no code panics while it holds this";

impl State {
    fn may_write(&self) -> bool {
        !self.waiting.is_empty() && self.written.len() < limits::TOGETHER
    }
}

/// A thread's work.
struct Shift {
    gather: Arc<Gather>,
    store: Arc<Store>,
    /// What says that the thread is at it, until it is done.
    flag: Option<fn(&mut State) -> &mut bool>,
}

impl Shift {
    /// Writes whatever comes, until nothing does; leaves that to another for the steps if nobody is at
    /// them.
    fn write(mut self) {
        loop {
            let mut state = self.gather.lock();
            let none_steps = !state.steps && !state.written.is_empty();
            if none_steps || !state.may_write() {
                state.writes = false;
                self.flag = None;
                if none_steps {
                    state.steps = true;
                    self.flag = Some(|state| &mut state.steps);
                    drop(state);
                    self.step();
                }
                return;
            }
            let next = state.waiting.pop().expect("somebody waits");
            drop(state);
            self.write_one(next);
        }
    }

    fn write_one(&self, (upload, reply): (Upload, Reply)) {
        match self.store.write(upload) {
            Ok(written) => self.gather.written((written, reply)),
            Err(error) => tell(reply, Err(error)),
        }
    }

    /// One step after the other, until there is nothing to do: whoever comes after that starts anew.
    fn step(mut self) {
        let mut together = Together::default();
        let told = Cell::new(0);
        let tell = |reply, outcome| {
            told.set(told.get() + 1);
            tell(reply, outcome);
        };
        let mut moment = Duration::ZERO;
        while let Some(written) = self.next(together.is_empty(), told.take(), moment) {
            let started = Instant::now();
            let durable = together.sync(&self.store, written, &tell);
            moment = (started.elapsed() * 3 / 4).min(limits::COME_AGAIN);
            let lock = |user: &UserId| lock_now(&self.store, user, Mode::Shared);
            together.name(&self.store, durable, lock, &tell);
        }
    }

    /// Those who have a part in the next step, or the end. `told` were just answered, and may come again
    /// in a moment; where nobody else waits for the step, it does not wait for them.
    fn next(
        &mut self,
        alone: bool,
        told: usize,
        moment: Duration,
    ) -> Option<Vec<(Written, Reply)>> {
        let expected = if alone { 0 } else { told.min(limits::TOGETHER) };
        let until = Instant::now() + moment;
        let mut state = self.gather.lock();
        while state.written.len() < expected {
            if let Some(next) = state.waiting.pop() {
                drop(state);
                self.write_one(next);
                state = self.gather.lock();
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.expected = expected;
            let waited = self.gather.more.wait_timeout(state, left);
            (state, _) = waited.expect(POISONED);
            state.expected = 0;
        }
        let written = std::mem::take(&mut state.written);
        if written.is_empty() && alone {
            state.steps = false;
            self.flag = None;
            return None;
        }
        self.gather.have_written(state, &self.store);
        Some(written)
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        let Some(flag) = self.flag else {
            return;
        };
        // A panic: those who wait must not wait for nobody.
        let mut state = self.gather.lock();
        *flag(&mut state) = false;
        let waiting = std::mem::take(&mut state.waiting);
        let written = std::mem::take(&mut state.written);
        drop(state);
        drop((waiting, written));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Grouping, Real};
    use crate::store::Options;
    use sha2::{Digest, Sha256};
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    fn site() -> (tempfile::TempDir, Arc<Site>) {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(Real::new(directory.path(), Grouping::Auto).unwrap());
        let store = Store::open(disk, Options::default()).unwrap();
        let site = Site::new(Arc::new(store), super::super::Settings::default());
        (directory, Arc::new(site))
    }

    fn upload(user: u8, number: u16) -> (UserId, ChunkDigest, Vec<u8>) {
        let bytes = number.to_le_bytes().to_vec();
        let id = ChunkDigest::from_bytes(Sha256::digest(&bytes).into());
        (UserId::from_bytes([user; 16]), id, bytes)
    }

    /// All at once; whether each was stored.
    async fn put_all(site: &Arc<Site>, uploads: Vec<(UserId, ChunkDigest, Vec<u8>)>) -> Vec<bool> {
        let all = uploads.into_iter().map(|(user, id, bytes)| async move {
            matches!(put(site, user, id, bytes).await, Ok(PutChunk::Stored))
        });
        futures_util::future::join_all(all).await
    }

    #[tokio::test]
    async fn more_than_are_written_ahead_are_all_stored_and_then_nobody_is_at_work() {
        let (_directory, site) = site();
        let many = 3 * limits::TOGETHER as u16;
        for _ in 0..2 {
            let uploads = (0..many).map(|number| upload((number % 3) as u8, number));
            let stored = put_all(&site, uploads.collect()).await;
            assert!(stored.iter().all(|stored| *stored));
            for number in 0..many {
                let (user, id, bytes) = upload((number % 3) as u8, number);
                let found = site.store.chunk(&user, &ChunkId::Digest(id)).unwrap();
                assert_eq!(found.unwrap().bytes, bytes.len() as u64);
            }
        }
        while site.gather.lock().steps || site.gather.lock().writes {
            tokio::task::yield_now().await;
        }
        assert!(site.gather.lock().written.is_empty());
    }

    #[tokio::test]
    async fn who_puts_one_does_not_wait_for_all_of_another_one() {
        let (_directory, site) = site();
        let many = 2000;
        let done = Arc::new(AtomicU64::new(0));
        let hers: Vec<_> = (0..many)
            .map(|number| {
                let (site, done) = (Arc::clone(&site), Arc::clone(&done));
                tokio::spawn(async move {
                    assert_eq!(put_all(&site, vec![upload(1, number)]).await, [true]);
                    done.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        while site.gather.lock().waiting.len() < usize::from(many) / 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(put_all(&site, vec![upload(2, 1)]).await, [true]);
        // The step at hand, the one that the upload has a part in, and what else was written meanwhile.
        let before = done.load(Ordering::Relaxed) as usize;
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
        let (_directory, site) = site();
        let (user, wrong, _) = upload(1, 7);
        let uploads = vec![upload(1, 1), (user, wrong, vec![]), upload(1, 2)];
        assert_eq!(put_all(&site, uploads).await, [true, false, true]);
    }

    #[tokio::test]
    async fn one_whose_user_is_locked_holds_up_nobody_else() {
        let (_directory, site) = site();
        assert_eq!(put_all(&site, vec![upload(1, 1)]).await, [true]);
        let (ada, ..) = upload(1, 1);
        let lock = site.store.lock(&ada, Mode::Exclusive).await.unwrap();
        let hers = tokio::spawn({
            let site = Arc::clone(&site);
            async move { put_all(&site, vec![upload(1, 2)]).await }
        });
        for number in 0..20 {
            assert_eq!(put_all(&site, vec![upload(2, number)]).await, [true]);
        }
        assert!(!hers.is_finished());
        drop(lock);
        assert_eq!(hers.await.unwrap(), [true]);
    }

    fn write(site: &Site, number: u16) -> (Written, Reply) {
        let (user, id, bytes) = upload(1, number);
        let written = site.store.write(Upload { user, id, bytes });
        (written.unwrap(), oneshot::channel().0)
    }

    #[test]
    fn a_step_waits_for_those_who_may_come_again_unless_it_is_for_nobody_else() {
        let (_directory, site) = site();
        let gather = &site.gather;
        let mut shift = Shift {
            gather: Arc::clone(gather),
            store: Arc::clone(&site.store),
            flag: None,
        };
        let long = Duration::from_secs(60);
        let since = Instant::now();
        let mut next = |alone, told, moment| Some(shift.next(alone, told, moment)?.len());
        assert_eq!(next(true, 5, long), None);
        gather.written(write(&site, 1));
        assert_eq!(next(true, 5, long), Some(1));
        assert_eq!(next(false, 5, Duration::from_millis(1)), Some(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while gather.lock().expected == 0 {
                    std::thread::yield_now();
                }
                gather.written(write(&site, 2));
                // Whoever waits writes this one: no other thread is started.
                let (user, id, bytes) = upload(1, 3);
                let one = Upload { user, id, bytes };
                gather.add(&site.store, one, oneshot::channel().0);
            });
            assert_eq!(next(false, 2, long), Some(2));
        });
        assert!(since.elapsed() < long);
    }

    #[tokio::test]
    async fn nobody_who_comes_alone_is_waited_for() {
        let (_directory, site) = site();
        let (waits, done) = (AtomicU64::new(0), AtomicBool::new(false));
        let runtime = tokio::runtime::Handle::current();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let waits_now = site.gather.lock().expected > 0;
                    waits.fetch_add(waits_now.into(), Ordering::Relaxed);
                    std::thread::yield_now();
                }
            });
            let alone = scope.spawn(|| {
                for number in 0..200 {
                    let one = put_all(&site, vec![upload(1, number)]);
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
        let (_directory, site) = site();
        let mut outcomes = Vec::new();
        {
            let mut state = site.gather.lock();
            (state.writes, state.steps) = (true, true);
            for number in 0..2 {
                let (user, id, bytes) = upload(1, number);
                let (sender, outcome) = oneshot::channel();
                let one = Upload { user, id, bytes };
                if number == 0 {
                    state.waiting.push(user, (one, sender));
                } else {
                    state.written.push((site.store.write(one).unwrap(), sender));
                }
                outcomes.push(outcome);
            }
        }
        for flag in [
            (|state| &mut state.writes) as fn(&mut State) -> &mut bool,
            |state| &mut state.steps,
        ] {
            drop(Shift {
                gather: Arc::clone(&site.gather),
                store: Arc::clone(&site.store),
                flag: Some(flag),
            });
        }
        for outcome in outcomes {
            assert!(outcome.await.is_err());
        }
        assert_eq!(put_all(&site, vec![upload(1, 3)]).await, [true]);
    }
}
