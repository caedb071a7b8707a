//! Makes a journal of any length, sealed as devices seal it: for measurements, and for whoever wants to see how a device with a
//! long history behaves.
//!
//!     cargo run --release --example make-journal -- DIR TRANSACTIONS [--bytes N] [--pending]
//!
//! `DIR/server` is the data directory of a server that has it, and `DIR/invite` an invite to it, in which the address before
//! the # is to be that of the server. With --pending there is no server: `DIR/device` is a device that has not pushed it yet,
//! which takes a few syncs for each transaction.

// A file for a measurement, which nobody trusts to be durable.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use mentat_sync::client::{
    HttpOptions, HttpRemote, Identity, JournalBody, JournalEntry, Keyring, Nonce, Replica, Said,
};
use mentat_sync::disk::{Grouping, Real};
use mentat_sync::model::{ChunkDigest, TransactionId};
use mentat_sync::store::{Options, PushBundle, Store};
use sha2::{Digest, Sha256};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Transactions that the store takes in at a time: their members are committed at once.
const SLICE: u64 = 30_000;

/// What to make.
#[derive(Parser)]
#[command(about = "Makes a journal of any length, sealed as devices seal it")]
struct Journal {
    /// The directory, which must be absent or empty.
    dir: PathBuf,
    /// How many transactions there are.
    transactions: u64,
    /// How many bytes each one's text has: these make a chunk of 1 KiB.
    #[arg(long, default_value_t = 850)]
    bytes: usize,
    /// Make a device that has not pushed it yet, and no server.
    #[arg(long)]
    pending: bool,
}

impl Journal {
    fn make(&self) -> Outcome {
        let identity = Identity::generate("http://127.0.0.1:1".parse()?)?;
        match self.pending {
            true => self.commit(&identity),
            false => self.serve(&identity),
        }
    }

    /// What the transaction with this number says.
    fn entry(&self, seq: u64) -> Outcome<Vec<u8>> {
        let mut text = format!("entry {seq} ");
        while text.len() < self.bytes {
            text += &hex::encode(Sha256::digest(text.as_bytes()));
        }
        text.truncate(self.bytes);
        let entry = JournalEntry {
            by: "desk".to_owned(),
            at: "2026-11-28T09:12:04Z".to_owned(),
            note: None,
            what: JournalBody::Text(text),
        };
        Ok(entry.encode()?.to_vec())
    }

    fn commit(&self, identity: &Identity) -> Outcome {
        let options = HttpOptions::of_environment();
        let remote = HttpRemote::new(&identity.server, identity.user, options)?;
        let device = self.dir.join("device");
        fs::create_dir_all(&device)?;
        let replica = Replica::create_with(&device, identity, Arc::new(remote))?;
        for seq in 1..=self.transactions {
            replica.commit(&self.entry(seq)?, &[])?;
        }
        Ok(())
    }

    fn serve(&self, identity: &Identity) -> Outcome {
        let server = self.dir.join("server");
        fs::create_dir_all(&server)?;
        private(&server)?;
        let disk = Real::new(&server, Grouping::Auto)?;
        let user = Store::open(Arc::new(disk), Options::default())?.user(identity.user);
        user.add()?;
        let mut chain = Chain {
            journal: self,
            keys: identity.keyring(),
            parent: TransactionId::ROOT,
            seq: 0,
        };
        while chain.seq < self.transactions {
            let mut bundle = chain.slice()?;
            match user.push_bundle(&mut bundle)?.0 {
                PushBundle::Taken { .. } => {}
                other => return Err(format!("a bundle is answered {other:?}").into()),
            }
        }
        let invite = self.dir.join("invite");
        fs::write(&invite, identity.invite().as_bytes())?;
        private(&invite)
    }
}

/// The chain, as far as it is made.
struct Chain<'a> {
    journal: &'a Journal,
    keys: Keyring,
    parent: TransactionId,
    seq: u64,
}

impl Chain<'_> {
    /// The next transactions, as a bundle.
    fn slice(&mut self) -> Outcome<impl Read + use<>> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes)
        };
        let last = self.journal.transactions.min(self.seq + SLICE);
        while self.seq < last {
            let seq = self.seq + 1;
            let said = Said {
                nonce: Nonce::generate()?,
                app: self.journal.entry(seq)?,
            };
            let chunk = self.keys.seal_entry(self.parent, seq, &[], &said);
            let chunk = chunk.map_err(|long| long.to_string())?;
            let digest = ChunkDigest::from_bytes(Sha256::digest(&chunk).into());
            let id = TransactionId::of_content(self.parent, seq, [digest].iter());
            let (chunk_name, id_name) = (digest.to_string(), id.to_string());
            add(&format!("chunks/{}/{chunk_name}", &chunk_name[..2]), &chunk)?;
            let parent = self.parent;
            let json = format!(
                "{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":\"{parent}\",\"chunks\":[\"{digest}\"]}}\n"
            );
            let name = format!("transactions/{}/{id_name}.json", &id_name[..2]);
            add(&name, json.as_bytes())?;
            (self.parent, self.seq) = (id, seq);
        }
        add("HEAD", format!("{}\n", self.parent).as_bytes())?;
        Ok(std::io::Cursor::new(tar.into_inner()?))
    }
}

/// Nobody else may look into it.
fn private(path: &Path) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

fn main() -> Outcome {
    Journal::parse().make()
}
