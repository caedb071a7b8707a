//! Broken on purpose: a disk that does not do what it is told, and a store with one rule taken away.
//! The tests of power cuts and interleavings must notice each.

use mentat_sync::store::Mistake;

use crate::proof::{Act, Broken, Effort, Scenario, explore};
use crate::sim::{Bounds, Lie, Reading};

use crate::power_cuts::everything;

fn noticed(scenarios: &[Scenario], broken: &Broken) {
    for scenario in scenarios {
        for reading in [Reading::Atomic, Reading::Posix] {
            if let Err(what) = explore(scenario, reading, broken, Effort::of(200, 24)) {
                let first = what.lines().next().unwrap_or_default();
                println!("{broken:?} is noticed: {first}");
                return;
            }
        }
    }
    panic!("{broken:?} is not noticed");
}

fn lie(lie: Lie) {
    let broken = Broken {
        lie: Some(lie),
        mistake: None,
    };
    noticed(&[everything()], &broken);
}

#[test]
fn a_disk_that_does_not_sync_bytes_is_noticed() {
    lie(Lie::Contents);
}

#[test]
fn a_disk_that_does_not_sync_names_is_noticed() {
    lie(Lie::Names);
}

#[test]
fn a_disk_that_does_not_sync_the_names_of_new_directories_is_noticed() {
    lie(Lie::NewDirectories);
}

#[test]
fn a_disk_that_does_not_sync_the_name_of_head_is_noticed() {
    lie(Lie::HeadName);
}

#[test]
fn a_disk_that_does_not_sync_the_bytes_of_head_is_noticed() {
    lie(Lie::HeadContents);
}
