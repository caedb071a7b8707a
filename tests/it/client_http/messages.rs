use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mentat_sync::client::{Error, HttpRemote, Parcel, PushAnswer, Remote, Result, WithChunks};
use mentat_sync::model::{ChunkDigest, ChunkId, Head, TransactionId};
use mentat_sync::store::PutCheckpoint;
use mentat_sync::wire::Code;
use tempfile::TempDir;

use super::wire::{First, Relay};
use super::{InMemory, options, remote, remote_at, whole};
use crate::device::Desks;
use crate::kit::{ROOT, Server, chunk, transaction_id, user_id};

fn transaction(name: &str) -> TransactionId {
    transaction_id(name).parse().unwrap()
}

fn digest(of: &str) -> ChunkDigest {
    chunk(of).id.parse().unwrap()
}

/// A server over TCP and over a socket in the file system, with a remote of the same user over each.
fn both(flags: &[&str]) -> (Server, TempDir, [HttpRemote; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("socket").display());
    let server = Server::with(&[&["--listen", &socket], flags].concat());
    let remotes = [
        remote(server.address(), "ann"),
        remote_at(&socket, "ann", options()),
    ];
    (server, folder, remotes)
}

#[test]
fn what_a_server_has_is_read_over_tcp_and_over_a_socket() {
    let (server, _folder, remotes) = both(&[]);
    for remote in &remotes {
        assert_eq!(remote.head().unwrap(), Head::ROOT);
        assert_eq!(remote.checkpoint().unwrap(), None);
    }
    let mut device = server.device("ann");
    device.commit(
        &transaction_id("first"),
        ROOT,
        &[&chunk("milk"), &chunk("eggs")],
    );
    let bundle = device.get("bundle").expect(200).body;
    let (first, milk, bread) = (transaction("first"), digest("milk"), digest("bread"));
    for remote in &remotes {
        assert_eq!(remote.head().unwrap(), Head { id: first, seq: 1 });
        assert_eq!(remote.missing(&[milk, bread]).unwrap(), [bread]);
        assert_eq!(remote.missing(&[]).unwrap(), []);
        let found = remote.transaction(first).unwrap().unwrap();
        assert_eq!(
            (found.id, found.seq, found.parent),
            (first, 1, TransactionId::ROOT)
        );
        assert_eq!(found.chunks, [milk, digest("eggs")].map(ChunkId::Digest));
        assert_eq!(remote.transaction(transaction("other")).unwrap(), None);
        assert_eq!(whole(remote.chunk(&milk).unwrap().unwrap()), b"milk");
        assert!(remote.chunk(&bread).unwrap().is_none());
        let read = |from, limit| remote.bundle(from, limit, WithChunks::All).unwrap();
        assert_eq!(whole(read(TransactionId::ROOT, 1000).unwrap()), bundle);
        assert!(whole(read(first, 1).unwrap()).len() < bundle.len());
        assert!(read(transaction("other"), 1).is_none());
        let about = remote.about().unwrap();
        assert_eq!((about.head, about.seq), (first, 1));
        assert!(
            about.features.iter().any(|feature| feature == "checkpoint"),
            "{about:?}"
        );
    }
}

/// The bundle of a user who has this chain, each transaction with one chunk of its name.
fn bundle_of(server: &Server, name: &str, chain: &[&str]) -> Vec<u8> {
    let mut device = server.device(name);
    let mut parent = ROOT.to_owned();
    for name in chain {
        let id = transaction_id(name);
        device.commit(&id, &parent, &[&chunk(*name)]);
        parent = id;
    }
    device.get("bundle").expect(200).body
}

#[test]
fn a_push_ends_as_the_server_says_over_tcp_and_over_a_socket() {
    let (server, _folder, [tcp, socket]) = both(&[]);
    let ours = InMemory::of(bundle_of(&server, "bob", &["a", "b"]));
    let theirs = InMemory::of(bundle_of(&server, "eve", &["c"]));
    let head = Head {
        id: transaction("b"),
        seq: 2,
    };
    for (remote, again) in [
        (&tcp, PushAnswer::Taken(head)),
        (&socket, PushAnswer::Lost(head)),
    ] {
        // HEAD is there already the second time, which is for the device to see.
        assert_eq!(remote.push_bundle(&ours).unwrap(), again);
        assert_eq!(remote.push_bundle(&theirs).unwrap(), PushAnswer::Lost(head));
        let mut cut = theirs.bytes.clone();
        cut.truncate(700);
        let Err(Error::Refused { status, code, .. }) = remote.push_bundle(&InMemory::of(cut))
        else {
            panic!("a cut bundle is taken")
        };
        assert_eq!((status, code), (400, Code::BadBundle));
    }
    // What follows something that is not there, and what names chunks that are not there.
    let later = server
        .device("bob")
        .get(&format!("bundle?from={}", transaction_id("a")));
    let later = InMemory::of(later.expect(200).body);
    for name in ["fay", "gus"] {
        let remote = remote(server.address(), name);
        assert_eq!(
            remote.push_bundle(&later).unwrap(),
            PushAnswer::UnknownParent
        );
    }
    let json = format!(
        r#"{{"id":"{}","seq":1,"parent":"{ROOT}","chunks":["{}"]}}"#,
        transaction_id("d"),
        chunk("bread").id
    );
    let name = format!(
        "transactions/{}/{}.json",
        &transaction_id("d")[..2],
        transaction_id("d")
    );
    let lacking = InMemory::of(tar_of(&name, json.as_bytes()));
    let missing = PushAnswer::Missing(vec![ChunkId::Digest(digest("bread"))]);
    assert_eq!(
        remote(server.address(), "hal")
            .push_bundle(&lacking)
            .unwrap(),
        missing
    );
}

fn tar_of(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, bytes).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn a_checkpoint_is_put_as_the_server_says() {
    let server = Server::start();
    bundle_of(&server, "ann", &["a", "b"]);
    let remote = remote(server.address(), "ann");
    let put = |name: &str, chunks: &[ChunkDigest]| {
        remote.put_checkpoint(transaction(name), chunks).unwrap()
    };
    let bread = ChunkId::Digest(digest("bread"));
    assert_eq!(
        put("b", &[digest("bread")]),
        PutCheckpoint::MissingChunks(vec![bread])
    );
    assert_eq!(put("b", &[digest("a")]), PutCheckpoint::Stored);
    let there = remote.checkpoint().unwrap().unwrap();
    assert_eq!((there.transaction, there.seq), (transaction("b"), 2));
    assert_eq!(there.chunks, [digest("a")]);
    let head = Head {
        id: transaction("b"),
        seq: 2,
    };
    let older = PutCheckpoint::Older {
        head,
        present: there,
    };
    assert_eq!(put("a", &[]), older);
    assert_eq!(
        put("other", &[]),
        PutCheckpoint::UnknownTransaction { head }
    );
}

#[test]
fn a_wait_ends_when_head_moves_or_the_time_is_up() {
    let (server, _folder, remotes) = both(&[]);
    for (number, remote) in remotes.iter().enumerate() {
        let before = remote.head().unwrap();
        let began = Instant::now();
        assert_eq!(
            remote.wait(before.id, Duration::from_secs(1)).unwrap(),
            before
        );
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{:?}",
            began.elapsed()
        );
        let id = transaction_id(&format!("number {number}"));
        let moved = thread::scope(|scope| {
            let waiting = scope.spawn(|| remote.wait(before.id, Duration::from_secs(120)));
            thread::sleep(Duration::from_millis(300));
            server
                .device("ann")
                .commit(&id, &before.id.to_string(), &[]);
            waiting.join().unwrap()
        });
        let expected = Head {
            id: id.parse().unwrap(),
            seq: before.seq + 1,
        };
        assert_eq!(moved.unwrap(), expected);
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{:?}",
            began.elapsed()
        );
        // One who has seen another is told at once.
        assert_eq!(
            remote.wait(before.id, Duration::from_secs(120)).unwrap(),
            expected
        );
    }
}

#[test]
fn the_user_is_said_in_the_header_alone_and_one_connection_does() {
    let server = Server::start();
    let relay = Relay::to(server.address(), First::Pass);
    let remote = remote(relay.address, "ann");
    let bundle = InMemory::of(bundle_of(&server, "bob", &["a"]));
    remote.push_bundle(&bundle).unwrap();
    for _ in 0..5 {
        remote.head().unwrap();
        remote.missing(&[digest("a")]).unwrap();
        remote
            .wait(TransactionId::ROOT, Duration::from_secs(5))
            .unwrap();
        whole(
            remote
                .bundle(TransactionId::ROOT, 9, WithChunks::All)
                .unwrap()
                .unwrap(),
        );
    }
    remote
        .put_checkpoint(transaction("a"), &[digest("a")])
        .unwrap();
    let asked = relay.asked();
    let id = user_id("ann");
    let requests: Vec<_> = asked
        .split("\r\n")
        .filter(|line| line.ends_with(" HTTP/1.1"))
        .collect();
    assert_eq!(requests.len(), 22, "{requests:?}");
    for request in requests {
        assert!(request.contains(" /0.1/-/"), "{request}");
    }
    let with_id = asked.split("\r\n").filter(|line| line.contains(&id));
    let expected = format!("authorization: bearer {id}");
    let lines: Vec<_> = with_id.map(str::to_ascii_lowercase).collect();
    assert_eq!(lines, vec![expected; 22]);
    assert_eq!(relay.connections(), 1);
}

#[test]
fn refusals_keep_their_status_and_code_also_of_a_long_upload_that_nobody_reads() {
    let server = Server::with(&["--new-users", "deny"]);
    let relay = Relay::to(server.address(), First::Pass);
    let remote = remote(relay.address, "ann");
    let long = InMemory::of(vec![0; 32 << 20]);
    for outcome in [
        remote.missing(&[]).map(|_| ()),
        remote.push_bundle(&long).map(|_| ()),
    ] {
        let Err(Error::Refused {
            status,
            code,
            detail,
        }) = outcome
        else {
            panic!("{outcome:?}")
        };
        assert_eq!((status, code), (403, Code::UnknownUser), "{detail}");
    }
    assert_eq!(
        long.opened.load(Ordering::SeqCst),
        1,
        "a refusal is not asked for again"
    );
}

/// A bundle whose bytes cannot be read to the end.
struct Failing {
    announced: u64,
    fails: bool,
    /// How often it was opened: each try does, while what a relay counts comes late.
    opened: AtomicUsize,
}

impl Parcel for Failing {
    fn bytes(&self) -> u64 {
        self.announced
    }

    fn open(&self) -> Result<Box<dyn Read + Send + '_>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let some = io::repeat(0).take(self.announced - 1);
        Ok(match self.fails {
            true => Box::new(some.chain(Never)),
            false => Box::new(some),
        })
    }
}

struct Never;

impl Read for Never {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "a file of ours",
        ))
    }
}

#[test]
fn a_bundle_that_cannot_be_read_is_the_devices_own_failure_and_is_sent_once() {
    let server = Server::start();
    let remote = remote(server.address(), "ann");
    for (fails, kind) in [
        (true, io::ErrorKind::PermissionDenied),
        (false, io::ErrorKind::UnexpectedEof),
    ] {
        let parcel = Failing {
            announced: 512,
            fails,
            opened: AtomicUsize::new(0),
        };
        match remote.push_bundle(&parcel) {
            Err(Error::Io(error)) => assert_eq!(error.kind(), kind),
            other => panic!("{other:?}"),
        }
        assert_eq!(parcel.opened.into_inner(), 1);
    }
    assert_eq!(remote.head().unwrap(), Head::ROOT);
}

/// The names of the members of a tar.
fn members(bytes: &[u8]) -> Vec<String> {
    let mut tar = tar::Archive::new(bytes);
    let names = tar.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        entry.path().unwrap().display().to_string()
    });
    names.collect()
}

#[test]
fn chunks_are_asked_for_by_name_and_the_chain_without_them() {
    let (server, _folder, remotes) = both(&[]);
    bundle_of(&server, "ann", &["a", "b"]);
    let chunk_of = |name: &str| {
        let id = chunk(name).id;
        format!("chunks/{}/{id}", &id[..2])
    };
    let transaction_of = |name: &str| {
        let id = transaction_id(name);
        format!("transactions/{}/{id}.json", &id[..2])
    };
    for remote in &remotes {
        let asked = [digest("b"), digest("bread"), digest("a")];
        let tar = whole(remote.chunks(&asked).unwrap());
        assert_eq!(members(&tar), [chunk_of("b"), chunk_of("a")]);
        let chain = remote.bundle(TransactionId::ROOT, 9, WithChunks::None);
        let chain = whole(chain.unwrap().unwrap());
        let expected = [transaction_of("a"), transaction_of("b"), "HEAD".to_owned()];
        assert_eq!(members(&chain), expected);
    }
}

#[test]
fn a_pull_with_nothing_new_is_one_request() {
    let server = Server::start();
    let relay = Relay::to(server.address(), First::Pass);
    let desks = Desks::new();
    let desk = desks.init("desk", &format!("http://{}", relay.address));
    desk.commit("milk");
    desk.run(&["sync"]).good();
    let before = relay.asked().len();
    desk.run(&["pull"]).good();
    let asked = relay.asked();
    let requests = asked[before..].matches(" HTTP/1.1\r\n").count();
    assert_eq!(requests, 1, "{}", &asked[before..]);
}
