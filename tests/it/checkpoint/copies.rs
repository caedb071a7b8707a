//! Snapshots, archives and backups take the checkpoint along, also while newer ones are put.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{Scene, age_all, put, run, told};
use crate::kit::{Server, chunk, transaction_id};
use crate::stock::StopAtEnd;
use mentat_sync::disk::{Grouping, Real};
use mentat_sync::upkeep::snapshot;

/// What is restored from a copy: sound, and its checkpoint with all that it names.
#[track_caller]
fn restores(copy: tempfile::TempDir, transaction: &str, state: &[u8]) {
    let fsck = run("fsck", &copy.path().join("data"), &[]);
    assert_eq!(fsck.code, Some(0), "{fsck:?}");
    let server = Server::on(Arc::new(copy), &[]);
    let mut device = server.device("ada");
    let told = told(&mut device);
    assert_eq!(told["transaction"], json!(transaction));
    let id = told["chunks"][0].as_str().unwrap();
    let bytes = device.get(&format!("chunks/{id}")).expect(200).body;
    assert_eq!(bytes, state);
}

fn empty() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Only the checkpoint has its chunk.
fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.put_first();
    age_all(&scene.folder());
    run("gc", &scene.server.data(), &[]);
    scene
}

#[test]
fn a_snapshot_has_it() {
    let scene = scene();
    let copy = empty();
    let destination = copy.path().join("data");
    let destination = destination.to_str().unwrap();
    let taken = run("snapshot", &scene.server.data(), &[destination]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    let same = |name: &str| {
        let path = scene.folder().join(name);
        let below = path.strip_prefix(scene.server.data()).unwrap().to_owned();
        let both = [path, copy.path().join("data").join(below)];
        let [one, other] = both.map(|path| std::fs::read(path).unwrap());
        assert_eq!(one, other);
    };
    same("CHECKPOINT");
    restores(copy, &scene.first.clone(), &scene.state.bytes);
}

/// An advance and its checkpoint come between CHECKPOINT and HEAD, or after both: what the copy has stands on its chain.
#[test]
fn a_snapshot_beside_a_newer_one_is_as_sound() {
    let mut scene = scene();
    let destination = empty();
    let source = Arc::new(Real::new(&scene.server.data(), Grouping::Off).unwrap());
    let newer = chunk("all that there is up to the third");
    let third = transaction_id("third");
    let done = Cell::new(false);
    let device = std::cell::RefCell::new(&mut scene.device);
    let second = scene.second.clone();
    let linked = || {
        if !done.replace(true) {
            let mut device = device.borrow_mut();
            device.commit(&third, &second, &[]);
            device.put_chunk(&newer).expect(201);
            put(&mut device, &third, &[&newer.id]).expect(204);
        }
    };
    let copy = destination.path().join("copy");
    let taken = snapshot::snapshot(source, &copy, &linked).unwrap();
    assert_eq!((taken.users, taken.damage), (1, 0), "{:?}", taken.findings);
    assert!(done.get());
    let fsck = run("fsck", &copy, &["--json"]);
    assert_eq!(fsck.code, Some(0), "{fsck:?}");
    assert!(!fsck.stdout.contains("checkpoint-off-chain"), "{fsck:?}");
    let checkpoint = copy
        .join("users")
        .join(crate::kit::user_id("ada"))
        .join("CHECKPOINT");
    let checkpoint = std::fs::read_to_string(checkpoint).unwrap();
    assert!(checkpoint.contains(&scene.first), "{checkpoint}");
}

#[test]
fn an_archive_reads_it_before_head() {
    let scene = scene();
    let copy = empty();
    let archive = "tar c --sort=name --hard-dereference --exclude=incoming --exclude=tmp --exclude=trash \
                   -C \"$0\" . >\"$1.tar\"; mkdir \"$1\"; tar xf \"$1.tar\" -C \"$1\"; tar tf \"$1.tar\"";
    let mut shell = Command::new("bash");
    shell
        .args(["-c", archive])
        .arg(scene.server.data())
        .arg(copy.path().join("data"));
    let names = String::from_utf8(shell.output().unwrap().stdout).unwrap();
    let place = |end: &str| names.lines().position(|name| name.ends_with(end)).unwrap();
    assert!(place("/CHECKPOINT") < place("/HEAD"), "{names}");
    restores(copy, &scene.first.clone(), &scene.state.bytes);
}

fn backup(source: &Path, destination: &Path) -> crate::kit::Finished {
    run("backup", source, &[destination.to_str().unwrap()])
}

#[test]
fn a_backup_has_it_and_the_next_one_the_newer() {
    if Command::new("rsync").arg("--version").output().is_err() {
        return crate::kit::skipped("backup", "no rsync");
    }
    let mut scene = scene();
    let copy = empty();
    let made = backup(&scene.server.data(), &copy.path().join("data"));
    assert_eq!(made.code, Some(0), "{made:?}");
    let there = copy
        .path()
        .join("data/users")
        .join(crate::kit::user_id("ada"));
    let first = std::fs::read_to_string(there.join("CHECKPOINT")).unwrap();
    assert!(first.contains(&scene.first), "{first}");
    let newer = chunk("all that there is up to the second");
    scene.device.put_chunk(&newer).expect(201);
    put(&mut scene.device, &scene.second, &[&newer.id]).expect(204);
    let made = backup(&scene.server.data(), &copy.path().join("data"));
    assert_eq!(made.code, Some(0), "{made:?}");
    restores(copy, &scene.second.clone(), &newer.bytes);
}

/// Whatever comes between the looks at CHECKPOINT and at HEAD: what a copy has stands on its chain, with all that it names.
#[test]
fn backups_beside_a_writer_have_a_checkpoint_of_their_own_chain() {
    if Command::new("rsync").arg("--version").output().is_err() {
        return crate::kit::skipped("backup", "no rsync");
    }
    let mut scene = scene();
    let (data, stop) = (scene.server.data(), AtomicBool::new(false));
    let mut parent = scene.second.clone();
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let device = &mut scene.device;
        let stop = &stop;
        scope.spawn(move || {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let next = transaction_id(&format!("next {n}"));
                device.commit(&next, &parent, &[]);
                let state = chunk(format!("state {n}"));
                device.put_chunk(&state).expect(201);
                put(device, &next, &[&state.id]).expect(204);
                parent = next;
            }
        });
        for _ in 0..crate::kit::effort::either(4, 20) {
            let copy = empty();
            let copy = copy.path().join("data");
            for _ in 0..2 {
                let made = backup(&data, &copy);
                assert_eq!(made.code, Some(0), "{made:?}");
                let fsck = run("fsck", &copy, &["--json"]);
                assert_eq!(fsck.code, Some(0), "{fsck:?}");
                assert!(!fsck.stdout.contains("checkpoint-off-chain"), "{fsck:?}");
                let there = copy.join("users").join(crate::kit::user_id("ada"));
                assert!(there.join("CHECKPOINT").exists());
            }
        }
    });
}
