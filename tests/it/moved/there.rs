//! The program that runs where a user is sent to: killed at each of its commands, and the order of its syncs, which is that of the
//! simulated one in `simulated`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use mentat_sync::upkeep::send::{StopSend, send_to};
use simulated_disk::Reading;
use tempfile::TempDir;

use super::cuts::Boxes;
use super::frozen::{is_moving, users};
use super::sent::{commit, is_sound, send, state, succeeds};
use super::simulated::SimulatedSide;
use crate::kit::{Finished, Server, binary, effort, run_with_deadline, user_id};
use crate::proof::{Client, cast};

const ADA: &str = "ada";

/// The programs that change anything there.
const CHANGING: [&str; 7] = ["sync", "mv", "mkdir", "rm", "touch", "find", "chown"];

/// Programs that stand before those in PATH: each notes what it is called with, and at its so many-th call kills all there instead.
fn noted() -> TempDir {
    let programs = tempfile::tempdir().unwrap();
    let (top, path) = (programs.path().display(), std::env::var("PATH").unwrap());
    for name in CHANGING {
        let places = path.split(':').map(|place| Path::new(place).join(name));
        let real = places.into_iter().find(|place| place.exists()).unwrap();
        let real = real.display();
        let text = format!(
            "#!/bin/sh\nprintf '%s\\n' \"{name} $*\" >>{top}/log\n\
             [ \"$(wc -l <{top}/log)\" != \"$KILL_AT\" ] || kill -9 0\nexec {real} \"$@\"\n"
        );
        let file = programs.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    programs
}

fn send_by(programs: &TempDir, from: &Path, to: &Path, kill_at: usize) -> Finished {
    let _ = fs::remove_file(programs.path().join("log"));
    let path = std::env::var("PATH").unwrap();
    let mut command = binary();
    command
        .args(["users", "send", &user_id(ADA)])
        .arg(to)
        .arg("--data")
        .arg(from);
    command.env("PATH", format!("{}:{path}", programs.path().display()));
    run_with_deadline(command.env("KILL_AT", kill_at.to_string()))
}

#[test]
fn the_program_over_there_is_killed_at_each_command_and_the_user_is_served_here_or_the_next_send_ends_it()
 {
    let (here, there) = (Server::start(), Server::start());
    let (mut from, mut to) = (&here, &there);
    let mut acknowledged = vec![commit(&mut here.device(ADA), "zero").unwrap()];
    let programs = noted();
    let every = effort::chosen("SEND_TEST_EVERY").unwrap_or(effort::either(4, 1));
    let mut seen = std::collections::BTreeSet::new();
    for call in (1..).step_by(every) {
        let ended = send_by(&programs, &from.data(), &to.data(), call);
        let states = (state(&from.data()), state(&to.data()));
        println!("{call} {:?} {states:?}", ended.code);
        if ended.code == Some(0) {
            break;
        }
        // This side is alive, and has the user served again where it may.
        assert!(
            matches!(states.0.as_str(), "served" | "gone"),
            "{states:?} {ended:?}"
        );
        // Ready there before that is known to be durable, it is gone here: the same command again sees to it.
        assert!(
            matches!(states.1.as_str(), "absent" | "gone" | "incoming")
                || states == ("gone".into(), "ready".into()),
            "{states:?}"
        );
        assert!(!ended.stderr.contains(&user_id(ADA)), "{ended:?}");
        if states.0 == "served" {
            assert!(ended.stderr.contains("it is served here"), "{ended:?}");
            acknowledged.push(commit(&mut from.device(ADA), &format!("word {call}")).unwrap());
        } else {
            assert!(ended.stderr.contains("the same command again"), "{ended:?}");
            is_moving(from.device(ADA).get("head"));
        }
        seen.insert(states);
        succeeds(send(&from.data(), &to.data()));
        succeeds(users(&to.data(), &["thaw", &user_id(ADA)]));
        let listed = to.device(ADA).get("transactions").expect(200).json();
        let listed: Vec<String> = serde_json::from_value(listed["transactions"].clone()).unwrap();
        assert_eq!(listed, acknowledged, "{call}");
        is_sound(&to.data());
        std::mem::swap(&mut from, &mut to);
    }
    assert!(seen.len() > 2, "{seen:?}");
}

/// What is done over there, in the words of `tests/model/move.py`: each sync is where the next step needs it.
const ORDER: [&str; 22] = [
    // The folder is there with its word, or not at all.
    "sync all",
    "name folder",
    "sync users",
    "sync word",
    "put move",
    "sync folder",
    "sync word",
    "put frozen",
    "sync folder",
    // After each of the copies while the user is served, and after the rest.
    "sync all",
    // What was there of HEAD goes before anything that it reaches; HEAD comes after all that it reaches is durable.
    "clear HEAD",
    "sync folder",
    "place rest",
    "touch gate",
    "sync all",
    "place CHECKPOINT",
    "place HEAD",
    "sync all",
    "clear tmp",
    // Ready.
    "sync word",
    "put frozen",
    "sync folder",
];

/// The word for a call, by what it is and where it goes; none for what changes nothing that counts.
fn word_of(verb: &str, from: &str, to: &str) -> Option<&'static str> {
    let user = |name: &str| format!("users/{}{name}", cast::user());
    let is = |place: &str, name: &str| place == user(name);
    let in_tmp = from.starts_with(&user("/incoming/tmp/"));
    Some(match verb {
        "sync" if from == "." => "sync all",
        "sync" if from == "users" => "sync users",
        "sync" if is(from, "") => "sync folder",
        "sync" if from.ends_with("/tmp/word") => "sync word",
        "touch" if is(from, "/gate") => "touch gate",
        "rename" if is(to, "") => "name folder",
        "rename" if is(to, "/move") => "put move",
        "rename" if is(to, "/frozen") => "put frozen",
        "rename" if is(to, "/HEAD") => "place HEAD",
        "rename" if is(to, "/CHECKPOINT") => "place CHECKPOINT",
        "rename" if in_tmp && !to.starts_with(&user("/incoming/tmp/")) => "place rest",
        "remove" if is(from, "/HEAD") || is(from, "/CHECKPOINT") => "clear HEAD",
        "remove" if in_tmp => "clear tmp",
        "sync" | "rename" => panic!("{verb} {from} {to}"),
        _ => return None,
    })
}

#[test]
fn the_simulated_side_syncs_and_names_in_this_order() {
    let mut boxes = Boxes::new(Reading::Atomic);
    let seen: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let noted = seen.clone();
    boxes.sims[1].watch(move |step, _| {
        let (verb, from) = match (step.verb, step.place.as_str()) {
            ("sync below", "") => ("sync", "."),
            ("rename", from) if from.ends_with(".part") => return,
            ("remove", from) if from.ends_with("/tmp/word") || from.ends_with(".part") => return,
            other => other,
        };
        let to = step.to.map_or("", |to| to.as_str());
        noted.lock().unwrap().extend(word_of(verb, from, to));
    });
    let name = boxes.next_name();
    let client = Client::new(&boxes.sims[0], None);
    let mut side = SimulatedSide::new(boxes.sims[0].process(), boxes.sims[1].process(), None);
    send_to(
        &client.store,
        &cast::user(),
        &mut side,
        name,
        &StopSend::default(),
    )
    .unwrap();
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.dedup();
    assert_eq!(seen, ORDER);
}

#[test]
fn the_program_over_there_syncs_and_names_in_the_order_of_the_simulated_one() {
    let (here, there) = (Server::start(), Server::start());
    let mut device = here.device(ADA);
    let first = commit(&mut device, "first").unwrap();
    let checkpoint = serde_json::json!({"transaction": first, "chunks": []});
    device.put("checkpoint", checkpoint.to_string()).expect(204);
    let programs = noted();
    let ended = send_by(&programs, &here.data(), &there.data(), 0);
    succeeds(ended);
    let log = fs::read_to_string(programs.path().join("log")).unwrap();
    let log = log.replace(&user_id(ADA), &cast::user().to_string());
    let mut seen = Vec::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let last = words.last().copied().unwrap_or_default();
        let word = match words.as_slice() {
            ["sync", "-f", "."] => word_of("sync", ".", ""),
            ["sync", place] => word_of("sync", place, ""),
            ["touch", place] => word_of("touch", place, ""),
            ["mv", "-t", ..] => Some("place rest"),
            ["mv", _, from, to] => word_of("rename", from, to),
            ["rm", ..] => word_of("remove", last, ""),
            _ => None,
        };
        seen.extend(word);
    }
    seen.dedup();
    assert_eq!(seen, ORDER, "{log}");
}
