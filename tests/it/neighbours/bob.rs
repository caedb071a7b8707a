use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Bounds;
use crate::kit::{Chunk, Device, ROOT, Server, chunk, transaction_id, transaction_json, user_id};

/// How long he rests between two rounds.
const REST: Duration = Duration::from_millis(20);

/// One who minds his own business: he knows what he has stored, and what he is to be answered.
pub struct Bob {
    address: SocketAddr,
    device: Device,
    chain: Vec<String>,
    last: Chunk,
    rounds: usize,
    full: bool,
}

/// How long he waited for answers, all of which were right.
#[derive(Default)]
pub struct Seen {
    looks: Vec<Duration>,
    uploads: Vec<Duration>,
}

fn usual_and_longest(waits: &[Duration]) -> (Duration, Duration) {
    let mut waits = waits.to_vec();
    waits.sort();
    (waits[waits.len() / 2], waits[waits.len() - 1])
}

impl Seen {
    pub fn is_within(&self, bounds: &Bounds) -> bool {
        [(&self.looks, bounds.looks), (&self.uploads, bounds.uploads)]
            .into_iter()
            .all(|(waits, (most_usual, most))| {
                let (usual, longest) = usual_and_longest(waits);
                usual <= most_usual && longest <= most
            })
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (look, longest_look) = usual_and_longest(&self.looks);
        let (upload, longest_upload) = usual_and_longest(&self.uploads);
        write!(
            formatter,
            "{} looks at HEAD in {look:.1?}, the slowest in {longest_look:.1?}; {} uploads in {upload:.1?}, the \
             slowest in {longest_upload:.1?}",
            self.looks.len(),
            self.uploads.len(),
        )
    }
}

fn timed<T>(waits: &mut Vec<Duration>, act: impl FnOnce() -> T) -> T {
    let since = Instant::now();
    let done = act();
    waits.push(since.elapsed());
    done
}

impl Bob {
    /// With a chain of two.
    pub fn new(server: &Server) -> Self {
        let mut device = server.device("bob");
        let last = chunk("what bob has from the start");
        let chain = ["first of bob", "second of bob"].map(transaction_id);
        device.commit(&chain[0], ROOT, &[&last]);
        device.commit(&chain[1], &chain[0], &[]);
        Self {
            address: server.address(),
            device,
            chain: chain.to_vec(),
            last,
            rounds: 0,
            full: false,
        }
    }

    /// From now on his uploads are to be refused for want of space.
    pub fn finds_it_full(&mut self) {
        self.full = true;
    }

    /// Asks for everything again and again, while this says so. Each answer is the right one.
    pub fn looks_on(&mut self, goes_on: impl Fn() -> bool) -> Seen {
        let mut seen = Seen::default();
        while goes_on() {
            self.rounds += 1;
            if self.rounds.is_multiple_of(5) {
                // As one who comes anew.
                self.device = Device::new(self.address, &user_id("bob"));
            }
            self.has_his_head(&mut seen);
            self.puts_a_chunk(&mut seen);
            match self.rounds % 8 {
                2 => self.commits(&mut seen),
                4 => self.pushes(),
                6 => self.reads(),
                _ => {}
            }
            if self.rounds == 7 {
                self.waits_for_nothing();
            }
            std::thread::sleep(REST);
        }
        // Whatever there was time for: once at least.
        self.commits(&mut seen);
        self.pushes();
        self.reads();
        self.waits_for_nothing();
        seen
    }

    fn head(&self) -> &str {
        self.chain.last().expect("he has a chain")
    }

    fn has_his_head(&mut self, seen: &mut Seen) {
        let head = timed(&mut seen.looks, || self.device.head());
        assert_eq!(head, (self.head().to_owned(), self.chain.len() as u64));
    }

    fn puts_a_chunk(&mut self, seen: &mut Seen) {
        let next = chunk(format!("what bob has after {} rounds", self.rounds));
        let answer = timed(&mut seen.uploads, || self.device.put_chunk(&next));
        if self.full {
            answer.expect_refusal(507, "no-space");
        } else {
            answer.expect(201);
            self.last = next;
        }
    }

    /// A transaction that needs some of the room that large ones have, and HEAD.
    fn commits(&mut self, seen: &mut Seen) {
        let id = transaction_id(&format!("bob {}", self.chain.len()));
        let large = format!("{{{}", " ".repeat(1 << 20));
        let body = transaction_json(self.head(), &[&self.last.id]).replacen('{', &large, 1);
        let path = format!("transactions/{id}");
        let put = timed(&mut seen.uploads, || self.device.put(&path, &body));
        if self.full {
            put.expect_refusal(507, "no-space");
            return;
        }
        put.expect(201);
        timed(&mut seen.uploads, || self.device.put_head(&id)).expect(204);
        self.chain.push(id);
    }

    fn pushes(&mut self) {
        if self.full {
            return;
        }
        let id = transaction_id(&format!("bob pushed {}", self.chain.len()));
        let seq = self.chain.len() + 1;
        let mut tar = Vec::new();
        super::mallory::member(&mut tar, &id, seq as u64, self.head());
        super::mallory::end(&mut tar, &id);
        let path = self.device.path("bundle");
        let answer = self.device.client.request("POST", &path, &[], Some(&tar));
        answer.expect(200);
        self.chain.push(id);
    }

    fn reads(&mut self) {
        let got = self.device.get(&format!("chunks/{}", self.last.id));
        assert_eq!(got.expect(200).body, self.last.bytes);
        assert_eq!(self.device.chain_after(ROOT), self.chain);
        let path = format!("transactions/{}", self.head());
        let transaction = self.device.get(&path).expect(200).json();
        assert_eq!(transaction["seq"], self.chain.len());
        self.device.get("bundle?limit=1").expect(200);
    }

    /// Waits, of which there is a place for him.
    fn waits_for_nothing(&mut self) {
        let held = format!("\"{}\"", self.head());
        let waited = (self.device).get_with("head?wait=1", &[("if-none-match", &held)]);
        waited.expect(304);
    }
}
