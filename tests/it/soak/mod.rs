mod asks;
mod client;
mod gauges;
mod ledger;
mod upkeep;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::kit::{Server, binary, user_id};

use asks::{Asks, Told};
use client::Actor;
use gauges::{Sample, are_flat, thirds};
use ledger::Ledger;

/// Servers on the one data directory: what only one process sees is no proof that HEAD moves for one at a time.
const SERVERS: usize = 2;

/// Users at a time, and the devices of each, which go from server to server.
const HOUSES: usize = 3;
const DEVICES: u64 = 4;

/// Advances of a user's life. Then all of it is read, and the user deleted: an hour would fill the disk.
const LIFE: u64 = 400;

/// What is pending is collected after that: long enough for a device to commit what it has uploaded, short
/// enough that some of it is collected in every run.
const GRACE: Duration = Duration::from_secs(5);

/// What is played, and what is broken on purpose.
#[derive(Clone, Copy)]
struct Plan {
    time: Duration,
    mistake: Option<&'static str>,
    /// What `gc` is told; what the devices rely on is [`GRACE`].
    grace: Duration,
}

impl Plan {
    fn of(seconds: u64) -> Self {
        Self {
            time: Duration::from_secs(seconds),
            mistake: None,
            grace: GRACE,
        }
    }
}

/// One user, from the first upload to the deletion.
struct House {
    user: String,
    ledger: Ledger,
}

impl House {
    fn is_over(&self, stage: &Stage) -> bool {
        stage.is_over() || self.ledger.count() >= LIFE
    }
}

/// What everybody shares, and what has happened so far.
struct Stage {
    plan: Plan,
    addresses: Vec<SocketAddr>,
    over: AtomicBool,
    wrong: Mutex<Vec<String>>,
    houses: Mutex<BTreeMap<String, Arc<House>>>,
    requests: AtomicU64,
    advances: AtomicU64,
    races: AtomicU64,
    pushes: AtomicU64,
    pulls: AtomicU64,
    refusals: AtomicU64,
    collections: AtomicU64,
    collected: AtomicU64,
    copies: AtomicU64,
    users: AtomicU64,
    chunks: AtomicU64,
}

impl Stage {
    fn new(plan: Plan, addresses: Vec<SocketAddr>) -> Self {
        Self {
            plan,
            addresses,
            over: AtomicBool::new(false),
            wrong: Mutex::default(),
            houses: Mutex::default(),
            requests: AtomicU64::new(0),
            advances: AtomicU64::new(0),
            races: AtomicU64::new(0),
            pushes: AtomicU64::new(0),
            pulls: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            collections: AtomicU64::new(0),
            collected: AtomicU64::new(0),
            copies: AtomicU64::new(0),
            users: AtomicU64::new(0),
            chunks: AtomicU64::new(0),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// What should not have happened ends it for everybody.
    fn hear(&self, told: Told<()>) {
        if let Err(what) = told {
            self.over.store(true, Ordering::Relaxed);
            self.wrong.lock().unwrap().push(what);
        }
    }

    /// How many advances of each living user were acknowledged.
    fn acknowledged(&self) -> BTreeMap<String, u64> {
        let houses = self.houses.lock().unwrap();
        let counted = houses
            .iter()
            .map(|(user, house)| (user.clone(), house.ledger.count()));
        counted.collect()
    }

    /// One user after the other, each with its devices.
    fn live(&self, number: usize) -> Told<()> {
        for generation in 0.. {
            let house = Arc::new(House {
                user: user_id(&format!("soak {number} {generation}")),
                ledger: Ledger::default(),
            });
            let known = (house.user.clone(), Arc::clone(&house));
            self.houses.lock().unwrap().extend([known]);
            std::thread::scope(|scope| {
                for device in 0..DEVICES {
                    let house = &house;
                    scope.spawn(move || self.hear(Actor::new(self, house, device).act()));
                }
            });
            let mut asks = Asks::new(self, &house.user, 0);
            let chunks = house.ledger.check(&mut asks)?;
            self.chunks.fetch_add(chunks, Ordering::Relaxed);
            self.users.fetch_add(1, Ordering::Relaxed);
            if self.is_over() {
                break;
            }
            self.houses.lock().unwrap().remove(&house.user);
            asks.delete()?;
        }
        Ok(())
    }
}

/// What came of it.
struct Outcome {
    stage: Stage,
    /// Of each server.
    samples: Vec<Vec<Sample>>,
    took: Duration,
}

impl Outcome {
    fn print(&self) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let stage = &self.stage;
        let mut gauges = Vec::new();
        for samples in &self.samples {
            let [first, last] = thirds(samples);
            let mebibytes = [first, last].map(|sample| sample.memory as f64 / f64::from(1 << 20));
            gauges.push(format!(
                "memory {:.1} then {:.1} MiB, descriptors {} then {}",
                mebibytes[0], mebibytes[1], first.descriptors, last.descriptors
            ));
        }
        println!(
            "soak: {:.0} s, {SERVERS} servers, {HOUSES} users with {DEVICES} devices: {} requests, {} advances ({} bundles pushed, {} \
             pulled), {} races lost, {} refused on purpose; {} collections took {} files; {} copies sound; {} users \
             with {} chunks found whole; {}; {} wrong",
            self.took.as_secs_f64(),
            count(&stage.requests),
            count(&stage.advances),
            count(&stage.pushes),
            count(&stage.pulls),
            count(&stage.races),
            count(&stage.refusals),
            count(&stage.collections),
            count(&stage.collected),
            count(&stage.copies),
            count(&stage.users),
            count(&stage.chunks),
            gauges.join("; "),
            stage.wrong.lock().unwrap().len(),
        );
    }
}

/// The servers, all on one fresh directory.
fn serve(mistake: Option<&str>) -> Vec<Server> {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let grace = format!("{}s", GRACE.as_secs());
    let flags = ["--grace", &grace, "--gc-every", "2s", "--allow-delete"];
    let servers = (0..SERVERS).map(|_| {
        // The log of an hour would fill this process's memory.
        let mut command = Command::new("env");
        command.arg("RUST_LOG=warn");
        command.args(mistake.map(|name| format!("MENTAT_SYNC_MISTAKE={name}")));
        command.arg(binary().get_program());
        Server::launch(command, Arc::clone(&data), &flags)
    });
    servers.collect()
}

/// Everybody at once.
fn play(plan: Plan) -> Outcome {
    let servers = serve(plan.mistake);
    let stage = Stage::new(plan, servers.iter().map(Server::address).collect());
    let start = Instant::now();
    let mut samples = vec![Vec::new(); SERVERS];
    std::thread::scope(|scope| {
        let (stage, data) = (&stage, servers[0].data());
        for number in 0..HOUSES {
            scope.spawn(move || stage.hear(stage.live(number)));
        }
        scope.spawn(move || stage.hear(upkeep::keep_up(stage, &data)));
        while start.elapsed() < plan.time && !stage.is_over() {
            std::thread::sleep(gauges::PAUSE);
            for (samples, server) in samples.iter_mut().zip(&servers) {
                samples.push(Sample::of(server));
            }
        }
        stage.over.store(true, Ordering::Relaxed);
    });
    let (data, keeper) = (servers[0].data(), servers[0].keeper());
    for server in servers {
        assert_eq!(server.stop().code(), Some(0));
    }
    stage.hear(upkeep::is_sound(&data));
    drop(keeper);
    Outcome {
        stage,
        samples,
        took: start.elapsed(),
    }
}

/// How long: `scripts/soak` takes its time.
fn seconds() -> u64 {
    let seconds = std::env::var("SOAK_SECONDS").unwrap_or_default();
    seconds.parse().unwrap_or(20)
}

#[test]
fn everything_at_once_loses_nothing_and_grows_nothing() {
    let outcome = play(Plan::of(seconds()));
    let wrong = outcome.stage.wrong.lock().unwrap().clone();
    assert!(wrong.is_empty(), "{wrong:#?}");
    outcome.print();
    for samples in &outcome.samples {
        are_flat(samples).unwrap();
    }
    // So little would be no test.
    let stage = &outcome.stage;
    for counter in [
        &stage.advances,
        &stage.races,
        &stage.pushes,
        &stage.pulls,
        &stage.collected,
        &stage.copies,
    ] {
        assert!(counter.load(Ordering::Relaxed) > 1);
    }
}

/// What is said first when this is played.
fn caught(plan: Plan) -> String {
    let wrong = play(plan).stage.wrong.into_inner().unwrap();
    let first = wrong.first().expect("somebody noticed");
    let first = first.chars().take(200).collect::<String>();
    println!("caught: {first}");
    first
}

#[test]
fn a_lost_write_is_caught() {
    caught(Plan {
        mistake: Some("NoLock"),
        ..Plan::of(30)
    });
}

#[test]
fn a_collection_of_what_is_young_is_caught() {
    let first = caught(Plan {
        grace: Duration::ZERO,
        ..Plan::of(30)
    });
    assert!(first.contains("acknowledged"), "{first}");
}

#[test]
fn a_leaked_descriptor_is_caught() {
    // A busy machine gets few requests done, and few are leaked.
    let leak = [6, 12, 24, 48].into_iter().find_map(|seconds| {
        let outcome = play(Plan {
            mistake: Some("LeakedDescriptor"),
            ..Plan::of(seconds)
        });
        are_flat(&outcome.samples[0]).err()
    });
    let leak = leak.expect("somebody noticed");
    println!("caught: {leak}");
    assert!(leak.starts_with("descriptors grew"), "{leak}");
}
