//! What these tests are made of: one user's store on a simulated box, and a clock that they set.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mentat_sync::disk::Place;
use mentat_sync::model::{ChunkDigest, ChunkId, Head, TransactionId, UserId};
use mentat_sync::store::{
    Advance, Exclusive, Mistake, Options, Proposal, PutChunk, PutTransaction, Shared, Store,
};
use mentat_sync::upkeep::gc::{self, Collected, Garbage, collect};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use simulated_disk::{Chooser, Reading, Sim, SimDisk};

pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// The grace period of all tests: the default one.
pub const GRACE: Duration = Duration::from_secs(14 * 24 * 3600);

pub fn user() -> UserId {
    UserId::from_bytes([0x22; 16])
}

pub fn tx(n: u8) -> TransactionId {
    TransactionId::from_bytes([n; 16])
}

/// What the chunk of this number holds.
pub fn bytes(n: u8) -> Vec<u8> {
    vec![n; usize::from(n) + 1]
}

pub fn chunk(n: u8) -> ChunkId {
    let digest = Sha256::digest(bytes(n)).into();
    ChunkId::Digest(ChunkDigest::from_bytes(digest))
}

/// An alias of the chunk of this number.
pub fn alias(n: u8) -> ChunkId {
    ChunkId::Alias(Uuid::from_bytes([n; 16]))
}

/// A box of its own.
pub fn fresh() -> Sim {
    Sim::new(Reading::Posix)
}

/// A process that has the store open.
pub fn open(sim: &Sim) -> Store {
    open_mistaken(sim, None)
}

/// The same, breaking a rule.
pub fn open_mistaken(sim: &Sim, mistake: Option<Mistake>) -> Store {
    enter(sim, mistake).1
}

/// A process, and the store that it has open.
pub fn enter(sim: &Sim, mistake: Option<Mistake>) -> (SimDisk, Store) {
    let process = sim.process();
    let (disk, options) = (Arc::new(process.clone()), Options::default());
    let store = match mistake {
        Some(mistake) => Store::open_with_mistake(disk, options, mistake),
        None => Store::open(disk, options),
    };
    (process, store.unwrap())
}

/// Every order of the steps within the bounds of this: the first thing that is wrong, or how many orders there were.
pub fn walk(
    mut one_order: impl FnMut(Chooser) -> (Chooser, Option<String>),
) -> Result<usize, String> {
    let mut chooser = Chooser::walk();
    for orders in 1.. {
        let (next, wrong) = one_order(chooser);
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        chooser = next;
        if !chooser.advance() {
            return Ok(orders);
        }
    }
    unreachable!("a walk ends")
}

pub fn pass(sim: &Sim, time: Duration) {
    sim.with(|world| world.clock += time);
}

fn shared(store: &Store) -> Shared {
    store.user(user()).shared_blocking().unwrap().unwrap()
}

fn exclusive(store: &Store) -> Exclusive {
    store.user(user()).exclusive_blocking().unwrap().unwrap()
}

pub fn put_chunk(store: &Store, n: u8) {
    put_chunk_as(store, n, &chunk(n));
}

pub fn put_alias(store: &Store, n: u8) {
    put_chunk_as(store, n, &alias(n));
}

/// Asks which of these are not there.
pub fn ask(store: &Store, ids: &[ChunkId]) -> Vec<ChunkId> {
    let lock = store.user(user()).shared_blocking().unwrap();
    match lock {
        Some(lock) => lock.missing(ids).unwrap(),
        None => store.user(user()).missing_all(ids).unwrap(),
    }
}

fn put_chunk_as(store: &Store, n: u8, id: &ChunkId) {
    let mut staged = store.user(user()).stage().unwrap();
    staged.write(&bytes(n)).unwrap();
    let sealed = staged.seal().unwrap();
    let outcome = shared(store).put_chunk(sealed, id);
    assert_eq!(outcome.unwrap(), PutChunk::Stored);
}

pub fn put(store: &Store, id: u8, parent: TransactionId, chunks: &[ChunkId]) -> PutTransaction {
    let proposal = Proposal {
        id: tx(id),
        parent,
        chunks: chunks.to_vec(),
        seq: None,
    };
    let draft = store.user(user()).draft(proposal).unwrap();
    let outcome = shared(store).put_transaction(draft);
    match outcome.unwrap() {
        PutTransaction::Crowded(proposal) => {
            let draft = store.user(user()).draft(*proposal).unwrap();
            (exclusive(store).put_transaction(draft)).unwrap()
        }
        outcome => outcome,
    }
}

/// Puts a transaction that must be accepted.
pub fn accept(store: &Store, id: u8, parent: TransactionId, chunks: &[ChunkId]) {
    assert_eq!(put(store, id, parent, chunks), PutTransaction::Accepted);
}

pub fn advance(store: &Store, id: u8) -> Advance {
    let (outcome, leftovers) = (exclusive(store).advance(tx(id))).unwrap();
    leftovers.clear();
    outcome
}

/// An advance that dies before it drops what it leaves in `incoming/`.
pub fn advance_and_die(store: &Store, id: u8) {
    let (outcome, leftovers) = (exclusive(store).advance(tx(id))).unwrap();
    assert!(matches!(outcome, Advance::Advanced(_)));
    drop(leftovers);
}

pub fn advance_to(store: &Store, id: u8, seq: u64) {
    assert_eq!(
        advance(store, id),
        Advance::Advanced(Head { id: tx(id), seq })
    );
}

/// Collects, and says what went.
pub fn sweep(store: &Store) -> Vec<Garbage> {
    let mut gone = Vec::new();
    let ended = collect(
        store,
        &user(),
        &gc::CollectOptions::default(),
        &mut |garbage| {
            gone.push(garbage);
        },
    );
    assert_eq!(ended.unwrap(), Collected::All);
    gone
}

/// Says what would go.
pub fn dry_run(store: &Store) -> Vec<Garbage> {
    let options = gc::CollectOptions {
        dry_run: true,
        ..gc::CollectOptions::default()
    };
    let mut told = Vec::new();
    collect(store, &user(), &options, &mut |garbage| told.push(garbage)).unwrap();
    told
}

pub fn folder() -> Place {
    folder_of(&user())
}

pub fn folder_of(user: &UserId) -> Place {
    Place::new("users").join(&user.to_string())
}

/// The files below a directory of the user's folder.
pub fn files(sim: &Sim, below: &str) -> BTreeSet<String> {
    let files = sim.world().files_below(&folder().join(below));
    (files
        .into_iter()
        .map(|(place, ..)| place.as_str().to_owned()))
    .collect()
}

pub fn incoming(sim: &Sim) -> BTreeSet<String> {
    files(sim, "incoming")
}

pub fn is_pending(store: &Store, id: u8) -> bool {
    store.user(user()).needs(tx(id)).unwrap().is_some()
}

pub fn is_there(store: &Store, id: &ChunkId) -> bool {
    store.user(user()).chunk(id).unwrap().is_some()
}
