//! Dates that cannot be right: what has one is kept and made young, once; what has a right one goes in time.

use std::time::{Duration, SystemTime};

use mentat_sync::disk::Disk;
use mentat_sync::model::TransactionId;
use mentat_sync::store::{Item, Mistake, Store};
use mentat_sync::upkeep::gc::{Clock, CollectOptions, clock, collect};

use super::bench::{
    DAY, GRACE, accept, advance_to, alias, chunk, dry_run, folder, fresh, incoming, is_pending,
    is_there, open, open_mistaken, pass, put_alias, put_chunk, sweep, tx, user,
};
use simulated_disk::Sim;

const ROOT: TransactionId = TransactionId::ROOT;

/// What a box says that has no clock while it is off.
const UNSET: SystemTime = SystemTime::UNIX_EPOCH;

/// Something is done while the clock says another time.
fn at(sim: &Sim, wrong: SystemTime, act: impl FnOnce()) {
    let right = sim.with(|world| std::mem::replace(&mut world.clock, wrong));
    act();
    sim.with(|world| world.clock = right);
}

fn now(sim: &Sim) -> SystemTime {
    sim.with(|world| world.clock)
}

/// Collects, with this grace period.
fn sweep_with(store: &Store, grace: Duration) -> Vec<Item> {
    let mut gone = Vec::new();
    let options = CollectOptions {
        grace,
        ..CollectOptions::default()
    };
    collect(store, &user(), &options, &mut |garbage| {
        gone.push(garbage.item)
    })
    .unwrap();
    gone
}

fn upload(store: &Store) {
    put_chunk(store, 2);
    put_alias(store, 3);
    put_chunk(store, 4);
    accept(store, 1, ROOT, &[chunk(2), alias(3)]);
}

/// All of it, and nothing else.
fn is_whole(sim: &Sim, store: &Store) -> bool {
    is_pending(store, 1)
        && [chunk(2), alias(3), chunk(3), chunk(4)]
            .iter()
            .all(|id| is_there(store, id))
        && incoming(sim).len() == 5
}

/// It is found by the first run ever, or by a later one; and it was uploaded by a clock that had not been set,
/// or by one that was behind by a month.
fn uploaded_by_a_wrong_clock(later_run: bool, wrong: SystemTime) -> (Sim, Store) {
    let sim = fresh();
    let store = open(&sim);
    pass(&sim, DAY * 400);
    put_chunk(&store, 1);
    if later_run {
        sweep_with(&store, GRACE);
        sweep_with(&store, Duration::ZERO);
        assert!(incoming(&sim).is_empty());
        sweep_with(&store, GRACE);
    } else {
        sim.process()
            .remove_file(&store.user(user()).place_of(&chunk(1).into()))
            .unwrap();
    }
    at(&sim, wrong, || upload(&store));
    pass(&sim, Duration::from_secs(300));
    (sim, store)
}

#[test]
fn what_came_while_the_clock_was_wrong_is_kept_and_made_young_once() {
    let month_ago = now(&fresh()) + DAY * 370;
    for (later_run, wrong) in [(false, UNSET), (true, UNSET), (true, month_ago)] {
        let (sim, store) = uploaded_by_a_wrong_clock(later_run, wrong);
        assert_eq!(dry_run(&store), []);
        assert_eq!(sweep(&store), []);
        assert!(is_whole(&sim, &store), "{later_run}");
        // From then on it is as old as if it had come then: it lives as long, and no longer.
        pass(&sim, GRACE - DAY);
        assert_eq!(sweep(&store), []);
        assert!(is_whole(&sim, &store));
        pass(&sim, DAY * 2);
        assert_eq!(sweep(&store).len(), 5);
        assert!(incoming(&sim).is_empty());
    }
}

#[test]
fn a_collection_that_believes_every_date_is_caught() {
    for later_run in [false, true] {
        let (sim, store) = uploaded_by_a_wrong_clock(later_run, UNSET);
        let mistaken = open_mistaken(&sim, Some(Mistake::BelieveDates));
        assert!(!sweep(&mistaken).is_empty());
        assert!(!is_whole(&sim, &store));
    }
}

#[test]
fn without_a_memory_a_date_that_can_be_is_believed() {
    let month_ago = now(&fresh()) + DAY * 370;
    let (sim, store) = uploaded_by_a_wrong_clock(false, month_ago);
    assert_eq!(sweep(&store).len(), 5);
    assert!(incoming(&sim).is_empty());
}

#[test]
fn what_no_grace_at_all_leaves_is_nothing_whatever_ran_before() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    put_chunk(&store, 2);
    accept(&store, 1, ROOT, &[chunk(1)]);
    pass(&sim, GRACE * 2);
    // Old, and spared again and again because something young needs it.
    accept(&store, 2, tx(1), &[chunk(2)]);
    for _ in 0..3 {
        assert_eq!(sweep(&store), []);
        pass(&sim, DAY);
    }
    // Then it is dead, with all that it kept alive.
    accept(&store, 3, ROOT, &[]);
    advance_to(&store, 3, 1);
    put_chunk(&store, 3);
    pass(&sim, Duration::from_secs(1));
    assert_eq!(sweep_with(&store, Duration::ZERO).len(), 5);
    assert!(incoming(&sim).is_empty());
    // What came since goes with the next.
    for _ in 0..3 {
        put_chunk(&store, 1);
        accept(&store, 4, tx(3), &[chunk(1)]);
        pass(&sim, Duration::from_secs(1));
        assert_eq!(sweep_with(&store, Duration::ZERO).len(), 2);
    }
    // Nor does a shorter grace period than before find anything wrong with what the longer one left.
    put_chunk(&store, 1);
    pass(&sim, DAY * 3);
    assert_eq!(sweep(&store), []);
    assert_eq!(sweep_with(&store, DAY), [chunk(1).into()]);
}

#[test]
fn what_died_while_it_was_spared_goes_in_its_own_time() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    accept(&store, 1, ROOT, &[chunk(1)]);
    pass(&sim, GRACE * 2);
    accept(&store, 2, tx(1), &[]);
    assert_eq!(sweep(&store), []);
    accept(&store, 3, ROOT, &[]);
    advance_to(&store, 3, 1);
    let gone = sweep(&store);
    assert_eq!(gone.len(), 2, "{gone:?}");
    assert!(
        is_pending(&store, 2),
        "dead and young, it keeps itself and nothing else"
    );
}

#[test]
fn a_date_to_come_is_made_now() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    sweep(&store);
    at(&sim, now(&sim) + DAY * 3650, || upload(&store));
    assert_eq!(sweep(&store), []);
    assert!(is_there(&store, &chunk(4)));
    pass(&sim, GRACE + DAY);
    assert_eq!(sweep(&store).len(), 6);
    assert!(incoming(&sim).is_empty());
}

#[test]
fn a_clock_that_is_behind_earlier_runs_dates_nothing_anew() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    pass(&sim, DAY * 10);
    sweep(&store);
    put_chunk(&store, 2);
    let uploaded = sim.world().files_below(&folder().join("incoming"));
    at(&sim, now(&sim) - DAY * 10, || {
        for _ in 0..3 {
            assert_eq!(sweep(&store), []);
        }
    });
    assert_eq!(
        sim.world().files_below(&folder().join("incoming")),
        uploaded
    );
    pass(&sim, GRACE - DAY);
    assert_eq!(sweep_with(&store, GRACE), [chunk(1).into()]);
    assert!(is_there(&store, &chunk(2)));
}

#[test]
fn a_clock_that_has_not_been_set_stops_gc_unless_forced() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    at(&sim, UNSET, || {
        let unset = clock(&store, &CollectOptions::default()).unwrap();
        assert!(matches!(unset, Clock::Unset { .. }), "{unset:?}");
        let forced = CollectOptions {
            force: true,
            ..CollectOptions::default()
        };
        assert_eq!(clock(&store, &forced).unwrap(), Clock::Fine);
    });
    assert_eq!(
        clock(&store, &CollectOptions::default()).unwrap(),
        Clock::Fine
    );
}

#[test]
fn an_upload_that_began_while_the_clock_was_wrong_is_not_taken_from_under_its_client() {
    for later_run in [false, true] {
        let sim = fresh();
        let store = open(&sim);
        put_chunk(&store, 1);
        if later_run {
            sweep(&store);
        }
        let tmp = folder().join("incoming/tmp");
        let pushed = tmp.join("0123456789abcdef");
        let mut staged = None;
        at(&sim, UNSET + DAY, || {
            let mut upload = store.user(user()).stage().unwrap();
            upload.write(b"half of").unwrap();
            staged = Some(upload);
            let disk = sim.process();
            for directory in [pushed.clone(), pushed.join("chunks")] {
                disk.make_directory(&directory).unwrap();
            }
        });
        assert_eq!(sweep(&store), []);
        let mut staged = staged.unwrap();
        staged.write(b" it").unwrap();
        assert!(sim.process().meta(&pushed.join("chunks")).is_ok());
        let at_top = mentat_sync::disk::Place::new("tmp").join("0.0");
        at(&sim, UNSET + DAY, || {
            sim.process().make_directory(&at_top).unwrap()
        });
        store.clear_top().unwrap();
        assert!(sim.process().meta(&at_top).is_ok());
        // Nobody comes back for any of it.
        std::mem::forget(staged);
        pass(&sim, DAY + Duration::from_secs(10));
        assert_eq!(sweep(&store).len(), 2);
        store.clear_top().unwrap();
        assert!(sim.process().meta(&at_top).is_err());
    }
}
