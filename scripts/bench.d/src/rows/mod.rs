//! The rows of the table, one file a theme.

pub mod advance;
pub mod bundle;
pub mod device;
pub mod fsck;
pub mod get;
pub mod put;
pub mod scale;
pub mod taskchampion;

use std::path::{Path, PathBuf};

use anyhow::Result;
use sha2::{Digest, Sha256};

use crate::load::{self, Request};
use crate::measure::settle;
use crate::peers::Peers;
use crate::running::Running;

/// What all rows share.
pub struct Bench {
    /// The server's program.
    pub binary: PathBuf,
    /// Where everything that is measured lies: all of it on one file system.
    pub work: PathBuf,
    /// Where what takes long to make is kept from one run to the next.
    pub kept: PathBuf,
    pub server: Running,
    pub data: PathBuf,
    pub peers: Peers,
    pub sizes: Sizes,
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Turns of each side.
    pub runs: usize,
    /// How long wrk reads in one turn, in seconds.
    pub seconds: u64,
    /// Different chunks of 4 KiB, 64 KiB and 1 MiB that are read.
    pub reads: [usize; 3],
    /// Uploads in one turn over 64, 16 and 1 connections.
    pub uploads: [usize; 3],
    /// Advances of HEAD in one turn.
    pub advances: usize,
    /// Transactions that are pushed and pulled.
    pub history: usize,
    /// The bytes of the long file that a device pushes and clones.
    pub file: u64,
    /// Transactions in the short and in the long chain.
    pub chains: [u64; 2],
    /// Requests to each of them in one turn.
    pub looks: usize,
    /// Versions of TaskChampion's that are added in one turn, by all clients together.
    pub added: usize,
    /// Versions that a new client of its syncs.
    pub versions: usize,
}

impl Sizes {
    pub const FULL: Self = Self {
        runs: 5,
        seconds: 3,
        reads: [20_000, 2_000, 200],
        uploads: [20_000, 10_000, 2_000],
        advances: 500,
        history: 10_000,
        file: 1 << 30,
        chains: [1_000, 1_000_000],
        looks: 500,
        added: 1_000,
        versions: 1_000,
    };

    /// Just enough to see that every row runs.
    pub const QUICK: Self = Self {
        runs: 1,
        seconds: 1,
        reads: [200, 50, 5],
        uploads: [200, 100, 20],
        advances: 10,
        history: 100,
        file: 8 << 20,
        chains: [1_000, 5_000],
        looks: 10,
        added: 32,
        versions: 30,
    };
}

/// A chunk: its SHA-256 in hex, and its bytes.
pub struct Chunk {
    pub id: String,
    pub bytes: Vec<u8>,
}

impl Chunk {
    /// Bytes that no other chunk has and that nothing can compress, made from two numbers.
    pub fn new(series: u64, number: u64, length: usize) -> Self {
        let mut bytes = Vec::with_capacity(length + 8);
        let mut state = mixed(series) ^ number;
        while bytes.len() < length {
            state = mixed(state);
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(length);
        let id = hex::encode(Sha256::digest(&bytes));
        Self { id, bytes }
    }

    pub fn put(&self, user: &str) -> Request {
        let path = format!("/0.1/{user}/chunks/{}", self.id);
        Request::new("PUT", &path, &self.bytes, 201)
    }
}

/// SplitMix64's last step.
fn mixed(number: u64) -> u64 {
    let mut number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A new user or transaction.
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

pub const ROOT: &str = "00000000-0000-0000-0000-000000000000";

pub fn put_transaction(user: &str, id: &str, parent: &str, chunks: &[&str]) -> Request {
    let path = format!("/0.1/{user}/transactions/{id}");
    let body = serde_json::json!({ "parent": parent, "chunks": chunks }).to_string();
    Request::new("PUT", &path, body.as_bytes(), 201)
}

pub fn put_head(user: &str, id: &str) -> Request {
    let path = format!("/0.1/{user}/head");
    let body = serde_json::json!({ "head": id }).to_string();
    Request::new("PUT", &path, body.as_bytes(), 204)
}

impl Bench {
    /// Where a chunk of this user's lies once it is committed, from the data directory.
    pub fn committed(user: &str, chunk: &str) -> String {
        format!("users/{user}/chunks/{}/{chunk}", &chunk[..2])
    }

    /// Uploads these chunks and commits them in one transaction.
    pub fn commit(&self, user: &str, parent: &str, chunks: &[Chunk]) -> Result<String> {
        let puts: Vec<Request> = chunks.iter().map(|chunk| chunk.put(user)).collect();
        load::run(self.server.address, 16, &puts)?;
        let ids: Vec<&str> = chunks.iter().map(|chunk| chunk.id.as_str()).collect();
        let id = new_id();
        let advance = [
            put_transaction(user, &id, parent, &ids),
            put_head(user, &id),
        ];
        load::run(self.server.address, 1, &advance)?;
        settle(&self.work)?;
        Ok(id)
    }

    /// Whether the server's program has this subcommand.
    pub fn has_subcommand(&self, name: &str) -> bool {
        std::process::Command::new(&self.binary)
            .args([name, "--help"])
            .output()
            .is_ok_and(|output| output.status.success())
    }

    pub fn place(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }
}

/// A path as a program's argument.
pub fn text(path: &Path) -> String {
    path.display().to_string()
}
