//! The operator beside the server: collections, copies by each method, and a look at each copy.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

use crate::kit::{Finished, binary, run_with_deadline};

use super::Stage;
use super::asks::Told;

/// Copies by `scripts/backup` into one directory, before another one is begun.
const AGAIN: u64 = 4;

fn succeeds(finished: Finished) -> Told<Finished> {
    match finished.code {
        Some(0) => Ok(finished),
        _ => Err(format!("{finished:?}")),
    }
}

/// Nothing in this directory is damaged.
pub fn is_sound(data: &Path) -> Told<()> {
    let mut fsck = binary();
    succeeds(run_with_deadline(fsck.arg("fsck").arg("--data").arg(data)))
        .map(drop)
        .map_err(|what| format!("fsck of {}: {what}", data.display()))
}

/// Collects what is older than the plan's grace period, from another process.
fn collect(stage: &Stage, data: &Path) -> Told<()> {
    let grace = format!("{}s", stage.plan.grace.as_secs());
    let mut gc = binary();
    gc.args(["gc", "--json", "--force", "--grace", &grace, "--data"]);
    let gone = succeeds(run_with_deadline(gc.arg(data)))?;
    let gone = gone.stdout.lines().count() as u64;
    stage.collections.fetch_add(1, Ordering::Relaxed);
    stage.collected.fetch_add(gone, Ordering::Relaxed);
    Ok(())
}

/// Takes a copy, and looks whether it is sound and holds all that was acknowledged before.
fn copy(stage: &Stage, to: &Path, command: &mut Command) -> Told<()> {
    let before = stage.acknowledged();
    succeeds(run_with_deadline(command))?;
    is_sound(to)?;
    holds(stage, to, &before)?;
    stage.copies.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Each of these users is there with so many transactions or more, or has been deleted since.
fn holds(stage: &Stage, copy: &Path, before: &BTreeMap<String, u64>) -> Told<()> {
    for (user, count) in before {
        let folder = copy.join("users").join(user);
        let head = fs::read_to_string(folder.join("HEAD")).unwrap_or_default();
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        let line = log
            .lines()
            .position(|line| line.ends_with(head.trim_end()) && !head.is_empty());
        let held = line.map_or(0, |line| line as u64 + 1);
        if held < *count && stage.acknowledged().contains_key(user) {
            return Err(format!(
                "{} holds {held} of {count} transactions of {user}",
                copy.display()
            ));
        }
    }
    Ok(())
}

/// Goes on until all is over.
pub fn keep_up(stage: &Stage, data: &Path) -> Told<()> {
    let top = tempfile::tempdir_in(data.parent().expect("it is in a directory")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/backup");
    for round in 0.. {
        if stage.is_over() {
            break;
        }
        collect(stage, data)?;
        let to = top.path().join(format!("backup {}", round / AGAIN));
        copy(stage, &to, Command::new(&script).arg(data).arg(&to))?;
        if round % AGAIN == AGAIN - 1 {
            fs::remove_dir_all(&to).unwrap();
        }
        collect(stage, data)?;
        let to = top.path().join("snapshot");
        let mut snapshot = binary();
        snapshot.arg("snapshot").arg("--data").arg(data).arg(&to);
        copy(stage, &to, &mut snapshot)?;
        fs::remove_dir_all(&to).unwrap();
        // And the store itself, while it is written to.
        is_sound(data)?;
    }
    Ok(())
}
