//! Copies of a store whose users come, go and change names meanwhile: one that says it is good is good.
//!
//! Two devices write at full speed. One user is renamed and renamed back in a loop, one is deleted and made anew, others
//! come; and `gc --grace 0s` runs. Nobody here is in step with a copy.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mentat_sync::disk::{Grouping, Real};
use mentat_sync::store::{Options, Store};
use mentat_sync::upkeep::fsck;

use super::{WRITERS, backup, beside_writers, copies, id, sound};
use crate::kit::{
    Chunk, Finished, ROOT, Server, binary, chunk, run_with_deadline, transaction_id, user_id,
};
use crate::stock::{StopAtEnd, check};

/// The two names of the user who is renamed.
const RENAMED: [&str; 2] = ["cat", "cat by another name"];

/// How long that user's chain is.
const LENGTH: u64 = 60;

/// The user who is deleted and made anew.
const ANEW: &str = "dan";

/// How long that user's chain becomes, each time.
const LIFE: u64 = 25;

/// The most users who come; of so many transactions each.
const COMERS: u64 = 60;
const COMES_WITH: u64 = 4;

/// What has been acknowledged.
#[derive(Default)]
struct Acknowledged {
    came: AtomicU64,
    lives: AtomicU64,
    renames: AtomicU64,
}

/// A user's chain of this length, made through the server.
fn populate(server: &Server, user: &str, length: u64, words: &str) {
    let mut device = server.device(user);
    let mut parent = ROOT.to_owned();
    for seq in 1..=length {
        let next = id(user, seq);
        device.commit(&next, &parent, &[&content(user, seq, words)]);
        parent = next;
    }
}

/// The chunk of this user's transaction of this number. A life that uses the ids of another one has other chunks.
fn content(user: &str, seq: u64, words: &str) -> Chunk {
    chunk(format!("{user} {seq} {words}"))
}

fn open(server: &Server) -> Store {
    let disk = Real::new(&server.data(), Grouping::Off).unwrap();
    Store::open(Arc::new(disk), Options::default()).unwrap()
}

/// Pauses of all lengths, so that nothing is in step.
fn pause(turn: u64) -> Duration {
    Duration::from_micros(turn.wrapping_mul(7919) % 24_000)
}

/// Renames the user and renames it back.
fn rename(server: &Server, stop: &AtomicBool, told: &Acknowledged) {
    let store = open(server);
    let names = RENAMED.map(|name| user_id(name).parse().unwrap());
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let from = (turn % 2) as usize;
        let lock = store.user(names[from]).exclusive_blocking().unwrap();
        (lock.unwrap()).rename(&names[1 - from]).expect("a rename");
        told.renames.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(pause(turn));
    }
}

/// Deletes the user and makes it anew: with new ids, or with those of the life before and other chunks.
fn make_anew(server: &Server, stop: &AtomicBool, told: &Acknowledged) {
    let mut device = server.device(ANEW);
    let folder = device.path("");
    for life in 0u64.. {
        let mut parent = ROOT.to_owned();
        for seq in 1..=LIFE {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let next = match life % 3 {
                0 => transaction_id(&format!("{ANEW} {life} {seq}")),
                _ => id(ANEW, seq),
            };
            let own = content(ANEW, seq, &life.to_string());
            device.commit(&next, &parent, &[&own]);
            parent = next;
        }
        told.lives.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(pause(life));
        device
            .client
            .request("DELETE", &folder, &[], None)
            .expect(204);
    }
}

/// Users who come.
fn come(server: &Server, stop: &AtomicBool, told: &Acknowledged) {
    for number in 0..COMERS {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        populate(server, &format!("comer {number}"), COMES_WITH, "");
        told.came.store(number + 1, Ordering::SeqCst);
        std::thread::sleep(4 * pause(number));
    }
}

fn collect(server: &Server, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut gc = binary();
        gc.args([
            "gc",
            "--grace",
            "0s",
            "--force",
            "--user",
            &user_id(RENAMED[0]),
            "--data",
        ]);
        // The user has another name half of the time.
        run_with_deadline(gc.arg(server.data()));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The users in a copy, each with the number of its HEAD.
fn users(copy: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for folder in fs::read_dir(copy.join("users")).unwrap() {
        let folder = folder.unwrap().path();
        let head = fs::read_to_string(folder.join("HEAD")).unwrap();
        let head = head.trim_end();
        let seq = if head == ROOT {
            0
        } else {
            let file = folder.join(format!("transactions/{}/{head}.json", &head[..2]));
            let text: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
            text["seq"].as_u64().unwrap()
        };
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        found.insert(name, seq);
    }
    found
}

/// What of this copy is not as it says: nothing, if it is good.
fn wrong_with(copy: &Path, writers: [u64; 2], came: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let seen = check(copy, &fsck::CheckOptions::default());
    if seen.summary.damage + seen.summary.unchecked > 0 {
        return vec![format!("fsck: {:?}", seen.words())];
    }
    let held = users(copy);
    let mut expect = |user: &str, at_least: u64| match held.get(&user_id(user)) {
        Some(seq) if *seq >= at_least => {}
        other => wrong.push(format!("{user}: {other:?} of {at_least}")),
    };
    for (user, count) in WRITERS.iter().zip(writers) {
        expect(user, count);
    }
    for number in 0..came {
        expect(&format!("comer {number}"), COMES_WITH);
    }
    let names: Vec<_> = (RENAMED.iter().filter_map(|name| held.get(&user_id(name)))).collect();
    if names.is_empty() || names.iter().any(|seq| **seq != LENGTH) {
        wrong.push(format!("the one who is renamed: {names:?}"));
    }
    wrong
}

/// What became of the copies.
#[derive(Debug, Default)]
struct Outcome {
    good: usize,
    /// Those which said that they were not complete.
    said: Vec<Finished>,
    /// Those which said that they were good, and what was wrong with them.
    broken: Vec<(usize, Vec<String>, Finished)>,
}

/// Takes so many copies amid all that, each by `copy`, which is given the number of the copy and says where it is.
fn amid_upheaval(
    number: usize,
    copy: impl Fn(&Server, usize) -> (Finished, std::path::PathBuf),
) -> Outcome {
    let server = Server::with(&["--allow-delete"]);
    populate(&server, RENAMED[0], LENGTH, "");
    let told = Acknowledged::default();
    let stop = AtomicBool::new(false);
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        scope.spawn(|| rename(&server, &stop, &told));
        scope.spawn(|| make_anew(&server, &stop, &told));
        scope.spawn(|| come(&server, &stop, &told));
        scope.spawn(|| collect(&server, &stop));
        beside_writers(&server, |acknowledged| {
            for turn in 0..number {
                let before = (acknowledged.each_ref()).map(|count| count.load(Ordering::SeqCst));
                let came = told.came.load(Ordering::SeqCst);
                let (finished, place) = copy(&server, turn);
                let wrong = match finished.code {
                    Some(0) => wrong_with(&place, before, came),
                    _ => Vec::new(),
                };
                match finished.code {
                    Some(0) if wrong.is_empty() => outcome.good += 1,
                    Some(0) => outcome.broken.push((turn, wrong, finished)),
                    _ => outcome.said.push(finished),
                }
            }
        });
    });
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    println!(
        "{number} copies, {} sound, {} said that they were not complete, {} broken (beside {} renames, {} lives, {} comers)",
        outcome.good,
        outcome.said.len(),
        outcome.broken.len(),
        count(&told.renames),
        count(&told.lives),
        count(&told.came),
    );
    outcome
}

impl Outcome {
    /// None that says it is good is broken, and hardly any says that it is not.
    #[track_caller]
    fn is_good(&self) {
        assert!(self.broken.is_empty(), "{:#?}", self.broken);
        assert!(self.good >= self.said.len(), "{:#?}", self.said);
    }
}

#[test]
fn snapshots_amid_upheaval_are_good_when_they_say_so() {
    let top = tempfile::tempdir().unwrap();
    let outcome = amid_upheaval(2 * copies(), |server, turn| {
        let place = top.path().join(turn.to_string());
        let mut command = binary();
        command.arg("snapshot").arg("--data").arg(server.data());
        (run_with_deadline(command.arg(&place)), place)
    });
    outcome.is_good();
}

/// A first look has what may happen meanwhile one by one, in `meanwhile`.
#[test]
#[ignore = "full effort: each copy is tried again until nobody changed"]
fn copies_by_backup_amid_upheaval_are_good_when_they_say_so() {
    let top = tempfile::tempdir().unwrap();
    let outcome = amid_upheaval(copies(), |server, turn| {
        let place = top.path().join(turn.to_string());
        (backup(&server.data(), &place), place)
    });
    outcome.is_good();
}

#[test]
#[ignore = "full effort: each copy is tried again until nobody changed"]
fn a_copy_that_is_brought_up_amid_upheaval_is_never_made_worse() {
    let top = tempfile::tempdir().unwrap();
    let place = top.path().join("data");
    let outcome = amid_upheaval(copies(), |server, _| {
        let finished = backup(&server.data(), &place);
        if place.join("FORMAT").exists() {
            sound(&place);
        }
        (finished, place.clone())
    });
    outcome.is_good();
}

#[test]
fn archives_amid_upheaval_are_good_when_they_say_so() {
    let top = tempfile::tempdir().unwrap();
    let outcome = amid_upheaval(2 * copies(), |server, turn| {
        let place = top.path().join(turn.to_string());
        fs::create_dir(&place).unwrap();
        let mut command = Command::new("bash");
        command.args(["-c", super::TAR]);
        command.arg(server.data()).arg(&place);
        (run_with_deadline(&mut command), place)
    });
    // Whoever is renamed keeps tar from coming to a good end; that is said, and it is to be tried again.
    assert!(outcome.broken.is_empty(), "{:#?}", outcome.broken);
}
