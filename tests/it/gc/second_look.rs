//! A sweep beside clients and other sweeps: every order of their steps with few changes of turn.

use std::sync::Mutex;
use std::time::Duration;

use mentat_sync::model::TransactionId;
use mentat_sync::store::{Mistake, PutTransaction, Store};
use mentat_sync::upkeep::gc::{self, collect};

use super::bench::{
    DAY, GRACE, accept, advance, advance_to, alias, ask, chunk, enter, fresh, is_there, open,
    open_mistaken, pass, put, put_alias, put_chunk, sweep, tx, user, walk,
};
use super::oracle::Oracle;
use simulated_disk::{Bounds, Chooser, Program, Sim, World, run};

const ROOT: TransactionId = TransactionId::ROOT;

/// What a client did that was acknowledged: these transactions and chunks are young now.
#[derive(Default)]
struct Acknowledged {
    transactions: Vec<u8>,
    chunks: Vec<u8>,
}

type Client = fn(&Store, &Mutex<Acknowledged>);

/// A client on its own box, in which everything from before is old.
struct Scene {
    before: fn(&Store),
    client: Client,
    /// What is young.
    lately: fn(&Store),
}

/// One collection, and two, of the usual kind.
const ONE: &[Duration] = &[GRACE];
const TWO: &[Duration] = &[GRACE, GRACE];

/// Every order with one change of turn, and some with many: the first thing that is wrong, or how
/// many orders there were.
fn explore(scene: &Scene, graces: &[Duration], mistake: Option<Mistake>) -> Result<usize, String> {
    let sim = fresh();
    (scene.before)(&open(&sim));
    pass(&sim, GRACE + DAY);
    (scene.lately)(&open(&sim));
    let mut world = sim.world();
    world.settle();
    let mut orders = walk(|chooser| one_order(scene, &world, graces, mistake, chooser, 1))?;
    for seed in 0..DRAWN {
        orders += 1;
        let drawn = Chooser::draw(seed);
        if let (_, Some(wrong)) = one_order(scene, &world, graces, mistake, drawn, 100) {
            return Err(format!("seed {seed}: {wrong}"));
        }
    }
    Ok(orders)
}

/// Orders that are drawn for each scene.
const DRAWN: u64 = 100;

fn one_order(
    scene: &Scene,
    world: &World,
    graces: &[Duration],
    mistake: Option<Mistake>,
    chooser: Chooser,
    switches: usize,
) -> (Chooser, Option<String>) {
    let sim = Sim::with_world(world.clone());
    let acknowledged = Mutex::new(Acknowledged::default());
    let bounds = Bounds {
        switches,
        kills: 0,
        both: switches,
    };
    let client = enter(&sim, None);
    let sweepers: Vec<_> = graces.iter().map(|_| enter(&sim, mistake)).collect();
    let mut programs: Vec<Program> = Vec::new();
    for ((disk, store), grace) in sweepers.iter().zip(graces) {
        let options = gc::CollectOptions {
            grace: *grace,
            ..gc::CollectOptions::default()
        };
        let program = move || {
            collect(store, &user(), &options, &mut |_| {}).unwrap();
        };
        programs.push((disk.clone(), Box::new(program)));
    }
    let program = || (scene.client)(&client.1, &acknowledged);
    programs.push((client.0.clone(), Box::new(program)));
    let ran = run(&sim, programs, chooser, bounds);
    let wrong = match (ran.panics.first(), ran.deadlock) {
        (Some(panic), _) => Some(panic.clone()),
        (None, true) => Some("nobody goes on".to_owned()),
        (None, false) => judge(&sim, &acknowledged.into_inner().unwrap()),
    };
    let wrong = wrong.map(|wrong| format!("{wrong}\n{}", sim.trace()));
    (ran.chooser, wrong)
}

fn judge(sim: &Sim, acknowledged: &Acknowledged) -> Option<String> {
    let store = open(sim);
    if let Some(unsound) = Oracle::look(&sim.world()).unsound(&sim.world()) {
        return Some(unsound);
    }
    for n in &acknowledged.chunks {
        if !is_there(&store, &chunk(*n)) {
            return Some(format!("chunk {n} was acknowledged, and is gone"));
        }
    }
    for n in &acknowledged.transactions {
        let on_chain = store.user(user()).transaction(tx(*n)).unwrap().is_some();
        if !on_chain && store.user(user()).needs(tx(*n)).unwrap().is_none() {
            return Some(format!("transaction {n} was acknowledged, and is gone"));
        }
    }
    // What stays, stays for a reason, and what has one stays.
    sweep(&store);
    let kept = Oracle::look(&sim.world()).kept();
    let names = sim
        .world()
        .files_below(&super::bench::folder().join("incoming"));
    let left = names.into_iter().map(|(place, ..)| place.name().to_owned());
    let left: std::collections::BTreeSet<_> = left.collect();
    (left != kept).then(|| format!("{left:?} is left where {kept:?} should be"))
}

fn note(acknowledged: &Mutex<Acknowledged>, change: impl FnOnce(&mut Acknowledged)) {
    change(&mut acknowledged.lock().unwrap());
}

fn line_of_two(store: &Store) {
    put_chunk(store, 1);
    put_alias(store, 2);
    accept(store, 1, ROOT, &[chunk(1)]);
    accept(store, 2, tx(1), &[alias(2)]);
}

/// A new transaction on an old parent, naming what only old ones name.
const NEW: Scene = Scene {
    before: line_of_two,
    client: |store, acknowledged| {
        if put(store, 3, tx(1), &[chunk(1), alias(2)]) == PutTransaction::Accepted {
            note(acknowledged, |done| done.transactions.extend([1, 3]));
        }
    },
    lately: |_| {},
};

const REPLAY: Scene = Scene {
    before: line_of_two,
    client: |store, acknowledged| {
        if put(store, 2, tx(1), &[alias(2)]) == PutTransaction::Accepted {
            note(acknowledged, |done| done.transactions.extend([1, 2]));
        }
    },
    lately: |_| {},
};

const UPLOAD: Scene = Scene {
    before: line_of_two,
    client: |store, acknowledged| {
        put_chunk(store, 1);
        put_alias(store, 2);
        note(acknowledged, |done| done.chunks.extend([1, 2]));
    },
    lately: |_| {},
};

/// Asked about, all of it, and then counted on.
const QUESTION: Scene = Scene {
    before: line_of_two,
    client: |store, acknowledged| {
        let missing = ask(store, &[chunk(1), alias(2)]);
        note(acknowledged, |done| {
            done.chunks
                .extend((!missing.contains(&chunk(1))).then_some(1));
            done.chunks
                .extend((!missing.contains(&alias(2))).then_some(2));
        });
    },
    lately: |_| {},
};

const ADVANCE: Scene = Scene {
    before: line_of_two,
    client: |store, acknowledged| {
        if let mentat_sync::store::Advance::Advanced(_) = advance(store, 2) {
            note(acknowledged, |done| {
                done.transactions.extend([1, 2]);
                done.chunks.extend([1, 2]);
            });
        }
    },
    lately: |_| {},
};

/// Under the id of an old one, with other content.
const OTHER_CONTENT: Scene = Scene {
    before: |store| {
        put_chunk(store, 1);
        put_chunk(store, 2);
        accept(store, 1, ROOT, &[chunk(1)]);
        accept(store, 2, tx(1), &[]);
    },
    client: |store, acknowledged| {
        if put(store, 2, ROOT, &[chunk(2)]) == PutTransaction::Accepted {
            note(acknowledged, |done| done.transactions.push(2));
        }
    },
    lately: |_| {},
};

/// Young, and put again with other content when a collection with no grace at all took it.
const TAKEN_AWAY: Scene = Scene {
    before: |store| put_chunk(store, 2),
    client: |store, acknowledged| {
        for _ in 0..3 {
            match put(store, 1, ROOT, &[chunk(2)]) {
                PutTransaction::Accepted => {
                    note(acknowledged, |done| done.transactions.push(1));
                    break;
                }
                _ => drop(store.user(user()).head()),
            }
        }
    },
    lately: |store| accept(store, 1, ROOT, &[]),
};

/// An old chunk becomes what the chain names, while the chain is asked about it.
const COMMITTED_MEANWHILE: Scene = Scene {
    before: |store| {
        put_chunk(store, 1);
        accept(store, 1, ROOT, &[chunk(1)]);
        advance_to(store, 1, 1);
        put_chunk(store, 2);
    },
    client: |store, acknowledged| {
        if put(store, 2, tx(1), &[chunk(2)]) == PutTransaction::Accepted {
            advance_to(store, 2, 2);
            note(acknowledged, |done| {
                done.transactions.push(2);
                done.chunks.push(2);
            });
        }
    },
    lately: |_| {},
};

const SCENES: [&Scene; 7] = [
    &NEW,
    &REPLAY,
    &UPLOAD,
    &QUESTION,
    &ADVANCE,
    &OTHER_CONTENT,
    &COMMITTED_MEANWHILE,
];

#[test]
fn whatever_is_acknowledged_beside_a_sweep_survives_it() {
    for (index, scene) in SCENES.into_iter().enumerate() {
        let orders = explore(scene, ONE, None).unwrap_or_else(|wrong| panic!("{index}: {wrong}"));
        println!("scene {index}: {orders} orders");
        assert!(orders > 50, "{index}: {orders}");
    }
}

#[test]
fn a_sweep_without_a_second_look_is_caught() {
    for scene in [&NEW, &REPLAY, &UPLOAD, &QUESTION] {
        let wrong = explore(scene, ONE, Some(Mistake::NoSecondLook)).unwrap_err();
        assert!(
            wrong.contains("lost") || wrong.contains("is gone"),
            "{wrong}"
        );
    }
}

#[test]
fn other_processes_forget_what_was_swept() {
    // One process has read the old content of an id; another sweeps; it comes again, otherwise.
    let sim = fresh();
    let (reader, sweeper) = (open(&sim), open(&sim));
    accept(&reader, 1, ROOT, &[]);
    accept(&reader, 2, tx(1), &[]);
    accept(&reader, 3, tx(1), &[]);
    assert!(matches!(
        advance(&reader, 1),
        mentat_sync::store::Advance::Refused { .. }
    ));
    pass(&sim, GRACE + DAY);
    accept(&reader, 1, ROOT, &[]);
    assert_eq!(sweep(&sweeper).len(), 2);
    accept(&sweeper, 2, ROOT, &[]);
    // Not a descendant of 1 any more.
    advance_to(&reader, 1, 1);
}

#[test]
fn the_number_of_pending_transactions_stays_right_whoever_sweeps() {
    let sim = fresh();
    let options = mentat_sync::store::Options {
        pending_transactions: 3,
        ..Default::default()
    };
    let writer = Store::open(std::sync::Arc::new(sim.process()), options).unwrap();
    let other = open_mistaken(&sim, None);
    for sweeper in [&writer, &other] {
        for n in 1..=3 {
            accept(&writer, n, ROOT, &[]);
        }
        let full = PutTransaction::TooManyPending { limit: 3, used: 3 };
        assert_eq!(put(&writer, 4, ROOT, &[]), full);
        pass(&sim, GRACE + Duration::from_secs(1));
        assert_eq!(sweep(sweeper).len(), 3);
    }
    for n in 1..=3 {
        accept(&writer, n, ROOT, &[]);
    }
}

#[test]
fn two_collections_at_once_are_as_good_as_one() {
    let orders = explore(&OTHER_CONTENT, TWO, None).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert!(orders > 50, "{orders}");
}

#[test]
fn a_collection_goes_no_further_once_another_has_swept() {
    let graces = [GRACE, Duration::ZERO];
    for seed in 0..1000 {
        let sim = fresh();
        let store = open(&sim);
        (TAKEN_AWAY.before)(&store);
        pass(&sim, GRACE + DAY);
        (TAKEN_AWAY.lately)(&store);
        let drawn = Chooser::draw(seed);
        let (_, wrong) = one_order(&TAKEN_AWAY, &sim.world(), &graces, None, drawn, 100);
        // A collection with no grace takes what it finds; but not what came after it looked.
        assert_eq!(wrong, None, "seed {seed}");
    }
}
