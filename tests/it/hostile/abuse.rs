//! A thousand clients at a time that mean harm, each kind against a server of its own: it stays small, and
//! whoever is honest is served meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kit::{
    Chunk, Device, ROOT, Server, chunk, digest, effort, transaction_id, transaction_json, user_id,
};

/// The most memory that a server ever has had under any of this (VmHWM): 64 MiB for the bodies that are
/// gathered, and 256 KiB a connection, which are a thousand here.
const MOST_MEMORY: u64 = 320 << 20;

/// What an upload and its download by an honest client usually take at most; and ever, also on a box that
/// has other things to do than these tests.
const HONEST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// How many of those there are at least.
const ROUNDS: usize = 5;

/// Connections that an attack holds at a time.
const CONNECTIONS: usize = 1000;

/// How long each attack goes on.
fn a_while() -> Duration {
    Duration::from_secs(effort::either(1, 2))
}

/// What an attack is told.
struct Target<'a> {
    address: SocketAddr,
    large: &'a Chunk,
    over: &'a AtomicBool,
}

impl Target<'_> {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn path(&self, rest: &str) -> String {
        format!("/0.1/{}/{rest}", user_id("mallory"))
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream
            .set_write_timeout(Some(Duration::from_millis(200)))
            .expect("a socket");
        stream
    }

    /// As many connections as there are, each having said this.
    fn each_says(&self, said: &[u8]) -> Vec<TcpStream> {
        let streams = (0..CONNECTIONS).map(|_| {
            let mut stream = self.connect();
            // Some may be refused before they have said all.
            let _ = stream.write_all(said);
            stream
        });
        streams.collect()
    }

    /// Says this over all of them, again and again.
    fn drip(&self, streams: &mut [TcpStream], said: &[u8]) {
        while self.goes_on() {
            for stream in streams.iter_mut() {
                let _ = stream.write_all(said);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Says the head, and then this as long as it is taken; on a new connection when it is not.
    fn pour(&self, head: &str, said: &[u8]) {
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    while self.goes_on() {
                        let mut stream = self.connect();
                        let _ = stream.write_all(head.as_bytes());
                        while self.goes_on() && stream.write_all(said).is_ok() {}
                    }
                });
            }
        });
    }

    /// Asks this again and again, and is always answered with this status.
    fn ask(&self, request: &[u8], status: u16) {
        let asked = |_| {
            while self.goes_on() {
                let mut stream = self.connect();
                let _ = stream.set_write_timeout(None);
                let _ = stream.write_all(request);
                let mut answer = [0; 12];
                stream.read_exact(&mut answer).expect("an answer");
                let answer = String::from_utf8_lossy(&answer);
                assert_eq!(answer, format!("HTTP/1.1 {status}"));
            }
        };
        std::thread::scope(|scope| {
            for n in 0..4 {
                scope.spawn(move || asked(n));
            }
        });
    }

    fn request(&self, method: &str, rest: &str, headers: &str) -> String {
        format!(
            "{method} {} HTTP/1.1\r\nhost: x\r\n{headers}\r\n\r\n",
            self.path(rest)
        )
    }

    fn whole(&self, method: &str, rest: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let headers = format!(
            "{headers}connection: close\r\ncontent-length: {}",
            body.len()
        );
        [self.request(method, rest, &headers).as_bytes(), body].concat()
    }
}

fn hold(target: &Target<'_>) {
    while target.goes_on() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

const CHUNKED: &str = "transfer-encoding: chunked";

/// What is done to the servers.
const ATTACKS: &[(&str, fn(&Target<'_>))] = &[
    ("half-open connections", |target| {
        let _streams = target.each_says(b"");
        hold(target);
    }),
    ("heads that do not end", |target| {
        let mut streams = target.each_says(b"GET / HTTP/1.1\r\nhost: x\r\nx: ");
        target.drip(&mut streams, b"y");
    }),
    ("large heads that do not end", |target| {
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "y".repeat(120 << 10));
        let _streams = target.each_says(head.as_bytes());
        hold(target);
    }),
    ("heads without an end", |target| {
        target.pour("GET / HTTP/1.1\r\nhost: x\r\nx: ", &[b'y'; 65_536]);
    }),
    ("fields without an end", |target| {
        target.pour(
            "GET / HTTP/1.1\r\nhost: x\r\n",
            "x: y\r\n".repeat(5000).as_bytes(),
        );
    }),
    ("empty lines without an end", |target| {
        target.pour("", "\r\n".repeat(32_768).as_bytes());
    }),
    ("bodies that come a byte at a time", |target| {
        let path = format!("chunks/{}", digest(b"never whole"));
        let head = target.request("PUT", &path, "content-length: 1000000");
        let mut streams = target.each_says(head.as_bytes());
        target.drip(&mut streams, b"x");
    }),
    ("chunks that stop half-way", |target| {
        let path = format!("chunks/{}", digest(b"never whole"));
        let mut said = target
            .request("PUT", &path, "content-length: 1000000")
            .into_bytes();
        said.extend([b'x'; 300 << 10]);
        let mut streams = target.each_says(&said);
        target.drip(&mut streams, b"x");
    }),
    ("transactions that stop half-way", |target| {
        let path = format!("transactions/{}", transaction_id("never whole"));
        let mut said = target
            .request("PUT", &path, "content-length: 16000000")
            .into_bytes();
        said.extend(vec![b' '; 3 << 20]);
        let mut streams = target.each_says(&said);
        target.drip(&mut streams, b" ");
    }),
    ("large answers that nobody reads", |target| {
        let path = format!("chunks/{}", target.large.id);
        let _streams = target.each_says(target.request("GET", &path, "x: y").as_bytes());
        hold(target);
    }),
    ("a proposed head without an end", |target| {
        let piece = format!("10000\r\n{}\r\n", " ".repeat(65_536));
        target.pour(&target.request("PUT", "head", CHUNKED), piece.as_bytes());
    }),
    ("transactions without an end", |target| {
        let path = format!("transactions/{}", transaction_id("endless"));
        let piece = format!("10000\r\n{}\r\n", "[".repeat(65_536));
        target.pour(&target.request("PUT", &path, CHUNKED), piece.as_bytes());
    }),
    ("a line of a body's framing without an end", |target| {
        let head = target.request("PUT", "head", CHUNKED);
        target.pour(&format!("{head}1;"), &[b'x'; 65_536]);
    }),
    ("a trailer without an end", |target| {
        let head = target.request("PUT", "head", CHUNKED);
        target.pour(&format!("{head}0\r\n"), "x: y\r\n".repeat(5000).as_bytes());
    }),
    ("deep JSON", |target| {
        let path = format!("transactions/{}", transaction_id("deep"));
        let body = [br#"{"parent":"#.as_slice(), &[b'['; 1 << 20]].concat();
        target.ask(&target.whole("PUT", &path, "", &body), 400);
    }),
    ("a list of more ids than there may be", |target| {
        let body = json!(vec![digest(b"x"); 100_001]).to_string();
        target.ask(
            &target.whole("POST", "chunks/missing", "", body.as_bytes()),
            413,
        );
    }),
    ("a list of commas", |target| {
        let body = format!("[{}1]", "1,".repeat(3 << 20));
        target.ask(
            &target.whole("POST", "chunks/missing", "", body.as_bytes()),
            400,
        );
    }),
    ("a small body that unpacks to a large one", |target| {
        // The start of a gzip stream; nobody looks further.
        let body = [&b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"[..], &[0; 841]].concat();
        let path = format!("transactions/{}", transaction_id("packed"));
        for coding in ["gzip", "br", "zstd", "deflate"] {
            let headers = format!("content-encoding: {coding}\r\n");
            let request = target.whole("PUT", &path, &headers, &body);
            let mut stream = target.connect();
            stream.write_all(&request).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 415", "{coding}");
        }
        let request = target.whole("PUT", &path, "content-encoding: gzip\r\n", &body);
        target.ask(&request, 415);
    }),
];

/// This process, and the servers that it starts, may have thousands of connections open.
pub fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let enough = 8 * CONNECTIONS as u64;
    if limit.current.is_some_and(|current| current < enough) {
        let most = limit.maximum.unwrap_or(enough);
        let raised = Rlimit {
            current: Some(most.min(enough)),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised)
            .expect("the soft limit can be raised up to the hard one");
    }
}

/// How long each round of an honest client took, the shortest first: a chunk there and back, each time on a
/// new connection. A transaction with it is committed, too.
fn honest(server: &Server, over: &AtomicBool) -> Vec<Duration> {
    let (mut rounds, mut parent) = (Vec::new(), ROOT.to_owned());
    let end = Instant::now() + a_while();
    while Instant::now() < end || rounds.len() < ROUNDS {
        let since = Instant::now();
        let mut device: Device = server.device("ada");
        let bytes = chunk(format!("honest {}", rounds.len()));
        let id = transaction_id(&bytes.id);
        device.put_chunk(&bytes).expect(201);
        assert_eq!(
            device.get(&format!("chunks/{}", bytes.id)).expect(200).body,
            bytes.bytes
        );
        rounds.push(since.elapsed());
        device.commit(&id, &parent, &[&bytes]);
        assert_eq!(device.head().0, id);
        parent = id;
        std::thread::sleep(Duration::from_millis(50));
    }
    over.store(true, Ordering::Relaxed);
    rounds.sort();
    rounds
}

#[test]
fn a_thousand_hostile_clients_take_little_memory_and_no_service_from_others() {
    raise_limit();
    let only: String = effort::chosen("MENTAT_SYNC_TEST_ATTACK").unwrap_or_default();
    let mut failed = Vec::new();
    for (what, attack) in ATTACKS
        .iter()
        .filter(|(what, _)| what.contains(&only))
        .step_by(effort::either(5, 1))
    {
        let server = Server::start();
        let large = chunk(vec![7; 32 << 20]);
        server.device("mallory").put_chunk(&large).expect(201);
        let start = server.memory("VmHWM");
        let over = AtomicBool::new(false);
        let target = Target {
            address: server.address(),
            large: &large,
            over: &over,
        };
        let rounds = std::thread::scope(|scope| {
            scope.spawn(|| attack(&target));
            let honest = scope.spawn(|| honest(&server, &over));
            let ended = honest.join();
            // Whatever became of it, the attack ends.
            over.store(true, Ordering::Relaxed);
            ended.expect("an honest client is served")
        });
        let peak = server.memory("VmHWM");
        let (usual, slowest) = (rounds[rounds.len() / 2], rounds[rounds.len() - 1]);
        println!(
            "{what}: {} MiB, from {}; {} honest rounds in {usual:.0?}, the slowest in {slowest:.0?}",
            peak >> 20,
            start >> 20,
            rounds.len(),
        );
        if peak > MOST_MEMORY || usual > HONEST_WAIT || slowest > LONGEST_WAIT {
            failed.push((what, peak >> 20, usual, slowest));
        }
    }
    assert!(
        failed.is_empty(),
        "MiB, usual and slowest round: {failed:?}"
    );
}

#[test]
fn a_transaction_that_others_leave_no_room_for_is_busy_and_a_small_one_is_not() {
    let server = Server::start();
    let mut device = server.device("ada");
    let large = |name: &str| {
        let body = transaction_json(ROOT, &[]).replace('{', &format!("{{{}", " ".repeat(15 << 20)));
        (format!("transactions/{}", transaction_id(name)), body)
    };
    let (path, body) = large("large");
    device.put(&path, &body).expect(201);

    // Half-sent ones hold what there is.
    let holders: Vec<TcpStream> = (0..16)
        .map(|n| {
            let (path, body) = large(&format!("held {n}"));
            let path = device.path(&path);
            let mut stream = TcpStream::connect(server.address()).unwrap();
            let length = body.len();
            let head =
                format!("PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
            // Those that come too late are refused.
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&body.as_bytes()[..length - 1]);
            stream
        })
        .collect();
    let since = Instant::now();
    while device.put(&path, &body).status != 503 {
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "there is room for any number"
        );
    }
    let refused = device.put(&path, &body).expect_refusal(503, "busy");
    assert_eq!(refused.header("retry-after"), Some("1"));
    device
        .put_transaction(&transaction_id("small"), ROOT, &[])
        .expect(201);

    // And when they are gone there is room again.
    drop(holders);
    let since = Instant::now();
    while device.put(&path, &body).status != 201 {
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "the room is lost"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
