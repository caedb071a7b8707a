//! One device, that does everything a device does, as fast as it is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kit::{Chunk, chunk, digest, transaction_id, transaction_json};

use super::Stage;
use super::asks::{Asked, Asking, Asks};
use super::bundles;
use super::house::House;
use super::ledger::{Ledger, Link};
use super::verdict::{Halt, Told, wrong};

/// Clocks of files tick coarsely.
const COARSE: Duration = Duration::from_millis(100);

/// Advances in a row, at most.
const SPRINT: u64 = 12;

/// A chunk of this device's, and when it was last put.
pub struct Put {
    pub chunk: Chunk,
    pub since: Instant,
}

/// The code of a refusal.
pub fn code(asked: &Asked) -> String {
    asked.answer.json()["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// One device of a user.
pub struct Device<'a> {
    pub asks: Asks<'a>,
    pub house: &'a House,
    named: u64,
    /// Up to where it has pulled, and of which folder.
    pub pulled: Option<(Arc<Ledger>, String, u64)>,
}

impl<'a> Device<'a> {
    pub fn new(stage: &'a Stage, house: &'a House, number: u64) -> Self {
        Self::with(Asks::new(stage, house, number))
    }

    pub fn with(asks: Asks<'a>) -> Self {
        Self {
            house: asks.house,
            asks,
            named: 0,
            pulled: None,
        }
    }

    fn is_over(&self) -> bool {
        self.house.is_left() || self.asks.stage.is_over()
    }

    /// Goes on until the user has lived long enough, or all is over.
    pub fn act(&mut self) {
        while !self.is_over() {
            self.asks.begin();
            let done = match self.asks.dice.below(20) {
                0..6 => self.commit(),
                6 | 7 => self.sprint(),
                8..11 => self.push(),
                11..13 => self.pull(),
                13..15 => self.look(),
                15 | 16 => self.missing(),
                _ => self.litter(),
            };
            let stage = self.asks.stage;
            stage.hear(self.house, done);
            if self.house.now().ledger().advances() >= stage.plan.life
                || self.house.now().ledger().events() >= super::EVENTS
            {
                self.house.leave();
            }
        }
    }

    pub fn next_name(&mut self) -> String {
        self.named += 1;
        let id = self.house.now().id;
        format!(
            "{} of {id} at {}, {}",
            self.asks.who, self.asks.stage.plan.seed, self.named
        )
    }

    /// Bytes that nobody has had: mostly small, now and then large.
    pub fn new_chunk(&mut self) -> Chunk {
        let length = match self.asks.dice.below(100) {
            0 => 1 << 20,
            1..12 => self.asks.dice.below(64 << 10),
            _ => self.asks.dice.below(2 << 10),
        };
        let mut bytes = self.next_name().into_bytes();
        bytes.resize(bytes.len() + length as usize, b'.');
        chunk(bytes)
    }

    /// Uploads it, now and then twice.
    pub fn put(&mut self, chunk: Chunk) -> Told<Put> {
        let put = Put {
            chunk,
            since: Instant::now(),
        };
        let rest = format!("chunks/{}", put.chunk.id);
        for _ in 0..1 + self.asks.dice.below(8) / 7 {
            self.asks.put(&rest, &put.chunk.bytes, &[201])?;
        }
        Ok(put)
    }

    /// What is refused as gone must have been old: it was kept for the grace period since it was called for.
    pub fn may_be_gone(&self, since: Instant, asked: &Asked) -> Told<()> {
        let grace = self.house.kind.grace(self.asks.stage.plan.promised);
        let age = since.elapsed();
        if age + COARSE >= grace || !self.asks.is_whole() {
            return Ok(());
        }
        wrong(
            "acknowledged upload lost",
            format!(
                "{}: acknowledged {age:?} ago, and {}",
                self.asks.who,
                asked.answer.text()
            ),
        )
    }

    /// HEAD and its number.
    pub fn head(&mut self) -> Told<(String, u64)> {
        let rest = match self.asks.dice.below(6) {
            0 => "",
            _ => "head",
        };
        let asked = self.asks.get(rest, &[200])?;
        let (head, seq) = asked.told()?;
        asked.saw("GET", &head, seq)?;
        Ok((head, seq))
    }

    /// Chunks, a transaction, an advance; and again upon the winner until it is this one's turn.
    pub fn commit(&mut self) -> Told<()> {
        let (mut head, mut seq) = self.head()?;
        let mut chunks = Vec::new();
        for _ in 0..1 + self.asks.dice.below(3) {
            let chunk = self.new_chunk();
            chunks.push(self.put(chunk)?);
        }
        while !self.is_over() {
            let since = Instant::now();
            let link = self.link((&head, seq), &chunks);
            if !self.put_transaction(&link, &mut chunks)? {
                continue;
            }
            match self.advance(&link) {
                // Nobody knows what came of it: now and then it is asked for again.
                Err(Halt::Again) if self.asks.dice.once_in(2) && self.asks.is_whole() => {}
                Err(halt) => return Err(halt),
                Ok(asked) if asked.answer.status == 204 => return self.advanced(&asked),
                Ok(asked) => match self.lost(&asked, &head, since)? {
                    Some(winner) => {
                        (head, seq) = winner;
                        continue;
                    }
                    None => continue,
                },
            }
            let asked = self.advance(&link)?;
            if asked.answer.status == 204 {
                return self.advanced(&asked);
            }
            let code = code(&asked);
            let (there, number) = asked.refused()?;
            self.asks.stage.verdict.count("asked again", 1);
            // A 409 whose head is ours: the first try got through.
            if there == link.id || !self.asks.is_whole() {
                return Ok(());
            }
            if code != "not-a-descendant" {
                self.may_be_gone(since, &asked)?;
            }
            (head, seq) = (there, number);
        }
        Ok(())
    }

    /// Advances one after the other, as quickly as it goes, until somebody else is quicker.
    fn sprint(&mut self) -> Told<()> {
        let (mut head, mut seq) = self.head()?;
        for _ in 0..2 + self.asks.dice.below(SPRINT) {
            let since = Instant::now();
            let link = self.link((&head, seq), &[]);
            let body = transaction_json(&head, &[]);
            let rest = format!("transactions/{}", link.id);
            self.asks.put(&rest, body.as_bytes(), &[201])?;
            let asked = self.advance(&link)?;
            if asked.answer.status != 204 {
                return self.lost(&asked, &head, since).map(drop);
            }
            self.advanced(&asked)?;
            (head, seq) = (link.id, link.seq);
        }
        Ok(())
    }

    fn advanced(&self, asked: &Asked) -> Told<()> {
        self.asks.stage.verdict.count("advances", 1);
        asked.moved()
    }

    /// A transaction with these chunks upon this HEAD.
    pub fn link(&mut self, (parent, seq): (&str, u64), chunks: &[Put]) -> Link {
        Link {
            id: transaction_id(&self.next_name()),
            parent: parent.to_owned(),
            seq: seq + 1,
            chunks: chunks.iter().map(|put| put.chunk.id.clone()).collect(),
        }
    }

    /// Asks for the advance to this one.
    pub fn advance(&mut self, link: &Link) -> Told<Asked> {
        let body = json!({ "head": link.id }).to_string();
        self.asks.ask(Asking {
            method: "PUT",
            rest: "head",
            body: Some(body.as_bytes()),
            allowed: &[204, 409],
            moves: std::slice::from_ref(link),
            ..Asking::default()
        })
    }

    /// Uploads it, now and then twice; false where chunks had to be put again, being old.
    pub fn put_transaction(&mut self, link: &Link, chunks: &mut [Put]) -> Told<bool> {
        let named: Vec<&str> = link.chunks.iter().map(String::as_str).collect();
        let body = transaction_json(&link.parent, &named);
        let rest = format!("transactions/{}", link.id);
        for _ in 0..1 + self.asks.dice.below(8) / 7 {
            let asked = self.asks.put(&rest, body.as_bytes(), &[201, 404])?;
            if asked.answer.status == 404 {
                let oldest = chunks.iter().map(|put| put.since).min();
                self.may_be_gone(oldest.expect("it names some"), &asked)?;
                for put in chunks.iter_mut() {
                    *put = self.put(put.chunk.clone())?;
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Why HEAD did not move: somebody was quicker, who is said; or what was uploaded has gone, as it may have.
    pub fn lost(&self, asked: &Asked, base: &str, since: Instant) -> Told<Option<(String, u64)>> {
        match code(asked).as_str() {
            "not-a-descendant" => {
                let (head, seq) = asked.lost()?;
                self.asks.stage.verdict.count("races lost", 1);
                match head == base && self.asks.is_whole() {
                    true => wrong(
                        "refused upon HEAD",
                        format!(
                            "{}: refused upon {base}, with {}",
                            self.asks.who,
                            asked.answer.text()
                        ),
                    ),
                    false => Ok(Some((head, seq))),
                }
            }
            "unknown-transaction" | "missing-chunks" => {
                asked.refused()?;
                self.may_be_gone(since, asked)?;
                Ok(None)
            }
            _ if !self.asks.is_whole() => Err(Halt::Again),
            _ => wrong("unexpected answer", asked.answer.text()),
        }
    }

    /// A bundle of a few transactions, HEAD with them.
    fn push(&mut self) -> Told<()> {
        let count = 1 + self.asks.dice.below(4);
        bundles::push(self, count)
    }

    /// What is new since the last pull.
    fn pull(&mut self) -> Told<()> {
        bundles::pull(self)
    }

    /// What nobody will ever need, for gc; and what is refused.
    fn litter(&mut self) -> Told<()> {
        let draw = self.asks.dice.below(u64::MAX);
        let Some(old) = self.house.now().ledger().any(draw) else {
            return Ok(());
        };
        let chunk = self.new_chunk();
        let mut chunks = [self.put(chunk)?];
        // Its sibling is on the chain, so it never can be.
        let dead = self.link((&old.parent, old.seq - 1), &chunks);
        if self.put_transaction(&dead, &mut chunks)? {
            let asked = self.advance(&dead)?;
            if asked.answer.status == 204 {
                asked.moved()?;
                return match self.asks.is_whole() {
                    true => wrong("a dead transaction became HEAD", dead.id),
                    // Upon the root of another folder it was as good as any.
                    false => Ok(()),
                };
            }
            asked.refused()?;
        }
        let rest = format!("chunks/{}", digest(b"these bytes"));
        self.asks.put(&rest, b"other bytes", &[400])?;
        self.asks.get("transactions/nonsense", &[400])?;
        let pending = format!("transactions/{}", dead.id);
        self.asks.get(&pending, &[404])?;
        self.asks.stage.verdict.count("refused on purpose", 4);
        Ok(())
    }
}
