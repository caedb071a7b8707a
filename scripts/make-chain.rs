//! Makes a data directory with one user and a chain of any length, directly: for measurements, and
//! for whoever wants to see how a long history behaves.
//!
//!     cargo run --release --example make-chain -- DIR TRANSACTIONS [--user UUID] [--chunks N]
//!
//! Ids follow from the user and the number, so the same arguments make the same directory. Nothing
//! is synced. A transaction is a small file: a million take about as many blocks of the file system
//! (4 GiB on ext4) and the better part of a minute.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Parser;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The root transaction, which every chain starts from.
const ROOT: Uuid = Uuid::nil();

/// How many threads write: it is the kernel that works, and more only wait for one another.
const WRITERS: usize = 2;

/// What to make.
#[derive(Parser)]
#[command(about = "Makes a data directory with one user and a chain of any length")]
pub struct Chain {
    /// The data directory, which must be absent or empty.
    pub data: PathBuf,
    /// How long the chain is.
    pub transactions: u64,
    /// Whose it is.
    #[arg(long, default_value = "c4a1a000-0000-4000-8000-000000000000")]
    pub user: Uuid,
    /// How many chunks there are; each transaction names one of them, in turn. 0: none names any.
    #[arg(long, default_value_t = 1)]
    pub chunks: u64,
}

impl Chain {
    /// The id of the transaction with this number.
    pub fn id(&self, seq: u64) -> Uuid {
        if seq == 0 {
            return ROOT;
        }
        let (high, low) = self.user.as_u64_pair();
        let (high, low) = (mixed(high ^ seq), mixed(low.wrapping_add(seq)));
        uuid::Builder::from_u128(u128::from(high) << 64 | u128::from(low))
            .with_version(uuid::Version::Random)
            .with_variant(uuid::Variant::RFC4122)
            .into_uuid()
    }

    /// The bytes of one of the chunks.
    pub fn chunk(&self, number: u64) -> String {
        format!("chunk {number} of {}\n", self.chunks)
    }

    /// Makes it.
    pub fn make(&self) -> io::Result<()> {
        let folder = self.data.join("users").join(self.user.to_string());
        for place in ["tmp", "trash"] {
            make_directory(&self.data.join(place))?;
        }
        for place in ["incoming/transactions", "incoming/chunks", "incoming/tmp"] {
            make_directory(&folder.join(place))?;
        }
        for shard in 0..=255_u8 {
            for area in ["chunks", "transactions"] {
                make_directory(&folder.join(format!("{area}/{shard:02x}")))?;
            }
        }
        write(&self.data.join("FORMAT"), b"mentat-sync 1\n")?;
        write(&folder.join("lock"), b"")?;
        write(&folder.join("gate"), b"")?;

        let mut digests = Vec::new();
        for number in 0..self.chunks {
            let bytes = self.chunk(number);
            let digest = hex::encode(Sha256::digest(&bytes));
            let place = format!("chunks/{}/{digest}", &digest[..2]);
            write(&folder.join(place), bytes.as_bytes())?;
            digests.push(digest);
        }
        // Folder by folder: a third quicker on ext4 than in the order of the chain, where each file
        // lands in another part of the disk than the one before.
        let mut shards = vec![Vec::new(); 256];
        for seq in 1..=self.transactions {
            shards[usize::from(self.id(seq).as_bytes()[0])].push(seq);
        }
        std::thread::scope(|scope| {
            let writers: Vec<_> = shards
                .chunks(shards.len() / WRITERS)
                .map(|shards| {
                    let (folder, digests) = (&folder, &digests);
                    scope.spawn(move || {
                        (shards.iter().flatten())
                            .try_for_each(|seq| self.write_transaction(folder, digests, *seq))
                    })
                })
                .collect();
            writers
                .into_iter()
                .try_for_each(|writer| writer.join().expect("a writer does not panic"))
        })?;

        let mut log = BufWriter::new(new_file(&folder.join("log"))?);
        for seq in 1..=self.transactions {
            writeln!(log, "{seq:012} {}", self.id(seq))?;
        }
        log.flush()?;
        let head = format!("{}\n", self.id(self.transactions));
        write(&folder.join("HEAD"), head.as_bytes())
    }

    fn write_transaction(&self, folder: &Path, digests: &[String], seq: u64) -> io::Result<()> {
        let (id, parent) = (self.id(seq).to_string(), self.id(seq - 1));
        let chunk = match digests {
            [] => String::new(),
            some => format!("\"{}\"", some[(seq % self.chunks) as usize]),
        };
        let json = format!(
            "{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":\"{parent}\",\"chunks\":[{chunk}]}}\n"
        );
        let place = folder.join(format!("transactions/{}/{id}.json", &id[..2]));
        write(&place, json.as_bytes())
    }
}

/// SplitMix64's last step: neighbours become strangers, and no two numbers the same one.
fn mixed(number: u64) -> u64 {
    let mut number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn new_file(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    new_file(path)?.write_all(bytes)
}

fn main() -> io::Result<()> {
    Chain::parse().make()
}
