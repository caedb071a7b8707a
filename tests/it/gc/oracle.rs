//! What may be left after a collection, told from the files alone and by other code than gc's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use mentat_sync::model::TransactionId;
use serde_json::Value;

use simulated_disk::World;

use super::bench::{GRACE, folder};

struct Pending {
    parent: String,
    seq: u64,
    chunks: Vec<String>,
    young: bool,
}

fn names(json: &Value) -> Vec<String> {
    let chunks = json["chunks"].as_array().unwrap();
    chunks
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// What stands in `incoming/` now and has a reason to.
pub struct Oracle {
    now: SystemTime,
    chain: Vec<String>,
    pending: BTreeMap<String, Pending>,
    /// Chunks and aliases: what is in the file, and whether it is young.
    files: BTreeMap<String, (Vec<u8>, bool)>,
}

impl Oracle {
    pub fn look(world: &World) -> Self {
        let mut oracle = Self {
            now: world.now(),
            chain: Vec::new(),
            pending: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        let head = world.read_file(&folder().join("HEAD")).unwrap();
        let mut here = String::from_utf8(head.to_vec()).unwrap().trim().to_owned();
        while here != TransactionId::ROOT.to_string() {
            let file = format!("transactions/{}/{here}.json", &here[..2]);
            let bytes = world.read_file(&folder().join(&file)).unwrap();
            let json: Value = serde_json::from_slice(&bytes).unwrap();
            oracle.chain.push(here);
            here = json["parent"].as_str().unwrap().to_owned();
        }
        oracle.chain.push(here);
        for (place, bytes, time) in world.files_below(&folder().join("incoming/transactions")) {
            let json: Value = serde_json::from_slice(&bytes).unwrap();
            let id = place.name().strip_suffix(".json").unwrap().to_owned();
            assert_eq!(json["id"], id.as_str());
            let pending = Pending {
                parent: json["parent"].as_str().unwrap().to_owned(),
                seq: json["seq"].as_u64().unwrap(),
                chunks: names(&json),
                young: oracle.is_young(time),
            };
            oracle.pending.insert(id, pending);
        }
        for shelf in ["incoming/chunks", "incoming/aliases"] {
            for (place, bytes, time) in world.files_below(&folder().join(shelf)) {
                let young = oracle.is_young(time);
                oracle
                    .files
                    .insert(place.name().to_owned(), (bytes.to_vec(), young));
            }
        }
        oracle
    }

    fn is_young(&self, time: SystemTime) -> bool {
        self.now < time + GRACE
    }

    /// From a pending transaction up to the last one before something that is not pending, and
    /// whether the line can be committed.
    fn line(&self, id: &str) -> (Vec<String>, bool) {
        let mut line = vec![id.to_owned()];
        loop {
            let last = &self.pending[line.last().unwrap()];
            match self.pending.get(&last.parent) {
                Some(parent) if parent.seq + 1 == last.seq => line.push(last.parent.clone()),
                _ => return (line, !self.chain[1..].contains(&last.parent)),
            }
        }
    }

    /// Everything in `incoming/` that a collection must keep, by its name.
    pub fn kept(&self) -> BTreeSet<String> {
        let mut kept = BTreeSet::new();
        let mut named = BTreeSet::new();
        for (id, pending) in self.pending.iter().filter(|(_, pending)| pending.young) {
            if self.chain.contains(id) {
                continue;
            }
            kept.insert(format!("{id}.json"));
            let (line, alive) = self.line(id);
            if alive {
                for id in line {
                    kept.insert(format!("{id}.json"));
                    named.extend(self.pending[&id].chunks.iter().cloned());
                }
            }
            let _ = pending;
        }
        let young = self.files.iter().filter(|(_, (_, young))| *young);
        named.extend(young.map(|(name, _)| name.clone()));
        let stood_for: Vec<_> = (named.iter())
            .filter(|name| name.len() == 36)
            .filter_map(|name| self.files.get(name))
            .map(|(bytes, _)| String::from_utf8_lossy(bytes).trim().to_owned())
            .collect();
        named.extend(stood_for);
        kept.extend(
            named
                .into_iter()
                .filter(|name| self.files.contains_key(name)),
        );
        kept
    }

    /// Every pending transaction that could be committed once has its parent and its chunks.
    pub fn unsound(&self, world: &World) -> Option<String> {
        for (id, pending) in &self.pending {
            let (_, alive) = self.line(id);
            if !alive || self.chain.contains(id) {
                continue;
            }
            let parent = &pending.parent;
            if !self.chain.contains(parent) && !self.pending.contains_key(parent) {
                return Some(format!("{id} has lost its parent {parent}"));
            }
            for name in &pending.chunks {
                if !has(world, name) {
                    return Some(format!("{id} has lost {name}"));
                }
            }
        }
        None
    }
}

/// Whether a chunk, or an alias and what it stands for, is there.
fn has(world: &World, name: &str) -> bool {
    let shelf = if name.len() == 36 {
        "aliases"
    } else {
        "chunks"
    };
    let file = format!("{shelf}/{}/{name}", &name[..2]);
    let found = ["", "incoming/"]
        .into_iter()
        .find_map(|area| world.read_file(&folder().join(&format!("{area}{file}"))));
    match found {
        Some(bytes) if shelf == "aliases" => has(world, String::from_utf8_lossy(&bytes).trim()),
        found => found.is_some(),
    }
}
