//! The disks that a power cut may leave: all that was written before the last flush, and of what was
//! written since then any part, down to the sector.

use std::ops::Range;

use fastrand::Rng;

use crate::blocks::Blocks;
use crate::device::Event;
use crate::mark::Promises;

/// What a disk writes in one go.
const SECTOR: usize = 512;

/// Which of the writes since the last flush reached the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Nothing,
    Everything,
    /// All up to one of them.
    Prefix,
    /// Any of them.
    Subset,
    /// Any sectors of any of them.
    Torn,
}

/// A power cut: before this event of the recording, with so much of what was not flushed.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub at: usize,
    pub kept: Kept,
    pub seed: u64,
}

/// Chooses so many cuts, in order. Half of them keep nothing, right at a mark (at every mark, if there are so
/// many), which is what a missing sync shows at; the others are at and after any mark, in any way.
pub fn choose(recording: &[Event], count: usize, rng: &mut Rng) -> Vec<Cut> {
    let marks: Vec<usize> = (0..recording.len())
        .filter(|at| matches!(recording[*at], Event::Mark(_)))
        .collect();
    let ends = marks.iter().copied().skip(1).chain([recording.len()]);
    let mut spans: Vec<Range<usize>> = marks
        .iter()
        .zip(ends)
        .map(|(from, to)| from + 1..to)
        .collect();
    rng.shuffle(&mut spans);
    let strict = spans.iter().take(count.div_ceil(2));
    let strict = strict.map(|span| (span.start, Kept::Nothing));
    let ways = [
        Kept::Subset,
        Kept::Torn,
        Kept::Prefix,
        Kept::Everything,
        Kept::Nothing,
    ];
    let mut others = Vec::new();
    for way in ways {
        for span in &spans {
            others.push((span.start, way));
            // After it: with a write on its way to the disk, and just before a flush.
            let writes: Vec<usize> = span
                .clone()
                .filter(|at| matches!(recording[*at], Event::Write { .. }))
                .collect();
            let flushes: Vec<usize> = span
                .clone()
                .filter(|at| matches!(recording[*at], Event::Flush))
                .collect();
            others.extend(rng.choice(writes).map(|at| (at + 1, way)));
            others.extend(rng.choice(flushes).map(|at| (at, way)));
        }
    }
    rng.shuffle(&mut others);
    let mut cuts: Vec<Cut> = strict
        .chain(others)
        .take(count)
        .map(|(at, kept)| Cut {
            at,
            kept,
            seed: rng.u64(..),
        })
        .collect();
    cuts.sort_by_key(|cut| cut.at);
    cuts
}

/// Goes through the recording once, and makes the disk of each cut on the way.
pub struct Cutter<'a> {
    recording: &'a [Event],
    /// What stands for certain: everything before this event.
    flushed: usize,
    durable: Blocks,
    /// How far the recording has been looked through.
    seen: usize,
}

impl<'a> Cutter<'a> {
    /// Starts with what the disk held when the recording began.
    pub fn new(start: Blocks, recording: &'a [Event]) -> Self {
        Self {
            recording,
            flushed: 0,
            durable: start,
            seen: 0,
        }
    }

    /// The disk after this cut, and how many writes it could have lost. Cuts come in order.
    pub fn cut(&mut self, cut: Cut) -> (Blocks, usize) {
        assert!(cut.at >= self.seen, "cuts come in order");
        while self.seen < cut.at {
            if matches!(self.recording[self.seen], Event::Flush) {
                for event in &self.recording[self.flushed..self.seen] {
                    if let Event::Write { offset, bytes } = event {
                        self.durable.write(*offset, bytes);
                    }
                }
                self.flushed = self.seen;
            }
            self.seen += 1;
        }
        let mut disk = self.durable.clone();
        let mut rng = Rng::with_seed(cut.seed);
        let writes: Vec<_> = self.recording[self.flushed..cut.at]
            .iter()
            .filter_map(|event| match event {
                Event::Write { offset, bytes } => Some((*offset, bytes)),
                _ => None,
            })
            .collect();
        let whole = match cut.kept {
            Kept::Nothing => 0,
            Kept::Prefix => rng.usize(..=writes.len()),
            _ => writes.len(),
        };
        // Few kept, or few lost, are as likely as half and half.
        let share = rng.f64();
        for (offset, bytes) in &writes[..whole] {
            match cut.kept {
                Kept::Subset if rng.f64() > share => {}
                Kept::Torn => {
                    for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                        if rng.f64() < share {
                            disk.write(offset + (number * SECTOR) as u64, sector);
                        }
                    }
                }
                _ => disk.write(*offset, bytes),
            }
        }
        (disk, writes.len())
    }
}

/// What had been promised when the recording had come so far.
pub fn promises(recording: &[Event], at: usize) -> Promises {
    let mut promises = Promises::default();
    for event in &recording[..at] {
        if let Event::Mark(mark) = event {
            promises.add(mark);
        }
    }
    promises
}
