//! The server processes on the one directory: one that lives on and is measured, others that are killed, stopped, and
//! have slow and failing syncs.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::kit::Server;

use super::Stage;
use super::dice::Dice;

/// Servers; the first lives on from the beginning to the end.
pub const SERVERS: usize = 3;

/// The one whose syncs are slow or fail.
const FAULTY: usize = 2;

/// One process of a server.
pub struct Life {
    pub slot: usize,
    pub address: SocketAddr,
    /// It was killed, or told to end, or is about to be.
    over: AtomicBool,
    syncs: Syncs,
}

impl Life {
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Some of its syncs fail.
    pub fn fails(&self) -> bool {
        self.syncs == Syncs::Failing
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server {} ({:?} syncs)", self.slot, self.syncs)
    }
}

/// How a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syncs {
    Plain,
    /// Each takes some milliseconds longer.
    Slow,
    /// Each takes a quarter of a second longer: a disk that sleeps.
    Late,
    /// Now and then one fails.
    Failing,
}

/// What strace is told to do, as it is told.
fn inject(syncs: Syncs, dice: &mut Dice) -> Vec<String> {
    let what = match syncs {
        Syncs::Plain => return Vec::new(),
        Syncs::Slow => format!("delay_exit={}", 2000 + dice.below(8000)),
        Syncs::Late => "delay_exit=250000".to_owned(),
        // Counted by thread; the first ones are those of the start.
        Syncs::Failing => format!(
            "error=EIO:when={}+{}",
            6 + dice.below(6),
            8 + dice.below(16)
        ),
    };
    let calls = "fsync,fdatasync,syncfs";
    let traced = ["strace", "-D", "-f", "--seccomp-bpf", "-o", "/dev/null"].map(str::to_owned);
    let what = [
        "-e".to_owned(),
        format!("trace={calls}"),
        "-e".to_owned(),
        format!("inject={calls}:{what}"),
    ];
    traced.into_iter().chain(what).collect()
}

/// Whether a process may be traced from its beginning here.
pub fn traces() -> bool {
    let mut dice = Dice::of(0, "traces");
    let words = inject(Syncs::Slow, &mut dice);
    Command::new(&words[0])
        .args(&words[1..])
        .arg("true")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// All servers.
pub struct Fleet {
    data: Arc<TempDir>,
    host: Ipv4Addr,
    flags: Vec<String>,
    program: Command,
    traced: bool,
    lives: Mutex<Vec<Arc<Life>>>,
    /// How many are stopped now, and how often one was let go on.
    stopped: AtomicU64,
    continued: AtomicU64,
    /// What those said that have ended.
    said: Mutex<Vec<String>>,
}

impl Fleet {
    /// For servers on this directory, with these flags.
    pub fn new(data: Arc<TempDir>, flags: &[&str], program: Command, traced: bool) -> Self {
        // Where a killed one listened, another test's server may listen a moment later; but not at this address.
        let bytes = uuid::Uuid::new_v4().into_bytes();
        let [a, b, c] = [bytes[0], bytes[1], bytes[2]].map(|byte| byte % 254 + 1);
        Self {
            data,
            host: Ipv4Addr::new(127, a, b, c),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            program,
            traced,
            lives: Mutex::default(),
            stopped: AtomicU64::new(0),
            continued: AtomicU64::new(0),
            said: Mutex::default(),
        }
    }

    /// One that listens here, and is no process of ours.
    pub fn pretend(&self, address: SocketAddr) {
        self.lives.lock().unwrap().push(Arc::new(Life {
            slot: 0,
            address,
            over: AtomicBool::new(false),
            syncs: Syncs::Plain,
        }));
    }

    /// The present process of this server, which may be dead by now.
    pub fn life(&self, slot: usize) -> Arc<Life> {
        Arc::clone(&self.lives.lock().unwrap()[slot])
    }

    /// The lines that ended processes have said.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// A moment, for [`Fleet::was_stopped_since`].
    pub fn moment(&self) -> u64 {
        self.continued.load(Ordering::SeqCst)
    }

    /// Whether a process was stopped, and may have held a lock, since then.
    pub fn was_stopped_since(&self, moment: u64) -> bool {
        self.stopped.load(Ordering::SeqCst) > 0 || self.moment() != moment
    }

    /// Starts a process; as it should be, where nothing more is to happen to it.
    pub fn start(&self, slot: usize, dice: &mut Dice, calm: bool) -> (Server, Arc<Life>) {
        let syncs = match slot == FAULTY && self.traced && !calm {
            true => [Syncs::Slow, Syncs::Slow, Syncs::Late, Syncs::Failing][dice.below(4) as usize],
            false => Syncs::Plain,
        };
        let mut command = Command::new("env");
        // The log of an hour would fill this process's memory.
        command.arg("RUST_LOG=warn");
        command.args(inject(syncs, dice));
        command.arg(self.program.get_program());
        for (name, value) in self.program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let server = Server::launch_at(self.host, command, Arc::clone(&self.data), &flags);
        let life = Arc::new(Life {
            slot,
            address: server.address(),
            over: AtomicBool::new(false),
            syncs,
        });
        let mut lives = self.lives.lock().unwrap();
        match lives.get_mut(slot) {
            Some(before) => *before = Arc::clone(&life),
            None => lives.push(Arc::clone(&life)),
        }
        (server, life)
    }

    /// Kills it, or tells it to end.
    fn end(&self, stage: &Stage, mut server: Server, life: &Life, kindly: bool) {
        life.over.store(true, Ordering::SeqCst);
        if kindly {
            server.terminate();
            match server.ended_within(Duration::from_secs(60)) {
                Some(status) if status.code() == Some(0) => stage.verdict.count("stops", 1),
                other => stage.verdict.hear(
                    "a stop that is none",
                    format!("told to end, server {} came to {other:?}", life.slot),
                ),
            }
        } else {
            stage.verdict.count("kills", 1);
        }
        server.kill();
        let mut said = self.said.lock().unwrap();
        let noted = server
            .said()
            .into_iter()
            .filter(|line| !line.contains(" serves "));
        said.extend(noted.map(|line| format!("server {}: {line}", life.slot)));
    }

    /// One server: lives, is stopped, is killed, is started again, until all is over. Then there is one more, for those who
    /// look at everything.
    pub fn live_and_die(
        &self,
        stage: &Stage,
        slot: usize,
        first: (Server, Arc<Life>),
    ) -> (Server, Arc<Life>) {
        let mut dice = Dice::of(stage.plan.seed, &format!("server {slot}"));
        let (mut server, mut life) = first;
        let mut start = Duration::ZERO;
        loop {
            // On a busy machine, where it starts late, it lives longer too: otherwise no request would come to its end.
            let until = Instant::now() + dice.milliseconds(300, 6000) + 4 * start;
            while Instant::now() < until && !stage.is_over() {
                stage.sleep(dice.milliseconds(50, 1500).min(until - Instant::now()));
                if dice.once_in(4) && !stage.is_over() {
                    self.stop_and_go_on(stage, &server, &mut dice);
                }
            }
            let last = stage.is_over();
            self.end(stage, server, &life, last || dice.once_in(5));
            if last {
                return self.start(slot, &mut dice, true);
            }
            std::thread::sleep(dice.milliseconds(0, 300));
            let since = Instant::now();
            (server, life) = self.start(slot, &mut dice, false);
            start = since.elapsed();
        }
    }

    /// SIGSTOP, and SIGCONT after a while: now and then longer than anybody waits for a lock.
    fn stop_and_go_on(&self, stage: &Stage, server: &Server, dice: &mut Dice) {
        let (long, short) = (
            dice.milliseconds(10_500, 13_000),
            dice.milliseconds(1, 1500),
        );
        let while_ = match dice.once_in(12) {
            true => long,
            false => short,
        };
        self.stopped.fetch_add(1, Ordering::SeqCst);
        server.signal(Signal::STOP);
        stage.sleep(while_);
        server.signal(Signal::CONT);
        self.continued.fetch_add(1, Ordering::SeqCst);
        self.stopped.fetch_sub(1, Ordering::SeqCst);
        stage.verdict.count("pauses", 1);
    }
}
