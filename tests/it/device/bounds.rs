//! What a device's commands refuse for its size, and who must wait for whom.

use std::fs::File;
use std::process::Command;

use super::{Desk, Desks, address, ran_in};
use crate::kit::Server;

/// The chunks in a replica's store.
fn chunks(desk: &Desk) -> usize {
    let found = Command::new("find")
        .args([".mentat-sync/store", "-type", "f", "-path", "*/chunks/*"])
        .current_dir(&desk.path)
        .output();
    found
        .unwrap()
        .stdout
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

#[track_caller]
fn is_too_much(desk: &Desk, args: &[&str]) {
    let (code, object) = desk.told(args);
    assert_eq!((code, &object["error"]), (1, &"failed".into()), "{object}");
    let words = object["message"].as_str().unwrap();
    for part in [
        "65536 bytes",
        "chunks of 1 MiB",
        "GiB",
        "nothing is committed",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn files_of_more_than_an_entry_can_name_are_refused_before_anything_is_put() {
    let desks = Desks::new();
    let desk = desks.init("desk", "http://127.0.0.1:1");
    let make = |name: &str, bytes: u64| {
        let file = File::create(desk.path.join(name)).unwrap();
        file.set_len(bytes).unwrap();
    };
    make("large", 13 << 30);
    make("half", 7 << 30);
    make("other", 6 << 30);
    make("huge", 1 << 43);
    std::fs::write(desk.path.join("small"), "milk").unwrap();
    is_too_much(&desk, &["commit", "large"]);
    is_too_much(&desk, &["commit", "small", "large"]);
    is_too_much(&desk, &["commit", "large", "small"]);
    is_too_much(&desk, &["commit", "half", "other"]);
    is_too_much(&desk, &["commit", "huge", "half"]);
    is_too_much(&desk, &["commit", "--checkpoint", "large"]);
    // One that is not there, and a directory, are found before anything is put, too.
    for last in ["not-there", "."] {
        assert_ne!(desk.run(&["commit", "small", last]).code, Some(0));
    }
    assert_eq!(chunks(&desk), 0);
    assert_eq!(desk.told(&["status"]).1["pending"], 0);
}

#[test]
fn a_pipe_ends_where_its_entry_is_full_and_a_long_note_leaves_a_text_to_be_a_file() {
    let desks = Desks::new();
    let desk = desks.init("desk", "http://127.0.0.1:1");
    // So that there is room for a few chunks only.
    let note = "n".repeat(65_350);
    let commit = ["commit", "--note", &note];
    let long = ran_in(&desk.path, &commit, vec![b'x'; 40 << 20]);
    assert_eq!(long.code, Some(1), "{:?}", long.stderr);
    assert!(
        long.stderr.contains("more than one entry can name"),
        "{:?}",
        long.stderr
    );
    assert!(
        long.stderr.contains("nothing is committed"),
        "{:?}",
        long.stderr
    );
    assert_eq!(desk.told(&["status"]).1["pending"], 0);
    let text = "y".repeat(1000);
    let id = ran_in(&desk.path, &commit, &text).good();
    assert_eq!(desk.run(&["cat", id.trim()]).good(), text);
    assert_eq!(
        desk.run(&["cat", &format!("{}:stdin", id.trim())]).good(),
        text
    );
}

#[test]
fn three_is_also_another_process_that_syncs_and_does_not_end() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("milk");
    desk.run(&["sync"]).good();
    let lock = File::open(desk.home("lock")).unwrap();
    lock.lock().unwrap();
    let (code, object) = desk.told(&["sync"]);
    assert_eq!((code, &object["error"]), (3, &"busy".into()), "{object}");
    // Who only looks, or says something, waits for nobody.
    desk.commit("bread");
    assert_eq!(desk.texts(), ["milk", "bread"]);
    assert_eq!(desk.told(&["status"]).1["pending"], 1);
    drop(lock);
    desk.run(&["sync"]).good();
}

#[test]
fn six_is_what_every_command_that_asks_the_server_says_with_another_key() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("first");
    desk.run(&["sync"]).good();
    let laptop = desks.clone_of(&desk, "laptop");
    let id = desk.commit("second");
    desk.run(&["sync"]).good();
    let first = laptop.first_id();
    laptop.set("key", &"A".repeat(43));
    for args in [
        &["sync"][..],
        &["pull"],
        &["cat", &first],
        &["follow", "--once"],
    ] {
        let (code, object) = laptop.told(args);
        assert_eq!(
            (code, &object["error"]),
            (6, &"wrong-key".into()),
            "{args:?}: {object}"
        );
        assert_ne!(object["ours"], object["theirs"]);
    }
    assert_eq!(laptop.told(&["cat", &id]).0, 1);
}

#[test]
fn a_follower_begins_after_an_id_or_its_first_digits_and_tells_what_is_pending_where_it_is_asked_for()
 {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let laptop = desks.clone_of(&desk, "laptop");
    let first = desk.commit("first");
    desk.commit("second");
    desk.run(&["sync"]).good();
    let texts = |args: &[&str]| -> Vec<String> {
        let said = laptop.run(args).good();
        let lines = said.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .map(|line: serde_json::Value| line["text"].as_str().unwrap().to_owned())
            .collect()
    };
    // Offline, nothing is pulled; online, it is.
    assert_eq!(texts(&["follow", "--once", "--offline"]), [""; 0]);
    assert_eq!(texts(&["follow", "--once"]), ["first", "second"]);
    for from in [&*first, &first[..8], &first[..12]] {
        assert_eq!(
            texts(&["follow", "--once", "--offline", "--from", from]),
            ["second"],
            "{from}"
        );
    }
    let third = laptop.commit("third");
    assert_eq!(texts(&["follow", "--once"]), ["first", "second"]);
    let pending = [
        "follow",
        "--once",
        "--offline",
        "--pending",
        "--from",
        &first,
    ];
    assert_eq!(texts(&pending), ["second", "third"]);
    for (from, status) in [
        (&*third, 2),
        (&third[..8], 2),
        ("abc", 2),
        ("xyz", 2),
        ("00000000", 1),
    ] {
        let (code, object) = laptop.told(&["follow", "--once", "--from", from]);
        assert_eq!(code, status, "{from}: {object}");
    }
}
