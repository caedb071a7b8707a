//! A window of the names that went by last, in bounded memory.

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
    pub(super) fn of(size: usize) -> Self {
        Self {
            order: VecDeque::new(),
            ids: HashSet::new(),
            size,
        }
    }

    /// Whether `id` is among the last ones.
    pub fn has(&self, id: &ChunkId) -> bool {
        self.ids.contains(id)
    }

    /// Takes `id` as the last one; `false`, with nothing changed, where it is among the last ones already.
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
