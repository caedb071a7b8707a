//! A device with the old invite, at the server between `users mv` and the last word that the device with the new key leaves there.

use serde_json::Value;

use super::{Desk, Desks, address, ran, ran_in};
use crate::kit::{Server, binary};

/// Gives the store a new key, and has the server move it. Returns the old user.
fn rekeyed(desk: &Desk, server: &Server) -> String {
    let (code, told) = desk.told(&["rekey", "--force"]);
    assert_eq!(code, 0, "{told}");
    let id = |name: &str| told[name].as_str().unwrap().to_owned();
    users(server, &["mv", "-", "-"], &[&id("old"), &id("new")]);
    id("old")
}

/// Has the server do this with users, whose ids it reads.
fn users(server: &Server, args: &[&str], ids: &[&str]) {
    let mut users = binary();
    users
        .arg("users")
        .args(args)
        .arg("--data")
        .arg(server.data());
    ran(&mut users, (ids.join("\n") + "\n").as_bytes()).good();
}

fn diverged(desk: &Desk, args: &[&str]) -> Value {
    let (code, told) = desk.told(args);
    assert_eq!(
        (code, &told["error"]),
        (5, &"diverged".into()),
        "{args:?}: {told}"
    );
    told
}

#[test]
fn who_syncs_before_the_last_word_is_told_of_a_new_key_and_fills_nothing_under_the_old_user() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("first");
    desk.run(&["sync"]).good();
    let laptop = desks.clone_of(&desk, "laptop");
    laptop.commit("not sent yet");
    let old = rekeyed(&desk, &server);
    for args in [
        &["sync"][..],
        &["push"],
        &["pull"],
        &["status", "--fetch"],
        &["push", "--seed"],
        &["push", "--restore"],
    ] {
        assert_eq!(diverged(&laptop, args)["how"], "empty", "{args:?}");
        let words = laptop.run(args).stderr;
        let (rekey, seed) = (words.find("rekey"), words.find("--seed"));
        assert!(rekey.is_some() && rekey < seed, "{args:?}: {words}");
    }
    let head = std::fs::read_to_string(server.data().join(format!("users/{old}/HEAD")));
    let head = head.unwrap_or_default();
    assert!(
        head.chars().all(|digit| "0-\n".contains(digit)),
        "nothing is confirmed there: {head}"
    );
    desk.run(&["sync"]).good();
    for args in [
        &["sync"][..],
        &["push", "--seed"],
        &["push", "--seed", "--force"],
    ] {
        assert_eq!(diverged(&laptop, args)["how"], "moved", "{args:?}");
    }
    let new = desks.clone_of(&desk, "new");
    let import = ["import", "--from", laptop.path.to_str().unwrap()];
    new.run(&import).good();
    new.run(&["sync"]).good();
    assert_eq!(new.texts(), ["first", "not sent yet"]);
}

#[test]
fn who_had_nothing_confirmed_is_told_at_the_last_word_and_loses_nothing() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let laptop = desks.clone_of(&desk, "laptop");
    laptop.commit("theirs");
    desk.commit("first");
    desk.run(&["sync"]).good();
    rekeyed(&desk, &server);
    // For all that it can know, nobody has said anything yet.
    laptop.run(&["sync"]).good();
    desk.run(&["sync"]).good();
    assert_eq!(diverged(&laptop, &["sync"])["how"], "moved");
    let new = desks.clone_of(&desk, "new");
    let import = ["import", "--from", laptop.path.to_str().unwrap()];
    new.run(&import).good();
    new.run(&["sync"]).good();
    assert_eq!(new.texts(), ["first", "theirs"]);
}

#[test]
fn a_new_key_of_a_device_that_had_nothing_waits_until_what_others_said_is_moved() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let laptop = desks.clone_of(&desk, "laptop");
    laptop.commit("theirs");
    laptop.run(&["sync"]).good();
    let (_, told) = desk.told(&["rekey", "--force"]);
    desk.commit("ours");
    assert_eq!(diverged(&desk, &["sync"])["how"], "empty");
    // A key once more: the store is still where it was before both.
    let (_, again) = desk.told(&["rekey", "--force"]);
    assert_eq!(again["old"], told["old"]);
    let ids = ["old", "new"].map(|name| again[name].as_str().unwrap());
    users(&server, &["mv", "-", "-"], &ids);
    desk.run(&["sync"]).good();
    assert_eq!(desk.texts(), ["theirs", "ours"]);
    assert_eq!(diverged(&laptop, &["sync"])["how"], "moved");
    // Where nobody has said anything, there is nothing to be moved.
    let young = desks.init("young", &address(&server));
    young.run(&["rekey", "--force"]).good();
    young.commit("first");
    young.run(&["sync"]).good();
}

#[test]
fn a_server_that_was_emptied_at_the_same_address_is_filled_when_that_is_said() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("first");
    desk.run(&["sync"]).good();
    // Where the server knows it, there is nothing to fill.
    desk.run(&["push", "--seed"]).good();
    let mut remove = binary();
    let user = std::fs::read_to_string(desk.home("remote")).unwrap();
    let user: Value = serde_json::from_str(&user).unwrap();
    let user = user["user"].as_str().unwrap().to_owned() + "\n";
    remove
        .args(["users", "rm", "-", "--data"])
        .arg(server.data());
    ran(&mut remove, user.as_bytes()).good();
    let told = diverged(&desk, &["push", "--seed"]);
    assert!(
        told["message"]
            .as_str()
            .unwrap()
            .starts_with("nothing was sent")
    );
    desk.run(&["push", "--seed", "--force"]).good();
    assert_eq!(desks.clone_of(&desk, "new").texts(), ["first"]);
    assert_eq!(desk.run(&["push", "--force"]).code, Some(2));
}

#[test]
fn status_asks_with_another_key_and_says_so_before_anything_is_pulled() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let laptop = desks.clone_of(&desk, "laptop");
    let level = desks.clone_of(&desk, "level");
    desk.commit("first");
    desk.run(&["sync"]).good();
    level.run(&["sync"]).good();
    assert_eq!(laptop.told(&["status", "--fetch"]).1["there"]["behind"], 1);
    for device in [&laptop, &level] {
        device.set("key", &"A".repeat(43));
        let (code, told) = device.told(&["status", "--fetch"]);
        assert_eq!((code, &told["error"]), (6, &"wrong-key".into()), "{told}");
        assert_ne!(told["ours"], told["theirs"]);
        let words = told["message"].as_str().unwrap();
        assert!(words.contains("needs the present invite"), "{words}");
        assert!(!words.contains("decrypt"), "{words}");
        // Who asks nobody is told where it stands.
        assert_eq!(device.told(&["status"]).0, 0);
    }
}

#[test]
fn status_tells_when_the_server_was_heard_by_whichever_command() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let heard = |desk: &Desk| {
        desk.told(&["status"]).1["heard"]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(heard(&desk), None);
    assert!(desk.run(&["status"]).good().contains("was never heard"));
    for args in [&["sync"][..], &["pull"], &["status", "--fetch"]] {
        std::fs::write(desk.home("seen"), "2020-01-01T00:00:00Z\n").unwrap();
        desk.run(args).good();
        let now = heard(&desk).unwrap();
        assert!(
            now.starts_with("20") && !now.starts_with("2020"),
            "{args:?}: {now}"
        );
    }
    // Who fails to reach it has not heard it; a file that is damaged tells nothing.
    std::fs::write(desk.home("seen"), "2020-01-01T00:00:00Z\n").unwrap();
    desk.set("url", "http://127.0.0.1:1");
    desk.run(&["sync"]);
    assert_eq!(heard(&desk).unwrap(), "2020-01-01T00:00:00Z");
    std::fs::write(desk.home("seen"), [0xff, 0]).unwrap();
    assert_eq!(heard(&desk), None);
    ran_in(&desk.path, &["status"], "").good();
}
