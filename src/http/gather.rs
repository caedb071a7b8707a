//! Small uploads on their way to the disk, in steps that share their syncs.
//!
//! Two threads at the most are at it: one writes what has come, while the other syncs what is written
//! and gives it its names, step by step. Whoever comes alone has one thread for both, and waits for
//! nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::oneshot::{self, Sender};

use super::Site;
use super::blocking::{blocking, lock_known, lock_now};
use super::problem::Problem;
use crate::disk::Mode;
use crate::model::{ChunkDigest, ChunkId, UserId, limits};
use crate::store::{self, PutChunk, Store, Taken, Together, Upload, Written};

/// Where it is told what became of an upload.
type Reply = Sender<store::Result<Taken>>;

/// Uploads that are under way.
#[derive(Default)]
pub struct Gather {
    state: Mutex<State>,
    /// One more is written.
    more: Condvar,
}

#[derive(Default)]
struct State {
    /// Those that have come.
    waiting: VecDeque<(Upload, Reply)>,
    /// Those that are written and wait for the next step.
    written: Vec<(Written, Reply)>,
    /// A thread writes.
    writes: bool,
    /// A thread goes step by step.
    steps: bool,
    /// What the next step waits for, so that those who have just been answered have a part in it.
    expected: Option<Expected>,
}

/// So many, until then.
#[derive(Clone, Copy)]
struct Expected {
    count: usize,
    until: Instant,
}

/// Stores a chunk that is whole and in memory, durably.
pub async fn put(
    site: &Site,
    user: UserId,
    id: ChunkDigest,
    bytes: Vec<u8>,
) -> Result<PutChunk, Problem> {
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
            blocking(site, move |store| store.put_chunk(lock, sealed, &id)).await
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
        state.waiting.push_back((upload, reply));
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(UNPOISONED)
    }
}

const UNPOISONED: &str = "no code panics while it holds this";

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
    /// Writes whatever comes; goes on to the steps if nobody is at them.
    fn write(mut self) {
        loop {
            let mut state = self.gather.lock();
            if !state.may_write() {
                state.writes = false;
                self.flag = None;
                if state.steps || state.written.is_empty() {
                    return;
                }
                state.steps = true;
                self.flag = Some(|state| &mut state.steps);
                drop(state);
                return self.step();
            }
            let next = state.waiting.pop_front();
            drop(state);
            let (upload, reply) = next.expect("somebody waits");
            match self.store.write(upload) {
                Ok(written) => {
                    self.gather.lock().written.push((written, reply));
                    self.gather.more.notify_one();
                }
                Err(error) => tell(reply, Err(error)),
            }
        }
    }

    /// One step after the other, until there is nothing to do: whoever comes after that starts anew.
    fn step(mut self) {
        let mut together = Together::default();
        while let Some(written) = self.next(together.is_empty()) {
            let (began, mut answered) = (Instant::now(), 0);
            let durable = together.sync(&self.store, written, |reply, outcome| {
                answered += 1;
                tell(reply, outcome);
            });
            self.expect(answered, began);
            let lock = |user: &UserId| lock_now(&self.store, user, Mode::Shared);
            together.name(&self.store, durable, lock, tell);
        }
    }

    /// How many the next step waits for, and how long.
    fn expect(&self, answered: usize, began: Instant) {
        let now = Instant::now();
        let mut state = self.gather.lock();
        let count = state.waiting.len() + state.written.len() + answered;
        state.expected = (answered >= limits::SIBLINGS).then(|| Expected {
            count: count.min(limits::TOGETHER),
            until: now + (now - began) / limits::SIBLINGS_WAIT,
        });
    }

    /// Those who have a part in the next step, or the end.
    fn next(&mut self, nothing_named: bool) -> Option<Vec<(Written, Reply)>> {
        let mut state = self.gather.lock();
        while let Some(expected) = state.expected
            && state.written.len() < expected.count
            && let Some(left) = expected.until.checked_duration_since(Instant::now())
        {
            let waited = self.gather.more.wait_timeout(state, left);
            state = waited.expect(UNPOISONED).0;
        }
        let written = std::mem::take(&mut state.written);
        if written.is_empty() && nothing_named {
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
