use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::{Connection, Device, ROOT, Server, transaction_id, user_id};

/// How late news of another process may be (an advance is told within 100 ms); the machine that runs
/// the tests is busy with others too.
const SOON: Duration = Duration::from_millis(1500);

/// What a stream of events has brought so far.
pub struct Stream {
    stream: TcpStream,
    text: String,
}

impl Stream {
    pub fn open(address: SocketAddr, user: &str, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let user = user_id(user);
        let last = last.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        let request = format!("GET /0.1/{user}/events HTTP/1.1\r\nHost: x\r\n{last}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let text = String::new();
        let mut stream = Self { stream, text };
        stream.until("\r\n\r\n");
        assert!(stream.text.starts_with("HTTP/1.1 200"), "{}", stream.text);
        let headers = stream.text.to_lowercase();
        assert!(headers.contains("content-type: text/event-stream"));
        assert!(headers.contains("cache-control: no-store"));
        stream
    }

    /// Reads until this stands in what has come; fails at the end of the stream.
    pub fn until(&mut self, text: &str) -> &str {
        let mut buffer = [0; 4096];
        while !self.text.contains(text) {
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the stream ended: {}", self.text);
            self.text += std::str::from_utf8(&buffer[..read]).unwrap();
        }
        &self.text
    }

    /// The same; says whether it came before the end of the stream.
    pub fn try_until(&mut self, text: &str) -> bool {
        let mut buffer = [0; 4096];
        while !self.text.contains(text) {
            // The end of the stream is not that of the connection.
            if self.text.ends_with("\r\n0\r\n\r\n") {
                return false;
            }
            match self.stream.read(&mut buffer) {
                Ok(read) if read > 0 => {
                    self.text += std::str::from_utf8(&buffer[..read]).unwrap();
                }
                _ => return false,
            }
        }
        true
    }

    /// Reads what comes next, if anything does within a moment; all that has come so far.
    pub fn more(&mut self) -> &str {
        let moment = Duration::from_millis(200);
        self.stream.set_read_timeout(Some(moment)).unwrap();
        let mut buffer = [0; 4096];
        if let Ok(read) = self.stream.read(&mut buffer) {
            self.text += std::str::from_utf8(&buffer[..read]).unwrap();
        }
        &self.text
    }

    /// Reads until the stream ends.
    pub fn ends(mut self) -> String {
        let mut rest = String::new();
        let _ = self.stream.read_to_string(&mut rest);
        self.text + &rest
    }
}

pub fn event(id: &str, seq: u64) -> String {
    format!("id: {id}\ndata: {{\"head\":\"{id}\",\"seq\":{seq}}}\n\n")
}

/// Waits on a thread of its own for another head than this one; says what it was and when it came.
fn waits(server: &Server, held: &str, seconds: u64) -> thread::JoinHandle<(u16, String, Instant)> {
    let mut device = server.device("ada");
    let tag = format!("\"{held}\"");
    thread::spawn(move || {
        let path = format!("head?wait={seconds}");
        let answer = device.get_with(&path, &[("If-None-Match", &tag)]);
        let head = match answer.status {
            200 => answer.json()["head"].as_str().unwrap().to_owned(),
            _ => String::new(),
        };
        (answer.status, head, Instant::now())
    })
}

/// Everybody who was started has asked and waits.
fn settle() {
    thread::sleep(Duration::from_millis(300));
}

#[test]
fn whoever_waits_is_answered_as_soon_as_the_head_is_another_one() {
    let server = Server::start();
    let other = server.another();
    let mut ada = server.device("ada");
    let first = transaction_id("first");
    // A user without a folder, then one with.
    for (writer, from, to) in [(&server, ROOT, "first"), (&other, &first, "second")] {
        let to = transaction_id(to);
        let waiting = [waits(&server, from, 60), waits(&other, from, 60)];
        settle();
        let mut writer: Device = writer.device("ada");
        writer.put_transaction(&to, from, &[]).expect(201);
        assert!(waiting.iter().all(|waiter| !waiter.is_finished()));
        writer.put_head(&to).expect(204);
        let moved = Instant::now();
        for waiter in waiting {
            let (status, head, came) = waiter.join().unwrap();
            assert_eq!((status, head), (200, to.clone()));
            assert!(came.saturating_duration_since(moved) < SOON);
        }
    }
    // Whoever has an old head, or none, has nothing to wait for.
    let started = Instant::now();
    assert_eq!(ada.get_with("head?wait=60", &[]).status, 200);
    let tag = format!("\"{first}\"");
    let answer = ada.get_with("head?wait=60", &[("If-None-Match", &tag)]);
    assert_eq!(answer.json()["seq"], 2);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_wait_ends_with_304_when_the_time_is_up() {
    let server = Server::start();
    let started = Instant::now();
    let (status, _, _) = waits(&server, ROOT, 1).join().unwrap();
    assert_eq!(status, 304);
    assert!(started.elapsed() >= Duration::from_secs(1));
    for bad in ["301", "-1", "x", "1&wait=1"] {
        let mut ada = server.device("ada");
        ada.get(&format!("head?wait={bad}"))
            .expect_refusal(400, "bad-query");
    }
}

#[test]
fn events_tell_the_head_and_then_each_advance() {
    let server = Server::start();
    let other = server.another();
    let mut events = Stream::open(server.address(), "ada", None);
    events.until(&event(ROOT, 0));
    let [first, second] = ["first", "second"].map(transaction_id);
    server.device("ada").commit(&first, ROOT, &[]);
    events.until(&event(&first, 1));
    other.device("ada").commit(&second, &first, &[]);
    let moved = Instant::now();
    events.until(&event(&second, 2));
    assert!(moved.elapsed() < SOON);

    // Whoever was told of the head is told of the next one only.
    let mut again = Stream::open(server.address(), "ada", Some(&second));
    let mut behind = Stream::open(server.address(), "ada", Some(&first));
    behind.until(&event(&second, 2));
    let third = transaction_id("third");
    server.device("ada").commit(&third, &second, &[]);
    assert!(!again.until(&event(&third, 3)).contains(&event(&second, 2)));
}

#[test]
fn the_head_of_a_stream_of_events_tells_no_length() {
    let server = Server::start();
    let mut device = server.device("ada");
    let path = device.path("events");
    let head = device.client.request("HEAD", &path, &[], None).expect(200);
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("content-length"), None, "RFC 9110, 8.6");
    // The connection is still in step.
    assert_eq!(device.head(), (ROOT.to_owned(), 0));
}

#[test]
#[ignore = "full effort: a sign of life takes its time"]
fn a_silent_stream_shows_that_it_is_alive() {
    let server = Server::start();
    let mut events = Stream::open(server.address(), "ada", None);
    events.until(&event(ROOT, 0));
    let started = Instant::now();
    events.until("\n:\n\n");
    assert!(started.elapsed() > Duration::from_secs(15));
}

#[test]
fn waiters_go_along_with_a_user_who_is_deleted_and_comes_again() {
    let server = Server::with(&["--allow-delete"]);
    let first = transaction_id("first");
    server.device("ada").commit(&first, ROOT, &[]);
    let mut events = Stream::open(server.address(), "ada", None);
    events.until(&event(&first, 1));
    let user = user_id("ada");
    let deleted = server
        .client()
        .request("DELETE", &format!("/0.1/{user}/"), &[], None);
    deleted.expect(204);
    events.until(&event(ROOT, 0));
    let second = transaction_id("second");
    server.device("ada").commit(&second, ROOT, &[]);
    events.until(&event(&second, 1));
}

#[test]
fn those_who_wait_end_with_the_server() {
    let mut server = Server::start();
    let waiter = waits(&server, ROOT, 200);
    let mut events = Stream::open(server.address(), "ada", None);
    events.until(&event(ROOT, 0));
    settle();
    server.terminate();
    let status = server.ended_within(Duration::from_secs(20)).unwrap();
    assert!(status.success());
    assert_eq!(waiter.join().unwrap().0, 304);
    assert!(events.ends().ends_with("0\r\n\r\n"), "an end, not a break");
}

#[test]
#[ignore = "full effort: a sign of life takes its time"]
fn so_many_may_wait_and_no_more() {
    let server = Server::with(&["--max-waiters", "2"]);
    let one = Stream::open(server.address(), "ada", None);
    let _two = Stream::open(server.address(), "bob", None);
    let mut ada = server.device("ada");
    let busy = ada.get("events").expect_refusal(503, "busy");
    assert!(busy.header("retry-after").is_some());
    let held = [("If-None-Match", format!("\"{ROOT}\""))];
    let held = held.each_ref().map(|(name, value)| (*name, value.as_str()));
    ada.get_with("head?wait=60", &held)
        .expect_refusal(503, "busy");
    // Without waiting it is answered, and a place that is given up is free: at the latest when two
    // signs of life found nobody.
    ada.get_with("head", &held).expect(304);
    drop(one);
    let started = Instant::now();
    while ada.get_with("head?wait=1", &held).status != 304 {
        assert!(started.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(50));
    }
}

/// The bound of 160 MiB for 10,000, for a tenth of them: 16 KiB each, and no thread.
#[test]
fn an_idle_waiter_costs_little_memory_and_no_thread() {
    let server = Server::start();
    server
        .device("ada")
        .commit(&transaction_id("first"), ROOT, &[]);
    let threads = |server: &Server| {
        std::fs::read_dir(format!("/proc/{}/task", server.pid()))
            .unwrap()
            .count()
    };
    // What a debug build of everything that is used once costs is not the waiters'.
    let mut streams = vec![];
    let mut open = |count: usize| {
        for _ in 0..count {
            streams.push(Stream::open(server.address(), "ada", None));
        }
    };
    open(50);
    let before = (server.memory("VmRSS"), threads(&server));
    open(950);
    let each = (server.memory("VmRSS") - before.0) / 950;
    assert!(each < 16 * 1024, "{each} bytes a waiter");
    let most = 2 + 2 * 64 + before.1;
    assert!(threads(&server) < most, "{} threads", threads(&server));
}

/// Waits for another head than the root, having said that nothing more will be said.
fn half_closed(server: &Server, path: &str) -> Connection {
    let mut connection = Connection::open(server.address()).unwrap();
    let path = server.device("ada").path(path);
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nif-none-match: \"{ROOT}\"\r\n\r\n");
    connection.send(request).unwrap();
    connection.finish_sending().unwrap();
    connection
}

#[test]
fn whoever_has_said_all_waits_as_any_other() {
    let server = Server::start();
    let mut waiter = half_closed(&server, "head?wait=60");
    let mut in_vain = half_closed(&server, "head?wait=3");
    let mut events = Stream::open(server.address(), "ada", None);
    events.stream.shutdown(Shutdown::Write).unwrap();
    let since = Instant::now();
    in_vain.answer("GET").unwrap().expect(304);
    assert!(since.elapsed() > Duration::from_millis(2500));
    let first = transaction_id("first");
    let moved = Instant::now();
    server.device("ada").commit(&first, ROOT, &[]);
    let answer = waiter.answer("GET").unwrap().expect(200);
    assert_eq!(answer.json()["head"], first);
    assert!(moved.elapsed() < SOON);
    assert!(waiter.is_closed().unwrap());
    events.until(&event(&first, 1));
    // It was looked at meanwhile, and nothing of that is in the stream.
    let (_, pieces) = events.text.split_once("\r\n\r\n").unwrap();
    assert!(!pieces.contains('H'), "{pieces:?}");
    assert!(server.stop().success());
    assert!(events.ends().ends_with("0\r\n\r\n"), "an end, not a break");
}

#[test]
fn whoever_is_gone_does_not_wait() {
    // With all said before, with something said that nobody has asked for yet, and while the server waits.
    for (half_first, more) in [(true, ""), (false, ""), (false, "GET"), (true, "GET")] {
        let server = Server::with(&["--max-waiters", "1"]);
        let path = server.device("ada").path("head?wait=300");
        let mut gone = Connection::open(server.address()).unwrap();
        let held = format!("\"{ROOT}\"");
        gone.send(format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nif-none-match: {held}\r\n\r\n{more}"
        ))
        .unwrap();
        if half_first {
            gone.finish_sending().unwrap();
        }
        settle();
        let mut ada = server.device("ada");
        let held = [("If-None-Match", held.as_str())];
        ada.get_with("head?wait=1", &held)
            .expect_refusal(503, "busy");
        drop(gone);
        let since = Instant::now();
        while ada.get_with("head?wait=1", &held).status != 304 {
            assert!(
                since.elapsed() < Duration::from_secs(15),
                "{half_first} {more}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}
