//! Vouching: whoever answers about something that this process has not itself synced syncs it
//! first, once (DESIGN, Order of writes).
//!
//! Here is what this process has synced, so that "once" holds. Both memories are bounded and
//! only ever forget; what is forgotten is synced again.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::SystemTime;

use super::layout::{Area, Dir};
use crate::disk::Meta;
use crate::model::{ChunkId, UserId, limits};

/// The directories of one user's folder whose names in their parents are durable.
#[derive(Clone)]
pub struct Directories([u64; Dir::COUNT.div_ceil(64)]);

impl Default for Directories {
    fn default() -> Self {
        Self([0; Dir::COUNT.div_ceil(64)])
    }
}

impl Directories {
    pub fn has(&self, dir: Dir) -> bool {
        self.0[dir.number() / 64] & (1 << (dir.number() % 64)) != 0
    }

    pub fn insert(&mut self, dir: Dir) {
        self.0[dir.number() / 64] |= 1 << (dir.number() % 64);
    }

    pub fn remove(&mut self, dir: Dir) {
        self.0[dir.number() / 64] &= !(1 << (dir.number() % 64));
    }
}

/// A chunk's or an alias's file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name {
    pub user: UserId,
    pub area: Area,
    pub chunk: ChunkId,
}

/// The very file that had the name: another one would differ in these.
type Stamp = (u64, SystemTime);

/// The files whose names this process has synced, the last [`limits::VOUCHED`] or somewhat more.
#[derive(Default)]
pub struct Files(Mutex<Generations>);

/// When the young are many, the old are forgotten and the young become the old.
#[derive(Default)]
struct Generations {
    young: HashMap<Name, Stamp>,
    old: HashMap<Name, Stamp>,
}

impl Files {
    /// Whether this very file under this name is known to be durable.
    pub fn has(&self, name: &Name, meta: &Meta) -> bool {
        let generations = self.lock();
        let stamp = generations
            .young
            .get(name)
            .or_else(|| generations.old.get(name));
        stamp == Some(&(meta.inode, meta.modified))
    }

    /// Notes that this very file has been synced under this name.
    pub fn insert(&self, name: Name, meta: &Meta) {
        let mut generations = self.lock();
        if generations.young.len() >= limits::VOUCHED / 2 {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(name, (meta.inode, meta.modified));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.0.lock().expect("no code panics while it holds this")
    }
}
