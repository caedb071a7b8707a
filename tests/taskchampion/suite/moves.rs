use std::path::{Path, PathBuf};
use std::process::Command;

use crate::official::{Official, known};
use crate::replica::{LIST, Replica, Tasks, settle};
use crate::server::Server;

/// A list that came to that server from elsewhere.
const CAME: &str = "3d1bb8a0-6ac1-4a2c-8f3c-0a8dbcf4b5a1";

/// A list of nobody's yet.
const EMPTY: &str = "f0a1b2c3-6ac1-4a2c-8f3c-0a8dbcf4b5a1";

/// Runs the script on this file: whether all of it is there now, and what it said.
fn move_to(server: &Server, file: &Path) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/from-taskchampion");
    let mut run = Command::new(script);
    let output = run.arg(file).arg(server.url()).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!said.contains("Traceback"), "{said}");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
    (output.status.success(), said)
}

#[track_caller]
fn all_move(server: &Server, file: &Path) -> String {
    let (all, said) = move_to(server, file);
    assert!(all, "{said}");
    said
}

/// Two replicas of a list, with a conflict and a deletion behind them; and the tasks.
fn lived_with(url: &str) -> ([Replica; 2], Tasks) {
    let mut both = [Replica::new(), Replica::new()];
    let milk = both[0].add("buy milk");
    settle(&mut both, url);
    both[0].change(milk, "description", "buy a litre of milk");
    both[1].change(milk, "priority", "H");
    let bread = both[1].add("bake bread");
    settle(&mut both, url);
    both[0].delete(bread);
    both[1].add("Grüße ausrichten");
    let tasks = settle(&mut both, url);
    assert_eq!(tasks.len(), 2);
    (both, tasks)
}

/// The file, with what waits beside it, as it is copied while nobody stops.
fn copied(official: &Official, to: &Path) -> PathBuf {
    for name in ["", "-wal"] {
        let name = format!("taskchampion-sync-server.sqlite3{name}");
        let copied = std::fs::copy(official.directory().join(&name), to.join(&name));
        assert!(copied.expect("it is there") > 0, "{name}");
    }
    to.join("taskchampion-sync-server.sqlite3")
}

#[test]
fn lists_of_the_other_server_go_on_here_on_every_replica() {
    let (official, server) = (Official::start(), Server::start());
    let ([mut one, mut two], tasks) = lived_with(&official.url);
    let mut came = Replica::of(CAME);
    came.add("made before it came");
    came.sync(&Official::start().url);
    came.add("made there");
    came.sync(&official.url);
    came.add("made there, after the snapshot");
    came.sync(&official.url);
    drop(known(&official.storage(), EMPTY));

    let before = std::fs::read(official.file()).expect("it is there");
    let said = all_move(&server, &official.file());
    assert_eq!(said.matches("versions, its snapshot").count(), 2, "{said}");
    let short = &EMPTY[..8];
    assert!(
        said.contains(&format!("{short}: nothing to move")),
        "{said}"
    );
    let after = std::fs::read(official.file()).expect("it is there");
    assert!(before == after, "the file is only read");
    server.is_sound();

    // Whoever starts here has it all, and from the snapshot what was before the history that came.
    for (list, there) in [(LIST, &tasks), (CAME, &came.tasks())] {
        let mut fresh = Replica::of(list);
        fresh.sync(&server.url());
        assert_eq!(fresh.tasks(), *there);
    }
    // Whoever was there goes on here, and what was done meanwhile is not lost.
    let eggs = one.add("buy eggs");
    let tea = two.add("make tea");
    let tasks = settle(&mut [one, two], &server.url());
    assert!(tasks.contains_key(&eggs) && tasks.contains_key(&tea));
    assert_eq!(tasks.len(), 4);
    came.add("made here");
    came.sync(&server.url());
    let mut fresh = Replica::of(CAME);
    fresh.sync(&server.url());
    assert_eq!((fresh.tasks(), came.tasks().len()), (came.tasks(), 4));
    server.is_sound();
}

#[test]
fn versions_that_wait_in_the_file_beside_it_move_too() {
    let (official, server) = (Official::start(), Server::start());
    let storage = official.storage();
    let open = known(&storage, EMPTY);
    let (_, tasks) = lived_with(&official.url);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let copy = copied(&official, directory.path());
    // Of the file that is open, and of a copy as a crash leaves it.
    let copies = [official.file(), copy];
    for file in copies {
        let server = Server::start();
        all_move(&server, &file);
        let mut fresh = Replica::new();
        fresh.sync(&server.url());
        assert_eq!(fresh.tasks(), tasks);
        server.is_sound();
    }
    // Without what waits nothing is there that could be taken for all of it.
    drop(open);
    let without = directory.path().join("alone");
    std::fs::create_dir(&without).expect("there is room");
    let alone = without.join("taskchampion-sync-server.sqlite3");
    std::fs::copy(
        directory.path().join("taskchampion-sync-server.sqlite3"),
        &alone,
    )
    .expect("there is room");
    let (_, said) = move_to(&server, &alone);
    assert!(!said.contains("versions,"), "{said}");
}

#[test]
fn a_file_moves_once_more_with_what_came_to_it_since() {
    let (official, server) = (Official::start(), Server::start());
    let ([mut one, mut two], _) = lived_with(&official.url);
    all_move(&server, &official.file());
    let versions = server.versions(LIST);
    all_move(&server, &official.file());
    assert_eq!(server.versions(LIST), versions);
    // The old server was not stopped.
    let eggs = one.add("buy eggs");
    one.sync(&official.url);
    all_move(&server, &official.file());
    assert_eq!(server.versions(LIST), versions + 1);
    two.sync(&server.url());
    assert!(two.tasks().contains_key(&eggs));
    // It goes on here, which a further run leaves as it is.
    two.add("make tea");
    two.sync(&server.url());
    all_move(&server, &official.file());
    assert_eq!(server.versions(LIST), versions + 2);
    // On both it cannot go on: that is said, and nothing touched.
    one.add("wash up");
    one.sync(&official.url);
    let (all, said) = move_to(&server, &official.file());
    assert!(!all && said.contains("another history"), "{said}");
    assert_eq!(server.versions(LIST), versions + 2);
    server.is_sound();
}

#[test]
fn of_a_damaged_file_a_list_moves_whole_or_not_at_all_and_that_is_said() {
    let official = Official::start();
    let ([one, mut two], tasks) = lived_with(&official.url);
    drop(one);
    let long = two.add(&"0123456789abcdef".repeat(2_000));
    two.sync(&official.url);
    two.delete(long);
    two.sync(&official.url);
    let whole = std::fs::read(official.file()).expect("it is there");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("taskchampion-sync-server.sqlite3");
    let pages = whole.len() / 4096;
    assert!(pages > 8, "{pages}");
    let cut = [0, 100, 4096, whole.len() / 2, whole.len() - 4096];
    let cut = cut.map(|length| (format!("cut at {length}"), whole[..length].to_vec()));
    let overwritten = (0..pages).map(|page| {
        let mut bytes = whole.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0xa5);
        (format!("page {page}"), bytes)
    });
    let mut refused = 0;
    for (what, bytes) in cut.into_iter().chain(overwritten) {
        let server = Server::start();
        std::fs::write(&file, bytes).expect("there is room");
        let (all, said) = move_to(&server, &file);
        if all {
            // Bytes in the middle of a version are the client's to judge: it knows them by their seal.
            assert_eq!(server.versions(LIST), 6, "{what}: {said}");
        } else {
            refused += 1;
            assert!(said.contains("no sound file"), "{what}: {said}");
            assert!(!server.data().join("users").join(LIST).exists(), "{what}");
        }
    }
    assert!(refused > pages / 2, "{refused} of {pages}");
    let server = Server::start();
    std::fs::write(&file, whole).expect("there is room");
    all_move(&server, &file);
    let mut fresh = Replica::new();
    fresh.sync(&server.url());
    assert_eq!(fresh.tasks(), tasks);
}
