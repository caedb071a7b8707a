//! A collection that dies on the way, by itself or with the power, leaves a sound store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mentat_sync::model::TransactionId;
use mentat_sync::store::{Mistake, Options, Store};
use mentat_sync::upkeep::gc::{self, collect};

use super::bench::{
    DAY, GRACE, accept, advance, advance_and_die, alias, chunk, enter, fresh, is_pending, open,
    pass, put_alias, put_chunk, sweep, tx, user,
};
use super::oracle::Oracle;
use crate::kit::effort;
use simulated_disk::{Fault, Sim, World};

/// A store with something of each kind: committed, left over, young, needed by the young, old.
fn stocked() -> World {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    put_alias(&store, 2);
    accept(&store, 1, TransactionId::ROOT, &[chunk(1), alias(2)]);
    advance_and_die(&store, 1);
    for n in 3..=6 {
        put_chunk(&store, n);
        put_alias(&store, n + 10);
        accept(
            &store,
            n,
            tx(if n == 3 { 1 } else { n - 1 }),
            &[chunk(n), alias(n + 10)],
        );
    }
    pass(&sim, GRACE + DAY);
    accept(&store, 7, tx(4), &[chunk(3)]);
    put_chunk(&store, 8);
    let mut world = sim.world();
    world.settle();
    world
}

fn collect_on(sim: &Sim, mistake: Option<Mistake>, fault: Fault) -> bool {
    let (disk, store) = enter(sim, mistake);
    disk.set_fault(fault);
    let run = || collect(&store, &user(), &gc::CollectOptions::default(), &mut |_| {});
    matches!(catch_unwind(AssertUnwindSafe(run)), Ok(Ok(_)))
}

/// What is wrong after a death at each step, if anything ever is.
fn die_everywhere(mistake: Option<Mistake>) -> Result<u64, String> {
    let before = stocked();
    let whole = Sim::with_world(before.clone());
    assert!(collect_on(&whole, None, Fault::None));
    let wanted = Oracle::look(&whole.world()).kept();
    let cuts = match mistake {
        None => effort::either(3, 8),
        Some(_) => 8,
    };
    for step in 1.. {
        let sim = Sim::with_world(before.clone());
        if collect_on(&sim, mistake, Fault::Death(step)) {
            return Ok(step);
        }
        let mut worlds = vec![sim.world()];
        worlds.extend((0..cuts).map(|seed| sim.world().survivor(seed)));
        for (index, world) in worlds.into_iter().enumerate() {
            let sim = Sim::with_world(world);
            let wrong = |what| format!("death at step {step}, cut {index}: {what}");
            if let Some(what) = Oracle::look(&sim.world()).unsound(&sim.world()) {
                // A cut may bring back a transaction whose going was not synced, without its parent.
                if index == 0 || !what.contains("parent") {
                    return Err(wrong(what));
                }
            }
            let store = open(&sim);
            assert!(is_pending(&store, 7), "step {step}, cut {index}");
            sweep(&store);
            sweep(&store);
            let left = Oracle::look(&sim.world()).kept();
            if left != wanted {
                return Err(wrong(format!("{left:?} is left of {wanted:?}")));
            }
            advance(&store, 7);
            assert!(store.user(user()).transaction(tx(7)).unwrap().is_some());
        }
    }
    unreachable!("a collection ends")
}

#[test]
fn a_collection_that_dies_at_any_step_leaves_a_sound_store() {
    let steps = die_everywhere(None).unwrap();
    assert!(steps > 100, "{steps}");
}

#[test]
fn parents_before_children_is_caught() {
    let what = die_everywhere(Some(Mistake::ParentsFirst)).unwrap_err();
    assert!(what.contains("has lost"), "{what}");
}

#[test]
fn a_disk_that_fails_at_any_step_leaves_a_sound_store() {
    use rustix::io::Errno;
    let before = stocked();
    for errno in [Errno::IO, Errno::NOSPC] {
        for step in 1.. {
            let sim = Sim::with_world(before.clone());
            let ended = collect_on(&sim, None, Fault::At(step, errno));
            let unsound = Oracle::look(&sim.world()).unsound(&sim.world());
            assert_eq!(unsound, None, "{errno:?} at step {step}");
            if ended && step > 1000 {
                break;
            }
        }
    }
}

/// HEAD goes to a sibling, and whoever moved it dies at each step; a server that was there before
/// collects; then the power fails. If HEAD goes back, what was dead is alive.
#[test]
fn what_a_head_that_is_not_durable_makes_dead_survives() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    accept(&store, 1, TransactionId::ROOT, &[chunk(1)]);
    accept(&store, 9, TransactionId::ROOT, &[]);
    pass(&sim, GRACE + DAY);
    accept(&store, 2, tx(1), &[]);
    let mut before = sim.world();
    before.settle();
    let mut back = 0;
    for step in 1.. {
        let sim = Sim::with_world(before.clone());
        let server = open(&sim);
        // It has been at work: no directory is new to it, so none is synced by the way.
        accept(&server, 5, TransactionId::ROOT, &[]);
        let other = sim.process();
        let mover = Store::open(Arc::new(other.clone()), Options::default()).unwrap();
        other.set_fault(Fault::Death(step));
        let moved = catch_unwind(AssertUnwindSafe(|| advance(&mover, 9)));
        sweep(&server);
        for seed in 0..16 {
            let sim = sim.survivor(seed);
            let store = open(&sim);
            if store.user(user()).head().unwrap().seq == 0 {
                back += 1;
                advance(&store, 2);
                assert!(
                    store.user(user()).transaction(tx(2)).unwrap().is_some(),
                    "death at step {step}, cut {seed}"
                );
            }
        }
        if moved.is_ok() {
            break;
        }
    }
    assert!(back > 100, "{back}");
}
