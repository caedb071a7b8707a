//! One device, that does everything a device does, as fast as it is answered.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::json;

use crate::kit::{Answer, Chunk, ROOT, chunk, digest, transaction_id, transaction_json};

use super::asks::{Asks, Told};
use super::ledger::Link;
use super::{GRACE, House, Stage};

/// Tries of one bundle; what then has not won is litter, for gc.
const PUSHES: usize = 5;

/// A chunk of this device's, and when it was last put.
struct Put {
    chunk: Chunk,
    since: Instant,
}

/// What is refused as gone must have been old: it was kept for the grace period since it was called for.
fn may_be_gone(since: Instant, answer: &Answer) -> Told<()> {
    match since.elapsed() >= GRACE {
        true => Ok(()),
        false => Err(format!(
            "acknowledged {:?} ago, and {}",
            since.elapsed(),
            answer.text()
        )),
    }
}

fn code(answer: &Answer) -> String {
    answer.json()["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// One device of a user.
pub struct Actor<'a> {
    stage: &'a Stage,
    house: &'a House,
    asks: Asks<'a>,
    name: String,
    named: u64,
    draws: u64,
    /// Up to where it has pulled.
    pulled: String,
}

impl<'a> Actor<'a> {
    pub fn new(stage: &'a Stage, house: &'a House, number: u64) -> Self {
        Self {
            stage,
            house,
            asks: Asks::new(stage, &house.user, number),
            name: format!("{} {number}", house.user),
            named: 0,
            draws: number + 1,
            pulled: ROOT.to_owned(),
        }
    }

    /// Goes on until the user has lived long enough, or all is over.
    pub fn act(&mut self) -> Told<()> {
        for round in 0.. {
            if self.house.is_over(self.stage) {
                break;
            }
            match round % 10 {
                0..=4 => self.commit()?,
                5 | 6 => self.push()?,
                7 => self.pull()?,
                8 => self.look()?,
                _ => match self.below(4) {
                    0 => self.wait()?,
                    _ => self.litter()?,
                },
            }
        }
        Ok(())
    }

    /// The next number of a sequence that looks random (Knuth's multiplier).
    fn below(&mut self, bound: u64) -> u64 {
        let next = self
            .draws
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.draws = next;
        (next >> 33) % bound
    }

    fn next_name(&mut self) -> String {
        self.named += 1;
        format!("{} {}", self.name, self.named)
    }

    /// Bytes that nobody has had: mostly small, now and then large.
    fn new_chunk(&mut self) -> Chunk {
        let length = match self.below(40) {
            0 => 1 << 20,
            1..8 => self.below(64 << 10),
            _ => self.below(2 << 10),
        };
        let mut bytes = self.next_name().into_bytes();
        bytes.resize(bytes.len() + length as usize, b'.');
        chunk(bytes)
    }

    /// Uploads it, now and then twice.
    fn put(&mut self, chunk: Chunk) -> Told<Put> {
        let put = Put {
            chunk,
            since: Instant::now(),
        };
        let rest = format!("chunks/{}", put.chunk.id);
        for _ in 0..1 + self.below(8) / 7 {
            self.asks.put(&rest, &put.chunk.bytes, &[201])?;
        }
        Ok(put)
    }

    /// HEAD and its number, which is not behind what was acknowledged before.
    fn head(&mut self) -> Told<(String, u64)> {
        let floor = self.house.ledger.count();
        let told = self.asks.get("head", &[200])?.json();
        let (head, seq) = (told["head"].as_str().unwrap(), told["seq"].as_u64());
        match seq.unwrap() >= floor {
            true => Ok((head.to_owned(), seq.unwrap())),
            false => Err(format!("{floor} advances acknowledged, and HEAD is {told}")),
        }
    }

    /// Chunks, a transaction, an advance; and again upon the winner until it is this one's turn.
    fn commit(&mut self) -> Told<()> {
        let (mut head, _) = self.head()?;
        let mut chunks = Vec::new();
        for _ in 0..1 + self.below(3) {
            let chunk = self.new_chunk();
            chunks.push(self.put(chunk)?);
        }
        while !self.house.is_over(self.stage) {
            let id = transaction_id(&self.next_name());
            let since = Instant::now();
            let link = self.link(&id, &head, &chunks);
            if !self.put_transaction(&link, &mut chunks)? {
                continue;
            }
            let body = json!({ "head": id }).to_string();
            let answer = self.asks.put("head", body.as_bytes(), &[204, 409])?;
            if answer.status == 204 {
                self.stage.advances.fetch_add(1, Ordering::Relaxed);
                return self.house.ledger.note(link);
            }
            match code(&answer).as_str() {
                "not-a-descendant" => head = self.lost(&answer, &head)?,
                "unknown-transaction" | "missing-chunks" => may_be_gone(since, &answer)?,
                _ => return Err(answer.text().to_owned()),
            }
        }
        Ok(())
    }

    fn link(&self, id: &str, parent: &str, chunks: &[Put]) -> Link {
        Link {
            id: id.to_owned(),
            parent: parent.to_owned(),
            chunks: chunks.iter().map(|put| put.chunk.id.clone()).collect(),
        }
    }

    /// Uploads it, now and then twice; false where chunks had to be put again, being old.
    fn put_transaction(&mut self, link: &Link, chunks: &mut [Put]) -> Told<bool> {
        let named: Vec<&str> = link.chunks.iter().map(String::as_str).collect();
        let body = transaction_json(&link.parent, &named);
        let rest = format!("transactions/{}", link.id);
        for _ in 0..1 + self.below(8) / 7 {
            let answer = self.asks.put(&rest, body.as_bytes(), &[201, 404])?;
            if answer.status == 404 {
                let oldest = chunks.iter().map(|put| put.since).min();
                may_be_gone(oldest.expect("it names some"), &answer)?;
                for put in chunks.iter_mut() {
                    *put = self.put(put.chunk.clone())?;
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Somebody was quicker: where HEAD is now, which is not where it was.
    fn lost(&mut self, answer: &Answer, base: &str) -> Told<String> {
        self.stage.races.fetch_add(1, Ordering::Relaxed);
        let told = answer.json();
        match told["head"].as_str() {
            Some(head) if head != base => Ok(head.to_owned()),
            _ => Err(format!("refused upon {base}, with {told}")),
        }
    }

    /// A bundle of a few transactions, HEAD with them.
    fn push(&mut self) -> Told<()> {
        let (mut head, mut seq) = self.head()?;
        for _ in 0..PUSHES {
            let (links, tar) = self.bundle(&head, seq);
            let answer = self
                .asks
                .ask("POST", "bundle", &[], Some(&tar), &[200, 409])?;
            if answer.status == 200 {
                let count = links.len() as u64;
                self.stage.pushes.fetch_add(1, Ordering::Relaxed);
                self.stage.advances.fetch_add(count, Ordering::Relaxed);
                return links
                    .into_iter()
                    .try_for_each(|link| self.house.ledger.note(link));
            }
            if code(&answer) != "not-a-descendant" {
                return Err(answer.text().to_owned());
            }
            head = self.lost(&answer, &head)?;
            seq = answer.json()["seq"].as_u64().unwrap();
        }
        Ok(())
    }

    /// What a bundle after this HEAD would be made of.
    fn bundle(&mut self, head: &str, seq: u64) -> (Vec<Link>, Vec<u8>) {
        let mut tar = tar::Builder::new(Vec::new());
        let mut append = |name: String, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes).unwrap();
        };
        let mut links: Vec<Link> = Vec::new();
        for seq in seq + 1..seq + 2 + self.below(3) {
            let (chunk, id) = (self.new_chunk(), transaction_id(&self.next_name()));
            let parent = links.last().map_or(head, |link| link.id.as_str());
            let json = format!(
                "{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":\"{parent}\",\"chunks\":[\"{}\"]}}\n",
                chunk.id
            );
            append(
                format!("chunks/{}/{}", &chunk.id[..2], chunk.id),
                &chunk.bytes,
            );
            append(
                format!("transactions/{}/{id}.json", &id[..2]),
                json.as_bytes(),
            );
            links.push(Link {
                parent: parent.to_owned(),
                id,
                chunks: vec![chunk.id],
            });
        }
        let last = &links.last().expect("there is one").id;
        append("HEAD".to_owned(), format!("{last}\n").as_bytes());
        (links, tar.into_inner().unwrap())
    }

    /// What is new since the last pull; every chunk of it is what it is called.
    fn pull(&mut self) -> Told<()> {
        let rest = format!("bundle?from={}&limit=100", self.pulled);
        let bundle = self.asks.get(&rest, &[200])?.body;
        let mut last = (String::new(), Vec::new());
        for entry in tar::Archive::new(&bundle[..]).entries().unwrap() {
            let mut entry = entry.map_err(|error| error.to_string())?;
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            if name.starts_with("chunks/") && !name.ends_with(&digest(&bytes)) {
                return Err(format!("{name} of a bundle holds other bytes"));
            }
            last = (name, bytes);
        }
        if last.0 != "HEAD" {
            return Err(format!("the last of a bundle is {:?}", last.0));
        }
        self.pulled = String::from_utf8_lossy(&last.1).trim_end().to_owned();
        self.stage.pulls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Reads what was acknowledged to somebody, and asks which chunks are missing.
    fn look(&mut self) -> Told<()> {
        for _ in 0..8 {
            let draw = self.below(u64::MAX);
            let Some(link) = self.house.ledger.any(draw) else {
                return Ok(());
            };
            let told = self
                .asks
                .get(&format!("transactions/{}", link.id), &[200])?
                .json();
            if told["parent"] != link.parent || told["chunks"] != json!(link.chunks) {
                return Err(format!("{link:?} was acknowledged, and {told} is there"));
            }
            let id = &link.chunks[0];
            let bytes = self.asks.get(&format!("chunks/{id}"), &[200])?.body;
            if digest(&bytes) != *id {
                return Err(format!("chunk {id} holds other bytes"));
            }
            let absent = self.new_chunk().id;
            let asked = json!([absent, id]).to_string();
            let asked = Some(asked.as_bytes());
            let told = self
                .asks
                .ask("POST", "chunks/missing", &[], asked, &[200])?;
            if told.json()["missing"] != json!([absent]) {
                return Err(format!("{absent} is missing, not {}", told.text()));
            }
            let rest = format!("transactions?from={}&limit=5", link.parent);
            let told = self.asks.get(&rest, &[200])?.json();
            if told["transactions"][0] != link.id {
                return Err(format!("{} comes next, not {told}", link.id));
            }
        }
        Ok(())
    }

    /// Waits for another HEAD, for a second at most.
    fn wait(&mut self) -> Told<()> {
        let (head, _) = self.head()?;
        let tag = format!("\"{head}\"");
        let headers = [("if-none-match", tag.as_str())];
        let answer = self
            .asks
            .ask("GET", "head?wait=1", &headers, None, &[200, 304])?;
        match answer.status == 200 && answer.json()["head"] == head {
            true => Err(format!("waited for another HEAD than {head}, and got it")),
            false => Ok(()),
        }
    }

    /// What nobody will ever need, for gc; and what is refused.
    fn litter(&mut self) -> Told<()> {
        let draw = self.below(u64::MAX);
        let Some(old) = self.house.ledger.any(draw) else {
            return Ok(());
        };
        let chunk = self.new_chunk();
        let mut chunks = [self.put(chunk)?];
        let id = transaction_id(&self.next_name());
        // Its sibling is on the chain, so it never can be.
        let dead = self.link(&id, &old.parent, &chunks);
        if self.put_transaction(&dead, &mut chunks)? {
            let body = json!({ "head": id }).to_string();
            self.asks.put("head", body.as_bytes(), &[409])?;
        }
        let wrong = format!("chunks/{}", old.chunks[0]);
        self.asks.put(&wrong, b"other bytes", &[400])?;
        self.asks.get("transactions/nonsense", &[400])?;
        self.stage.refusals.fetch_add(3, Ordering::Relaxed);
        Ok(())
    }
}
