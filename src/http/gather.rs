//! Small uploads gathered into groups, each of which shares its syncs.
//!
//! Whoever comes while a group is under way is taken in with the next one, which begins when that one
//! ends, or at once where many wait; whoever comes alone waits for nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot::{self, Sender};

use super::Site;
use super::blocking::{blocking, lock_known, lock_now};
use super::problem::Problem;
use crate::disk::Mode;
use crate::model::{ChunkDigest, ChunkId, UserId, limits};
use crate::store::{self, PutChunk, Store, Taken, Upload};

/// Where it is told what became of an upload.
type Reply = Sender<store::Result<Taken>>;

/// Uploads that wait for their group.
#[derive(Default)]
pub struct Gather(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<(Upload, Reply)>,
    /// Groups under way.
    groups: usize,
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

impl Gather {
    fn add(self: &Arc<Self>, store: &Arc<Store>, upload: Upload, sender: Reply) {
        let mut state = self.lock();
        state.waiting.push_back((upload, sender));
        let worth_one = state.groups == 0 || state.waiting.len() >= limits::ANOTHER_GROUP;
        if worth_one && state.groups < limits::GROUPS {
            state.groups += 1;
            let group = Group {
                gather: Arc::clone(self),
                store: Arc::clone(store),
                ended: false,
            };
            tokio::task::spawn_blocking(move || group.run());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no code panics while it holds this")
    }
}

/// One group after the other, until nobody waits.
struct Group {
    gather: Arc<Gather>,
    store: Arc<Store>,
    ended: bool,
}

impl Group {
    fn run(mut self) {
        while let Some((uploads, senders)) = self.next() {
            let lock = |user: &UserId| lock_now(&self.store, user, Mode::Shared);
            let outcomes = self.store.put_together(uploads, lock);
            for (sender, outcome) in senders.into_iter().zip(outcomes) {
                // A client that is gone needs no answer; what it sent is there.
                let _ = sender.send(outcome);
            }
        }
    }

    /// Those who wait, or the end: whoever comes after that starts a group anew.
    fn next(&mut self) -> Option<(Vec<Upload>, Vec<Reply>)> {
        let mut state = self.gather.lock();
        let count = state.waiting.len().min(limits::TOGETHER);
        if count == 0 {
            state.groups -= 1;
            self.ended = true;
            return None;
        }
        Some(state.waiting.drain(..count).unzip())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // A panic: those who wait must not wait for nobody.
        let mut state = self.gather.lock();
        state.groups -= 1;
        if state.groups == 0 {
            state.waiting.clear();
        }
    }
}
