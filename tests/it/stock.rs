//! A store made through the library, for tests that then damage it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use mentat_sync::disk::{Disk, Grouping, Mode, Real};
use mentat_sync::model::{ChunkId, Head, TransactionId, UserId};
use mentat_sync::store::{Advance, Options, Proposal, PutChunk, PutTransaction, Store};
use mentat_sync::upkeep::fsck::{self, Finding, Kind, Mended, Severity, Summary};

/// The user whose store it is.
pub const USER: UserId = UserId::from_bytes([0x75; 16]);

/// A data directory with one user, and the store in it.
pub struct Stock {
    pub directory: tempfile::TempDir,
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
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(real(&directory), Self::options()).unwrap();
        Self { directory, store }
    }

    fn options() -> Options {
        Options {
            uuid_chunk_ids: true,
            ..Options::default()
        }
    }

    /// Opens the directory anew, as a restarted server does.
    pub fn reopen(&mut self) {
        self.store = Store::open(real(&self.directory), Self::options()).unwrap();
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
        let mut staged = self.store.stage(&USER).unwrap();
        staged.write(bytes).unwrap();
        let sealed = self.store.seal(staged).unwrap();
        let lock = self.store.lock_blocking(&USER, Mode::Shared).unwrap();
        let outcome = self.store.put_chunk(lock.unwrap(), sealed, &id).unwrap();
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
        let draft = self.store.draft(&USER, proposal).unwrap();
        let lock = self.store.lock_blocking(&USER, Mode::Shared).unwrap();
        let outcome = self.store.put_transaction(lock.unwrap(), draft).unwrap();
        assert_eq!(outcome, PutTransaction::Accepted);
    }

    /// Advances HEAD.
    pub fn advance(&self, to: TransactionId) -> Advance {
        let lock = self.store.lock_blocking(&USER, Mode::Exclusive).unwrap();
        let (outcome, leftovers) = self.store.advance(lock.unwrap(), to).unwrap();
        leftovers.clear(&self.store);
        outcome
    }

    /// A path in the data directory.
    pub fn path(&self, rest: &str) -> PathBuf {
        self.directory.path().join(rest)
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
        check(self.directory.path(), &fsck::Options::default())
    }

    /// What `fsck --repair` says of it.
    pub fn repair(&self) -> Seen {
        let options = fsck::Options {
            repair: true,
            ..fsck::Options::default()
        };
        check(self.directory.path(), &options)
    }
}

fn real(directory: &tempfile::TempDir) -> Arc<dyn Disk> {
    Arc::new(Real::new(directory.path(), Grouping::Auto).unwrap())
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

    /// The one finding of this kind.
    #[track_caller]
    pub fn one(&self, kind: Kind) -> &Finding {
        let of_kind: Vec<_> = self.findings.iter().filter(|f| f.kind == kind).collect();
        assert_eq!(of_kind.len(), 1, "{kind:?} in {self:#?}");
        of_kind[0]
    }

    /// There is no damage.
    #[track_caller]
    pub fn is_sound(&self) {
        let bad = |finding: &Finding| finding.severity != Severity::Harmless;
        assert!(!self.findings.iter().any(bad), "{self:#?}");
        assert_eq!(self.summary.damage + self.summary.unchecked, 0);
    }

    /// There is nothing at all to say.
    #[track_caller]
    pub fn is_spotless(&self) {
        assert!(self.findings.is_empty(), "{self:#?}");
    }
}

/// What fsck says of this directory.
pub fn check(directory: &std::path::Path, options: &fsck::Options) -> Seen {
    let disk = Arc::new(Real::new(directory, Grouping::Auto).unwrap());
    let watch = Gather::default();
    let summary = fsck::check(disk, options, &watch).unwrap();
    let mut seen = watch.0.into_inner().unwrap();
    seen.findings.sort_by_key(|f| (f.kind, f.place.clone()));
    seen.summary = summary;
    seen
}

#[derive(Default)]
struct Gather(Mutex<Seen>);

impl fsck::Watch for Gather {
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
