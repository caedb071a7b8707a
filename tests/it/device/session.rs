//! What a person does on a day: the session of the design, over TCP and through a socket, and two devices at once.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use super::{Desk, Desks, address, ran_in};
use crate::kit::{Server, binary};

/// A child that goes with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn the_session_at(server: &str) {
    let desks = Desks::new();
    let made = ran_in(
        &desks.path(""),
        &["init", "journal", "--server", server],
        "",
    )
    .good();
    let words = format!("a new store at {server}; add a device: mentat-sync invite --qr\n");
    assert_eq!(made, words);
    let desk = Desk {
        path: desks.path("journal"),
    };
    let first = desk.commit("Sat Nov 28 09:12:04 UTC 2026\n");
    let photo: Vec<u8> = (0..1_200_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    std::fs::write(desk.path.join("photo.jpg"), &photo).unwrap();
    let id = desk
        .run(&["commit", "photo.jpg", "--note", "the garden"])
        .good();
    let id = id.trim_end();
    let synced = desk.run(&["sync"]).good();
    let digits = id.replace('-', "");
    let head = format!("{}-{}-{} (2)", &digits[..4], &digits[4..8], &digits[8..12]);
    assert!(synced.starts_with("pushed 2 transactions, 1."), "{synced}");
    assert!(synced.ends_with(&format!("MiB; HEAD {head}\n")), "{synced}");

    let laptop = desks.clone_of(&desk, "laptop");
    let mut follow = binary();
    follow
        .args(["-C", laptop.path.to_str().unwrap(), "follow"])
        .stdout(Stdio::piped());
    let mut follow = Killed(follow.spawn().unwrap());
    let mut lines = BufReader::new(follow.0.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let line = next();
    assert_eq!(line["text"], "Sat Nov 28 09:12:04 UTC 2026\n");
    assert_eq!(
        (&line["id"], &line["by"]),
        (&first.into(), &desk_name(&desk))
    );
    let line = next();
    assert_eq!(line["note"], "the garden");
    assert_eq!(line["files"][0]["size"], photo.len());
    // It goes on for ever: what is said now comes by itself.
    desk.commit("more\n");
    desk.run(&["push"]).good();
    assert_eq!(next()["text"], "more\n");

    let cat = |what: &str| {
        let output = binary()
            .args(["cat", what])
            .current_dir(&laptop.path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    assert!(cat(&digits[..8]) == photo && cat(&format!("{id}:photo.jpg")) == photo);
    assert!([cat(&format!("{id}#1")), cat(&format!("{id}#2"))].concat() == photo);
    assert_eq!(desk.run(&["status", "--fetch"]).code, Some(0));
}

fn desk_name(desk: &Desk) -> Value {
    let config = std::fs::read(desk.home("config")).unwrap();
    serde_json::from_slice::<Value>(&config).unwrap()["device"].clone()
}

#[test]
fn the_session_of_the_design_is_as_it_is_written() {
    let server = Server::start();
    the_session_at(&address(&server));
}

#[test]
fn the_session_goes_through_a_socket_as_well() {
    let top = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", top.path().join("socket").display());
    let _server = Server::with(&["--listen", &socket]);
    the_session_at(&socket);
}

#[test]
fn two_devices_that_write_at_once_say_it_all_in_one_order() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let laptop = desks.clone_of(&desk, "laptop");
    std::thread::scope(|scope| {
        for device in [&desk, &laptop] {
            scope.spawn(move || {
                for number in 0..8 {
                    device.commit(&format!("{number}"));
                    device.run(&["sync"]).good();
                }
            });
        }
    });
    for device in [&desk, &laptop] {
        device.run(&["sync"]).good();
    }
    let texts = desk.texts();
    assert_eq!(texts, laptop.texts());
    for number in 0..8 {
        let said = texts.iter().filter(|text| **text == number.to_string());
        assert_eq!(said.count(), 2, "{texts:?}");
    }
}

#[test]
fn what_is_committed_comes_out_as_it_went_in() {
    let desks = Desks::new();
    let desk = desks.init("desk", "http://127.0.0.1:1");
    let long = "x".repeat(100 << 10);
    let cases: [(&[u8], bool); 6] = [
        (b"", true),
        (b"milk", true),
        (b"milk\n\n", true),
        ("\u{0}\"\\ü".as_bytes(), true),
        (b"\xff\xfe", false),
        (long.as_bytes(), false),
    ];
    for (bytes, is_text) in cases {
        let id = ran_in(&desk.path, &["commit"], bytes).good();
        let id = id.trim_end();
        let shown = binary()
            .args(["cat", id])
            .current_dir(&desk.path)
            .output()
            .unwrap();
        assert!(shown.stdout == bytes, "{shown:?}");
        let (_, line) = desk.told(&["cat", id]);
        assert_eq!(line["text"].is_string(), is_text, "{line}");
        assert_eq!(line["files"].is_array(), !is_text);
    }
    // An empty file, and one whose chunks are all the same.
    for (name, bytes) in [("none", vec![]), ("same", vec![7_u8; 5 << 20])] {
        std::fs::write(desk.path.join(name), &bytes).unwrap();
        let id = desk.run(&["commit", name]).good();
        let shown = binary()
            .args(["cat", id.trim_end()])
            .current_dir(&desk.path)
            .output();
        assert!(shown.unwrap().stdout == bytes, "{name}");
    }
    let id = desk.run(&["commit", "none", "same"]).good();
    let which = desk.run(&["cat", id.trim_end()]);
    assert_eq!(which.code, Some(2));
    assert!(which.stderr.contains("\"none\", \"same\""), "{which:?}");
}

#[test]
fn an_id_that_a_rebase_replaced_is_found() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let laptop = desks.clone_of(&desk, "laptop");
    desk.commit("first");
    desk.run(&["sync"]).good();
    let old = laptop.commit("second");
    laptop.run(&["sync"]).good();
    for id in [old.clone(), old[..8].to_owned()] {
        assert_eq!(laptop.run(&["cat", &id]).good(), "second");
    }
    let (_, line) = laptop.told(&["cat", &old]);
    assert_ne!(line["id"], old);
    let after = laptop.run(&["follow", "--once", "--from", line["id"].as_str().unwrap()]);
    assert_eq!(after.good(), "");
}

#[test]
fn a_plain_store_is_read_by_who_has_the_server_and_says_so() {
    let server = Server::start();
    let desks = Desks::new();
    let at = address(&server);
    ran_in(
        &desks.path(""),
        &["init", "desk", "--plain", "--server", &at],
        "",
    )
    .good();
    let desk = Desk {
        path: desks.path("desk"),
    };
    desk.commit("in the clear");
    desk.run(&["sync"]).good();
    let laptop = desks.clone_of(&desk, "laptop");
    assert_eq!(laptop.texts(), ["in the clear"]);
    assert_eq!(laptop.told(&["status"]).1["encrypted"], false);
    let found = std::process::Command::new("grep")
        .args(["-rq", "in the clear"])
        .arg(server.data())
        .status();
    assert!(found.unwrap().success());
}

#[test]
fn a_checkpoint_is_saved_of_what_is_confirmed() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("first");
    std::fs::write(desk.path.join("state"), "all of it").unwrap();
    let early = desk.run(&["commit", "--checkpoint", "state"]);
    assert_eq!(early.code, Some(1), "{early:?}");
    desk.run(&["sync"]).good();
    let (code, saved) = desk.told(&["commit", "--checkpoint", "state"]);
    assert_eq!((code, &saved["seq"]), (0, &1.into()));
    let user = std::fs::read_dir(server.data().join("users"))
        .unwrap()
        .next()
        .unwrap();
    let user = user.unwrap().file_name().into_string().unwrap();
    let mut device = crate::kit::Device::new(server.address(), &user);
    let checkpoint = device.get("checkpoint").expect(200).json();
    assert_eq!(checkpoint["transaction"], saved["checkpoint"]);
    assert_eq!(desk.texts(), ["first"]);
}

#[test]
fn a_new_device_takes_the_checkpoint_and_reads_on_from_there() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let old = desks.clone_of(&desk, "old");
    let none = old.run(&["cat", "checkpoint"]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("cat checkpoint --fetch"), "{none:?}");
    desk.commit("first");
    desk.commit("second");
    desk.run(&["sync"]).good();
    std::fs::write(desk.path.join("state"), "all of it").unwrap();
    let save = ["commit", "--checkpoint", "state", "--note", "the sum"];
    let second = desk.run(&save).good();
    desk.commit("third");
    desk.run(&["sync"]).good();

    let invite = desk.run(&["invite", "--force"]).good();
    let clone = ["clone", "new", "--invite-file", "-"];
    let said = ran_in(&desks.path(""), &clone, &invite).good();
    let short = format!("{}-{}", &second[..4], &second[4..8]);
    assert!(said.starts_with("3 transactions; HEAD "), "{said}");
    assert!(said.contains(&format!("; checkpoint {short}-")), "{said}");
    let new = super::Desk {
        path: desks.path("new"),
    };
    for device in [&desk, &new] {
        for what in ["checkpoint", "checkpoint:state", "checkpoint#1"] {
            assert_eq!(device.run(&["cat", what]).good(), "all of it", "{what}");
        }
        let (_, line) = device.told(&["cat", "checkpoint"]);
        assert_eq!(line["id"], second.trim_end());
        assert_eq!(
            (&line["seq"], &line["note"], &line["pending"]),
            (&2.into(), &"the sum".into(), &false.into())
        );
        let from = ["follow", "--from", "checkpoint", "--once", "--offline"];
        let after = device.run(&from).good();
        assert!(after.contains("third") && !after.contains("second"));
        let (_, status) = device.told(&["status"]);
        assert_eq!(status["checkpoint"]["seq"], 2);
        assert!(
            device
                .run(&["status"])
                .good()
                .contains(&format!("state     {short}"))
        );
    }
    // Another device asks for it, though its chain is not there yet.
    assert_eq!(
        old.run(&["cat", "checkpoint", "--fetch"]).good(),
        "all of it"
    );
    assert!(old.run(&["status"]).good().contains("has not reached yet"));
    let from = ["follow", "--from", "checkpoint", "--once"];
    assert_eq!(old.run(&[&from[..], &["--offline"]].concat()).good(), "");
    assert!(old.run(&from).good().contains("third"));
    assert!(!old.home("checkpoint").exists());
    assert_eq!(
        old.run(&["cat", second.trim_end(), "--fetch"]).code,
        Some(2)
    );
    let store = old.home("store");
    old.run(&["fsck", "--data", store.to_str().unwrap()]).good();
}

#[test]
fn a_lost_device_is_shut_out_by_a_new_key_and_a_new_device_reads_all() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("before");
    desk.run(&["sync"]).good();
    let lost = desks.clone_of(&desk, "lost");
    let late = lost.commit("said on the lost one");
    assert_eq!(desk.run(&["rekey"]).code, Some(2), "into a pipe");
    let (_, users) = desk.told(&["rekey", "--force"]);
    desk.commit("after");
    // Not before the server has moved the user: nothing is sent that would be in the way.
    let (code, early) = desk.told(&["sync"]);
    assert_eq!((code, &early["how"]), (5, &"empty".into()));
    let [old, new] = ["old", "new"].map(|which| users[which].as_str().unwrap());
    let data = server.data();
    let moved = ["users", "mv", "-", "-", "--data", data.to_str().unwrap()];
    ran_in(&desk.path, &moved, format!("{old}\n{new}\n")).good();
    desk.run(&["sync"]).good();
    let (code, gone) = lost.told(&["sync"]);
    assert_eq!((code, &gone["error"]), (5, &"diverged".into()));
    assert!(
        lost.run(&["pull"])
            .stderr
            .contains("this store has a new invite")
    );
    let laptop = desks.clone_of(&desk, "laptop");
    assert_eq!(laptop.texts(), ["before", "after"]);
    assert_eq!(
        laptop
            .run(&["import", "--from", lost.path.to_str().unwrap()])
            .code,
        Some(0)
    );
    laptop.run(&["sync"]).good();
    desk.run(&["sync"]).good();
    assert_eq!(desk.texts(), ["before", "after", "said on the lost one"]);
    assert_eq!(lost.run(&["cat", &late]).good(), "said on the lost one");
    // Once more: the keys of both before are handed on.
    let (_, users) = desk.told(&["rekey", "--force"]);
    let [old, new] = ["old", "new"].map(|which| users[which].as_str().unwrap());
    ran_in(&desk.path, &moved, format!("{old}\n{new}\n")).good();
    desk.run(&["sync"]).good();
    assert_eq!(desks.clone_of(&desk, "phone").texts(), desk.texts());
}

#[test]
fn who_comes_with_the_old_invite_is_told_that_there_is_a_new_one_and_fills_nothing() {
    for plain in [false, true] {
        let server = Server::start();
        let desks = Desks::new();
        let top = desks.path("");
        let url = address(&server);
        let init = ["init", "desk", "--server", &url, "--plain"];
        ran_in(&top, &init[..if plain { 5 } else { 4 }], "").good();
        let desk = super::Desk {
            path: desks.path("desk"),
        };
        // One that had nothing confirmed, one that had, one that is too quick, and one that comes later.
        let early = desks.clone_of(&desk, "early");
        let quick = desks.clone_of(&desk, "quick");
        early.commit("said early");
        desk.commit("first");
        desk.run(&["sync"]).good();
        let seen = desks.clone_of(&desk, "seen");
        let invite = desk.run(&["invite", "--force"]).good();
        let data = server.data();
        let moved = ["users", "mv", "-", "-", "--data", data.to_str().unwrap()];
        let (_, users) = desk.told(&["rekey", "--force"]);
        let [old, new] = ["old", "new"].map(|which| users[which].as_str().unwrap());
        ran_in(&top, &moved, format!("{old}\n{new}\n")).good();
        quick.commit("said quickly");
        quick.run(&["sync"]).good();
        desk.run(&["sync"]).good();

        let clone = ["clone", "late", "--invite-file", "-"];
        let late = ran_in(&top, &clone, &invite);
        assert_eq!(late.code, Some(5), "{late:?}");
        assert!(
            late.stderr.contains("this store has a new invite"),
            "{late:?}"
        );
        for device in [&early, &seen, &quick] {
            for args in [
                &["sync"][..],
                &["pull"],
                &["push", "--no-rebase"],
                &["follow", "--once"],
                &["status", "--fetch"],
            ] {
                if device.path == early.path || args != ["push", "--no-rebase"] {
                    let (code, told) = device.told(args);
                    assert_eq!(
                        (code, &told["how"]),
                        (5, &"moved".into()),
                        "{args:?}: {told}"
                    );
                }
            }
            let again = device.run(&["sync"]);
            assert!(
                again.stderr.contains("this store has a new invite"),
                "{again:?}"
            );
        }
        let laptop = desks.clone_of(&desk, "laptop");
        for old in [&early, &quick] {
            let from = old.path.to_str().unwrap();
            laptop.run(&["import", "--from", from]).good();
        }
        laptop.run(&["sync"]).good();
        assert_eq!(laptop.texts(), ["first", "said early", "said quickly"]);
        // The last word is said once.
        desk.run(&["sync"]).good();
        assert!(!desk.home("moving").exists());
        let mut stranger = crate::kit::Device::new(server.address(), old);
        assert_eq!(stranger.head().1, 2);
    }
}
