//! The checkpoint on the simulated disk: two or three processes side by side, some of them killed, the power cut at every
//! step (the model's scenario 29); and each of its rules taken away, which must be noticed.

use mentat_sync::store::Mistake;

use crate::kit::effort;
use crate::proof::{Act, Broken, Effort, Scenario, explore};
use crate::stories::{aged, alone, story};
use simulated_disk::{Lie, Reading};

use Act::{
    Advance, Ask, Collect, Copy, CopyHeadFirst, Delete, GetCheckpoint, GetChunk, PutCheckpoint,
    PutChunk, PutTransaction, RenameAway, RenameBack, Repair, Upload,
};

/// A chain to B.
const CHAIN: [Act; 5] = [
    PutChunk("a"),
    PutChunk("b"),
    PutTransaction("A"),
    PutTransaction("B"),
    Advance("B"),
];

/// A chain to A, and B pending.
const SHORT: [Act; 5] = [
    PutChunk("a"),
    PutTransaction("A"),
    Advance("A"),
    PutChunk("b"),
    PutTransaction("B"),
];

const ALL: &[&str] = &["aliases", "checkpoint", "chunks", "log", "transactions"];

/// A checkpoint that was put long ago.
fn had() -> Vec<Act> {
    [&CHAIN[..], &[PutChunk("x"), PutCheckpoint("KA")]].concat()
}

/// Gone from `incoming/` by now, so that only the checkpoint has its chunk; it was told.
const STANDS: [Act; 3] = [Collect, GetCheckpoint, PutChunk("c")];

fn story_29() -> Scenario {
    let before = [&CHAIN[..], &[PutChunk("x")]].concat();
    let phases: [&[Act]; 2] = [
        &[PutCheckpoint("KA")],
        &[PutCheckpoint("KA"), GetCheckpoint],
    ];
    story("29 PUT checkpoint cut, again, read", &before, &phases)
}

fn story_29b() -> Scenario {
    let phases: [&[Act]; 1] = [&[PutCheckpoint("KB"), PutCheckpoint("KA2"), GetCheckpoint]];
    aged("29b two devices and a reader", &had(), &STANDS, &phases)
}

fn story_29b_gc() -> Scenario {
    let phases: [&[Act]; 1] = [&[PutCheckpoint("KB"), GetCheckpoint, Collect]];
    aged("29b a device, a reader, gc", &had(), &STANDS, &phases)
}

fn story_29c() -> Scenario {
    let old = [&CHAIN[..], &[PutChunk("x")]].concat();
    let phases: [&[Act]; 2] = [&[PutCheckpoint("KA"), Collect], &[GetCheckpoint, Collect]];
    aged("29c beside gc, chunks old", &old, &[], &phases)
}

fn story_29d() -> Scenario {
    let phases: [&[Act]; 3] = [&[Advance("B")], &[PutCheckpoint("Kb"), Repair], &[Collect]];
    let name = "29d of a chunk that a crashed advance left, repair, gc";
    aged(name, &SHORT[..4], &SHORT[4..], &phases)
}

fn story_29e() -> Scenario {
    let phases: [&[Act]; 1] = [&[Copy(ALL), PutCheckpoint("KB"), Collect]];
    let name = "29e a copy beside a newer one and gc";
    aged(name, &had(), &STANDS, &phases)
}

fn story_29f(copy: Act) -> Scenario {
    let before = [Collect, GetCheckpoint, PutTransaction("C")];
    Scenario {
        phases: vec![vec![vec![copy], vec![Advance("C"), PutCheckpoint("KC")]]],
        ..aged(
            "29f a copy beside an advance and its checkpoint",
            &had(),
            &before,
            &[],
        )
    }
}

fn story_29g() -> Scenario {
    let phases: [&[Act]; 3] = [
        &[PutTransaction("W"), PutCheckpoint("KB")],
        &[Collect],
        &[Advance("W"), Collect],
    ];
    let name = "29g a transaction names what only a checkpoint had, gc";
    aged(name, &had(), &STANDS, &phases)
}

fn story_29h(act: Act) -> Scenario {
    let phases: [&[Act]; 3] = [&[act, PutCheckpoint("KB")], &[Collect], &[GetChunk("x")]];
    let name = "29h what only a checkpoint had is put or asked about, gc";
    aged(name, &had(), &STANDS, &phases)
}

fn story_29i() -> Scenario {
    let before = [&SHORT[..], &[PutChunk("c")]].concat();
    let phases: [&[Act]; 2] = [
        &[Advance("B"), PutCheckpoint("KB"), GetCheckpoint],
        &[GetCheckpoint],
    ];
    let name = "29i PUT checkpoint beside the advance that it stands on";
    story(name, &before, &phases)
}

fn read_beside() -> Scenario {
    let before = [&CHAIN[..], &[PutChunk("x")]].concat();
    let phases: [&[Act]; 1] = [&[PutCheckpoint("KA"), GetCheckpoint]];
    story("GET checkpoint beside its PUT", &before, &phases)
}

/// Between a reader's two looks HEAD goes on, and a checkpoint stands on what it reaches.
fn read_beside_an_advance() -> Scenario {
    let before = [
        &SHORT[..],
        &[PutChunk("x"), PutChunk("c"), PutCheckpoint("KA")],
    ]
    .concat();
    Scenario {
        phases: vec![vec![
            vec![GetCheckpoint],
            vec![Advance("B"), PutCheckpoint("KB")],
        ]],
        ..story(
            "GET checkpoint beside an advance and a newer one",
            &before,
            &[],
        )
    }
}

fn gone_meanwhile() -> Scenario {
    let before = [&CHAIN[..], &[PutChunk("x")]].concat();
    let phases: [&[Act]; 1] = [&[PutCheckpoint("KA"), Delete, GetCheckpoint]];
    story("PUT checkpoint beside a deletion", &before, &phases)
}

fn away_and_back() -> Scenario {
    let before = [&CHAIN[..], &[PutChunk("x"), PutCheckpoint("KA")]].concat();
    let phases: [&[Act]; 2] = [&[RenameAway, GetCheckpoint], &[RenameBack, GetCheckpoint]];
    story("GET checkpoint beside users mv", &before, &phases)
}

fn all_of_it() -> Scenario {
    let acts = [
        PutCheckpoint("KA"),
        PutCheckpoint("KA"),
        PutCheckpoint("KBx"),
        PutCheckpoint("KA"),
        PutTransaction("W"),
        Advance("W"),
        PutCheckpoint("KB"),
        Repair,
        Collect,
        GetCheckpoint,
    ];
    let before = [&CHAIN[..], &[PutChunk("x"), PutChunk("c")]].concat();
    alone("checkpoints of one device", &before, &acts)
}

fn holds(scenario: &Scenario) {
    let (readings, orders): (&[Reading], usize) = match effort::is_full() {
        false => (&[Reading::Posix], 5),
        true => (&[Reading::Atomic, Reading::Posix], 150),
    };
    for &reading in readings {
        let looked = explore(scenario, reading, &Broken::default(), Effort::of(orders, 4));
        let looked = looked.unwrap_or_else(|what| panic!("{what}"));
        println!("{} ({reading:?}): {looked}", scenario.name);
        assert!(looked.cuts > 0 && looked.states > 0);
    }
}

#[test]
fn a_power_cut_at_any_step_leaves_the_old_or_the_new_checkpoint_whole() {
    for reading in [Reading::Atomic, Reading::Posix] {
        let looked = explore(
            &all_of_it(),
            reading,
            &Broken::default(),
            Effort::of(1, effort::either(12, 32)),
        );
        let looked = looked.unwrap_or_else(|what| panic!("{what}"));
        println!("{looked}");
        assert!(looked.cuts > 1 && looked.states > 1);
    }
}

#[test]
fn model_29_a_put_that_is_cut_is_put_again_and_read() {
    holds(&story_29());
    holds(&read_beside());
}

#[test]
fn model_29b_two_devices_and_a_reader() {
    holds(&story_29b());
    holds(&story_29b_gc());
}

#[test]
fn model_29c_old_chunks_beside_gc() {
    holds(&story_29c());
}

#[test]
fn model_29d_a_chunk_that_a_crashed_advance_left_stays_where_it_is() {
    holds(&story_29d());
}

#[test]
fn model_29e_a_copy_has_the_grace_period() {
    holds(&story_29e());
}

#[test]
fn model_29f_a_copy_takes_the_checkpoint_before_head() {
    holds(&story_29f(Copy(ALL)));
}

#[test]
fn model_29g_a_transaction_stands_on_a_name_of_its_own() {
    holds(&story_29g());
}

#[test]
fn model_29h_a_chunk_that_is_told_to_be_there_has_a_name_of_its_own() {
    for act in [PutChunk("x"), Ask(&["x"]), Upload(&["W"])] {
        holds(&story_29h(act));
    }
}

#[test]
fn model_29i_a_checkpoint_beside_the_advance_that_it_stands_on() {
    holds(&story_29i());
    let looked = explore(
        &read_beside_an_advance(),
        Reading::Posix,
        &Broken::default(),
        Effort::of(60, 1),
    );
    looked.unwrap_or_else(|what| panic!("{what}"));
}

#[test]
fn a_user_who_is_deleted_or_renamed_takes_the_checkpoint_along() {
    holds(&gone_meanwhile());
    holds(&away_and_back());
}

fn is_noticed(broken: &Broken, scenarios: &[Scenario]) {
    for scenario in scenarios {
        for reading in [Reading::Atomic, Reading::Posix] {
            if let Err(what) = explore(scenario, reading, broken, Effort::of(600, 24)) {
                let first = what.lines().next().unwrap_or_default();
                println!("{broken:?} is noticed: {first}");
                return;
            }
        }
    }
    panic!("{broken:?} is not noticed");
}

fn mistake_is_noticed(mistake: Mistake, scenarios: &[Scenario]) {
    let broken = Broken {
        lie: None,
        mistake: Some(mistake),
    };
    is_noticed(&broken, scenarios);
}

#[test]
fn a_checkpoint_before_what_it_names() {
    mistake_is_noticed(Mistake::CheckpointBeforeChunks, &[story_29()]);
}

#[test]
fn a_checkpoint_that_relies_on_what_another_process_left() {
    mistake_is_noticed(Mistake::CheckpointNotVouched, &[story_29d()]);
}

#[test]
fn a_transaction_on_a_chunk_that_only_a_checkpoint_has() {
    mistake_is_noticed(Mistake::CheckpointNotAdopted, &[story_29g()]);
}

#[test]
fn a_repair_that_takes_what_the_checkpoint_names() {
    mistake_is_noticed(Mistake::RepairedThoughCheckpoint, &[story_29d()]);
}

#[test]
fn a_checkpoint_that_leaves_what_it_does_not_name_old() {
    // No gc before: after one, it would find the date of what is not named any more too old to be right.
    for looker in [Copy(ALL), GetCheckpoint] {
        let story = Scenario {
            phases: vec![vec![vec![looker], vec![PutCheckpoint("KB"), Collect]]],
            ..aged(
                "a look beside a newer one and gc",
                &had(),
                &STANDS[1..],
                &[],
            )
        };
        mistake_is_noticed(Mistake::CheckpointNotTouched, &[story]);
    }
}

#[test]
fn a_copy_that_takes_head_before_the_checkpoint() {
    is_noticed(&Broken::default(), &[story_29f(CopyHeadFirst(ALL))]);
}

#[test]
fn a_checkpoint_that_is_told_or_answered_before_its_sync() {
    mistake_is_noticed(Mistake::NoReadSync, &[read_beside()]);
    mistake_is_noticed(Mistake::AnswerBeforeSync, &[all_of_it()]);
}

#[test]
fn a_disk_that_does_not_sync_is_noticed_by_the_checkpoint() {
    let acts = [PutCheckpoint("KA")];
    let before = [&CHAIN[..], &[PutChunk("x")]].concat();
    for lie in [Lie::Contents, Lie::Names, Lie::NewDirectories] {
        let broken = Broken {
            lie: Some(lie),
            mistake: None,
        };
        is_noticed(&broken, &[alone("one checkpoint", &before, &acts)]);
    }
}
