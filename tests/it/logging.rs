use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use crate::kit::{Client, address_in, binary};

/// A server whose log nobody reads until its stderr is taken.
struct Unread {
    child: Child,
    client: Client,
    _data: tempfile::TempDir,
}

impl Unread {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = binary()
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path().join("data"))
            .env("RUST_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let client = Client::new(address_in(line.trim_end()).expect("a start-up line"));
        Self {
            child,
            client,
            _data: data,
        }
    }

    fn stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().unwrap()
    }

    /// SIGTERM; how long it takes to end.
    fn terminate(&mut self) -> Duration {
        let pid = rustix::process::Pid::from_child(&self.child);
        let since = Instant::now();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        since.elapsed()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// More than a pipe and the queue hold together, at some 100 bytes a line.
const MANY: usize = 20_000;

#[test]
fn a_log_that_nobody_reads_holds_up_no_request_and_what_is_dropped_is_counted() {
    let mut server = Unread::start();
    let mut stderr = server.stderr();
    for _ in 0..MANY {
        server.client.get("/__version__").expect(200);
    }
    server.client.get("/__heartbeat__").expect(200);
    // Now somebody reads: every request has a line or is counted, and new ones are told again.
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        said
    });
    std::thread::sleep(Duration::from_millis(500));
    server.client.get("/__lbheartbeat__").expect(200);
    server.terminate();
    let said = reader.join().unwrap();
    let lines = said
        .lines()
        .filter(|line| line.contains(" access "))
        .count();
    let dropped: usize = said
        .lines()
        .filter_map(|line| {
            line.split_once(" WARN  log ")?
                .1
                .split(' ')
                .next()?
                .parse::<usize>()
                .ok()
        })
        .sum();
    assert!(dropped > 0, "the test is to fill the queue");
    assert_eq!(lines + dropped, MANY + 2);
    assert!(said.contains("/__lbheartbeat__"));
    assert!(said.lines().last().unwrap().ends_with("stopped"));
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_end() {
    let mut server = Unread::start();
    for _ in 0..2_000 {
        server.client.get("/__version__").expect(200);
    }
    assert!(server.terminate() < Duration::from_secs(10));
}

#[test]
fn a_log_whose_reader_went_away_holds_up_nothing() {
    let mut server = Unread::start();
    drop(server.stderr());
    for _ in 0..100 {
        server.client.get("/__version__").expect(200);
    }
    assert!(server.terminate() < Duration::from_secs(10));
}
