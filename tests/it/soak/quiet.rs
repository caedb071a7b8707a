//! A user to whom nothing happens: how long it waits for its answers while all the others make their noise.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::kit::chunk;

use super::Stage;
use super::asks::Asks;
use super::device::Device;
use super::house::House;
use super::verdict::{Halt, Told, wrong};

/// Nobody waits longer on a machine that is busy with everything at once, a debug build and much else; a lock that another
/// user holds would show.
const BOUND: Duration = Duration::from_secs(9);

/// The longest that the 99th request of a hundred may take with `--strict`, on an idle machine.
const STRICT: [(&str, Duration); 3] = [
    ("GET head", Duration::from_millis(100)),
    ("PUT chunk", Duration::from_secs(1)),
    ("PUT head", Duration::from_secs(1)),
];

/// What takes longer than that without any server, the machine is to blame for.
const STALL: Duration = Duration::from_secs(1);

/// How long answers took.
#[derive(Default)]
pub struct Latencies {
    noted: Mutex<Vec<(&'static str, Duration)>>,
    /// When the machine stood still for somebody who has no server between.
    stalls: Mutex<Vec<(Instant, Instant)>>,
}

impl Latencies {
    /// Asked since then, it was answered now. That the machine stood still meanwhile is no server's doing.
    fn note(&self, what: &'static str, since: Instant) -> Told<()> {
        let now = Instant::now();
        let took = now - since;
        self.noted.lock().unwrap().push((what, took));
        if took <= BOUND {
            return Ok(());
        }
        // One that still lasts is known once it is over.
        std::thread::sleep(2 * STALL);
        let stalls = self.stalls.lock().unwrap();
        let stood = stalls.iter().map(|(from, to)| {
            let (from, to) = (*from.max(&since), *to.min(&now));
            to.saturating_duration_since(from)
        });
        let stood: Duration = stood.sum();
        match took <= BOUND + 2 * stood {
            true => Ok(()),
            false => wrong(
                "a quiet user waited",
                format!("{what} took {took:?}; the machine stood still for {stood:?} of it"),
            ),
        }
    }

    /// Writes and syncs a file again and again, without a server, to know when the machine is to blame: its disk, or
    /// whoever lets it run.
    pub fn watch(&self, stage: &Stage, top: &Path) {
        let file = top.join("control");
        let mut now = Instant::now();
        while !stage.is_over() {
            let since = now;
            let written = File::create(&file).and_then(|mut file| {
                file.write_all(&[b'.'; 4096])?;
                file.sync_all()
            });
            written.expect("a file can be written");
            std::thread::sleep(super::upkeep::PAUSE);
            now = Instant::now();
            if now - since > STALL {
                stage.verdict.count("stalls of the machine", 1);
                stage
                    .verdict
                    .count("milliseconds of them", (now - since).as_millis() as u64);
                self.stalls.lock().unwrap().push((since, now));
            }
        }
    }

    fn of(&self, what: &str) -> Vec<Duration> {
        let noted = self.noted.lock().unwrap();
        let matching = noted.iter().filter(|(noted, _)| *noted == what);
        let mut took: Vec<Duration> = matching.map(|(_, took)| *took).collect();
        took.sort_unstable();
        took
    }

    /// The middle, the 99th of a hundred and the longest, of each.
    pub fn told(&self) -> String {
        let told = STRICT.map(|(what, _)| {
            let took = self.of(what);
            let [middle, most, longest] = [50, 99, 100].map(|percent| percentile(&took, percent));
            let milliseconds = [middle, most, longest].map(|d| d.as_secs_f64() * 1000.0);
            let [middle, most, longest] = milliseconds;
            format!("{what} {middle:.1}/{most:.0}/{longest:.0} ms")
        });
        told.join(", ")
    }

    /// Whether it was as quick as on an idle machine.
    pub fn is_strict(&self) -> Result<(), String> {
        for (what, bound) in STRICT {
            let took = percentile(&self.of(what), 99);
            if took > bound {
                return Err(format!("{what}: one in a hundred took {took:?}"));
            }
        }
        Ok(())
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

/// Asks and uploads a little, until the user has lived long enough, or all is over.
pub fn live(stage: &Stage, house: &House) {
    let mut device = Device::with(Asks::on(stage, house, "device", 0));
    while !house.is_left() && !stage.is_over() {
        device.asks.begin();
        let done = round(stage, &mut device);
        stage.hear(house, done);
        if house.now().ledger().events() >= super::EVENTS {
            house.leave();
        }
        stage.sleep(super::upkeep::PAUSE);
    }
}

fn round(stage: &Stage, device: &mut Device) -> Told<()> {
    let took = &stage.latencies;
    let since = Instant::now();
    let asked = device.asks.get("head", &[200])?;
    took.note("GET head", since)?;
    let (head, seq) = asked.told()?;
    asked.saw("GET", &head, seq)?;
    if !device.asks.dice.once_in(4) {
        return Ok(());
    }
    let mut bytes = device.next_name().into_bytes();
    bytes.resize(4096, b'.');
    let since = Instant::now();
    let put = device.put(chunk(bytes))?;
    took.note("PUT chunk", since)?;
    if !device.asks.dice.once_in(3) {
        return Ok(());
    }
    let mut chunks = [put];
    let link = device.link((&head, seq), &chunks);
    if !device.put_transaction(&link, &mut chunks)? {
        return Err(Halt::Again);
    }
    let since = Instant::now();
    let asked = device.advance(&link)?;
    took.note("PUT head", since)?;
    match asked.answer.status {
        204 => asked.moved(),
        _ => device.lost(&asked, &head, put_since(&chunks)).map(drop),
    }
}

fn put_since(chunks: &[super::device::Put]) -> Instant {
    chunks[0].since
}

#[test]
fn percentiles_are_those_of_the_textbook() {
    let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
    assert_eq!(percentile(&sorted, 50), Duration::from_millis(100));
    assert_eq!(percentile(&sorted, 99), Duration::from_millis(198));
    assert_eq!(percentile(&sorted, 100), Duration::from_millis(200));
    assert_eq!(percentile(&[], 99), Duration::ZERO);
}
