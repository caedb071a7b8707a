//! Bundles between two stores on real directories.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::tar::{END, header, padding};
use super::{Plan, PullBundle, PushBundle, Window};
use crate::disk::{Grouping, Real};
use crate::model::{ChunkDigest, ChunkId, Head, Transaction, TransactionId, UserId};
use crate::store::layout::Member;
use crate::store::{
    Advance, AdvanceRefusal, Options, Proposal, PutChunk, PutTransaction, Store, json,
};

const USER: UserId = UserId::from_bytes([9; 16]);

struct Site {
    directory: tempfile::TempDir,
    store: Store,
}

impl Site {
    fn new() -> Self {
        Self::with(Options {
            uuid_chunk_ids: true,
            ..Options::default()
        })
    }

    fn with(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(Real::new(directory.path(), Grouping::Auto).unwrap());
        let store = Store::open(disk, options).unwrap();
        Self { directory, store }
    }

    fn put_chunk(&self, bytes: &[u8], id: &ChunkId) {
        let mut staged = self.store.user(USER).stage().unwrap();
        staged.write(bytes).unwrap();
        let sealed = staged.seal().unwrap();
        let lock = self.store.user(USER).shared_blocking();
        let outcome = lock.unwrap().unwrap().put_chunk(sealed, id);
        assert_eq!(outcome.unwrap(), PutChunk::Stored);
    }

    fn put(&self, id: TransactionId, parent: TransactionId, chunks: &[ChunkId]) {
        let chunks = chunks.to_vec();
        let seq = None;
        let proposal = Proposal {
            id,
            parent,
            chunks,
            seq,
        };
        let draft = self.store.user(USER).draft(proposal).unwrap();
        let lock = self.store.user(USER).shared_blocking();
        let outcome = lock.unwrap().unwrap().put_transaction(draft);
        assert_eq!(outcome.unwrap(), PutTransaction::Accepted);
    }

    fn advance(&self, id: TransactionId) {
        let lock = self.store.user(USER).exclusive_blocking();
        let (outcome, leftovers) = lock.unwrap().unwrap().advance(id).unwrap();
        assert!(matches!(outcome, Advance::Advanced(head) if head.id == id));
        leftovers.clear();
    }

    fn plan(&self, from: TransactionId, to: Option<TransactionId>, limit: u64) -> Plan {
        match self.store.user(USER).bundle(from, to, limit).unwrap() {
            PullBundle::Ready(plan) => plan,
            _ => panic!("{from} to {to:?} is on the chain"),
        }
    }

    fn pull(&self, plan: &Plan) -> Vec<u8> {
        self.pull_from(plan, 0, 100_000)
    }

    fn pull_from(&self, plan: &Plan, first: u64, piece: usize) -> Vec<u8> {
        let mut reader = self.store.user(USER).read_bundle(plan).unwrap();
        assert_eq!(reader.skip(first).unwrap(), first);
        let mut tar = Vec::new();
        let mut buffer = vec![0; piece];
        loop {
            let read = reader.read(&mut buffer).unwrap();
            tar.extend_from_slice(&buffer[..read]);
            if read < buffer.len() {
                return tar;
            }
        }
    }

    fn push(&self, mut tar: &[u8]) -> PushBundle {
        let (outcome, leftovers) = self.store.user(USER).push_bundle(&mut tar).unwrap();
        if let Some(leftovers) = leftovers {
            leftovers.clear();
        }
        outcome
    }

    fn head(&self) -> Head {
        self.store.user(USER).head().unwrap()
    }

    /// Every file of the user, by path; a directory only where it is not empty.
    fn tree(&self) -> BTreeMap<String, Vec<u8>> {
        let mut tree = BTreeMap::new();
        let folder = self.directory.path().join("users").join(USER.to_string());
        walk(&folder, "", &mut tree);
        tree
    }
}

fn walk(at: &Path, name: &str, tree: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(at).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{name}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &name, tree);
        } else {
            tree.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
}

fn sha(bytes: &[u8]) -> ChunkDigest {
    ChunkDigest::from_bytes(Sha256::digest(bytes).into())
}

fn chunk(bytes: &[u8]) -> ChunkId {
    ChunkId::Digest(sha(bytes))
}

fn id(n: u16) -> TransactionId {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&n.rotate_left(8).to_be_bytes());
    bytes[15] = 1;
    TransactionId::from_bytes(bytes)
}

fn member(name: &str, contents: &[u8]) -> Vec<u8> {
    let bytes = contents.len() as u64;
    let mut member = header(name, bytes).to_vec();
    member.extend_from_slice(contents);
    member.resize(member.len() + padding(bytes), 0);
    member
}

fn chunk_member(contents: &[u8]) -> Vec<u8> {
    member(&Member::Chunk(sha(contents)).name(), contents)
}

fn transaction_member(
    id: TransactionId,
    seq: u64,
    parent: TransactionId,
    chunks: &[ChunkId],
) -> Vec<u8> {
    let chunks = chunks.to_vec();
    let contents = json::encode(&Transaction {
        id,
        seq,
        parent,
        chunks,
    });
    member(&Member::Transaction(id).name(), &contents)
}

fn head_member(id: TransactionId) -> Vec<u8> {
    member("HEAD", format!("{id}\n").as_bytes())
}

fn tar(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), END.to_vec()].concat()
}

/// Two transactions and their chunks, the second with one of the first's.
fn small() -> Vec<u8> {
    tar(&[
        chunk_member(b"one"),
        transaction_member(id(1), 1, TransactionId::ROOT, &[chunk(b"one")]),
        chunk_member(b"two"),
        transaction_member(id(2), 2, id(1), &[chunk(b"two"), chunk(b"one")]),
        head_member(id(2)),
    ])
}

#[test]
fn the_window_is_first_in_first_out() {
    let id = |n| ChunkId::Digest(ChunkDigest::from_bytes([n; 32]));
    let mut window = Window::of(2);
    assert!(window.insert(id(1)) && window.insert(id(2)));
    // Seen again, 1 is not younger for it.
    assert!(!window.insert(id(1)));
    assert!(window.insert(id(3)));
    assert!(!window.has(&id(1)) && window.has(&id(2)) && window.has(&id(3)));
}

#[test]
fn a_pushed_bundle_is_there_and_is_pulled_byte_for_byte() {
    let site = Site::new();
    let PushBundle::Taken {
        head,
        stored,
        existing,
        ..
    } = site.push(&small())
    else {
        panic!("a sound bundle is taken");
    };
    assert_eq!(head, Head { id: id(2), seq: 2 });
    assert_eq!(site.head(), head);
    assert_eq!((stored.chunks, stored.transactions), (2, 2));
    assert_eq!((existing.chunks, existing.transactions), (0, 0));
    let plan = site.plan(TransactionId::ROOT, None, 100);
    assert_eq!(site.pull(&plan), small());
    assert_eq!(
        site.store.user(USER).bundle_bytes(&plan).unwrap(),
        small().len() as u64
    );
    let left: Vec<_> = site
        .tree()
        .into_keys()
        .filter(|name| name.starts_with("/incoming"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_is_pending_or_dead_is_in_no_bundle() {
    let site = Site::new();
    site.push(&small());
    site.put(id(3), id(2), &[chunk(b"one")]);
    site.put(id(4), id(1), &[chunk(b"one")]);
    assert_eq!(
        site.pull(&site.plan(TransactionId::ROOT, None, 100)),
        small()
    );
    for (from, to) in [(id(3), None), (id(4), None), (id(1), Some(id(3)))] {
        let outcome = site.store.user(USER).bundle(from, to, 100).unwrap();
        assert!(matches!(outcome, PullBundle::UnknownTransaction(_)));
    }
    let outcome = site
        .store
        .user(USER)
        .bundle(id(2), Some(id(1)), 100)
        .unwrap();
    assert!(matches!(outcome, PullBundle::ToBeforeFrom));
}

#[test]
fn nothing_new_is_head_alone() {
    let site = Site::new();
    let root = tar(&[head_member(TransactionId::ROOT)]);
    assert_eq!(site.pull(&site.plan(TransactionId::ROOT, None, 100)), root);
    site.push(&small());
    let head = tar(&[head_member(id(2))]);
    assert_eq!(site.pull(&site.plan(id(2), None, 100)), head);
    let first = site.plan(TransactionId::ROOT, None, 1);
    assert_eq!(first.to, Head { id: id(1), seq: 1 });
    assert!(site.pull(&first).ends_with(&tar(&[head_member(id(1))])));
}

#[test]
fn a_bundle_is_read_from_any_byte_on() {
    let site = Site::new();
    site.push(&small());
    let plan = site.plan(TransactionId::ROOT, None, 100);
    for first in 0..=small().len() {
        let rest = site.pull_from(&plan, first as u64, 700);
        assert!(rest == small()[first..], "from byte {first}");
    }
}

#[test]
fn a_missing_chunk_of_the_chain_is_an_error_and_no_end() {
    let site = Site::new();
    site.push(&small());
    let plan = site.plan(TransactionId::ROOT, None, 100);
    let lost = Member::Chunk(sha(b"two")).name();
    let folder = site.directory.path().join("users").join(USER.to_string());
    #[allow(clippy::disallowed_methods)]
    std::fs::remove_file(folder.join(lost)).unwrap();
    let mut reader = site.store.user(USER).read_bundle(&plan).unwrap();
    let mut buffer = vec![0; 100_000];
    assert!(reader.read(&mut buffer).is_err());
    assert!(site.store.user(USER).bundle_bytes(&plan).is_err());
}

#[test]
fn without_head_a_bundle_is_a_bulk_upload() {
    let site = Site::new();
    let all = small();
    let cut = all.len() - END.len() - head_member(id(2)).len();
    let upload = tar(&[all[..cut].to_vec()]);
    let PushBundle::Taken { head, stored, .. } = site.push(&upload) else {
        panic!("a bulk upload is taken");
    };
    assert_eq!((head, stored.transactions), (Head::ROOT, 2));
    let PushBundle::Taken {
        stored, existing, ..
    } = site.push(&upload)
    else {
        panic!("the same again is taken");
    };
    assert_eq!((stored.chunks, stored.transactions), (0, 0));
    assert_eq!((existing.chunks, existing.transactions), (2, 2));
    let PushBundle::Taken { head, existing, .. } = site.push(&all) else {
        panic!("HEAD may come later");
    };
    assert_eq!((head.seq, existing.transactions), (2, 2));
}

#[test]
fn a_lost_race_keeps_everything_pending() {
    let site = Site::new();
    site.push(&small());
    let mine = [
        chunk_member(b"mine"),
        transaction_member(id(7), 2, id(1), &[chunk(b"mine")]),
    ];
    let race = tar(&[mine.concat(), head_member(id(7))]);
    let PushBundle::Refused { head, why, .. } = site.push(&race) else {
        panic!("HEAD is elsewhere");
    };
    assert_eq!((head.id, why), (id(2), AdvanceRefusal::NotADescendant));
    assert!(
        site.store
            .user(USER)
            .chunk(&chunk(b"mine"))
            .unwrap()
            .is_some()
    );
    // The rebase sends one transaction and HEAD.
    let rebase = tar(&[
        transaction_member(id(8), 3, id(2), &[chunk(b"mine")]),
        head_member(id(8)),
    ]);
    assert!(matches!(site.push(&rebase), PushBundle::Taken { head, .. } if head.seq == 3));
    // A try that got through is known by its head.
    let PushBundle::Refused { head, why, .. } = site.push(&rebase) else {
        panic!("HEAD is there already");
    };
    assert_eq!((head.id, why), (id(8), AdvanceRefusal::NotADescendant));
}

#[test]
fn members_may_come_in_any_order() {
    let site = Site::new();
    let alias = Uuid::from_bytes([3; 16]);
    let line = format!("{}\n", sha(b"two"));
    let bundle = tar(&[
        member(&Member::Alias(alias).name(), line.as_bytes()),
        transaction_member(id(2), 2, id(1), &[ChunkId::Alias(alias), chunk(b"one")]),
        chunk_member(b"two"),
        transaction_member(id(1), 1, TransactionId::ROOT, &[chunk(b"one")]),
        chunk_member(b"one"),
        head_member(id(2)),
    ]);
    assert!(matches!(site.push(&bundle), PushBundle::Taken { head, .. } if head.seq == 2));
    let pulled = site.pull(&site.plan(TransactionId::ROOT, None, 9));
    let in_order = tar(&[
        chunk_member(b"one"),
        transaction_member(id(1), 1, TransactionId::ROOT, &[chunk(b"one")]),
        chunk_member(b"two"),
        member(&Member::Alias(alias).name(), line.as_bytes()),
        transaction_member(id(2), 2, id(1), &[ChunkId::Alias(alias), chunk(b"one")]),
        head_member(id(2)),
    ]);
    assert_eq!(pulled, in_order);
}

#[test]
fn what_is_refused_moves_nothing_and_leaves_no_temporary_file() {
    let one = || chunk_member(b"one");
    let first = || transaction_member(id(1), 1, TransactionId::ROOT, &[chunk(b"one")]);
    let head = || head_member(id(1));
    let other = Member::Chunk(sha(b"other")).name();
    let odd = Member::Transaction(id(2)).name();
    let alias = Member::Alias(Uuid::from_bytes([3; 16])).name();
    let contents = json::encode(&Transaction {
        id: id(1),
        seq: 1,
        parent: TransactionId::ROOT,
        chunks: vec![],
    });
    let bad: Vec<(&str, Vec<Vec<u8>>)> = vec![
        (
            "a wrong digest",
            vec![member(&other, b"one"), first(), head()],
        ),
        (
            "an unknown name",
            vec![one(), member("lock", b""), first(), head()],
        ),
        (
            "a dotted name",
            vec![one(), member("chunks", b""), first(), head()],
        ),
        ("a member after HEAD", vec![one(), first(), head(), one()]),
        ("two HEADs", vec![one(), first(), head(), head()]),
        (
            "HEAD of no id",
            vec![one(), first(), member("HEAD", b"x\n")],
        ),
        (
            "HEAD without newline",
            vec![one(), first(), member("HEAD", id(1).to_string().as_bytes())],
        ),
        (
            "another transaction's name",
            vec![one(), first(), member(&odd, &contents), head()],
        ),
        (
            "spaces in the JSON",
            vec![one(), member(&odd, b"{ }\n"), head()],
        ),
        (
            "one id, two contents",
            vec![
                one(),
                first(),
                transaction_member(id(1), 1, TransactionId::ROOT, &[]),
                head(),
            ],
        ),
        (
            "a wrong number",
            vec![
                one(),
                transaction_member(id(1), 2, TransactionId::ROOT, &[chunk(b"one")]),
                head(),
            ],
        ),
        (
            "the root",
            vec![
                transaction_member(TransactionId::ROOT, 1, id(3), &[]),
                head(),
            ],
        ),
        (
            "a parent of itself",
            vec![transaction_member(id(1), 1, id(1), &[]), head()],
        ),
        (
            "an alias of nothing",
            vec![
                one(),
                first(),
                member(&alias, format!("{}\n", sha(b"nothing")).as_bytes()),
                head(),
            ],
        ),
        (
            "an alias of no digest",
            vec![one(), first(), member(&alias, b"x"), head()],
        ),
    ];
    for (what, members) in bad {
        let site = Site::new();
        let outcome = site.push(&tar(&members));
        assert!(matches!(outcome, PushBundle::Bad(_)), "{what}");
        nothing_moved(&site, what);
    }
    let missing = tar(&[first(), head()]);
    let site = Site::new();
    assert!(matches!(site.push(&missing), PushBundle::MissingChunks(list) if list.len() == 1));
    nothing_moved(&site, "a missing chunk");
    let orphan = tar(&[
        one(),
        transaction_member(id(2), 2, id(1), &[]),
        head_member(id(2)),
    ]);
    assert!(matches!(site.push(&orphan), PushBundle::UnknownParent(orphan) if orphan == id(2)));
    nothing_moved(&site, "an unknown parent");
    let nowhere = tar(&[one(), first(), head_member(id(5))]);
    let outcome = site.push(&nowhere);
    let PushBundle::Refused { head: at, why, .. } = outcome else {
        panic!("HEAD cannot go to what is not there");
    };
    assert_eq!((at, why), (Head::ROOT, AdvanceRefusal::UnknownTransaction));
    nothing_moved(&site, "HEAD to nowhere");
    let limited = Site::with(Options {
        chunk_bytes: 2,
        ..Options::default()
    });
    assert!(matches!(
        limited.push(&small()),
        PushBundle::TooLarge { limit: 2 }
    ));
    nothing_moved(&limited, "a long chunk");
    let plain = Site::with(Options::default());
    let aliased = tar(&[
        member(&alias, format!("{}\n", sha(b"one")).as_bytes()),
        one(),
    ]);
    assert!(matches!(plain.push(&aliased), PushBundle::Bad(_)));
}

fn nothing_moved(site: &Site, what: &str) {
    assert_eq!(site.head(), Head::ROOT, "{what}");
    for (name, contents) in site.tree() {
        assert!(!name.contains("/tmp/"), "{what} leaves {name}");
        if name.starts_with("/incoming/chunks") {
            assert!(
                name.ends_with(&sha(&contents).to_string()),
                "{what}: {name}"
            );
        }
    }
}

/// A line of so many transactions, each with a chunk of its own: more than one thread unpacks.
fn long_line(count: u16) -> Vec<Vec<u8>> {
    let mut members = Vec::new();
    let mut parent = TransactionId::ROOT;
    for n in 1..=count {
        let contents = format!("chunk {n}");
        members.push(chunk_member(contents.as_bytes()));
        let chunks = [chunk(contents.as_bytes())];
        members.push(transaction_member(id(n), n.into(), parent, &chunks));
        parent = id(n);
    }
    members
}

#[test]
fn many_members_are_unpacked_beside_the_reader() {
    const COUNT: u16 = 600;
    let mut members = long_line(COUNT);
    // The same again changes nothing.
    members.push(members[1].clone());
    members.push(members[2].clone());
    members.push(head_member(id(COUNT)));
    let (site, other) = (Site::new(), Site::new());
    let PushBundle::Taken {
        stored, existing, ..
    } = site.push(&tar(&members))
    else {
        panic!("it is a sound bundle");
    };
    assert_eq!((stored.transactions, stored.chunks), (600, 600));
    assert_eq!((existing.transactions, existing.chunks), (1, 1));
    let pulled = site.pull(&site.plan(TransactionId::ROOT, None, 1000));
    assert!(matches!(other.push(&pulled), PushBundle::Taken { .. }));
    assert_eq!(site.tree(), other.tree());
    let tree = site.tree();
    assert!(
        !tree.keys().any(|name| name.contains("incoming/")),
        "{tree:?}"
    );
}

#[test]
fn one_of_many_members_that_contradicts_another_refuses_them_all() {
    let mut members = long_line(600);
    members.push(transaction_member(id(7), 7, id(6), &[]));
    members.push(head_member(id(600)));
    let site = Site::new();
    let outcome = site.push(&tar(&members));
    assert!(matches!(outcome, PushBundle::Bad(_)), "{outcome:?}");
    nothing_moved(&site, "two contents among many");
}

/// A directory that is there already is filled up, one that is not moves in whole, and what another
/// push left off the chain is no hindrance.
#[test]
fn a_bundle_continues_head_into_directories_old_and_new() {
    let members = long_line(600);
    let (first, rest) = members.split_at(200);
    let site = Site::new();
    let push = |members: &[Vec<u8>], head| {
        let members = [members, &[head_member(head)]].concat();
        site.push(&tar(&members))
    };
    assert!(matches!(push(first, id(100)), PushBundle::Taken { .. }));
    let PushBundle::Taken {
        stored, existing, ..
    } = push(rest, id(600))
    else {
        panic!("it continues HEAD");
    };
    assert_eq!((stored.transactions, stored.chunks), (500, 500));
    assert_eq!((existing.transactions, existing.chunks), (0, 0));
    let once = Site::new();
    let all = [&members[..], &[head_member(id(600))]].concat();
    assert!(matches!(once.push(&tar(&all)), PushBundle::Taken { .. }));
    assert_eq!(site.tree(), once.tree());
}

#[test]
fn an_id_that_stands_for_other_content_is_refused() {
    let site = Site::new();
    site.push(&small());
    for (mine, parent, seq) in [(id(1), TransactionId::ROOT, 1), (id(2), id(1), 2)] {
        let other = tar(&[transaction_member(mine, seq, parent, &[])]);
        assert!(matches!(site.push(&other), PushBundle::TransactionExists(at) if at == mine));
    }
    site.put(id(3), id(2), &[]);
    let other = tar(&[transaction_member(id(3), 3, id(2), &[chunk(b"one")])]);
    assert!(matches!(site.push(&other), PushBundle::TransactionExists(at) if at == id(3)));
    let alias = Uuid::from_bytes([3; 16]);
    site.put_chunk(b"one", &ChunkId::Alias(alias));
    let line = format!("{}\n", sha(b"two"));
    let other = tar(&[member(&Member::Alias(alias).name(), line.as_bytes())]);
    assert!(matches!(site.push(&other), PushBundle::ChunkExists(at) if at == alias));
}

#[test]
fn pending_transactions_are_bounded_but_those_that_head_reaches_are_not() {
    let site = Site::with(Options {
        pending_transactions: 1,
        ..Options::default()
    });
    let all = small();
    let cut = all.len() - END.len() - head_member(id(2)).len();
    let upload = tar(&[all[..cut].to_vec()]);
    assert!(matches!(
        site.push(&upload),
        PushBundle::TooManyPending {
            limit: 1,
            used: 0,
            wanted: 2
        }
    ));
    assert!(matches!(site.push(&all), PushBundle::Taken { head, .. } if head.seq == 2));
}

#[test]
fn a_damaged_bundle_never_moves_head_and_never_publishes_a_wrong_chunk() {
    let sound = small();
    let site = Site::new();
    // At full effort every byte, in a first look some: 61 is prime, so all parts of a block are among them.
    let some = match std::env::var("MENTAT_SYNC_TEST_EFFORT").as_deref() {
        Ok("full") => 1,
        _ => 61,
    };
    for cut in (0..sound.len()).step_by(some) {
        let outcome = site.push(&sound[..cut]);
        assert!(matches!(outcome, PushBundle::Bad(_)), "cut at {cut}");
    }
    nothing_moved(&site, "a cut bundle");
    for at in (0..sound.len()).step_by(some) {
        let mut flipped = sound.clone();
        flipped[at] ^= 1 << (at % 8);
        let outcome = site.push(&flipped);
        assert!(!matches!(outcome, PushBundle::Taken { .. }), "flip at {at}");
    }
    nothing_moved(&site, "a flipped bundle");
    assert!(matches!(site.push(&sound), PushBundle::Taken { .. }));
}

/// A history: for each transaction the chunks that it names, some of them by an alias.
fn histories() -> impl Strategy<Value = Vec<Vec<(u8, bool)>>> {
    let chunk = (0_u8..12, proptest::bool::weighted(0.2));
    proptest::collection::vec(proptest::collection::vec(chunk, 0..4), 1..12)
}

fn contents(n: u8) -> Vec<u8> {
    vec![n; usize::from(n) * 100]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn a_random_history_pulled_in_random_cuts_rebuilds_the_very_same_tree(
        history in histories(),
        cuts in proptest::collection::vec(1_u64..5, 12),
        skip in 0_u64..4000,
    ) {
        let (here, there) = (Site::new(), Site::new());
        let mut parent = TransactionId::ROOT;
        for (n, chunks) in history.iter().enumerate() {
            let named: Vec<ChunkId> = chunks.iter().map(|(n, aliased)| {
                let bytes = contents(*n);
                let id = match aliased {
                    true => ChunkId::Alias(Uuid::from_bytes([*n; 16])),
                    false => chunk(&bytes),
                };
                here.put_chunk(&bytes, &id);
                id
            }).collect();
            let next = id(n as u16 + 1);
            here.put(next, parent, &named);
            parent = next;
            if n % 2 == 0 {
                here.advance(next);
            }
        }
        let mut from = TransactionId::ROOT;
        let head = here.head();
        for cut in cuts.into_iter().chain([100]) {
            let plan = here.plan(from, None, cut);
            let tar = here.pull(&plan);
            prop_assert_eq!(here.store.user(USER).bundle_bytes(&plan).unwrap(), tar.len() as u64);
            let pinned = here.plan(from, Some(plan.to.id), 100);
            prop_assert!(here.pull(&pinned) == tar);
            let skip = skip.min(tar.len() as u64);
            prop_assert!(here.pull_from(&plan, skip, 1000) == tar[skip as usize..]);
            if plan.to == plan.from {
                break;
            }
            let PushBundle::Taken { head, .. } = there.push(&tar) else {
                panic!("what was pulled is taken");
            };
            prop_assert_eq!(head, plan.to);
            from = head.id;
        }
        prop_assert_eq!(there.head(), head);
        let committed = |site: &Site| {
            let mut tree = site.tree();
            tree.retain(|name, _| !name.starts_with("/incoming"));
            tree
        };
        prop_assert_eq!(committed(&here), committed(&there));
    }
}
