//! A process that dies, and a power cut, at each step of each verb.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mentat_sync::client::Slip;
use simulated_disk::{Fault, Killed, Reading, Sim, World};

use super::fleet::{Device, Server, a_box};
use super::lossy::{Fate, Lossy};
use crate::kit::effort;

/// A verb, and what there is before it.
struct Verb {
    name: &'static str,
    /// What is prepared; the lines that are said by then.
    prepare: fn(&Server, &mut Device),
    run: fn(&mut Device),
    /// The lines that must be there in the end, in some order, and those that may.
    must: &'static [&'static str],
    may: &'static [&'static str],
}

fn other_says(server: &Server, line: &str) {
    let mut other = Device::on(a_box(900), Lossy::over(server.remote()));
    other.say(line);
    other.sync().unwrap();
}

const VERBS: [Verb; 8] = [
    Verb {
        name: "the first commit",
        prepare: |_, _| {},
        run: |device| drop(device.replica.commit(b"1 a", &[])),
        must: &[],
        may: &["1 a"],
    },
    Verb {
        name: "a commit after others",
        prepare: |_, device| {
            device.say("1 a");
            device.sync().unwrap();
            device.say("2 b");
        },
        run: |device| {
            let chunks = device.replica.put(&b"bytes"[..]).unwrap();
            drop(device.replica.commit(b"3 c", &chunks));
        },
        must: &["1 a", "2 b"],
        may: &["3 c"],
    },
    Verb {
        name: "a pull",
        prepare: |server, _| {
            for line in ["1 a", "2 b", "3 c"] {
                let mut other = Device::on(a_box(901), Lossy::over(server.remote()));
                other.sync().unwrap();
                other.say(line);
                other.sync().unwrap();
            }
        },
        run: |device| drop(device.sync()),
        must: &["1 a", "2 b", "3 c"],
        may: &[],
    },
    Verb {
        name: "a push",
        prepare: |_, device| {
            device.say("1 a");
            device.say("2 b");
        },
        run: |device| drop(device.sync()),
        must: &["1 a", "2 b"],
        may: &[],
    },
    Verb {
        name: "a pull of what is ours",
        prepare: |server, device| {
            device.say("1 a");
            device.network.next("push", Fate::AnswerLost);
            device.sync().unwrap_err();
            let mut other = Device::on(a_box(902), Lossy::over(server.remote()));
            other.sync().unwrap();
            other.say("2 b");
            other.sync().unwrap();
            device.say("3 c");
        },
        run: |device| drop(device.sync()),
        must: &["1 a", "2 b", "3 c"],
        may: &[],
    },
    Verb {
        name: "a rebase",
        prepare: |server, device| {
            device.say("1 a");
            device.say("2! b");
            device.say("3 c");
            other_says(server, "4 b");
        },
        run: |device| drop(device.sync()),
        must: &["1 a", "2! b late", "3 c", "4 b"],
        may: &[],
    },
    Verb {
        name: "a pull that breaks off",
        prepare: |server, device| {
            device.say("1 a");
            other_says(server, "2 b");
            device.network.next("bundle", Fate::CutAfter(3000));
        },
        run: |device| drop(device.sync()),
        must: &["1 a", "2 b"],
        may: &[],
    },
    Verb {
        name: "a checkpoint and the chain",
        prepare: |server, _| {
            let mut other = Device::on(a_box(903), Lossy::over(server.remote()));
            for line in ["1 a", "2 b", "3 c"] {
                other.say(line);
                other.sync().unwrap();
            }
            let chunks = other.replica.put(&b"more"[..]).unwrap();
            let at = server.chain()[1];
            other.replica.checkpoint(at, b"1 a\n2 b", &chunks).unwrap();
        },
        run: |device| {
            drop(device.replica.take_checkpoint());
            drop(device.sync());
        },
        must: &["1 a", "2 b", "3 c"],
        may: &[],
    },
];

/// What is there before the verb: the server's box, and the device's.
fn worlds(verb: &Verb, reading: Reading) -> (World, World) {
    let server = Server::new();
    let mut world = World::new(reading);
    world.ticks = 500_000_000;
    let mut device = Device::on(Sim::with_world(world), Lossy::over(server.remote()));
    (verb.prepare)(&server, &mut device);
    let (mut there, mut here) = (server.sim.world(), device.sim.world());
    there.settle();
    here.settle();
    (there, here)
}

fn with(device: Device, slip: Option<Slip>) -> Device {
    match slip {
        Some(slip) => device.with_slip(slip),
        None => device,
    }
}

/// The verb is cut at each step, and what is left goes on; the error says where it went wrong.
fn cut_everywhere(verb: &Verb, reading: Reading, slip: Option<Slip>) -> Result<u64, String> {
    let (there, here) = worlds(verb, reading);
    // A first look takes some of the steps, other ones for each verb; a full one each step in the reading that allows more.
    let stride = match (slip, reading) {
        (Some(_), _) => 1,
        (None, Reading::Posix) => effort::either(9, 1),
        (None, Reading::Atomic) => effort::either(9, 3),
    };
    let first = 1 + verb.name.len() % stride;
    for step in (first as u64..).step_by(stride) {
        let server = Server::on(Sim::with_world(there.clone()));
        let network = Lossy::over(server.remote());
        if verb.name.ends_with("breaks off") {
            network.next("bundle", Fate::CutAfter(3000));
        }
        let sim = Sim::with_world(here.clone());
        let mut device = with(Device::on(sim, network), slip);
        device.disk.set_fault(Fault::Death(step));
        let ran = catch_unwind(AssertUnwindSafe(|| (verb.run)(&mut device)));
        let died = match ran {
            Ok(()) => false,
            Err(panic) if panic.is::<Killed>() => true,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let mut there = server.sim.world();
        there.settle();
        for survivor in 0..3 {
            let left = match survivor {
                // The process alone has died.
                0 => device.sim.world(),
                // Nothing is left that was not synced.
                1 => device.sim.world().survivor(1),
                // Some is, and at each step another part.
                _ => device.sim.world().survivor(2 + step),
            };
            goes_on(verb, left, there.clone(), slip).map_err(|what| {
                format!("{}, step {step}, survivor {survivor}: {what}", verb.name)
            })?;
        }
        if !died {
            return Ok(step);
        }
    }
    unreachable!("there are as many steps as there are numbers");
}

/// A device on what is left says one thing more and syncs, and nothing is lost nor there twice.
fn goes_on(verb: &Verb, left: World, there: World, slip: Option<Slip>) -> Result<(), String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    let server = Server::on(Sim::with_world(there));
    let device = Device::on(Sim::with_world(left), Lossy::over(server.remote()));
    let mut device = with(device, slip.filter(|slip| *slip == Slip::PutsStay));
    kept_state_is_whole(&device)?;
    let said = device.replica.commit(b"9 z", &[]);
    said.map_err(|error| failed("a commit", &error))?;
    for _ in 0..2 {
        device.sync().map_err(|error| failed("a sync", &error))?;
    }
    let mut lines = Vec::new();
    for entry in device
        .replica
        .entries(mentat_sync::model::TransactionId::ROOT)
    {
        let entry = entry.map_err(|error| failed("the chain", &error))?;
        lines.push(String::from_utf8_lossy(&entry.body).into_owned());
    }
    if device.app.confirmed.lines != lines || device.app.shown.lines != lines {
        return Err(format!(
            "the application has {:?}",
            device.app.confirmed.lines
        ));
    }
    if kept_state_is_whole(&device)? == Some(false) {
        return Err("the state waits for a chain that is here".to_owned());
    }
    let (chunks, transactions) = device.incoming();
    if chunks.len() + transactions.len() > 0 {
        return Err(format!("it stays: {chunks:?} {transactions:?}"));
    }
    let mut left = lines.clone();
    for must in verb.must.iter().chain(&["9 z"]) {
        let at = left.iter().position(|line| line == must);
        left.remove(at.ok_or_else(|| format!("{must} is lost: {lines:?}"))?);
    }
    left.retain(|line| !verb.may.contains(&line.as_str()));
    let may_twice = verb
        .may
        .iter()
        .any(|may| lines.iter().filter(|line| line == may).count() > 1);
    match left.is_empty() && !may_twice {
        true => Ok(()),
        false => Err(format!("something is there twice: {lines:?}")),
    }
}

/// A state that is kept opens, with all that is beside it; whether the chain stands behind it.
fn kept_state_is_whole(device: &Device) -> Result<Option<bool>, String> {
    let state = device.replica.kept_state();
    let Some(state) = state.map_err(|error| format!("the state: {error}"))? else {
        return Ok(None);
    };
    for chunk in &state.chunks {
        let read = device.replica.read(chunk);
        read.map_err(|error| format!("a chunk of the state: {error}"))?;
    }
    Ok(Some(state.confirmed))
}

#[test]
fn a_cut_at_any_step_loses_nothing_and_repeats_nothing() {
    for verb in &VERBS {
        for reading in [Reading::Atomic, Reading::Posix] {
            let steps = cut_everywhere(verb, reading, None).unwrap_or_else(|what| panic!("{what}"));
            println!("{} ({reading:?}): {steps} steps", verb.name);
            assert!(steps > 10);
        }
    }
}

#[test]
fn a_rule_taken_away_is_noticed_by_the_cuts() {
    for (slip, verb) in [
        (Slip::LocalBeforeChunks, "the first commit"),
        (Slip::RebaseInPlace, "a rebase"),
        (Slip::PutsStay, "a commit after others"),
        (Slip::PutsStay, "a rebase"),
    ] {
        let verb = VERBS.iter().find(|other| other.name == verb).unwrap();
        let noticed = cut_everywhere(verb, Reading::Atomic, Some(slip));
        println!("{slip:?}: {:?}", noticed.expect_err("it is not noticed"));
    }
}
