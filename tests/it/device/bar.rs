//! Three devices on two servers of one data directory, all of them killed at random, with several commands of a device beside
//! each other: in the end there is one chain, in which all that was committed stands once.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use simulated_disk::Random;

use super::{Desk, Desks, stdin};
use crate::kit::{Server, binary, effort, run_with_deadline};

/// The most that a process runs before it is killed, in milliseconds: a command takes some thirty.
const KILLED_WITHIN: usize = 120;

/// What happened.
#[derive(Default)]
struct Tally {
    commands: AtomicUsize,
    killed: AtomicUsize,
    servers_killed: AtomicUsize,
}

/// A command that was started, and what it commits.
struct Running {
    child: Child,
    text: Option<String>,
}

/// One of the devices, and what it is certain of.
struct Owner {
    desk: Desk,
    random: Random,
    addresses: [String; 2],
    said: usize,
    must: Vec<String>,
}

impl Owner {
    fn start(&mut self, tally: &Tally) -> Running {
        let (args, text): (&[&str], _) = match self.random.below(8) {
            0..=2 => {
                self.said += 1;
                let name = self.desk.path.file_name().unwrap().to_string_lossy();
                (&["commit"], Some(format!("{name} {}", self.said)))
            }
            3 => (&["pull"], None),
            4 => (&["push"], None),
            5 => (&["follow", "--once", "--pending"], None),
            _ => (&["sync"], None),
        };
        tally.commands.fetch_add(1, Ordering::Relaxed);
        let child = binary()
            .args(args)
            .current_dir(&self.desk.path)
            .stdin(stdin(text.as_deref().unwrap_or_default().as_bytes()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Running {
            child: child.unwrap(),
            text,
        }
    }

    /// A round: some commands beside each other, each of which may be killed.
    fn round(&mut self, tally: &Tally) {
        if self.random.below(3) == 0 {
            let other = self.random.below(2);
            self.desk.set("url", &self.addresses[other]);
        }
        let count = 1 + self.random.below(3);
        let all: Vec<Running> = (0..count).map(|_| self.start(tally)).collect();
        for Running { mut child, text } in all {
            if self.random.below(2) == 0 {
                let moment = self.random.below(KILLED_WITHIN) as u64;
                thread::sleep(Duration::from_millis(moment));
                child.kill().ok();
            }
            let ended = child.wait().unwrap();
            if ended.code().is_none() {
                tally.killed.fetch_add(1, Ordering::Relaxed);
            }
            // 3: no server was there.
            let right = [None, Some(0), Some(3)].contains(&ended.code());
            assert!(right, "{:?}: {ended:?}", self.desk.path);
            self.must.extend(text.filter(|_| ended.success()));
        }
    }
}

/// What the devices must agree on.
fn judge(desks: &[Desk], must: &[String]) {
    let lines = desks[0].texts();
    for desk in desks {
        assert_eq!(desk.texts(), lines, "{:?}", desk.path);
    }
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for line in &lines {
        *times.entry(line).or_default() += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "said twice: {twice:?}");
    let lost: Vec<_> = must
        .iter()
        .filter(|must| !times.contains_key(must.as_str()))
        .collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
}

/// Kills one of the servers after the other, and starts another in its place, until the time is up.
fn kill_servers(servers: &mut [Server; 2], mut random: Random, over: &AtomicBool, tally: &Tally) {
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(50 + random.below(900) as u64));
        let which = random.below(2);
        servers[which].kill();
        tally.servers_killed.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(random.below(100) as u64));
        servers[which] = servers[which].another();
    }
}

#[test]
fn three_devices_on_two_servers_killed_at_random_end_with_one_chain_and_all_that_was_said() {
    let seconds = effort::chosen("BAR_SECONDS").unwrap_or(effort::either(6, 10));
    let seed: u64 = effort::chosen("MENTAT_SYNC_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap().as_secs()
    });
    println!("MENTAT_SYNC_SEED={seed}");
    let data = Arc::new(tempfile::tempdir().unwrap());
    let sockets = ["one", "two"].map(|name| format!("unix:{}", data.path().join(name).display()));
    let mut servers =
        [0, 1].map(|which: usize| Server::on(Arc::clone(&data), &["--listen", &sockets[which]]));
    let desks = Desks::new();
    let desk = desks.init("desk", &sockets[0]);
    desk.commit("first");
    desk.run(&["sync"]).good();
    let devices = [
        desks.clone_of(&desk, "laptop"),
        desks.clone_of(&desk, "phone"),
        desk,
    ];
    let (tally, over) = (Tally::default(), AtomicBool::new(false));
    let until = Instant::now() + Duration::from_secs(seconds);
    let owners = thread::scope(|scope| {
        let killer =
            scope.spawn(|| kill_servers(&mut servers, Random(seed ^ 1 << 40), &over, &tally));
        let owners = devices.into_iter().enumerate().map(|(index, desk)| {
            let mut owner = Owner {
                desk,
                random: Random(seed + index as u64),
                addresses: sockets.clone(),
                said: 0,
                must: Vec::new(),
            };
            let tally = &tally;
            scope.spawn(move || {
                while Instant::now() < until {
                    owner.round(tally);
                }
                owner
            })
        });
        let owners: Vec<_> = owners.collect();
        let ended: Vec<_> = owners.into_iter().map(|owner| owner.join()).collect();
        over.store(true, Ordering::Relaxed);
        killer.join().unwrap();
        ended.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    });
    let mut must = vec!["first".to_owned()];
    let mut devices = Vec::new();
    for owner in owners {
        must.extend(owner.must);
        devices.push(owner.desk);
    }
    for _ in 0..2 {
        for device in &devices {
            device.run(&["sync"]).good();
        }
    }
    judge(&devices, &must);
    let stores = devices.iter().map(|device| device.home("store"));
    for store in stores.chain([servers[0].data()]) {
        let mut fsck = binary();
        fsck.args(["fsck", "--data"]).arg(&store);
        let sound = run_with_deadline(&mut fsck);
        assert_eq!(sound.code, Some(0), "{}: {sound:?}", store.display());
    }
    let Tally {
        commands,
        killed,
        servers_killed,
    } = tally;
    println!(
        "bar: {seconds} s, MENTAT_SYNC_SEED={seed}: {commands:?} commands, {killed:?} killed; {servers_killed:?} servers \
         killed; {} entries committed, each on one chain once",
        must.len()
    );
    assert!(killed.into_inner() > 5 && servers_killed.into_inner() > 2);
}
