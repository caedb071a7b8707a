//! Server processes, and one user's devices that talk to them.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::http::{Answer, Client};
use super::ids::{Chunk, transaction_json, user_id};

/// A process that has not started or ended by then has failed the test. A copy of a store syncs a whole
/// file system, and waits there for whatever else the machine writes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The binary under test, with no setting of ours or the caller's in its environment.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mentat-sync"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MENTAT_SYNC_") {
            command.env_remove(name);
        }
    }
    command
}

/// What a process that has ended left: its exit status and what it said.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end, which must come in time.
#[track_caller]
pub fn run_with_deadline(command: &mut Command) -> Finished {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let stdout = read_aside(child.stdout.take().expect("stdout is piped"));
    let stderr = read_aside(child.stderr.take().expect("stderr is piped"));
    let status = wait(&mut child, PATIENCE);
    if status.is_none() {
        child.kill().expect("a running child can be killed");
        child.wait().expect("a killed child ends");
    }
    let [stdout, stderr] = [stdout, stderr].map(|thread| thread.join().expect("reading a pipe"));
    let status =
        status.unwrap_or_else(|| panic!("{command:?} does not end: {stdout:?} {stderr:?}"));
    Finished {
        code: status.code(),
        stdout,
        stderr,
    }
}

fn read_aside(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut said = String::new();
        pipe.read_to_string(&mut said).expect("the output is text");
        said
    })
}

fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The address in a start-up line, `mentat-sync 0.1.0 serves DIR at http://127.0.0.1:PORT`, or https.
pub fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, line) = line.split_once(" serves ")?;
    let (_, address) = line.split_once(" at ")?;
    let (_, address) = address.split_once("://")?;
    address.split([' ', '/', ',']).next()?.parse().ok()
}

/// Lines that a process has said so far.
#[derive(Default)]
struct Said {
    lines: Mutex<(Vec<String>, usize)>,
    more: Condvar,
}

impl Said {
    fn gather(self: &Arc<Self>, pipe: impl Read + Send + 'static) {
        let said = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let Ok(line) = line else { break };
                said.lines.lock().unwrap().0.push(line);
                said.more.notify_all();
            }
            said.lines.lock().unwrap().1 += 1;
            said.more.notify_all();
        });
    }

    /// Waits until a line satisfies `find` or both pipes are at their end.
    fn wait_for<T>(&self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = self.lines.lock().unwrap();
        loop {
            if let Some(found) = said.0.iter().find_map(|line| find(line)) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if said.1 == 2 || left.is_zero() {
                return None;
            }
            said = self.more.wait_timeout(said, left).unwrap().0;
        }
    }
}

/// A `mentat-sync serve` process on loopback, at a port that the system chose. Dropped, it is killed.
pub struct Server {
    child: Child,
    data: Arc<TempDir>,
    flags: Vec<String>,
    said: Arc<Said>,
    host: Ipv4Addr,
    address: SocketAddr,
}

impl Server {
    /// Serves a fresh directory.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Serves a fresh directory, with these flags.
    #[track_caller]
    pub fn with(flags: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        Self::on(Arc::new(data), flags)
    }

    /// Serves this directory, with these flags.
    #[track_caller]
    pub fn on(data: Arc<TempDir>, flags: &[&str]) -> Self {
        Self::launch(binary(), data, flags)
    }

    /// Serves this directory through a command that ends by running the binary with what it is
    /// given as arguments.
    #[track_caller]
    pub fn launch(command: Command, data: Arc<TempDir>, flags: &[&str]) -> Self {
        Self::launch_at(Ipv4Addr::LOCALHOST, command, data, flags)
    }

    /// The same, at this loopback address, where those that come after it listen, too.
    #[track_caller]
    pub fn launch_at(
        host: Ipv4Addr,
        mut command: Command,
        data: Arc<TempDir>,
        flags: &[&str],
    ) -> Self {
        command
            .args(["serve", "--listen", &format!("{host}:0"), "--data"])
            .arg(data.path().join("data"))
            .args(flags)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let said = Arc::new(Said::default());
        said.gather(child.stdout.take().expect("stdout is piped"));
        said.gather(child.stderr.take().expect("stderr is piped"));
        let Some(address) = said.wait_for(address_in) else {
            child.kill().ok();
            panic!(
                "no start-up line, but {:?}, {:?}",
                said.lines.lock().unwrap().0,
                child.wait()
            );
        };
        Self {
            child,
            data,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            said,
            host,
            address,
        }
    }

    /// Another process on the same directory, with the same flags.
    #[track_caller]
    pub fn another(&self) -> Self {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        Self::launch_at(self.host, binary(), Arc::clone(&self.data), &flags)
    }

    /// Ends with SIGTERM, and starts again on the same directory.
    #[track_caller]
    pub fn restart(self) -> Self {
        let (data, flags) = (Arc::clone(&self.data), self.flags.clone());
        assert_eq!(self.stop().code(), Some(0));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Self::on(data, &flags)
    }

    /// Dies as by `kill -9`, and starts again on the same directory.
    #[track_caller]
    pub fn crash(mut self) -> Self {
        self.kill();
        self.another()
    }

    /// Dies as by `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("a running child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// This signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("a running child takes signals");
    }

    /// Ends with SIGTERM; how it ended.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        self.terminate();
        self.ended()
    }

    /// How it ends, by itself and in time.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        match wait(&mut self.child, PATIENCE) {
            Some(status) => status,
            None => panic!("the server does not end"),
        }
    }

    /// How it ends, if it does so by itself in this time.
    pub fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        wait(&mut self.child, patience)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new client of it.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A new device of the user of this name.
    pub fn device(&self, user: &str) -> Device {
        Device::new(self.address, &user_id(user))
    }

    /// The directory that it serves.
    pub fn data(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// That directory's keeper, for another server on it.
    pub fn keeper(&self) -> Arc<TempDir> {
        Arc::clone(&self.data)
    }

    /// A user's folder in it.
    pub fn folder(&self, user: &str) -> PathBuf {
        self.data().join("users").join(user_id(user))
    }

    /// What it has printed so far.
    pub fn said(&self) -> Vec<String> {
        self.said.lines.lock().unwrap().0.clone()
    }

    /// Waits until it has printed a line for which `find` is true.
    #[track_caller]
    pub fn has_said(&self, find: impl Fn(&str) -> bool) -> String {
        match self
            .said
            .wait_for(|line| find(line).then(|| line.to_owned()))
        {
            Some(line) => line,
            None => panic!("not among {:?}", self.said()),
        }
    }

    /// How many files, sockets included, the process has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .expect("a running child has descriptors")
            .count()
    }

    /// A field of `/proc/PID/status`, in bytes.
    pub fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("a running child has a status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .expect("the field is there");
        let kilobytes: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number of kB");
        kilobytes * 1024
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already: both fail then, and there is nothing left to do.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let said = self.said();
            for line in said.iter().filter(|line| !line.contains(" INFO ")) {
                eprintln!("server {}: {line}", self.address);
            }
        }
    }
}

/// One of a user's devices, on a connection of its own.
pub struct Device {
    pub client: Client,
    base: String,
}

impl Device {
    /// A device of this user (the id, not the name).
    pub fn new(address: SocketAddr, user: &str) -> Self {
        Self {
            client: Client::new(address),
            base: format!("/0.1/{user}"),
        }
    }

    /// The path of something of this user's.
    pub fn path(&self, rest: &str) -> String {
        format!("{}/{rest}", self.base)
    }

    #[track_caller]
    pub fn get(&mut self, rest: &str) -> Answer {
        let path = self.path(rest);
        self.client.get(&path)
    }

    #[track_caller]
    pub fn get_with(&mut self, rest: &str, headers: &[(&str, &str)]) -> Answer {
        let path = self.path(rest);
        self.client.get_with(&path, headers)
    }

    #[track_caller]
    pub fn put(&mut self, rest: &str, body: impl AsRef<[u8]>) -> Answer {
        let path = self.path(rest);
        self.client.put(&path, body)
    }

    #[track_caller]
    pub fn put_chunk(&mut self, chunk: &Chunk) -> Answer {
        self.put(&format!("chunks/{}", chunk.id), &chunk.bytes)
    }

    #[track_caller]
    pub fn put_transaction(&mut self, id: &str, parent: &str, chunks: &[&str]) -> Answer {
        self.put(
            &format!("transactions/{id}"),
            transaction_json(parent, chunks),
        )
    }

    #[track_caller]
    pub fn put_head(&mut self, id: &str) -> Answer {
        self.put("head", json!({ "head": id }).to_string())
    }

    /// HEAD and its number.
    #[track_caller]
    pub fn head(&mut self) -> (String, u64) {
        let head = self.get("head").expect(200).json();
        (
            head["head"].as_str().expect("head is text").to_owned(),
            head["seq"].as_u64().expect("seq is an integer"),
        )
    }

    /// The chain after `from`.
    #[track_caller]
    pub fn chain_after(&mut self, from: &str) -> Vec<String> {
        let listing = self
            .get(&format!("transactions?from={from}"))
            .expect(200)
            .json();
        listing["transactions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|id| id.as_str().expect("ids are text").to_owned())
            .collect()
    }

    /// Uploads a chunk, a transaction with it alone, and advances HEAD there. All must succeed.
    #[track_caller]
    pub fn commit(&mut self, id: &str, parent: &str, chunks: &[&Chunk]) {
        for chunk in chunks {
            self.put_chunk(chunk).expect(201);
        }
        let ids: Vec<&str> = chunks.iter().map(|chunk| chunk.id.as_str()).collect();
        self.put_transaction(id, parent, &ids).expect(201);
        self.put_head(id).expect(204);
    }
}
