use std::time::Duration;

use super::copies::Way;
use super::gauges::are_flat;
use super::house::Kind;
use super::{GRACE, LIFE, Outcome, Plan, play};
use crate::kit::{effort, skipped};

/// Seconds that it takes within `cargo test`: as few as let everything happen once, or more.
const SHORT: u64 = 20;

/// With less it would be no test.
const ENOUGH: [&str; 13] = [
    "advances",
    "races lost",
    "bundles pushed",
    "bundles pulled",
    "waits",
    "events",
    "files collected",
    "kills",
    "renamed",
    "deleted and made anew",
    "rotten chunks mended",
    "copies by snapshot",
    "copies by tar",
];

fn setting(name: &str) -> Option<String> {
    effort::chosen(name)
}

/// Everything, for so long.
fn everything(seconds: u64) -> Plan {
    let seed = effort::chosen("SOAK_SEED");
    Plan {
        time: Duration::from_secs(seconds),
        seed: seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 >> 32),
        life: LIFE,
        mistake: None,
        grace: GRACE,
        promised: GRACE,
        users: Kind::ALL.to_vec(),
        ways: Way::all(),
        disturbed: true,
        enough: &ENOUGH,
        goes_on: setting("SOAK_GO_ON").is_some(),
        broken: false,
    }
}

/// Users and devices alone, without anything that disturbs them.
pub fn only(users: &[Kind], seconds: u64) -> Plan {
    Plan {
        users: users.to_vec(),
        ways: Vec::new(),
        disturbed: false,
        enough: &[],
        goes_on: false,
        broken: true,
        ..everything(seconds)
    }
}

#[test]
#[ignore = "full effort: the campaign needs its time, see scripts/soak"]
fn everything_at_once_breaks_no_promise() {
    let seconds = effort::chosen("SOAK_SECONDS");
    let plan = everything(seconds.unwrap_or(SHORT));
    println!("soak: seed {}", plan.seed);
    let outcome = play(plan);
    if let Some(reason) = outcome.skipped {
        skipped("slow and failing syncs in the campaign", reason);
    }
    println!("soak: counted: {}", outcome.counts());
    println!("soak: {}", outcome.figures());
    if !outcome.stage.verdict.wrongs().is_empty() {
        panic!("soak: {}", outcome.keep());
    }
    assert_eq!(outcome.stage.lacks(), None, "it never happened");
    are_flat(&outcome.samples).unwrap();
    if setting("SOAK_STRICT").is_some() {
        outcome.stage.latencies.is_strict().unwrap();
    }
}

/// How often a campaign with something broken is played, for twice as long each time, until somebody notices: a
/// busy machine gets little done.
const TRIES: u32 = 3;

/// The first thing that is noticed when this is played.
fn caught(plan: impl Fn() -> Plan) -> (&'static str, Outcome) {
    let outcome = (0..TRIES).find_map(|tries| {
        let plan = plan();
        let outcome = play(Plan {
            time: plan.time * 2_u32.pow(tries),
            ..plan
        });
        (!outcome.stage.verdict.wrongs().is_empty()).then_some(outcome)
    });
    let outcome = outcome.expect("somebody noticed");
    let wrongs = outcome.stage.verdict.wrongs();
    let first = wrongs.first().expect("there is one");
    let how: String = first.how.chars().take(160).collect();
    println!(
        "soak: broken on purpose, and noticed after {:.1} s: {}: {how}",
        first.at, first.kind
    );
    (first.kind, outcome)
}

#[test]
#[ignore = "full effort: the campaign is proved where it is run, see scripts/soak"]
fn a_lost_write_is_noticed() {
    caught(|| Plan {
        mistake: Some("NoLock"),
        ..only(&[Kind::Busy], 30)
    });
}

#[test]
#[ignore = "full effort: the campaign is proved where it is run, see scripts/soak"]
fn a_collection_of_what_is_young_is_noticed() {
    let (kind, _) = caught(|| Plan {
        grace: Duration::ZERO,
        ..only(&[Kind::Busy], 30)
    });
    assert_eq!(kind, "acknowledged upload lost");
}

#[test]
#[ignore = "full effort: the campaign is proved where it is run, see scripts/soak"]
fn a_copy_in_the_wrong_order_is_noticed() {
    let (kind, _) = caught(|| Plan {
        ways: vec![Way::Plainly],
        ..only(&[Kind::Busy, Kind::Storm], 60)
    });
    assert_eq!(kind, Way::Plainly.broken());
}

#[test]
#[ignore = "full effort: what grows slowly takes its time to be seen"]
fn a_leaked_descriptor_is_noticed() {
    // A busy machine gets few requests done, and few are leaked.
    let leak = [6, 12, 24, 48].into_iter().find_map(|seconds| {
        let outcome = play(Plan {
            mistake: Some("LeakedDescriptor"),
            ..only(&[Kind::Busy], seconds)
        });
        are_flat(&outcome.samples).err()
    });
    let leak = leak.expect("somebody noticed");
    println!("soak: broken on purpose, and noticed: {leak}");
    assert!(leak.starts_with("descriptors grew"), "{leak}");
}
