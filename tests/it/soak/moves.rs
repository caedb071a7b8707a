//! Users that are renamed, and deleted and made anew, while their devices go on.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kit::{ROOT, run_with_deadline, user_id};

use super::Stage;
use super::asks::{Asking, Asks};
use super::bundles;
use super::device::Device;
use super::dice::Dice;
use super::fleet::SERVERS;
use super::house::House;
use super::verdict::{Halt, Told, wrong};

/// Names of a user that is no more are looked at and cleared away after so many changes.
const OLD: usize = 2;

/// Numbers from here on are of users who are to take another's place.
const SPARE: u64 = 1 << 32;

/// Between two changes: now and then several come in a row, which a copy that takes long then meets.
fn pause(dice: &mut Dice) -> Duration {
    match dice.once_in(3) {
        true => dice.milliseconds(300, 4000),
        false => dice.milliseconds(10, 300),
    }
}

/// `mentat-sync users …`: whether it came to a good end. It may be too busy while a server that has a lock is stopped.
fn users(stage: &Stage, data: &Path, words: &[&str]) -> Told<bool> {
    let moment = stage.fleet.moment();
    let done = run_with_deadline(
        stage
            .plan
            .program()
            .arg("users")
            .arg("--data")
            .arg(data)
            .args(words),
    );
    match done.code {
        Some(0) => Ok(true),
        _ if stage.fleet.was_stopped_since(moment) => Ok(false),
        // Who made nothing is not there.
        _ if done.stderr.contains("there is no user") => Ok(false),
        _ => wrong("a command failed", format!("users {words:?}: {done:?}")),
    }
}

/// Renames a user again and again.
pub fn rename(stage: &Stage, house: &House, data: &Path) {
    let mut dice = Dice::of(stage.plan.seed, &format!("rename {}", house.now().id));
    for round in 1_u64.. {
        stage.sleep(pause(&mut dice));
        if house.is_left() || stage.is_over() {
            break;
        }
        let new = user_id(&format!("{} renamed {round}", house.names()[0]));
        stage.hear(house, rename_once(stage, house, data, &new));
        let names = house.names();
        if let Some(old) = names.len().checked_sub(1 + OLD) {
            // A device that was late may have begun a folder there.
            if data.join("users").join(&names[old]).exists() {
                stage.hear(house, users(stage, data, &["rm", &names[old]]).map(drop));
            }
        }
    }
}

fn rename_once(stage: &Stage, house: &House, data: &Path, new: &str) -> Told<()> {
    if !data.join("users").join(&house.now().id).exists() {
        return Ok(());
    }
    let old = house.begins_to_change().id;
    let moved = users(stage, data, &["mv", &old, new]);
    let is_there = data.join("users").join(new).exists();
    house.has_changed(is_there.then(|| new.to_owned()));
    if !moved? {
        return Ok(());
    }
    stage.verdict.count("renamed", 1);
    // Nobody has the old name any more, whichever server is asked; and the new one is whole at once.
    let floor = house.now().ledger().floor();
    for slot in 0..SERVERS {
        let mut asks = Asks::on(stage, house, "renamer", slot);
        let path = format!("/0.1/{old}/head");
        let life = stage.fleet.life(slot);
        let told = crate::kit::Client::new(life.address).attempt("GET", &path, &[], None);
        match told {
            Ok(answer) if answer.status == 200 && answer.json()["head"] != ROOT && floor > 0 => {
                let how = format!("server {slot} said {} of the old name {old}", answer.text());
                return wrong("an old name that still works", how);
            }
            _ => {}
        }
        asks.begin();
        let asked = asks.get("head", &[200]);
        match asked {
            Ok(asked) => {
                let (head, seq) = asked.told()?;
                asked.saw("GET", &head, seq)?;
            }
            Err(Halt::Again) => {}
            Err(wrong) => return Err(wrong),
        }
    }
    Ok(())
}

/// Deletes a user again and again; its devices begin anew under the same id.
pub fn delete(stage: &Stage, house: &House, data: &Path) {
    let mut dice = Dice::of(stage.plan.seed, &format!("delete {}", house.now().id));
    loop {
        stage.sleep(pause(&mut dice));
        if house.is_left() || stage.is_over() {
            break;
        }
        let by_hand = dice.once_in(3);
        let slot = dice.below(SERVERS as u64) as usize;
        let done = match dice.once_in(3) {
            true => replace_once(stage, house, data, &mut dice),
            false => delete_once(stage, house, data, by_hand, slot),
        };
        stage.hear(house, done);
    }
}

fn delete_once(stage: &Stage, house: &House, data: &Path, by_hand: bool, slot: usize) -> Told<()> {
    let before = house.begins_anew(Arc::default());
    // What was answered until now could be so: the history ends here.
    let deleted = match by_hand {
        true => remove(stage, data, &before.id),
        false => delete_at_last(stage, house, slot),
    };
    house.has_changed(None);
    stage.verdict.count("deleted and made anew", 1);
    before.ledger().judge()?;
    deleted
}

/// Deletes the user, and gives its id to another one, who has a history: at once there is another folder in its place, as
/// whole as the first.
fn replace_once(stage: &Stage, house: &House, data: &Path, dice: &mut Dice) -> Told<()> {
    let spare = House::new(house.kind, stage.plan.seed, SPARE + dice.below(SPARE));
    let mut device = Device::with(Asks::on(stage, &spare, "spare", 0));
    device.asks.begin();
    bundles::push(&mut device, 20 + dice.below(80))?;
    let (id, other) = (house.now().id, spare.now().id);
    let before = house.begins_anew(Arc::clone(spare.now().ledger()));
    let replaced = replace(stage, house, data, &[&other, &id]);
    house.has_changed(None);
    before.ledger().judge()?;
    replaced?;
    stage.verdict.count("replaced", 1);
    Ok(())
}

fn replace(stage: &Stage, house: &House, data: &Path, ids: &[&str; 2]) -> Told<()> {
    let until = Instant::now() + Duration::from_secs(90);
    while data.join("users").join(ids[0]).exists() {
        delete_at_last(stage, house, 0)?;
        let moved = users(stage, data, &["mv", ids[0], ids[1]]);
        match moved {
            Ok(_) => {}
            // A device was quicker, and began a folder there.
            Err(Halt::Wrong(_, how)) if how.contains("already") => {}
            Err(halt) => return Err(halt),
        }
        if Instant::now() > until {
            return wrong("a command failed", format!("users mv {ids:?}: never done"));
        }
    }
    Ok(())
}

/// `users rm`, until it is done.
fn remove(stage: &Stage, data: &Path, id: &str) -> Told<()> {
    let until = Instant::now() + Duration::from_secs(90);
    while data.join("users").join(id).exists() {
        if users(stage, data, &["rm", id])? || Instant::now() > until {
            break;
        }
    }
    Ok(())
}

/// `DELETE`, until it is answered.
pub fn delete_at_last(stage: &Stage, house: &House, slot: usize) -> Told<()> {
    let mut asks = Asks::on(stage, house, "deleter", slot);
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let asked = asks.ask(Asking {
            method: "DELETE",
            rest: "",
            allowed: &[204],
            ..Asking::default()
        });
        match asked {
            Ok(_) => return Ok(()),
            Err(Halt::Again) if Instant::now() < until => asks.go(0),
            Err(Halt::Again) => return wrong("never answered", "DELETE"),
            Err(wrong) => return Err(wrong),
        }
    }
}
