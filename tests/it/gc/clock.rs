//! When gc last ran, and what it makes of a clock that leapt.

use mentat_sync::upkeep::gc::{Clock, CollectOptions, clock, last_run};

use super::bench::{DAY, GRACE, fresh, open, pass, put_chunk, sweep, user};

fn is_fine(store: &mentat_sync::store::Store, options: CollectOptions) -> bool {
    clock(store, &options).unwrap() == Clock::Fine
}

#[test]
fn a_first_run_finds_nothing_wrong_with_the_clock_however_old_the_store_is() {
    let sim = fresh();
    let store = open(&sim);
    assert!(is_fine(&store, CollectOptions::default()));
    put_chunk(&store, 1);
    assert_eq!(last_run(&store).unwrap(), None);
    pass(&sim, GRACE * 10);
    assert!(is_fine(&store, CollectOptions::default()));
}

#[test]
fn a_clock_that_leapt_further_than_the_grace_period_stops_gc_unless_forced() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    sweep(&store);
    let last = last_run(&store).unwrap().unwrap();
    pass(&sim, GRACE - DAY);
    assert!(is_fine(&store, CollectOptions::default()));
    pass(&sim, DAY * 2);
    match clock(&store, &CollectOptions::default()).unwrap() {
        Clock::Leapt { last: told, now } => assert!(told == last && now > last + GRACE),
        other => panic!("it leapt: {other:?}"),
    }
    let forced = CollectOptions {
        force: true,
        ..CollectOptions::default()
    };
    assert!(is_fine(&store, forced));
    sweep(&store);
    assert!(
        is_fine(&store, CollectOptions::default()),
        "it ran just now"
    );
}

#[test]
fn a_run_that_sweeps_is_remembered_as_one_that_finds_nothing_is() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    pass(&sim, GRACE * 2);
    assert_eq!(sweep(&store).len(), 1);
    let first = last_run(&store).unwrap();
    assert!(first.is_some());
    pass(&sim, DAY);
    assert_eq!(sweep(&store), []);
    assert!(last_run(&store).unwrap() > first);
    assert_eq!(
        store.user(user()).last_gc().unwrap(),
        last_run(&store).unwrap()
    );
}

#[test]
fn a_clock_that_was_put_back_makes_things_young_and_stops_nothing() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    pass(&sim, GRACE - DAY);
    sweep(&store);
    sim.with(|world| world.clock -= GRACE * 10);
    assert!(is_fine(&store, CollectOptions::default()));
    assert_eq!(sweep(&store), []);
    // What was uploaded meanwhile would look old once the clock is right again: so it stops then.
    sim.with(|world| world.clock += GRACE * 10);
    assert!(!is_fine(&store, CollectOptions::default()));
}

#[test]
fn a_short_grace_period_does_not_make_every_daily_run_a_leap() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    sweep(&store);
    pass(&sim, DAY);
    let hour = CollectOptions {
        grace: DAY / 24,
        ..CollectOptions::default()
    };
    assert!(is_fine(&store, hour));
}
