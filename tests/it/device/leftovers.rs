//! What refused and killed commands leave in a replica: nothing, or nothing after the next sync.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Desk, Desks, address, ran_in};
use crate::kit::{Server, binary};

/// The files in a replica's `incoming`.
fn incoming(desk: &Desk) -> Vec<String> {
    fn below(path: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(path).into_iter().flatten() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => below(&entry.path(), found),
                false => found.push(entry.path().display().to_string()),
            }
        }
    }
    let users = desk.home("store").join("users");
    let mut found = Vec::new();
    for user in std::fs::read_dir(users).unwrap() {
        below(&user.unwrap().path().join("incoming"), &mut found);
    }
    found
}

#[test]
fn a_commit_that_is_refused_leaves_nothing() {
    let desks = Desks::new();
    let desk = desks.init("desk", "http://127.0.0.1:1");
    std::fs::write(desk.path.join("large"), vec![1; 3 << 20]).unwrap();
    // The second file is a pipe that is longer than the entry has room for.
    let note = "n".repeat(65_250);
    let commit = ["commit", "large", "-", "--note", &note];
    let refused = ran_in(&desk.path, &commit, vec![2; 40 << 20]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("nothing is committed"),
        "{refused:?}"
    );
    assert_eq!(incoming(&desk), [""; 0]);
    // A state that cannot be saved, since the server is not there.
    let saved = desk.run(&["commit", "--checkpoint", "large"]);
    assert_ne!(saved.code, Some(0), "{saved:?}");
    assert_eq!(incoming(&desk), [""; 0]);
}

#[test]
fn what_a_killed_commit_left_goes_with_the_next_sync() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let mut left = 0;
    for round in 0..6 {
        let mut commit = binary();
        commit.args(["commit"]).current_dir(&desk.path);
        let mut commit = commit.stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = commit.stdin.take().unwrap();
        let bytes: Vec<u8> = (0..8_000_000_u32)
            .map(|at| (at * 7) as u8 ^ round)
            .collect();
        pipe.write_all(&bytes).unwrap();
        // As much of it as comes is written by and by.
        let until = Instant::now() + Duration::from_secs(20);
        while incoming(&desk).len() < 4 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        commit.kill().unwrap();
        commit.wait().unwrap();
        left += incoming(&desk).len();
        match round {
            // A pull, a sync with nothing to say, and one with something.
            0 | 3 => drop(desk.run(&["pull"]).good()),
            1 | 4 => drop(desk.run(&["sync"]).good()),
            _ => {
                desk.commit("milk");
                desk.run(&["sync"]).good();
            }
        }
        assert_eq!(incoming(&desk), [""; 0], "round {round}");
    }
    assert!(left > 20, "{left} files were left: too few to tell");
    assert_eq!(desk.texts(), ["milk", "milk"]);
}

#[test]
fn a_sync_takes_nothing_of_a_commit_that_is_under_way() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let mut commit = binary();
    commit.args(["commit"]).current_dir(&desk.path);
    commit.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut commit = commit.spawn().unwrap();
    let mut pipe = commit.stdin.take().unwrap();
    pipe.write_all(&[7; 4_000_000]).unwrap();
    while incoming(&desk).is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    desk.run(&["sync"]).good();
    desk.run(&["pull"]).good();
    pipe.write_all(&[8; 1_000_000]).unwrap();
    drop(pipe);
    let ended = commit.wait_with_output().unwrap();
    assert!(ended.status.success());
    let id = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(desk.run(&["sync"]).code, Some(0));
    let laptop = desks.clone_of(&desk, "laptop");
    let mut cat = binary();
    cat.args(["cat", id.trim()]).current_dir(&laptop.path);
    let bytes = cat.output().unwrap().stdout;
    assert_eq!(bytes.len(), 5_000_000);
    assert!(bytes[..4_000_000].iter().all(|byte| *byte == 7));
}

#[test]
fn what_was_lost_here_is_told_as_damage_and_no_server_is_blamed() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("milk");
    for file in incoming(&desk) {
        if file.contains("/chunks/") {
            std::fs::remove_file(file).unwrap();
        }
    }
    for args in [
        &["pull"][..],
        &["sync"],
        &["push"],
        &["follow", "--once", "--offline", "--pending"],
    ] {
        let (code, told) = desk.told(args);
        let word = &told["error"];
        assert_eq!((code, word), (1, &"damaged".into()), "{args:?}: {told}");
    }
}
