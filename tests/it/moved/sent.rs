use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::frozen::{is_moving, users};
use crate::backups::other_machine;
use crate::kit::effort;
use crate::kit::{
    Device, Ending, Finished, Server, binary, chunk, run_with_deadline, skipped, transaction_id,
    tree, user_id,
};

const ADA: &str = "ada";

pub fn send(from: &Path, to: &Path) -> Finished {
    users(from, &["send", &user_id(ADA), to.to_str().unwrap()])
}

/// Sends beside what a killed send may have left over there, which has the lock until it ends: on a slow disk for longer than a
/// send waits.
fn send_after_a_kill(from: &Path, to: &Path) -> Finished {
    let since = Instant::now();
    loop {
        let sent = send(from, to);
        if !sent.stderr.contains("is under way") || since.elapsed() > Duration::from_secs(60) {
            return sent;
        }
    }
}

#[track_caller]
pub fn succeeds(ended: Finished) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

/// The word of a user's file `frozen`; `served` without one, `absent` without a folder.
pub fn state(data: &Path) -> String {
    let folder = data.join("users").join(user_id(ADA));
    match fs::read_to_string(folder.join("frozen")) {
        Ok(word) => word.trim_end().to_owned(),
        Err(_) if folder.exists() => "served".to_owned(),
        Err(_) => "absent".to_owned(),
    }
}

/// Commits a transaction of one chunk after HEAD; its id once it is acknowledged.
pub fn commit(device: &mut Device, word: &str) -> Option<String> {
    let head = device.get("head");
    if head.status != 200 {
        is_moving(head);
        return None;
    }
    let head = head.json()["head"].as_str().unwrap().to_owned();
    let (id, one) = (transaction_id(word), chunk(word));
    let put = device.put_chunk(&one);
    if put.status != 201 {
        is_moving(put);
        return None;
    }
    let put = device.put_transaction(&id, &head, &[&one.id]);
    if put.status != 201 {
        is_moving(put);
        return None;
    }
    let put = device.put_head(&id);
    match put.status {
        204 => Some(id),
        _ => {
            is_moving(put);
            None
        }
    }
}

#[track_caller]
pub fn is_sound(data: &Path) {
    let fsck = run_with_deadline(binary().args(["fsck", "--data"]).arg(data));
    assert_eq!(fsck.code, Some(0), "{fsck:?}");
}

#[test]
fn a_user_moves_there_and_back_with_all_that_was_acknowledged_pending_or_not() {
    let (here, there) = (Server::start(), Server::start());
    let mut device = here.device(ADA);
    let first = commit(&mut device, "first").unwrap();
    let (second, pending) = (transaction_id("second"), chunk("pending"));
    device.put_chunk(&pending).expect(201);
    device
        .put_transaction(&second, &first, &[&pending.id])
        .expect(201);
    let checkpoint = serde_json::json!({"transaction": first, "chunks": [pending.id]});
    device.put("checkpoint", checkpoint.to_string()).expect(204);
    succeeds(users(&here.data(), &["name", &user_id(ADA), "phone"]));

    let said = succeeds(send(&here.data(), &there.data()));
    // The proxy's map goes by the first digits. The rest is a secret.
    let digits = &user_id(ADA)[..8];
    assert!(
        said.contains(&format!("users thaw {digits} "))
            && said.contains(&format!("a line for {digits},")),
        "{said}"
    );
    assert!(!said.contains(&user_id(ADA)), "{said}");
    assert_eq!(
        (state(&here.data()), state(&there.data())),
        ("gone".into(), "ready".into())
    );
    is_moving(device.get("head"));
    is_moving(there.device(ADA).get("head"));
    let left: BTreeSet<String> = fs::read_dir(here.folder(ADA))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !left.contains("HEAD") && !left.contains("chunks"),
        "{left:?}"
    );
    is_sound(&there.data());
    succeeds(users(&there.data(), &["thaw", "phone"]));
    let mut moved = there.device(ADA);
    assert_eq!(moved.head(), (first.clone(), 1));
    moved.get(&format!("chunks/{}", pending.id)).expect(200);
    assert_eq!(
        moved.get("checkpoint").expect(200).json()["transaction"],
        first
    );
    moved.put_head(&second).expect(204);
    is_moving(device.get("head"));

    // Again: it is there, and stays. And back, into the folder that is gone.
    let before = tree(&there.folder(ADA));
    succeeds(send(&here.data(), &there.data()));
    assert_eq!(tree(&there.folder(ADA)), before);
    succeeds(send(&there.data(), &here.data()));
    succeeds(users(&here.data(), &["thaw", &user_id(ADA)]));
    assert_eq!(device.head(), (second, 2));
    is_moving(moved.get("head"));
    for data in [here.data(), there.data()] {
        is_sound(&data);
    }
    // Who is there and served is no place for a copy.
    succeeds(users(&there.data(), &["rm", "--yes", &user_id(ADA)]));
    commit(&mut moved, "another life").unwrap();
    let ended = send(&here.data(), &there.data());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("served there"), "{ended:?}");
    assert_eq!(
        (state(&here.data()), state(&there.data())),
        ("served".into(), "served".into())
    );
}

#[test]
fn a_user_is_sent_over_ssh_and_one_that_cannot_be_is_served_here_again() {
    let (here, there) = (Server::start(), tempfile::tempdir().unwrap());
    let mut device = here.device(ADA);
    let first = commit(&mut device, "first").unwrap();
    let ssh = other_machine();
    let path = format!(
        "{}:{}",
        ssh.path().display(),
        std::env::var("PATH").unwrap()
    );
    let over_ssh = |path: &str| {
        let mut command = binary();
        command.args([
            "users",
            "send",
            &user_id(ADA),
            &format!("box:{}", there.path().display()),
        ]);
        run_with_deadline(command.arg("--data").arg(here.data()).env("PATH", path))
    };
    // An rsync that fails once the user is frozen: the third time that it is run.
    let bin = tempfile::tempdir().unwrap();
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' --server '*) ;; *) echo >>{0}/runs; [ $(wc -l <{0}/runs) -lt 3 ] || exit 12 ;; esac\nPATH={1} exec rsync \"$@\"\n",
        bin.path().display(),
        path
    );
    fs::write(bin.path().join("rsync"), script).unwrap();
    fs::set_permissions(
        bin.path().join("rsync"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let ended = over_ssh(&format!("{}:{path}", bin.path().display()));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(
        (state(&here.data()), state(there.path())),
        ("served".into(), "incoming".into())
    );
    assert_eq!(device.head(), (first.clone(), 1));
    let second = commit(&mut device, "second").unwrap();
    // One that an operator froze before stays frozen.
    succeeds(users(&here.data(), &["freeze", &user_id(ADA)]));
    let ended = over_ssh(&format!("{}:{path}", bin.path().display()));
    assert_eq!(
        (ended.code, state(&here.data())),
        (Some(1), "frozen".to_owned()),
        "{ended:?}"
    );
    succeeds(over_ssh(&path));
    assert_eq!(
        (state(&here.data()), state(there.path())),
        ("gone".into(), "ready".into())
    );
    succeeds(users(there.path(), &["thaw", &user_id(ADA)]));
    let head = fs::read_to_string(there.path().join("users").join(user_id(ADA)).join("HEAD"));
    assert_eq!(head.unwrap().trim_end(), second);
    is_sound(there.path());
}

/// A HEAD of the same length and second, and bytes that were changed there: what counts is the content.
#[test]
fn what_an_earlier_try_left_there_is_compared_by_content() {
    let here = Server::start();
    let mut device = here.device(ADA);
    let first = commit(&mut device, "first").unwrap();
    let there = tempfile::tempdir().unwrap();
    let (from, to) = (
        here.folder(ADA),
        there.path().join("users").join(user_id(ADA)),
    );
    fs::create_dir_all(&to).unwrap();
    fs::write(there.path().join("FORMAT"), "mentat-sync 1\n").unwrap();
    fs::write(to.join("frozen"), "incoming\n").unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(&to)
        .status()
        .unwrap();
    assert!(copied.success());
    let one = chunk("first");
    for (file, wrong) in [
        ("HEAD".to_owned(), format!("{}\n", transaction_id("wrong"))),
        (
            format!("chunks/{}/{}", &one.id[..2], one.id),
            "fIrst".to_owned(),
        ),
    ] {
        fs::write(to.join(&file), wrong).unwrap();
        let same = Command::new("touch")
            .arg("-r")
            .arg(from.join(&file))
            .arg(to.join(&file))
            .status();
        assert!(same.unwrap().success());
    }
    succeeds(send(&here.data(), there.path()));
    succeeds(users(there.path(), &["thaw", &user_id(ADA)]));
    let head = fs::read_to_string(to.join("HEAD")).unwrap();
    assert_eq!(head.trim_end(), first);
    is_sound(there.path());
}

/// Each call that changes names or syncs, on this side, is once the last one; whatever is left, the user is on one side at most,
/// and a send that is repeated ends it.
#[test]
fn a_send_that_is_killed_at_any_step_is_taken_up_by_the_next_and_never_are_both_thawed() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skipped("sends that are killed at each step", "strace is not here");
    }
    let (here, there) = (Server::start(), Server::start());
    let mut device = here.device(ADA);
    let mut words = 0;
    let mut acknowledged = Vec::new();
    let mut seen = BTreeSet::new();
    let (mut from, mut to) = (&here, &there);
    commit(&mut device, "zero")
        .map(|id| acknowledged.push(id))
        .unwrap();
    // One call after the other takes half an hour: SEND_TEST_EVERY=1 does.
    let every = effort::chosen("SEND_TEST_EVERY").unwrap_or(effort::either(7, 5));
    for call in (1..).step_by(every) {
        let mut command = Command::new("strace");
        let calls = "renameat2,renameat,rename,unlinkat,fsync,fdatasync,syncfs";
        command.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:signal=KILL:when={call}")]);
        command.arg(env!("CARGO_BIN_EXE_mentat-sync"));
        command
            .args(["users", "send", &user_id(ADA)])
            .arg(to.data())
            .arg("--data")
            .arg(from.data());
        let killed = run_with_deadline(&mut command).code != Some(0);
        let states = (state(&from.data()), state(&to.data()));
        println!("{call} {killed} {states:?}");
        let may_thaw = |state: &str| matches!(state, "served" | "frozen" | "ready");
        assert!(
            may_thaw(&states.0) as u8 + may_thaw(&states.1) as u8 <= 1,
            "{call}: {states:?}"
        );
        seen.insert(states.clone());
        // What is served meanwhile goes on.
        if states.0 == "served" {
            words += 1;
            acknowledged.extend(commit(&mut from.device(ADA), &format!("word {words}")));
        }
        succeeds(send(&from.data(), &to.data()));
        assert_eq!(
            (state(&from.data()), state(&to.data())),
            ("gone".into(), "ready".into())
        );
        is_moving(to.device(ADA).get("head"));
        succeeds(users(&to.data(), &["thaw", &user_id(ADA)]));
        let listed = to.device(ADA).get("transactions").expect(200).json();
        let listed: Vec<String> = serde_json::from_value(listed["transactions"].clone()).unwrap();
        assert_eq!(listed, acknowledged, "{call}");
        std::mem::swap(&mut from, &mut to);
        if !killed {
            break;
        }
    }
    for state in ["served", "frozen", "gone"] {
        assert!(
            seen.iter().any(|(here, _)| here == state),
            "{state} among {seen:?}"
        );
    }
    is_sound(&from.data());
}

/// Moved back and forth under writers, with sends that are killed: what was acknowledged is there, and nothing else.
#[test]
fn acknowledged_minus_found_is_zero_after_moves_under_full_load() {
    let boxes = [Server::start(), Server::start()];
    let home = Mutex::new(0);
    let ends = AtomicBool::new(false);
    let acknowledged = Mutex::new(BTreeSet::new());
    succeeds(users(&boxes[0].data(), &["add", &user_id(ADA)]));
    thread::scope(|scope| {
        for writer in 0..3 {
            let (boxes, home, ends, acknowledged) = (&boxes, &home, &ends, &acknowledged);
            scope.spawn(move || {
                for round in 0.. {
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    let at = *home.lock().unwrap();
                    let mut device = boxes[at].device(ADA);
                    let head = device.get("head");
                    if head.status != 200 {
                        is_moving(head);
                        thread::sleep(Duration::from_millis(2));
                        continue;
                    }
                    let head = head.json()["head"].as_str().unwrap().to_owned();
                    let id = transaction_id(&format!("{writer} {round}"));
                    if device.put_transaction(&id, &head, &[]).status == 201
                        && device.put_head(&id).status == 204
                    {
                        acknowledged.lock().unwrap().insert(id);
                    }
                }
            });
        }
        let _ending = Ending(&ends);
        for turn in 0..6 {
            let at = *home.lock().unwrap();
            let (from, to) = (&boxes[at], &boxes[1 - at]);
            let mut killed = binary();
            killed
                .args(["users", "send", &user_id(ADA)])
                .arg(to.data())
                .arg("--data")
                .arg(from.data());
            let mut killed = killed.spawn().unwrap();
            thread::sleep(Duration::from_millis(60 * turn));
            killed.kill().unwrap();
            killed.wait().unwrap();
            succeeds(send_after_a_kill(&from.data(), &to.data()));
            succeeds(users(&to.data(), &["thaw", &user_id(ADA)]));
            *home.lock().unwrap() = 1 - at;
            thread::sleep(Duration::from_millis(100));
        }
    });
    let last = &boxes[*home.lock().unwrap()];
    let listed = last.device(ADA).get("transactions").expect(200).json();
    let found: BTreeSet<String> = serde_json::from_value(listed["transactions"].clone()).unwrap();
    let acknowledged = acknowledged.into_inner().unwrap();
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "{} of {}", lost.len(), acknowledged.len());
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    is_sound(&last.data());
}

#[test]
fn copies_keep_who_is_frozen_and_of_who_is_elsewhere_no_more_than_the_word() {
    let server = Server::start();
    commit(&mut server.device(ADA), "first").unwrap();
    let top = tempfile::tempdir().unwrap();
    let copy = top.path().join("copy");
    for (turn, word) in ["served", "frozen", "ready", "gone", "incoming", "served"]
        .into_iter()
        .enumerate()
    {
        let file = server.folder(ADA).join("frozen");
        match word {
            "served" => drop(fs::remove_file(&file)),
            word => fs::write(&file, format!("{word}\n")).unwrap(),
        }
        let snapshot = top.path().join(format!("snapshot {turn}"));
        for (command, to) in [("backup", &copy), ("snapshot", &snapshot)] {
            let ended = run_with_deadline(
                binary()
                    .arg(command)
                    .arg(to)
                    .arg("--data")
                    .arg(server.data()),
            );
            assert_eq!(ended.code, Some(0), "{command} {word}: {ended:?}");
            assert_eq!(state(to), word, "{command}");
            is_sound(to);
            let drill = run_with_deadline(binary().arg("drill").arg(to));
            assert_eq!(drill.code, Some(0), "{command} {word}: {drill:?}");
        }
        let head = snapshot.join("users").join(user_id(ADA)).join("HEAD");
        assert_eq!(
            head.exists(),
            !matches!(word, "gone" | "incoming"),
            "{word}"
        );
        // No user that a backup has ever goes.
        assert!(copy.join("users").join(user_id(ADA)).join("HEAD").exists());
    }
    // Who is elsewhere from the first is a word from the first.
    fs::write(server.folder(ADA).join("frozen"), "gone\n").unwrap();
    fs::remove_file(server.folder(ADA).join("HEAD")).unwrap();
    let fresh = top.path().join("fresh");
    let ended = run_with_deadline(
        binary()
            .arg("backup")
            .arg(&fresh)
            .arg("--data")
            .arg(server.data()),
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(state(&fresh), "gone");
    is_sound(&fresh);
}
