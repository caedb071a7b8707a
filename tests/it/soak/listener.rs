//! Those who wait for another HEAD, and listen to streams of events as long as they last; what they are told is judged.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Stage;
use super::asks::{Asking, Asks};
use super::dice::Dice;
use super::fleet::{Life, SERVERS};
use super::house::House;
use super::verdict::{Told, wrong};

/// How long one read waits, so that the end of all is noticed.
const PATIENCE: Duration = Duration::from_millis(250);

/// Streams end after that, so that others begin: what is told first is judged most strictly.
const STREAM: u64 = 8000;

/// A HEAD that moved is told by then, on a busy machine (and within a tenth of a second on an idle one).
const LATE: Duration = Duration::from_secs(7);

/// A stream that was opened.
struct Stream<'a> {
    stage: &'a Stage,
    life: Arc<Life>,
    stream: TcpStream,
    text: String,
}

impl Stream<'_> {
    /// The next line that is one of the stream's, without its end; none for now, or none any more.
    fn line(&mut self) -> Result<Option<String>, std::io::Error> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.text = rest;
                // What ends with CR LF is the framing of chunks, or a header.
                if !line.ends_with('\r') {
                    return Ok(Some(line));
                }
                if line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.1 200") {
                    return Err(std::io::Error::other(line));
                }
                continue;
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.text += &String::from_utf8_lossy(&buffer[..read]),
                Err(late) if is_late(&late) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn ended(&self, error: &std::io::Error) -> Told<()> {
        // A refusal (busy, a failed sync), or the end of the server; or of the folder.
        self.stage.verdict.count("streams ended", 1);
        let said = error.to_string();
        match said.starts_with("HTTP/1.1 5") && !said.contains("503") && !self.life.fails() {
            true => wrong("the server failed", format!("events: {said}")),
            false => Ok(()),
        }
    }
}

fn is_late(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

fn open<'a>(stage: &'a Stage, slot: usize, user: &str) -> Option<Stream<'a>> {
    let life = stage.fleet.life(slot);
    let mut stream = TcpStream::connect(life.address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!(
        "GET /0.1/{user}/events HTTP/1.1\r\nHost: {}\r\n\r\n",
        life.address
    );
    stream.write_all(request.as_bytes()).ok()?;
    Some(Stream {
        stage,
        life,
        stream,
        text: String::new(),
    })
}

/// Listens until the user has lived long enough, or all is over.
pub fn listen(stage: &Stage, house: &House) {
    let who = format!("listener {:?} {}", house.kind, house.now().id);
    let mut dice = Dice::of(stage.plan.seed, &who);
    while !house.is_left() && !stage.is_over() {
        let slot = dice.below(SERVERS as u64) as usize;
        let until = Instant::now() + dice.milliseconds(100, STREAM);
        stage.hear(house, listen_once(stage, house, slot, until));
        stage.sleep(Duration::from_millis(10));
    }
}

/// One stream: what is told first is no older than what was known before it was asked for; then each is newer than the
/// one before. The names tell which folder it is about.
fn listen_once(stage: &Stage, house: &House, slot: usize, until: Instant) -> Told<()> {
    let now = house.now();
    let (floor, called) = (now.ledger().floor(), stage.tick());
    let Some(mut stream) = open(stage, slot, &now.id) else {
        return Ok(());
    };
    let mut told: Option<u64> = None;
    while Instant::now() < until && !house.is_left() && !stage.is_over() {
        let line = match stream.line() {
            Ok(Some(line)) => line,
            Ok(None) => {
                let after = house.now();
                if stream.life.slot == 0 && after.is_steady() && after.epoch == now.epoch {
                    is_in_time(house, told, "a stream")?;
                }
                continue;
            }
            Err(error) => return stream.ended(&error),
        };
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let answered = stage.tick();
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        let (Some(head), Some(seq)) = (data["head"].as_str(), data["seq"].as_u64()) else {
            return wrong("unexpected answer", format!("an event that says {line}"));
        };
        house.remember(format!(
            "{called}-{answered} {:.4} s: listener epoch {} server {slot} event {data}",
            stage.verdict.now(),
            now.epoch,
        ));
        let after = house.now();
        if !(now.is_steady() && after.epoch == now.epoch) {
            return Ok(());
        }
        stage.verdict.count("events", 1);
        let saw = now
            .ledger()
            .saw("events", (called, answered), floor, (head, seq));
        saw.map_err(|halt| halt.by(&stream.life))?;
        if told.is_some_and(|before| seq <= before) {
            let before = told.unwrap_or_default();
            let how = format!(
                "a stream told number {before}, then {seq}; by {}",
                stream.life
            );
            return wrong("HEAD went back: events", how);
        }
        told = Some(seq);
    }
    Ok(())
}

/// Who waits, or listens, at the server that lives on knows of the newest head by now.
fn is_in_time(house: &House, told: Option<u64>, how: &str) -> Told<()> {
    match (house.now().ledger().newest(), told) {
        (Some((head, seq, since)), Some(told)) if seq > told && since.elapsed() > LATE => wrong(
            "nobody told of HEAD",
            format!(
                "{how} knows number {told}, and {head}, number {seq}, has been HEAD for {:?}",
                since.elapsed()
            ),
        ),
        _ => Ok(()),
    }
}

/// Waits for another HEAD than the newest that anybody knows, again and again: what it is told is newer.
pub fn wait(stage: &Stage, house: &House) {
    let mut asks = Asks::new(stage, house, 7);
    while !house.is_left() && !stage.is_over() {
        asks.begin();
        stage.hear(house, wait_once(&mut asks));
    }
}

fn wait_once(asks: &mut Asks) -> Told<()> {
    let Some((head, seq, _)) = asks.house.now().ledger().newest() else {
        asks.stage.sleep(Duration::from_millis(50));
        return Ok(());
    };
    let tag = format!("\"{head}\"");
    let seconds = match asks.dice.once_in(5) {
        true => LATE.as_secs() + 3,
        false => 1 + asks.dice.below(3),
    };
    let asked = asks.ask(Asking {
        method: "GET",
        rest: &format!("head?wait={seconds}"),
        headers: &[("if-none-match", tag.as_str())],
        allowed: &[200, 304],
        ..Asking::default()
    })?;
    asks.stage.verdict.count("waits", 1);
    if asked.answer.status == 304 {
        if asked.certain && asked.is_by_the_steady_one() {
            is_in_time(asks.house, Some(seq), "a wait")?;
        }
        return asked.saw("wait", &head, seq);
    }
    let (other, seq) = asked.told()?;
    if other == head && asked.certain {
        let how = format!("waited for another HEAD than {head}, and got it");
        return wrong("a wait that brought nothing new", how);
    }
    asked.saw("wait", &other, seq)
}

/// Streams and waits that go back, told by somebody who is no server of ours.
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::super::fleet::Fleet;
    use super::super::house::Kind;
    use super::super::ledger::Link;
    use super::super::tests::only;
    use super::super::verdict::Halt;
    use super::*;
    use crate::kit::{ROOT, transaction_id};

    fn id(seq: u64) -> String {
        match seq {
            0 => ROOT.to_owned(),
            _ => transaction_id(&format!("number {seq}")),
        }
    }

    fn message(seq: u64) -> String {
        format!("{{\"head\":\"{}\",\"seq\":{seq}}}", id(seq))
    }

    /// Three advances were acknowledged. What is found wrong where this is answered then, by `judge`.
    fn judged(answer: String, judge: fn(&Stage, &House) -> Told<()>) -> Option<&'static str> {
        let top = Arc::new(tempfile::tempdir().unwrap());
        let plan = only(&[Kind::Busy], 1);
        let fleet = Fleet::new(top, &[], plan.program(), false);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        fleet.pretend(listener.local_addr().unwrap());
        let stage = Stage::new(plan, fleet);
        let house = House::new(Kind::Busy, 1, 0);
        for seq in 1..=3 {
            let link = Link {
                id: id(seq),
                parent: id(seq - 1),
                seq,
                chunks: Vec::new(),
            };
            let (now, tickets) = house.opens(stage.tick(), &[link]);
            now.ledger().moved(tickets[0], stage.tick()).unwrap();
        }
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while !lines.next().unwrap().unwrap().is_empty() {}
                (&stream).write_all(answer.as_bytes()).unwrap();
            });
            match judge(&stage, &house) {
                Err(Halt::Wrong(kind, _)) => Some(kind),
                _ => None,
            }
        })
    }

    fn stream(seqs: &[u64]) -> Option<&'static str> {
        let mut answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
        for seq in seqs {
            let event = format!("id: {}\ndata: {}\n\n", id(*seq), message(*seq));
            answer += &format!("{:x}\r\n{event}\r\n", event.len());
        }
        let until = |stage: &Stage, house: &House| {
            listen_once(stage, house, 0, Instant::now() + Duration::from_secs(5))
        };
        judged(answer, until)
    }

    #[test]
    fn a_stream_that_goes_back_is_noticed() {
        assert_eq!(stream(&[3]), None);
        assert_eq!(stream(&[2]), Some("HEAD went back: events"));
        assert_eq!(stream(&[3, 3]), Some("HEAD went back: events"));
        assert_eq!(stream(&[3, 2]), Some("HEAD went back: events"));
        assert_eq!(stream(&[3, 4]), Some("HEAD nobody made"));
    }

    #[test]
    fn a_wait_that_goes_back_is_noticed() {
        let wait = |seq: u64| {
            let body = message(seq);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            judged(head + &body, |stage, house| {
                let mut asks = Asks::on(stage, house, "waiter", 0);
                asks.begin();
                wait_once(&mut asks)
            })
        };
        assert_eq!(wait(2), Some("HEAD went back: wait"));
        assert_eq!(wait(3), Some("a wait that brought nothing new"));
        assert_eq!(wait(4), Some("HEAD nobody made"));
    }
}
