//! Interleavings: two or three processes on one user, going on in every order within the bounds, some
//! of them killed, and the power cut at every step. The numbers are those of the model's scenarios.

use crate::kit::effort;
use crate::proof::{Act, Broken, Effort, Scenario, explore};
use crate::stories;
use simulated_disk::Reading;

/// A first look takes the reading that allows more: each of two names that a rename changes survives by itself.
fn holds(scenario: &Scenario) {
    let (readings, orders): (&[Reading], usize) = match effort::is_full() {
        false => (&[Reading::Posix], 5),
        true => (&[Reading::Atomic, Reading::Posix], 150),
    };
    for &reading in readings {
        let looked = explore(scenario, reading, &Broken::default(), Effort::of(orders, 2));
        let looked = looked.unwrap_or_else(|what| panic!("{what}"));
        println!("{} ({reading:?}): {looked}", scenario.name);
    }
}

/// The others are too long for that: of their orders some are drawn, and more by `scripts/sim-test EFFORT`.
#[test]
#[ignore = "full effort: every order is to be had for no less"]
fn short_stories_are_told_in_every_order_within_the_bounds() {
    let mut together = stories::together_beside_others();
    together.retain(|story| story.name.ends_with("a PUT") || story.name.ends_with("a question"));
    let others = [
        stories::model_1(),
        stories::model_5(),
        stories::model_5b(),
        stories::model_8(),
        stories::model_14(),
    ];
    for story in others.into_iter().chain(together) {
        for reading in [Reading::Atomic, Reading::Posix] {
            let looked = explore(&story, reading, &Broken::default(), Effort::of(3000, 2));
            let looked = looked.unwrap_or_else(|what| panic!("{what}"));
            println!("{} ({reading:?}): {looked}", story.name);
            assert!(looked.all, "{}", story.name);
        }
    }
}

#[test]
fn model_1_advance_to_b_crashes_then_advance_to_its_parent() {
    holds(&stories::model_1());
}

#[test]
fn model_1b_advance_to_b_crashes_and_is_raced_by_gc_then_readers() {
    holds(&stories::model_1b());
}

#[test]
fn model_2_an_advance_crashes_and_gc_spares_what_young_b_needs() {
    holds(&stories::model_2());
}

#[test]
fn model_3_a_crashes_half_way_and_its_sibling_with_the_same_chunk_wins() {
    holds(&stories::model_3());
}

#[test]
fn model_4_an_advance_is_killed_and_repeated_by_another_process() {
    holds(&stories::model_4());
}

#[test]
fn additions_beside_whatever_else_moves_head() {
    for story in stories::additions() {
        holds(&story);
    }
}

#[test]
fn model_5_put_chunk_races_the_transaction_that_names_it() {
    holds(&stories::model_5());
}

#[test]
fn model_5b_two_puts_of_one_chunk() {
    holds(&stories::model_5b());
}

#[test]
fn model_6_one_id_with_two_contents() {
    holds(&stories::model_6());
}

#[test]
fn model_7_gc_races_a_transaction_with_an_old_parent_and_chunk() {
    holds(&stories::model_7());
}

#[test]
fn model_7b_gc_races_an_old_transaction_put_again() {
    holds(&stories::model_7b());
}

#[test]
fn model_7c_gc_races_an_old_chunk_put_again() {
    holds(&stories::model_7c());
}

#[test]
fn model_7d_gc_races_an_advance() {
    holds(&stories::model_7d());
}

#[test]
fn model_7e_a_transaction_is_put_again_after_gc_was_cut() {
    holds(&stories::model_7e());
}

#[test]
fn model_8_get_head_races_an_advance() {
    holds(&stories::model_8());
}

#[test]
fn model_9_surplus_log_a_sibling_overwrites_beside_readers() {
    holds(&stories::model_9());
}

#[test]
fn model_9b_two_advances_race_beside_a_reader() {
    holds(&stories::model_9b());
}

#[test]
fn model_10_a_copy_beside_an_advance_is_restored() {
    for story in stories::model_10().iter().chain(&stories::model_10b()) {
        holds(story);
    }
}

#[test]
fn model_11_a_repair_beside_an_advance() {
    holds(&stories::model_11());
}

#[test]
fn model_11b_a_repair_beside_an_advance_and_a_reader() {
    holds(&stories::model_11b());
}

#[test]
fn a_repair_of_a_leftover_beside_an_advance() {
    holds(&stories::repair_of_a_leftover());
}

#[test]
fn model_12_chunk_transaction_and_head_at_once() {
    holds(&stories::model_12());
}

#[test]
fn model_14_a_deletion_cut_in_the_middle() {
    holds(&stories::model_14());
}

#[test]
fn model_15_two_puts_of_which_one_makes_the_directory() {
    holds(&stories::model_15());
}

#[test]
fn model_18_two_advances_and_two_readers() {
    holds(&stories::model_18());
}

#[test]
fn model_19_a_transaction_and_its_child_beside_gc() {
    holds(&stories::model_19());
}

#[test]
fn model_20_restored_without_log_then_an_advance_beside_listings() {
    holds(&stories::model_20());
}

#[test]
fn model_20b_restored_with_another_log_then_an_advance_beside_listings() {
    holds(&stories::model_20b());
}

#[test]
fn model_21_a_bundle_beside_gc_and_a_competing_advance() {
    for story in stories::model_21() {
        holds(&story);
    }
}

#[test]
fn model_22_two_bundles_race() {
    for story in stories::model_22() {
        holds(&story);
    }
}

#[test]
fn model_23_a_bundle_is_cut_and_pushed_again_beside_gc() {
    holds(&stories::model_23());
}

#[test]
fn a_bundle_beside_uploads_of_the_same() {
    holds(&stories::bundle_beside_uploads());
}

#[test]
fn a_pull_beside_an_advance() {
    holds(&stories::pull_beside_advance());
}

#[test]
fn a_question_for_chunks_beside_an_upload_and_beside_gc() {
    holds(&stories::missing_beside_upload());
    holds(&stories::missing_beside_gc());
}

#[test]
fn a_transaction_is_put_again_after_a_cut_that_took_its_chunk() {
    holds(&stories::replay());
}

#[test]
fn two_first_uploads_of_a_user() {
    holds(&stories::first_uploads());
}

#[test]
fn a_user_is_deleted_beside_another_request() {
    for act in stories::BESIDE_DELETION {
        holds(&stories::deletion_beside(act));
    }
}

#[test]
fn an_alias_beside_the_transactions_that_name_it() {
    holds(&stories::aliases());
}

#[test]
fn an_old_alias_beside_gc() {
    holds(&stories::aged_aliases());
}

#[test]
fn threads_of_one_process() {
    for story in stories::in_one_process() {
        holds(&story);
    }
}

#[test]
fn a_bundle_is_killed_and_pushed_again_beside_a_transaction() {
    holds(&stories::bundle_is_killed());
}

#[test]
fn a_bulk_upload_beside_its_parts() {
    holds(&stories::bundle_beside_its_parts());
}

#[test]
fn a_bundle_beside_other_content_of_its_id_and_beside_a_child() {
    holds(&stories::bundle_beside_other_content());
    holds(&stories::bundle_beside_a_child());
}

#[test]
fn a_bundle_is_cut_and_others_come_instead() {
    holds(&stories::bundle_is_cut());
}

#[test]
fn a_bundle_beside_those_who_look_on() {
    for story in stories::bundle_beside_lookers_on() {
        holds(&story);
    }
}

#[test]
fn a_bundle_beside_an_advance_to_its_middle() {
    holds(&stories::bundle_beside_advance());
}

#[test]
fn chunks_that_are_taken_in_together_beside_others() {
    for story in stories::together_beside_others() {
        holds(&story);
    }
}

#[test]
fn a_user_is_deleted_beside_a_bundle() {
    for act in [
        Act::PutChunks(&["c", "b"]),
        Act::Push(&["C", "D"]),
        Act::PushWithSpare(&["C"]),
        Act::Upload(&["Z"]),
        Act::Ask(&["a", "b"]),
    ] {
        holds(&stories::deletion_beside(act));
    }
}

#[test]
fn bundles_beside_gc() {
    for scenario in stories::bundle_beside_gc() {
        holds(&scenario);
    }
}

#[test]
fn a_folder_that_comes_beside_readers_is_durable_before_a_word_about_it() {
    holds(&stories::a_folder_comes_beside_readers());
}

#[test]
fn a_user_who_was_renamed_there_and_back_has_that_name_for_good() {
    holds(&stories::there_and_back());
}

#[test]
fn a_slow_look_at_head_tells_nothing_that_others_have_gone_beyond() {
    holds(&stories::a_slow_look());
}
