//! Requests, each of which is judged: by its status, and where it tells of HEAD, by what was told before.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::kit::{Answer, Client};

use super::Stage;
use super::dice::Dice;
use super::fleet::{Life, SERVERS};
use super::house::{House, Kind, Now};
use super::ledger::{Ledger, Link, Ticket};
use super::verdict::{Halt, Told, wrong};

/// A connection that was idle for that long may have been closed by the server meanwhile.
const IDLE: Duration = Duration::from_secs(1);

/// Nobody waits longer for a server that lives.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Default)]
pub struct Asking<'a> {
    pub method: &'a str,
    pub rest: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: Option<&'a [u8]>,
    /// The statuses that are right, whatever happens beside.
    pub allowed: &'a [u16],
    /// The advance that is asked for: to the last of these, each upon the one before.
    pub moves: &'a [Link],
}

/// What came of it.
pub struct Asked {
    pub answer: Answer,
    pub called: u64,
    pub answered: u64,
    /// The number that HEAD had at least when it was asked.
    pub floor: u64,
    now: Now,
    /// Nothing was renamed, deleted or made anew meanwhile.
    pub certain: bool,
    tickets: Vec<Ticket>,
    life: Arc<Life>,
}

impl Asked {
    /// Of the folder that it was asked of.
    pub fn ledger(&self) -> &Arc<Ledger> {
        self.now.ledger()
    }

    /// HEAD and its number, as they stand in the body.
    pub fn told(&self) -> Told<(String, u64)> {
        let json = self.answer.json();
        match (json["head"].as_str(), json["seq"].as_u64()) {
            (Some(head), Some(seq)) => Ok((head.to_owned(), seq)),
            _ => wrong("an answer without HEAD", self.answer.text()),
        }
    }

    /// It told of HEAD, which is judged where nothing changed meanwhile.
    pub fn saw(&self, how: &str, head: &str, seq: u64) -> Told<()> {
        match self.certain {
            true => {
                let between = (self.called, self.answered);
                let saw = self.ledger().saw(how, between, self.floor, (head, seq));
                saw.map_err(|halt| halt.by(&self.life))
            }
            false => Ok(()),
        }
    }

    /// The server that lives on, and has nothing done to it, has answered.
    pub fn is_by_the_steady_one(&self) -> bool {
        self.life.slot == 0
    }

    /// The advance was made.
    pub fn moved(&self) -> Told<()> {
        match (self.certain, &self.tickets[..]) {
            (true, [ticket]) => self.ledger().moved(*ticket, self.answered),
            _ => Ok(()),
        }
    }

    /// The advance was refused, with where HEAD is.
    pub fn refused(&self) -> Told<(String, u64)> {
        let (head, seq) = self.told()?;
        if let (true, [ticket]) = (self.certain, &self.tickets[..]) {
            self.ledger().withdraw(*ticket);
            self.saw("conflict", &head, seq)?;
        }
        Ok((head, seq))
    }

    /// The advance was refused because HEAD is another one than it builds upon.
    pub fn lost(&self) -> Told<(String, u64)> {
        let (head, seq) = self.told()?;
        if let (true, [ticket]) = (self.certain, &self.tickets[..]) {
            self.ledger().refused(*ticket, self.answered, (&head, seq));
            if seq < self.floor {
                return wrong(
                    "HEAD went back: 409",
                    format!(
                        "a 409 said number {seq}, and {} was seen before",
                        self.floor
                    ),
                );
            }
        }
        Ok((head, seq))
    }
}

/// A connection to one process.
struct Line {
    life: Arc<Life>,
    client: Client,
    used: Instant,
}

/// Requests of one device.
pub struct Asks<'a> {
    pub stage: &'a Stage,
    pub house: &'a House,
    pub who: String,
    pub dice: Dice,
    slot: usize,
    /// Whether it goes from server to server.
    roams: bool,
    line: Option<Line>,
    /// In which epoch the present act was begun.
    begun: u64,
}

impl<'a> Asks<'a> {
    /// Of the device with this number: every third stays on the first server, the others move.
    pub fn new(stage: &'a Stage, house: &'a House, number: u64) -> Self {
        let who = format!("{:?} {number}", house.kind);
        Self {
            stage,
            house,
            dice: Dice::of(stage.plan.seed, &format!("{who} {}", house.now().id)),
            who,
            slot: number as usize % SERVERS,
            roams: number > 0,
            line: None,
            begun: 0,
        }
    }

    /// One that stays on one server.
    pub fn on(stage: &'a Stage, house: &'a House, who: &str, slot: usize) -> Self {
        let mut asks = Self::new(stage, house, 0);
        asks.who = format!("{:?} {who}", house.kind);
        asks.slot = slot;
        asks
    }

    /// What is asked from here on hangs together: what changes within it is no reason to wonder.
    pub fn begin(&mut self) {
        self.begun = self.house.now().epoch;
    }

    /// Nothing was renamed, deleted or made anew since the act began.
    pub fn is_whole(&self) -> bool {
        let now = self.house.now();
        now.is_steady() && now.epoch == self.begun
    }

    /// Goes to another server.
    pub fn go(&mut self, slot: usize) {
        self.slot = slot;
        self.line = None;
    }

    fn line(&mut self) -> Line {
        if self.roams && self.dice.once_in(24) {
            let slot = self.dice.below(SERVERS as u64) as usize;
            self.go(slot);
        }
        match self.line.take() {
            Some(line) if !line.life.is_over() && line.used.elapsed() < IDLE => line,
            _ => {
                let life = self.stage.fleet.life(self.slot);
                Line {
                    client: Client::new(life.address),
                    life,
                    used: Instant::now(),
                }
            }
        }
    }

    /// Asks, and is answered with something that is allowed.
    pub fn ask(&mut self, asking: Asking) -> Told<Asked> {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut line = self.line();
            let moment = self.stage.fleet.moment();
            let called = self.stage.tick();
            let (now, tickets) = match asking.moves {
                [] => (self.house.now(), Vec::new()),
                moves => self.house.opens(called, moves),
            };
            let floor = now.ledger().floor();
            let path = format!("/0.1/{}/{}", now.id, asking.rest);
            self.stage.verdict.count("requests", 1);
            let attempt = line
                .client
                .attempt(asking.method, &path, asking.headers, asking.body);
            let answered = self.stage.tick();
            self.house.closes(called);
            self.remember(&line.life, &asking, (called, answered), &attempt);
            let answer = match attempt {
                Ok(answer) => answer,
                Err(error) if line.life.is_over() => {
                    // Where nobody listened nothing has happened.
                    if error.kind() == io::ErrorKind::ConnectionRefused {
                        withdraw(&now, &tickets);
                    }
                    self.stage.verdict.count("unanswered", 1);
                    std::thread::sleep(Duration::from_millis(5));
                    if error.kind() == io::ErrorKind::ConnectionRefused
                        && Instant::now() < until
                        && !self.stage.is_over()
                    {
                        continue;
                    }
                    return Err(Halt::Again);
                }
                // A stream of a folder that went, or whose files cannot be synced, ends early.
                Err(_)
                    if !now.is_steady()
                        || self.house.now().epoch != now.epoch
                        || line.life.fails() =>
                {
                    return Err(Halt::Again);
                }
                Err(error) => {
                    return wrong(
                        "no answer from a living server",
                        format!("{} {}: {error}", self.who, words(&asking, line.life.slot)),
                    );
                }
            };
            let after = self.house.now();
            let certain = now.is_steady() && after.epoch == now.epoch;
            line.used = Instant::now();
            let life = Arc::clone(&line.life);
            self.line = Some(line);
            let asked = Asked {
                answer,
                called,
                answered,
                floor,
                now,
                certain,
                tickets,
                life,
            };
            return self.judge(asked, &asking, moment);
        }
    }

    /// Whether that is an answer which may come.
    fn judge(&mut self, asked: Asked, asking: &Asking, moment: u64) -> Told<Asked> {
        let life = &asked.life;
        let status = asked.answer.status;
        self.stage.verdict.count(&format!("status {status}"), 1);
        if asking.allowed.contains(&status) {
            let blindly = self.house.kind.goes_on_blindly() || asking.method == "DELETE";
            if !asked.certain && !blindly {
                return Err(Halt::Again);
            }
            return Ok(asked);
        }
        let stopped = self.stage.fleet.was_stopped_since(moment);
        let body = String::from_utf8_lossy(&asked.answer.body).into_owned();
        let how = || {
            let body: String = body.chars().take(1000).collect();
            format!("{} {}: {status} {body}", self.who, words(asking, life.slot))
        };
        match status {
            503 => {
                // Nothing has happened.
                withdraw(&asked.now, &asked.tickets);
                if self.house.kind == Kind::Quiet && !stopped {
                    return wrong("a quiet user was refused", how());
                }
                self.stage.sleep(Duration::from_millis(20));
                Err(Halt::Again)
            }
            500 | 507 if life.fails() => {
                self.stage.sleep(Duration::from_millis(20));
                Err(Halt::Again)
            }
            500.. => wrong("the server failed", how()),
            _ if !asked.certain || !self.is_whole() => Err(Halt::Again),
            _ => wrong("unexpected answer", how()),
        }
    }

    fn remember(
        &self,
        life: &Life,
        asking: &Asking,
        (called, answered): (u64, u64),
        attempt: &io::Result<Answer>,
    ) {
        let came = match attempt {
            Ok(answer) => {
                let body = &answer.body[..answer.body.len().min(200)];
                let text = match answer.header("content-type") {
                    Some(kind) if kind.contains("json") => {
                        String::from_utf8_lossy(body).into_owned()
                    }
                    _ => format!("{} bytes", answer.body.len()),
                };
                format!("{} {}", answer.status, text.trim_end())
            }
            Err(error) => error.to_string(),
        };
        let moves = match asking.moves {
            [] => String::new(),
            [first, .., last] => format!(" ({} to {})", first.parent, last.id),
            [only] => format!(" ({} to {})", only.parent, only.id),
        };
        self.house.remember(format!(
            "{called}-{answered} {:.4} s: {} epoch {} {}{moves}: {came}",
            self.stage.verdict.now(),
            self.who,
            self.house.now().epoch,
            words(asking, life.slot),
        ));
    }

    pub fn get(&mut self, rest: &str, allowed: &[u16]) -> Told<Asked> {
        self.ask(Asking {
            method: "GET",
            rest,
            allowed,
            ..Asking::default()
        })
    }

    pub fn put(&mut self, rest: &str, body: &[u8], allowed: &[u16]) -> Told<Asked> {
        self.ask(Asking {
            method: "PUT",
            rest,
            body: Some(body),
            allowed,
            ..Asking::default()
        })
    }

    /// The same as [`Asks::get`], until it is answered.
    pub fn get_at_last(&mut self, rest: &str, allowed: &[u16]) -> Told<Asked> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.begin();
            match self.get(rest, allowed) {
                Err(Halt::Again) if Instant::now() < until => {}
                Err(Halt::Again) => return wrong("never answered", format!("{} {rest}", self.who)),
                other => return other,
            }
        }
    }
}

fn words(asking: &Asking, slot: usize) -> String {
    let tag = asking.headers.iter().map(|(_, value)| format!(" {value}"));
    format!(
        "server {slot} {} {}{}",
        asking.method,
        asking.rest,
        tag.collect::<String>()
    )
}

fn withdraw(now: &Now, tickets: &[Ticket]) {
    for (ledger, ticket) in now.ledgers.iter().zip(tickets) {
        ledger.withdraw(*ticket);
    }
}

/// The next number of the clock that all histories share.
impl Stage {
    pub fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}
