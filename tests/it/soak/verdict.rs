//! What should not have happened, and how often what should has.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Instant;

use super::fleet::Life;

/// Why somebody does not go on with what they were at.
#[derive(Clone, Debug)]
pub enum Halt {
    /// A promise was broken: of which kind, and how.
    Wrong(&'static str, String),
    /// Nobody can tell what came of it, and that is all right: a server died, the user was renamed, it was busy. It is
    /// begun anew.
    Again,
}

impl Halt {
    /// The same, with which process it was.
    pub fn by(self, life: &Life) -> Self {
        match self {
            Halt::Wrong(kind, how) => Halt::Wrong(kind, format!("{how}; by {life}")),
            Halt::Again => Halt::Again,
        }
    }
}

/// What was asked for, or why there is none.
pub type Told<T> = Result<T, Halt>;

/// A promise was broken.
pub fn wrong<T>(kind: &'static str, how: impl Into<String>) -> Told<T> {
    Err(Halt::Wrong(kind, how.into()))
}

/// What is said of one broken promise at once; all of it is kept.
const SAID: usize = 700;

/// Of each kind, those that are said as they come.
const EACH: u64 = 4;

/// One broken promise.
#[derive(Clone, Debug)]
pub struct Wrong {
    pub kind: &'static str,
    pub how: String,
    /// Seconds since the beginning.
    pub at: f64,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s: {}: {}", self.at, self.kind, self.how)
    }
}

/// All that is counted.
pub struct Verdict {
    since: Instant,
    broken: bool,
    wrongs: Mutex<Vec<Wrong>>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Verdict {
    /// Where something is broken on purpose, what is wrong is not said as it comes.
    pub fn new(broken: bool) -> Self {
        Self {
            broken,
            since: Instant::now(),
            wrongs: Mutex::default(),
            counts: Mutex::default(),
        }
    }

    /// Seconds since the beginning.
    pub fn now(&self) -> f64 {
        self.since.elapsed().as_secs_f64()
    }

    pub fn count(&self, what: &str, times: u64) {
        let mut counts = self.counts.lock().unwrap();
        match counts.get_mut(what) {
            Some(count) => *count += times,
            None => drop(counts.insert(what.to_owned(), times)),
        }
    }

    pub fn counted(&self, what: &str) -> u64 {
        let counts = self.counts.lock().unwrap();
        counts.get(what).copied().unwrap_or_default()
    }

    /// Everything that was counted and begins with this.
    pub fn all(&self, with: &str) -> String {
        let counts = self.counts.lock().unwrap();
        let told = counts
            .iter()
            .filter_map(|(what, count)| Some(format!("{} {count}", what.strip_prefix(with)?)));
        told.collect::<Vec<_>>().join(", ")
    }

    pub fn hear(&self, kind: &'static str, how: String) {
        let at = self.now();
        let wrong = Wrong { kind, how, at };
        let mut said: String = wrong.to_string().chars().take(SAID).collect();
        if said.len() == SAID {
            said.push('…');
        }
        let before = self.kinds().get(kind).copied().unwrap_or_default();
        if !self.broken && before < EACH {
            eprintln!("soak: WRONG at {said}");
        }
        self.wrongs.lock().unwrap().push(wrong);
    }

    pub fn wrongs(&self) -> Vec<Wrong> {
        self.wrongs.lock().unwrap().clone()
    }

    /// How many of each kind.
    pub fn kinds(&self) -> BTreeMap<&'static str, u64> {
        let mut kinds = BTreeMap::new();
        for wrong in self.wrongs.lock().unwrap().iter() {
            *kinds.entry(wrong.kind).or_default() += 1;
        }
        kinds
    }
}
