//! Each rule of garbage collection (DESIGN, Garbage).

use mentat_sync::disk::{Disk, Place};
use mentat_sync::model::TransactionId;
use mentat_sync::store::{Advance, AdvanceRefusal, Item, Options, PutTransaction, Store};
use mentat_sync::upkeep::gc::{self, Collected, Why, collect};

use super::bench::{
    DAY, GRACE, accept, advance, advance_and_die, advance_to, alias, ask, chunk, dry_run, files,
    folder, fresh, incoming, is_pending, is_there, open, pass, put, put_alias, put_chunk, sweep,
    tx, user,
};

use simulated_disk::{Fault, Sim};

const ROOT: TransactionId = TransactionId::ROOT;

#[test]
fn what_is_pending_stays_for_the_grace_period_and_then_goes() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    accept(&store, 1, ROOT, &[chunk(1)]);
    pass(&sim, GRACE - DAY);
    assert_eq!(sweep(&store), []);
    assert!(is_pending(&store, 1) && is_there(&store, &chunk(1)));
    pass(&sim, DAY * 2);
    let gone: Vec<_> = sweep(&store).into_iter().map(|gone| gone.item).collect();
    let digest = chunk(1);
    assert_eq!(gone, [Item::Transaction(tx(1)), digest.into()]);
    assert!(incoming(&sim).is_empty());
}

#[test]
fn a_young_transaction_keeps_its_old_ancestors_and_what_they_name() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    put_alias(&store, 2);
    accept(&store, 1, ROOT, &[chunk(1)]);
    accept(&store, 2, tx(1), &[alias(2)]);
    pass(&sim, GRACE * 2);
    accept(&store, 3, tx(2), &[]);
    let before = incoming(&sim);
    assert_eq!(sweep(&store), []);
    assert_eq!(incoming(&sim), before);
    advance_to(&store, 3, 3);
}

#[test]
fn a_chunk_that_is_uploaded_again_is_young_again() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    put_chunk(&store, 2);
    put_alias(&store, 3);
    pass(&sim, GRACE - DAY);
    put_chunk(&store, 1);
    put_alias(&store, 3);
    pass(&sim, DAY * 2);
    let gone: Vec<_> = sweep(&store).into_iter().map(|gone| gone.item).collect();
    assert_eq!(gone, [chunk(2).into()]);
    assert!(is_there(&store, &chunk(1)) && is_there(&store, &alias(3)));
}

#[test]
fn a_chunk_that_is_asked_about_is_young_again() {
    let sim = fresh();
    let store = open(&sim);
    for n in 1..=2 {
        put_chunk(&store, n);
        put_alias(&store, n + 2);
    }
    pass(&sim, GRACE - DAY);
    assert_eq!(ask(&store, &[chunk(1), chunk(9), alias(3)]), [chunk(9)]);
    pass(&sim, DAY * 2);
    let gone: Vec<_> = sweep(&store).into_iter().map(|gone| gone.item).collect();
    assert_eq!(gone.len(), 3, "{gone:?}");
    assert!(is_there(&store, &chunk(1)) && is_there(&store, &alias(3)));
    assert!(!is_there(&store, &chunk(2)) && !is_there(&store, &alias(4)));
}

#[test]
fn a_replayed_transaction_is_young_again_and_needs_no_replay_of_its_chunks() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    accept(&store, 1, ROOT, &[chunk(1)]);
    pass(&sim, GRACE * 2);
    accept(&store, 1, ROOT, &[chunk(1)]);
    assert_eq!(sweep(&store), []);
    advance_to(&store, 1, 1);
}

#[test]
fn a_dead_transaction_stays_while_it_is_young_and_keeps_nothing_else() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    put_chunk(&store, 2);
    accept(&store, 1, ROOT, &[]);
    accept(&store, 2, ROOT, &[chunk(1)]);
    pass(&sim, GRACE * 2);
    accept(&store, 3, tx(2), &[chunk(2)]);
    advance_to(&store, 1, 1);
    let gone: Vec<_> = sweep(&store).into_iter().map(|gone| gone.item).collect();
    assert_eq!(gone.len(), 3, "{gone:?}");
    assert_eq!(gone[0], Item::Transaction(tx(2)));
    assert!(is_pending(&store, 3) && !is_pending(&store, 2));
    assert!(!is_there(&store, &chunk(1)) && !is_there(&store, &chunk(2)));
    // It cannot be replayed, and goes when its own time comes.
    let again = put(&store, 3, tx(2), &[chunk(2)]);
    assert_eq!(again, PutTransaction::UnknownParent);
    pass(&sim, GRACE * 2);
    assert_eq!(sweep(&store).len(), 1);
    assert!(incoming(&sim).is_empty());
}

#[test]
fn a_dead_transaction_is_no_child_of_another_that_comes_under_its_parents_id() {
    let sim = fresh();
    let store = open(&sim);
    accept(&store, 1, ROOT, &[]);
    accept(&store, 4, ROOT, &[]);
    accept(&store, 2, ROOT, &[]);
    pass(&sim, GRACE * 2);
    accept(&store, 3, tx(2), &[]);
    advance_to(&store, 1, 1);
    assert_eq!(sweep(&store).len(), 2);
    accept(&store, 2, tx(1), &[]);
    // Number 2, and it followed a number 1: HEAD would be in a chain that cannot be counted.
    let refused = advance(&store, 3);
    assert!(
        matches!(
            refused,
            Advance::Refused {
                why: AdvanceRefusal::UnknownTransaction,
                ..
            }
        ),
        "{refused:?}"
    );
    let replayed = put(&store, 3, tx(2), &[]);
    assert_eq!(replayed, PutTransaction::TransactionExists);
    advance_to(&store, 2, 2);
}

#[test]
fn what_an_advance_left_is_dropped_and_stays_committed() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    put_alias(&store, 2);
    accept(&store, 1, ROOT, &[chunk(1), alias(2)]);
    advance_and_die(&store, 1);
    assert_eq!(incoming(&sim).len(), 4);
    let gone = sweep(&store);
    assert_eq!(gone.len(), 4, "{gone:?}");
    assert!(
        gone.iter()
            .all(|gone| (gone.why, gone.bytes) == (Why::Leftover, 0))
    );
    assert!(incoming(&sim).is_empty());
    assert!(is_there(&store, &chunk(1)) && is_there(&store, &alias(2)));
    assert!(store.user(user()).transaction(tx(1)).unwrap().is_some());
}

#[test]
fn an_old_alias_that_a_young_transaction_names_keeps_its_chunk() {
    let sim = fresh();
    let store = open(&sim);
    put_alias(&store, 1);
    put_alias(&store, 2);
    pass(&sim, GRACE * 2);
    accept(&store, 1, ROOT, &[alias(1)]);
    let gone: Vec<_> = sweep(&store).into_iter().map(|gone| gone.item).collect();
    assert_eq!(gone, [alias(2).into(), chunk(2).into()]);
    advance_to(&store, 1, 1);
}

#[test]
fn a_young_alias_keeps_an_old_chunk() {
    let sim = fresh();
    let store = open(&sim);
    put_alias(&store, 1);
    pass(&sim, GRACE * 2);
    // As a bundle leaves it that brings an alias of a chunk that is there.
    let disk = sim.process();
    let aliases = files(&sim, "incoming/aliases");
    let alias_file = Place::new(aliases.first().unwrap().as_str());
    let file = disk.open_to_write(&alias_file).unwrap();
    file.touch(disk.now()).unwrap();
    assert_eq!(sweep(&store), []);
    assert!(is_there(&store, &alias(1)) && is_there(&store, &chunk(1)));
}

#[test]
fn temporary_files_go_after_a_day() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    let mut staged = store.user(user()).stage().unwrap();
    staged.write(b"never finished").unwrap();
    std::mem::forget(staged);
    pass(&sim, DAY / 2);
    assert_eq!(sweep(&store), []);
    pass(&sim, DAY);
    let gone = sweep(&store);
    assert!(matches!(gone[..], [ref gone] if gone.why == Why::LeftBehind && gone.bytes == 14));
    assert_eq!(incoming(&sim).len(), 1);
}

#[test]
fn the_folder_of_a_bundle_goes_a_day_after_the_last_name_came_into_it() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    let disk = sim.process();
    let mut place = folder().join("incoming/tmp");
    for name in ["0123456789abcdef", "chunks", "ab"] {
        place = place.join(name);
        disk.make_directory(&place).unwrap();
    }
    pass(&sim, DAY * 2);
    let member = disk.create(&place.join("member")).unwrap();
    member.append(b"never finished").unwrap();
    drop(member);
    pass(&sim, DAY / 2);
    assert_eq!(sweep(&store), []);
    pass(&sim, DAY);
    let gone = sweep(&store);
    assert!(matches!(gone[..], [ref gone] if gone.why == Why::LeftBehind && gone.bytes == 14));
    let tmp = folder().join("incoming/tmp");
    disk.list(&tmp, &mut |entry| panic!("{} is left", entry.name))
        .unwrap();
}

#[test]
fn the_committed_area_and_strangers_are_not_touched() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    accept(&store, 1, ROOT, &[chunk(1)]);
    advance_to(&store, 1, 1);
    let before = [files(&sim, "chunks"), files(&sim, "transactions")];
    let disk = sim.process();
    for name in ["incoming/chunks/note", "incoming/transactions/note.json"] {
        drop(disk.create(&folder().join(name)).unwrap());
    }
    pass(&sim, GRACE * 2);
    assert_eq!(sweep(&store), []);
    assert_eq!([files(&sim, "chunks"), files(&sim, "transactions")], before);
    assert_eq!(incoming(&sim).len(), 2);
}

#[test]
fn a_dry_run_names_what_the_run_removes_and_touches_nothing() {
    let sim = fresh();
    let store = open(&sim);
    for n in 1..=5 {
        put_chunk(&store, n);
        put_alias(&store, n);
        let parent = if n == 1 { ROOT } else { tx(n - 1) };
        accept(&store, n, parent, &[chunk(n), alias(n)]);
    }
    advance_to(&store, 5, 5);
    put_chunk(&store, 6);
    accept(&store, 6, tx(5), &[chunk(6)]);
    advance_and_die(&store, 6);
    for n in 7..=12 {
        put_alias(&store, n);
        accept(&store, n, tx(n - 2), &[alias(n)]);
    }
    let mut staged = store.user(user()).stage().unwrap();
    staged.write(b"never finished").unwrap();
    std::mem::forget(staged);
    pass(&sim, GRACE * 2);
    accept(&store, 13, tx(10), &[]);

    let before = sim.world().files_below(&folder());
    let told = dry_run(&store);
    let after = sim.world().files_below(&folder());
    assert_eq!(before, after, "a dry run changes nothing, no time either");
    let there = incoming(&sim);
    let gone = sweep(&store);
    assert_eq!(told, gone);
    let places = gone
        .iter()
        .map(|gone| store.user(user()).place_of(&gone.item));
    let mut left = there;
    for place in places {
        assert!(left.remove(place.as_str()), "{place:?} was there, and once");
    }
    assert_eq!(left, incoming(&sim));
    assert_eq!(dry_run(&store), []);
    advance_to(&store, 13, 9);
}

/// The steps of a collection over a chain of this length, and of so many old chunks that nothing needs, whose
/// transactions go in any case.
fn cost(length: u8, old_chunks: u8) -> u64 {
    let sim = fresh();
    let store = open(&sim);
    let mut parent = ROOT;
    for n in 1..=length {
        put_chunk(&store, n);
        accept(&store, n, parent, &[chunk(n)]);
        parent = tx(n);
    }
    advance_to(&store, length, length.into());
    for n in 201..=205 {
        let named = match n - 200 <= old_chunks {
            true => n,
            false => 1,
        };
        put_chunk(&store, named);
        accept(&store, n, parent, &[chunk(named)]);
        accept(&store, n + 10, tx(1), &[chunk(named)]);
    }
    pass(&sim, GRACE * 2);
    accept(&store, 220, parent, &[chunk(1)]);
    // The fan-out directories, which stay, are the only thing that a long past leaves.
    let disk = sim.process();
    for byte in 0..=255 {
        let _ = disk.make_directory(&folder().join(&format!("incoming/chunks/{byte:02x}")));
    }
    let collector = Store::open(std::sync::Arc::new(disk.clone()), Options::default()).unwrap();
    let before = disk.steps();
    assert_eq!(sweep(&collector).len(), 10 + usize::from(old_chunks));
    disk.steps() - before
}

#[test]
fn the_cost_is_in_proportion_to_what_is_incoming_and_not_to_the_chain() {
    assert_eq!(cost(10, 0), cost(100, 0));
}

#[test]
fn where_a_chunk_would_go_each_transaction_of_the_chain_is_read_once() {
    // Opened, looked at, read.
    for old_chunks in [1, 5] {
        assert_eq!(cost(100, old_chunks) - cost(10, old_chunks), 3 * 90);
    }
}

#[test]
fn nothing_is_made_so_a_full_disk_is_no_obstacle() {
    let sim = fresh();
    let store = open(&sim);
    for n in 1..=3 {
        put_alias(&store, n);
        accept(&store, n, ROOT, &[alias(n)]);
    }
    advance_and_die(&store, 1);
    pass(&sim, GRACE * 2);
    sim.watch(|step, _| {
        let takes_room = ["create", "make", "link", "rename", "write", "cut"];
        // What `gate` holds need not be written (below), and its one byte is a hole.
        assert!(
            !takes_room.contains(&step.verb) || step.place.name() == "gate",
            "{step:?}"
        );
    });
    assert_eq!(sweep(&store).len(), 9);
    sim.unwatch();
    assert!(incoming(&sim).is_empty());
}

#[test]
fn on_a_full_disk_the_run_is_remembered_and_what_an_earlier_one_proved_stands() {
    let sim = fresh();
    let store = open(&sim);
    put_chunk(&store, 1);
    sweep(&store);
    let before = store.user(user()).gc_memory().unwrap().unwrap();
    pass(&sim, GRACE + DAY);
    put_chunk(&store, 2);
    let mut not_remembered = 0;
    for step in 1.. {
        let sim = Sim::with_world(sim.world());
        let disk = sim.process();
        let sweeper = Store::open(std::sync::Arc::new(disk.clone()), Options::default()).unwrap();
        let now = sweeper.now();
        disk.set_fault(Fault::At(step, rustix::io::Errno::NOSPC));
        let ended = collect(
            &sweeper,
            &user(),
            &gc::CollectOptions::default(),
            &mut |_| {},
        );
        if disk.steps() < step {
            break;
        }
        let memory = sweeper.user(user()).gc_memory().unwrap();
        if let Ok(ended) = ended
            && memory.is_none_or(|memory| memory.cut == before.cut)
        {
            not_remembered += 1;
            assert_eq!(ended, Collected::All);
            assert!(!is_there(&sweeper, &chunk(1)) && is_there(&sweeper, &chunk(2)));
            assert!(sweeper.user(user()).last_gc().unwrap() >= Some(now));
        }
    }
    assert_eq!(not_remembered, 1);
}
