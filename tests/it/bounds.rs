//! How many transactions may be pending: whatever way they come, and whoever else is at it.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mentat_sync::disk::Place;
use mentat_sync::model::{ChunkDigest, ChunkId, Head, TransactionId, UserId};
use mentat_sync::store::{
    Advance, AdvanceRefusal, Error, Mistake, Options, Proposal, PushBundle, PutTransaction, Store,
};
use sha2::{Digest, Sha256};

use crate::kit::effort;
use crate::proof::cast::Tar;
use simulated_disk::{Bounds, Chooser, Program, Random, Reading, Sim, SimDisk, run};

const ROOT: TransactionId = TransactionId::ROOT;

fn user() -> UserId {
    UserId::from_bytes([0x33; 16])
}

fn tx(n: u32) -> TransactionId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&(n * 7919).to_le_bytes());
    bytes[15] = 1;
    TransactionId::from_bytes(bytes)
}

fn digest(bytes: &[u8]) -> ChunkId {
    ChunkId::Digest(ChunkDigest::from_bytes(Sha256::digest(bytes).into()))
}

fn with_limit(limit: usize) -> Options {
    Options {
        pending_transactions: limit,
        ..Options::default()
    }
}

fn enter(sim: &Sim, options: Options, mistake: Option<Mistake>) -> (SimDisk, Store) {
    let disk = sim.process();
    let shared = Arc::new(disk.clone());
    let store = match mistake {
        Some(mistake) => Store::open_with_mistake(shared, options, mistake),
        None => Store::open(shared, options),
    };
    (disk, store.unwrap())
}

fn fresh(limit: usize) -> (Sim, Store) {
    let sim = Sim::new(Reading::Posix);
    let (_, store) = enter(&sim, with_limit(limit), None);
    (sim, store)
}

fn pending(sim: &Sim) -> BTreeSet<String> {
    let place = folder().join("incoming/transactions");
    let files = sim.world().files_below(&place);
    (files.iter().map(|(place, ..)| place.name().to_owned())).collect()
}

fn folder() -> Place {
    Place::new("users").join(user())
}

/// As the server does it: under the exclusive lock where it must be.
fn put(store: &Store, n: u32, parent: TransactionId) -> PutTransaction {
    let mut proposal = Proposal {
        id: tx(n),
        parent,
        chunks: Vec::new(),
        seq: None,
    };
    for shared in [true, false] {
        let user = store.user(user());
        let draft = user.draft(proposal).unwrap();
        let put = match shared {
            true => {
                let lock = user.shared_blocking().unwrap().unwrap();
                lock.put_transaction(draft)
            }
            false => {
                let lock = user.exclusive_blocking().unwrap().unwrap();
                lock.put_transaction(draft)
            }
        };
        match put.unwrap() {
            PutTransaction::Crowded(again) => proposal = *again,
            outcome => return outcome,
        }
    }
    panic!("the exclusive lock can tell");
}

fn accept(store: &Store, n: u32, parent: TransactionId) {
    assert_eq!(put(store, n, parent), PutTransaction::Accepted, "{n}");
}

fn advance(store: &Store, n: u32) -> Advance {
    let lock = store.user(user()).exclusive_blocking().unwrap().unwrap();
    let (outcome, leftovers) = lock.advance(tx(n)).unwrap();
    leftovers.clear();
    outcome
}

fn head(store: &Store) -> Head {
    store.user(user()).head().unwrap()
}

fn full(limit: usize, used: usize) -> PutTransaction {
    PutTransaction::TooManyPending { limit, used }
}

/// A transaction of a bundle: its number, that of its parent, and how many follow the root there.
type Row = (u32, u32, u64);

/// A line of so many, the first of which has this number and follows `parent`, which has `seq`.
fn line(first: u32, count: u32, parent: u32, seq: u64) -> Vec<Row> {
    let of = |n| match n {
        0 => (first, parent, seq + 1),
        n => (first + n, first + n - 1, seq + 1 + u64::from(n)),
    };
    (0..count).map(of).collect()
}

fn bundle(rows: &[Row], chunk: Option<&[u8]>, head: Option<u32>) -> Vec<u8> {
    let mut tar = Tar::default();
    let mut named = String::new();
    if let Some(bytes) = chunk {
        let id = digest(bytes).to_string();
        tar.add(&format!("chunks/{}/{id}", &id[..2]), bytes);
        named = format!("\"{id}\"");
    }
    for (n, parent, seq) in rows {
        let parent = if *parent == 0 { ROOT } else { tx(*parent) };
        let id = tx(*n).to_string();
        let json = format!(
            "{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":\"{parent}\",\"chunks\":[{named}]}}\n"
        );
        tar.add(
            &format!("transactions/{}/{id}.json", &id[..2]),
            json.as_bytes(),
        );
    }
    if let Some(head) = head {
        tar.add("HEAD", format!("{}\n", tx(head)).as_bytes());
    }
    tar.end()
}

fn push(store: &Store, tar: &[u8]) -> PushBundle {
    let (outcome, leftovers) = store.user(user()).push_bundle(&mut &tar[..]).unwrap();
    if let Some(leftovers) = leftovers {
        leftovers.clear();
    }
    outcome
}

#[track_caller]
fn is_too_much(outcome: PushBundle, expected: (usize, usize, usize)) {
    match outcome {
        PushBundle::TooManyPending {
            limit,
            used,
            wanted,
        } => assert_eq!((limit, used, wanted), expected),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn is_taken_to(outcome: PushBundle, seq: u64) {
    assert!(
        matches!(outcome, PushBundle::Taken { head, .. } if head.seq == seq),
        "{outcome:?}"
    );
}

#[test]
fn what_comes_in_a_bundle_counts_like_everything_else() {
    let (sim, store) = fresh(100);
    // Without HEAD; with a HEAD that something in the bundle follows; with two branches.
    is_too_much(
        push(&store, &bundle(&line(1, 101, 0, 0), None, None)),
        (100, 0, 101),
    );
    is_too_much(
        push(&store, &bundle(&line(1, 300, 0, 0), None, Some(299))),
        (100, 0, 300),
    );
    let branches = [line(1, 101, 0, 0), line(201, 1, 0, 0)].concat();
    is_too_much(
        push(&store, &bundle(&branches, None, Some(101))),
        (100, 0, 102),
    );
    assert_eq!(pending(&sim).len(), 0);

    is_taken_to(push(&store, &bundle(&line(1, 60, 0, 0), None, None)), 0);
    is_too_much(
        push(&store, &bundle(&line(501, 41, 0, 0), None, None)),
        (100, 60, 41),
    );
    assert_eq!(pending(&sim).len(), 60);
    // What is there already is none more.
    is_taken_to(push(&store, &bundle(&line(1, 100, 0, 0), None, None)), 0);
    assert_eq!(pending(&sim).len(), 100);
    assert_eq!(put(&store, 999, ROOT), full(100, 100));
    is_too_much(
        push(&store, &bundle(&[(999, 0, 1)], None, None)),
        (100, 100, 1),
    );
    // Something follows its HEAD, so it stays pending, for which there is no room.
    is_too_much(
        push(&store, &bundle(&line(900, 2, 0, 0), None, Some(900))),
        (100, 100, 2),
    );
    assert_eq!(pending(&sim).len(), 100);
}

#[test]
fn a_bundle_that_is_refused_for_room_is_told_how_many_are_there_that_can_still_be_committed() {
    let (sim, store) = fresh(3);
    accept(&store, 1, ROOT);
    accept(&store, 2, ROOT);
    accept(&store, 3, tx(1));
    assert!(matches!(advance(&store, 3), Advance::Advanced(_)));
    accept(&store, 4, tx(3));
    assert_eq!(pending(&sim).len(), 2);
    // Of two branches it is known before all has come; of one line when HEAD has.
    let branches = [line(100, 3, 3, 2), line(200, 1, 3, 2)].concat();
    is_too_much(push(&store, &bundle(&branches, None, None)), (3, 1, 4));
    let followed = bundle(&line(100, 4, 3, 2), None, Some(102));
    is_too_much(push(&store, &followed), (3, 1, 4));
}

#[test]
fn what_head_reaches_at_once_is_never_pending() {
    let (sim, store) = fresh(3);
    sim.watch(|_, world| {
        let files = world.files_below(&folder().join("incoming/transactions"));
        assert!(files.len() <= 3, "{}", files.len());
    });
    // Straight; then with a chunk that is incoming already; then over a line that is pending.
    is_taken_to(
        push(&store, &bundle(&line(1, 50, 0, 0), Some(b"a"), Some(50))),
        50,
    );
    is_taken_to(
        push(&store, &bundle(&[(600, 50, 51)], Some(b"b"), None)),
        50,
    );
    assert_eq!(pending(&sim).len(), 1);
    let second = bundle(&line(51, 50, 50, 50), Some(b"b"), Some(100));
    is_taken_to(push(&store, &second), 100);
    accept(&store, 101, tx(100));
    accept(&store, 102, tx(101));
    is_taken_to(
        push(&store, &bundle(&line(103, 50, 102, 102), None, Some(152))),
        152,
    );
    // All of it again, and more.
    let all = [line(101, 52, 100, 100), line(153, 2, 152, 152)].concat();
    is_taken_to(push(&store, &bundle(&all, None, Some(154))), 154);
    sim.unwatch();
    assert_eq!(
        head(&store),
        Head {
            id: tx(154),
            seq: 154
        }
    );
    for n in [1, 51, 101, 102, 152, 154] {
        assert!(
            store.user(user()).transaction(tx(n)).unwrap().is_some(),
            "{n}"
        );
    }
}

#[test]
fn a_bundle_that_lost_the_race_leaves_no_more_than_there_is_room_for_and_its_chunks() {
    let (sim, store) = fresh(100);
    accept(&store, 1, ROOT);
    assert!(matches!(advance(&store, 1), Advance::Advanced(_)));
    let lost = |rows: &[Row], head| match push(&store, &bundle(rows, Some(b"mine"), Some(head))) {
        PushBundle::Refused { head, why } => assert_eq!(
            (head, why),
            (Head { id: tx(1), seq: 1 }, AdvanceRefusal::NotADescendant)
        ),
        other => panic!("{other:?}"),
    };
    lost(&line(1001, 300, 0, 0), 1300);
    assert_eq!(pending(&sim).len(), 0);
    assert!(
        store
            .user(user())
            .chunk(&digest(b"mine"))
            .unwrap()
            .is_some()
    );
    lost(&line(2001, 80, 0, 0), 2080);
    assert_eq!(pending(&sim).len(), 80);
    lost(&line(3001, 80, 0, 0), 3080);
    assert!(pending(&sim).len() <= 100);
    // The rebase.
    is_taken_to(
        push(
            &store,
            &bundle(&line(4001, 300, 1, 1), Some(b"mine"), Some(4300)),
        ),
        301,
    );
}

#[test]
fn whoever_lost_races_can_commit_again() {
    let (sim, store) = fresh(5);
    let (_, other) = enter(&sim, with_limit(5), None);
    let mut n = 0;
    for seq in 0..40 {
        let parent = head(&store).id;
        // A device that is late, with a line of its own; each of its tries loses.
        accept(&store, n + 1, parent);
        accept(&store, n + 2, tx(n + 1));
        accept(&other, n + 3, parent);
        let won = advance(&other, n + 3);
        assert!(
            matches!(won, Advance::Advanced(head) if head.seq == seq + 1),
            "{won:?}"
        );
        let why = advance(&store, n + 2);
        assert!(matches!(why, Advance::Refused { .. }), "{why:?}");
        assert!(pending(&sim).len() <= 5);
        n += 3;
    }
}

#[test]
fn what_is_dead_makes_room_and_what_lives_does_not() {
    let (sim, store) = fresh(5);
    accept(&store, 1, ROOT);
    accept(&store, 2, ROOT);
    accept(&store, 3, tx(2));
    assert!(matches!(advance(&store, 1), Advance::Advanced(_)));
    // Dead on arrival, and one that follows what is dead.
    accept(&store, 4, ROOT);
    accept(&store, 5, tx(3));
    accept(&store, 6, tx(1));
    assert_eq!(pending(&sim).len(), 5);
    for n in 7..11 {
        accept(&store, n, tx(n - 1));
    }
    let alive: BTreeSet<_> = (6..11).map(|n| format!("{}.json", tx(n))).collect();
    assert_eq!(pending(&sim), alive);
    for _ in 0..3 {
        assert_eq!(put(&store, 11, tx(10)), full(5, 5));
        assert_eq!(put(&store, 12, ROOT), full(5, 5));
    }
    // A replay is none more, and an advance makes room at once.
    accept(&store, 6, tx(1));
    let (_, other) = enter(&sim, with_limit(5), None);
    assert!(matches!(advance(&other, 10), Advance::Advanced(_)));
    accept(&store, 11, tx(10));
}

#[test]
fn what_went_to_make_room_may_come_again_with_other_content() {
    let (sim, store) = fresh(4);
    let (_, reader) = enter(&sim, with_limit(4), None);
    accept(&store, 1, ROOT);
    accept(&store, 2, ROOT);
    accept(&store, 3, tx(2));
    accept(&store, 4, tx(3));
    // The reader looks at what is pending, and so knows 4 as the third of a line.
    assert!(matches!(advance(&reader, 1), Advance::Advanced(_)));
    accept(&store, 5, tx(1));
    accept(&store, 6, tx(1));
    assert_eq!(pending(&sim).len(), 2);
    accept(&store, 4, tx(5));
    let went = advance(&reader, 4);
    assert!(
        matches!(went, Advance::Advanced(head) if head.seq == 3),
        "{went:?}"
    );
}

#[test]
fn what_follows_something_that_went_to_make_room_is_not_taken_in() {
    let (sim, store) = fresh(5);
    accept(&store, 1, ROOT);
    accept(&store, 2, ROOT);
    for n in 3..6 {
        accept(&store, n, tx(n - 1));
    }
    assert!(matches!(advance(&store, 1), Advance::Advanced(_)));
    accept(&store, 6, tx(5));
    // Its line cannot be committed any more; without its parent nobody could tell.
    assert_eq!(put(&store, 7, tx(6)), PutTransaction::UnknownParent);
    for n in 11..16 {
        accept(&store, n, tx(1));
    }
    assert_eq!(pending(&sim).len(), 5);
}

#[test]
fn room_that_is_made_is_no_run_of_gc() {
    let (sim, store) = fresh(1);
    let ran = || store.user(user()).last_gc().unwrap();
    accept(&store, 1, ROOT);
    assert!(matches!(advance(&store, 1), Advance::Advanced(_)));
    accept(&store, 2, ROOT);
    accept(&store, 3, tx(1));
    assert_eq!(ran(), None);
    let collect =
        || mentat_sync::upkeep::gc::collect(&store, &user(), &Default::default(), &mut |_| {});
    collect().unwrap();
    let before = ran().unwrap();
    sim.with(|world| world.clock += Duration::from_secs(86_400));
    assert!(matches!(advance(&store, 3), Advance::Advanced(_)));
    accept(&store, 4, ROOT);
    accept(&store, 5, tx(3));
    assert!(ran().unwrap().duration_since(before).unwrap() < Duration::from_secs(2));
}

#[test]
fn where_there_is_much_room_it_is_counted_now_and_then_and_never_exceeded() {
    let (sim, store) = fresh(300);
    let (_, other) = enter(&sim, with_limit(300), None);
    for n in 0..300 {
        accept([&store, &other][n as usize % 2], n + 1, ROOT);
    }
    for store in [&store, &other] {
        assert_eq!(put(store, 301, ROOT), full(300, 300));
    }
    assert_eq!(pending(&sim).len(), 300);
}

/// What is read of a body, piece by piece.
struct Counted<'a> {
    left: &'a [u8],
    read: AtomicUsize,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.left.read(buffer)?;
        self.read.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
}

#[test]
fn what_will_be_refused_is_not_read_to_its_end() {
    let (_, store) = fresh(100);
    // Two branches, so that not all of it can be what HEAD reaches.
    let branches = [line(1, 60, 0, 0), line(101, 5000, 0, 0)].concat();
    let tar = bundle(&branches, None, Some(5100));
    let mut body = Counted {
        left: &tar,
        read: AtomicUsize::new(0),
    };
    let (outcome, _) = store.user(user()).push_bundle(&mut body).unwrap();
    is_too_much(outcome, (100, 0, 101));
    let read = body.read.into_inner();
    assert!(read < tar.len() / 10, "{read} of {}", tar.len());

    let sim = Sim::new(Reading::Posix);
    let options = Options {
        user_bytes: Some(100_000),
        ..Options::default()
    };
    let (_, store) = enter(&sim, options, None);
    accept(&store, 1, ROOT);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while store.user(user()).tally().is_none() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut tar = Tar::default();
    for n in 0..200_u8 {
        let bytes = vec![n; 10_000];
        let id = digest(&bytes).to_string();
        tar.add(&format!("chunks/{}/{id}", &id[..2]), &bytes);
    }
    let tar = tar.end();
    let mut body = Counted {
        left: &tar,
        read: AtomicUsize::new(0),
    };
    let refused = store
        .user(user())
        .push_bundle(&mut body)
        .map(|taken| taken.0);
    assert!(
        matches!(refused, Err(Error::QuotaExceeded { .. })),
        "{refused:?}"
    );
    let read = body.read.into_inner();
    assert!(read < tar.len() / 4, "{read} of {}", tar.len());
}

/// Three processes at once, with whatever they do: never more than may be are pending, and then whoever comes
/// can commit, unless all that is pending lives.
fn live(seed: u64, mistake: Option<Mistake>) -> Result<(), String> {
    const LIMIT: usize = 4;
    let mut random = Random(seed);
    let sim = Sim::new(Reading::Posix);
    let processes: Vec<_> = (0..3)
        .map(|_| enter(&sim, with_limit(LIMIT), mistake))
        .collect();
    accept(&processes[0].1, 1, ROOT);
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    sim.watch(move |_, world| {
        let files = world.files_below(&folder().join("incoming/transactions"));
        seen.fetch_max(files.len(), Ordering::Relaxed);
    });
    for round in 0..4 {
        let mut programs: Vec<Program> = Vec::new();
        for (index, (disk, store)) in processes.iter().enumerate() {
            let mut random = Random(random.next());
            let first = 2 + round * 1000 + index as u32 * 100;
            let program = move || act(store, first, &mut random);
            programs.push((disk.clone(), Box::new(program)));
        }
        let bounds = Bounds {
            switches: 1000,
            kills: 0,
            both: 1000,
        };
        let ran = run(&sim, programs, Chooser::draw(random.next()), bounds);
        if let Some(panic) = ran.panics.first() {
            return Err(format!("seed {seed}: {panic}"));
        }
        let most = most.load(Ordering::Relaxed);
        if most > LIMIT {
            return Err(format!("seed {seed}: {most} are pending"));
        }
    }
    sim.unwatch();
    let (_, store) = enter(&sim, with_limit(LIMIT), mistake);
    // A second later, so that what others did is noticed.
    sim.with(|world| world.clock += Duration::from_secs(2));
    let at = head(&store);
    match put(&store, 99_999, at.id) {
        PutTransaction::Accepted => Ok(()),
        // Then one of them can be HEAD.
        PutTransaction::TooManyPending { .. } => {
            let ids = store.user(user()).pending_files().unwrap();
            let lock = || store.user(user()).exclusive_blocking().unwrap().unwrap();
            let advances = |id| matches!(lock().advance(id).unwrap().0, Advance::Advanced(_));
            match ids.iter().any(|file| advances(file.pending.id)) {
                true => Ok(()),
                false => Err(format!("seed {seed}: nobody can commit")),
            }
        }
        other => Err(format!("seed {seed}: {other:?}")),
    }
}

/// Some requests of one process, which numbers its transactions from `first` on.
fn act(store: &Store, first: u32, random: &mut Random) {
    for step in 0..4 {
        let n = first + step * 10;
        let at = head(store);
        match random.below(4) {
            0 => {
                let _ = put(store, n, at.id);
            }
            1 => {
                if put(store, n, at.id) == PutTransaction::Accepted {
                    let _ = advance(store, n);
                }
            }
            2 => {
                let _ = put(store, n, ROOT);
            }
            _ => {
                let count = 1 + random.below(6) as u32;
                let mut rows = line(n, count, 0, at.seq);
                let parent = at.id;
                let spare = random.chance(3);
                if spare {
                    rows.push((n + 9, n, at.seq + 2));
                }
                let head = random.chance(2).then_some(n + count - 1);
                let tar = bundle_on(&rows, parent, head);
                let _ = push(store, &tar);
            }
        }
    }
}

/// The same as `bundle`, the first transaction following any id.
fn bundle_on(rows: &[Row], parent: TransactionId, head: Option<u32>) -> Vec<u8> {
    let mut tar = Tar::default();
    for (n, follows, seq) in rows {
        let parent = if *follows == 0 { parent } else { tx(*follows) };
        let id = tx(*n).to_string();
        let json =
            format!("{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":\"{parent}\",\"chunks\":[]}}\n");
        tar.add(
            &format!("transactions/{}/{id}.json", &id[..2]),
            json.as_bytes(),
        );
    }
    if let Some(head) = head {
        tar.add("HEAD", format!("{}\n", tx(head)).as_bytes());
    }
    tar.end()
}

#[test]
fn no_order_of_requests_exceeds_the_bound_and_somebody_can_always_commit() {
    for seed in 0..effort::either(50, 200) {
        live(seed, None).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
}

#[test]
fn a_store_that_counts_otherwise_is_caught() {
    for mistake in [Mistake::BundleUncounted, Mistake::DeadCounted] {
        let caught = (0..200).find_map(|seed| live(seed, Some(mistake)).err());
        println!(
            "{mistake:?}: {}",
            caught.unwrap_or_else(|| panic!("{mistake:?}"))
        );
    }
}
