//! Copies of the store beside its servers, by each way that copies.md has: each is restored, checked, and compared with
//! what was acknowledged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{Finished, ROOT, run_with_deadline, skipped};

use super::Stage;
use super::dice::Dice;
use super::house::{House, Kind, Now};
use super::upkeep::{cut_short, damage};
use super::verdict::{Told, wrong};

/// Copies by `mentat-sync backup` into one directory, before another one is begun.
const AGAIN: u64 = 5;

/// HEAD last, which other copies have last only where they put it.
const WRONG_ORDER: &str = "cd \"$1\" && tar c --exclude=incoming --exclude=HEAD . | tar x -C \"$2\"; sleep 0.3; \
     tar c $(find users -maxdepth 2 -name HEAD) | tar x -C \"$2\"; exit 0";

/// How copies are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Snapshot,
    Backup,
    Tar,
    /// No way to copy a store that is served, as copies.md says: for the test that must notice.
    Plainly,
}

impl Way {
    /// Those that copies.md has, as far as they work here.
    pub fn all() -> Vec<Way> {
        let rsync = Command::new("rsync").arg("--version").output();
        let mut ways = vec![Way::Snapshot, Way::Tar];
        match rsync {
            Ok(_) => ways.push(Way::Backup),
            Err(_) => skipped("backups in the campaign", "rsync is not here"),
        }
        ways
    }

    fn name(self) -> &'static str {
        match self {
            Way::Snapshot => "snapshot",
            Way::Backup => "backup",
            Way::Tar => "tar",
            Way::Plainly => "the wrong order",
        }
    }

    pub fn broken(self) -> &'static str {
        match self {
            Way::Snapshot => "broken copy: snapshot",
            Way::Backup => "broken copy: backup",
            Way::Tar => "broken copy: tar",
            Way::Plainly => "broken copy: the wrong order",
        }
    }
}

/// What was known of a user when a copy began.
struct Before {
    house: Arc<House>,
    now: Now,
    floor: u64,
}

/// The line of copies.md that makes an archive, for this directory and this file.
pub fn recipe(data: &Path, archive: &Path) -> String {
    let page = include_str!("../../../src/docs/copies.md");
    let line = page
        .lines()
        .find_map(|line| {
            line.strip_prefix("$ ")
                .filter(|line| line.starts_with("tar c ") && line.contains("--sort"))
        })
        .expect("the page says how to make an archive");
    let quoted = |path: &Path| format!("'{}'", path.display());
    let said = line.replace("-C data ", &format!("-C {} ", quoted(data)));
    let said = said.replace(">backup.tar", &format!(">{}", quoted(archive)));
    assert!(
        said.contains(&quoted(data)) && said.contains(&quoted(archive)),
        "{said}"
    );
    said
}

/// Copies until all is over.
pub fn copy(stage: &Stage, data: &Path, way: Way) {
    let top = data
        .parent()
        .expect("it is in a directory")
        .join(way.name());
    fs::create_dir(&top).unwrap();
    let mut dice = Dice::of(stage.plan.seed, way.name());
    for round in 0.. {
        stage.sleep(dice.milliseconds(20, 800));
        if stage.is_over() {
            break;
        }
        let to = match way {
            Way::Backup => top.join(format!("{}", round / AGAIN)),
            _ => top.join("copy"),
        };
        // A backup is sound at every moment from the end of the first on, also where one is killed.
        let done = match way == Way::Backup && to.join("FORMAT").exists() && dice.once_in(3) {
            true => cut_once(stage, data, &to, dice.milliseconds(50, 3000)),
            false => copy_once(stage, data, way, &to),
        };
        let is_wrong = done.is_err();
        stage.hear_plainly(done);
        if is_wrong && !stage.plan.goes_on {
            // It is kept for whoever looks into it.
            break;
        }
        if way != Way::Backup || round % AGAIN == AGAIN - 1 || is_wrong {
            remove(&to);
        }
    }
}

fn remove(directory: &Path) {
    if directory.exists() {
        fs::remove_dir_all(directory).unwrap();
    }
}

/// A backup that is killed somewhere.
fn cut_once(stage: &Stage, data: &Path, to: &Path, after: Duration) -> Told<()> {
    let backup = command(stage, data, Way::Backup, to);
    run_with_deadline(&mut cut_short(&backup, after));
    stage.verdict.count("commands killed", 1);
    let found = damage(stage, to, false)?;
    match found.is_empty() {
        true => Ok(()),
        false => wrong(
            "broken copy: killed backup",
            format!("killed after {after:?}: {}", found.join("\n")),
        ),
    }
}

fn copy_once(stage: &Stage, data: &Path, way: Way, to: &Path) -> Told<()> {
    let before: Vec<Before> = stage
        .houses()
        .into_iter()
        .map(|house| Before {
            now: house.now(),
            floor: house.now().ledger().floor(),
            house,
        })
        .collect();
    let called = stage.tick();
    let made = make(stage, data, way, to);
    let answered = stage.tick();
    let said = format!("{}{}", made.stdout, made.stderr);
    match made.code {
        Some(0) => {}
        // Files went while it read them, as with a user who is deleted: the page has it taken again.
        Some(1) if way == Way::Tar && said.contains(": File removed before we read it") => {
            stage.verdict.count("copies by tar, to be taken again", 1);
            return Ok(());
        }
        // A file grew while it was read.
        Some(1) if way == Way::Tar => {}
        // It says what it found damaged in the store, which is what is damaged there on purpose.
        Some(1) if is_of_the_damaged(stage, &said) => {}
        code => {
            stage.verdict.count(&format!("{} not made", way.name()), 1);
            return match said.contains("renamed") || said.contains("changed") {
                // It says that there is no new copy, and that is no lie.
                true => Ok(()),
                false => wrong("a copy failed", format!("{way:?}: {code:?} {said}")),
            };
        }
    }
    let restored = restore(way, to);
    let found = damage(stage, &restored, false)?;
    if !found.is_empty() {
        let how = format!(
            "status {:?}: {}; it said {said:?}",
            made.code,
            found.join("\n")
        );
        return wrong(way.broken(), how);
    }
    for user in &before {
        compare(&restored, user, (called, answered), &said, way)?;
    }
    if restored != to {
        remove(&restored);
    }
    stage.verdict.count(&format!("copies by {}", way.name()), 1);
    Ok(())
}

/// Whether all that is said about users is about the one whose chunks rot.
fn is_of_the_damaged(stage: &Stage, said: &str) -> bool {
    let rotten = stage.names_of(Kind::Damaged);
    let words = [
        "chunk-missing",
        "chunk-damaged",
        "missing or damaged in DATA",
    ];
    let about = |line: &&str| words.iter().any(|words| line.contains(words));
    let mut lines = said.lines().filter(about).peekable();
    lines.peek().is_some()
        && lines.all(|line| rotten.iter().any(|user| line.contains(user.as_str())))
}

fn make(stage: &Stage, data: &Path, way: Way, to: &Path) -> Finished {
    run_with_deadline(&mut command(stage, data, way, to))
}

fn command(stage: &Stage, data: &Path, way: Way, to: &Path) -> Command {
    let mut command;
    match way {
        Way::Snapshot => {
            command = stage.plan.program();
            command.arg("snapshot").arg("--data").arg(data).arg(to);
        }
        Way::Backup => {
            command = stage.plan.program();
            command.arg("backup").arg("--data").arg(data).arg(to);
        }
        Way::Tar => {
            fs::create_dir_all(to).unwrap();
            command = Command::new("sh");
            command.arg("-c").arg(recipe(data, &to.join("backup.tar")));
        }
        Way::Plainly => {
            fs::create_dir_all(to).unwrap();
            command = Command::new("sh");
            command.args(["-c", WRONG_ORDER, "sh"]).arg(data).arg(to);
        }
    }
    // What a killed one leaves there goes with all the rest.
    command.env("TMPDIR", data.parent().expect("it is in a directory"));
    command
}

/// As it is restored (copies.md, Restore).
fn restore(way: Way, to: &Path) -> PathBuf {
    let restored = match way {
        Way::Snapshot | Way::Plainly => return to.to_owned(),
        Way::Backup => to.with_extension("restored"),
        Way::Tar => to.join("unpacked"),
    };
    remove(&restored);
    let mut command;
    if way == Way::Backup {
        command = Command::new("cp");
        command.arg("-a").arg(to).arg(&restored);
    } else {
        fs::create_dir(&restored).unwrap();
        command = Command::new("tar");
        command
            .arg("x")
            .arg("-C")
            .arg(&restored)
            .arg("-f")
            .arg(to.join("backup.tar"));
    }
    let done = run_with_deadline(&mut command);
    assert_eq!(done.code, Some(0), "{done:?}");
    restored
}

/// This user is there, with a HEAD that was current while the copy was made.
fn compare(copy: &Path, before: &Before, between: (u64, u64), said: &str, way: Way) -> Told<()> {
    let Before { house, now, floor } = before;
    let after = house.now();
    let same = now.is_steady() && after.epoch == now.epoch && !house.is_left();
    let head_of = |id: &String| {
        let head = fs::read_to_string(copy.join("users").join(id).join("HEAD")).ok()?;
        Some(head.trim_end().to_owned())
    };
    if house.kind == Kind::Damaged {
        return Ok(());
    }
    let lacks = |what: &str| {
        wrong(
            "copy that lacks a user",
            format!("{way:?} {:?}: {what}; {said}", house.kind),
        )
    };
    if same {
        return match head_of(&now.id) {
            Some(head) => {
                let Some(seq) = now.ledger().seq_of(&head) else {
                    let how = format!("{way:?}: {head} of {}; {said}", now.id);
                    return wrong("copy with a HEAD nobody made", how);
                };
                now.ledger().saw("copy", between, *floor, (&head, seq))
            }
            None if *floor > 0 => lacks(&now.id),
            None => Ok(()),
        };
    }
    // Of a user who changed meanwhile there is what was, under any name it had; or it is said that it is not.
    let names = house.names();
    let heads: Vec<String> = names.iter().filter_map(head_of).collect();
    let ledgers = house.ledgers();
    let mut newest = None;
    for head in &heads {
        match ledgers.iter().find_map(|ledger| ledger.seq_of(head)) {
            Some(seq) => newest = newest.max(Some(seq)),
            // Of a folder before, which this way may keep.
            None if way == Way::Backup && house.kind == Kind::Deleted => {}
            None => {
                let how = format!("{way:?}: {head} of {names:?}; {said}");
                return wrong("copy with a HEAD nobody made", how);
            }
        }
    }
    let is_said = names.iter().any(|name| said.contains(&name[..8]))
        // That is how tar says that users came and went while it read who there is.
        || way == Way::Tar && said.contains("/users: file changed as we read it");
    if house.kind != Kind::Renamed || house.is_left() || is_said {
        return Ok(());
    }
    match newest {
        Some(seq) if seq >= *floor => Ok(()),
        Some(seq) => wrong(
            "copy with an old HEAD",
            format!("{way:?} has number {seq} of {names:?}, and {floor} was acknowledged; {said}"),
        ),
        None if *floor > 0 && *head_or_root(&heads) == *ROOT => lacks("renamed"),
        None => Ok(()),
    }
}

fn head_or_root(heads: &[String]) -> &str {
    heads.first().map_or(ROOT, String::as_str)
}
