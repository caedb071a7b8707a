//! A table: what one user does, or suffers, and what another one sees of it meanwhile, which is nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::full_disk::in_own_namespace;
use crate::kit::{Server, binary, effort};
use bob::{Bob, Seen};
use mallory::{Mallory, lays};

// The other user.
mod bob;
// The one user.
mod mallory;
// What part of each room one user, or one address, may have.
mod parts;

/// How long each row goes on, at most.
const AT_MOST: Duration = Duration::from_secs(60);

/// How long each row goes on, at least.
fn a_while() -> Duration {
    Duration::from_secs(effort::either(1, 4))
}

/// How long the servers here let what is in flight end.
const SHUTDOWN: &str = "2s";

/// What holds on a machine with nothing else to do, and a server that is not a debug build.
/// `MENTAT_SYNC_TEST_STRICT=1` says that they are such.
const STRICT: Bounds = Bounds {
    looks: (Duration::from_millis(100), Duration::from_millis(100)),
    uploads: (Duration::from_secs(1), Duration::from_secs(1)),
    end: Duration::from_secs(2 + 1),
};

/// The same where the machine runs other tests as well, and anything may take a while: whoever is stopped by
/// another one waits for far longer.
const BUSY: Bounds = Bounds {
    looks: (Duration::from_millis(500), Duration::from_secs(9)),
    uploads: (Duration::from_secs(2), Duration::from_secs(15)),
    end: Duration::from_secs(2 + 13),
};

/// How long bob usually waits (half of all) and ever, for his head and for his upload; and how long the server
/// takes to end.
struct Bounds {
    looks: (Duration, Duration),
    uploads: (Duration, Duration),
    end: Duration,
}

/// Where a server's files are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    Ample,
    /// Nothing fits any more, once bob has what he has.
    Full,
}

/// One row: how the server is started, what it finds of mallory's, and what she does until it is over.
struct Row {
    what: &'static str,
    flags: &'static [&'static str],
    disk: Disk,
    lay: fn(&Path),
    act: fn(&Mallory),
    /// Bob looks on until she has done it once.
    to_the_end: bool,
}

impl Row {
    const fn new(what: &'static str, act: fn(&Mallory)) -> Self {
        Self {
            what,
            flags: &[],
            disk: Disk::Ample,
            lay: |_| {},
            act,
            to_the_end: false,
        }
    }
}

const ROWS: &[Row] = &[
    Row {
        lay: lays::damaged,
        ..Row::new(
            "an old transaction is gone, the log too, and 300 connections",
            Mallory::hammers,
        )
    },
    Row {
        lay: lays::without_log,
        ..Row::new("a clone without log, and 300 connections", Mallory::hammers)
    },
    Row {
        lay: lays::small_without_log,
        disk: Disk::Full,
        ..Row::new(
            "a clone without log on a full disk, and 300 connections",
            Mallory::hammers,
        )
    },
    Row {
        lay: lays::whole,
        ..Row::new(
            "another process holds the lock, and 300 connections",
            Mallory::is_locked,
        )
    },
    Row {
        to_the_end: true,
        ..Row::new("a bundle of many transactions", Mallory::pushes)
    },
    Row {
        lay: lays::whole,
        ..Row::new("300 connections that ask for everything", Mallory::hammers)
    },
    Row::new("40 pushes that dribble a byte a second", Mallory::dribbles),
    Row {
        flags: &["--max-waiters", "300"],
        ..Row::new("300 who wait", Mallory::waits)
    },
    Row::new(
        "64 MiB of transactions that are half sent",
        Mallory::stops_half_way,
    ),
    Row {
        flags: &["--max-connections", "64"],
        ..Row::new(
            "as many connections as may be, from one address",
            Mallory::connects,
        )
    },
];

/// A server for this row; `None` where the system lets us have no small disk.
fn serve(row: &Row) -> Option<Server> {
    let top = Arc::new(tempfile::tempdir().unwrap());
    let data = top.path().join("data");
    let mut flags = vec!["--shutdown-timeout", SHUTDOWN];
    flags.extend(row.flags);
    if row.disk == Disk::Ample {
        (row.lay)(&data);
        return Some(Server::launch(binary(), top, &flags));
    }
    let laid = top.path().join("laid");
    (row.lay)(&laid);
    std::fs::create_dir(&data).unwrap();
    let (from, to) = (laid.display(), data.display());
    let script =
        format!("mount -t tmpfs -o size=12m,mode=700 none '{to}' && cp -a '{from}/.' '{to}'");
    Some(Server::launch(in_own_namespace(&script)?, top, &flags))
}

/// What bob saw during one row, and what was wrong with it.
fn run(row: &Row) -> Option<(Seen, Duration)> {
    let mut server = serve(row)?;
    let mut bob = Bob::new(&server);
    if row.disk == Disk::Full {
        bob.finds_it_full();
        let inside = format!(
            "/proc/{}/root{}/filler",
            server.pid(),
            server.data().display()
        );
        std::fs::write(inside, vec![0; 64 << 20]).expect_err("a disk of 12 MiB holds no more");
    }
    let mallory = Mallory::new(&server);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (row.act)(&mallory);
            mallory.done.store(true, Ordering::Relaxed);
        });
        let since = Instant::now();
        let goes_on = || {
            let begun = mallory.acts.load(Ordering::Relaxed) > 0;
            let ended = !row.to_the_end || mallory.done.load(Ordering::Relaxed);
            let least = if begun && ended { a_while() } else { AT_MOST };
            since.elapsed() < least
        };
        let looked = std::thread::scope(|inner| inner.spawn(|| bob.looks_on(goes_on)).join());
        // She goes on, and the server ends.
        server.terminate();
        let told = Instant::now();
        let ended = server.ended_within(Duration::from_secs(60));
        let took = told.elapsed();
        if ended.is_none() {
            server.kill();
        }
        mallory.over.store(true, Ordering::Relaxed);
        let seen = looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let what = row.what;
        println!("{what}: {seen}; {}; ended in {took:.1?}", mallory.told());
        assert_eq!(ended.and_then(|status| status.code()), Some(0), "{what}");
        Some((seen, took))
    })
}

/// Times are judged by the better of two tries, since the machine may do anything else meanwhile; answers by
/// each.
#[test]
fn what_one_user_does_or_suffers_another_one_does_not_notice() {
    crate::hostile::raise_limit();
    let only: String = effort::chosen("MENTAT_SYNC_TEST_ROW").unwrap_or_default();
    let strict = effort::chosen::<String>("MENTAT_SYNC_TEST_STRICT").is_some();
    let bounds = if strict { STRICT } else { BUSY };
    // What is wrong in one row is no reason not to look at the others.
    let broken = std::cell::RefCell::new(Vec::new());
    let is_within = |row: &Row| match std::panic::catch_unwind(|| run(row)) {
        Ok(Some((seen, end))) => seen.is_within(&bounds) && end <= bounds.end,
        Ok(None) => true,
        Err(_) => {
            broken.borrow_mut().push(row.what);
            true
        }
    };
    let some = if only.is_empty() {
        effort::either(3, 1)
    } else {
        1
    };
    let rows = ROWS
        .iter()
        .filter(|row| row.what.contains(&only))
        .step_by(some);
    let slow: Vec<&str> = rows
        .filter(|row| !is_within(row) && !is_within(row))
        .map(|row| row.what)
        .collect();
    let broken = broken.into_inner();
    assert!(
        broken.is_empty() && slow.is_empty(),
        "as printed above, wrong: {broken:#?}, too slow: {slow:#?}"
    );
}
