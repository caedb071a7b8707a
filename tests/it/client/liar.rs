//! A server that lies: each lie is told as what it is, and nothing of it comes onto the disk.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

use mentat_sync::client::{
    AnswerBody, Error, Forgery, Identity, LocalRemote, Parcel, PushAnswer, Remote, Replica, Result,
    Slip, WithChunks,
};
use mentat_sync::disk::{Kind, Place};
use mentat_sync::model::{
    Checkpoint, ChunkDigest, ChunkId, Head, Transaction, TransactionId, limits,
};
use mentat_sync::store::{PutCheckpoint, Store};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use simulated_disk::{Sim, World};

use super::fleet::{Device, Server, USER, a_box, keys};
use super::ledger::Ledger;
use super::lossy::Lossy;

/// A member of a bundle.
type Member = (String, Vec<u8>);

/// A bundle as the server made it, and what the lie makes of it.
type Lie = fn(&mut Vec<Member>);

struct Liar {
    inner: LocalRemote,
    lie: Lie,
}

fn parse(mut body: AnswerBody) -> Vec<Member> {
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).unwrap();
    let mut archive = tar::Archive::new(Cursor::new(bytes));
    let members = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (name, bytes)
    });
    members.collect()
}

fn build(members: &[Member]) -> AnswerBody {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, bytes.as_slice())
            .unwrap();
    }
    Box::new(Cursor::new(builder.into_inner().unwrap()))
}

impl Remote for Liar {
    fn head(&self) -> Result<Head> {
        self.inner.head()
    }
    fn wait(&self, seen: TransactionId, timeout: Duration) -> Result<Head> {
        self.inner.wait(seen, timeout)
    }
    fn bundle(
        &self,
        from: TransactionId,
        limit: u64,
        chunks: WithChunks,
    ) -> Result<Option<AnswerBody>> {
        let body = self.inner.bundle(from, limit, chunks)?;
        Ok(body.map(|body| {
            let mut members = parse(body);
            (self.lie)(&mut members);
            match members.first() {
                Some((name, bytes)) if name.is_empty() => Box::new(Cursor::new(bytes.clone())),
                _ => build(&members),
            }
        }))
    }
    fn push_bundle(&self, parcel: &dyn Parcel) -> Result<PushAnswer> {
        self.inner.push_bundle(parcel)
    }
    fn missing(&self, chunks: &[ChunkDigest]) -> Result<Vec<ChunkDigest>> {
        self.inner.missing(chunks)
    }
    fn transaction(&self, id: TransactionId) -> Result<Option<Transaction>> {
        self.inner.transaction(id)
    }
    fn chunk(&self, id: &ChunkDigest) -> Result<Option<AnswerBody>> {
        self.inner.chunk(id)
    }
    fn chunks(&self, ids: &[ChunkDigest]) -> Result<AnswerBody> {
        self.inner.chunks(ids)
    }
    fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        self.inner.checkpoint()
    }
    fn put_checkpoint(
        &self,
        transaction: TransactionId,
        chunks: &[ChunkDigest],
    ) -> Result<PutCheckpoint> {
        self.inner.put_checkpoint(transaction, chunks)
    }
}

/// All files of a box, but for those that hold nothing, or only what is known anyway.
fn files(world: &World) -> BTreeMap<String, Vec<u8>> {
    fn walk(world: &World, place: &Place, files: &mut BTreeMap<String, Vec<u8>>) {
        for listed in world.list(place).unwrap() {
            let at = place.join(&listed.name);
            match listed.kind {
                Kind::Directory => walk(world, &at, files),
                _ => {
                    let object = world.at(&at).unwrap();
                    let bytes = world.file(object).unwrap().bytes.to_vec();
                    files.insert(at.as_str().to_owned(), bytes);
                }
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(world, &Place::new(""), &mut all);
    all.remove("lock");
    all
}

fn transactions(members: &[Member]) -> Vec<usize> {
    let named = members.iter().enumerate();
    let named = named.filter(|(_, (name, _))| name.starts_with("transactions/"));
    named.map(|(at, _)| at).collect()
}

fn value(member: &Member) -> Value {
    serde_json::from_slice(&member.1).unwrap()
}

/// The transaction as the store spells it, with the id of its contents.
fn respelt(value: &Value) -> Member {
    let parent: TransactionId = value["parent"].as_str().unwrap().parse().unwrap();
    let seq = value["seq"].as_u64().unwrap();
    let chunks: Vec<ChunkDigest> = (value["chunks"].as_array().unwrap().iter())
        .map(|chunk| chunk.as_str().unwrap().parse().unwrap())
        .collect();
    let id = TransactionId::of_content(parent, seq, chunks.iter());
    named(id, value)
}

fn named(id: TransactionId, value: &Value) -> Member {
    let (seq, parent, chunks) = (&value["seq"], &value["parent"], &value["chunks"]);
    let text =
        format!("{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":{parent},\"chunks\":{chunks}}}\n");
    let id = id.to_string();
    (
        format!("transactions/{}/{id}.json", &id[..2]),
        text.into_bytes(),
    )
}

fn set_head(members: &mut [Member], id: &str) {
    let head = members.last_mut().unwrap();
    assert_eq!(head.0, "HEAD");
    head.1 = format!("{id}\n").into_bytes();
}

fn id_of(member: &Member) -> String {
    value(member)["id"].as_str().unwrap().to_owned()
}

/// Changes a transaction, with ids that fit: those after it follow the new one, and HEAD names the last.
fn rewrite(members: &mut [Member], first: usize, change: impl FnOnce(&mut Value)) {
    let at = transactions(members);
    let mut changed = value(&members[at[first]]);
    change(&mut changed);
    let mut last = respelt(&changed);
    members[at[first]] = last.clone();
    for at in &at[first + 1..] {
        let mut next = value(&members[*at]);
        next["parent"] = json!(id_of(&last));
        next["seq"] = json!(value(&last)["seq"].as_u64().unwrap() + 1);
        last = respelt(&next);
        members[*at] = last.clone();
    }
    let id = id_of(&last);
    set_head(members, &id);
}

/// A chunk's member of these bytes.
fn chunk(bytes: &[u8]) -> Member {
    let digest = hex::encode(Sha256::digest(bytes));
    (format!("chunks/{}/{digest}", &digest[..2]), bytes.to_vec())
}

/// How a lie is told.
type Told = fn(&Error) -> bool;

fn forged(error: &Error, is: impl Fn(&Forgery) -> bool) -> bool {
    matches!(error, Error::Forged { what, .. } if is(what))
}

const ORDER: Told = |error| forged(error, |what| *what == Forgery::Order);
const ID: Told = |error| forged(error, |what| *what == Forgery::Id);
const SEQ: Told = |error| forged(error, |what| *what == Forgery::Seq);
const ENVELOPE: Told = |error| forged(error, |what| matches!(what, Forgery::Envelope(_)));
const DIGEST: Told = |error| forged(error, |what| matches!(what, Forgery::Digest(_)));
const MISSING: Told = |error| forged(error, |what| *what == Forgery::Missing);
const GARBAGE: Told = |error| forged(error, |what| matches!(what, Forgery::Garbage(_)));

const LIES: &[(&str, Lie, Told)] = &[
    (
        "two change places",
        |all| {
            let at = transactions(all);
            all.swap(at[1], at[2]);
        },
        ORDER,
    ),
    (
        "one is left out of the middle",
        |all| {
            let at = transactions(all);
            all.remove(at[1]);
        },
        ORDER,
    ),
    (
        "the first is left out",
        |all| {
            let at = transactions(all);
            all.remove(at[0]);
        },
        ORDER,
    ),
    (
        "one is left out, and the ids fit",
        |all| {
            let at = transactions(all);
            let before = value(&all[at[1]])["parent"].clone();
            let seq = value(&all[at[1]])["seq"].clone();
            all.drain(at[0] + 1..=at[1]);
            rewrite(all, 1, |next| {
                next["parent"] = before;
                next["seq"] = seq;
            });
        },
        ENVELOPE,
    ),
    (
        "one comes twice",
        |all| {
            let at = transactions(all);
            let twice = all[at[1]].clone();
            all.insert(at[1] + 1, twice);
        },
        ORDER,
    ),
    (
        "one has another number",
        |all| {
            let at = transactions(all);
            let mut other = value(&all[at[2]]);
            other["seq"] = json!(9);
            all[at[2]] = respelt(&other);
            let id = id_of(&all[at[2]]);
            set_head(all, &id);
        },
        SEQ,
    ),
    (
        "one has an id of its own",
        |all| {
            let at = transactions(all);
            let last = *at.last().unwrap();
            let id: TransactionId = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
            all[last] = named(id, &value(&all[last]));
            set_head(all, &id.to_string());
        },
        ID,
    ),
    (
        "one names a chunk more, and the ids fit",
        |all| {
            let more = chunk(b"more");
            let digest = more.1.clone();
            all.insert(0, more);
            rewrite(all, 1, move |next| {
                let digest = hex::encode(Sha256::digest(digest));
                next["chunks"].as_array_mut().unwrap().push(json!(digest));
            });
        },
        ENVELOPE,
    ),
    (
        "one names its chunks in another order, and the ids fit",
        |all| {
            rewrite(all, 3, |next| {
                next["chunks"].as_array_mut().unwrap().swap(1, 2)
            });
        },
        ENVELOPE,
    ),
    (
        "one has another's entry, and the ids fit",
        |all| {
            let at = transactions(all);
            let other = value(&all[at[0]])["chunks"][0].clone();
            rewrite(all, 1, |next| next["chunks"][0] = other);
        },
        |error| ENVELOPE(error) || MISSING(error),
    ),
    (
        "one names no chunk, and the ids fit",
        |all| {
            rewrite(all, 3, |next| next["chunks"] = json!([]));
        },
        MISSING,
    ),
    (
        "an entry was made by somebody without a key",
        |all| {
            let made = chunk(b"MSE1\x02 and whatever else there may be, as long as it is long enough to be one of them.");
            let digest = hex::encode(Sha256::digest(&made.1));
            all.insert(0, made);
            rewrite(all, 0, |next| next["chunks"][0] = json!(digest));
        },
        |error| matches!(error, Error::WrongKey { .. }) || ENVELOPE(error),
    ),
    (
        "an entry is no envelope",
        |all| {
            let made = chunk(b"{\"v\":1}");
            let digest = hex::encode(Sha256::digest(&made.1));
            all.insert(0, made);
            rewrite(all, 0, |next| next["chunks"][0] = json!(digest));
        },
        |error| ENVELOPE(error) || MISSING(error),
    ),
    (
        "a chunk has other bytes than its name",
        |all| {
            let at = transactions(all)[3];
            let data = &mut all[at - 1];
            assert!(data.0.starts_with("chunks/"));
            data.1[60] ^= 1;
        },
        DIGEST,
    ),
    (
        "an entry has other bytes than its name",
        |all| all[0].1[60] ^= 1,
        |error| ENVELOPE(error) || DIGEST(error),
    ),
    (
        "a chunk is left out",
        |all| {
            let at = transactions(all)[3];
            all.remove(at - 1);
        },
        MISSING,
    ),
    ("an entry is left out", |all| drop(all.remove(0)), MISSING),
    (
        "HEAD is elsewhere",
        |all| {
            let id = id_of(&all[transactions(all)[0]]);
            set_head(all, &id);
        },
        GARBAGE,
    ),
    (
        "HEAD is the root",
        |all| set_head(all, &TransactionId::ROOT.to_string()),
        GARBAGE,
    ),
    ("there is no HEAD", |all| drop(all.pop()), GARBAGE),
    (
        "something follows HEAD",
        |all| all.push(chunk(b"more")),
        GARBAGE,
    ),
    (
        "HEAD is no id",
        |all| all.last_mut().unwrap().1 = b"refs/heads/main\n".to_vec(),
        GARBAGE,
    ),
    (
        "a member has a strange name",
        |all| {
            all.insert(
                1,
                (
                    "../../outside".to_owned().replace("../", "up-"),
                    b"x".to_vec(),
                ),
            )
        },
        GARBAGE,
    ),
    (
        "a uuid stands for a chunk",
        |all| {
            let alias = "aliases/67/67e55044-10b1-426f-9247-bb680e5fe0c8".to_owned();
            let digest = all[0].0.rsplit('/').next().unwrap().to_owned();
            all.insert(1, (alias, format!("{digest}\n").into_bytes()));
        },
        GARBAGE,
    ),
    (
        "a transaction is spelt in another way",
        |all| {
            let at = transactions(all)[1];
            all[at].1.push(b'\n');
        },
        GARBAGE,
    ),
    (
        "it is a web page",
        |all| {
            let page = b"<!doctype html><title>Log in</title>".repeat(40);
            *all = vec![(String::new(), page)];
        },
        GARBAGE,
    ),
    (
        "it is compressed",
        |all| *all = vec![(String::new(), b"\x1f\x8b and so on".repeat(100))],
        GARBAGE,
    ),
    (
        "it is noise",
        |all| {
            let noise = (0..3000_u32)
                .map(|n| (n.wrapping_mul(2654435761) >> 11) as u8)
                .collect();
            *all = vec![(String::new(), noise)];
        },
        GARBAGE,
    ),
];

/// A server with a history of four, the last one with two chunks beside its entry.
fn history() -> Server {
    let server = Server::new();
    let mut one = Device::on(a_box(801), Lossy::over(server.remote()));
    for line in ["1 a", "2 b", "3 c"] {
        one.say(line);
    }
    let mut chunks = one.replica.put(&b"some bytes"[..]).unwrap();
    chunks.extend(one.replica.put(&b"and others"[..]).unwrap());
    one.replica.commit(b"4 d", &chunks).unwrap();
    one.sync().unwrap();
    server
}

fn lied_to(sim: &Sim, server: &Server, lie: Lie, slip: Option<Slip>) -> Replica {
    let disk = Arc::new(sim.process());
    let store = Store::open(disk.clone(), Replica::options()).unwrap();
    let inner = server.remote();
    let replica = Replica::over(disk, &store, USER, keys(), Arc::new(Liar { inner, lie })).unwrap();
    match slip {
        Some(slip) => replica.with_slip(slip),
        None => replica,
    }
}

#[test]
fn a_lie_is_told_as_what_it_is_and_changes_nothing_on_the_disk() {
    let server = history();
    for pending in [false, true] {
        for (name, lie, told) in LIES {
            let sim = a_box(802);
            let replica = lied_to(&sim, &server, *lie, None);
            if pending {
                replica.commit(b"5 e", &[]).unwrap();
            }
            let before = files(&sim.world());
            let mut app = Ledger::default();
            let error = replica.pull(&mut app).expect_err(name);
            assert!(told(&error), "{name}: {error:?}");
            assert!(!error.is_transient(), "{name}");
            assert_eq!(files(&sim.world()), before, "{name}");
            assert_eq!(app.confirmed.lines.len(), 0);
            // The truth is taken after it.
            let mut honest = Device::on(sim, Lossy::over(server.remote()));
            honest.sync().unwrap();
            assert_eq!(honest.lines()[..4], ["1 a", "2 b", "3 c", "4 d"]);
        }
    }
}

#[test]
fn each_byte_of_a_bundle_is_needed() {
    let server = history();
    let body = server
        .remote()
        .bundle(TransactionId::ROOT, 1000, WithChunks::All);
    let mut bytes = Vec::new();
    body.unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    static FLIPPED: std::sync::Mutex<Vec<u8>> = std::sync::Mutex::new(Vec::new());
    let step = crate::kit::effort::either(97, 7);
    for at in (0..bytes.len()).step_by(step) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        *FLIPPED.lock().unwrap() = flipped;
        let sim = a_box(803);
        let lie: Lie = |all| *all = vec![(String::new(), FLIPPED.lock().unwrap().clone())];
        let replica = lied_to(&sim, &server, lie, None);
        let before = files(&sim.world());
        match replica.fetch() {
            Err(Error::Forged { .. } | Error::WrongKey { .. }) => {
                assert_eq!(files(&sim.world()), before, "byte {at}");
            }
            // Of a header not everything says something: the modes, the times, what pads.
            Ok(head) => assert_eq!(head, server.head(), "byte {at}"),
            Err(other) => panic!("byte {at}: {other:?}"),
        }
    }
}

#[test]
fn a_cut_at_any_byte_is_no_lie_and_keeps_only_what_is_right() {
    let server = history();
    let step = crate::kit::effort::either(211, 17);
    let body = server
        .remote()
        .bundle(TransactionId::ROOT, 1000, WithChunks::All);
    let mut bytes = Vec::new();
    body.unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    for at in (0..bytes.len()).step_by(step) {
        let network = Lossy::over(server.remote());
        network.decide(move |name| match name {
            "bundle" => super::lossy::Fate::CutAfter(at as u64),
            _ => super::lossy::Fate::RequestLost,
        });
        let mut device = Device::on(a_box(804), network);
        match device.sync() {
            Ok(_) => assert_eq!(device.replica.head().unwrap(), server.head()),
            Err(error) => assert!(error.is_transient(), "cut at {at}: {error:?}"),
        }
        let lines = device.lines();
        assert_eq!(lines, ["1 a", "2 b", "3 c", "4 d"][..lines.len()]);
        assert_eq!(device.app.confirmed.lines, lines);
        device.network.decide(|_| super::lossy::Fate::Fine);
        device.sync().unwrap();
        assert_eq!(device.lines().len(), 4);
    }
}

#[test]
fn without_verification_a_lie_would_be_believed() {
    let server = history();
    let sim = a_box(805);
    let lie: Lie = |all| {
        let at = transactions(all);
        let before = value(&all[at[1]])["parent"].clone();
        let seq = value(&all[at[1]])["seq"].clone();
        all.drain(at[0] + 1..=at[1]);
        rewrite(all, 1, |next| {
            next["parent"] = before;
            next["seq"] = seq;
        });
    };
    let replica = lied_to(&sim, &server, lie, Some(Slip::HeadBeforeVerification));
    let _ = replica.fetch();
    assert_ne!(replica.head().unwrap(), Head::ROOT, "the lie is visible");
}

#[test]
fn a_saved_state_that_was_moved_to_another_transaction_does_not_open() {
    let server = history();
    let mut one = Device::on(a_box(806), Lossy::over(server.remote()));
    one.sync().unwrap();
    one.replica
        .checkpoint(server.chain()[1], b"state", &[])
        .unwrap();
    assert_eq!(one.replica.saved_state().unwrap().unwrap().at.seq, 2);
    let there = server.remote().checkpoint().unwrap().unwrap();
    let chunks: Vec<_> = there.chunks.clone();
    server
        .remote()
        .put_checkpoint(server.chain()[2], &chunks)
        .unwrap();
    let error = one.replica.saved_state().unwrap_err();
    assert!(ENVELOPE(&error), "{error:?}");
    let _ = ChunkId::Digest(chunks[0]);
}

#[test]
fn a_lie_is_told_to_who_looks_for_old_keys() {
    thread_local! {
        /// The answer that comes again and again.
        static FIRST: std::cell::RefCell<Vec<Member>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let again: Lie = |all| {
        FIRST.with_borrow_mut(|first| match first.is_empty() {
            true => first.clone_from(all),
            false => all.clone_from(first),
        });
    };
    let endless: Lie = |all| {
        // More than was asked for, each right after the one before it.
        let mut last = value(&all[*transactions(all).last().unwrap()]);
        let head = all.pop().unwrap();
        for _ in 0..limits::PULLED_TOGETHER {
            last["parent"] = last["id"].clone();
            last["seq"] = json!(last["seq"].as_u64().unwrap() + 1);
            all.push(respelt(&last));
            last = value(all.last().unwrap());
        }
        all.push(head);
    };
    let more: [(&str, Lie, Told); 2] = [
        ("the same answer comes again", again, ORDER),
        ("there is no end of it", endless, GARBAGE),
    ];
    let of_the_chain = [
        "two change places",
        "one is left out of the middle",
        "the first is left out",
        "one comes twice",
        "one has another number",
        "one has an id of its own",
    ];
    let lies = LIES.iter().filter(|(name, ..)| of_the_chain.contains(name));
    let lies: Vec<_> = lies.chain(&more).collect();
    assert_eq!(lies.len(), of_the_chain.len() + more.len());
    let server = history();
    for (name, lie, told) in lies {
        let liar = Liar {
            inner: server.remote(),
            lie: *lie,
        };
        // Nothing is sealed with its key, so that it would look to the end.
        let mut new = Identity::generate("https://sync.example.org".parse().unwrap()).unwrap();
        let error = new.find_old_keys(&liar).unwrap_err();
        assert!(told(&error), "{name}: {error:?}");
    }
}
