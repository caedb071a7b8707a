//! The operator beside the servers: `gc` and `fsck --repair`, again and again.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::kit::{Finished, run_with_deadline};

use super::Stage;
use super::dice::Dice;
use super::house::Kind;
use super::verdict::{Told, wrong};

/// A command that may be late while a server that has a lock is stopped.
fn operator(stage: &Stage, command: &mut Command) -> Told<Option<Finished>> {
    let moment = stage.fleet.moment();
    let done = run_with_deadline(command);
    match done.code {
        Some(0) => Ok(Some(done)),
        _ if stage.fleet.was_stopped_since(moment) => {
            stage.verdict.count("commands that found a lock held", 1);
            Ok(None)
        }
        _ => wrong("a command failed", format!("{command:?}: {done:?}")),
    }
}

/// The same command, killed with all that it started after so long.
pub fn cut_short(command: &Command, after: Duration) -> Command {
    let mut cut = Command::new("timeout");
    cut.args(["-s", "KILL", &after.as_secs_f64().to_string()]);
    cut.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => cut.env(name, value),
            None => cut.env_remove(name),
        };
    }
    cut
}

/// Collects what is older than the grace period; and whatever is pending of users who were promised nothing.
pub fn collect(stage: &Stage, data: &Path) {
    let mut dice = Dice::of(stage.plan.seed, "gc");
    while !stage.is_over() {
        stage.sleep(dice.milliseconds(50, 1500));
        let all = dice.once_in(3);
        let mut gc = stage.plan.program();
        gc.args(["gc", "--json", "--force", "--data"]).arg(data);
        if all {
            let grace = format!("{}s", stage.plan.grace.as_secs());
            gc.args(["--grace", &grace]);
        } else {
            let kind = [Kind::Storm, Kind::Deleted][dice.below(2) as usize];
            let Some(house) = stage.house(kind) else {
                continue;
            };
            let id = house.now().id;
            if !data.join("users").join(&id).exists() {
                continue;
            }
            gc.args(["--grace", "0s", "--user", &id]);
        }
        if dice.once_in(8) {
            let mut cut = cut_short(&gc, dice.milliseconds(5, 100));
            run_with_deadline(&mut cut);
            stage.verdict.count("commands killed", 1);
            continue;
        }
        match operator(stage, &mut gc) {
            Ok(Some(done)) => {
                stage.verdict.count("collections", 1);
                stage
                    .verdict
                    .count("files collected", done.stdout.lines().count() as u64);
            }
            Ok(None) => {}
            // It went between the look and the command.
            Err(_) if !all && changed(stage) => {}
            Err(halt) => stage.hear_plainly::<()>(Err(halt)),
        }
    }
}

fn changed(stage: &Stage) -> bool {
    [Kind::Deleted, Kind::Storm]
        .into_iter()
        .filter_map(|kind| stage.house(kind))
        .any(|house| house.is_left() || house.kind == Kind::Deleted)
}

/// What fsck says of a directory, but of the user whose chunks rot on purpose.
pub fn damage(stage: &Stage, data: &Path, repair: bool) -> Told<Vec<String>> {
    let mut fsck = stage.plan.program();
    fsck.args(["fsck", "--json", "--data"]).arg(data);
    if repair {
        fsck.arg("--repair");
    }
    let moment = stage.fleet.moment();
    let done = run_with_deadline(&mut fsck);
    let rotten = stage.names_of(Kind::Damaged);
    let mut found = Vec::new();
    for line in done.stdout.lines() {
        let Ok(told) = serde_json::from_str::<Value>(line) else {
            return wrong("a command failed", format!("fsck printed {line}"));
        };
        if rotten.iter().any(|user| told["user"] == *user.as_str()) {
            continue;
        }
        match told["type"].as_str() {
            Some("finding") if told["severity"] == "damage" => found.push(line.to_owned()),
            Some("finding") if told["severity"] != "harmless" => {
                stage.verdict.count("fsck could not check", 1);
            }
            Some("mended") => stage.verdict.count("leftovers mended", 1),
            _ => {}
        }
    }
    match done.code {
        Some(0 | 1) => Ok(found),
        Some(3) if repair && stage.fleet.was_stopped_since(moment) => Ok(found),
        _ => wrong("a command failed", format!("{fsck:?}: {done:?}")),
    }
}

/// Checks and repairs the store beside its servers: it is sound, and nothing is taken out of the way.
pub fn repair(stage: &Stage, data: &Path) {
    let mut dice = Dice::of(stage.plan.seed, "fsck");
    while !stage.is_over() {
        stage.sleep(dice.milliseconds(50, 1500));
        stage.hear_plainly(repair_once(stage, data));
    }
}

fn repair_once(stage: &Stage, data: &Path) -> Told<()> {
    let found = damage(stage, data, true)?;
    // Who is here can be listed, also while some come and go.
    operator(
        stage,
        stage
            .plan
            .program()
            .args(["users", "--json", "--data"])
            .arg(data),
    )?;
    stage.verdict.count("repairs that found nothing", 1);
    if !found.is_empty() {
        return wrong("fsck finds damage in the store", found.join("\n"));
    }
    for kind in Kind::ALL {
        if kind == Kind::Damaged {
            continue;
        }
        for name in stage.names_of(kind) {
            // Transactions are another matter: a push that was killed leaves some that never were on the chain.
            let lost = data.join("users").join(&name).join("lost+found/chunks");
            if lost.exists() {
                let how = format!("{} is there", lost.display());
                return wrong("a repair that took something", how);
            }
        }
    }
    Ok(())
}

/// The pause between two steps of somebody who is not in a hurry.
pub const PAUSE: Duration = Duration::from_millis(20);
