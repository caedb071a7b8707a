//! The names that the chain names, in bounded memory: a Bloom filter.
//!
//! A name that is not in the filter was certainly not put in; that is the direction that a repair relies on. Of
//! names that were never put in, a small part seems to be there (two in a thousand with ten million names): such a
//! leftover is not noticed, and does no harm.

use std::hash::{DefaultHasher, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::limits;

/// Parts that are made when they are first needed, so that a small user costs little.
const PARTS: usize = 256;

/// Places that a name sets.
const PROBES: u64 = 6;

/// Words of a part.
const WORDS: usize = limits::FSCK_FILTER_BYTES / PARTS / 8;

type FilterPart = Box<[AtomicU64; WORDS]>;

/// The filter. Names are put in and looked up from any thread.
pub struct Filter {
    parts: [OnceLock<FilterPart>; PARTS],
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            parts: [const { OnceLock::new() }; PARTS],
        }
    }
}

impl Filter {
    /// Puts a name in.
    pub fn insert(&self, name: &[u8]) {
        let (part, places) = places(name);
        // As one array of zeroes, which a build that is not optimised makes as quickly.
        let part = self.parts[part].get_or_init(|| Box::new([const { AtomicU64::new(0) }; WORDS]));
        for place in places {
            part[place / 64].fetch_or(1 << (place % 64), Ordering::Relaxed);
        }
    }

    /// Whether the name may have been put in; `false` is certain.
    pub fn may_have(&self, name: &[u8]) -> bool {
        let (part, mut places) = places(name);
        self.parts[part].get().is_some_and(|part| {
            places.all(|place| part[place / 64].load(Ordering::Relaxed) & (1 << (place % 64)) != 0)
        })
    }
}

fn places(name: &[u8]) -> (usize, impl Iterator<Item = usize>) {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    let hash = hasher.finish();
    let bits = (WORDS * 64) as u64;
    // Two halves of one hash make all the others (Kirsch and Mitzenmacher, 2006).
    let (start, step) = ((hash >> 8) & 0xfff_ffff, (hash >> 36) | 1);
    let places = (0..PROBES).map(move |n| ((start + n * step) % bits) as usize);
    ((hash % PARTS as u64) as usize, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_there_and_little_else() {
        let filter = Filter::default();
        let name = |n: u32| format!("name {n}");
        for n in 0..100_000 {
            filter.insert(name(n).as_bytes());
        }
        assert!((0..100_000).all(|n| filter.may_have(name(n).as_bytes())));
        let seem = (100_000..200_000).filter(|n| filter.may_have(name(*n).as_bytes()));
        assert!(seem.count() < 10);
    }
}
