//! Two to four devices that say things at random, while requests and answers are lost, connections break, processes die, the
//! power goes, and other devices come in between.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Weak};

use mentat_sync::client::{Error, Replica, Slip};
use mentat_sync::model::TransactionId;
use simulated_disk::{Fault, Killed, Random};

use super::fleet::{Device, Server, a_box, keys, replica_on};
use super::ledger::Ledger;
use super::lossy::{Fate, Lossy};
use crate::kit::effort;

/// Keys that lines are about: few, so that they meet.
const KEYS: usize = 6;

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    syncs: u64,
    requests: u64,
    lost: u64,
    crashes: u64,
    rebased: u64,
    lines: u64,
}

struct Member {
    device: Device,
    /// The application as it was saved last.
    saved: Ledger,
    boxes: u64,
}

/// Devices, and all that is random about what they do.
struct Fleet {
    server: Server,
    members: Vec<Mutex<Member>>,
    luck: Mutex<Luck>,
    slip: Option<Slip>,
}

struct Luck {
    random: Random,
    faults: bool,
    counts: Counts,
    /// Lines whose commit was answered.
    said: Vec<String>,
}

impl Fleet {
    fn new(seed: u64, slip: Option<Slip>) -> Arc<Self> {
        let mut random = Random(seed);
        let count = 2 + random.below(3);
        let server = Server::new();
        Arc::new_cyclic(|fleet: &Weak<Fleet>| {
            let members = (0..count).map(|index| {
                let network = Lossy::over(server.remote());
                let fleet = fleet.clone();
                network.decide(move |_| {
                    fleet
                        .upgrade()
                        .map_or(Fate::Fine, |fleet| fleet.fate(index))
                });
                let boxes = seed * 100 + index as u64 + 1;
                let device = with(Device::on(a_box(boxes), network), slip);
                Mutex::new(Member {
                    device,
                    saved: Ledger::default(),
                    boxes,
                })
            });
            Self {
                members: members.collect(),
                server: server.clone(),
                luck: Mutex::new(Luck {
                    random,
                    faults: true,
                    counts: Counts::default(),
                    said: Vec::new(),
                }),
                slip,
            }
        })
    }

    fn below(&self, end: usize) -> usize {
        self.luck.lock().unwrap().random.below(end)
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.luck.lock().unwrap().counts);
    }

    fn faults(&self) -> bool {
        self.luck.lock().unwrap().faults
    }

    /// What becomes of a request of this device; others may do something before it.
    fn fate(&self, index: usize) -> Fate {
        self.count(|counts| counts.requests += 1);
        if !self.faults() {
            return Fate::Fine;
        }
        if self.below(12) == 0 {
            let other = self.below(self.members.len());
            self.act(other);
        }
        if self.below(12) == 0 {
            // Another process of the same device says something.
            self.say_beside(index);
        }
        let fate = match self.below(24) {
            0 => Fate::RequestLost,
            1 => Fate::AnswerLost,
            2 => Fate::CutAfter(self.below(20_000) as u64),
            _ => Fate::Fine,
        };
        self.count(|counts| counts.lost += u64::from(fate != Fate::Fine));
        fate
    }

    fn line(&self) -> String {
        let key = self.below(KEYS);
        let mark = ["", "!", "?"][self.below(3)];
        let mut luck = self.luck.lock().unwrap();
        luck.counts.lines += 1;
        format!("{}{mark} key{key}", luck.counts.lines)
    }

    /// A device is busy in this very thread: its other process has no part in the lock of the test.
    fn say_beside(&self, index: usize) {
        let beside = BESIDE.with(|beside| beside.borrow().get(&index).cloned());
        let Some((sim, network)) = beside else {
            return;
        };
        let replica = replica_on(&sim.process(), &network, keys());
        let line = self.line();
        if replica.commit(line.as_bytes(), &[]).is_ok() {
            self.luck.lock().unwrap().said.push(line);
        }
    }

    /// A device does something, unless it is busy in this very thread.
    fn act(&self, index: usize) {
        let Ok(mut member) = self.members[index].try_lock() else {
            return;
        };
        let member = &mut *member;
        if self.faults() && self.below(6) == 0 {
            let step = 1 + self.below(150) as u64;
            member.device.disk.set_fault(Fault::Death(step));
        }
        BESIDE.with(|beside| {
            let device = &member.device;
            let other = (device.sim.clone(), device.network.clone());
            beside.borrow_mut().insert(index, other);
        });
        let done = catch_unwind(AssertUnwindSafe(|| match self.below(2) {
            0 => self.say(&member.device),
            _ => self.sync(&mut member.device),
        }));
        BESIDE.with(|beside| beside.borrow_mut().remove(&index));
        match done {
            Ok(()) => {
                member.device.disk.set_fault(Fault::None);
                if self.below(2) == 0 {
                    member.saved = confirmed(&member.device.app);
                }
            }
            Err(panic) if panic.is::<Killed>() => self.start_again(index, member),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn say(&self, device: &Device) {
        let line = self.line();
        device.replica.commit(line.as_bytes(), &[]).unwrap();
        self.luck.lock().unwrap().said.push(line);
    }

    fn sync(&self, device: &mut Device) {
        self.count(|counts| counts.syncs += 1);
        match device.sync() {
            Ok(synced) => self.count(|counts| counts.rebased += synced.rebased),
            Err(error) if error.is_transient() => {}
            Err(error) => panic!("a sync fails: {error}"),
        }
    }

    /// A process that died, or a box that lost its power, comes up again.
    fn start_again(&self, index: usize, member: &mut Member) {
        self.count(|counts| counts.crashes += 1);
        let sim = match self.below(2) {
            0 => member.device.sim.clone(),
            _ => member.device.sim.survivor(self.below(1 << 20) as u64),
        };
        let network = member.device.network.clone();
        let mut device = with(Device::on(sim, network), self.slip);
        device.app = member.saved.clone();
        member.device = device;
        let _ = (index, member.boxes);
    }

    /// All sync until nothing is left to do, and everything must be so.
    fn settle(&self) -> Result<(), String> {
        self.luck.lock().unwrap().faults = false;
        for _ in 0..3 {
            for member in &self.members {
                let device = &mut member.lock().unwrap().device;
                device
                    .sync()
                    .map_err(|error| format!("at the end: {error}"))?;
            }
        }
        let chain = self.server.chain();
        let mut told: BTreeMap<String, usize> = BTreeMap::new();
        let first = self.members[0].lock().unwrap().device.lines();
        for line in &first {
            let number = line.split(' ').next().unwrap_or_default();
            *told.entry(number.to_owned()).or_default() += 1;
        }
        for member in &self.members {
            let device = &member.lock().unwrap().device;
            let ids = verified(&device.replica)?;
            if ids != chain || device.lines() != first {
                return Err("two devices have two chains".to_owned());
            }
            if device.app.confirmed.lines != first || device.app.shown.lines != first {
                return Err("an application has another state than the chain".to_owned());
            }
        }
        if let Some((number, _)) = told.iter().find(|(_, times)| **times > 1) {
            return Err(format!("{number} was said twice: {first:?}"));
        }
        for line in &self.luck.lock().unwrap().said {
            let number = line.split(' ').next().unwrap_or_default();
            if !told.contains_key(number) && !number.ends_with('?') {
                return Err(format!("{line:?} was lost: {first:?}"));
            }
        }
        Ok(())
    }
}

thread_local! {
    /// The boxes of the devices that are busy in this thread.
    static BESIDE: std::cell::RefCell<BTreeMap<usize, (simulated_disk::Sim, Lossy)>> =
        const { std::cell::RefCell::new(BTreeMap::new()) };
}

fn with(device: Device, slip: Option<Slip>) -> Device {
    match slip {
        Some(slip) => device.with_slip(slip),
        None => device,
    }
}

/// What an application saves: the confirmed state, and where that is.
fn confirmed(app: &Ledger) -> Ledger {
    let mut saved = app.clone();
    saved.shown = saved.confirmed.clone();
    saved
}

/// The ids of the chain, each transaction of which opens in its place.
fn verified(replica: &Replica) -> Result<Vec<TransactionId>, String> {
    let (mut ids, mut at) = (Vec::new(), TransactionId::ROOT);
    for entry in replica.entries(TransactionId::ROOT) {
        let entry = entry.map_err(|error: Error| format!("the chain does not verify: {error}"))?;
        if entry.parent != at || entry.seq != ids.len() as u64 + 1 {
            return Err("the chain is no line".to_owned());
        }
        at = entry.id;
        ids.push(at);
    }
    Ok(ids)
}

/// What one seed makes happen; the error is what went wrong.
fn run(seed: u64, slip: Option<Slip>) -> Result<Counts, String> {
    let fleet = Fleet::new(seed, slip);
    let story = || {
        for _ in 0..40 {
            let index = fleet.below(fleet.members.len());
            fleet.act(index);
        }
        fleet.settle()
    };
    BESIDE.with(|beside| beside.borrow_mut().clear());
    let ended = catch_unwind(AssertUnwindSafe(story));
    let ended = ended.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(text.unwrap_or_else(|| "somebody died who should not".to_owned()))
    });
    let counts = fleet
        .luck
        .lock()
        .map_or_else(|poisoned| poisoned.into_inner().counts, |luck| luck.counts);
    ended.map(|()| counts)
}

#[test]
fn all_devices_end_with_one_chain_in_which_all_that_was_said_stands_once() {
    let seeds = effort::either(25, 400);
    let first = effort::chosen("MENTAT_SYNC_SEED").unwrap_or(1);
    let mut all = Counts::default();
    for seed in first..first + seeds {
        let counts =
            run(seed, None).unwrap_or_else(|what| panic!("MENTAT_SYNC_SEED={seed}: {what}"));
        all.syncs += counts.syncs;
        all.requests += counts.requests;
        all.lost += counts.lost;
        all.crashes += counts.crashes;
        all.rebased += counts.rebased;
        all.lines += counts.lines;
    }
    println!("{seeds} seeds from {first}: {all:?}");
    for (what, count) in [
        ("lost", all.lost),
        ("crashes", all.crashes),
        ("rebased", all.rebased),
    ] {
        assert!(count > seeds, "hardly anything happened: {what} {count}");
    }
}

#[test]
fn a_rule_taken_away_is_noticed_by_the_fleet() {
    for slip in [Slip::LostAnswerNotRecognised, Slip::LocalBeforeChunks] {
        let noticed = (1..400).find_map(|seed| Some((seed, run(seed, Some(slip)).err()?)));
        let (seed, what) = noticed.unwrap_or_else(|| panic!("{slip:?} is not noticed"));
        println!(
            "{slip:?}: seed {seed}: {}",
            what.chars().take(100).collect::<String>()
        );
    }
}
