//! Power cuts: what one process does, cut at every step, and what may be left judged.

use crate::kit::effort;
use crate::proof::{Act, Broken, Effort, Scenario, explore, folder};
use crate::stories::{alone, another_log, without_log};
use simulated_disk::{Reading, World};

use Act::{Advance, Collect, Delete, GetListing, PutChunk, PutTransaction};

fn survives(scenario: &Scenario) {
    for reading in [Reading::Atomic, Reading::Posix] {
        let looked = explore(
            scenario,
            reading,
            &Broken::default(),
            Effort::of(1, effort::either(12, 32)),
        );
        let looked = looked.unwrap_or_else(|what| panic!("{what}"));
        println!("{} ({reading:?}): {looked}", scenario.name);
        assert!(looked.cuts > 1 && looked.states > 1);
    }
}

const A_AND_B: [Act; 4] = [
    PutChunk("a"),
    PutChunk("b"),
    PutTransaction("A"),
    PutTransaction("B"),
];

#[test]
fn the_first_chunk_of_a_user() {
    survives(&alone("first chunk", &[], &[PutChunk("a")]));
}

#[test]
fn a_chunk_that_is_there_already() {
    let before = [
        PutChunk("a"),
        PutTransaction("A"),
        Advance("A"),
        PutChunk("b"),
    ];
    let acts = [PutChunk("a"), PutChunk("b"), PutChunk("empty")];
    survives(&alone("chunks again", &before, &acts));
}

/// New ones, one of them twice, one that is committed and one that is pending.
pub fn together() -> Scenario {
    let before = [
        PutChunk("a"),
        PutTransaction("A"),
        Advance("A"),
        PutChunk("b"),
    ];
    let acts = [
        Act::PutChunks(&["c", "a", "empty", "b", "c"]),
        PutTransaction("B"),
    ];
    alone("chunks together", &before, &acts)
}

#[test]
fn chunks_that_are_taken_in_together() {
    survives(&together());
    let first = [Act::PutChunks(&["a", "b", "a"]), PutTransaction("A")];
    survives(&alone("first chunks together", &[], &first));
}

#[test]
fn a_transaction_and_the_same_again() {
    let acts = [
        PutTransaction("A"),
        PutTransaction("B"),
        PutTransaction("A"),
    ];
    survives(&alone(
        "transactions",
        &[PutChunk("a"), PutChunk("b")],
        &acts,
    ));
}

#[test]
fn several_transactions_under_one_advance() {
    let before = [
        &A_AND_B[..],
        &[PutChunk("c"), PutTransaction("C"), PutTransaction("D")],
    ];
    survives(&alone("one advance", &before.concat(), &[Advance("D")]));
}

#[test]
fn an_advance_that_another_one_came_before() {
    let before = [&A_AND_B[..], &[PutTransaction("S")]].concat();
    survives(&alone(
        "competing advances",
        &before,
        &[Advance("S"), Advance("B")],
    ));
}

#[test]
fn aliases() {
    let acts = [
        PutChunk("ua"),
        PutChunk("b"),
        PutTransaction("U"),
        Advance("U"),
        PutChunk("ub"),
        PutChunk("ua"),
        PutTransaction("V"),
        Advance("V"),
    ];
    survives(&alone("aliases", &[], &acts));
}

#[test]
fn a_deleted_user_and_a_new_one_of_that_name() {
    let before = [&A_AND_B[..], &[Advance("B"), PutTransaction("C")]].concat();
    let acts = [Delete, PutChunk("b"), PutTransaction("N"), Advance("N")];
    survives(&alone("deletion", &before, &acts));
}

#[test]
fn a_log_that_is_missing_short_or_wrong_is_rebuilt() {
    fn log(world: &World) -> usize {
        world.at(&folder().join("log")).expect("there is one")
    }
    let before = [&A_AND_B[..], &[Advance("B"), PutTransaction("C")]].concat();
    let meddles: [fn(&mut World); 4] = [
        without_log,
        |world| world.set_len(log(world), 50),
        |world| world.set_len(log(world), 99),
        another_log,
    ];
    for meddle in meddles {
        for acts in [[GetListing, Advance("C")], [Advance("C"), GetListing]] {
            let scenario = Scenario {
                meddle: Some(meddle),
                ..alone("log rebuilt", &before, &acts)
            };
            survives(&scenario);
        }
    }
}

#[test]
fn garbage_is_collected() {
    let old = [
        &A_AND_B[..],
        &[PutChunk("ua"), PutTransaction("U"), PutChunk("c")],
    ];
    let scenario = Scenario {
        old: old.concat(),
        ..alone(
            "gc",
            &[PutTransaction("S")],
            &[Collect, PutChunk("ua"), PutTransaction("U")],
        )
    };
    survives(&scenario);
}

#[test]
fn a_bundle_for_a_new_user_and_one_for_a_known_one() {
    let acts = [Act::Push(&["A", "B"]), Act::Push(&["C"]), Act::Push(&["C"])];
    survives(&alone("bundles", &[], &acts));
}

#[test]
fn bundles_of_which_not_all_is_committed_at_once() {
    let acts = [Act::PushWithSpare(&["A", "B"]), Act::PushWithSpare(&["C"])];
    survives(&alone("bundles with a spare chunk", &[], &acts));
}

#[test]
fn a_bulk_upload_and_the_same_with_head() {
    let before = [PutChunk("a"), PutTransaction("A")];
    let acts = [
        Act::Upload(&["A", "B"]),
        Act::Push(&["A", "B"]),
        Act::Ask(&["a", "b", "c"]),
    ];
    survives(&alone("bulk upload", &before, &acts));
}

#[test]
fn a_bundle_that_lost_the_race() {
    let before = [&A_AND_B[..], &[Advance("B")]].concat();
    let acts = [Act::Push(&["S"]), Act::Push(&["B", "C", "D"])];
    survives(&alone("lost race", &before, &acts));
}

#[test]
fn a_bundle_that_is_refused_keeps_what_was_new() {
    // `A` has a descendant, so HEAD may not go there; `E` came along.
    survives(&alone("refused", &A_AND_B, &[Act::Push(&["E", "A"])]));
}

#[test]
fn aliases_in_bundles() {
    let acts = [Act::Push(&["U"]), Act::Push(&["U", "V"])];
    survives(&alone("aliases in bundles", &[PutChunk("ua")], &acts));
}

#[test]
fn a_chain_that_grows_by_one_chunk_at_a_time() {
    let acts = [
        Act::Append("A"),
        Act::Append("B"),
        Act::Append("S"),
        Act::Children,
        Act::Append("C"),
        Act::Children,
    ];
    survives(&alone("additions", &[], &acts));
}

#[test]
fn a_chain_that_begins_with_a_parent_from_elsewhere_tried_again_after_the_cut() {
    let acts = [Act::Append("B"), Act::Children, Act::Append("C")];
    let mut story = alone("additions from elsewhere", &[], &acts);
    // What the cut left off the chain is in the way of the same parent then.
    story.phases.push(vec![vec![
        Act::Append("B"),
        Act::Append("C"),
        Act::Children,
    ]]);
    survives(&story);
}

#[test]
fn an_addition_of_a_chunk_that_is_pending_or_of_a_parent_that_is() {
    let acts = [
        Act::Append("B"),
        Act::Append("S"),
        Act::Children,
        PutChunk("a"),
    ];
    survives(&alone(
        "additions beside what is pending",
        &A_AND_B[..3],
        &acts,
    ));
}

#[test]
fn chunks_that_are_asked_about() {
    let acts = [
        PutChunk("a"),
        Act::Ask(&["b", "a", "ua"]),
        PutTransaction("A"),
    ];
    survives(&alone("questions", &[PutChunk("b"), PutChunk("ua")], &acts));
}

#[test]
fn a_bundle_with_aliases_is_pulled() {
    let acts = [Act::Push(&["U", "V"]), Act::Pull];
    survives(&alone("pull", &[], &acts));
}

#[test]
fn a_repair_after_an_advance_that_was_cut() {
    let acts = [
        Advance("B"),
        Act::Repair,
        PutTransaction("C"),
        Advance("C"),
        Act::Repair,
    ];
    survives(&alone("repair", &A_AND_B, &acts));
}

/// A little of everything that one client does.
pub fn everything() -> Scenario {
    let acts = [
        &A_AND_B[..],
        &[Advance("B"), GetListing, PutTransaction("C"), Advance("C")],
    ];
    alone("everything once", &[], &acts.concat())
}

#[test]
fn everything_once() {
    survives(&everything());
}

#[test]
fn a_folder_from_outside_is_durable_before_a_word_about_it() {
    for story in crate::stories::folders_from_outside() {
        survives(&story);
    }
}
