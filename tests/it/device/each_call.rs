//! Commands that are killed at each system call that leaves something, or that says something to the server: run again,
//! they come to the same end, and what was said stands once.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use serde_json::Value;
use simulated_disk::Random;

use super::{Desk, Desks, address, ran, ran_in};
use crate::faults::strace::{Call, changes, numbered};
use crate::kit::{Finished, Server, binary, effort, run_with_deadline, skipped};

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Init,
    Commit,
    CommitFile,
    CommitFiles,
    Pull,
    Push,
    Rebase,
    Clone,
    Rekey,
    Restore,
    Seed,
    Import,
    Checkpoint,
}

impl Act {
    const ALL: [Act; 13] = [
        Act::Init,
        Act::Commit,
        Act::CommitFile,
        Act::CommitFiles,
        Act::Pull,
        Act::Push,
        Act::Rebase,
        Act::Clone,
        Act::Rekey,
        Act::Restore,
        Act::Seed,
        Act::Import,
        Act::Checkpoint,
    ];

    fn commits(self) -> bool {
        matches!(self, Act::Commit | Act::CommitFile | Act::CommitFiles)
    }
}

/// A device before an act, its server, and what has been said.
struct Scene {
    act: Act,
    server: Server,
    desks: Desks,
    desk: Desk,
    /// Lines that must stand once in the end.
    must: Vec<String>,
    invite: String,
}

fn user_of(desk: &Desk) -> String {
    let text = fs::read_to_string(desk.home("remote")).unwrap();
    let remote: Value = serde_json::from_str(&text).unwrap();
    remote["user"].as_str().unwrap().to_owned()
}

fn copied(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.unwrap().success());
}

impl Scene {
    fn new(act: Act) -> Self {
        let server = Server::start();
        let desks = Desks::new();
        let desk = desks.init("desk", &address(&server));
        let mut scene = Self {
            act,
            server,
            desks,
            desk,
            must: Vec::new(),
            invite: String::new(),
        };
        scene.prepare();
        for (name, bytes) in [("photo", 1_200_000), ("note", 100), ("list", 70_000)] {
            for name in [name.to_owned(), format!("{name}2")] {
                let byte = |n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8;
                let bytes: Vec<u8> = (0..bytes).map(byte).collect();
                fs::write(scene.desk.path.join(name), bytes).unwrap();
            }
        }
        scene
    }

    fn says(&mut self, text: &str) {
        self.desk.commit(text);
        self.must.push(text.to_owned());
    }

    fn syncs(&mut self, text: &str) {
        self.says(text);
        self.desk.run(&["sync"]).good();
    }

    fn prepare(&mut self) {
        match self.act {
            Act::Init => {}
            Act::Commit | Act::CommitFile | Act::CommitFiles | Act::Push => self.says("one"),
            Act::Rekey | Act::Checkpoint => self.syncs("one"),
            Act::Pull | Act::Rebase | Act::Clone => {
                self.syncs("one");
                let other = self.desks.clone_of(&self.desk, "other");
                for text in ["theirs", "theirs too"] {
                    other.commit(text);
                    self.must.push(text.to_owned());
                }
                other.run(&["sync"]).good();
                self.says("two");
                self.says("three");
                if self.act == Act::Clone {
                    self.desk.run(&["sync"]).good();
                    self.invite = self.desk.run(&["invite", "--force"]).good();
                }
            }
            Act::Restore => {
                self.syncs("one");
                let (data, older) = (self.server.data(), self.desks.path("older"));
                copied(&data, &older);
                self.syncs("two");
                self.says("three");
                self.server.kill();
                fs::remove_dir_all(&data).unwrap();
                copied(&older, &data);
                self.moves_to(self.server.another());
            }
            Act::Seed => {
                self.syncs("one");
                self.syncs("two");
                self.moves_to(Server::start());
            }
            Act::Import => {
                self.syncs("one");
                self.says("two");
                fs::rename(&self.desk.path, self.desks.path("old")).unwrap();
                self.server = Server::start();
                self.desk = self.desks.init("desk", &address(&self.server));
            }
        }
    }

    fn moves_to(&mut self, server: Server) {
        self.server = server;
        self.desk.set("url", &address(&self.server));
    }

    fn fresh(&self) -> Desk {
        Desk {
            path: self.desks.path("fresh"),
        }
    }

    /// What is run, and with what on its standard input; `again`: after it was killed.
    fn command(&self, again: bool) -> (Vec<String>, &str, PathBuf) {
        let address = address(&self.server);
        let desk = self.desk.path.clone();
        let here = self.desks.path("");
        let (args, input, at): (Vec<&str>, &str, PathBuf) = match (self.act, again) {
            (Act::Init, _) => (vec!["init", "fresh", "--server", &address], "", here),
            (Act::Commit, false) => (vec!["commit"], "said", desk),
            (Act::Commit, true) => (vec!["commit"], "said again", desk),
            (Act::CommitFile, false) => (vec!["commit", "photo"], "", desk),
            (Act::CommitFile, true) => (vec!["commit", "photo2"], "", desk),
            (Act::CommitFiles, false) => (vec!["commit", "photo", "note", "list"], "", desk),
            (Act::CommitFiles, true) => (vec!["commit", "photo2", "note2", "list2"], "", desk),
            (Act::Pull, _) => (vec!["pull"], "", desk),
            (Act::Push, _) => (vec!["push"], "", desk),
            (Act::Rebase, _) => (vec!["sync"], "", desk),
            (Act::Clone, _) => (
                vec!["clone", "fresh", "--invite-file", "-"],
                &self.invite,
                here,
            ),
            (Act::Rekey, _) => (vec!["rekey", "--force", "--json"], "", desk),
            (Act::Restore, _) => (vec!["push", "--restore"], "", desk),
            (Act::Seed, _) => (vec!["push", "--seed"], "", desk),
            (Act::Import, _) => (vec!["import", "--from", "../old"], "", desk),
            (Act::Checkpoint, _) => (vec!["commit", "--checkpoint", "photo"], "", desk),
        };
        (args.into_iter().map(str::to_owned).collect(), input, at)
    }

    /// What a commit says, as a line.
    fn line(&self, again: bool) -> String {
        let lines = match self.act {
            Act::Commit => ["said", "said again"],
            Act::CommitFile => ["photo", "photo2"],
            _ => ["photo note list", "photo2 note2 list2"],
        };
        lines[usize::from(again)].to_owned()
    }

    /// Runs it under strace; what it said, whether it was killed, and the calls.
    fn traced(&self, inject: Option<String>) -> (Finished, bool, Vec<String>) {
        let (args, input, at) = self.command(false);
        let log = self.desks.path("strace.log");
        let mut command = Command::new("strace");
        let plain = binary();
        command.args(["-f", "-y", "-s", "40", "-o"]).arg(&log);
        if let Some(inject) = inject {
            command.args(["-e", &inject]);
        }
        command
            .arg(plain.get_program())
            .args(args)
            .current_dir(at)
            .stdin(super::stdin(input.as_bytes()));
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.output().unwrap();
        let lines = fs::read_to_string(&log).unwrap();
        let killed = output.status.signal() == Some(9);
        let said = Finished {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        (said, killed, lines.lines().map(str::to_owned).collect())
    }

    /// The device that the act is about.
    fn device(&self) -> Desk {
        match self.act {
            Act::Init | Act::Clone => self.fresh(),
            _ => Desk {
                path: self.desk.path.clone(),
            },
        }
    }

    /// The act is done again after a kill, and everything must be as if there had been none.
    fn goes_on(&mut self, said: &Finished) -> Result<(), String> {
        let mut users = fs::read_dir(self.server.data().join("users")).unwrap();
        let before = users.next().map(|user| user.unwrap().file_name());
        let (args, input, at) = self.command(true);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let again = ran_in(&at, &args, input);
        let is_there = matches!(self.act, Act::Init | Act::Clone)
            && again.code == Some(2)
            && again.stderr.contains("has a replica already");
        if again.code != Some(0) && !is_there {
            return Err(format!("run again: {again:?}"));
        }
        if let Some(before) = before.filter(|_| self.act == Act::Rekey) {
            self.moves_user(&before.to_string_lossy(), &again)?;
        }
        if self.act.commits() {
            self.must.push(self.line(true));
            if !said.stdout.is_empty() {
                self.must.push(self.line(false));
            }
        }
        let device = self.device();
        device.commit("at last");
        self.must.push("at last".to_owned());
        let synced = device.run(&["sync"]);
        if synced.code != Some(0) {
            return Err(format!("a sync after it: {synced:?}"));
        }
        self.judge(&device)
    }

    /// The server's user goes where `rekey` said that it is to go.
    fn moves_user(&self, before: &str, said: &Finished) -> Result<(), String> {
        let told: Value = serde_json::from_str(said.stdout.trim()).unwrap();
        let (old, new) = (told["old"].as_str().unwrap(), told["new"].as_str().unwrap());
        if old != before || new != user_of(&self.desk) {
            return Err(format!("{before} is at the server, and rekey said {told}"));
        }
        let mut command = binary();
        command
            .args(["users", "mv", "-", "-", "--data"])
            .arg(self.server.data());
        let moved = ran(&mut command, format!("{old}\n{new}\n").as_bytes());
        match moved.code {
            Some(0) => Ok(()),
            _ => Err(format!("users mv: {moved:?}")),
        }
    }

    fn judge(&self, device: &Desk) -> Result<(), String> {
        let here = lines(device)?;
        let there = lines(&self.desks.clone_of(device, "judge"))?;
        if here != there {
            return Err(format!("here {here:?}, there {there:?}"));
        }
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for line in &here {
            *times.entry(line).or_default() += 1;
        }
        if let Some((line, times)) = times.iter().find(|(_, times)| **times > 1) {
            return Err(format!("{line:?} stands {times} times: {here:?}"));
        }
        if let Some(lost) = self.must.iter().find(|must| !here.contains(must)) {
            return Err(format!("{lost:?} is lost: {here:?}"));
        }
        for store in [device.home("store"), self.server.data()] {
            let mut fsck = binary();
            fsck.args(["fsck", "--data"]).arg(&store);
            let sound = run_with_deadline(&mut fsck);
            if sound.code != Some(0) {
                return Err(format!("{}: {sound:?}", store.display()));
            }
        }
        // What a day old sync finds of temporary files it takes away.
        let home = device.home("");
        let touched = Command::new("find")
            .arg(&home)
            .args(["-exec", "touch", "-d", "3 days ago", "{}", "+"])
            .status();
        assert!(touched.unwrap().success());
        let synced = device.run(&["sync"]);
        if synced.code != Some(0) {
            return Err(format!("a sync days later: {synced:?}"));
        }
        let left: Vec<_> = files_in(&home)
            .into_iter()
            .filter(|file| is_left(&home, file))
            .collect();
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!("left for good: {left:?}")),
        }
    }
}

/// All files in a directory and those below it.
fn files_in(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(files_in(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files
}

/// Whether a file of `.mentat-sync` is one that nothing has a use for once its writer is gone.
fn is_left(home: &Path, file: &Path) -> bool {
    let below = file.strip_prefix(home).unwrap();
    let words: Vec<_> = below.iter().map(|word| word.to_string_lossy()).collect();
    match words.as_slice() {
        [name] => {
            !["remote", "config", "lock", "putting", "seen", "renamed"].contains(&name.as_ref())
        }
        [_, place, ..] if ["tmp", "trash"].contains(&place.as_ref()) => true,
        words => words.iter().any(|word| word == "tmp") && words.len() > 2,
    }
}

/// What the journal of a device has, a line an entry.
fn lines(device: &Desk) -> Result<Vec<String>, String> {
    let all = device.run(&["follow", "--once", "--offline", "--pending"]);
    if all.code != Some(0) {
        return Err(format!("follow: {all:?}"));
    }
    let lines = all
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let words = lines.filter_map(|line| match (&line["text"], &line["files"]) {
        (Value::String(text), _) => Some(text.clone()),
        (_, Value::Array(files)) => {
            let names = files.iter().map(|file| file["name"].as_str().unwrap());
            Some(names.collect::<Vec<_>>().join(" "))
        }
        _ => None,
    });
    Ok(words.collect())
}

/// The calls of an act after which something else is there, here or at the server.
fn calls(act: Act) -> Vec<Call> {
    let scene = Scene::new(act);
    let (said, _, lines) = scene.traced(None);
    assert_eq!(said.code, Some(0), "{act:?}: {said:?}");
    let all = numbered(&lines).into_iter();
    let calls = all.map(|(name, nth, line)| Call { name, nth, line });
    let matters = |call: &Call| {
        let network = ["connect", "sendto", "sendmsg", "recvfrom", "writev"];
        changes(call) || network.contains(&call.name.as_str()) || call.name == "mkdir"
    };
    calls.filter(matters).collect()
}

fn said_by(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| "a command failed".to_owned())
}

/// Kills an act at this call. Whether it died of it; the error is what went wrong after.
fn killed_at(act: Act, call: &Call) -> Result<bool, String> {
    let mut scene = Scene::new(act);
    let inject = format!("inject={}:signal=KILL:when={}", call.name, call.nth);
    let (said, killed, _) = scene.traced(Some(inject));
    if !killed && said.code != Some(0) {
        return Err(format!("it ended by itself: {said:?}"));
    }
    scene.goes_on(&said).map(|()| killed)
}

#[test]
fn a_command_that_is_killed_at_any_call_is_run_again_and_nothing_is_lost_or_said_twice() {
    let strace = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    if !strace.is_ok_and(|ran| ran.status.success()) {
        skipped(
            "commands of a device killed at each call",
            "strace cannot trace here",
        );
        return;
    }
    let whole = effort::chosen::<String>("DEVICE_TEST").as_deref() == Some("full");
    let seed: u64 = effort::chosen("MENTAT_SYNC_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap().as_secs()
    });
    let only: Option<String> = effort::chosen("DEVICE_TEST_ONLY");
    let mut random = Random(seed);
    let each = effort::either(1, 6);
    let (mut kills, mut missed, mut wrong) = (0, 0, Vec::new());
    let begun = Instant::now();
    for act in Act::ALL {
        if only
            .as_ref()
            .is_some_and(|only| *only != format!("{act:?}"))
        {
            continue;
        }
        let mut calls = calls(act);
        let of = calls.len();
        while !whole && calls.len() > each {
            calls.swap_remove(random.below(calls.len()));
        }
        println!("{act:?}: {} of {of} calls", calls.len());
        for call in calls {
            let ended = catch_unwind(AssertUnwindSafe(|| killed_at(act, &call)));
            match ended.unwrap_or_else(|panic| Err(said_by(&*panic))) {
                Ok(true) => kills += 1,
                Ok(false) => missed += 1,
                Err(what) => {
                    println!("{act:?}, killed at {call}: {what}");
                    wrong.push(format!("{act:?}, killed at {call}: {what}"));
                }
            }
        }
    }
    println!(
        "device-test: MENTAT_SYNC_SEED={seed}: {kills} kills in {:.0} s, {missed} missed; {} violations",
        begun.elapsed().as_secs_f64(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "MENTAT_SYNC_SEED={seed}: {wrong:#?}");
    assert!(kills > 3 && kills > 4 * missed, "too few to be a test");
}
