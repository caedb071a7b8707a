//! Interleavings: two or three processes on one user, going on in every order within the bounds, some
//! of them killed, and the power cut at every step. The numbers are those of the model's scenarios.

use crate::proof::{Act, Broken, Effort, Scenario, explore};
use crate::sim::{Bounds, Reading, World};

use Act::{Advance, Delete, GetChunk, GetHead, GetListing, PutChunk, PutTransaction};

/// One request a process.
type Phase<'a> = &'a [Act];

fn scenario(name: &'static str, before: &[Act], phases: &[Phase], kills: usize) -> Scenario {
    Scenario {
        name,
        before: before.to_vec(),
        meddle: |_| {},
        phases: (phases.iter())
            .map(|phase| phase.iter().map(|act| vec![*act]).collect())
            .collect(),
        bounds: Bounds {
            switches: 2,
            kills,
            both: 2,
        },
    }
}

fn holds(scenario: &Scenario) {
    for reading in [Reading::Atomic, Reading::Posix] {
        let looked = explore(scenario, reading, &Broken::default(), Effort::of(300, 2));
        let looked = looked.unwrap_or_else(|what| panic!("{what}"));
        println!("{} ({reading:?}): {looked:?}", scenario.name);
    }
}

const UPLOADED: [Act; 4] = [
    PutChunk("a"),
    PutChunk("b"),
    PutTransaction("A"),
    PutTransaction("B"),
];

const SIBLINGS: [Act; 3] = [PutChunk("a"), PutTransaction("A"), PutTransaction("S")];

#[test]
fn model_1_advance_to_b_crashes_then_advance_to_its_parent() {
    let phases: [Phase; 2] = [&[Advance("B")], &[Advance("A")]];
    holds(&scenario("1", &UPLOADED, &phases, 1));
}

#[test]
fn model_1b_advance_to_b_crashes_both_heads_raced_then_readers() {
    let phases: [Phase; 3] = [
        &[Advance("B")],
        &[Advance("B"), Advance("A")],
        &[GetListing],
    ];
    holds(&scenario("1b", &UPLOADED, &phases, 1));
}

#[test]
fn model_3_a_crashes_half_way_and_its_sibling_with_the_same_chunk_wins() {
    let phases: [Phase; 2] = [&[Advance("A")], &[Advance("S")]];
    holds(&scenario("3", &SIBLINGS, &phases, 1));
}

#[test]
fn model_4_an_advance_is_killed_and_repeated_by_another_process() {
    let phases: [Phase; 2] = [&[Advance("A")], &[Advance("A")]];
    holds(&scenario(
        "4",
        &[PutChunk("a"), PutTransaction("A")],
        &phases,
        1,
    ));
}

#[test]
fn model_5_put_chunk_races_the_transaction_that_names_it() {
    let phases: [Phase; 2] = [&[PutChunk("a"), PutTransaction("A")], &[Advance("A")]];
    holds(&scenario("5", &[PutTransaction("E")], &phases, 1));
}

#[test]
fn model_5b_two_puts_of_one_chunk() {
    let phases: [Phase; 1] = [&[PutChunk("a"), PutChunk("a")]];
    holds(&scenario("5b", &[PutTransaction("E")], &phases, 1));
}

#[test]
fn model_6_one_id_with_two_contents() {
    let phases: [Phase; 1] = [&[PutTransaction("A"), PutTransaction("A*")]];
    holds(&scenario("6", &[PutChunk("a")], &phases, 0));
}

#[test]
fn model_8_get_head_races_an_advance() {
    let phases: [Phase; 1] = [&[Advance("A"), GetHead]];
    holds(&scenario(
        "8",
        &[PutChunk("a"), PutTransaction("A")],
        &phases,
        1,
    ));
}

#[test]
fn model_9_surplus_log_a_sibling_overwrites_beside_readers() {
    let before = [&UPLOADED[..], &[PutTransaction("S")]].concat();
    let phases: [Phase; 2] = [&[Advance("B"), GetListing], &[Advance("S"), GetListing]];
    holds(&scenario("9", &before, &phases, 1));
}

#[test]
fn model_9b_two_advances_race_beside_a_reader() {
    let phases: [Phase; 1] = [&[Advance("A"), Advance("S"), GetListing]];
    holds(&scenario("9b", &SIBLINGS, &phases, 0));
}

#[test]
fn model_12_chunk_transaction_and_head_at_once() {
    let before = [PutChunk("a"), PutTransaction("A")];
    let phases: [Phase; 2] = [
        &[PutChunk("b"), PutTransaction("B"), Advance("A")],
        &[Advance("B")],
    ];
    holds(&scenario("12", &before, &phases, 1));
}

#[test]
fn model_15_two_puts_of_which_one_makes_the_directory() {
    let phases: [Phase; 1] = [&[PutChunk("a"), PutChunk("b")]];
    holds(&scenario("15", &[PutTransaction("E")], &phases, 1));
}

#[test]
fn model_18_two_advances_and_two_readers() {
    let before = [&UPLOADED[..], &[PutTransaction("S")]].concat();
    let phases: [Phase; 1] = [&[Advance("B"), Advance("S"), GetHead, GetListing]];
    holds(&scenario("18", &before, &phases, 1));
}

#[test]
fn model_20_restored_without_log_then_an_advance_beside_listings() {
    let before = [&UPLOADED[..], &[Advance("B"), PutTransaction("C")]].concat();
    let phases: [Phase; 2] = [&[Advance("C"), GetListing, GetListing], &[GetListing]];
    let mut scenario = scenario("20", &before, &phases, 1);
    scenario.meddle = without_log;
    holds(&scenario);
}

fn without_log(world: &mut World) {
    let place = crate::proof::folder().join("log");
    let kind = mentat_sync::disk::Kind::File;
    world.remove(&place, kind).expect("there was one");
}

#[test]
fn two_first_uploads_of_a_user() {
    let phases: [Phase; 1] = [&[PutChunk("a"), PutTransaction("E")]];
    holds(&scenario("two first uploads", &[], &phases, 1));
}

#[test]
fn a_user_is_deleted_beside_an_upload() {
    let before = [&UPLOADED[..], &[Advance("B")]].concat();
    for act in [
        PutChunk("c"),
        PutTransaction("C"),
        GetListing,
        GetChunk("b"),
    ] {
        let phases: [Phase; 1] = [&[Delete, act]];
        holds(&scenario("deletion beside an upload", &before, &phases, 1));
    }
}

#[test]
fn a_user_is_deleted_beside_an_advance() {
    let before = [&UPLOADED[..], &[Advance("A")]].concat();
    let phases: [Phase; 2] = [&[Delete, Advance("B")], &[PutChunk("a")]];
    holds(&scenario("deletion beside an advance", &before, &phases, 1));
}

#[test]
fn one_alias_of_two_chunks() {
    let phases: [Phase; 2] = [&[PutChunk("ua"), PutChunk("ub")], &[PutTransaction("V")]];
    let before = [PutChunk("b"), PutTransaction("E")];
    holds(&scenario("aliases", &before, &phases, 1));
}
