//! Counts that requests add to.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::http::request::limiters::Limiter;
use crate::model::timings::Timings;
use crate::wire::Route;

/// The pattern that stands for all paths without a route.
pub const NO_ROUTE: &str = "-";

/// The statuses that there may be.
const STATUSES: std::ops::Range<u16> = 100..600;

/// Routes, and one place for what has none.
const ROUTES: usize = Route::PATTERNS.len() + 1;

/// Counts of what was answered. To add costs a few atomic additions.
pub struct AnswerCounts {
    routes: Vec<RouteCounts>,
    races_lost: AtomicU64,
    /// The limiter of connections, once there may be any.
    connections: OnceLock<Limiter>,
}

/// Counts of one route.
struct RouteCounts {
    /// Answers, by status.
    answers: Vec<AtomicU64>,
    times: Timings,
}

impl Default for AnswerCounts {
    fn default() -> Self {
        let zeroes = || STATUSES.map(|_| AtomicU64::new(0)).collect();
        let counts = || RouteCounts {
            answers: zeroes(),
            times: Timings::default(),
        };
        Self {
            routes: (0..ROUTES).map(|_| counts()).collect(),
            races_lost: AtomicU64::new(0),
            connections: OnceLock::new(),
        }
    }
}

impl AnswerCounts {
    /// Notes an answer to a request of a route with this pattern, and how long it took until the answer began; `None`
    /// for a request that was to wait.
    pub fn answered(&self, pattern: &str, status: u16, took: Option<Duration>) {
        let mut patterns = Route::PATTERNS.iter();
        let number = patterns.position(|known| *known == pattern);
        let counts = &self.routes[number.unwrap_or(ROUTES - 1)];
        let answers = counts
            .answers
            .get(usize::from(status.wrapping_sub(STATUSES.start)));
        if let Some(answers) = answers {
            answers.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(took) = took {
            counts.times.note(took);
        }
    }

    /// Notes that HEAD was not moved since somebody else had moved it.
    pub fn race_lost(&self) {
        self.races_lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Has the connections told that this limiter lets in.
    pub fn let_in_by(&self, connections: Limiter) {
        // There is one door.
        let _ = self.connections.set(connections);
    }

    /// The number of advances of HEAD that were lost to another.
    pub(super) fn races_lost(&self) -> u64 {
        self.races_lost.load(Ordering::Relaxed)
    }

    /// The number of connections that are open.
    pub(super) fn connections(&self) -> usize {
        self.connections.get().map_or(0, Limiter::taken)
    }

    /// The patterns of all routes, each with its times and with its answers by status, where there were any.
    pub(super) fn routes(&self) -> impl Iterator<Item = (&'static str, &Timings, Vec<(u16, u64)>)> {
        let patterns = Route::PATTERNS.into_iter().chain([NO_ROUTE]);
        patterns.zip(&self.routes).map(|(pattern, counts)| {
            let answers = counts
                .answers
                .iter()
                .map(|count| count.load(Ordering::Relaxed));
            let answers = STATUSES.zip(answers).filter(|(_, count)| *count > 0);
            (pattern, &counts.times, answers.collect())
        })
    }
}
