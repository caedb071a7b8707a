//! Only absent is absent: what cannot be looked at is not taken for what is not there; and what the chain names
//! is kept where gc does not go, whatever was lost before.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mentat_sync::disk::{Disk, Kind};
use mentat_sync::model::{TransactionId, limits};
use mentat_sync::store::{
    Advance, AdvanceRefusal, Mistake, Proposal, PutTransaction, Result, Store,
};
use mentat_sync::upkeep::gc;
use rustix::io::Errno;

use crate::kit::{
    Chunk, Device, ROOT, Server, binary, chunk, run_with_deadline, transaction_id, tree,
};
use crate::proof::{Act, Book, Client, Disks, Fact, cast, folder, repair};
use simulated_disk::{Fault, Reading, Sim, World};

/// A committed chunk `a` that is not there any more, and the mark that says so.
fn lost() -> (World, Book) {
    let sim = Sim::new(Reading::Posix);
    let (book, client) = (Book::default(), Client::new(&sim, None));
    for act in [
        Act::PutChunk("a"),
        Act::PutTransaction("A"),
        Act::Advance("A"),
    ] {
        act.perform(&client, &book, Disks::Sound);
    }
    let place = &cast::chunk_files(&folder(), "a")[0];
    sim.with(|world| world.remove(place, Kind::File)).unwrap();
    repair(&sim.process(), None).unwrap();
    let mark = folder().join("lost+found/chunks").join(cast::chunk_id("a"));
    assert!(sim.process().meta(&mark).is_ok());
    book.open().facts.remove(&Fact::Chunk("a"));
    (sim.world(), book)
}

/// Uploads the lost chunk while one step after the other is refused; says at how many of them it was
/// acknowledged and yet not where it belongs.
fn astray(act: Act, errno: Errno, mistake: Option<Mistake>) -> usize {
    let (world, book) = lost();
    let answers = book.open().clone();
    let steps = {
        let sim = Sim::with_world(world.clone());
        let client = Client::new(&sim, mistake);
        client.disk.set_fault(Fault::None);
        act.perform(&client, &Book::new(answers.clone()), Disks::Sound);
        client.disk.steps()
    };
    let (mut astray, mut kept) = (0, 0);
    for step in 1..=steps + 1 {
        let sim = Sim::with_world(world.clone());
        let (book, client) = (Book::new(answers.clone()), Client::new(&sim, mistake));
        client.disk.set_fault(Fault::At(step, errno));
        act.perform(&client, &book, Disks::Failing);
        if !book.open().has(Fact::Chunk("a")) {
            continue;
        }
        let place = &cast::chunk_files(&folder(), "a")[0];
        match sim.world().read_file(place) {
            Some(_) => kept += 1,
            None => astray += 1,
        }
    }
    assert!(kept > 0, "{act:?} is never acknowledged");
    astray
}

const AGAIN: [Act; 3] = [
    Act::PutChunk("a"),
    Act::PutChunks(&["a", "b"]),
    Act::Upload(&["A"]),
];

#[test]
fn a_lost_chunk_goes_back_to_its_place_or_is_refused_whatever_cannot_be_seen() {
    for act in AGAIN {
        for errno in [Errno::ACCESS, Errno::IO, Errno::STALE, Errno::NOTDIR] {
            assert_eq!(astray(act, errno, None), 0, "{act:?}, {errno:?}");
        }
    }
}

#[test]
fn a_mark_that_cannot_be_seen_and_is_taken_for_none_is_noticed() {
    for act in [AGAIN[0], AGAIN[1]] {
        let astray = astray(act, Errno::ACCESS, Some(Mistake::UnseenIsAbsent));
        assert!(astray > 0, "{act:?}");
    }
}

/// A marked chunk stands in `incoming/` alone, older than the grace period; whether gc leaves it.
fn gc_leaves_the_last(mistake: Option<Mistake>, errno: Option<Errno>) -> Result<bool> {
    let (world, _) = lost();
    let sim = Sim::with_world(world);
    let place = &cast::chunk_files(&folder().join("incoming"), "a")[0];
    sim.with(|world| {
        if world.at(&place.parent()).is_err() {
            world.make_directory(&place.parent()).unwrap();
        }
        let object = world.create(place).unwrap();
        world.write(object, 0, cast::chunk_bytes("a"));
        world.close(object);
        world.settle();
        world.clock += limits::GRACE + Duration::from_secs(86_400);
    });
    let client = Client::new(&sim, mistake);
    let mut outcome = Ok(true);
    let steps = if errno.is_some() { 40 } else { 1 };
    for step in 1..=steps {
        if let Some(errno) = errno {
            client.disk.set_fault(Fault::At(step, errno));
        }
        let options = gc::CollectOptions::default();
        let ended = gc::collect(&client.store, &cast::user(), &options, &mut |_| {});
        outcome = ended.map(|_| sim.world().read_file(place).is_some());
        assert!(
            errno.is_none() || sim.world().read_file(place).is_some(),
            "{step}"
        );
    }
    outcome
}

#[test]
fn gc_never_takes_what_a_mark_says_the_chain_names() {
    assert!(gc_leaves_the_last(None, None).unwrap());
    for errno in [Errno::ACCESS, Errno::IO] {
        gc_leaves_the_last(None, Some(errno)).ok();
    }
    let mistake = Some(Mistake::SweptThoughLost);
    assert!(!gc_leaves_the_last(mistake, None).unwrap(), "not noticed");
}

fn propose(store: &Store, id: u8, parent: TransactionId) -> PutTransaction {
    let proposal = Proposal {
        id: TransactionId::from_bytes([id; 16]),
        parent,
        chunks: Vec::new(),
        seq: None,
    };
    let draft = store.user(cast::user()).draft(proposal).unwrap();
    let lock = store.user(cast::user()).shared_blocking().unwrap();
    lock.unwrap().put_transaction(draft).unwrap()
}

/// A repair takes a pending transaction away that a server remembers, another comes under its id, with
/// another parent; what the server makes of an advance to its child.
fn advance_after_a_repair(mistake: Option<Mistake>) -> Advance {
    let sim = Sim::new(Reading::Posix);
    let [server, other] = [(); 2].map(|()| Client::new(&sim, None));
    let [a, b, c] = [0xa, 0xb, 0xc].map(|id| TransactionId::from_bytes([id; 16]));
    for (id, parent) in [
        (0xa, TransactionId::ROOT),
        (0xb, a),
        (0xc, TransactionId::ROOT),
    ] {
        let put = propose(&server.store, id, parent);
        assert_eq!(put, PutTransaction::Accepted);
    }
    let advance = |to| {
        let lock = server.store.user(cast::user()).exclusive_blocking();
        let (outcome, leftovers) = lock.unwrap().unwrap().advance(to).unwrap();
        leftovers.clear();
        outcome
    };
    // It looks at all that is pending for that, and remembers it.
    let why = AdvanceRefusal::HasDescendants(vec![b]);
    assert!(matches!(advance(a), Advance::Refused { why: it, .. } if it == why));
    sim.with(|world| {
        let object = world.at(&cast::pending_file(a)).unwrap();
        world.set_len(object, 3);
    });
    repair(&sim.process(), mistake).unwrap();
    assert_eq!(propose(&other.store, 0xa, c), PutTransaction::Accepted);
    advance(b)
}

#[test]
fn what_a_repair_took_from_what_is_pending_is_remembered_by_no_server() {
    let why = AdvanceRefusal::UnknownTransaction;
    assert!(matches!(advance_after_a_repair(None), Advance::Refused { why: it, .. } if it == why));
    let untold = advance_after_a_repair(Some(Mistake::UntoldRepair));
    assert!(matches!(untold, Advance::Advanced(_)), "not noticed");
}

#[test]
fn a_running_server_hears_of_a_repair() {
    let server = Server::start();
    let mut device = server.device("ada");
    let [one, two, three, four, five] = ["one", "two", "three", "four", "five"].map(transaction_id);
    device.put_transaction(&one, ROOT, &[]).expect(201);
    device.put_transaction(&two, &one, &[]).expect(201);
    device.put_transaction(&three, &two, &[]).expect(201);
    device.put_transaction(&four, ROOT, &[]).expect(201);
    device.put_transaction(&five, &four, &[]).expect(201);
    device.put_head(&one).expect_refusal(409, "has-descendants");
    let middle = server
        .folder("ada")
        .join(format!("incoming/transactions/{two}.json"));
    fs::write(&middle, "?").unwrap();
    fsck(&server.data(), &["--repair"], 1);
    assert!(!middle.exists());
    device
        .put_head(&three)
        .expect_refusal(409, "unknown-transaction");
    // The same id comes again as another's child, with another number.
    device.put_transaction(&two, &five, &[]).expect(201);
    device
        .put_head(&three)
        .expect_refusal(409, "unknown-transaction");
    device.put_head(&two).expect(204);
    assert_eq!(device.chain_after(ROOT), [four, five, two]);
}

#[track_caller]
fn fsck(data: &Path, flags: &[&str], code: i32) -> String {
    let mut command = binary();
    let ended = run_with_deadline(command.arg("fsck").arg("--data").arg(data).args(flags));
    assert_eq!(ended.code, Some(code), "{ended:?}");
    ended.stdout
}

fn collect(data: &Path) {
    let mut command = binary();
    command.args(["gc", "--grace", "0s", "--data"]).arg(data);
    let ended = run_with_deadline(&mut command);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Where a chunk is, committed or in `incoming/`.
fn file(server: &Server, area: &str, chunk: &Chunk) -> std::path::PathBuf {
    let place = format!("{area}chunks/{}/{}", &chunk.id[..2], chunk.id);
    server.folder("ada").join(place)
}

/// A server with one committed chunk, which is not there any more, and nobody has run fsck.
fn unmarked() -> (Server, Device, Chunk, String) {
    let server = Server::start();
    let mut device = server.device("ada");
    let (chunk, id) = (chunk("lost"), transaction_id("one"));
    device.commit(&id, ROOT, &[&chunk]);
    fs::remove_file(file(&server, "", &chunk)).unwrap();
    (server, device, chunk, id)
}

#[track_caller]
fn is_back_for_good(server: &Server, device: &mut Device, chunk: &Chunk) {
    assert!(file(server, "", chunk).exists());
    collect(&server.data());
    let got = device.get(&format!("chunks/{}", chunk.id)).expect(200);
    assert!(got.body == chunk.bytes);
}

#[test]
fn a_committed_transaction_put_again_asks_for_what_it_lost_and_takes_it_back() {
    let (server, mut device, chunk, id) = unmarked();
    let refused = device.put_transaction(&id, ROOT, &[&chunk.id]);
    let refused = refused.expect_refusal(404, "missing-chunks").json();
    assert_eq!(refused["missing"], serde_json::json!([chunk.id]));
    device.put_chunk(&chunk).expect(201);
    device.put_transaction(&id, ROOT, &[&chunk.id]).expect(201);
    is_back_for_good(&server, &mut device, &chunk);
}

#[test]
fn a_chunk_that_came_again_first_is_taken_back_by_its_committed_transaction() {
    let (server, mut device, chunk, id) = unmarked();
    device.put_chunk(&chunk).expect(201);
    device.put_transaction(&id, ROOT, &[&chunk.id]).expect(201);
    is_back_for_good(&server, &mut device, &chunk);
}

#[test]
fn a_bundle_of_what_is_committed_brings_back_what_was_lost() {
    let server = Server::start();
    let mut device = server.device("ada");
    let (chunk, id) = (chunk("lost"), transaction_id("one"));
    device.commit(&id, ROOT, &[&chunk]);
    let bundle = device.get("bundle").expect(200).body;
    fs::remove_file(file(&server, "", &chunk)).unwrap();
    let path = device.path("bundle");
    let pushed = (device.client).request("POST", &path, &[], Some(&bundle));
    // HEAD is there already; all of it was taken in.
    pushed.expect_refusal(409, "not-a-descendant");
    is_back_for_good(&server, &mut device, &chunk);
}

#[test]
fn a_file_where_a_directory_should_be_is_damage_to_whoever_looks_there() {
    let server = Server::start();
    let mut device = server.device("ada");
    let (chunk, id) = (chunk("here"), transaction_id("one"));
    device.commit(&id, ROOT, &[&chunk]);
    let folder = server.folder("ada");
    for name in ["incoming/transactions", "lost+found", "incoming/chunks"] {
        let (place, aside) = (folder.join(name), folder.join("aside"));
        let was_there = fs::rename(&place, &aside).is_ok();
        fs::write(&place, "").unwrap();
        let new = crate::kit::chunk(name);
        match name {
            "incoming/transactions" => {
                let next = transaction_id("two");
                let put = device.put_transaction(&next, &id, &[]);
                put.expect_refusal(500, "damaged");
                device.put_head(&next).expect_refusal(500, "damaged");
            }
            _ => drop(device.put_chunk(&new).expect_refusal(500, "damaged")),
        }
        fs::remove_file(&place).unwrap();
        if was_there {
            fs::rename(&aside, &place).unwrap();
        }
        device.put_chunk(&new).expect(201);
    }
    assert_eq!(tree(&folder.join("incoming/tmp")).len(), 0);
}

/// What looks at the disk, and what turns an error into "not there".
const LOOKS: [&str; 16] = [
    ".meta(",
    ".open(",
    ".list(",
    ".names(",
    ".metadata(",
    ".symlink_metadata(",
    ".exists(",
    ".is_dir(",
    ".is_file(",
    "read_head(",
    "open_log(",
    "start_of(",
    "read_transaction",
    "read_alias(",
    "is_there(",
    "meta_if_there(",
];
const SHRUGS: [&str; 10] = [
    ".is_ok()",
    ".is_err()",
    ".ok()",
    ".is_ok_and(",
    ".unwrap_or",
    ".map_or(",
    "let Ok(",
    "let _ =",
    "matches!(",
    "Err(_) =>",
];

/// Where it is right to go on, and why.
const ON_PURPOSE: [(&str, &str); 17] = [
    // Words for a person beside an error that is told.
    ("src/cli/open.rs", "above.metadata()"),
    ("src/cli/open.rs", ", which belongs to"),
    ("src/store/ground.rs", "disk .meta(&format) .if_there()"),
    ("src/upkeep/snapshot/obstacle.rs", "from.meta(&error.place)"),
    // A copy does without a log, which whoever needs it makes anew from the chain.
    ("src/upkeep/snapshot/folder.rs", "self.store.open_log("),
    // A doubt, at which everything is read again more slowly, and told.
    (CHAIN, "read_transaction_file(&place, id).ok()"),
    (CHAIN, "if let Ok(Some(start)) = start"),
    (CHAIN, "if let Ok(None) = "),
    // A place to begin at, where the chain's end is lost; a bar that shows how far it is.
    (CHAIN, "let _ = self.store().disk().list(&fan"),
    (FILES, "let _ = store.disk().list(&fan"),
    (FILES, "store.open_log(&folder).ok()"),
    (FILES, ".and_then(|log| log.meta().ok())"),
    // Counts as unsound, which is what it looks for.
    (
        "src/upkeep/fsck/walk.rs",
        ".alias(Area::Committed, alias)) .ok()",
    ),
    // The rule taken away, for a test that must notice.
    ("src/store/lost.rs", "matches!(seen, Ok(Some(_)))"),
    // A path for words and for watching: the one that was given, where no better one is known.
    ("src/disk/real.rs", "let is_there = canonical .metadata()"),
    // What is gone has been told apart from what cannot be looked at before.
    ("src/store/store.rs", "gone.unwrap_or(what)"),
    // Any other answer makes the user read-only.
    (
        "src/store/move_head.rs",
        "self.store.read_head(&self.folder), Ok(Some((_, id)))",
    ),
];
const CHAIN: &str = "src/upkeep/fsck/chain.rs";
const FILES: &str = "src/upkeep/fsck/files.rs";

#[test]
fn no_look_at_the_disk_ends_in_a_shrug() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut shrugs = Vec::new();
    let mut files: Vec<_> = ["store", "upkeep", "disk", "cli"]
        .into_iter()
        .flat_map(|layer| {
            tree(&top.join("src").join(layer))
                .into_keys()
                .map(move |name| format!("src/{layer}/{name}"))
        })
        .filter(|name| name.ends_with(".rs") && !name.ends_with("/tests.rs"))
        .collect();
    files.sort();
    for name in files {
        let text = fs::read_to_string(top.join(&name)).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let code: Vec<&str> = text
            .lines()
            .map(|line| line.split("//").next().unwrap().trim())
            .collect();
        let code = code.join(" ");
        let mut looked: Option<(String, usize)> = None;
        for (number, part) in code.split([';', '{', '}']).enumerate() {
            // What fsck sees it tells, and an error that is passed on is no shrug.
            let told = part.contains("self.seen(") || part.contains(")?");
            let looks = !told && LOOKS.iter().any(|look| part.contains(look));
            let shrug = SHRUGS.iter().any(|shrug| part.contains(shrug));
            // The outcome of a look that has a name, for some statements after it.
            let named = looked.as_ref().is_some_and(|(name, at)| {
                number - at < 12
                    && part
                        .split(|c: char| !c.is_alphanumeric() && c != '_')
                        .any(|word| word == name)
            });
            if shrug && !told && (looks || named) {
                let right = |(file, words): &(&str, &str)| *file == name && part.contains(words);
                if !ON_PURPOSE.iter().any(right) {
                    shrugs.push(format!("{name}: {}", part.trim()));
                }
            }
            if looks {
                let name = part
                    .trim()
                    .strip_prefix("let ")
                    .and_then(|rest| rest.split(' ').next());
                looked = name.map(|name| (name.to_owned(), number));
            }
        }
    }
    assert!(shrugs.is_empty(), "{shrugs:#?}");
}
