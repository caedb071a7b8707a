//! `log` in every way in which nothing can be read from it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mentat_sync::model::TransactionId;

use crate::faults::strace::{self, Tracer};
use crate::kit::{Device, ROOT, Server, binary, run_with_deadline, skipped, transaction_id, tree};
use crate::stock::{Stock, USER, check, transaction};

/// What somebody did to `log`, and what fsck says of it then.
struct Harm {
    name: &'static str,
    harm: fn(&Path),
    says: &'static [&'static str],
}

const NO_FILE: &[&str] = &["damage not-a-file", "harmless log-short"];

const HARMS: [Harm; 8] = [
    Harm {
        name: "not there",
        harm: |log| fs::remove_file(log).unwrap(),
        says: &["harmless log-short"],
    },
    Harm {
        name: "a symlink to nothing",
        harm: |log| instead(log, |log| symlink("nowhere", log).unwrap()),
        says: NO_FILE,
    },
    Harm {
        name: "a symlink to a device",
        harm: |log| instead(log, |log| symlink("/dev/zero", log).unwrap()),
        says: NO_FILE,
    },
    Harm {
        name: "a symlink to the log itself",
        harm: |log| {
            // Outside of the store.
            let away = log.ancestors().nth(4).unwrap().join("log");
            fs::copy(log, &away).unwrap();
            instead(log, |log| symlink(&away, log).unwrap());
        },
        says: NO_FILE,
    },
    Harm {
        name: "a socket",
        harm: |log| instead(log, |log| drop(listener(log))),
        says: NO_FILE,
    },
    Harm {
        name: "a fifo",
        harm: |log| {
            instead(log, |log| {
                let made = std::process::Command::new("mkfifo").arg(log).status();
                assert!(made.unwrap().success());
            });
        },
        says: NO_FILE,
    },
    Harm {
        name: "an empty directory",
        harm: |log| instead(log, |log| fs::create_dir(log).unwrap()),
        says: NO_FILE,
    },
    Harm {
        name: "a directory with something in it",
        harm: |log| {
            instead(log, |log| {
                fs::create_dir(log).unwrap();
                fs::write(log.join("kept"), "kept").unwrap();
            });
        },
        says: NO_FILE,
    },
];

fn instead(log: &Path, make: impl Fn(&Path)) {
    fs::remove_file(log).unwrap();
    make(log);
}

/// A socket of this name, by a shorter way than its path, which may be too long for one.
fn listener(log: &Path) -> UnixListener {
    let directory = fs::File::open(log.parent().unwrap()).unwrap();
    let here = std::os::fd::AsRawFd::as_raw_fd(&directory);
    let listener = UnixListener::bind(format!("/proc/self/fd/{here}/log")).unwrap();
    assert!(fs::symlink_metadata(log).unwrap().file_type().is_socket());
    listener
}

/// Whether it is a file of ours again, with as many lines.
fn is_log(log: &Path, lines: u64) -> bool {
    let meta = fs::symlink_metadata(log).unwrap();
    meta.is_file() && meta.mode() & 0o7777 == 0o600 && meta.len() == 50 * lines
}

fn server(stock: &Stock) -> (Server, Device) {
    let server = Server::on(Arc::clone(&stock.directory), &["--uuid-chunk-ids"]);
    let device = Device::new(server.address(), &USER.to_string());
    (server, device)
}

fn chain(length: u32) -> Vec<String> {
    (1..=length).map(|n| transaction(n).to_string()).collect()
}

/// Every read of a chain of four that needs `log`.
fn reads(device: &mut Device, what: &str) {
    assert_eq!(device.chain_after(ROOT), chain(4), "{what}");
    let second = transaction(2).to_string();
    assert_eq!(device.chain_after(&second), chain(4)[2..], "{what}");
    device.get(&format!("transactions/{second}")).expect(200);
    device.get("bundle").expect(200);
    device.get(&format!("bundle?to={second}")).expect(200);
}

fn rebuilds(server: &Server) -> usize {
    let said = server.said();
    (said.iter())
        .filter(|line| line.contains("rebuilding the log"))
        .count()
}

#[test]
fn whatever_has_the_name_of_the_log_reads_are_answered_and_it_is_rebuilt_once() {
    for Harm { name, harm, .. } in HARMS {
        let stock = Stock::full(4);
        let log = stock.file("log");
        harm(&log);
        let (mut server, mut device) = server(&stock);
        reads(&mut device, name);
        device.put_head(&transaction(5).to_string()).expect(204);
        assert_eq!(device.chain_after(ROOT), chain(5), "{name}");
        assert!(is_log(&log, 5), "{name}");
        server.terminate();
        assert_eq!(server.ended().code(), Some(0));
        assert_eq!(rebuilds(&server), 1, "{name}");
        assert_eq!(stock.check().words(), ["harmless log-short"; 0], "{name}");
    }
}

#[test]
fn whatever_has_the_name_of_the_log_an_advance_that_comes_first_rebuilds_it() {
    for Harm { name, harm, .. } in HARMS {
        // Below the first line there is nothing to look at, and the name has to be free all the same.
        for length in [0, 4] {
            let stock = Stock::new();
            stock.chain(length);
            let parent = match length {
                0 => TransactionId::ROOT,
                _ => transaction(length),
            };
            stock.pending(length + 1, parent, &[stock.chunk("pending")]);
            let log = stock.file("log");
            harm(&log);
            let (server, mut device) = server(&stock);
            let next = transaction(length + 1).to_string();
            device.put_head(&next).expect(204);
            assert!(is_log(&log, u64::from(length) + 1), "{name}");
            assert_eq!(device.chain_after(ROOT), chain(length + 1), "{name}");
            assert_eq!(server.stop().code(), Some(0));
        }
    }
}

#[test]
fn whatever_has_the_name_of_the_log_fsck_tells_it_and_a_repair_rebuilds_it() {
    for Harm { name, harm, says } in HARMS {
        let stock = Stock::full(4);
        let log = stock.file("log");
        harm(&log);
        assert_eq!(stock.check().words(), says, "{name}");
        let seen = stock.repair();
        let failed: Vec<_> = seen.mended.iter().filter(|m| m.outcome.is_err()).collect();
        assert!(failed.is_empty(), "{name}: {failed:?}");
        assert_eq!(seen.mended.len(), 1, "{name}: {seen:#?}");
        assert!(is_log(&log, 4), "{name}");
        stock.check().is_spotless();
    }
}

#[test]
fn what_a_directory_in_place_of_the_log_holds_is_kept() {
    let stock = Stock::full(4);
    let [.., Harm { harm, .. }] = HARMS;
    harm(&stock.file("log"));
    stock.repair();
    let kept: Vec<_> = tree(&stock.file("lost+found")).into_keys().collect();
    let kept: Vec<_> = kept.iter().filter(|path| path.ends_with("/kept")).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(
        fs::read(stock.file("lost+found").join(kept[0])).unwrap(),
        b"kept"
    );
}

#[test]
fn whatever_has_the_name_of_the_log_the_command_prints_the_chain_and_a_snapshot_is_whole() {
    for Harm { name, harm, .. } in HARMS {
        let stock = Stock::full(4);
        harm(&stock.file("log"));
        let copy = stock.directory.path().join("copy");
        let mut command = binary();
        command.arg("snapshot").arg("--data").arg(stock.data());
        let taken = run_with_deadline(command.arg(&copy));
        assert_eq!(taken.code, Some(0), "{name}: {taken:?}");
        let seen = check(&copy, &Default::default());
        assert_eq!(seen.words(), ["harmless log-short"], "{name}: {seen:#?}");

        let mut command = binary();
        command.arg("log").arg("--data").arg(stock.data());
        let printed = run_with_deadline(command.arg(USER.to_string()));
        assert_eq!(printed.code, Some(0), "{name}: {printed:?}");
        let ids: Vec<_> = (printed.stdout.lines())
            .filter_map(|line| line.split_whitespace().nth(1))
            .collect();
        assert_eq!(ids, chain(4), "{name}");
    }
}

/// What is wrong with a transaction stays an error: nothing is told of what may lie below it.
#[test]
fn below_a_transaction_that_cannot_be_read_the_chain_is_an_error_whatever_the_log_is() {
    for Harm { name, harm, .. } in HARMS {
        let stock = Stock::full(4);
        harm(&stock.file("log"));
        fs::remove_file(stock.transaction_file(3)).unwrap();
        let (server, mut device) = server(&stock);
        device.get("transactions").expect_refusal(500, "damaged");
        device
            .get(&format!("transactions/{}", transaction(2)))
            .expect_refusal(500, "damaged");
        // What can be known is told.
        let last = transaction(4).to_string();
        assert_eq!(device.chain_after(&last).len(), 0, "{name}");
        assert_eq!(server.stop().code(), Some(0));
    }
}

/// A listing that has begun goes on, though nothing more comes from the log.
#[test]
fn a_listing_goes_on_by_walking_where_the_log_ends_meanwhile() {
    let stock = Stock::full(40);
    let user = stock.store.user(USER);
    let mut listing = user.listing(TransactionId::ROOT, 30).unwrap().unwrap();
    let mut ids = listing.read(7).unwrap();
    let file = fs::File::options().write(true).open(stock.file("log"));
    file.unwrap().set_len(50 * 7).unwrap();
    loop {
        let more = listing.read(7).unwrap();
        if more.is_empty() {
            break;
        }
        ids.extend(more);
    }
    let ids: Vec<_> = ids.iter().map(|id| id.to_string()).collect();
    assert_eq!(ids, chain(30));
}

/// Calls of the server on this path fail, as on a bad sector: all of them, or one of each thread.
fn failing(server: &Server, log: &Path, inject: &str) -> Tracer {
    let trace = server
        .data()
        .with_file_name(format!("{}.trace", server.pid()));
    let calls = "read,pread64,preadv,preadv2";
    let arguments = [
        "-f",
        "-P",
        log.to_str().unwrap(),
        "-e",
        &format!("trace={calls}"),
        "-e",
        &format!("inject={calls}:error=EIO{inject}"),
    ];
    let arguments = arguments.map(str::to_owned);
    Tracer::attach_to(&[server.pid().to_string()], &trace, &arguments)
}

/// Four transactions of ada's, and one that is pending.
fn with_four() -> (Server, Device, Vec<String>) {
    let server = Server::start();
    let mut ada = server.device("ada");
    let ids: Vec<String> = (1..=5).map(|n| transaction_id(&n.to_string())).collect();
    let mut parent = ROOT;
    for id in &ids[..4] {
        ada.commit(id, parent, &[]);
        parent = id;
    }
    ada.put_transaction(&ids[4], parent, &[]).expect(201);
    (server, ada, ids)
}

#[test]
fn a_log_on_a_bad_sector_is_made_anew_elsewhere_once() {
    if !strace::works() {
        skipped("a bad sector", "strace cannot trace here");
        return;
    }
    let (mut server, mut ada, ids) = with_four();
    let log = server.folder("ada").join("log");
    let before = fs::metadata(&log).unwrap().ino();
    // Held, so that the new one has another inode.
    let _held = fs::File::open(&log).unwrap();
    let tracer = failing(&server, &log, ":when=1");
    assert_eq!(ada.chain_after(ROOT), ids[..4]);
    // Reads do not wait for it to have its name.
    let until = Instant::now() + Duration::from_secs(20);
    while fs::metadata(&log).unwrap().ino() == before && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let lines = tracer.detach();
    assert!(
        lines.iter().any(|line| line.contains("(INJECTED)")),
        "{lines:#?}"
    );
    assert_ne!(fs::metadata(&log).unwrap().ino(), before);
    assert!(is_log(&log, 4));
    let rebuilt = rebuilds(&server);
    ada.put_head(&ids[4]).expect(204);
    assert_eq!(ada.chain_after(ROOT), ids);
    server.terminate();
    assert_eq!(server.ended().code(), Some(0));
    assert!(rebuilds(&server) <= rebuilt + 1);
}

#[test]
fn where_every_log_that_is_made_cannot_be_read_the_chain_is_walked_and_commits_go_on() {
    if !strace::works() {
        skipped("a bad disk", "strace cannot trace here");
        return;
    }
    let (server, mut ada, ids) = with_four();
    let log = server.folder("ada").join("log");
    let tracer = failing(&server, &log, "");
    let before = rebuilds(&server);
    for _ in 0..5 {
        assert_eq!(ada.chain_after(ROOT), ids[..4]);
        assert_eq!(ada.chain_after(&ids[1]), ids[2..4]);
        ada.get(&format!("transactions/{}", ids[1])).expect(200);
        ada.get("bundle").expect(200);
    }
    let rebuilt = rebuilds(&server) - before;
    // It is tried again a second after the last time, and not for each who asks.
    assert!((1..10).contains(&rebuilt), "{rebuilt}");
    ada.put_head(&ids[4]).expect(204);
    assert_eq!(ada.chain_after(ROOT), ids);
    let lines = tracer.detach();
    assert!(
        lines.iter().any(|line| line.contains("(INJECTED)")),
        "{lines:#?}"
    );
    // What was written meanwhile is right.
    assert!(is_log(&log, 5));
    assert_eq!(server.restart().device("ada").chain_after(ROOT), ids);
}
