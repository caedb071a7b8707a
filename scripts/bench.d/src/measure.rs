//! Figures, how they are taken, and what they are compared with.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    #[serde(rename = "requests/s")]
    PerSecond,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "KiB")]
    Kibibytes,
}

/// What the ratio of ours to theirs must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
    /// For information only.
    None,
}

impl Bar {
    /// Whether a ratio keeps it.
    pub fn is_met(self, ratio: f64) -> bool {
        match self {
            Bar::AtLeast(bar) => ratio >= bar,
            Bar::AtMost(bar) => ratio <= bar,
            Bar::None => true,
        }
    }
}

/// Both sides of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub unit: Unit,
    /// Who ours is compared with.
    pub peer: String,
    pub ours: Vec<f64>,
    pub theirs: Vec<f64>,
}

impl Figures {
    /// The median of ours by the median of theirs.
    pub fn ratio(&self) -> f64 {
        median(&self.ours) / median(&self.theirs)
    }
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub work: String,
    pub bar: Bar,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Measured(Figures),
    /// Not run, and why.
    Skipped(String),
    /// It ran, and went wrong.
    Failed(String),
}

impl Row {
    pub fn measured(work: impl Into<String>, bar: Bar, figures: Result<Figures>) -> Self {
        let outcome = match figures {
            Ok(figures) => Outcome::Measured(figures),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        Self {
            work: work.into(),
            bar,
            outcome,
        }
    }

    pub fn skipped(work: impl Into<String>, bar: Bar, why: impl Into<String>) -> Self {
        Self {
            work: work.into(),
            bar,
            outcome: Outcome::Skipped(why.into()),
        }
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Takes turns: ours, theirs, theirs, ours, so that whatever else the machine does meets both, and what
/// one turn leaves for the disk to do does not always meet the same. Before each turn everything
/// written so far is brought to the disk, outside the time taken.
pub fn in_turns(
    runs: usize,
    disk: &Path,
    unit: Unit,
    peer: &str,
    mut ours: impl FnMut(usize) -> Result<f64>,
    mut theirs: impl FnMut(usize) -> Result<f64>,
) -> Result<Figures> {
    let mut figures = Figures {
        unit,
        peer: peer.to_owned(),
        ours: Vec::new(),
        theirs: Vec::new(),
    };
    for run in 0..runs {
        let order = match run % 2 {
            0 => [true, false],
            _ => [false, true],
        };
        for is_ours in order {
            settle(disk)?;
            match is_ours {
                true => figures.ours.push(ours(run)?),
                false => figures.theirs.push(theirs(run)?),
            }
        }
    }
    Ok(figures)
}

/// Brings everything on this file system to the disk.
pub fn settle(disk: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(File::open(disk)?)?)
}

/// How long this takes, in seconds.
pub fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}

/// The median of these, in seconds.
pub fn median_time(times: impl IntoIterator<Item = Duration>) -> f64 {
    let seconds: Vec<f64> = times.into_iter().map(|time| time.as_secs_f64()).collect();
    median(&seconds)
}
