mod asks;
mod bundles;
mod copies;
mod device;
mod dice;
mod figures;
mod fleet;
mod gauges;
mod house;
mod ledger;
mod listener;
mod looks;
mod moves;
mod quiet;
mod rot;
mod tests;
mod upkeep;
mod verdict;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::kit::binary;

use asks::Asks;
use copies::Way;
use device::Device;
use dice::Dice;
use fleet::{Fleet, SERVERS};
use gauges::Sample;
use house::{House, Kind};
use quiet::Latencies;
use verdict::{Halt, Told, Verdict, wrong};

/// What is pending is collected after that: long enough for a device to commit what it has uploaded, short enough that
/// some of it is collected in every run.
const GRACE: Duration = Duration::from_secs(10);

/// Advances of a user's life. Then all of it is read, and the user deleted: an hour would fill the disk.
const LIFE: u64 = 500;

/// And so many answers about HEAD: the checker looks at all of a user's.
const EVENTS: usize = 20_000;

/// How often the histories are judged: what is wrong ends the campaign soon after.
const JUDGED: Duration = Duration::from_secs(2);

/// How much longer it goes on where something has not happened yet.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often it says how far it is.
const SAID: Duration = Duration::from_secs(60);

/// What is played, and what is broken on purpose.
#[derive(Clone, Debug)]
struct Plan {
    time: Duration,
    seed: u64,
    life: u64,
    mistake: Option<&'static str>,
    /// What `gc` is told; what the devices rely on is the other.
    grace: Duration,
    promised: Duration,
    users: Vec<Kind>,
    ways: Vec<Way>,
    /// Servers are killed and stopped, and one has slow and failing syncs.
    disturbed: bool,
    /// What must have happened, or it was no test: it goes on for a while where the machine was too busy.
    enough: &'static [&'static str],
    /// What is wrong does not end it: all of it is counted.
    goes_on: bool,
    /// What is wrong is what is looked for.
    broken: bool,
}

impl Plan {
    /// The program that serves, copies and checks: the build under test, or the one that is named.
    fn program(&self) -> Command {
        let mut program = match std::env::var_os("SOAK_PROGRAM").filter(|named| !named.is_empty()) {
            Some(named) => Command::new(named),
            None => binary(),
        };
        program.envs(self.mistake.map(|name| ("MENTAT_SYNC_MISTAKE", name)));
        program
    }
}

/// What everybody shares, and what has happened so far.
struct Stage {
    plan: Plan,
    fleet: Fleet,
    clock: AtomicU64,
    over: AtomicBool,
    verdict: Verdict,
    latencies: Latencies,
    houses: Mutex<BTreeMap<Kind, Arc<House>>>,
    /// All names that users of a kind have had.
    names: Mutex<BTreeMap<Kind, Vec<String>>>,
}

impl Stage {
    fn new(plan: Plan, fleet: Fleet) -> Self {
        Self {
            verdict: Verdict::new(plan.broken),
            plan,
            fleet,
            clock: AtomicU64::new(1),
            over: AtomicBool::new(false),
            latencies: Latencies::default(),
            houses: Mutex::default(),
            names: Mutex::default(),
        }
    }

    /// What must happen, and has not yet.
    fn lacks(&self) -> Option<&'static str> {
        let enough = self.plan.enough.iter().copied();
        enough
            .into_iter()
            .find(|what| self.verdict.counted(what) == 0)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Sleeps, but not beyond the end of all.
    fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }

    fn houses(&self) -> Vec<Arc<House>> {
        self.houses.lock().unwrap().values().cloned().collect()
    }

    fn house(&self, kind: Kind) -> Option<Arc<House>> {
        self.houses.lock().unwrap().get(&kind).cloned()
    }

    /// All names that users of this kind have had.
    fn names_of(&self, kind: Kind) -> Vec<String> {
        let mut names = self
            .names
            .lock()
            .unwrap()
            .get(&kind)
            .cloned()
            .unwrap_or_default();
        names.extend(self.house(kind).iter().flat_map(|house| house.names()));
        names
    }

    /// What is wrong is noted, and ends it for everybody, unless all of it is to be counted.
    fn hear_plainly<T>(&self, told: Told<T>) {
        if let Err(Halt::Wrong(kind, how)) = told {
            self.verdict.hear(kind, how);
            if !self.plan.goes_on {
                self.over.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The same, of a user.
    fn hear<T>(&self, house: &House, told: Told<T>) {
        if let Err(Halt::Wrong(kind, how)) = told {
            house.remember(format!("WRONG: {kind}: {how}"));
            self.hear_plainly::<()>(wrong(
                kind,
                format!("{:?} {}: {how}", house.kind, house.now().id),
            ));
        }
    }

    /// One user of a kind after the other, each with its devices.
    fn live(&self, kind: Kind, data: &Path) {
        for generation in 0.. {
            let house = Arc::new(House::new(kind, self.plan.seed, generation));
            self.houses.lock().unwrap().insert(kind, Arc::clone(&house));
            std::thread::scope(|scope| {
                let house = &house;
                for number in 0..kind.devices() {
                    scope.spawn(move || Device::new(self, house, number).act());
                }
                scope.spawn(move || listener::listen(self, house));
                scope.spawn(move || listener::wait(self, house));
                match kind {
                    Kind::Renamed => drop(scope.spawn(move || moves::rename(self, house, data))),
                    Kind::Deleted => drop(scope.spawn(move || moves::delete(self, house, data))),
                    Kind::Quiet => drop(scope.spawn(move || quiet::live(self, house))),
                    Kind::Damaged => drop(scope.spawn(move || rot::live(self, house, data))),
                    Kind::Busy | Kind::Storm => {}
                }
            });
            self.hear(&house, self.look_at_all(&house));
            self.verdict.count("users", 1);
            if self.is_over() {
                break;
            }
            self.names
                .lock()
                .unwrap()
                .entry(kind)
                .or_default()
                .extend(house.names());
            self.hear(&house, self.is_gone(&house));
        }
    }

    /// All that was acknowledged is served, and nothing else. Nobody writes meanwhile.
    fn look_at_all(&self, house: &House) -> Told<()> {
        let mut chain = None;
        for slot in 0..SERVERS {
            let mut asks = Asks::on(self, house, "end", slot);
            let asked = asks.get_at_last("transactions", &[200])?;
            let told = asked.answer.json();
            let ids = told["transactions"].as_array().cloned().unwrap_or_default();
            let last = ids
                .last()
                .and_then(|id| id.as_str())
                .unwrap_or(crate::kit::ROOT);
            asked.saw("listing", last, ids.len() as u64)?;
            let links = house.now().ledger().chain(last)?;
            let expected: Vec<&str> = links.iter().map(|link| link.id.as_str()).collect();
            if told["transactions"] != json!(expected) {
                let how = format!("acknowledged were {expected:?}, and the chain is {told}");
                return wrong("acknowledged advance lost", how);
            }
            chain = Some(links);
        }
        let mut asks = Asks::on(self, house, "end", 0);
        let bundle = asks.get_at_last("bundle", &[200])?.answer.body;
        let links = chain.unwrap_or_default();
        bundles::holds(&bundle, &links)?;
        let chunks = links.iter().map(|link| link.chunks.len() as u64);
        self.verdict.count("chunks found whole", chunks.sum());
        house.now().ledger().judge()
    }

    /// Deletes the user, and nobody knows it any more.
    fn is_gone(&self, house: &House) -> Told<()> {
        house.begins_anew(Arc::default());
        let deleted = moves::delete_at_last(self, house, 0);
        house.has_changed(None);
        deleted?;
        for slot in 0..SERVERS {
            let mut asks = Asks::on(self, house, "end", slot);
            let asked = asks.get_at_last("head", &[200])?;
            let (head, seq) = asked.told()?;
            asked.saw("GET", &head, seq)?;
        }
        Ok(())
    }

    /// Judges what was answered until now, again and again.
    fn judge(&self) {
        while !self.is_over() {
            self.sleep(JUDGED);
            for house in self.houses() {
                for ledger in house.now().ledgers {
                    self.hear(&house, ledger.judge());
                }
            }
        }
    }
}

/// What came of it.
struct Outcome {
    stage: Stage,
    /// Of the server that lives on.
    samples: Vec<Sample>,
    took: Duration,
    /// Where all of it is.
    top: Arc<TempDir>,
    /// What could not be done here.
    skipped: Option<&'static str>,
}

/// Everybody at once.
fn play(plan: Plan) -> Outcome {
    let top = tempfile::Builder::new()
        .prefix("mentat-soak-")
        .tempdir()
        .unwrap();
    let top = Arc::new(top);
    let grace = format!("{}s", plan.grace.as_secs());
    let flags = ["--grace", &grace, "--gc-every", "5s", "--allow-delete"];
    let traced = plan.disturbed && fleet::traces();
    let fleet = Fleet::new(Arc::clone(&top), &flags, plan.program(), traced);
    let mut dice = Dice::of(plan.seed, "start");
    let mut servers: Vec<_> = (0..SERVERS)
        .map(|slot| fleet.start(slot, &mut dice, false))
        .collect();
    let stage = Stage::new(plan.clone(), fleet);
    let data: PathBuf = top.path().join("data");
    let start = Instant::now();
    let (mut samples, mut said) = (Vec::new(), SAID);
    let others = servers.split_off(if plan.disturbed { 1 } else { SERVERS });
    std::thread::scope(|scope| {
        let (stage, data) = (&stage, data.as_path());
        let lives: Vec<_> = (1..)
            .zip(others)
            .map(|(slot, first)| scope.spawn(move || stage.fleet.live_and_die(stage, slot, first)))
            .collect();
        let mut users = Vec::new();
        for &kind in &plan.users {
            users.push(scope.spawn(move || stage.live(kind, data)));
        }
        let mut keepers = Vec::new();
        for &way in &plan.ways {
            keepers.push(scope.spawn(move || copies::copy(stage, data, way)));
        }
        keepers.push(scope.spawn(move || upkeep::collect(stage, data)));
        keepers.push(scope.spawn(move || upkeep::repair(stage, data)));
        keepers.push(scope.spawn(move || stage.judge()));
        let top = top.path();
        keepers.push(scope.spawn(move || stage.latencies.watch(stage, top)));
        let goes_on = || match stage.lacks() {
            Some(_) => start.elapsed() < plan.time + PATIENCE,
            None => start.elapsed() < plan.time,
        };
        while goes_on() && !stage.is_over() {
            std::thread::sleep(gauges::PAUSE);
            samples.push(Sample::of(&servers[0].0));
            if start.elapsed() > said {
                println!(
                    "soak: {:.0} s: {} requests, {} wrong",
                    stage.verdict.now(),
                    stage.verdict.counted("requests"),
                    stage.verdict.wrongs().len()
                );
                said += SAID;
            }
        }
        stage.over.store(true, Ordering::Relaxed);
        drop((users, keepers));
        servers.extend(lives.into_iter().map(|life| life.join().unwrap()));
    });
    let took = start.elapsed();
    for (server, _) in servers {
        if server.stop().code() != Some(0) {
            stage
                .verdict
                .hear("a stop that is none", "at the end".to_owned());
        }
    }
    stage.hear_plainly(upkeep::damage(&stage, &data, false).and_then(
        |found| match found.is_empty() {
            true => Ok(()),
            false => wrong("fsck finds damage in the store", found.join("\n")),
        },
    ));
    Outcome {
        stage,
        samples,
        took,
        top,
        skipped: (plan.disturbed && !traced).then_some("strace cannot trace here"),
    }
}
