//! `src/store/FORMAT.md`: what it promises and no other module shows; and the store of each format that is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use mentat_sync::model::UserId;
use mentat_sync::upkeep::fsck::CheckOptions;

use crate::kit::{Device, ROOT, Server, chunk, digest, run_with_deadline, tree};
use crate::stock::{Stock, USER, alias, check, transaction};

/// A user who has nothing yet.
const NEWCOMER: UserId = UserId::from_bytes([0x6e; 16]);

/// What was frozen as format 1, made anew by the code of today.
fn frozen_one() -> Stock {
    let stock = Stock::full(4);
    // Pending, with an alias of its own.
    stock.put(b"by a new name", alias(8));
    stock.pending(
        7,
        transaction(5),
        &[alias(8), stock.chunk(""), stock.chunk("")],
    );
    stock.store.user(NEWCOMER).add().unwrap();
    stock
}

fn kept(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/frozen")
        .join(format)
}

/// A copy of a kept store that may be changed.
fn thawed(format: &str) -> Arc<TempDir> {
    let top = Arc::new(tempfile::tempdir().unwrap());
    let mut command = Command::new("cp");
    command
        .arg("-r")
        .arg(kept(format))
        .arg(top.path().join("data"));
    let copied = run_with_deadline(&mut command);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    // As git or a plain `tar x` makes the modes.
    let mut command = Command::new("chmod");
    command
        .args(["-R", "u=rwX,go=rX"])
        .arg(top.path().join("data"));
    let loosened = run_with_deadline(&mut command);
    assert_eq!(loosened.code, Some(0), "{loosened:?}");
    top
}

/// Every file's bytes, by its path.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let files = tree(directory)
        .into_iter()
        .filter(|(_, look)| look.kind == 'f');
    files
        .map(|(path, _)| (path.clone(), fs::read(directory.join(path)).unwrap()))
        .collect()
}

#[test]
fn the_store_that_was_kept_of_format_1_is_sound() {
    let top = thawed("format-1");
    let seen = check(&top.path().join("data"), &CheckOptions::default());
    assert_eq!(seen.words(), ["harmless mode-loose"], "{seen:#?}");
    assert_eq!(seen.summary.users, 2);
    assert_eq!(seen.summary.transactions, 4);
}

#[test]
fn the_store_that_was_kept_of_format_1_opens_for_ever() {
    let top = thawed("format-1");
    let server = Server::on(Arc::clone(&top), &["--uuid-chunk-ids"]);
    let mut device = Device::new(server.address(), &USER.to_string());
    assert_eq!(device.head(), (transaction(4).to_string(), 4));
    let chain = [1, 2, 3, 4].map(|n| transaction(n).to_string());
    assert_eq!(device.chain_after(ROOT), chain);
    for (n, id) in (1..).zip(&chain) {
        let there = device.get(&format!("transactions/{id}")).expect(200).json();
        assert_eq!(there["seq"], n);
        let own = chunk(format!("chunk {n}"));
        assert_eq!(there["chunks"][0], own.id);
        for id in [&own, &chunk("shared")] {
            let got = device.get(&format!("chunks/{}", id.id)).expect(200);
            assert_eq!(got.body, id.bytes);
        }
    }
    let named = device.get(&format!("chunks/{}", alias(9))).expect(200);
    assert_eq!(named.text(), "by another name");

    // What was pending can still be made visible, and what was dead is refused.
    let dead = device.put_head(&transaction(6).to_string());
    dead.expect_refusal(409, "not-a-descendant");
    device.put_head(&transaction(7).to_string()).expect(204);
    assert_eq!(device.head(), (transaction(7).to_string(), 6));
    let named = device.get(&format!("chunks/{}", alias(8))).expect(200);
    assert_eq!(named.text(), "by a new name");

    let mut newcomer = Device::new(server.address(), &NEWCOMER.to_string());
    assert_eq!(newcomer.head(), (ROOT.to_owned(), 0));
    newcomer.commit(&transaction(1).to_string(), ROOT, &[&chunk("first")]);
    assert_eq!(server.stop().code(), Some(0));
    let seen = check(&top.path().join("data"), &CheckOptions::default());
    assert_eq!(seen.summary.damage, 0, "{seen:#?}");
}

#[test]
fn what_is_written_today_is_the_format_that_was_kept() {
    let stock = frozen_one();
    let now = contents(&stock.data());
    let then = contents(&kept("format-1"));
    let names = |files: &[(String, Vec<u8>)]| -> Vec<String> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&now), names(&then));
    for ((name, now), (_, then)) in now.iter().zip(&then) {
        assert_eq!(now, then, "{name}");
    }
}

#[test]
fn the_line_of_number_n_stands_at_fifty_times_n_minus_one() {
    let stock = Stock::full(7);
    let mut dd = Command::new("dd");
    dd.args(["bs=50", "skip=4", "count=1", "status=none"]);
    dd.arg(format!("if={}", stock.file("log").display()));
    let line = run_with_deadline(&mut dd);
    assert_eq!(line.stdout, format!("000000000005 {}\n", transaction(5)));
    assert_eq!(fs::metadata(stock.file("log")).unwrap().len(), 7 * 50);
}

#[test]
fn a_transaction_tells_its_number_and_parent_in_the_first_130_bytes() {
    let stock = Stock::full(3);
    let bytes = fs::read(stock.transaction_file(3)).unwrap();
    let start = String::from_utf8(bytes[..130].to_vec()).unwrap();
    let expected = format!(
        r#"{{"id":"{}","seq":3,"parent":"{}","chunks":["#,
        transaction(3),
        transaction(2)
    );
    assert!(start.starts_with(&expected), "{start}");
}

#[test]
fn a_shell_can_keep_everybody_from_changing_a_user() {
    let stock = Stock::full(3);
    let server = Server::on(Arc::clone(&stock.directory), &[]);
    let mut device = Device::new(server.address(), &USER.to_string());
    // The line of FORMAT.md, with something to do.
    let mut shell = Command::new("bash")
        .args([
            "-c",
            "( flock 8; flock 9; exec 8<&-; echo held; sleep 1 ) 8<gate 9<lock",
        ])
        .current_dir(stock.file(""))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = [0; 5];
    std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut held).unwrap();
    let before = Instant::now();
    // Reading goes on; changing waits.
    device.get("head").expect(200);
    device
        .get(&format!("chunks/{}", digest(b"shared")))
        .expect(200);
    assert!(before.elapsed() < Duration::from_millis(700));
    device.put_head(&transaction(4).to_string()).expect(204);
    assert!(before.elapsed() > Duration::from_millis(700));
    assert!(shell.wait().unwrap().success());
}
