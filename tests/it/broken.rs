//! Broken on purpose: a disk that does not do what it is told, and a store with one rule taken away.
//! The tests of power cuts and interleavings must notice each.

use mentat_sync::store::Mistake;

use crate::power_cuts::{everything, together};
use crate::proof::{Act, Broken, Effort, Scenario, explore};
use crate::stories;
use simulated_disk::{Lie, Reading};

fn is_noticed(broken: &Broken, scenario: &Scenario) {
    for reading in [Reading::Atomic, Reading::Posix] {
        if let Err(what) = explore(scenario, reading, broken, Effort::of(1000, 24)) {
            let first = what.lines().next().unwrap_or_default();
            println!("{broken:?} is noticed: {first}");
            return;
        }
    }
    panic!("{broken:?} is not noticed in {}", scenario.name);
}

/// Both where the user is new and where there is one.
fn lie_is_noticed(lie: Lie) {
    let broken = Broken {
        lie: Some(lie),
        mistake: None,
    };
    is_noticed(&broken, &everything());
    let before = [Act::PutChunk("a"), Act::PutTransaction("A")];
    let acts = [
        Act::PutChunk("b"),
        Act::PutTransaction("B"),
        Act::Advance("B"),
    ];
    is_noticed(&broken, &stories::alone("lie", &before, &acts));
    if matches!(lie, Lie::Contents | Lie::Names) {
        is_noticed(&broken, &together());
    }
}

fn mistake_is_noticed(mistake: Mistake, scenario: &Scenario) {
    let broken = Broken {
        lie: None,
        mistake: Some(mistake),
    };
    is_noticed(&broken, scenario);
}

/// Each sync that a commit in this scenario stands on: left out by the store, or by the disk.
fn each_missing_sync_is_noticed(scenario: &Scenario) {
    for mistake in [Mistake::HeadBeforeObjects, Mistake::AnswerBeforeSync] {
        mistake_is_noticed(mistake, scenario);
    }
    for lie in [Lie::Contents, Lie::Names, Lie::NewDirectories] {
        let (lie, mistake) = (Some(lie), None);
        is_noticed(&Broken { lie, mistake }, scenario);
    }
}

#[test]
fn a_disk_that_does_not_sync_bytes() {
    lie_is_noticed(Lie::Contents);
}

#[test]
fn a_disk_that_does_not_sync_names() {
    lie_is_noticed(Lie::Names);
}

#[test]
fn a_disk_that_does_not_sync_the_names_of_new_directories() {
    lie_is_noticed(Lie::NewDirectories);
}

#[test]
fn a_disk_that_does_not_sync_the_name_of_head() {
    lie_is_noticed(Lie::HeadName);
}

#[test]
fn a_disk_that_does_not_sync_the_bytes_of_head() {
    lie_is_noticed(Lie::HeadContents);
}

#[test]
fn an_answer_before_the_sync() {
    mistake_is_noticed(Mistake::AnswerBeforeSync, &everything());
    mistake_is_noticed(Mistake::AnswerBeforeSync, &together());
}

#[test]
fn head_before_what_it_reaches() {
    mistake_is_noticed(Mistake::HeadBeforeObjects, &everything());
}

#[test]
fn a_new_directory_whose_name_is_not_synced() {
    mistake_is_noticed(Mistake::NoParentSync, &stories::model_15());
}

#[test]
fn a_chunk_that_another_process_put_and_nobody_vouched_for() {
    mistake_is_noticed(Mistake::NoVouch, &stories::model_5());
    mistake_is_noticed(Mistake::NoVouch, &stories::model_5b());
}

#[test]
fn chunks_that_another_process_put_together_and_nobody_vouched_for() {
    for story in stories::together_beside_others() {
        mistake_is_noticed(Mistake::NoVouch, &story);
    }
}

#[test]
fn a_name_that_is_replaced() {
    mistake_is_noticed(Mistake::Replace, &stories::model_6());
}

#[test]
fn a_head_that_is_answered_without_its_sync() {
    mistake_is_noticed(Mistake::NoReadSync, &stories::model_8());
}

#[test]
fn a_log_that_is_extended_without_a_look() {
    mistake_is_noticed(Mistake::NoLogCheck, &stories::model_20b());
}

#[test]
fn files_moved_out_of_incoming_before_head() {
    mistake_is_noticed(Mistake::RenameInsteadOfLink, &stories::model_1());
    mistake_is_noticed(Mistake::RenameInsteadOfLink, &stories::model_3());
}

#[test]
fn a_bundle_that_is_committed_without_a_look_at_what_is_pending() {
    let scenario = stories::bundle_beside_other_content();
    mistake_is_noticed(Mistake::FastForwardOverPending, &scenario);
}

#[test]
fn a_bundle_that_is_committed_before_its_sync() {
    let push = [Act::Push(&["A", "B"]), Act::Push(&["C"])];
    let scenario = stories::alone("push", &[], &push);
    each_missing_sync_is_noticed(&scenario);
}

#[test]
fn an_addition_that_is_committed_before_its_sync() {
    let acts = [Act::Append("B"), Act::Append("C")];
    let scenario = stories::alone("additions", &[], &acts);
    each_missing_sync_is_noticed(&scenario);
}

#[test]
fn locks_that_are_not_taken() {
    mistake_is_noticed(Mistake::NoLock, &stories::model_9b());
    mistake_is_noticed(Mistake::NoLock, &stories::two_additions());
}

#[test]
fn a_repair_that_takes_no_lock() {
    mistake_is_noticed(Mistake::NoLock, &stories::model_11());
}

#[test]
fn a_repair_that_does_not_look_again_under_the_lock() {
    mistake_is_noticed(Mistake::NoRepairLook, &stories::repair_of_a_leftover());
}

#[test]
fn a_transaction_put_again_that_is_not_checked() {
    mistake_is_noticed(Mistake::NoReplayCheck, &stories::model_7e());
}

#[test]
fn a_deleted_user_emptied_before_the_rename_is_durable() {
    mistake_is_noticed(Mistake::NoDeleteSync, &stories::model_14());
}

#[test]
fn a_sweep_without_a_second_look() {
    mistake_is_noticed(Mistake::NoSecondLook, &stories::model_7());
    mistake_is_noticed(Mistake::NoSecondLook, &stories::model_7c());
}

#[test]
fn a_sweep_of_parents_before_children() {
    mistake_is_noticed(Mistake::ParentsFirst, &stories::model_7e());
}

#[test]
fn a_folder_from_outside_that_is_not_synced() {
    for story in stories::folders_from_outside() {
        mistake_is_noticed(Mistake::NoFolderSync, &story);
    }
    let story = stories::a_folder_comes_beside_readers();
    mistake_is_noticed(Mistake::NoFolderSync, &story);
}

#[test]
fn a_folder_whose_name_is_not_synced_again() {
    mistake_is_noticed(Mistake::NoNameSync, &stories::there_and_back());
}

#[test]
fn a_head_that_was_read_before_and_told_after() {
    mistake_is_noticed(Mistake::ToldOld, &stories::a_slow_look());
}
