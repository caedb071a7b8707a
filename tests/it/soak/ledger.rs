//! What one user's devices were promised, and whether it is there.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::kit::{ROOT, digest};

use super::asks::{Asks, Told};

/// A transaction that an answer made HEAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub id: String,
    pub parent: String,
    pub chunks: Vec<String>,
}

/// What was acknowledged to the devices of one user.
#[derive(Default)]
pub struct Ledger {
    links: Mutex<(Vec<Link>, HashMap<String, usize>)>,
    count: AtomicU64,
}

impl Ledger {
    /// Notes an acknowledged advance. Two upon one parent are a lost write, whatever the chain says later.
    pub fn note(&self, link: Link) -> Told<()> {
        let mut links = self.links.lock().unwrap();
        if let Some(other) = links.1.get(&link.parent) {
            return Err(format!(
                "both {} and {} were acknowledged upon {}",
                links.0[*other].id, link.id, link.parent
            ));
        }
        let place = links.0.len();
        links.1.insert(link.parent.clone(), place);
        links.0.push(link);
        self.count.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// How many advances were acknowledged: HEAD's number is that or more.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// One of the links, which number `draw` chooses; none before the first.
    pub fn any(&self, draw: u64) -> Option<Link> {
        let links = self.links.lock().unwrap();
        let place = draw.checked_rem(links.0.len() as u64)?;
        links.0.get(place as usize).cloned()
    }

    /// The chain that the answers tell of, oldest first.
    fn chain(&self) -> Told<Vec<Link>> {
        let links = self.links.lock().unwrap();
        let mut chain: Vec<Link> = Vec::new();
        while let Some(place) = links
            .1
            .get(chain.last().map_or(ROOT, |link| link.id.as_str()))
        {
            chain.push(links.0[*place].clone());
        }
        match chain.len() == links.0.len() {
            true => Ok(chain),
            false => Err(format!(
                "{} of {} acknowledged advances hang together",
                chain.len(),
                links.0.len()
            )),
        }
    }

    /// All of it is served, and nothing else; says how many chunks were looked at. Nobody writes meanwhile.
    pub fn check(&self, asks: &mut Asks) -> Told<u64> {
        let chain = self.chain()?;
        let listing = asks.get("transactions", &[200])?.json();
        let expected: Vec<&str> = chain.iter().map(|link| link.id.as_str()).collect();
        if listing["transactions"] != json!(expected) {
            return Err(format!(
                "acknowledged were {expected:?}, and the chain is {listing}"
            ));
        }
        let mut chunks = 0;
        for (seq, link) in (1..).zip(&chain) {
            let got = asks
                .get(&format!("transactions/{}", link.id), &[200])?
                .json();
            let expected =
                json!({"id": link.id, "seq": seq, "parent": link.parent, "chunks": link.chunks});
            if got != expected {
                return Err(format!("{expected} was acknowledged, and {got} is there"));
            }
            for id in &link.chunks {
                let got = asks.get(&format!("chunks/{id}"), &[200])?;
                if digest(&got.body) != *id {
                    return Err(format!("chunk {id} holds other bytes"));
                }
                chunks += 1;
            }
        }
        Ok(chunks)
    }
}
