//! The scenarios: what there was before, and who does what side by side then. Numbers are the model's
//! (`run.py`); what the model calls a phase is one here.

use mentat_sync::disk::Kind;

use crate::proof::{Act, Scenario, cast, folder};
use simulated_disk::{Bounds, World};

use Act::{
    Advance, Append, Ask, Children, Collect, Copy, Delete, GetChunk, GetHead, GetListing, Pull,
    Push, PushWithSpare, PutChunk, PutChunks, PutTransaction, Repair, Upload,
};

/// One request a process.
pub type Phase<'a> = &'a [Act];

const NOTHING_YET: [Act; 1] = [PutTransaction("E")];

const UPLOADED: [Act; 4] = [
    PutChunk("a"),
    PutChunk("b"),
    PutTransaction("A"),
    PutTransaction("B"),
];

const SIBLINGS: [Act; 3] = [PutChunk("a"), PutTransaction("A"), PutTransaction("S")];

pub fn story(name: &'static str, before: &[Act], phases: &[Phase]) -> Scenario {
    Scenario {
        name,
        old: Vec::new(),
        before: before.to_vec(),
        meddle: None,
        phases: (phases.iter())
            .map(|phase| phase.iter().map(|act| vec![*act]).collect())
            .collect(),
        one_process: false,
        bounds: Bounds {
            switches: 2,
            kills: 1,
            both: 2,
        },
    }
}

/// The same, with something that is older than the grace period.
pub fn aged(name: &'static str, old: &[Act], before: &[Act], phases: &[Phase]) -> Scenario {
    Scenario {
        old: old.to_vec(),
        ..story(name, before, phases)
    }
}

/// One process, which does all of this.
pub fn alone(name: &'static str, before: &[Act], acts: &[Act]) -> Scenario {
    Scenario {
        phases: vec![vec![acts.to_vec()]],
        bounds: Bounds {
            switches: 0,
            kills: 0,
            both: 0,
        },
        ..story(name, before, &[])
    }
}

pub fn model_1() -> Scenario {
    let phases: [Phase; 2] = [&[Advance("B")], &[Advance("A")]];
    story(
        "1 advance to B crashes, then advance to its parent A",
        &UPLOADED,
        &phases,
    )
}

pub fn model_1b() -> Scenario {
    let phases: [Phase; 3] = [&[Advance("B")], &[Advance("B"), Collect], &[GetListing]];
    story(
        "1b advance to B crashes, both heads raced, gc, readers",
        &UPLOADED,
        &phases,
    )
}

pub fn model_2() -> Scenario {
    let phases: [Phase; 3] = [&[Advance("B")], &[Collect], &[Advance("B")]];
    let name = "2 advance crashes, gc: young B (old chunks, old parent)";
    aged(name, &UPLOADED[..3], &UPLOADED[3..], &phases)
}

pub fn model_3() -> Scenario {
    let phases: [Phase; 3] = [&[Advance("A")], &[Advance("S")], &[Collect]];
    let name = "3 A crashes half-way, sibling S (same chunk) wins, gc";
    aged(name, &SIBLINGS[..1], &SIBLINGS[1..], &phases)
}

pub fn model_4() -> Scenario {
    let phases: [Phase; 3] = [&[Advance("A")], &[Advance("A")], &[Collect]];
    let name = "4 advance killed, repeated by another process, gc";
    aged(name, &SIBLINGS[..1], &SIBLINGS[1..2], &phases)
}

pub fn model_5() -> Scenario {
    let phases: [Phase; 2] = [&[PutChunk("a"), PutTransaction("A")], &[Advance("A")]];
    story(
        "5 PUT chunk races PUT txn that names it",
        &NOTHING_YET,
        &phases,
    )
}

pub fn model_5b() -> Scenario {
    let phases: [Phase; 1] = [&[PutChunk("a"), PutChunk("a")]];
    story("5b two PUTs of one chunk", &NOTHING_YET, &phases)
}

/// Two additions to one and the same, beside a reader.
pub fn two_additions() -> Scenario {
    let phases: [Phase; 2] = [
        &[Append("A"), Append("S"), Children],
        &[Append("A"), Children],
    ];
    story("two additions", &NOTHING_YET, &phases)
}

/// Additions beside whatever else moves HEAD, or goes through what they make. Phases that come later do it again after
/// a cut.
pub fn additions() -> Vec<Scenario> {
    let waiting = [PutChunk("a"), PutTransaction("S")];
    let beside = |name, before: &[Act], acts: &[Act]| {
        let again: Phase = &[Append("A"), Children];
        story(name, before, &[acts, again])
    };
    vec![
        two_additions(),
        beside(
            "an addition beside an advance",
            &waiting,
            &[Append("A"), Advance("S")],
        ),
        beside(
            "an addition beside a bundle",
            &NOTHING_YET,
            &[Append("A"), Push(&["S"])],
        ),
        beside(
            "an addition beside a PUT of its chunk",
            &NOTHING_YET,
            &[Append("A"), PutChunk("a")],
        ),
        beside(
            "an addition from elsewhere beside another",
            &[],
            &[Append("B"), Append("A"), GetListing],
        ),
        beside(
            "an addition beside a deletion",
            &[Append("N")],
            &[Append("A"), Act::Delete],
        ),
        Scenario {
            old: waiting.to_vec(),
            ..beside(
                "an addition beside gc",
                &NOTHING_YET,
                &[Append("A"), Collect],
            )
        },
        beside(
            "an addition beside a repair",
            &waiting,
            &[Append("A"), Repair],
        ),
    ]
}

/// Chunks get their names while others look; their process may be killed before the names are durable.
pub fn together_beside_others() -> Vec<Scenario> {
    let beside = |name, act| {
        let phases: [Phase; 1] = [&[PutChunks(&["a", "b"]), act]];
        story(name, &NOTHING_YET, &phases)
    };
    let others = [
        beside("chunks together, beside a PUT", PutChunk("b")),
        beside("chunks together, twice", PutChunks(&["b", "a"])),
        beside("chunks together, beside a question", Ask(&["a", "b"])),
        beside("chunks together, beside a transaction", PutTransaction("A")),
        beside("chunks together, beside a bundle", Push(&["A", "B"])),
        beside("chunks together, beside an upload", Upload(&["A"])),
    ];
    // What was lost goes straight into the committed area.
    let lost = others.clone().map(|story| Scenario {
        meddle: Some(lost_chunks),
        ..story
    });
    others.into_iter().chain(lost).collect()
}

fn lost_chunks(world: &mut World) {
    let mut place = folder();
    for name in ["lost+found", "chunks"] {
        place = place.join(name);
        world
            .make_directory(&place)
            .expect("nothing was lost before");
    }
    for name in ["a", "b"] {
        let lost = place.join(cast::chunk_id(name));
        let file = world.create(&lost).expect("nothing was lost before");
        world.close(file);
    }
    world.settle();
}

pub fn model_6() -> Scenario {
    let phases: [Phase; 1] = [&[PutTransaction("A"), PutTransaction("A*")]];
    story(
        "6 one id, two contents, two processes",
        &[PutChunk("a")],
        &phases,
    )
}

pub fn model_7() -> Scenario {
    let phases: [Phase; 1] = [&[Collect, PutTransaction("B")]];
    aged(
        "7 gc races PUT txn B (old parent, old chunk)",
        &UPLOADED[..3],
        &[],
        &phases,
    )
}

pub fn model_7b() -> Scenario {
    let phases: [Phase; 1] = [&[Collect, PutTransaction("A")]];
    aged(
        "7b gc races a replay of PUT txn A (old)",
        &UPLOADED[..3],
        &[],
        &phases,
    )
}

pub fn model_7c() -> Scenario {
    let phases: [Phase; 2] = [&[Collect, PutChunk("a")], &[Collect]];
    aged(
        "7c gc races PUT chunk (already there, old)",
        &UPLOADED[..1],
        &[],
        &phases,
    )
}

pub fn model_7d() -> Scenario {
    let phases: [Phase; 2] = [&[Collect, Advance("B")], &[Collect]];
    aged(
        "7d gc races advance",
        &UPLOADED[..3],
        &UPLOADED[3..],
        &phases,
    )
}

pub fn model_7e() -> Scenario {
    let phases: [Phase; 3] = [
        &[Collect],
        &[PutChunk("b"), PutTransaction("B")],
        &[Advance("B")],
    ];
    aged("7e gc, orphaned replay after cut", &UPLOADED, &[], &phases)
}

pub fn model_8() -> Scenario {
    let before = [PutChunk("a"), PutTransaction("A")];
    let mut story = story(
        "8 GET head races PUT head",
        &before,
        &[&[Advance("A"), GetHead]],
    );
    // Whoever meets the folder first syncs all of it.
    story.phases[0][1].push(GetHead);
    story
}

pub fn model_9() -> Scenario {
    let before = [&UPLOADED[..], &[PutTransaction("S")]].concat();
    let phases: [Phase; 2] = [&[Advance("B"), GetListing], &[Advance("S"), GetListing]];
    story(
        "9 surplus log, sibling overwrites, readers",
        &before,
        &phases,
    )
}

pub fn model_9b() -> Scenario {
    let phases: [Phase; 1] = [&[Advance("A"), Advance("S"), GetListing]];
    story("9b two advances race, readers", &SIBLINGS, &phases)
}

/// The order of `tar --sort=name`.
const BY_NAME: &[&str] = &["aliases", "chunks", "log", "transactions"];

/// The other way round.
const BACKWARDS: &[&str] = &["transactions", "log", "chunks", "aliases"];

pub fn model_10() -> [Scenario; 2] {
    [BY_NAME, BACKWARDS].map(|order| {
        let before = [
            PutChunk("a"),
            PutTransaction("A"),
            Advance("A"),
            PutTransaction("Z"),
        ];
        let phases: [Phase; 1] = [&[Copy(order), Advance("Z")]];
        story(
            "10 copy beside an advance, restored, replay + advance",
            &before,
            &phases,
        )
    })
}

pub fn model_10b() -> [Scenario; 2] {
    [BY_NAME, BACKWARDS].map(|order| {
        let phases: [Phase; 1] = [&[Copy(order), Advance("B")]];
        let name = "10b copy beside advance to B, restored, client pushes A alone";
        story(name, &UPLOADED, &phases)
    })
}

pub fn model_11() -> Scenario {
    let before = [PutChunk("a"), PutTransaction("A")];
    let phases: [Phase; 2] = [&[Advance("A")], &[Repair, Advance("A"), GetChunk("a")]];
    story("11 fsck --repair beside advance", &before, &phases)
}

pub fn model_11b() -> Scenario {
    let phases: [Phase; 1] = [&[Advance("A"), GetChunk("a"), Repair]];
    let before = [PutChunk("a"), PutTransaction("A"), PutChunk("b")];
    story("11b fsck --repair, advance, GET chunk", &before, &phases)
}

/// As model 11, but where the first advance was killed is certain: before HEAD.
pub fn repair_of_a_leftover() -> Scenario {
    let before = [PutChunk("a"), PutTransaction("A")];
    let phases: [Phase; 1] = [&[Repair, Advance("A"), GetChunk("a")]];
    Scenario {
        meddle: Some(linked_and_no_head),
        ..story(
            "fsck --repair of a leftover, beside advance",
            &before,
            &phases,
        )
    }
}

/// An advance to A that was killed when all was linked.
fn linked_and_no_head(world: &mut World) {
    let incoming = cast::chunk_files(&folder().join("incoming"), "a");
    let committed = cast::chunk_files(&folder(), "a");
    let mut links: Vec<_> = incoming.into_iter().zip(committed).collect();
    let id = cast::id("A");
    links.push((cast::pending_file(id), cast::committed_file(id)));
    for (from, to) in links {
        if world.at(&to.parent()).is_err() {
            world
                .make_directory(&to.parent())
                .expect("its parent is there");
        }
        world.link(&from, &to).expect("it is pending");
    }
}

pub fn model_12() -> Scenario {
    let before = [PutChunk("a"), PutTransaction("A")];
    let phases: [Phase; 2] = [
        &[PutChunk("b"), PutTransaction("B"), Advance("A")],
        &[Advance("B"), Collect],
    ];
    story("12 three: PUT chunk, PUT txn, PUT head", &before, &phases)
}

pub fn model_14() -> Scenario {
    let before = [&UPLOADED[..], &[Advance("A")]].concat();
    story("14 DELETE cut in the middle", &before, &[&[Delete]])
}

pub fn model_15() -> Scenario {
    let phases: [Phase; 1] = [&[PutChunk("a"), PutChunk("b")]];
    story(
        "15 two PUTs, one makes the directory",
        &NOTHING_YET,
        &phases,
    )
}

pub fn model_18() -> Scenario {
    let before = [&UPLOADED[..], &[PutTransaction("S")]].concat();
    let phases: [Phase; 1] = [&[Advance("B"), Advance("S"), GetHead, GetListing]];
    story("18 advances and two readers", &before, &phases)
}

pub fn model_19() -> Scenario {
    let phases: [Phase; 2] = [
        &[PutTransaction("A"), PutTransaction("B"), Collect],
        &[Advance("B")],
    ];
    aged(
        "19 PUT txn, PUT txn child, gc, advance",
        &UPLOADED[..3],
        &[],
        &phases,
    )
}

pub fn model_20() -> Scenario {
    let before = [&UPLOADED[..], &[Advance("B"), PutTransaction("C")]].concat();
    let phases: [Phase; 2] = [&[Advance("C"), GetListing, GetListing], &[GetListing]];
    Scenario {
        meddle: Some(without_log),
        ..story(
            "20 restored without log, then advance, then list",
            &before,
            &phases,
        )
    }
}

pub fn without_log(world: &mut World) {
    let log = folder().join("log");
    world.remove(&log, Kind::File).expect("there was one");
}

/// Something has the name of `log` that no file replaces.
pub fn directory_for_log(world: &mut World) {
    without_log(world);
    let made = world.make_directory(&folder().join("log"));
    made.expect("the name is free");
}

/// The same with a log of another time, which says Z where HEAD is B.
pub fn model_20b() -> Scenario {
    Scenario {
        name: "20b restored with another log, then advance, then list",
        meddle: Some(another_log),
        ..model_20()
    }
}

pub fn another_log(world: &mut World) {
    let log = world.at(&folder().join("log")).expect("there is one");
    let line = format!("{:012} {}\n", 2, cast::id("Z"));
    world.write(log, 50, line.as_bytes());
}

pub fn model_21() -> [Scenario; 2] {
    let name = "21 POST bundle A,B beside gc and PUT head S";
    let beside = |old: &[Act], push| {
        let phases: [Phase; 1] = [&[push, Collect, Advance("S")]];
        aged(name, old, &[PutTransaction("S")], &phases)
    };
    [
        beside(&[PutChunk("a"), PutTransaction("A")], Push(&["A", "B"])),
        beside(&[PutChunk("a")], PushWithSpare(&["A", "B"])),
    ]
}

pub fn model_23() -> Scenario {
    let phases: [Phase; 3] = [
        &[Push(&["A", "B"])],
        &[Push(&["A", "B"]), Collect],
        &[Collect],
    ];
    aged(
        "23 POST bundle cut, retried, gc",
        &[PutChunk("a")],
        &[],
        &phases,
    )
}

/// Each of a bundle's chunks may be another's at the time.
pub fn bundle_beside_uploads() -> Scenario {
    let phases: [Phase; 2] = [
        &[Push(&["U", "V"]), PutChunk("ua"), PutTransaction("U")],
        &[Pull],
    ];
    story(
        "POST bundle beside uploads of the same",
        &[PutChunk("b")],
        &phases,
    )
}

pub fn pull_beside_advance() -> Scenario {
    let before = [&UPLOADED[..], &[Advance("A"), PutTransaction("C")]].concat();
    let phases: [Phase; 1] = [&[Pull, Advance("C")]];
    story("GET bundle beside an advance", &before, &phases)
}

pub fn missing_beside_upload() -> Scenario {
    let phases: [Phase; 2] = [&[PutChunk("a"), Ask(&["a", "b"])], &[PutTransaction("A")]];
    story("chunks/missing beside an upload", &NOTHING_YET, &phases)
}

pub fn missing_beside_gc() -> Scenario {
    let old = [PutChunk("a"), PutChunk("ub")];
    let phases: [Phase; 1] = [&[Collect, Ask(&["a", "ub"])]];
    aged("chunks/missing beside gc", &old, &[], &phases)
}

/// A transaction was published and not acknowledged, and a cut kept it but not its chunk.
pub fn replay() -> Scenario {
    let phases: [Phase; 2] = [
        &[PutChunk("a"), PutTransaction("A")],
        &[PutTransaction("A")],
    ];
    story(
        "PUT txn cut, and put again without its chunk",
        &NOTHING_YET,
        &phases,
    )
}

pub fn first_uploads() -> Scenario {
    let phases: [Phase; 1] = [&[PutChunk("a"), PutTransaction("E")]];
    story("two first uploads", &[], &phases)
}

pub fn deletion_beside(act: Act) -> Scenario {
    let before = [&UPLOADED[..], &[Advance("A"), PutTransaction("C")]].concat();
    let phases: [&[Act]; 2] = [&[Delete, act], &[PutChunk("a")]];
    story("DELETE beside another", &before, &phases)
}

/// What goes on beside a deletion.
pub const BESIDE_DELETION: [Act; 5] = [
    PutChunk("c"),
    PutTransaction("Z"),
    Advance("C"),
    GetListing,
    GetChunk("b"),
];

pub fn aliases() -> Scenario {
    let before = [PutChunk("b"), PutChunk("ub"), PutTransaction("U")];
    let phases: [Phase; 2] = [
        &[PutChunk("ua"), PutTransaction("U")],
        &[PutTransaction("V"), Advance("V")],
    ];
    story("alias, and the transactions that name it", &before, &phases)
}

pub fn aged_aliases() -> Scenario {
    let old = [PutChunk("ua"), PutChunk("b"), PutTransaction("U")];
    let phases: [Phase; 2] = [&[Collect, PutTransaction("U")], &[PutChunk("ua")]];
    aged(
        "gc races a transaction that names an old alias",
        &old,
        &[],
        &phases,
    )
}

pub fn model_22() -> [Scenario; 2] {
    let race = |one, two| {
        let phases: [Phase; 1] = [&[one, two, GetListing]];
        story("22 two POST bundles race, reader", &NOTHING_YET, &phases)
    };
    [
        race(Push(&["A", "B"]), Push(&["S"])),
        race(PushWithSpare(&["A", "B"]), Push(&["S"])),
    ]
}

/// A bundle that continues HEAD beside other content under one of its ids.
pub fn bundle_beside_other_content() -> Scenario {
    let phases: [Phase; 2] = [
        &[Push(&["A"]), PutTransaction("A*"), PutChunk("a")],
        &[Advance("A")],
    ];
    story(
        "a bundle beside other content of its id",
        &NOTHING_YET,
        &phases,
    )
}

/// Beside what makes it a descendant of what is pending.
pub fn bundle_beside_a_child() -> Scenario {
    let before = [PutChunk("a"), PutChunk("b"), PutTransaction("A")];
    let phases: [Phase; 2] = [
        &[Push(&["A"]), PutTransaction("B"), Collect],
        &[Advance("B")],
    ];
    story("a bundle beside a child of its last", &before, &phases)
}

/// What a cut leaves of it in the committed area does not exist, for any purpose.
pub fn bundle_is_cut() -> Scenario {
    let phases: [Phase; 3] = [
        &[Push(&["A"])],
        &[Push(&["S"]), PutTransaction("A*")],
        &[Advance("A")],
    ];
    story(
        "a bundle is cut, and others come instead",
        &NOTHING_YET,
        &phases,
    )
}

/// Readers, a copy and a repair beside a bundle.
pub fn bundle_beside_lookers_on() -> [Scenario; 3] {
    let beside = |name, acts: [Act; 2]| {
        let phases: [Phase; 2] = [&[Push(&["A", "B"]), acts[0], acts[1]], &[GetListing]];
        story(name, &NOTHING_YET, &phases)
    };
    [
        beside("a bundle beside readers", [GetHead, GetChunk("a")]),
        beside(
            "a bundle beside a copy",
            [Copy(&["chunks", "log", "transactions"]), GetHead],
        ),
        beside("a bundle beside a repair", [Repair, GetChunk("a")]),
    ]
}

pub fn bundle_is_killed() -> Scenario {
    let phases: [Phase; 2] = [
        &[Push(&["A", "B"])],
        &[Push(&["A", "B"]), PutTransaction("A")],
    ];
    story(
        "a bundle killed, and pushed again beside a PUT",
        &NOTHING_YET,
        &phases,
    )
}

/// Some of them with all of a phase in one process, whose threads wait for each other there.
pub fn in_one_process() -> Vec<Scenario> {
    let stories = [
        model_5(),
        model_5b(),
        model_6(),
        model_8(),
        model_15(),
        replay(),
        first_uploads(),
        aliases(),
    ];
    let one = |mut story: Scenario| {
        story.one_process = true;
        story
    };
    stories.map(one).into()
}

pub fn bundle_beside_its_parts() -> Scenario {
    let phases: [Phase; 2] = [
        &[Upload(&["A", "B"]), PutTransaction("A*"), PutChunk("a")],
        &[Ask(&["a", "b"]), Advance("B")],
    ];
    story("a bulk upload beside its parts", &NOTHING_YET, &phases)
}

pub fn bundle_beside_advance() -> Scenario {
    let phases: [Phase; 1] = [&[Push(&["B", "C"]), Advance("B"), GetListing]];
    story(
        "a bundle beside an advance to its middle",
        &UPLOADED,
        &phases,
    )
}

pub fn bundle_beside_gc() -> [Scenario; 2] {
    let old = [PutChunk("a"), PutTransaction("A"), PutChunk("b")];
    let upload: [Phase; 2] = [&[Collect, Upload(&["B"])], &[GetListing]];
    let push: [Phase; 2] = [&[Collect, Push(&["A", "B"])], &[Push(&["B"])]];
    [
        aged("gc races an upload onto an old parent", &old, &[], &upload),
        aged("gc races a push of what is old", &old, &[], &push),
    ]
}

/// Folders that come from outside: for a user who had none, and for one who is known to whoever is asked.
pub fn folders_from_outside() -> [Scenario; 3] {
    let chain: Act = Act::Bring(&["A", "B"]);
    let before = [PutChunk("a"), PutTransaction("S"), Advance("S")];
    [
        alone("a folder comes", &[], &[GetHead, chain, GetListing]),
        alone(
            "a folder comes, and HEAD is advanced",
            &[],
            &[chain, PutTransaction("C"), Advance("C")],
        ),
        alone(
            "a folder comes in place of another",
            &before,
            &[GetHead, chain, GetListing, PutChunk("c")],
        ),
    ]
}

/// The same beside readers of other processes.
pub fn a_folder_comes_beside_readers() -> Scenario {
    let phases: [Phase; 1] = [&[Act::Bring(&["A", "B"]), GetListing, GetHead]];
    let mut story = story("a folder comes beside readers", &NOTHING_YET, &phases);
    story.phases[0][2].push(GetListing);
    story
}

/// A user gets another name and the old one again, from a process that is killed before the sync.
pub fn there_and_back() -> Scenario {
    let before = [PutChunk("a"), PutTransaction("A"), Advance("A")];
    let mut story = story("a user is renamed there and back", &before, &[]);
    story.phases = vec![vec![
        vec![GetHead, GetHead],
        vec![Act::RenameAway, Act::RenameBack],
    ]];
    story
}

/// A HEAD that was read before another thread moved it, and whose sync takes its time.
pub fn a_slow_look() -> Scenario {
    let before = [PutChunk("a"), PutTransaction("A")];
    let phases: [Phase; 1] = [&[GetHead, Advance("A"), Act::Told]];
    Scenario {
        one_process: true,
        ..story("a slow look beside an advance", &before, &phases)
    }
}
