//! The store of a device (`FORMAT` says `replica`): who leaves it alone, and who reads it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mentat_sync::disk::{Grouping, Real};
use mentat_sync::model::{ChunkId, Transaction, TransactionId};
use mentat_sync::store::{Error, Options, Proposal, PutTransaction, Store, StoreKind};
use mentat_sync::upkeep::fsck::Kind;
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
    let said = "1 transaction pending here, and in no snapshot";
    assert!(finished.stderr.contains(said), "{finished:?}");
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
        let proposal = Proposal {
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

/// A transaction whose id is that of its content.
fn by_content(parent: TransactionId, seq: u64, chunks: &[ChunkId]) -> Proposal {
    let transaction = Transaction {
        id: TransactionId::ROOT,
        seq,
        parent,
        chunks: chunks.to_vec(),
    };
    Proposal {
        id: transaction.content_id().unwrap(),
        parent,
        chunks: chunks.to_vec(),
        seq: Some(seq),
    }
}

fn put(stock: &Stock, proposal: Proposal) -> TransactionId {
    let id = proposal.id;
    let user = stock.store.user(USER);
    let draft = user.draft(proposal).unwrap();
    let lock = user.shared_blocking().unwrap().unwrap();
    let outcome = lock.put_transaction(draft).unwrap();
    assert_eq!(outcome, PutTransaction::Accepted);
    id
}

/// Adds a chain of three with ids by content, of which this one is committed under an id of another's making.
fn chain_of_devices(stock: &Stock, foreign: &[u64]) -> Vec<TransactionId> {
    let mut chain = vec![TransactionId::ROOT];
    for seq in 1..=3 {
        let chunks = ["one", "other"].map(|text| stock.chunk(&format!("{text} {seq}")));
        let mut proposal = by_content(chain[seq as usize - 1], seq, &chunks);
        if foreign.contains(&seq) {
            let mut bytes = [seq as u8; 16];
            (bytes[6], bytes[8]) = (0x80, 0x80);
            proposal.id = TransactionId::from_bytes(bytes);
            assert!(proposal.id.is_version_8());
        }
        chain.push(put(stock, proposal));
        stock.advance(chain[seq as usize]);
    }
    chain
}

/// Swaps the chunks of a transaction in its file, which nothing but its id can tell.
fn swap_chunks(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let (start, list) = text.split_once("\"chunks\":[").unwrap();
    let (one, other) = list.strip_suffix("]}\n").unwrap().split_once(',').unwrap();
    let file = fs::File::create(file).map(|mut made| {
        std::io::Write::write_all(
            &mut made,
            format!("{start}\"chunks\":[{other},{one}]}}\n").as_bytes(),
        )
    });
    file.unwrap().unwrap();
}

fn file_of(stock: &Stock, id: TransactionId) -> std::path::PathBuf {
    let id = id.to_string();
    stock.file(&format!("transactions/{}/{id}.json", &id[..2]))
}

#[test]
fn a_transaction_that_is_not_what_its_id_says_is_damage() {
    for stock in [Stock::new(), Stock::replica()] {
        let chain = chain_of_devices(&stock, &[]);
        stock.check().is_spotless();
        swap_chunks(&file_of(&stock, chain[2]));
        let seen = stock.check();
        assert_eq!(seen.words(), ["damage wrong-id"], "{seen:#?}");
        let finding = seen.one(Kind::WrongId);
        let id = chain[2].to_string();
        assert!(finding.place.as_str().contains(&id), "{finding:?}");
        assert_eq!(seen.newest_sound.map(|head| head.id), Some(chain[1]));
        let finished = run(&stock.data(), &["fsck", "--quick"]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        // There is nothing to mend it with, and nothing is lost by trying.
        let seen = stock.repair();
        assert!(seen.mended.is_empty(), "{seen:#?}");
        // A wrong log makes fsck walk the chain: it is told once all the same.
        fs::write(stock.file("log"), "").unwrap();
        let words = stock.check().words();
        assert!(words.contains(&"damage wrong-id".to_owned()), "{words:?}");
        stock.check().one(Kind::WrongId);
    }
}

#[test]
fn what_is_pending_is_what_its_id_says_as_well() {
    let stock = Stock::new();
    let chain = chain_of_devices(&stock, &[]);
    let chunks = [stock.chunk("one"), stock.chunk("other")];
    let id = put(&stock, by_content(chain[3], 4, &chunks));
    stock.check().is_spotless();
    swap_chunks(&stock.file(&format!("incoming/transactions/{id}.json")));
    assert_eq!(stock.check().words(), ["damage wrong-id"]);
}

#[test]
fn ids_of_version_8_that_others_make_in_their_own_way_are_no_damage_to_a_server() {
    let stock = Stock::new();
    chain_of_devices(&stock, &[1, 2, 3]);
    let seen = stock.check();
    assert_eq!(seen.words(), ["harmless wrong-id"], "{seen:#?}");
    assert!(
        seen.one(Kind::WrongId).detail.contains("3 ids"),
        "{seen:#?}"
    );
    let finished = run(&stock.data(), &["fsck"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    // Beside ids that do fit, and in a device's own store, one that does not was altered.
    for (stock, foreign) in [(Stock::new(), &[2][..]), (Stock::replica(), &[1, 2, 3])] {
        chain_of_devices(&stock, foreign);
        assert_eq!(stock.check().words(), ["damage wrong-id"]);
        // A client can do that to its own user: it keeps nobody from a copy.
        let copy = stock.directory.path().join("copy");
        let finished = run(&stock.data(), &["snapshot", copy.to_str().unwrap()]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        if stock.store.options().kind == StoreKind::Server {
            let drilled = run_with_deadline(binary().arg("drill").arg(&copy));
            assert_eq!(drilled.code, Some(0), "{drilled:?}");
        }
    }
}

#[test]
fn ids_of_other_versions_are_anybodys() {
    let stock = Stock::replica();
    stock.chain(3);
    stock.check().is_spotless();
}

/// Writes a file that its owner alone may read, as all of a store are.
fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn set_local(stock: &Stock, text: impl AsRef<[u8]>) {
    write(&stock.file("local"), text.as_ref());
}

#[test]
fn what_is_pending_from_local_on_is_sound() {
    let stock = device();
    let tips = [
        None,
        Some(TransactionId::ROOT),
        Some(transaction(1)),
        Some(transaction(2)),
        Some(transaction(3)),
    ];
    for tip in tips {
        if let Some(tip) = tip {
            set_local(&stock, format!("{tip}\n"));
        }
        write(&stock.file("renamed"), b"");
        stock.check().is_spotless();
    }
    // Somebody else was quicker, and the device has not said it again yet: it is pending still.
    stock.pending(4, transaction(2), &[]);
    stock.advance(transaction(4));
    stock.check().is_spotless();
    let chunk = stock.chunk_file("incoming/", "not pushed yet");
    fs::remove_file(&chunk).unwrap();
    assert_eq!(stock.check().words(), ["damage chunk-missing"]);
    // What a rebase has replaced is no loss.
    set_local(&stock, format!("{}\n", transaction(4)));
    assert_eq!(stock.check().words(), ["harmless chunk-missing"]);
}

#[test]
fn a_local_that_leads_nowhere_is_damage_and_takes_nothing_with_it() {
    let nowhere = transaction(77);
    for (text, says) in [
        (format!("{nowhere}\n"), nowhere.to_string()),
        ("main\n".to_owned(), "not one id and a newline".to_owned()),
        (transaction(3).to_string(), "not one id".to_owned()),
        (String::new(), "not one id".to_owned()),
    ] {
        let stock = device();
        set_local(&stock, &text);
        let seen = stock.check();
        assert_eq!(seen.words(), ["damage local-damaged"], "{text}");
        let finding = seen.one(Kind::LocalDamaged);
        assert!(finding.detail.contains(&says), "{finding:?}");
        let finished = run(&stock.data(), &["fsck"]);
        assert_eq!(finished.code, Some(1), "{finished:?}");

        // A repair says what is there, and leaves all of it.
        let before = tree(&stock.data());
        let seen = stock.repair();
        let [mended] = &seen.mended[..] else {
            panic!("{seen:#?}");
        };
        let why = mended.outcome.as_ref().unwrap_err();
        assert!(why.contains(&transaction(3).to_string()), "{why}");
        assert_eq!(tree(&stock.data()), before);
        set_local(&stock, format!("{}\n", transaction(3)));
        stock.check().is_spotless();
    }
}

#[test]
fn a_line_of_pending_transactions_with_a_gap_is_damage_and_stays() {
    let stock = device();
    stock.pending(4, transaction(3), &[]);
    set_local(&stock, format!("{}\n", transaction(4)));
    stock.check().is_spotless();
    let gap = stock.pending_file(3);
    let bytes = fs::read(&gap).unwrap();
    fs::remove_file(&gap).unwrap();
    let seen = stock.check();
    let words = seen.words();
    assert!(
        words.contains(&"damage local-damaged".to_owned()),
        "{words:?}"
    );
    let detail = &seen.one(Kind::LocalDamaged).detail;
    assert!(detail.contains(&transaction(3).to_string()), "{detail}");
    // One that is damaged stays as well: it is the only copy of what was said.
    write(&gap, &bytes[1..]);
    assert_eq!(stock.check().words(), ["damage transaction-damaged"]);
    stock.repair();
    assert_eq!(fs::read(&gap).unwrap(), &bytes[1..]);
}

#[test]
fn a_servers_store_has_no_local() {
    let stock = Stock::full(2);
    set_local(&stock, "x");
    assert_eq!(stock.check().words(), ["harmless stranger"]);
}
