//! Power cuts: workloads of one process, cut at every step.

use crate::proof::{Act, Broken, Effort, Scenario, explore};
use crate::sim::{Bounds, Reading};

const ALONE: Bounds = Bounds {
    switches: 0,
    kills: 0,
    both: 0,
};

fn workload(name: &'static str, before: &[Act], acts: &[Act]) -> Scenario {
    Scenario {
        name,
        before: before.to_vec(),
        meddle: |_| {},
        phases: vec![vec![acts.to_vec()]],
        bounds: ALONE,
    }
}

fn survives(scenario: &Scenario) {
    for reading in [Reading::Atomic, Reading::Posix] {
        let looked = explore(scenario, reading, &Broken::default(), Effort::of(1, 24));
        let looked = looked.unwrap_or_else(|what| panic!("{what}"));
        println!("{} ({reading:?}): {looked:?}", scenario.name);
        assert!(looked.cuts > 1);
    }
}

#[test]
fn the_first_chunk_of_a_user() {
    survives(&workload("first chunk", &[], &[Act::PutChunk("a")]));
}

/// A little of everything that one client does.
pub fn everything() -> Scenario {
    let acts = [
        Act::PutChunk("a"),
        Act::PutChunk("b"),
        Act::PutTransaction("A"),
        Act::PutTransaction("B"),
        Act::Advance("B"),
        Act::GetListing,
        Act::PutTransaction("C"),
        Act::Advance("C"),
    ];
    workload("everything once", &[], &acts)
}

#[test]
fn everything_once() {
    survives(&everything());
}
