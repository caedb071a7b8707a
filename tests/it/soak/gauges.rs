//! Memory and descriptors of a process over time, and whether they stay flat.

use std::time::Duration;

use crate::kit::Server;

/// How often it is looked.
pub const PAUSE: Duration = Duration::from_millis(50);

/// What is looked at before is not judged: caches fill, threads start, connections are made.
const WARM_UP: f64 = 0.25;

/// Descriptors that the last third may have more than the first, in the middle: files that happened to be
/// open, and devices that happened to be here rather than at another server. A leak in one of a hundred requests is some
/// hundreds within a minute.
const DESCRIPTORS: u64 = 24;

/// Bytes that it may have more: the names of the 65,536 files that are remembered as durable come to some 8 MiB once
/// there have been so many, and the allocator keeps what it once needed. What an hour leaks for each of its million
/// requests is hundreds of MiB.
const MEMORY: u64 = 12 << 20;

/// With fewer samples than that nothing can be said.
const ENOUGH: usize = 12;

/// One look.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub memory: u64,
    pub descriptors: u64,
}

impl Sample {
    /// Looks at a running server.
    pub fn of(server: &Server) -> Self {
        Self {
            memory: server.memory("VmRSS"),
            descriptors: server.descriptors() as u64,
        }
    }
}

/// The middle values of the first third after the warm-up, and of the last.
pub fn thirds(samples: &[Sample]) -> [Sample; 2] {
    let warm = &samples[(samples.len() as f64 * WARM_UP) as usize..];
    assert!(warm.len() >= ENOUGH, "{} samples", samples.len());
    let third = warm.len() / 3;
    [&warm[..third], &warm[warm.len() - third..]].map(|part| {
        let middle = |value: fn(&Sample) -> u64| {
            let mut values: Vec<u64> = part.iter().map(value).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        Sample {
            memory: middle(|sample| sample.memory),
            descriptors: middle(|sample| sample.descriptors),
        }
    })
}

/// Nothing grew beyond what chance explains.
pub fn are_flat(samples: &[Sample]) -> Result<(), String> {
    let [first, last] = thirds(samples);
    if last.descriptors > first.descriptors + DESCRIPTORS {
        return Err(format!(
            "descriptors grew from {} to {}",
            first.descriptors, last.descriptors
        ));
    }
    if last.memory > first.memory + MEMORY {
        return Err(format!(
            "memory grew from {} to {} KiB",
            first.memory >> 10,
            last.memory >> 10
        ));
    }
    Ok(())
}

#[test]
fn a_leak_is_told_from_noise() {
    let sampled = |memory: fn(u64) -> u64, descriptors: fn(u64) -> u64| {
        let samples = (0..400).map(|n| Sample {
            memory: (40 << 20) + memory(n),
            descriptors: 30 + descriptors(n),
        });
        are_flat(&samples.collect::<Vec<_>>())
    };
    // What goes up and down, or only at the start, is no leak.
    sampled(|n| (n % 7) << 20, |n| n % 11 * 4).unwrap();
    sampled(|n| n.min(90) << 18, |n| n.min(90)).unwrap();
    // A peak is none either.
    sampled(|n| u64::from(n == 390) << 30, |n| u64::from(n == 390) << 9).unwrap();
    let leak = sampled(|n| n << 16, |_| 0).unwrap_err();
    assert!(leak.starts_with("memory grew"), "{leak}");
    let leak = sampled(|_| 0, |n| n / 5).unwrap_err();
    assert!(leak.starts_with("descriptors grew"), "{leak}");
}
