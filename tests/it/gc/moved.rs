//! A collection beside somebody who gives the user's place to another folder.

use mentat_sync::disk::{Kind, Place};
use mentat_sync::model::{TransactionId, UserId};
use mentat_sync::store::{Mistake, RenameUser, Store};
use mentat_sync::upkeep::gc::{self, Event};

use super::bench::{
    DAY, GRACE, accept, advance_to, alias, chunk, enter, files, folder, folder_of, fresh, incoming,
    is_there, open, pass, put_alias, put_chunk, sweep, user, walk,
};
use simulated_disk::{Bounds, Chooser, Program, Sim, World, run};

const ROOT: TransactionId = TransactionId::ROOT;

/// Whose folder comes into the user's place.
fn other() -> UserId {
    UserId::from_bytes([0x33; 16])
}

/// To whom the user's folder goes.
fn aside() -> UserId {
    UserId::from_bytes([0x44; 16])
}

fn rename(store: &Store, from: &UserId, to: &UserId) {
    let lock = store.user(*from).exclusive_blocking().unwrap().unwrap();
    assert_eq!(lock.rename(to).unwrap(), RenameUser::Renamed);
}

/// Two folders in which everything is old. What is garbage in the user's is named by the other's chain, which has it in
/// `incoming/` alone; and their gates are as old as each other, as those of copies are.
fn two_folders() -> World {
    let sim = fresh();
    put_chunk(&open(&sim), 1);
    accept(&open(&sim), 1, ROOT, &[chunk(1)]);
    advance_to(&open(&sim), 1, 1);
    let committed = files(&sim, "chunks");
    assert_eq!(committed.len(), 1, "{committed:?}");
    sim.with(|world| {
        for place in committed {
            world.remove(&Place::new(&place), Kind::File).unwrap();
        }
    });
    put_chunk(&open(&sim), 1);
    sim.with(|world| {
        world
            .rename(&folder(), &folder_of(&other()), false)
            .unwrap()
    });
    let store = open(&sim);
    put_chunk(&store, 1);
    put_chunk(&store, 2);
    put_alias(&store, 3);
    accept(&store, 2, ROOT, &[chunk(2), alias(3)]);
    pass(&sim, GRACE + DAY);
    let now = sim.world().now();
    sim.with(|world| {
        for folder in [folder(), folder_of(&other())] {
            let gate = world.at(&folder.join("gate")).unwrap();
            world.touch(gate, now);
        }
    });
    let mut world = sim.world();
    world.settle();
    world
}

/// A collection beside a change of folders, in one order of their steps: what is wrong after it.
fn one_order(
    world: &World,
    mistake: Option<Mistake>,
    chooser: Chooser,
) -> (Chooser, Option<String>) {
    let sim = Sim::with_world(world.clone());
    let bounds = Bounds {
        switches: 2,
        kills: 0,
        both: 2,
    };
    let (collector, store) = enter(&sim, mistake);
    let (operator, operators) = enter(&sim, None);
    let mut news = Vec::new();
    let programs: Vec<Program> = vec![
        (
            collector,
            Box::new(|| {
                let options = gc::CollectOptions::default();
                gc::run(&store, Some(&user()), &options, &mut |event| match event {
                    Event::Garbage { .. } | Event::PutBack { .. } => {}
                    other => news.push(format!("{other:?}")),
                })
                .unwrap();
            }),
        ),
        (
            operator,
            Box::new(|| {
                rename(&operators, &user(), &aside());
                rename(&operators, &other(), &user());
            }),
        ),
    ];
    let ran = run(&sim, programs, chooser, bounds);
    let wrong = match (ran.panics.first(), ran.deadlock, news.first()) {
        (Some(panic), ..) => Some(panic.clone()),
        (None, true, _) => Some("nobody goes on".to_owned()),
        (None, false, _) if !is_there(&open(&sim), &chunk(1)) => {
            Some("what the chain of the folder that came names is gone".to_owned())
        }
        (None, false, news) => news.map(|news| format!("told: {news}")),
    };
    let wrong = wrong.map(|wrong| format!("{wrong}\n{}", sim.trace()));
    (ran.chooser, wrong)
}

/// Every order of the steps with at most two changes of turn, see [`walk`].
fn explore(mistake: Option<Mistake>) -> Result<usize, String> {
    let world = two_folders();
    walk(|chooser| one_order(&world, mistake, chooser))
}

#[test]
fn what_was_found_in_one_folder_is_not_taken_from_another_nor_is_it_a_failure() {
    let orders = explore(None).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{orders} orders");
    assert!(orders > 500, "{orders}");
}

#[test]
fn a_sweep_of_whatever_folder_there_is_is_caught() {
    let wrong = explore(Some(Mistake::AnyFolderSwept)).unwrap_err();
    assert!(wrong.starts_with("what the chain"), "{wrong}");
}

#[test]
fn where_nothing_comes_between_all_of_it_goes() {
    let sim = Sim::with_world(two_folders());
    assert_eq!(sweep(&open(&sim)).len(), 5);
    assert!(incoming(&sim).is_empty(), "{:?}", incoming(&sim));
}
