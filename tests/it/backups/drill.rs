//! `mentat-sync drill`: what it proves, what it finds, and that it leaves nothing behind and touches nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Finished, backup, contents, snapshot, succeeds};
use crate::kit::{binary, run_with_deadline};
use crate::stock::{Stock, transaction};

fn drill(copy: &Path, flags: &[&str]) -> Finished {
    run_with_deadline(binary().arg("drill").args(flags).arg(copy))
}

/// A stock, and a copy of it in a directory with nothing else.
fn copied() -> (Stock, tempfile::TempDir) {
    let stock = Stock::full(6);
    let top = tempfile::tempdir().unwrap();
    succeeds(backup(&stock.data(), &top.path().join("copy")));
    (stock, top)
}

const PROVED: &str = "sound: 1 user, 6 transactions and 8 chunks pulled";

#[test]
fn a_snapshot_and_an_archive_are_tried_as_well_also_a_compressed_one() {
    let (stock, top) = copied();
    let taken = stock.directory.path().join("snapshot");
    succeeds(snapshot(&stock, &taken));
    assert!(succeeds(drill(&taken, &[])).stdout.contains(PROVED));
    for (name, flag) in [("plain.tar", "-c"), ("small.tar.gz", "-cz")] {
        let archive = top.path().join(name);
        let mut tar = Command::new("tar");
        tar.arg(flag)
            .args(["--sort=name", "--exclude=incoming", "-C"]);
        tar.arg(stock.data()).arg("-f").arg(&archive).arg(".");
        succeeds(run_with_deadline(&mut tar));
        let told = succeeds(drill(&archive, &[]));
        assert!(told.stdout.contains(PROVED), "{name}: {told:?}");
        // Cut short, it does not restore.
        let bytes = fs::read(&archive).unwrap();
        fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(drill(&archive, &[]).code, Some(1), "{name}");
        fs::remove_file(&archive).unwrap();
    }
    assert_eq!(fs::read_dir(top.path()).unwrap().count(), 1);
}

#[test]
fn it_is_tried_on_another_file_system_where_that_is_wanted() {
    let (_stock, top) = copied();
    let tmp = tempfile::tempdir_in("/dev/shm").unwrap();
    let before = contents(&top.path().join("copy"));
    let flag = format!("--tmp={}", tmp.path().display());
    let told = succeeds(drill(&top.path().join("copy"), &[&flag]));
    assert!(told.stdout.contains(PROVED), "{told:?}");
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    assert_eq!(contents(&top.path().join("copy")), before);
    let inside = format!("--tmp={}", top.path().join("copy/users").display());
    assert_eq!(drill(&top.path().join("copy"), &[&inside]).code, Some(2));
    let nowhere = drill(&top.path().join("copy"), &["--tmp=/nowhere"]);
    assert_eq!(nowhere.code, Some(3), "{nowhere:?}");
}

#[test]
fn each_damage_is_found_and_said_also_quietly_and_as_json() {
    let damages: [(&str, fn(&Stock, &Path)); 6] = [
        ("a chunk is missing", |stock, copy| {
            fs::remove_file(within(stock, copy, &stock.chunk_file("", "chunk 4"))).unwrap()
        }),
        ("a chunk rotted", |stock, copy| {
            fs::write(
                within(stock, copy, &stock.chunk_file("", "chunk 4")),
                "chunk 5",
            )
            .unwrap()
        }),
        ("a transaction is missing", |stock, copy| {
            fs::remove_file(within(stock, copy, &stock.transaction_file(3))).unwrap()
        }),
        ("HEAD is no id", |stock, copy| {
            fs::write(within(stock, copy, &stock.file("HEAD")), "?").unwrap()
        }),
        ("HEAD leads nowhere", |stock, copy| {
            let head = format!("{}\n", transaction(77));
            fs::write(within(stock, copy, &stock.file("HEAD")), head).unwrap()
        }),
        ("there is no FORMAT", |_, copy| {
            fs::remove_file(copy.join("FORMAT")).unwrap()
        }),
    ];
    for (words, damage) in damages {
        let (stock, top) = copied();
        let copy = top.path().join("copy");
        damage(&stock, &copy);
        for flags in [&[][..], &["--quiet"], &["--json"]] {
            let told = drill(&copy, flags);
            assert_eq!(told.code, Some(1), "{words}: {told:?}");
            assert!(!told.stderr.is_empty(), "{words}: {told:?}");
            assert!(!told.stdout.contains("sound: "), "{words}: {told:?}");
            if flags == ["--json"] {
                let said: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
                assert_eq!(said["ok"], false, "{words}: {said}");
                assert!(said["why"].is_string(), "{words}: {said}");
            }
        }
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 1, "{words}");
    }
}

fn within(stock: &Stock, copy: &Path, path: &Path) -> std::path::PathBuf {
    copy.join(path.strip_prefix(stock.data()).unwrap())
}

#[test]
fn when_all_is_well_quiet_says_nothing_and_json_has_the_counts() {
    let (_stock, top) = copied();
    let copy = top.path().join("copy");
    let quiet = succeeds(drill(&copy, &["--quiet"]));
    assert_eq!((quiet.stdout, quiet.stderr), (String::new(), String::new()));
    let told = succeeds(drill(&copy, &["--json"]));
    let said: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(said["ok"], true);
    assert_eq!(said["transactions"], 6);
    assert_eq!(said["users"][0]["chunks"], 8);
    assert_eq!(said["users"][0]["head"], transaction(6).to_string());
}

#[test]
fn what_is_no_copy_is_no_proof() {
    let top = tempfile::tempdir().unwrap();
    let empty = drill(top.path(), &[]);
    assert_eq!(empty.code, Some(1), "{empty:?}");
    let nothing = drill(&top.path().join("nothing"), &[]);
    assert_eq!(nothing.code, Some(3), "{nothing:?}");
    let letter = top.path().join("letter");
    fs::write(&letter, "dear").unwrap();
    assert_eq!(drill(&letter, &[]).code, Some(1));
    assert_eq!(fs::read_dir(top.path()).unwrap().count(), 1);
}
