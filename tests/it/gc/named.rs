//! What the chain names is never taken, though `incoming/` alone has it: a committed chunk that went missing, and
//! came again, is put back.

use std::sync::Arc;

use mentat_sync::disk::{Kind, Place};
use mentat_sync::model::{ChunkId, TransactionId};
use mentat_sync::store::{Error, Mistake, Options, Store};
use mentat_sync::upkeep::gc::{CollectOptions, Collected, Ended, Event, collect, run};
use rustix::io::Errno;

use super::bench::{
    GRACE, accept, advance_to, alias, chunk, dry_run, files, folder, fresh, incoming, is_there,
    open, open_mistaken, pass, put_alias, put_chunk, sweep, tx, user,
};
use simulated_disk::{Fault, Sim};

const ROOT: TransactionId = TransactionId::ROOT;

fn thing(area: &str, id: &ChunkId) -> Place {
    let name = id.to_string();
    let shelf = match id {
        ChunkId::Digest(_) => "chunks",
        ChunkId::Alias(_) => "aliases",
    };
    folder().join(format!("{area}{shelf}/{}/{name}", &name[..2]))
}

fn committed_transaction(n: u8) -> Place {
    let name = tx(n).to_string();
    folder().join(format!("transactions/{}/{name}.json", &name[..2]))
}

fn has(sim: &Sim, place: &Place) -> bool {
    sim.world().read_file(place).is_some()
}

fn remove(sim: &Sim, place: &Place) {
    sim.with(|world| world.remove(place, Kind::File)).unwrap();
}

/// A chain of three, of which the first names chunk 1, the second alias 2, and the third nothing.
fn chain(store: &Store) {
    put_chunk(store, 1);
    put_alias(store, 2);
    accept(store, 1, ROOT, &[chunk(1)]);
    accept(store, 2, tx(1), &[alias(2)]);
    accept(store, 3, tx(2), &[]);
    advance_to(store, 3, 3);
}

/// What went missing of that chain, and how it came again.
struct Loss {
    lost: fn() -> Vec<ChunkId>,
    again: fn(&Store),
    named: fn() -> ChunkId,
}

const LOSSES: [Loss; 4] = [
    Loss {
        lost: || vec![chunk(1)],
        again: |store| put_chunk(store, 1),
        named: || chunk(1),
    },
    Loss {
        lost: || vec![alias(2)],
        again: |store| put_alias(store, 2),
        named: || alias(2),
    },
    Loss {
        lost: || vec![chunk(2)],
        again: |store| put_alias(store, 2),
        named: || alias(2),
    },
    Loss {
        lost: || vec![chunk(2), alias(2)],
        again: |store| put_alias(store, 2),
        named: || alias(2),
    },
];

/// All of it old, and beside it an upload that nothing names.
fn came_again(loss: &Loss) -> Sim {
    let sim = fresh();
    let store = open(&sim);
    chain(&store);
    for id in (loss.lost)() {
        remove(&sim, &thing("", &id));
    }
    (loss.again)(&store);
    for id in (loss.lost)() {
        assert!(has(&sim, &thing("incoming/", &id)), "{id}");
    }
    put_chunk(&store, 9);
    pass(&sim, GRACE * 2);
    sim
}

#[test]
fn what_the_chain_names_and_came_again_is_put_back() {
    for (index, loss) in LOSSES.iter().enumerate() {
        let sim = came_again(loss);
        let store = open(&sim);
        let would: Vec<_> = dry_run(&store).into_iter().map(|gone| gone.item).collect();
        assert_eq!(would, [chunk(9).into()], "{index}");
        let gone: Vec<_> = sweep(&store).into_iter().map(|gone| gone.item).collect();
        assert_eq!(gone, [chunk(9).into()], "{index}");
        assert!(incoming(&sim).is_empty(), "{index}");
        for id in (loss.lost)() {
            assert!(has(&sim, &thing("", &id)), "{index}: {id}");
        }
        // And it stays: nothing is left to be taken, whenever.
        pass(&sim, GRACE * 2);
        assert_eq!(sweep(&open(&sim)), []);
        assert!(is_there(&store, &(loss.named)()), "{index}");
    }
}

#[test]
fn a_collection_that_does_not_ask_the_chain_is_noticed() {
    for loss in &LOSSES {
        let sim = came_again(loss);
        sweep(&open_mistaken(&sim, Some(Mistake::SweptThoughNamed)));
        assert!(!is_there(&open(&sim), &(loss.named)()));
    }
}

/// What a run says, but for what went.
fn said(store: &Store, dry_run: bool) -> Vec<String> {
    let mut said = Vec::new();
    let options = CollectOptions {
        dry_run,
        force: true,
        ..CollectOptions::default()
    };
    let ended = run(store, None, &options, &mut |event| match event {
        Event::Garbage { .. } => {}
        other => said.push(format!("{other:?}")),
    });
    assert_eq!(ended.unwrap(), Ended::Done);
    said
}

#[test]
fn what_was_put_back_is_said() {
    let sim = came_again(&LOSSES[3]);
    let user = user();
    let words = vec![format!("{:?}", Event::PutBack { user, files: 2 })];
    assert_eq!(said(&open(&sim), true), words);
    assert_eq!(said(&open(&sim), false), words);
    assert_eq!(said(&open(&sim), false), [] as [String; 0]);
}

#[test]
fn a_chain_that_cannot_be_read_keeps_what_it_might_name() {
    let sim = came_again(&LOSSES[0]);
    let store = open(&sim);
    let old = sim.world().read_file(&committed_transaction(1)).unwrap();
    accept(&store, 4, tx(3), &[]);
    accept(&store, 5, ROOT, &[]);
    pass(&sim, GRACE * 2);
    remove(&sim, &committed_transaction(1));
    let before = files(&sim, "incoming/chunks");
    assert_eq!(before.len(), 2);
    for _ in 0..2 {
        let ended = collect(&store, &user(), &CollectOptions::default(), &mut |_| {});
        assert!(matches!(ended, Err(Error::Damaged { .. })), "{ended:?}");
        assert_eq!(files(&sim, "incoming/chunks"), before);
        assert_eq!(said(&store, false).len(), 1);
        assert_eq!(said(&store, true).len(), 1);
    }
    // Transactions are none that the chain might name.
    assert_eq!(incoming(&sim), before);
    sim.with(|world| {
        let object = world.create(&committed_transaction(1)).unwrap();
        world.write(object, 0, &old);
        world.close(object);
    });
    let gone: Vec<_> = sweep(&store).into_iter().map(|gone| gone.item).collect();
    assert_eq!(gone, [chunk(9).into()], "with the dates that they had");
    assert!(has(&sim, &thing("", &chunk(1))) && is_there(&store, &chunk(1)));
}

#[test]
fn an_alias_that_is_nowhere_may_stand_for_any_chunk() {
    let sim = came_again(&LOSSES[0]);
    remove(&sim, &thing("", &alias(2)));
    let before = incoming(&sim);
    // Above the one that names chunk 1, so that the pass comes to it first.
    assert_eq!(said(&open(&sim), false).len(), 1);
    assert_eq!(incoming(&sim), before);
}

#[test]
fn a_chain_is_read_only_where_something_would_go_that_is_not_committed() {
    let sim = fresh();
    let store = open(&sim);
    chain(&store);
    put_chunk(&store, 9);
    remove(&sim, &committed_transaction(1));
    // Young, nothing would go: nobody notices.
    assert_eq!(said(&store, false), [] as [String; 0]);
    pass(&sim, GRACE * 2);
    assert_eq!(said(&store, false).len(), 1);
}

#[test]
fn whatever_is_refused_on_the_way_back_nothing_is_lost() {
    for errno in [Errno::IO, Errno::NOSPC, Errno::ACCESS] {
        let mut refused = 0;
        for step in 1.. {
            let sim = came_again(&LOSSES[3]);
            let disk = sim.process();
            let store = Store::open(Arc::new(disk.clone()), Options::default()).unwrap();
            disk.set_fault(Fault::At(step, errno));
            let ended = collect(&store, &user(), &CollectOptions::default(), &mut |_| {});
            assert!(is_there(&open(&sim), &alias(2)), "{errno:?} {step}");
            // The next one finds what there is to be done.
            let next = collect(
                &open(&sim),
                &user(),
                &CollectOptions::default(),
                &mut |_| {},
            );
            assert_eq!(next.unwrap(), Collected::All);
            assert!(has(&sim, &thing("", &chunk(2))) && has(&sim, &thing("", &alias(2))));
            refused += usize::from(ended.is_err());
            if disk.steps() < step {
                break;
            }
        }
        assert!(refused > 3, "{errno:?}: {refused}");
    }
}
