//! The store of a device (`FORMAT` says `replica`): who leaves it alone, and who reads it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mentat_sync::disk::{Grouping, Real};
use mentat_sync::model::TransactionId;
use mentat_sync::store::{Error, Options, PutTransaction, Store, StoreKind};
use mentat_sync::upkeep::gc;

use crate::kit::{Finished, binary, run_with_deadline, tree};
use crate::stock::{Stock, USER, transaction};

const FORMAT: &str = "mentat-sync 1 replica\n";

/// A device's store: a chain of two, and one transaction that is pending.
fn device() -> Stock {
    let stock = Stock::replica();
    stock.chain(2);
    stock.pending(3, transaction(2), &[stock.chunk("not pushed yet")]);
    stock
}

fn run(data: &Path, words: &[&str]) -> Finished {
    let mut command = binary();
    let command = command.args(words).arg("--data").arg(data);
    run_with_deadline(command.env("XDG_RUNTIME_DIR", data.parent().unwrap()))
}

#[test]
fn a_servers_commands_leave_the_store_of_a_device_alone() {
    let stock = device();
    let (data, user) = (stock.data(), USER.to_string());
    let beside = tempfile::tempdir().unwrap();
    let copy = beside.path().join("copy");
    let before = tree(&data);
    let other = "99999999-9999-4999-8999-999999999999";
    for (status, words) in [
        (1, vec!["serve", "--listen", "127.0.0.1:0"]),
        (1, vec!["serve", "--existing", "--listen", "127.0.0.1:0"]),
        (1, vec!["gc"]),
        (1, vec!["gc", "--dry-run"]),
        (1, vec!["gc", "--force", "--grace", "0s"]),
        (1, vec!["users"]),
        (1, vec!["users", "--json"]),
        (1, vec!["users", "add", other]),
        (1, vec!["users", "add", "--init", other]),
        (1, vec!["users", "rm", "--yes", &user]),
        (1, vec!["users", "mv", &user, other]),
        (1, vec!["users", "name", &user, "phone"]),
        (1, vec!["backup", copy.to_str().unwrap()]),
        (3, vec!["health", "--at-rest"]),
    ] {
        let mut ordered = words.clone();
        // `--data` is of `users` itself, before its own commands.
        if words[0] == "users" {
            ordered = vec!["users", "--data", data.to_str().unwrap()];
            ordered.extend(&words[1..]);
        }
        let finished = match words[0] {
            "users" => run_with_deadline(binary().args(&ordered)),
            _ => run(&data, &ordered),
        };
        assert_eq!(finished.code, Some(status), "{words:?}: {finished:?}");
        assert!(
            finished.stderr.contains("this is the store of a device"),
            "{words:?}: {finished:?}"
        );
        assert_eq!(tree(&data), before, "{words:?}");
    }
    assert!(!copy.exists());
    let mut drill = binary();
    let drill = run_with_deadline(drill.arg("drill").arg(&data));
    assert_eq!(drill.code, Some(3), "{drill:?}");
    assert!(
        drill.stderr.contains("this is the store of a device"),
        "{drill:?}"
    );
    assert_eq!(tree(&data), before);
    stock.check().is_spotless();
}

#[test]
fn a_backup_does_not_go_into_the_store_of_a_device() {
    let (server, device) = (Stock::full(3), device());
    let before = tree(&device.data());
    let mut command = binary();
    command.arg("backup").arg(device.data());
    let finished = run_with_deadline(command.arg("--data").arg(server.data()));
    assert_ne!(finished.code, Some(0), "{finished:?}");
    assert_eq!(tree(&device.data()), before);
    assert_eq!(fs::read_to_string(device.path("FORMAT")).unwrap(), FORMAT);
}

#[test]
fn fsck_log_and_snapshot_read_the_store_of_a_device() {
    let stock = device();
    let data = stock.data();
    assert_eq!(fs::read_to_string(stock.path("FORMAT")).unwrap(), FORMAT);
    let finished = run(&data, &["fsck"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    for words in [vec!["log"], vec!["log", &USER.to_string()]] {
        let finished = run(&data, &words);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let lines: Vec<_> = finished.stdout.lines().map(str::trim).collect();
        let of = |n| format!("{n} {}", transaction(n));
        assert_eq!(lines, [of(1), of(2)]);
    }
    let copy = stock.directory.path().join("copy");
    let finished = run(&data, &["snapshot", copy.to_str().unwrap()]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    // It is a device's as well: a server does not take it for one of its own.
    assert_eq!(fs::read_to_string(copy.join("FORMAT")).unwrap(), FORMAT);
    let finished = run(&copy, &["fsck"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn the_chain_that_is_printed_needs_a_user_only_where_there_are_several() {
    let stock = Stock::full(3);
    let finished = run(&stock.data(), &["log"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stdout.lines().count(), 3);
    let other = stock.path("users/99999999-9999-4999-8999-999999999999");
    fs::create_dir(&other).unwrap();
    let finished = run(&stock.data(), &["log"]);
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("2 users"), "{finished:?}");
    let empty = Stock::new();
    let finished = run(&empty.data(), &["log"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
}

#[test]
fn a_store_opens_as_what_it_was_made_as() {
    let disk = |stock: &Stock| Arc::new(Real::new(&stock.data(), Grouping::Auto).unwrap());
    let kind = |kind| Options {
        kind,
        ..Options::default()
    };
    let (device, server) = (device(), Stock::full(2));
    for (stock, own, other) in [
        (&device, StoreKind::Replica, StoreKind::Server),
        (&server, StoreKind::Server, StoreKind::Replica),
    ] {
        assert_eq!(StoreKind::at(&*disk(stock)), Some(own));
        let before = tree(&stock.data());
        for open in [Store::open, Store::open_existing] {
            let refused = open(disk(stock), kind(other)).map(drop);
            assert!(matches!(refused, Err(Error::NotAStore(_))), "{refused:?}");
            assert_eq!(tree(&stock.data()), before);
            open(disk(stock), kind(own)).unwrap();
        }
    }
}

#[test]
fn what_is_pending_at_a_device_makes_room_for_nothing_and_is_no_garbage() {
    let stock = device();
    // HEAD goes elsewhere: what was pending can only be said anew, which takes the old words.
    stock.pending(4, transaction(2), &[]);
    stock.advance(transaction(4));
    let options = gc::CollectOptions {
        grace: Duration::ZERO,
        force: true,
        ..gc::CollectOptions::default()
    };
    let refused = gc::collect(&stock.store, &USER, &options, &mut |_| panic!("it went"));
    assert!(matches!(refused, Err(Error::NotAStore(_))), "{refused:?}");
    let refused = gc::run(&stock.store, None, &options, &mut |_| panic!("it went"));
    assert!(matches!(refused, Err(Error::NotAStore(_))), "{refused:?}");

    let disk = Arc::new(Real::new(&stock.data(), Grouping::Auto).unwrap());
    let narrow = |kind| Options {
        kind,
        pending_transactions: 1,
        ..Options::default()
    };
    let another = |store: &Store, id| {
        let proposal = mentat_sync::store::Proposal {
            id,
            parent: transaction(4),
            chunks: Vec::new(),
            seq: None,
        };
        let user = store.user(USER);
        let draft = user.draft(proposal).unwrap();
        let lock = user.exclusive_blocking().unwrap().unwrap();
        lock.put_transaction(draft).unwrap()
    };
    let store = Store::open(disk, narrow(StoreKind::Replica)).unwrap();
    let outcome = another(&store, TransactionId::from_bytes([5; 16]));
    assert!(!matches!(outcome, PutTransaction::Accepted), "{outcome:?}");
    assert!(stock.pending_file(3).exists());
    stock.check();
}
