//! What a device looks at again: what was acknowledged to somebody is there, and the chain goes over it.

use serde_json::json;

use crate::kit::{ROOT, digest};

use super::asks::Asking;
use super::device::Device;
use super::ledger::Link;
use super::verdict::{Told, wrong};

impl Device<'_> {
    /// Reads what was acknowledged to somebody.
    pub fn look(&mut self) -> Told<()> {
        for _ in 0..6 {
            let draw = self.asks.dice.below(u64::MAX);
            let Some(link) = self.house.now().ledger().any(draw) else {
                return Ok(());
            };
            self.look_at(&link)?;
            let rest = format!("transactions?from={}&limit=5", link.parent);
            let asked = self.asks.get(&rest, &[200])?;
            let told = asked.answer.json();
            if told["transactions"][0] != link.id && self.asks.is_whole() {
                return wrong(
                    "committed transaction lost",
                    format!("{} comes next after {}, not {told}", link.id, link.parent),
                );
            }
        }
        let (head, seq) = self.head()?;
        let from = match self.asks.dice.once_in(2) {
            true => head.clone(),
            false => ROOT.to_owned(),
        };
        let asked = self
            .asks
            .get(&format!("transactions?from={from}"), &[200])?;
        let told = asked.answer.json();
        let after = told["transactions"].as_array().expect("a list");
        let last = after
            .last()
            .map_or(head.as_str(), |id| id.as_str().expect("an id"));
        let seq = match from == ROOT {
            true => after.len() as u64,
            false => seq + after.len() as u64,
        };
        match last == ROOT || after.is_empty() && from == ROOT {
            true => asked.saw("listing", ROOT, 0),
            false => asked.saw("listing", last, seq),
        }
    }

    /// This transaction is here as it was acknowledged, with its chunks.
    pub fn look_at(&mut self, link: &Link) -> Told<()> {
        let asked = self
            .asks
            .get(&format!("transactions/{}", link.id), &[200])?;
        let told = asked.answer.json();
        let expected = json!({
            "id": link.id, "seq": link.seq, "parent": link.parent, "chunks": link.chunks
        });
        if told != expected && self.asks.is_whole() {
            let how = format!("{expected} was acknowledged, and {told} is there");
            return wrong("committed transaction lost", how);
        }
        for id in &link.chunks {
            let bytes = self.asks.get(&format!("chunks/{id}"), &[200])?.answer.body;
            if digest(&bytes) != *id {
                return wrong("other bytes", format!("chunk {id} holds other bytes"));
            }
        }
        Ok(())
    }

    /// Asks which chunks are missing: of those committed none is.
    pub fn missing(&mut self) -> Told<()> {
        let draw = self.asks.dice.below(u64::MAX);
        let Some(link) = self.house.now().ledger().any(draw) else {
            return Ok(());
        };
        let absent = self.new_chunk();
        let kept = self.new_chunk();
        let kept = self.put(kept)?;
        let mut asked = vec![absent.id.clone(), kept.chunk.id.clone()];
        asked.extend(link.chunks.clone());
        let asked = json!(asked).to_string();
        let asked = self.asks.ask(Asking {
            method: "POST",
            rest: "chunks/missing",
            body: Some(asked.as_bytes()),
            allowed: &[200],
            ..Asking::default()
        })?;
        let told = asked.answer.json();
        if told["missing"] == json!([absent.id]) || !self.asks.is_whole() {
            return Ok(());
        }
        if told["missing"] == json!([absent.id, kept.chunk.id]) {
            return self.may_be_gone(kept.since, &asked);
        }
        let how = format!("{} is missing, not {told}", absent.id);
        wrong("committed chunk lost", how)
    }
}
