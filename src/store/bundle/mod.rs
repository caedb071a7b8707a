//! Bundles: a part of the chain as one tar, out and in (DESIGN, Bundle).

mod intake;
mod out;
mod pending;
mod publish;
mod staging;
mod straight;
mod tar;
mod unpack;

pub use intake::{Counts, PushBundle};
pub use out::{BundleReader, Plan, PullBundle};

use std::collections::{HashSet, VecDeque};

use crate::model::{ChunkId, limits};

/// The last chunks and aliases that went by: first in, first out.
pub(in crate::store) struct Window {
    order: VecDeque<ChunkId>,
    ids: HashSet<ChunkId>,
    size: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self::of(limits::BUNDLE_WINDOW)
    }
}

impl Window {
    fn of(size: usize) -> Self {
        Self {
            order: VecDeque::new(),
            ids: HashSet::new(),
            size,
        }
    }

    /// Whether it is among the last ones.
    pub fn has(&self, id: &ChunkId) -> bool {
        self.ids.contains(id)
    }

    /// It goes by; says `false`, and changes nothing, where it is among the last ones already.
    pub fn insert(&mut self, id: ChunkId) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        if self.order.len() == self.size
            && let Some(first) = self.order.pop_front()
        {
            self.ids.remove(&first);
        }
        self.order.push_back(id);
        true
    }
}

#[cfg(test)]
mod tests;
