use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::kit::{Client, Connection, Device, ROOT, Server, effort, transaction_id, user_id};

// The command that makes long chains, also for people.
#[allow(dead_code)]
#[path = "../../scripts/make-chain.rs"]
pub mod make_chain;

/// A number that a person may raise: the defaults keep the test quick.
fn size(variable: &str, default: u64) -> u64 {
    effort::chosen(variable).unwrap_or(default)
}

/// A server on a chain of this length, and a device of its user.
struct Long {
    chain: make_chain::Chain,
    server: Option<Server>,
    device: Device,
}

impl Long {
    fn of(transactions: u64) -> Self {
        let top = match std::env::var_os("MENTAT_SYNC_TEST_DIR") {
            Some(directory) => tempfile::tempdir_in(PathBuf::from(directory)),
            None => tempfile::tempdir(),
        }
        .expect("a temporary directory");
        let chain = make_chain::Chain {
            data: top.path().join("data"),
            transactions,
            user: user_id("ada").parse().expect("a user is a uuid"),
            chunks: 1,
        };
        chain.make().expect("a store is made");
        // A server makes sure at its start that what it found is durable: that is not what is measured.
        rustix::fs::sync();
        let server = Server::on(Arc::new(top), &[]);
        let device = server.device("ada");
        Self {
            chain,
            server: Some(server),
            device,
        }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it is served")
    }
}

/// The time that one request of each kind took, in its place.
const KINDS: [&str; 7] = [
    "start-up and first answer",
    "GET head",
    "PUT head",
    "GET transactions near the end",
    "GET transactions near the start",
    "GET transaction",
    "GET transaction that is not there",
];

/// One measurement of each kind but the first.
fn measure(long: &mut Long, round: u64) -> [Duration; KINDS.len()] {
    let length = long.chain.transactions;
    let (head, seq) = long.device.head();
    let next = transaction_id(&format!("{length} {round}"));
    long.device.put_transaction(&next, &head, &[]).expect(201);
    let mut timed = |act: &mut dyn FnMut(&mut Device)| {
        let since = Instant::now();
        act(&mut long.device);
        since.elapsed()
    };
    let get_head = timed(&mut |device| assert_eq!(device.head().1, seq));
    let put_head = timed(&mut |device| drop(device.put_head(&next).expect(204)));
    let near_end = long.chain.id(length - 10);
    let at_end = timed(&mut |device| {
        let listed = device.chain_after(&near_end.to_string());
        assert_eq!(listed.len() as u64, 10 + seq + 1 - length);
    });
    let at_start = timed(&mut |device| {
        let path = format!("transactions?from={}&limit=10", long.chain.id(5));
        let listed = device.get(&path).expect(200).json();
        assert_eq!(listed["transactions"][9], long.chain.id(15).to_string());
    });
    // Not the same one again, so that it is not only a cache that answers.
    let any = 1 + round.wrapping_mul(7_919) % length;
    let transaction = timed(&mut |device| {
        let path = format!("transactions/{}", long.chain.id(any));
        assert_eq!(device.get(&path).expect(200).json()["seq"], any);
    });
    let absent = timed(&mut |device| {
        let path = format!("transactions/{}", transaction_id("absent"));
        device.get(&path).expect(404);
    });
    [
        Duration::ZERO,
        get_head,
        put_head,
        at_end,
        at_start,
        transaction,
        absent,
    ]
}

fn start_up(long: &mut Long) -> Duration {
    let server = long.server.take().expect("it is served");
    let keeper = server.keeper();
    assert_eq!(server.stop().code(), Some(0));
    let since = Instant::now();
    let server = Server::on(keeper, &[]);
    let (_, seq) = server.device("ada").head();
    let took = since.elapsed();
    assert!(seq >= long.chain.transactions);
    long.device = server.device("ada");
    long.server = Some(server);
    took
}

/// The lower quartile: what it costs when nothing else is in the way, but not by a single lucky chance.
fn typical(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 4]
}

/// `MENTAT_SYNC_TEST_CHAIN=1000000` for the promise's own number, `MENTAT_SYNC_TEST_DIR` for where.
#[test]
fn a_request_costs_the_same_however_long_the_chain_is() {
    let length = size("MENTAT_SYNC_TEST_CHAIN", effort::either(6_000, 20_000));
    let mut longs = [Long::of(1_000), Long::of(length)];
    // Turn by turn, so that whatever else the machine does meets both.
    let mut times = [const { [const { Vec::new() }; KINDS.len()] }; 2];
    for round in 0..5 {
        for (long, times) in longs.iter_mut().zip(&mut times) {
            times[0].push(start_up(long));
            for n in 0..20 {
                let measured = measure(long, 20 * round + n);
                for (kind, time) in measured.into_iter().enumerate().skip(1) {
                    times[kind].push(time);
                }
            }
        }
    }
    let [short, long] = times.map(|times| times.map(typical));
    for (kind, what) in KINDS.into_iter().enumerate() {
        println!(
            "{what}: {:?} at 1,000, {:?} at {length}",
            short[kind], long[kind]
        );
    }
    for (kind, what) in KINDS.into_iter().enumerate() {
        // What grew with the chain would be twenty times as slow, or a thousand times.
        let noise = Duration::from_millis(if kind == 0 { 100 } else { 1 });
        let bound = 3 * short[kind] + noise;
        assert!(
            long[kind] <= bound,
            "{what}: {:?} at 1,000, but {:?} at {length}",
            short[kind],
            long[kind]
        );
    }

    // The whole listing is long, but the server does not hold it.
    let [_, long] = &mut longs;
    let (_, seq) = long.device.head();
    assert_eq!(
        long.device.chain_after(ROOT).len() as u64,
        seq.min(1_000_000)
    );
    let memory = long.server().memory("VmHWM");
    println!("peak memory: {} MiB", memory >> 20);
    assert!(memory < 64 << 20, "{} MiB", memory >> 20);
}

/// `MENTAT_SYNC_TEST_CHUNK_MIB=1024` for the promise's own number.
#[test]
fn a_large_chunk_is_never_in_memory_whole() {
    let mebibytes = size("MENTAT_SYNC_TEST_CHUNK_MIB", 96);
    let server = Server::start();
    let piece: Vec<u8> = (0..1_u32 << 20).map(|n| (n % 241) as u8).collect();
    let mut hash = Sha256::new();
    for _ in 0..mebibytes {
        hash.update(&piece);
    }
    let digest = hex::encode(hash.finalize());
    let device = server.device("ada");
    let path = device.path(&format!("chunks/{digest}"));

    // Both ways of sending it, one after the other; and the way back.
    let upload = |server: &Server, framing: &str| {
        let mut connection = Connection::open(server.address()).unwrap();
        connection
            .send(format!(
                "PUT {path} HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n"
            ))
            .unwrap();
        for _ in 0..mebibytes {
            if framing.starts_with('t') {
                connection.send("100000\r\n").unwrap();
                connection.send(&piece).unwrap();
                connection.send("\r\n").unwrap();
            } else {
                connection.send(&piece).unwrap();
            }
        }
        if framing.starts_with('t') {
            connection.send("0\r\n\r\n").unwrap();
        }
        connection.answer("PUT").unwrap().expect(201);
    };
    Client::new(server.address()).get("/").expect(200);
    let before = server.memory("VmRSS");
    upload(&server, &format!("content-length: {}", mebibytes << 20));
    upload(&server, "transfer-encoding: chunked");
    let got = Client::new(server.address()).get(&path).expect(200);
    assert_eq!(got.body.len() as u64, mebibytes << 20);
    assert!(got.body.chunks(piece.len()).all(|part| part == piece));
    let grown = server.memory("VmHWM") - before;
    println!("{mebibytes} MiB: memory grew by {} KiB", grown >> 10);
    assert!(grown < 16 << 20, "{} MiB", grown >> 20);
}
