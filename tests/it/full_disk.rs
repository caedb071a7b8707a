use std::ffi::OsStr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::faults::strace::{self, Tracer};
use crate::kit::{
    Ending, ROOT, Server, binary, chunk, run_with_deadline, skipped, transaction_id, tree, user_id,
};

/// A mount namespace in which `script` is run before the binary; it goes when the process does, and
/// nobody else sees what is mounted there. `None` where the system does not let us have one.
pub fn in_own_namespace(script: &str) -> Option<Command> {
    let enter: &[&str] = if rustix::process::geteuid().is_root() {
        &["--mount"]
    } else {
        &["--mount", "--map-root-user"]
    };
    let tried = Command::new("unshare")
        .args(enter)
        .args(["sh", "-c", "mount -t tmpfs -o size=1m none /tmp"])
        .output();
    if !tried.is_ok_and(|output| output.status.success()) {
        skipped(
            "small and read-only disks",
            "no mount namespace is to be had here",
        );
        return None;
    }
    let mut command = Command::new("unshare");
    command
        .args(enter)
        .args(["sh", "-c", &format!("{script} && exec \"$0\" \"$@\"")])
        .arg(binary().get_program());
    Some(command)
}

#[test]
fn a_full_disk_refuses_writes_and_answers_reads() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let directory = data.path().join("data");
    std::fs::create_dir(&directory).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=2m,mode=700 none '{}'",
        directory.display()
    );
    let Some(command) = in_own_namespace(&script) else {
        return;
    };
    let server = Server::launch(command, data, &[]);
    // The server's own view of its directory: ours has no such mount.
    let inside = format!("/proc/{}/root{}", server.pid(), directory.display());
    let inside = std::path::Path::new(&inside);
    let mut device = server.device("ada");
    let [first, second] = ["first", "second"].map(transaction_id);
    let small = chunk("small");
    device.commit(&first, ROOT, &[&small]);

    // Larger than the disk; and then as many small ones as it takes.
    let huge = chunk(vec![b'x'; 3 << 20]);
    device.put_chunk(&huge).expect_refusal(507, "no-space");
    device.put_transaction(&second, &first, &[]).expect(201);
    let mut stored = Vec::new();
    let refused = loop {
        let next = chunk(format!("{:0>60000}", stored.len()));
        let answer = device.put_chunk(&next);
        if answer.status != 201 {
            answer.expect_refusal(507, "no-space");
            break next;
        }
        stored.push(next);
        assert!(stored.len() < 100, "a disk of 2 MiB holds more than that");
    };
    // To the last page, so that nothing at all fits any more.
    let filler = inside.join("filler");
    std::fs::write(&filler, vec![0; 4 << 20]).unwrap_err();
    device.put_chunk(&refused).expect_refusal(507, "no-space");
    device
        .put_transaction(&transaction_id("third"), &second, &[])
        .expect_refusal(507, "no-space");
    device.put_head(&second).expect_refusal(507, "no-space");

    // Nothing half-written stays, and what was there is all there.
    let user = inside.join(server.folder("ada").strip_prefix(&directory).unwrap());
    assert_eq!(tree(&user.join("incoming/tmp")).len(), 0);
    assert_eq!(device.head(), (first.clone(), 1));
    assert_eq!(device.chain_after(ROOT), [first.as_str()]);
    for chunk in stored.iter().chain([&small]) {
        let got = device.get(&format!("chunks/{}", chunk.id)).expect(200);
        assert!(got.body == chunk.bytes);
    }
    device
        .get(&format!("chunks/{}", refused.id))
        .expect_refusal(404, "unknown-chunk");
    device
        .get(&format!("transactions/{second}"))
        .expect_refusal(404, "unknown-transaction");
    let deadline = Instant::now() + Duration::from_secs(10);
    while device.client.get("/__heartbeat__").status < 500 {
        assert!(Instant::now() < deadline, "the heartbeat hides it");
        std::thread::sleep(Duration::from_millis(200));
    }
    device.client.get("/__lbheartbeat__").expect(200);

    // With room again, the same requests get through.
    std::fs::remove_file(&filler).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while device.client.get("/__heartbeat__").status != 200 {
        assert!(Instant::now() < deadline, "the heartbeat does not recover");
        std::thread::sleep(Duration::from_millis(200));
    }
    device.put_head(&second).expect(204);
    assert_eq!(device.head(), (second, 2));
}

#[test]
fn a_read_only_directory_is_said_to_be_one_at_start() {
    let data = tempfile::tempdir().unwrap();
    let directory = data.path().join("data");
    std::fs::create_dir(&directory).unwrap();
    let path = directory.display();
    let script = format!("mount --bind '{path}' '{path}' && mount -o remount,ro,bind '{path}'");
    let Some(mut command) = in_own_namespace(&script) else {
        return;
    };
    let ended = run_with_deadline(
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&directory),
    );
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains(directory.to_str().unwrap()) && ended.stderr.contains("ead-only"),
        "{ended:?}"
    );
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}

/// A command that runs where a server in its own namespace does, and sees what is mounted there.
pub fn beside(server: &Server, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &server.pid().to_string(), "--mount"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    command.arg(program);
    command
}

/// Changes how the disk of a server in its own namespace is mounted; tried again while files that are
/// being written stand in the way.
fn remount(server: &Server, options: &str) {
    let directory = server.data();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut command = beside(server, "mount");
        command.args(["-o", &format!("remount,{options}")]);
        let ended = run_with_deadline(command.arg(&directory));
        if ended.code == Some(0) {
            return;
        }
        assert!(Instant::now() < deadline, "{ended:?}");
    }
}

/// A server on a disk of its own, which is mounted so.
fn on_own_disk(options: &str) -> Option<Server> {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let directory = data.path().join("data");
    std::fs::create_dir(&directory).unwrap();
    let script = format!(
        "mount -t tmpfs -o {options},mode=700 none '{}'",
        directory.display()
    );
    Some(Server::launch(in_own_namespace(&script)?, data, &[]))
}

#[test]
fn without_inodes_there_is_no_space() {
    let Some(server) = on_own_disk("size=16m,nr_inodes=64") else {
        return;
    };
    let mut device = server.device("ada");
    let first = transaction_id("first");
    device.commit(&first, ROOT, &[&chunk("small")]);
    let mut stored = Vec::new();
    let refused = loop {
        let next = chunk(format!("chunk {}", stored.len()));
        let answer = device.put_chunk(&next);
        if answer.status != 201 {
            answer.expect_refusal(507, "no-space");
            break next;
        }
        stored.push(next);
        assert!(stored.len() < 64, "there were no more inodes than that");
    };
    server
        .device("bob")
        .put_chunk(&refused)
        .expect_refusal(507, "no-space");
    // Whatever there was room for is taken, so that an advance finds none for its directories.
    let second = transaction_id("second");
    let named: Vec<&str> = stored.iter().map(|chunk| chunk.id.as_str()).collect();
    if device.put_transaction(&second, &first, &named).status == 201 {
        device.put_head(&second).expect_refusal(507, "no-space");
    }
    assert_eq!(device.head(), (first.clone(), 1));
    let inside = format!(
        "/proc/{}/root{}",
        server.pid(),
        server.folder("ada").display()
    );
    let left = tree(&std::path::Path::new(&inside).join("incoming/tmp"));
    assert!(left.is_empty(), "{left:?}");

    remount(&server, "nr_inodes=10000");
    device.put_chunk(&refused).expect(201);
    device.put_transaction(&second, &first, &named).expect(201);
    device.put_head(&second).expect(204);
    for chunk in &stored {
        let got = device.get(&format!("chunks/{}", chunk.id)).expect(200);
        assert_eq!(got.body, chunk.bytes);
    }
}

/// A disk that holds a store already, and then something else until nothing more fits.
struct Filled {
    options: &'static str,
    /// The shell's words for what fills it, in the data directory.
    fill: &'static str,
    /// And for what makes room again.
    clear: &'static str,
}

const FILLED: [Filled; 3] = [
    Filled {
        options: "size=2m",
        fill: "cat /dev/zero > filler",
        clear: "rm filler",
    },
    Filled {
        options: "size=16m,nr_inodes=300",
        fill: "i=0; while mkdir filler$i; do i=$((i+1)); done",
        clear: "rmdir filler*",
    },
    Filled {
        options: "size=16m,nr_inodes=300",
        fill: "rmdir tmp trash; i=0; while mkdir filler$i; do i=$((i+1)); done",
        clear: "rmdir filler*",
    },
];

/// A server that is started on such a disk, with ada, whose HEAD is at `first` and may go to `waiting`, and bob and eve, who have a chunk
/// each that nothing names.
fn started_on(disk: &Filled) -> Option<Server> {
    let before = Server::start();
    let milk = chunk("milk");
    (before.device("ada")).commit(&transaction_id("first"), ROOT, &[&milk]);
    let (waiting, first) = (transaction_id("waiting"), transaction_id("first"));
    let mut ada = before.device("ada");
    ada.put_transaction(&waiting, &first, &[]).expect(201);
    for name in ["bob", "eve"] {
        before.device(name).put_chunk(&milk).expect(201);
    }
    let (source, _keeper) = (before.data(), before.keeper());
    assert_eq!(before.stop().code(), Some(0));
    let data = Arc::new(tempfile::tempdir().unwrap());
    let directory = data.path().join("data");
    std::fs::create_dir(&directory).unwrap();
    let script = format!(
        "mount -t tmpfs -o {},mode=700 none '{to}' && cp -a '{}/.' '{to}' && (cd '{to}'; ({}) 2>&-; true)",
        disk.options,
        source.display(),
        disk.fill,
        to = directory.display(),
    );
    let command = in_own_namespace(&script)?;
    Some(Server::launch(command, data, &["--allow-delete"]))
}

#[track_caller]
fn heartbeat_becomes(server: &Server, status: u16) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut client = server.client();
    while client.get("/__heartbeat__").status != status {
        assert!(Instant::now() < deadline, "the heartbeat is not {status}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_full_disk_is_no_reason_not_to_start() {
    for disk in FILLED {
        let Some(server) = started_on(&disk) else {
            return;
        };
        let line = server.has_said(|line| line.contains("disk is full"));
        assert!(
            line.contains("WARN") && line.contains("once there is room"),
            "{line}"
        );
        let mut ada = server.device("ada");
        let (milk, first) = (chunk("milk"), transaction_id("first"));
        assert_eq!(ada.head(), (first.clone(), 1));
        assert_eq!(ada.chain_after(ROOT), [first.as_str()]);
        ada.get(&format!("chunks/{}", milk.id)).expect(200);
        assert_eq!(server.device("max").head(), (ROOT.to_owned(), 0));
        let large = chunk(vec![b'x'; 10_000]);
        ada.put_chunk(&large).expect_refusal(507, "no-space");
        heartbeat_becomes(&server, 507);

        let tool = |arguments: &[&str]| {
            let mut command = beside(&server, binary().get_program());
            run_with_deadline(command.args(arguments).arg("--data").arg(server.data()))
        };
        let checked = tool(&["fsck", "--repair"]);
        assert_eq!(checked.code, Some(0), "{checked:?}");
        if !disk.fill.contains("trash") {
            let path = format!("/0.1/{}/", user_id("eve"));
            let deleted = server.client().request("DELETE", &path, &[], None);
            deleted.expect(204);
            let gone = tool(&["users", "rm", &user_id("bob")]);
            assert_eq!(gone.code, Some(0), "{gone:?}");
        }
        let collected = tool(&["gc", "--grace", "0s"]);
        assert_eq!(collected.code, Some(0), "{collected:?}");

        let mut clear = beside(&server, "sh");
        let cleared = clear.args(["-c", &format!("cd \"$0\" && {}", disk.clear)]);
        assert_eq!(run_with_deadline(cleared.arg(server.data())).code, Some(0));
        ada.put_chunk(&large).expect(201);
        server.has_said(|line| line.contains("there is room again"));
        ada.commit(&transaction_id("second"), &first, &[&large]);
        heartbeat_becomes(&server, 200);
        let checked = tool(&["fsck"]);
        assert_eq!(checked.code, Some(0), "{checked:?}");
        assert_eq!(server.stop().code(), Some(0));
    }
}

/// What the probe would refuse at start is refused when it is made at last: here locks that lock nothing.
#[test]
fn what_could_not_be_tried_at_start_is_tried_before_the_first_upload() {
    if !strace::works() {
        skipped("locks that lock nothing", "strace cannot trace here");
        return;
    }
    let Some(server) = started_on(&FILLED[0]) else {
        return;
    };
    let log = server.keeper().path().join("flock.log");
    let trace = ["-f", "-e", "trace=flock", "-e", "inject=flock:retval=0"];
    let tracer = Tracer::attach_to(&[server.pid().to_string()], &log, &trace.map(str::to_owned));
    let mut clear = beside(&server, "rm");
    let cleared = clear.arg(server.data().join("filler"));
    assert_eq!(run_with_deadline(cleared).code, Some(0));
    let mut ada = server.device("ada");
    for _ in 0..2 {
        ada.put_chunk(&chunk("late"))
            .expect_refusal(500, "internal");
    }
    ada.put_transaction(&transaction_id("late"), &transaction_id("first"), &[])
        .expect_refusal(500, "internal");
    let waiting = transaction_id("waiting");
    ada.put_head(&waiting).expect_refusal(500, "internal");
    heartbeat_becomes(&server, 500);
    assert_eq!(ada.head(), (transaction_id("first"), 1));
    tracer.detach();
    ada.put_head(&waiting).expect(204);
    ada.put_chunk(&chunk("late")).expect(201);
    heartbeat_becomes(&server, 200);
}

#[test]
fn a_disk_that_turns_read_only_under_load_loses_nothing() {
    let Some(server) = on_own_disk("size=64m") else {
        return;
    };
    let stop = AtomicBool::new(false);
    let chains: Vec<(Vec<String>, usize)> = std::thread::scope(|scope| {
        let stop = &stop;
        let server = &server;
        let writers: Vec<_> = ["ada", "bob", "eve", "max"]
            .into_iter()
            .map(|name| {
                scope.spawn(move || {
                    let mut device = server.device(name);
                    let mut chain: Vec<String> = Vec::new();
                    let mut refused = 0;
                    for n in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let id = transaction_id(&format!("{name} {n}"));
                        let head = device.head().0;
                        let chunk = chunk(format!("{name} {n}"));
                        let answers = [
                            device.put_chunk(&chunk),
                            device.put_transaction(&id, &head, &[&chunk.id]),
                            device.put_head(&id),
                        ];
                        if answers[2].status == 204 {
                            chain.push(id);
                        } else if answers[0].status != 201 {
                            assert!(answers[0].status >= 500, "{:?}", answers[0]);
                            refused += 1;
                        }
                    }
                    (chain, refused)
                })
            })
            .collect();
        let ending = Ending(&stop);
        let mut reader = server.device("ada");
        while reader.head().1 < 5 {}
        remount(server, "ro");
        let (head, seq) = reader.head();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(reader.head(), (head.clone(), seq), "nothing can move");
        reader.get(&format!("transactions/{head}")).expect(200);
        remount(server, "rw");
        let deadline = Instant::now() + Duration::from_secs(20);
        while reader.head().1 < seq + 5 {
            assert!(Instant::now() < deadline, "it does not go on");
        }
        drop(ending);
        writers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    for (name, (chain, refused)) in ["ada", "bob", "eve", "max"].into_iter().zip(chains) {
        assert!(refused > 0, "{name} did not notice");
        let mut device = server.device(name);
        let there = device.chain_after(ROOT);
        let mut listed = there.iter();
        for id in &chain {
            assert!(listed.any(|other| other == id), "{id} of {name} is lost");
        }
    }
}
