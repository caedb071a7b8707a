//! Three devices, two servers on one directory, and kills at random: one chain in the end, with all that was committed.
//! `scripts/kill-test` runs it for longer.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Desk, Desks, address, stdin};
use crate::kit::{Server, binary, effort};
use crate::soak::dice::Dice;

/// With fewer than that of each kind it is no test.
const ENOUGH: u64 = 5;

/// What happened.
#[derive(Debug, Default)]
struct Counts {
    commits: AtomicU64,
    syncs: AtomicU64,
    killed_commands: AtomicU64,
    killed_servers: AtomicU64,
}

struct Stage {
    until: Instant,
    servers: RwLock<Vec<Server>>,
    counts: Counts,
    names: AtomicUsize,
    /// Texts whose commit said that it was done.
    said: Mutex<BTreeSet<String>>,
}

impl Stage {
    fn is_over(&self) -> bool {
        let counts = &self.counts;
        let enough = [
            &counts.syncs,
            &counts.killed_commands,
            &counts.killed_servers,
        ]
        .iter()
        .all(|count| count.load(Ordering::Relaxed) >= ENOUGH);
        let now = Instant::now();
        now > self.until && (enough || now > self.until + Duration::from_secs(60))
    }

    /// Runs a command in a directory, which may be killed; whether it ended by itself, and well.
    fn ran(&self, directory: &Path, args: &[&str], input: &str, dice: &mut Dice) -> bool {
        let mut command = binary();
        command.args(args).current_dir(directory);
        command.stdin(stdin(input.as_bytes()));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        if dice.once_in(3) {
            std::thread::sleep(Duration::from_millis(dice.below(60)));
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                self.counts.killed_commands.fetch_add(1, Ordering::Relaxed);
            }
        }
        let output = child.wait_with_output().unwrap();
        let trouble = String::from_utf8_lossy(&output.stderr);
        // 3 is a server that is away, and none is a kill. No device may say that anything is wrong.
        let code = output.status.code();
        assert!(
            matches!(code, None | Some(0 | 3)),
            "{args:?}: {code:?}: {trouble}"
        );
        code == Some(0)
    }

    /// A person at a device, who writes.
    fn write(&self, device: &Desk, mut dice: Dice) {
        while !self.is_over() {
            let text = format!("{}", self.names.fetch_add(1, Ordering::Relaxed));
            if self.ran(&device.path, &["commit"], &text, &mut dice) {
                self.said.lock().unwrap().insert(text);
                self.counts.commits.fetch_add(1, Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(dice.below(80)));
        }
    }

    /// The same device's sync, beside that: now with one server, now with the other.
    fn sync(&self, device: &Desk, mut dice: Dice) {
        while !self.is_over() {
            let server = {
                let servers = self.servers.read().unwrap();
                address(&servers[dice.below(servers.len() as u64) as usize])
            };
            device.moved_to(&server);
            let args: &[&str] = match dice.below(4) {
                0 => &["pull"],
                1 => &["push"],
                _ => &["sync"],
            };
            if self.ran(&device.path, args, "", &mut dice) {
                self.counts.syncs.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Kills servers, one at a time; each comes back.
    fn kill(&self, mut dice: Dice) {
        while !self.is_over() {
            std::thread::sleep(Duration::from_millis(200 + dice.below(800)));
            let mut servers = self.servers.write().unwrap();
            let which = dice.below(servers.len() as u64) as usize;
            servers[which].kill();
            let other = &servers[1 - which];
            servers[which] = other.another();
            self.counts.killed_servers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Desk {
    /// The server is at another address from now on. The commands beside it read the old one or the new one.
    fn moved_to(&self, server: &str) {
        let remote = self.home("remote");
        let text = std::fs::read_to_string(&remote).unwrap();
        let mut fields: Value = serde_json::from_str(&text).unwrap();
        fields["url"] = server.into();
        let new = self.path.join("remote.new");
        std::fs::copy(&remote, &new).unwrap();
        std::fs::write(&new, fields.to_string()).unwrap();
        std::fs::rename(&new, &remote).unwrap();
    }
}

#[test]
fn three_devices_on_two_servers_that_are_all_killed_end_with_one_chain_and_every_committed_entry() {
    let seconds = effort::chosen("KILL_TEST_SECONDS").unwrap_or(effort::either(5, 20));
    let seed = effort::chosen("KILL_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("KILL_TEST_SEED={seed}");
    let server = Server::start();
    let desks = Desks::new();
    let first = desks.init("desk", &address(&server));
    first.commit("first");
    first.run(&["sync"]).good();
    let devices = [
        desks.clone_of(&first, "laptop"),
        desks.clone_of(&first, "phone"),
        first,
    ];
    let stage = Stage {
        until: Instant::now() + Duration::from_secs(seconds),
        servers: RwLock::new(vec![server.another(), server]),
        counts: Counts::default(),
        names: AtomicUsize::new(0),
        said: Mutex::new(["first".to_owned()].into()),
    };
    std::thread::scope(|scope| {
        for (number, device) in devices.iter().enumerate() {
            let stage = &stage;
            scope.spawn(move || stage.write(device, Dice::of(seed, &format!("writer {number}"))));
            scope.spawn(move || stage.sync(device, Dice::of(seed, &format!("sync {number}"))));
        }
        scope.spawn(|| stage.kill(Dice::of(seed, "killer")));
    });
    let servers = stage.servers.into_inner().unwrap();
    for device in devices.iter().chain(&devices) {
        device.moved_to(&address(&servers[0]));
        device.run(&["sync"]).good();
    }
    let chain = devices[0].texts();
    for device in &devices {
        assert_eq!(device.texts(), chain);
        let store = device.home("store");
        device
            .run(&["fsck", "--data", store.to_str().unwrap()])
            .good();
    }
    let found: BTreeSet<_> = chain.iter().cloned().collect();
    assert_eq!(found.len(), chain.len(), "said twice: {chain:?}");
    let said = stage.said.into_inner().unwrap();
    assert!(
        said.is_subset(&found),
        "lost: {:?}",
        said.difference(&found)
    );
    let data = servers[0].data();
    devices[0]
        .run(&["fsck", "--data", data.to_str().unwrap()])
        .good();
    let counts = stage.counts;
    println!("{} entries, {counts:?}", chain.len());
    for count in [
        counts.commits,
        counts.syncs,
        counts.killed_commands,
        counts.killed_servers,
    ] {
        assert!(count.into_inner() >= ENOUGH, "too little happened");
    }
}
