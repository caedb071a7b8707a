//! A store made through the library, for tests that then damage it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mentat_sync::disk::{Disk, Grouping, Real};
use mentat_sync::model::{ChunkId, Head, TransactionId, UserId};
use mentat_sync::store::{
    Advance, Options, Proposal, PutCheckpoint, PutChunk, PutTransaction, RenameUser, Store,
    StoreKind,
};
use mentat_sync::upkeep::fsck::{self, Finding, Kind, Mended, Summary};

/// The user whose store it is.
pub const USER: UserId = UserId::from_bytes([0x75; 16]);

/// A data directory with one user, and the store in it.
pub struct Stock {
    pub directory: Arc<tempfile::TempDir>,
    pub store: Store,
}

/// The transaction of this number in [`Stock::chain`].
pub fn transaction(n: u32) -> TransactionId {
    let mut bytes = [0x40; 16];
    // Spread over the directories, as real ids are.
    bytes[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b1).to_be_bytes());
    bytes[12..].copy_from_slice(&n.to_be_bytes());
    TransactionId::from_bytes(bytes)
}

/// The chunk id that is this alias.
pub fn alias(n: u8) -> ChunkId {
    uuid::Uuid::from_bytes([n; 16]).to_string().parse().unwrap()
}

impl Stock {
    /// An empty data directory.
    pub fn new() -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        let store = Store::open(real(&data), Self::options()).unwrap();
        Self { directory, store }
    }

    /// An empty store of a device.
    pub fn replica() -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        let options = Options {
            kind: StoreKind::Replica,
            ..Self::options()
        };
        let store = Store::open(real(&data), options).unwrap();
        Self { directory, store }
    }

    fn options() -> Options {
        Options {
            uuid_chunk_ids: true,
            ..Options::default()
        }
    }

    /// A store with everything that a store can have, none of it wrong: a chain of `length`, each of its
    /// transactions with a chunk of its own and one that all share, the second with an alias too; after it one
    /// pending transaction, and beside it a dead one.
    pub fn full(length: u32) -> Self {
        let stock = Self::new();
        stock.chain(length);
        stock.pending(length + 1, transaction(length), &[stock.chunk("pending")]);
        stock.pending(length + 2, transaction(length - 1), &[stock.chunk("dead")]);
        stock
    }

    /// A chain of this length.
    pub fn chain(&self, length: u32) {
        let shared = self.chunk("shared");
        for n in 1..=length {
            let parent = match n {
                1 => TransactionId::ROOT,
                _ => transaction(n - 1),
            };
            let mut chunks = vec![self.chunk(&format!("chunk {n}")), shared];
            if n == 2 {
                self.put(b"by another name", alias(9));
                chunks.push(alias(9));
            }
            self.pending(n, parent, &chunks);
            assert!(matches!(self.advance(transaction(n)), Advance::Advanced(_)));
        }
    }

    /// Uploads a chunk.
    pub fn chunk(&self, text: &str) -> ChunkId {
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text));
        let id = digest.parse().unwrap();
        self.put(text.as_bytes(), id);
        id
    }

    /// Uploads bytes under an id that may be an alias.
    pub fn put(&self, bytes: &[u8], id: ChunkId) {
        let mut staged = self.store.user(USER).stage().unwrap();
        staged.write(bytes).unwrap();
        let sealed = staged.seal().unwrap();
        let lock = self.store.user(USER).shared_blocking().unwrap();
        let outcome = lock.unwrap().put_chunk(sealed, &id).unwrap();
        assert_eq!(outcome, PutChunk::Stored);
    }

    /// Uploads a transaction.
    pub fn pending(&self, n: u32, parent: TransactionId, chunks: &[ChunkId]) {
        let proposal = Proposal {
            id: transaction(n),
            parent,
            chunks: chunks.to_vec(),
            seq: None,
        };
        let draft = self.store.user(USER).draft(proposal).unwrap();
        let lock = self.store.user(USER).shared_blocking().unwrap();
        let outcome = lock.unwrap().put_transaction(draft).unwrap();
        assert_eq!(outcome, PutTransaction::Accepted);
    }

    /// Puts a checkpoint, of a chunk of its own, of the transaction of this number.
    pub fn checkpoint(&self, n: u32) {
        let chunk = self.chunk("state");
        let lock = self.store.user(USER).exclusive_blocking().unwrap();
        let outcome = lock.unwrap().put_checkpoint(transaction(n), &[chunk]);
        assert_eq!(outcome.unwrap(), PutCheckpoint::Stored);
        fs::remove_file(self.chunk_file("incoming/", "state")).unwrap();
    }

    /// Where the chunk of the checkpoint stands.
    pub fn checkpoint_file(&self) -> PathBuf {
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("state"));
        self.file(&format!("checkpoint/{}/{digest}", &digest[..2]))
    }

    /// Advances HEAD.
    pub fn advance(&self, to: TransactionId) -> Advance {
        let lock = self.store.user(USER).exclusive_blocking().unwrap();
        let (outcome, leftovers) = lock.unwrap().advance(to).unwrap();
        leftovers.clear();
        outcome
    }

    /// The data directory, where a test's server looks for it.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A path in the data directory.
    pub fn path(&self, rest: &str) -> PathBuf {
        self.data().join(rest)
    }

    /// A path in the user's folder.
    pub fn file(&self, rest: &str) -> PathBuf {
        self.path(&format!("users/{USER}")).join(rest)
    }

    /// Where the chunk with this text is, committed or `incoming/`.
    pub fn chunk_file(&self, area: &str, text: &str) -> PathBuf {
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text));
        self.file(&format!("{area}chunks/{}/{digest}", &digest[..2]))
    }

    /// Where the transaction of this number is, if it is committed.
    pub fn transaction_file(&self, n: u32) -> PathBuf {
        let id = transaction(n).to_string();
        self.file(&format!("transactions/{}/{id}.json", &id[..2]))
    }

    /// Where the transaction of this number is, if it is pending.
    pub fn pending_file(&self, n: u32) -> PathBuf {
        self.file(&format!("incoming/transactions/{}.json", transaction(n)))
    }

    /// What fsck says of it.
    pub fn check(&self) -> Seen {
        check(&self.data(), &fsck::CheckOptions::default())
    }

    /// What `fsck --repair` says of it.
    pub fn repair(&self) -> Seen {
        let options = fsck::CheckOptions {
            repair: true,
            ..fsck::CheckOptions::default()
        };
        check(&self.data(), &options)
    }
}

fn real(data: &Path) -> Arc<dyn Disk> {
    Arc::new(Real::new(data, Grouping::Auto).unwrap())
}

/// Tells others to stop when it goes, also by a panic: or they would be waited for for ever.
pub struct StopAtEnd<'a>(pub &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Gives the user one new id after the other, with a pause between.
pub fn renames(stock: &Stock, stop: &AtomicBool, pause: Duration) {
    let mut user = USER;
    for n in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let mut next = [0x76; 16];
        next[12..].copy_from_slice(&u32::to_be_bytes(n));
        let next = UserId::from_bytes(next);
        let lock = stock
            .store
            .user(user)
            .exclusive_blocking()
            .unwrap()
            .unwrap();
        let renamed = lock.rename(&next).unwrap();
        assert_eq!(renamed, RenameUser::Renamed);
        user = next;
        std::thread::sleep(pause);
    }
}

/// What fsck said.
#[derive(Debug, Default)]
pub struct Seen {
    pub summary: Summary,
    pub findings: Vec<Finding>,
    pub mended: Vec<Mended>,
    pub newest_sound: Option<Head>,
    pub checked: u64,
}

impl Seen {
    /// The kinds of what was found, each once, in order.
    pub fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.findings.iter().map(|f| f.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// The same, with how bad it is.
    pub fn words(&self) -> Vec<String> {
        let word = |f: &Finding| format!("{} {}", f.severity.as_str(), f.kind.as_str());
        let mut words: Vec<_> = self.findings.iter().map(word).collect();
        words.sort_unstable();
        words.dedup();
        words
    }

    /// The one finding of this kind.
    #[track_caller]
    pub fn one(&self, kind: Kind) -> &Finding {
        let of_kind: Vec<_> = self.findings.iter().filter(|f| f.kind == kind).collect();
        assert_eq!(of_kind.len(), 1, "{kind:?} in {self:#?}");
        of_kind[0]
    }

    /// There is nothing at all to say.
    #[track_caller]
    pub fn is_spotless(&self) {
        assert!(self.findings.is_empty(), "{self:#?}");
    }
}

/// What fsck says of this directory.
pub fn check(directory: &Path, options: &fsck::CheckOptions) -> Seen {
    check_disk(real(directory), options)
}

/// What fsck says of this disk.
pub fn check_disk(disk: Arc<dyn Disk>, options: &fsck::CheckOptions) -> Seen {
    let watch = Gather::default();
    let summary = fsck::check(disk, options, &watch).unwrap();
    let mut seen = watch.0.into_inner().unwrap();
    seen.findings.sort_by_key(|f| (f.kind, f.place.clone()));
    seen.summary = summary;
    seen
}

#[derive(Default)]
struct Gather(Mutex<Seen>);

impl fsck::Observer for Gather {
    fn found(&self, finding: &Finding) {
        self.0.lock().unwrap().findings.push(finding.clone());
    }

    fn mended(&self, mended: &Mended) {
        self.0.lock().unwrap().mended.push(mended.clone());
    }

    fn newest_sound(&self, _: &UserId, newest: Head) {
        self.0.lock().unwrap().newest_sound = Some(newest);
    }

    fn checked(&self, _: u64) {
        self.0.lock().unwrap().checked += 1;
    }
}
