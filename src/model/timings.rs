//! How long something took, each time it was done: a histogram that costs its writers three atomic additions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets, in microseconds: from an answer out of memory to a disk that is dying.
pub const BOUNDS: [u64; 13] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// Times that were taken, in buckets.
#[derive(Debug, Default)]
pub struct Timings {
    /// One bucket more than there are bounds.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// The times taken so far, as they are told.
#[derive(Clone, Debug, PartialEq)]
pub struct TimesTaken {
    /// Each bucket's upper bound in seconds, and how many times fell into it alone.
    pub buckets: Vec<(f64, u64)>,
    /// How many times were taken.
    pub count: u64,
    /// The sum of all of them, in seconds.
    pub seconds: f64,
}

impl Timings {
    /// Notes that it took so long once more.
    pub fn note(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The times noted so far.
    pub fn taken(&self) -> TimesTaken {
        let counts = (self.buckets.iter()).map(|bucket| bucket.load(Ordering::Relaxed));
        let bounds = BOUNDS.iter().map(|micros| *micros as f64 / 1e6);
        let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        TimesTaken {
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
            seconds: self.micros.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let timings = Timings::default();
        for micros in [0, 100, 101, 30_000_000, 30_000_001] {
            timings.note(Duration::from_micros(micros));
        }
        let taken = timings.taken();
        let filled: Vec<_> = (taken.buckets.iter())
            .filter(|bucket| bucket.1 > 0)
            .collect();
        assert_eq!(
            filled,
            [&(1e-4, 2), &(2.5e-4, 1), &(30.0, 1), &(f64::INFINITY, 1)]
        );
        assert_eq!(taken.count, 5);
        assert!((taken.seconds - 60.000_202).abs() < 1e-9);
    }
}
