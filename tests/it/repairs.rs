//! A repair of real damage that is killed, or fails, or has its power cut, at each of its steps: what was damaged
//! is kept, nothing else is touched, and the next repair with the next upload makes the store whole.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mentat_sync::disk::{Kind, Place};
use rustix::io::Errno;

use crate::proof::{Act, Answers, Book, Client, Disks, Files, cast, findings, folder, judge};
use crate::stories::{another_log, without_log};
use simulated_disk::{Fault, Killed, Random, Reading, Sim, World};

use Act::{Advance, PutChunk, PutTransaction};

/// Two committed transactions, and two pending ones with a chunk of their own.
const BEFORE: [Act; 8] = [
    PutChunk("a"),
    PutChunk("b"),
    PutTransaction("A"),
    PutTransaction("B"),
    Advance("B"),
    PutChunk("c"),
    PutTransaction("C"),
    PutTransaction("D"),
];

/// Something that is done to the files behind the store's back.
struct Damage {
    name: &'static str,
    harm: fn(&mut World),
    /// Nothing is lost by it.
    is_harmless: bool,
    /// What the client uploads again.
    again: &'static [Act],
}

fn committed(chunk: &'static str) -> Place {
    cast::chunk_files(&folder(), chunk)[0].clone()
}

fn incoming(chunk: &'static str) -> Place {
    cast::chunk_files(&folder().join("incoming"), chunk)[0].clone()
}

fn scribble(world: &mut World, place: &Place) {
    let object = world.at(place).expect("it is there");
    world.write(object, 1, b"!!");
}

fn cut(world: &mut World, place: &Place) {
    let object = world.at(place).expect("it is there");
    world.set_len(object, 3);
}

fn damages() -> Vec<Damage> {
    vec![
        Damage {
            name: "a committed chunk has other bytes",
            harm: |world| scribble(world, &committed("a")),
            is_harmless: false,
            again: &[PutChunk("a")],
        },
        Damage {
            name: "a committed chunk is cut short",
            harm: |world| cut(world, &committed("b")),
            is_harmless: false,
            again: &[PutChunk("b")],
        },
        Damage {
            name: "a committed chunk is gone",
            harm: |world| {
                world
                    .remove(&committed("a"), Kind::File)
                    .expect("it is there");
            },
            is_harmless: false,
            again: &[PutChunk("a")],
        },
        Damage {
            name: "a committed chunk has other bytes, and is pending too",
            harm: |world| {
                // As an advance leaves it that did not get to clear up.
                let copy = incoming("a");
                let bytes = world.read_file(&committed("a")).expect("it is there");
                if world.names(&copy.parent()).is_empty() {
                    let _ = world.make_directory(&copy.parent());
                }
                let object = world.create(&copy).expect("it is free");
                world.write(object, 0, &bytes);
                world.close(object);
                scribble(world, &committed("a"));
            },
            is_harmless: false,
            again: &[],
        },
        Damage {
            name: "a pending chunk has other bytes",
            harm: |world| scribble(world, &incoming("c")),
            is_harmless: false,
            again: &[PutChunk("c")],
        },
        Damage {
            name: "a pending transaction is cut short",
            harm: |world| cut(world, &cast::pending_file(cast::id("D"))),
            is_harmless: false,
            again: &[PutTransaction("D")],
        },
        Damage {
            name: "no log",
            harm: without_log,
            is_harmless: true,
            again: &[],
        },
        Damage {
            name: "another log",
            harm: another_log,
            is_harmless: false,
            again: &[],
        },
        Damage {
            name: "a chunk of each kind, and no log",
            harm: |world| {
                without_log(world);
                scribble(world, &committed("a"));
                scribble(world, &incoming("c"));
                world
                    .remove(&committed("b"), Kind::File)
                    .expect("it is there");
            },
            is_harmless: false,
            again: &[PutChunk("a"), PutChunk("b"), PutChunk("c")],
        },
    ]
}

/// What must not be touched: everything but the log, which is derived, and locks, which are empty.
fn files(world: &World) -> Vec<(Place, Arc<Vec<u8>>)> {
    let all = world.files_below(&folder()).into_iter();
    all.map(|(place, bytes, _)| (place, bytes))
        .filter(|(place, bytes)| place.name() != "log" && !bytes.is_empty())
        .collect()
}

/// What of these files is not in the world any more, with its bytes.
fn lost(before: &[(Place, Arc<Vec<u8>>)], world: &World) -> Vec<Place> {
    let lost_and_found = world.files_below(&folder().join("lost+found"));
    let is_kept = |place: &Place, bytes: &Arc<Vec<u8>>| {
        if world.read_file(place).as_ref() == Some(bytes) {
            return true;
        }
        // Set aside; or a leftover of which the committed one is left.
        let aside = lost_and_found.iter().any(|(_, there, _)| there == bytes);
        let leftover = place.as_str().contains("/incoming/")
            && world
                .files_below(&folder())
                .iter()
                .any(|(_, there, _)| there == bytes);
        aside || leftover
    };
    before
        .iter()
        .filter(|(place, bytes)| !is_kept(place, bytes))
        .map(|(place, _)| place.clone())
        .collect()
}

/// Mends what a repair that did not get to its end left, uploads again, and looks at all of it.
fn becomes_whole(sim: &Sim, damage: &Damage, answers: &Answers, told: &str) {
    let book = Book::new(answers.clone());
    let repair = |which: &str| match findings(&sim.process(), true) {
        Ok(found) => found,
        Err(error) => panic!("{told}: the {which} repair fails: {error}\n{}", sim.trace()),
    };
    sim.clear_trace();
    repair("next");
    let client = Client::new(sim, None);
    for act in damage.again {
        act.perform(&client, &book, Disks::Sound);
    }
    repair("last");
    let found = findings(&sim.process(), false).expect("it can be looked at");
    assert!(found.is_empty(), "{told}: {found:?}\n{}", sim.trace());
    let wrong = book.open().wrong.clone();
    assert!(wrong.is_empty(), "{told}: {wrong:?}\n{}", sim.trace());
    if let Err(what) = judge(sim, &book.open().clone(), Files::Ours) {
        panic!("{told}: {what}\n{}", sim.trace());
    }
}

#[test]
fn a_repair_that_is_cut_at_any_step_loses_nothing_more_and_is_done_by_the_next() {
    let (mut cuts, mut states) = (0, 0);
    for damage in damages() {
        for reading in [Reading::Atomic, Reading::Posix] {
            let sim = Sim::new(reading);
            let (book, client) = (Book::default(), Client::new(&sim, None));
            for act in BEFORE {
                act.perform(&client, &book, Disks::Sound);
            }
            let answers = book.open().clone();
            assert!(answers.wrong.is_empty(), "{:?}", answers.wrong);
            let mut world = sim.world();
            (damage.harm)(&mut world);
            world.settle();
            let before = files(&world);
            let found = findings(&Sim::with_world(world.clone()).process(), false);
            let found = found.expect("it can be looked at");
            assert_eq!(found.is_empty(), damage.is_harmless, "{}", damage.name);

            let whole = Sim::with_world(world.clone());
            let disk = whole.process();
            disk.set_fault(Fault::None);
            findings(&disk, true).expect("it can be mended");
            let steps = disk.steps();
            becomes_whole(&whole, &damage, &answers, damage.name);
            let mut judged = HashSet::new();

            for fault in
                (1..=steps).flat_map(|step| [Fault::Death(step), Fault::At(step, Errno::IO)])
            {
                let sim = Sim::with_world(world.clone());
                let disk = sim.process();
                disk.set_fault(fault);
                match catch_unwind(AssertUnwindSafe(|| findings(&disk, true))) {
                    Err(panic) => assert!(panic.is::<Killed>(), "{}, {fault:?}", damage.name),
                    Ok(_) => assert!(!matches!(fault, Fault::Death(_)), "{fault:?}"),
                }
                cuts += 1;
                let drawn = Random(sim.world().fingerprint()).next() | 2;
                for seed in [0, 1, drawn] {
                    let told = format!("{}, {fault:?}, survivor {seed}", damage.name);
                    let left = sim.survivor(seed);
                    // Most steps only look, and leave what the one before them left.
                    if !judged.insert(left.world().fingerprint()) {
                        continue;
                    }
                    let lost = lost(&before, &left.world());
                    assert!(lost.is_empty(), "{told}: {lost:?} lost\n{}", sim.trace());
                    becomes_whole(&left, &damage, &answers, &told);
                    states += 1;
                }
            }
        }
    }
    println!("{cuts} repairs cut, {states} states judged");
    assert!(cuts > 200);
}
