use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::faults::strace::{self, Tracer};
use crate::kit::{
    Device, Ending, ROOT, Server, chunk, effort, run_with_deadline, skipped, transaction_id,
    user_id,
};

/// How long the writers go on; `MENTAT_TOLD_SECONDS` says otherwise.
fn seconds() -> u64 {
    effort::chosen("MENTAT_TOLD_SECONDS").unwrap_or(effort::either(3, 10))
}

/// How much longer each sync of one of the servers takes.
const LATE: Duration = Duration::from_millis(5);

fn traced(server: &Server, arguments: &[&str]) -> Tracer {
    let log = server
        .data()
        .with_file_name(format!("{}.log", server.pid()));
    let arguments: Vec<String> = ["-f"]
        .iter()
        .chain(arguments)
        .map(|a| (*a).to_owned())
        .collect();
    Tracer::attach_to(&[server.pid().to_string()], &log, &arguments)
}

/// What all who take part have seen.
#[derive(Default)]
struct Shared {
    /// The number of the newest HEAD that was acknowledged or read, by anybody, at any server.
    newest: AtomicU64,
    stop: AtomicBool,
    waits: AtomicUsize,
    wrong: std::sync::Mutex<Vec<String>>,
}

impl Shared {
    fn saw(&self, seq: u64) {
        self.newest.fetch_max(seq, Ordering::SeqCst);
    }

    fn judge(&self, what: &str, floor: u64, seq: u64) {
        if seq < floor {
            let words = format!("{what} says {seq}, and {floor} was known before");
            self.wrong.lock().unwrap().push(words);
        }
        self.saw(seq);
    }
}

/// Commits one after the other, each by the next of the servers.
fn write(servers: [&Server; 2], shared: &Shared) {
    let _ending = Ending(&shared.stop);
    let mut devices = servers.map(|server| server.device("ada"));
    let until = Instant::now() + Duration::from_secs(seconds());
    let mut parent = ROOT.to_owned();
    let mut seq = 0;
    while Instant::now() < until {
        let device = &mut devices[usize::from(seq % 3 == 2)];
        let id = transaction_id(&format!("number {seq}"));
        device.put_transaction(&id, &parent, &[]).expect(201);
        device.put_head(&id).expect(204);
        (parent, seq) = (id, seq + 1);
        shared.saw(seq);
    }
}

/// Waits for another head than the one it knows, again and again; now at one server, now at the other.
fn wait(servers: [&Server; 2], first: usize, shared: &Shared) {
    let mut devices = servers.map(|server| server.device("ada"));
    let mut held = (ROOT.to_owned(), 0);
    for turn in first.. {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let device = &mut devices[usize::from(turn % 4 == 3)];
        let floor = shared.newest.load(Ordering::SeqCst).max(held.1);
        let tag = format!("\"{}\"", held.0);
        let answer = device.get_with("head?wait=1", &[("If-None-Match", &tag)]);
        shared.waits.fetch_add(1, Ordering::SeqCst);
        match answer.status {
            304 => shared.judge("304 after a wait", floor, held.1),
            200 => {
                let answer = answer.json();
                let seq = answer["seq"].as_u64().unwrap();
                shared.judge("a wait", floor.max(held.1 + 1), seq);
                held = (answer["head"].as_str().unwrap().to_owned(), seq);
            }
            other => panic!("a wait is answered {other}"),
        }
        // Now and then what is known comes from a plain answer of the other server.
        if turn % 5 == 0 {
            let floor = shared.newest.load(Ordering::SeqCst);
            held = devices[turn % 2].head();
            shared.judge("GET head", floor, held.1);
        }
    }
}

/// Listens to events, and looks that they only ever go forth.
fn listen(server: &Server, shared: &Shared) {
    let mut stream = crate::waiting::Stream::open(server.address(), "ada", None);
    let (mut told, mut at) = (None, 0);
    while !shared.stop.load(Ordering::SeqCst) {
        let text = stream.more().to_owned();
        while let Some(end) = text[at..].find("\n\n") {
            let one = &text[at..at + end];
            at += end + 2;
            let Some((_, seq)) = one.split_once("\"seq\":") else {
                continue;
            };
            let seq: u64 = seq.trim_end_matches(['}', '\n']).parse().unwrap();
            if told.is_some_and(|told| seq <= told) {
                let words = format!("an event says {seq} after {told:?}");
                shared.wrong.lock().unwrap().push(words);
            }
            told = Some(seq);
            shared.saw(seq);
        }
    }
}

#[test]
fn what_is_told_never_goes_back_with_two_servers_one_of_which_syncs_slowly() {
    if !strace::works() {
        skipped("syncs that are late", "strace cannot trace here");
        return;
    }
    let quick = Server::start();
    let slow = quick.another();
    let late = format!("inject=fsync,syncfs:delay_exit={}", LATE.as_micros());
    let tracer = traced(&slow, &["-e", "trace=fsync,syncfs", "-e", &late]);
    let shared = Shared::default();
    std::thread::scope(|scope| {
        scope.spawn(|| write([&quick, &slow], &shared));
        for first in 0..6 {
            let servers = match first % 2 {
                0 => [&slow, &quick],
                _ => [&quick, &slow],
            };
            let shared = &shared;
            scope.spawn(move || wait(servers, first, shared));
        }
        for server in [&quick, &slow] {
            let shared = &shared;
            scope.spawn(move || listen(server, shared));
        }
    });
    tracer.detach();
    let (waits, moves) = (shared.waits.into_inner(), shared.newest.into_inner());
    let wrong = shared.wrong.into_inner().unwrap();
    println!(
        "{waits} waits beside {moves} moves of HEAD, {} of them wrong",
        wrong.len()
    );
    assert!(
        wrong.is_empty(),
        "{} of {waits}: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(9)]
    );
    assert!(waits > 100 && moves > 20, "{waits} waits, {moves} moves");
}

/// Ids that share a directory, so that the last sync of an advance is the only one of the user's folder.
fn neighbour(number: u8) -> String {
    format!("aa000000-0000-4000-8000-0000000000{number:02x}")
}

fn commit(device: &mut Device, number: u8) -> u16 {
    let parent = match number {
        1 => ROOT.to_owned(),
        _ => neighbour(number - 1),
    };
    device
        .put_transaction(&neighbour(number), &parent, &[])
        .expect(201);
    device.put_head(&neighbour(number)).status
}

#[test]
fn after_a_failed_sync_of_head_each_read_looks_at_the_disk_anew() {
    if !strace::works() {
        skipped("syncs that fail", "strace cannot trace here");
        return;
    }
    let failing = Server::with(&["--sync", "each"]);
    let sound = failing.another();
    let (mut here, mut there) = (failing.device("ada"), sound.device("ada"));
    assert_eq!(commit(&mut here, 1), 204);
    assert_eq!(commit(&mut here, 2), 204);
    let mut stream = crate::waiting::Stream::open(failing.address(), "ada", None);

    // The sync behind HEAD's replacement fails, and so does every other of that folder for now.
    let folder = failing.folder("ada").to_string_lossy().into_owned();
    let tracer = traced(&failing, &["-P", &folder, "-e", "inject=fsync:error=EIO"]);
    assert_eq!(commit(&mut here, 3), 500);
    let head = fs::read_to_string(failing.folder("ada").join("HEAD")).unwrap();
    assert_eq!(head, format!("{}\n", neighbour(3)), "HEAD was replaced");
    // It is not told for as long as it cannot be made durable; and what was told before would be behind what
    // the other server tells.
    for rest in ["head", "", "transactions"] {
        let status = here.get(rest).status;
        assert!(status >= 500, "{rest}: {status}");
    }
    assert_eq!(there.head(), (neighbour(3), 3));
    let lines = tracer.detach();
    assert!(
        lines.iter().any(|line| line.contains("(INJECTED)")),
        "{lines:#?}"
    );

    // Once it can, it is written anew and told.
    assert_eq!(here.head(), (neighbour(3), 3));
    assert_eq!(here.chain_after(ROOT).len(), 3);
    // Nothing more is written here, for this user.
    here.put_transaction(&neighbour(4), &neighbour(3), &[])
        .expect_refusal(500, "internal");
    assert_eq!(failing.device("bob").put_chunk(&chunk("milk")).status, 201);
    // The other server goes on, and this one tells so.
    assert_eq!(commit(&mut there, 4), 204);
    assert_eq!(here.head(), (neighbour(4), 4));
    stream = match stream.try_until(&crate::waiting::event(&neighbour(4), 4)) {
        true => stream,
        // A look that failed ended it: the client comes again.
        false => crate::waiting::Stream::open(failing.address(), "ada", None),
    };
    assert_eq!(commit(&mut there, 5), 204);
    stream.until(&crate::waiting::event(&neighbour(5), 5));
    assert_eq!(here.head(), (neighbour(5), 5));
    here.put_head(&neighbour(6)).expect_refusal(500, "internal");
    drop(here);
    let failing = failing.restart();
    assert_eq!(commit(&mut failing.device("ada"), 6), 204);
}

/// The sync after HEAD's replacement fails, and another server has moved HEAD before anybody reads here.
#[test]
fn a_head_that_another_server_moved_since_is_told_though_a_sync_failed_here() {
    if !strace::works() {
        skipped("syncs that fail", "strace cannot trace here");
        return;
    }
    let failing = Server::with(&["--sync", "each"]);
    let sound = failing.another();
    let (mut here, mut there) = (failing.device("ada"), sound.device("ada"));
    assert_eq!(commit(&mut here, 1), 204);
    assert_eq!(commit(&mut here, 2), 204);
    let folder = failing.folder("ada").to_string_lossy().into_owned();
    let fails = "inject=fsync:error=EIO:when=1";
    let tracer = traced(&failing, &["-P", &folder, "-e", fails]);
    assert_eq!(commit(&mut here, 3), 500);
    tracer.detach();
    for number in 4..8 {
        assert_eq!(commit(&mut there, number), 204);
        assert_eq!(here.head(), (neighbour(number), u64::from(number)));
        assert_eq!(here.chain_after(ROOT).len(), usize::from(number));
    }
}

/// Everything below a directory, itself included.
fn all_below(directory: &Path, found: &mut BTreeSet<PathBuf>) {
    found.insert(directory.to_owned());
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all_below(&path, found),
            false => drop(found.insert(path)),
        }
    }
}

/// What was synced by itself, each as often as it was.
fn synced(lines: &[String]) -> Vec<PathBuf> {
    let path = |line: &String| {
        let (_, rest) = line.split_once("fsync(")?;
        let (_, path) = rest.split_once('<')?;
        Some(PathBuf::from(path.split_once('>')?.0))
    };
    lines.iter().filter_map(path).collect()
}

/// A folder made by another server, with three transactions; copied aside on the same file system.
fn folder_from_outside(server: &Server) -> (PathBuf, String) {
    let donor = Server::start();
    let mut device = donor.device("ada");
    let mut parent = ROOT.to_owned();
    for name in ["one", "two", "three"] {
        let id = transaction_id(name);
        device.commit(&id, &parent, &[&chunk(name)]);
        parent = id;
    }
    let aside = server.data().with_file_name("aside");
    let copied = run_with_deadline(
        Command::new("cp")
            .arg("-r")
            .arg(donor.folder("ada"))
            .arg(&aside),
    );
    assert_eq!(copied.code, Some(0), "{copied:?}");
    (aside, parent)
}

#[test]
fn a_folder_from_outside_is_synced_as_a_whole_before_a_word_about_it() {
    if !strace::works() {
        skipped("which syncs are made", "strace cannot trace here");
        return;
    }
    let questions = [
        "head",
        "",
        "transactions",
        "bundle",
        "a chunk",
        "a missing chunk",
    ];
    for how in ["each", "auto"] {
        for (index, question) in questions.into_iter().enumerate() {
            let server = Server::with(&["--sync", how]);
            let (aside, head) = folder_from_outside(&server);
            let mut device = server.device("ada");
            // Every other time the server has known another folder of that user.
            let is_known = index % 2 == 1;
            if is_known {
                device.commit(&transaction_id("another"), ROOT, &[&chunk("another")]);
                fs::rename(server.folder("ada"), server.data().with_file_name("old")).unwrap();
            }
            let tracer = traced(&server, &["-e", "trace=fsync,syncfs"]);
            fs::rename(&aside, server.folder("ada")).unwrap();
            let mut everything = BTreeSet::new();
            all_below(&server.folder("ada"), &mut everything);
            everything.insert(server.data().join("users"));

            // Many come at once, and all are answered.
            std::thread::scope(|scope| {
                for _ in 0..20 {
                    scope.spawn(|| {
                        let mut device = server.device("ada");
                        match question {
                            "a chunk" => device
                                .get(&format!("chunks/{}", chunk("two").id))
                                .expect(200),
                            "a missing chunk" => device
                                .get(&format!("chunks/{}", chunk("none").id))
                                .expect_refusal(404, "unknown-chunk"),
                            other => device.get(other).expect(200),
                        }
                    });
                }
            });
            let lines = tracer.detach();
            let told = format!("{how}, {question}, known: {is_known}: {lines:#?}");
            let groups = lines.iter().filter(|line| line.contains("syncfs(")).count();
            let each = synced(&lines);
            match how {
                "each" => {
                    let done: BTreeSet<PathBuf> = each.iter().cloned().collect();
                    let left: Vec<_> = everything.difference(&done).collect();
                    assert!(left.is_empty(), "{left:?} were not synced; {told}");
                    let chunk = each.iter().filter(|path| path.ends_with(chunk("two").id));
                    assert_eq!(chunk.count(), 1, "by one for all; {told}");
                }
                // The disk may be shared with who syncs HEAD, but not once for each who asks.
                _ => assert!((1..10).contains(&groups), "{told}"),
            }
            // Once is enough.
            let tracer = traced(&server, &["-e", "trace=fsync,syncfs"]);
            assert_eq!(device.head(), (head.clone(), 3));
            let again = tracer.detach();
            let syncs = again.iter().filter(|line| line.contains("sync")).count();
            assert!(syncs <= 3, "{again:#?}");
        }
    }
}

/// Whoever knows only that the user's id was renamed there and back syncs the name again.
#[test]
fn a_folder_that_had_another_name_meanwhile_has_its_name_synced() {
    if !strace::works() {
        skipped("which syncs are made", "strace cannot trace here");
        return;
    }
    let server = Server::with(&["--sync", "each"]);
    let mut device = server.device("ada");
    let first = transaction_id("first");
    device.commit(&first, ROOT, &[&chunk("milk")]);
    assert_eq!(device.head(), (first.clone(), 1));
    let other = server.data().join("users").join(user_id("another"));
    for question in ["head", "a chunk", "an upload"] {
        fs::rename(server.folder("ada"), &other).unwrap();
        fs::rename(&other, server.folder("ada")).unwrap();
        let tracer = traced(&server, &["-e", "trace=fsync,syncfs"]);
        match question {
            "head" => assert_eq!(device.head(), (first.clone(), 1)),
            "a chunk" => drop(
                device
                    .get(&format!("chunks/{}", chunk("milk").id))
                    .expect(200),
            ),
            _ => drop(device.put_chunk(&chunk("milk")).expect(201)),
        }
        let lines = tracer.detach();
        let users = server.data().join("users");
        assert!(synced(&lines).contains(&users), "{question}: {lines:#?}");
    }
}
