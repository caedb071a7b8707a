//! Sends that are told to stop, by a key or by whoever runs them, and sends that are killed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use super::frozen::{is_moving, users};
use super::sent::{commit, is_sound, send, state, succeeds};
use crate::kit::{Server, binary, user_id};

const ADA: &str = "ada";

/// Programs that stand before the real ones in PATH.
struct Programs(TempDir);

impl Programs {
    /// One that is the real one but where this line of a shell's does something else.
    fn of(name: &str, line: &str) -> Self {
        let programs = Self(tempfile::tempdir().unwrap());
        let path = std::env::var("PATH").unwrap();
        let top = programs.0.path().display();
        let text = format!("#!/bin/sh\nTOP={top}\n{line}\nPATH={path} exec {name} \"$@\"\n");
        let file = programs.0.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        programs
    }

    fn path(&self) -> String {
        let path = std::env::var("PATH").unwrap();
        format!("{}:{path}", self.0.path().display())
    }

    /// The process that stands still, once there is one.
    fn still(&self) -> Pid {
        let file = self.0.path().join("still");
        until(|| fs::read_to_string(&file).is_ok_and(|pid| pid.ends_with('\n')));
        let pid = fs::read_to_string(file).unwrap().trim().parse().unwrap();
        Pid::from_raw(pid).unwrap()
    }
}

/// An rsync that stands still at its so many-th run here.
fn rsync_that_stands_still(at: u32) -> Programs {
    Programs::of(
        "rsync",
        &format!(
            "case \" $* \" in *' --server '*) ;; *) echo >>$TOP/runs; if [ $(wc -l <$TOP/runs) = {at} ]; then \
             echo $$ >$TOP/still; exec sleep 600; fi ;; esac"
        ),
    )
}

/// A sync that stands still when it is to make this word durable.
fn sync_that_stands_still(word: &str, seconds: u32) -> Programs {
    Programs::of(
        "sync",
        &format!(
            "case $1 in */tmp/word) if [ ! -e $TOP/still ] && grep -qx {word} \"$1\"; then echo $$ >$TOP/still; sleep {seconds}; fi ;; esac"
        ),
    )
}

fn until(what: impl Fn() -> bool) {
    let since = Instant::now();
    while !what() {
        assert!(since.elapsed() < Duration::from_secs(60), "it never comes");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A send in a group of processes of its own, as a shell has it at a terminal: with the interrupt key as usual, also where
/// these tests run in the background, which has it ignored by all that it begins.
fn begin(from: &Path, to: &Path, programs: &Programs) -> Child {
    let program = binary();
    let mut command = Command::new("env");
    for (name, _) in program.get_envs() {
        command.env_remove(name);
    }
    command
        .arg("--default-signal=INT")
        .arg(program.get_program());
    command.args(["users", "send", &user_id(ADA)]).arg(to);
    command.arg("--data").arg(from).env("PATH", programs.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).spawn().unwrap()
}

/// Ends within this time, whoever else has its pipes open still.
fn ends_within(child: &mut Child, seconds: u64) {
    let since = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(since.elapsed() < Duration::from_secs(seconds), "it goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn end(child: Child) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn runs(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    status.is_ok_and(|status| !status.contains("\nState:\tZ"))
}

struct Boxes {
    here: Server,
    _there: TempDir,
    there: PathBuf,
}

fn boxes() -> Boxes {
    let here = Server::start();
    commit(&mut here.device(ADA), "first").unwrap();
    let top = tempfile::tempdir().unwrap();
    let there = top.path().join("data");
    Boxes {
        here,
        _there: top,
        there,
    }
}

#[test]
fn a_send_that_is_told_to_stop_has_the_user_served_here_again_and_leaves_no_program_behind() {
    // While it is served, and once it is frozen.
    for (at, before) in [(1, "served"), (3, "frozen")] {
        for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
            let boxes = boxes();
            let (here, there) = (boxes.here.data(), &boxes.there);
            let programs = rsync_that_stands_still(at);
            let child = begin(&here, there, &programs);
            let still = programs.still();
            assert_eq!(
                (state(&here), state(there)),
                (before.into(), "incoming".into())
            );
            // A key is for the whole group, a service manager's word for the process alone.
            match signal {
                Signal::INT => kill_process_group(pid(&child), signal).unwrap(),
                _ => kill_process(pid(&child), signal).unwrap(),
            }
            let (code, said) = end(child);
            assert_eq!(code, Some(status), "{said}");
            assert!(
                said.contains("stopped") && said.contains("it is served here"),
                "{said}"
            );
            assert!(!said.contains(&user_id(ADA)), "{said}");
            assert_eq!(
                (state(&here), state(there)),
                ("served".into(), "incoming".into())
            );
            until(|| !runs(still));
            commit(&mut boxes.here.device(ADA), "second").unwrap();
            succeeds(send(&here, there));
            succeeds(users(there, &["thaw", &user_id(ADA)]));
            is_sound(there);
        }
    }
}

#[test]
fn a_user_whom_somebody_else_froze_stays_frozen_when_the_send_stops_and_it_is_said_how_that_ends() {
    let boxes = boxes();
    let (here, there) = (boxes.here.data(), &boxes.there);
    succeeds(users(&here, &["freeze", &user_id(ADA)]));
    let programs = rsync_that_stands_still(3);
    let child = begin(&here, there, &programs);
    programs.still();
    kill_process(pid(&child), Signal::TERM).unwrap();
    let (code, said) = end(child);
    assert_eq!(code, Some(143), "{said}");
    assert!(
        said.contains("it is frozen here") && said.contains("users thaw"),
        "{said}"
    );
    assert_eq!(state(&here), "frozen");
    succeeds(users(&here, &["thaw", &user_id(ADA)]));
    commit(&mut boxes.here.device(ADA), "second").unwrap();
}

/// Nobody else can take that step: so it is taken, unless it is told so twice.
#[test]
fn a_send_that_is_told_to_stop_once_the_user_is_gone_goes_on_to_its_end_unless_it_is_told_twice() {
    let boxes = boxes();
    let (here, there) = (boxes.here.data(), &boxes.there);
    let programs = sync_that_stands_still("ready", 2);
    let child = begin(&here, there, &programs);
    programs.still();
    assert_eq!(
        (state(&here), state(there)),
        ("gone".into(), "incoming".into())
    );
    kill_process_group(pid(&child), Signal::INT).unwrap();
    let (code, said) = end(child);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("goes on to its end"), "{said}");
    assert_eq!(
        (state(&here), state(there)),
        ("gone".into(), "ready".into())
    );

    succeeds(users(there, &["thaw", &user_id(ADA)]));
    let programs = sync_that_stands_still("ready", 20);
    let mut child = begin(there, &here, &programs);
    programs.still();
    kill_process(pid(&child), Signal::INT).unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    kill_process(pid(&child), Signal::INT).unwrap();
    ends_within(&mut child, 10);
    let (code, said) = end(child);
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("the same command again"), "{said}");
    assert_eq!(state(there), "gone");
    is_moving(boxes.here.device(ADA).get("head"));
    // What was left behind holds the lock over there until it ends.
    let again = || users(there, &["send", &user_id(ADA), here.to_str().unwrap()]).code;
    until(|| again() == Some(0));
    succeeds(users(&here, &["thaw", &user_id(ADA)]));
    boxes.here.device(ADA).get("head").expect(200);
}

#[test]
fn a_send_that_is_killed_leaves_the_user_frozen_and_the_next_send_goes_on_or_a_thaw_ends_it() {
    for thaws in [false, true] {
        let boxes = boxes();
        let (here, there) = (boxes.here.data(), &boxes.there);
        let programs = rsync_that_stands_still(3);
        let child = begin(&here, there, &programs);
        let still = programs.still();
        kill_process(pid(&child), Signal::KILL).unwrap();
        drop(end(child));
        kill_process(still, Signal::KILL).unwrap();
        assert_eq!(
            (state(&here), state(there)),
            ("frozen".into(), "incoming".into())
        );
        if thaws {
            succeeds(users(&here, &["thaw", &user_id(ADA)]));
            commit(&mut boxes.here.device(ADA), "second").unwrap();
        }
        succeeds(send(&here, there));
        assert_eq!(
            (state(&here), state(there)),
            ("gone".into(), "ready".into())
        );
        succeeds(users(there, &["thaw", &user_id(ADA)]));
        is_sound(there);
    }
}

#[test]
fn a_send_that_began_with_hangups_ignored_outlives_them() {
    let boxes = boxes();
    let (here, there) = (boxes.here.data(), &boxes.there);
    let programs = Programs::of(
        "sync",
        "if [ ! -e $TOP/still ]; then echo $$ >$TOP/still; sleep 1; fi",
    );
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "trap '' HUP; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_mentat-sync"),
    ]);
    command
        .args(["users", "send", &user_id(ADA)])
        .arg(there)
        .arg("--data")
        .arg(&here);
    command
        .env("PATH", programs.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    programs.still();
    kill_process(pid(&child), Signal::HUP).unwrap();
    let (code, said) = end(child);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        (state(&here), state(there)),
        ("gone".into(), "ready".into())
    );
}
