//! A user whose chunks rot: a repair takes them out of the way, the device uploads them again, and then nothing may take
//! them away any more.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::kit::{Finished, digest, run_with_deadline};

use super::Stage;
use super::asks::Asks;
use super::device::Device;
use super::house::House;
use super::ledger::Link;
use super::verdict::{Halt, Told, wrong};

const ROTTEN: &[u8] = b"rotten";

/// Rots and mends until the user has lived long enough, or all is over.
pub fn live(stage: &Stage, house: &House, data: &Path) {
    let mut device = Device::with(Asks::new(stage, house, 1));
    while !house.is_left() && !stage.is_over() {
        device.asks.begin();
        let done = device.commit();
        stage.hear(house, done);
        let draw = device.asks.dice.below(u64::MAX);
        if let Some(link) = house.now().ledger().any(draw) {
            let done = rot(&mut device, data, &link);
            stage.hear(house, done);
        }
        stage.sleep(device.asks.dice.milliseconds(50, 1500));
    }
    let settled = settle(&mut device, data);
    stage.hear(house, settled);
}

fn command(stage: &Stage, user: &str, data: &Path, words: &[&str]) -> Finished {
    run_with_deadline(
        stage
            .plan
            .program()
            .args(words)
            .args(["--user", user, "--data"])
            .arg(data),
    )
}

/// One chunk of this transaction rots and is mended.
fn rot(device: &mut Device, data: &Path, link: &Link) -> Told<()> {
    let user = device.asks.house.now().id;
    let Some(chunk) = link.chunks.first().cloned() else {
        return Ok(());
    };
    let place = data
        .join("users")
        .join(&user)
        .join("chunks")
        .join(&chunk[..2])
        .join(&chunk);
    let Ok(bytes) = fs::read(&place) else {
        return wrong("committed chunk lost", format!("{}", place.display()));
    };
    if digest(&bytes) != chunk {
        return wrong("other bytes", format!("{}", place.display()));
    }
    let rotten = data.with_extension("rotten");
    fs::write(&rotten, ROTTEN).unwrap();
    // Copies have the same file by another name: theirs stays as it was.
    fs::rename(&rotten, &place).unwrap();
    let until = Instant::now() + Duration::from_secs(90);
    while fs::read(&place).is_ok_and(|bytes| bytes == ROTTEN) {
        // A server that was stopped may hold the lock.
        let moment = device.asks.stage.fleet.moment();
        let repaired = command(device.asks.stage, &user, data, &["fsck", "--repair"]);
        let held = device.asks.stage.fleet.was_stopped_since(moment);
        if !matches!(repaired.code, Some(0 | 1)) && !held || Instant::now() > until {
            return wrong("a command failed", format!("{repaired:?}"));
        }
    }
    let moment = device.asks.stage.fleet.moment();
    let rest = format!("chunks/{chunk}");
    loop {
        match device.asks.put(&rest, &bytes, &[201]) {
            Ok(_) => break,
            Err(Halt::Again) if !device.asks.stage.is_over() => {}
            Err(halt) => {
                // All is over: it is put back as it was.
                fs::write(&place, &bytes).unwrap();
                return Err(halt);
            }
        }
    }
    let collected = command(
        device.asks.stage,
        &user,
        data,
        &["gc", "--force", "--grace", "0s"],
    );
    if collected.code != Some(0) && !device.asks.stage.fleet.was_stopped_since(moment) {
        return wrong("a command failed", format!("{collected:?}"));
    }
    device.asks.stage.verdict.count("rotten chunks mended", 1);
    match device.look_at(link) {
        Err(Halt::Wrong(_, how)) => wrong("uploaded again, and lost", how),
        other => other,
    }
}

/// A repair that found the lock held has left things undone.
fn settle(device: &mut Device, data: &Path) -> Told<()> {
    let user = device.asks.house.now().id;
    if !data.join("users").join(&user).exists() {
        return Ok(());
    }
    let checked = command(device.asks.stage, &user, data, &["fsck"]);
    match checked.code {
        Some(0) => Ok(()),
        _ => wrong("fsck finds damage in the store", format!("{checked:?}")),
    }
}
