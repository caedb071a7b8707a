//! The checkpoint as clients, the operator's tools and a person with a shell see it.

mod answers;
mod copies;
mod upkeep;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::kit::{
    Answer, Chunk, Device, Finished, ROOT, Server, binary, chunk, run_with_deadline, transaction_id,
};

/// Longer ago than the grace period.
const LONG_AGO: Duration = Duration::from_secs(20 * 24 * 3600);

/// A chain of two, each with a chunk.
struct Scene {
    server: Server,
    device: Device,
    first: String,
    second: String,
    milk: Chunk,
    state: Chunk,
}

impl Scene {
    fn with(flags: &[&str]) -> Self {
        let server = Server::with(flags);
        let mut device = server.device("ada");
        let [first, second] = ["first", "second"].map(transaction_id);
        let milk = chunk("milk");
        device.commit(&first, ROOT, &[&milk]);
        device.commit(&second, &first, &[&milk]);
        Self {
            server,
            device,
            first,
            second,
            milk,
            state: chunk("all that there is up to the first"),
        }
    }

    fn new() -> Self {
        Self::with(&[])
    }

    /// The state is uploaded, and the checkpoint of the first transaction.
    fn put_first(&mut self) {
        self.device.put_chunk(&self.state).expect(201);
        let id = self.state.id.clone();
        put(&mut self.device, &self.first.clone(), &[&id]).expect(204);
    }

    fn folder(&self) -> PathBuf {
        self.server.folder("ada")
    }

    /// Where a chunk stands in an area of the user's folder.
    fn file(&self, area: &str, chunk: &Chunk) -> PathBuf {
        self.folder()
            .join(area)
            .join(&chunk.id[..2])
            .join(&chunk.id)
    }

    fn is_in(&self, area: &str, chunk: &Chunk) -> bool {
        self.file(area, chunk).exists()
    }
}

fn put(device: &mut Device, transaction: &str, chunks: &[&str]) -> Answer {
    let body = json!({ "transaction": transaction, "chunks": chunks });
    device.put("checkpoint", body.to_string())
}

/// What GET tells.
#[track_caller]
fn told(device: &mut Device) -> Value {
    device.get("checkpoint").expect(200).json()
}

fn run(verb: &str, data: &Path, flags: &[&str]) -> Finished {
    run_with_deadline(binary().args([verb, "--data"]).arg(data).args(flags))
}

/// Makes a file as old as if it had come long ago.
fn age(file: &Path) {
    let file = File::options().write(true).open(file).unwrap();
    file.set_modified(SystemTime::now() - LONG_AGO).unwrap();
}

/// As if gc had never run: what it remembers would tell that these dates are wrong.
fn forget(folder: &Path) {
    let gate = File::options().write(true).open(folder.join("gate"));
    gate.unwrap().set_len(0).unwrap();
}

fn age_all(folder: &Path) {
    forget(folder);
    for (name, look) in crate::kit::tree(folder) {
        let is_chunk = name.starts_with("incoming/") || name.starts_with("checkpoint/");
        if look.kind == 'f' && is_chunk {
            age(&folder.join(name));
        }
    }
}

/// The lines that a tool prints as JSON.
fn lines(finished: &Finished) -> Vec<Value> {
    let lines = finished.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Writes other bytes into a file, of which other names keep theirs.
fn scribble(file: &Path, bytes: &[u8]) {
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
}
