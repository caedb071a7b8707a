//! A user who is frozen and thawed on the simulated disk, beside clients who write: in every order, and cut at every step.

use mentat_sync::store::Mistake;
use simulated_disk::Reading;

use crate::kit::effort;
use crate::proof::{Act, Broken, Effort, Scenario, explore};
use crate::stories::{alone, story};

const BEFORE: [Act; 6] = [
    Act::PutChunk("a"),
    Act::PutChunk("b"),
    Act::PutTransaction("A"),
    Act::Advance("A"),
    Act::PutTransaction("B"),
    Act::PutChunk("c"),
];

fn by_itself() -> Scenario {
    let acts = [Act::Freeze, Act::Thaw, Act::Advance("B"), Act::Freeze];
    alone("frozen and thawed", &BEFORE, &acts)
}

/// One who freezes and thaws, and one who does this; two processes.
fn beside(name: &'static str, acts: &[Act]) -> Scenario {
    Scenario {
        phases: vec![vec![vec![Act::Freeze, Act::Thaw], acts.to_vec()]],
        ..story(name, &BEFORE, &[])
    }
}

fn all() -> Vec<Scenario> {
    vec![
        by_itself(),
        beside("frozen beside an advance", &[Act::Advance("B")]),
        beside(
            "frozen beside uploads",
            &[Act::PutChunk("x"), Act::PutTransaction("C")],
        ),
        beside("frozen beside a bundle", &[Act::Push(&["B", "C"])]),
        beside("frozen beside an addition", &[Act::Append("B")]),
        beside("frozen beside gc", &[Act::Collect]),
        beside(
            "frozen beside somebody else who freezes",
            &[Act::Freeze, Act::Thaw],
        ),
    ]
}

#[test]
fn who_is_frozen_does_not_change_and_stays_so_through_a_cut() {
    for scenario in all() {
        for reading in [Reading::Atomic, Reading::Posix] {
            let effort = Effort::of(effort::either(40, 400), effort::either(6, 24));
            let looked = explore(&scenario, reading, &Broken::default(), effort);
            let looked = looked.unwrap_or_else(|what| panic!("{what}"));
            println!("{} ({reading:?}): {looked}", scenario.name);
        }
    }
}

#[track_caller]
fn is_noticed(mistake: Mistake, scenario: &Scenario) {
    let broken = Broken {
        lie: None,
        mistake: Some(mistake),
    };
    let looked = explore(scenario, Reading::Atomic, &broken, Effort::of(1000, 12));
    let what = looked.expect_err("it is not noticed");
    println!("{mistake:?}: {}", what.lines().next().unwrap_or_default());
}

#[test]
fn a_write_that_does_not_look_once_it_has_the_lock() {
    is_noticed(
        Mistake::NoFrozenLook,
        &beside("advance", &[Act::Advance("B")]),
    );
    is_noticed(
        Mistake::NoFrozenLook,
        &beside("bundle", &[Act::Push(&["B", "C"])]),
    );
    is_noticed(
        Mistake::NoFrozenLook,
        &beside("addition", &[Act::Append("B")]),
    );
}

#[test]
fn a_freeze_that_waits_for_nobody() {
    is_noticed(Mistake::NoLock, &beside("advance", &[Act::Advance("B")]));
}

#[test]
fn a_freeze_that_is_answered_before_it_is_durable() {
    is_noticed(Mistake::NoFreezeSync, &by_itself());
}
