//! Each exit status and each word for programs.

use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use super::{Desk, Desks, address, ran_in};
use crate::kit::{Device, Server, binary, chunk, transaction_json};

#[track_caller]
fn is_told(desk: &Desk, args: &[&str], status: i32, word: &str) -> Value {
    let (code, object) = desk.told(args);
    assert_eq!(
        (code, &object["error"]),
        (status, &word.into()),
        "{args:?}: {object}"
    );
    assert!(
        object["message"]
            .as_str()
            .is_some_and(|words| !words.is_empty())
    );
    let ran = desk.run(args);
    assert_eq!((ran.code, &*ran.stdout), (Some(status), ""), "{args:?}");
    assert!(ran.stderr.starts_with("mentat-sync: "), "{ran:?}");
    object
}

/// A copy of a directory, as of a box that is restored from it.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.unwrap().success());
}

/// A server with a directory as it was before.
fn restored(server: Server, before: &std::path::Path) -> Server {
    let top = Arc::new(tempfile::tempdir().unwrap());
    copy(before, &top.path().join("data"));
    drop(server);
    Server::on(top, &[])
}

#[test]
fn where_stdout_is_full_the_status_and_stderr_tell_and_what_was_committed_is() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    for json in [&[][..], &["--json"]] {
        for (args, words) in [(&["commit"][..], "it is committed"), (&["status"], "")] {
            let full = std::fs::File::options().write(true).open("/dev/full");
            let mut command = binary();
            command.args(args).args(json).current_dir(&desk.path);
            let ran = command
                .stdin(super::stdin(b"milk"))
                .stdout(full.unwrap())
                .output();
            let ran = ran.unwrap();
            let said = String::from_utf8(ran.stderr).unwrap();
            assert_eq!(ran.status.code(), Some(1), "{said}");
            let is_told = said.starts_with("mentat-sync: cannot write to stdout: ");
            assert!(is_told && said.contains(words), "{args:?}: {said}");
        }
    }
    assert_eq!(desk.texts(), ["milk", "milk"]);
}

#[test]
fn one_is_a_failure_refused_forged_or_damaged() {
    let server = Server::with(&["--new-users", "deny"]);
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let id = desk.commit("milk");
    is_told(&desk, &["cat", "00000000"], 1, "failed");
    is_told(&desk, &["commit", "not-there"], 1, "failed");
    let refused = is_told(&desk, &["sync"], 1, "refused");
    assert_eq!(
        (&refused["code"], &refused["status"]),
        (&"unknown-user".into(), &403.into())
    );
    // A byte of the entry's chunk is another one.
    let found = Command::new("find")
        .args(["-type", "f", "-path", "*/chunks/*"])
        .current_dir(&desk.path)
        .output();
    let found = String::from_utf8(found.unwrap().stdout).unwrap();
    let path = desk.path.join(found.lines().next().unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[70] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (code, _) = desk.told(&["cat", &id]);
    assert_eq!(code, 1);
    std::fs::write(desk.home("remote"), "{}").unwrap();
    is_told(&desk, &["status"], 1, "damaged");
    std::fs::set_permissions(
        desk.home("remote"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let loose = is_told(&desk, &["status"], 1, "damaged");
    assert!(
        loose["message"].as_str().unwrap().contains("chmod 600"),
        "{loose}"
    );
}

#[test]
fn what_no_device_said_is_forged_and_nothing_of_it_is_taken() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("milk");
    desk.run(&["sync"]).good();
    let (_, status) = desk.told(&["status"]);
    // Somebody who knows the user's id, and not the key.
    let user = std::fs::read_dir(server.data().join("users"))
        .unwrap()
        .next()
        .unwrap();
    let mut stranger = Device::new(
        server.address(),
        user.unwrap().file_name().to_str().unwrap(),
    );
    let rubbish = chunk("rubbish");
    stranger.put_chunk(&rubbish).expect(201);
    let id = "11111111-1111-4111-8111-111111111111";
    let parent = status["head"].as_str().unwrap();
    stranger
        .put(
            &format!("transactions/{id}"),
            transaction_json(parent, &[&rubbish.id]),
        )
        .expect(201);
    stranger.put_head(id).expect(204);
    let forged = is_told(&desk, &["pull"], 1, "forged");
    assert_eq!(forged["transaction"], id);
    assert_eq!(desk.run(&["follow", "--once"]).code, Some(1));
    assert_eq!(desk.texts(), ["milk"]);
}

#[test]
fn two_is_wrong_usage() {
    let desks = Desks::new();
    let desk = desks.init("desk", "http://127.0.0.1:1");
    is_told(&desk, &["invite"], 2, "usage");
    is_told(&desk, &["cat", "xyz"], 2, "usage");
    is_told(&desk, &["cat", "abc"], 2, "usage");
    is_told(&desk, &["commit", "."], 2, "usage");
    is_told(
        &desk,
        &["init", "--server", "http://127.0.0.1:1"],
        2,
        "usage",
    );
    is_told(&desk, &["clone"], 2, "usage");
    for (invite, words) in [
        ("https://a.example/#ms1ABCDE-FGHJK", "typo"),
        ("milk", "no invite"),
        ("", "no invite"),
    ] {
        let bad = ran_in(
            &desks.path(""),
            &["clone", "new", "--invite-file", "-"],
            invite,
        );
        assert_eq!(bad.code, Some(2), "{bad:?}");
        assert!(bad.stderr.contains(words), "{bad:?}");
        assert!(!desks.path("new").exists());
    }
    let given = ran_in(
        &desks.path(""),
        &["clone", "https://a.example/#ms1ABCDE"],
        "",
    );
    assert_eq!(given.code, Some(2));
    assert!(!given.stderr.contains("ABCDE"), "{given:?}");
    let asked = ran_in(&desks.path(""), &["clone", "new"], "");
    assert!(asked.stderr.contains("--invite-file -"), "{asked:?}");
    let nowhere = ran_in(&desks.path(""), &["status"], "");
    assert_eq!(nowhere.code, Some(2));
    for url in ["ftp://a.example", "https://u:hunter2@a.example"] {
        let bad = ran_in(&desks.path(""), &["init", "new", "--server", url], "");
        assert_eq!(bad.code, Some(2), "{bad:?}");
    }
    let other = ran_in(&desk.path, &["-C", ".", "users"], "");
    assert_eq!(other.code, Some(2), "{other:?}");
}

#[test]
fn arguments_that_are_none_are_told_in_json_too_and_never_with_the_secret_in_them() {
    let desks = Desks::new();
    let desk = desks.init("desk", "http://127.0.0.1:1");
    for args in [
        &["sync", "--not-there"][..],
        &["-C", "status", "pull", "--not-there"],
        &["-Cstatus", "pull", "--not-there"],
        &["push", "--seed", "--restore"],
        &["init"],
        &["init", "--server", "ftp://a.example"],
        &["cat"],
        &["follow", "--from"],
        &["commit", "a", "--checkpoint", "b"],
    ] {
        let object = is_told_usage(&desk, args);
        let words = object["message"].as_str().unwrap();
        assert!(!words.starts_with("error"), "{words}");
        let ran = desk.run(args);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{args:?}");
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    }
    // No device's command, and no flag: clap's words as ever.
    for args in [
        &["users", "--json", "--not-there"][..],
        &["-C", "sync", "--json"],
        &["cat", "--", "a", "--json"],
    ] {
        let ran = desk.run(args);
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{args:?}");
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    }
    for args in [&["sync", "--help", "--json"][..], &["--version"]] {
        assert_eq!(desk.run(args).code, Some(0), "{args:?}");
    }
    let invite = desk.run(&["invite", "--force"]).good();
    let invite = invite.trim();
    let secret = invite.split_once("#ms1").unwrap().1;
    for args in [
        &["clone", "new", invite][..],
        &["clone", "--invite", invite],
        &["clone", invite, "--not-there"],
        &["sync", "one", invite],
        &[invite],
    ] {
        let ran = desk.run(args);
        assert_eq!(ran.code, Some(2), "{args:?}");
        let said = ran.stdout + &ran.stderr;
        assert!(!said.contains(&secret[..11]), "{said}");
        assert!(said.contains("no argument"), "{said}");
    }
    let object = is_told_usage(&desk, &["clone", "new", invite]);
    assert!(!object.to_string().contains(&secret[..11]), "{object}");
}

#[track_caller]
fn is_told_usage(desk: &Desk, args: &[&str]) -> Value {
    // Among the flags: a flag that wants a value would take it at the end.
    let at = args
        .iter()
        .position(|word| ["pull", "follow"].contains(word));
    let (before, after) = args.split_at(at.unwrap_or_default() + 1);
    let args = [before, &["--json"], after].concat();
    let ran = desk.run(&args);
    assert_eq!((ran.code, &*ran.stderr), (Some(2), ""), "{args:?}: {ran:?}");
    assert_eq!(ran.stdout.lines().count(), 1, "{args:?}");
    let object: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(object["error"], "usage", "{object}");
    object
}

#[test]
fn three_is_offline_and_all_but_the_network_works() {
    let desks = Desks::new();
    let desk = desks.init("desk", "http://127.0.0.1:1");
    let id = desk.commit("milk");
    for command in ["sync", "pull", "push"] {
        is_told(&desk, &[command], 3, "offline");
    }
    is_told(&desk, &["status", "--fetch"], 3, "offline");
    let said = desk.run(&["follow", "--once", "--pending"]);
    assert_eq!(said.code, Some(3));
    assert!(said.stdout.contains("milk"), "{said:?}");
    assert_eq!(desk.run(&["cat", &id]).good(), "milk");
    assert!(
        desk.run(&["status"])
            .good()
            .contains("pending   1 transaction")
    );
    let line = desk.run(&["follow", "--once", "--offline"]).good();
    assert_eq!(line, "", "what is pending is not confirmed");
    desk.run(&["invite", "--force", "--qr"]).good();
}

#[test]
fn four_is_a_push_as_it_is_that_others_were_quicker_than() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let laptop = desks.clone_of(&desk, "laptop");
    desk.commit("first");
    desk.run(&["push", "--no-rebase"]).good();
    laptop.commit("second");
    is_told(&laptop, &["push", "--no-rebase"], 4, "busy");
    laptop.run(&["push"]).good();
    assert_eq!(laptop.texts(), ["first", "second"]);
}

#[test]
fn five_is_a_server_that_went_back_and_there_is_a_way_out() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("first");
    desk.run(&["sync"]).good();
    let before = desks.path("before");
    copy(&server.data(), &before);
    desk.commit("second");
    desk.run(&["sync"]).good();
    let server = restored(server, &before);
    desk.set("url", &address(&server));
    desk.commit("third");
    for args in [
        &["sync"][..],
        &["push"],
        &["push", "--no-rebase"],
        &["status", "--fetch"],
    ] {
        let parted = is_told(&desk, args, 5, "diverged");
        assert_eq!(
            (&parted["how"], &parted["ours"]),
            (&"rollback".into(), &1.into())
        );
    }
    assert!(desk.run(&["sync"]).stderr.contains("push --restore"));
    is_told(&desk, &["push", "--seed"], 5, "diverged");
    desk.run(&["push", "--restore"]).good();
    desk.run(&["sync"]).good();
    assert_eq!(
        desks.clone_of(&desk, "new").texts(),
        ["first", "second", "third"]
    );
}

#[test]
fn five_is_a_fork_and_what_was_lost_is_said_again() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("first");
    desk.run(&["sync"]).good();
    let laptop = desks.clone_of(&desk, "laptop");
    let before = desks.path("before");
    copy(&server.data(), &before);
    desk.commit("second");
    desk.run(&["sync"]).good();
    let server = restored(server, &before);
    for device in [&desk, &laptop] {
        device.set("url", &address(&server));
    }
    laptop.commit("elsewhere");
    laptop.run(&["sync"]).good();
    let parted = is_told(&desk, &["sync"], 5, "diverged");
    assert_eq!(parted["how"], "fork");
    let new = desks.clone_of(&laptop, "new");
    let import = ["import", "--from", desk.path.to_str().unwrap()];
    new.run(&import).good();
    let (_, again) = new.told(&import);
    assert_eq!((&again["said"], &again["there"]), (&0.into(), &1.into()));
    new.run(&["sync"]).good();
    assert_eq!(new.texts(), ["first", "elsewhere", "second"]);
}

#[test]
fn five_is_a_server_that_knows_nothing_and_any_device_fills_it() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    desk.commit("first");
    desk.run(&["sync"]).good();
    drop(server);
    let server = Server::start();
    desk.set("url", &address(&server));
    let parted = is_told(&desk, &["pull"], 5, "diverged");
    assert_eq!(
        (&parted["how"], &parted["common"]),
        (&"empty".into(), &Value::Null)
    );
    is_told(&desk, &["push", "--restore"], 5, "diverged");
    desk.run(&["push", "--seed"]).good();
    assert_eq!(desks.clone_of(&desk, "new").texts(), ["first"]);
}

#[test]
fn six_is_another_key() {
    let server = Server::start();
    let desks = Desks::new();
    let desk = desks.init("desk", &address(&server));
    let laptop = desks.clone_of(&desk, "laptop");
    laptop.set("key", &"A".repeat(43));
    desk.commit("first");
    desk.run(&["sync"]).good();
    let told = is_told(&laptop, &["sync"], 6, "wrong-key");
    assert_ne!(told["ours"], told["theirs"]);
    assert_eq!(laptop.texts(), [""; 0]);
}
