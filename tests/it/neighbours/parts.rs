use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::mallory::connect_from;
use crate::kit::{Connection, Device, ROOT, Server, transaction_id, transaction_json, user_id};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What is said of who has the whole part.
const THIS_USER: &str = "this user has the part";
const THIS_ADDRESS: &str = "this address has the part";

/// Long enough for any of it, also on a busy box. A body that is refused is read on for 5 s.
const BY_THEN: Duration = Duration::from_secs(30);

/// Requests that have begun.
struct Crowd(Vec<TcpStream>);

impl Crowd {
    /// So many of the same, from this address: the head and the body, or what is sent of it.
    fn begin(server: &Server, from: Ipv4Addr, many: usize, head: &str, body: &[u8]) -> Self {
        let request = format!("{head}\r\nhost: x\r\n\r\n");
        let begun = (0..many).map(|_| {
            let mut stream = connect_from(from, server.address()).expect("it listens");
            stream.write_all(request.as_bytes()).expect("it is read");
            stream.write_all(body).expect("it is read");
            stream
        });
        Self(begun.collect())
    }

    fn push(server: &Server, from: Ipv4Addr, user: &str, many: usize) -> Self {
        let head = format!(
            "POST /0.1/{}/bundle HTTP/1.1\r\ncontent-length: 1000000",
            user_id(user)
        );
        Self::begin(server, from, many, &head, b"c")
    }

    fn wait(server: &Server, from: Ipv4Addr, user: &str, many: usize) -> Self {
        let head = format!(
            "GET /0.1/{}/head?wait=300 HTTP/1.1\r\nif-none-match: \"{ROOT}\"",
            user_id(user)
        );
        Self::begin(server, from, many, &head, b"")
    }

    /// A transaction as long as may be, but for the last byte.
    fn put(server: &Server, from: Ipv4Addr, user: &str, many: usize) -> Self {
        let length = 16 << 20;
        let head = format!(
            "PUT /0.1/{}/transactions/{} HTTP/1.1\r\ncontent-length: {length}",
            user_id(user),
            transaction_id("half sent")
        );
        Self::begin(server, from, many, &head, &vec![b' '; length - 1])
    }

    fn answered(&self) -> usize {
        let is_answered = |stream: &&TcpStream| {
            stream.set_nonblocking(true).unwrap();
            let answered = stream.peek(&mut [0]).is_ok();
            stream.set_nonblocking(false).unwrap();
            answered
        };
        self.0.iter().filter(is_answered).count()
    }

    /// So many of them are refused because of this, and the others are under way.
    #[track_caller]
    fn refused(self, many: usize, why: &str) -> Self {
        let since = Instant::now();
        while self.answered() < many {
            assert!(since.elapsed() < BY_THEN, "{} answered", self.answered());
            sleep(Duration::from_millis(20));
        }
        // Those that are under way have got so far: another one would be answered by now, too.
        sleep(Duration::from_millis(300));
        assert_eq!(self.answered(), many);
        let mut under_way = Vec::new();
        for stream in self.0 {
            stream.set_nonblocking(true).unwrap();
            let answered = stream.peek(&mut [0]).is_ok();
            stream.set_nonblocking(false).unwrap();
            if answered {
                is_busy(&mut Connection::over(stream), why);
            } else {
                under_way.push(stream);
            }
        }
        Self(under_way)
    }

    #[track_caller]
    fn under_way(self) -> Self {
        self.refused(0, "")
    }
}

#[track_caller]
fn is_busy(connection: &mut Connection, why: &str) {
    let answer = connection.answer("GET").expect("an answer");
    let answer = answer.expect_refusal(503, "busy");
    assert!(answer.text().contains(why), "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("1"));
}

/// An empty bundle, which is taken in at once.
#[track_caller]
fn pushes(device: &mut Device) {
    let path = device.path("bundle");
    let answer = (device.client).request("POST", &path, &[], Some(&[0; 1024]));
    answer.expect(200);
}

#[test]
fn a_user_has_a_quarter_of_the_pushes_and_an_address_three() {
    let server = Server::start();
    let mallory = Crowd::push(&server, THERE, "mallory", 9).refused(1, THIS_USER);
    let _others: Vec<Crowd> = ["eve", "max"]
        .map(|user| Crowd::push(&server, THERE, user, 8).under_way())
        .into();
    Crowd::push(&server, THERE, "ada", 1).refused(1, THIS_ADDRESS);
    Crowd::push(&server, HERE, "mallory", 1).refused(1, THIS_USER);
    let mut bob = server.device("bob");
    pushes(&mut bob);
    let elsewhere = Crowd::push(&server, HERE, "bob", 8).under_way();
    Crowd::push(&server, HERE, "ada", 1).refused(1, "all of it is taken");

    // What is given up is there for others.
    drop((mallory, elsewhere));
    Crowd::push(&server, THERE, "ada", 8).under_way();
    Crowd::push(&server, HERE, "mallory", 8).under_way();
}

#[test]
fn a_user_has_half_of_the_places_to_wait_in_and_an_address_three_quarters() {
    let server = Server::with(&["--max-waiters", "8"]);
    let mallory = Crowd::wait(&server, THERE, "mallory", 5).refused(1, THIS_USER);
    let _eve = Crowd::wait(&server, THERE, "eve", 3).refused(1, THIS_ADDRESS);
    Crowd::wait(&server, HERE, "mallory", 1).refused(1, THIS_USER);
    let events = format!("GET /0.1/{}/events HTTP/1.1", user_id("mallory"));
    Crowd::begin(&server, HERE, 1, &events, b"").refused(1, THIS_USER);
    Crowd::wait(&server, HERE, "bob", 2).under_way();
    drop(mallory);
    // That a client is gone is noticed in a moment.
    let since = Instant::now();
    loop {
        let again = Crowd::wait(&server, THERE, "mallory", 4);
        sleep(Duration::from_secs(1));
        if again.answered() == 0 {
            break;
        }
        assert!(since.elapsed() < BY_THEN, "the places are lost");
        drop(again);
        sleep(Duration::from_secs(3));
    }
}

#[test]
fn a_user_has_half_of_the_room_for_large_bodies_and_an_address_three_quarters() {
    let server = Server::start();
    let large = |name: &str| {
        let spaces = format!("{{{}", " ".repeat(15 << 20));
        let body = transaction_json(ROOT, &[]).replacen('{', &spaces, 1);
        (format!("transactions/{}", transaction_id(name)), body)
    };
    let _mallory = Crowd::put(&server, THERE, "mallory", 2).under_way();
    let mut device = server.device("mallory");
    let (path, body) = large("of mallory");
    let refused = device.put(&path, &body).expect_refusal(503, "busy");
    assert!(refused.text().contains(THIS_USER), "{}", refused.text());
    device
        .put_transaction(&transaction_id("small"), ROOT, &[])
        .expect(201);

    let _eve = Crowd::put(&server, THERE, "eve", 1).under_way();
    Crowd::put(&server, THERE, "ada", 1).refused(1, THIS_ADDRESS);
    let (path, body) = large("of bob");
    server.device("bob").put(&path, &body).expect(201);
}

#[test]
fn an_address_has_three_quarters_of_the_connections_and_is_told_so_beyond() {
    let server = Server::with(&["--max-connections", "16"]);
    let ask = "GET /__lbheartbeat__ HTTP/1.1\r\nhost: x\r\n\r\n";
    let connect = || {
        let stream = connect_from(THERE, server.address()).expect("it listens");
        let mut connection = Connection::over(stream);
        connection.send(ask).unwrap();
        connection
    };
    let mut idle: Vec<Connection> = (0..12).map(|_| connect()).collect();
    for connection in &mut idle {
        connection.answer("GET").unwrap().expect(200);
    }
    for _ in 0..100 {
        let mut refused = connect();
        is_busy(&mut refused, THIS_ADDRESS);
        assert!(refused.is_closed().unwrap_or(true));
    }
    // Whoever is refused has none, and others have.
    let devices: Vec<Device> = (0..4)
        .map(|_| {
            let mut device = server.device("bob");
            device.get("head").expect(200);
            device
        })
        .collect();
    drop(devices);
    // And so has it again when it closes one.
    idle.pop();
    let since = Instant::now();
    while connect()
        .answer("GET")
        .is_ok_and(|answer| answer.status == 503)
    {
        assert!(since.elapsed() < BY_THEN, "the place is lost");
        sleep(Duration::from_millis(50));
    }
    for connection in &mut idle {
        connection.send(ask).unwrap();
        connection.answer("GET").unwrap().expect(200);
    }
}

#[test]
fn over_a_socket_in_the_file_system_there_is_no_address_and_a_user_has_a_part_even_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listen = format!("unix:{}", path.display());
    let flags = ["--max-connections", "16", "--max-waiters", "4"];
    let server = Server::with(&[&["--listen", &listen][..], &flags].concat());
    let ask = |target: &str| {
        let mut stream = UnixStream::connect(&path).unwrap();
        let request =
            format!("GET {target} HTTP/1.1\r\nhost: x\r\nif-none-match: \"{ROOT}\"\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let status = |stream: &mut UnixStream| {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[9..]).into_owned()
    };
    let mut idle: Vec<UnixStream> = (0..15).map(|_| ask("/__lbheartbeat__")).collect();
    for stream in &mut idle {
        assert_eq!(status(stream), "200");
    }
    idle.truncate(4);
    let events = format!("/0.1/{}/events", user_id("mallory"));
    let mut waits = [ask(&events), ask(&events)];
    for stream in &mut waits {
        assert_eq!(status(stream), "200");
    }
    assert_eq!(status(&mut ask(&events)), "503");
    let other = format!("/0.1/{}/events", user_id("bob"));
    assert_eq!(status(&mut ask(&other)), "200");
    drop(server);
}

#[test]
fn a_limit_of_one_is_a_place_for_whoever_comes() {
    let server = Server::with(&["--max-connections", "1", "--max-waiters", "1"]);
    let mut device = server.device("ada");
    device.commit(&transaction_id("first"), ROOT, &[]);
    pushes(&mut device);
    let held = format!("\"{}\"", transaction_id("first"));
    let held = [("if-none-match", held.as_str())];
    device.get_with("head?wait=1", &held).expect(304);
}
