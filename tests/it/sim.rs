//! The simulated disk itself: what was synced survives, what was not may be lost, and names and locks
//! are those of a POSIX file system.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mentat_sync::disk::{Disk, Handle, Mode, Place, Target};
use rustix::io::Errno;

use simulated_disk::{Bounds, Chooser, Fault, Killed, Lie, Reading, Sim, SimDisk, World, run};

fn place(path: &str) -> Place {
    Place::new(path)
}

fn fresh() -> (Sim, SimDisk) {
    let sim = Sim::new(Reading::Posix);
    let disk = sim.process();
    (sim, disk)
}

fn put(disk: &SimDisk, path: &str, bytes: &[u8]) -> Handle {
    let handle = disk.create(&place(path)).unwrap();
    handle.append(bytes).unwrap();
    handle
}

fn sync_file(disk: &SimDisk, handle: &Handle) {
    disk.sync(&[Target::File(handle.clone())]).unwrap();
}

fn sync_names(disk: &SimDisk, path: &str) {
    disk.sync(&[Target::Directory(place(path))]).unwrap();
}

fn text(sim: &Sim, path: &str) -> Option<String> {
    let bytes = sim.world().read_file(&place(path))?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a file may hold after a cut now; `None` where it is gone.
fn after_cuts(sim: &Sim, path: &str) -> BTreeSet<Option<String>> {
    (0..2000)
        .map(|seed| text(&sim.survivor(seed), path))
        .collect()
}

fn just(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn what_was_synced_survives() {
    let (sim, disk) = fresh();
    let handle = put(&disk, "a", b"hello");
    sync_file(&disk, &handle);
    sync_names(&disk, "");
    assert_eq!(after_cuts(&sim, "a"), BTreeSet::from([just("hello")]));
}

#[test]
fn a_file_whose_name_was_not_synced_may_be_gone_or_whole() {
    let (sim, disk) = fresh();
    let handle = put(&disk, "a", b"hello");
    sync_file(&disk, &handle);
    assert_eq!(after_cuts(&sim, "a"), BTreeSet::from([None, just("hello")]));
}

#[test]
fn bytes_that_were_not_synced_may_be_torn_zero_stale_or_missing() {
    let (sim, disk) = fresh();
    put(&disk, "a", b"hello");
    sync_names(&disk, "");
    let found = after_cuts(&sim, "a");
    for wanted in ["hello", "", "he", "\0\0\0\0\0", "%%%%%"] {
        assert!(found.contains(&just(wanted)), "{wanted:?} not in {found:?}");
    }
    assert!(!found.contains(&None));
}

#[test]
fn a_write_in_place_may_be_lost_but_not_what_was_synced_before() {
    let (sim, disk) = fresh();
    let handle = put(&disk, "a", b"0123456789");
    sync_file(&disk, &handle);
    sync_names(&disk, "");
    handle.write_at(8, b"xyz").unwrap();
    for text in after_cuts(&sim, "a").into_iter().flatten() {
        assert_eq!(&text[..8], "01234567");
    }
    assert!(after_cuts(&sim, "a").contains(&just("01234567xyz")));
    assert!(after_cuts(&sim, "a").contains(&just("0123456789")));
}

#[test]
fn a_new_directory_is_lost_with_all_in_it_unless_its_parent_was_synced() {
    let (sim, disk) = fresh();
    disk.make_directory(&place("d")).unwrap();
    let handle = put(&disk, "d/a", b"hello");
    sync_file(&disk, &handle);
    sync_names(&disk, "d");
    assert_eq!(
        after_cuts(&sim, "d/a"),
        BTreeSet::from([None, just("hello")])
    );
    sync_names(&disk, "");
    assert_eq!(after_cuts(&sim, "d/a"), BTreeSet::from([just("hello")]));
}

#[test]
fn a_removed_name_may_come_back_until_its_directory_is_synced() {
    let (sim, disk) = fresh();
    let handle = put(&disk, "a", b"hello");
    sync_file(&disk, &handle);
    sync_names(&disk, "");
    disk.remove_file(&place("a")).unwrap();
    assert_eq!(after_cuts(&sim, "a"), BTreeSet::from([None, just("hello")]));
    sync_names(&disk, "");
    assert_eq!(after_cuts(&sim, "a"), BTreeSet::from([None]));
}

#[test]
fn a_rename_between_directories_is_one_thing_or_two() {
    for (reading, sides) in [(Reading::Atomic, 2), (Reading::Posix, 4)] {
        let sim = Sim::new(reading);
        let disk = sim.process();
        for directory in ["d", "e"] {
            disk.make_directory(&place(directory)).unwrap();
        }
        put(&disk, "d/a", b"hello");
        disk.sync_everything().unwrap();
        disk.rename_new(&place("d/a"), &place("e/b")).unwrap();
        let found: BTreeSet<_> = (0..400)
            .map(|seed| sim.survivor(seed))
            .map(|sim| (text(&sim, "d/a"), text(&sim, "e/b")))
            .collect();
        assert_eq!(found.len(), sides, "{reading:?}: {found:?}");
        sync_names(&disk, "e");
        assert_eq!(after_cuts(&sim, "e/b"), BTreeSet::from([just("hello")]));
        let gone = BTreeSet::from([None]);
        assert_eq!(after_cuts(&sim, "d/a") == gone, reading == Reading::Atomic);
    }
}

#[test]
fn a_replaced_file_is_the_old_one_or_the_new_one() {
    let (sim, disk) = fresh();
    put(&disk, "head", b"one");
    disk.sync_everything().unwrap();
    let handle = put(&disk, "next", b"two");
    sync_file(&disk, &handle);
    disk.rename_over(&place("next"), &place("head")).unwrap();
    let both = BTreeSet::from([just("one"), just("two")]);
    assert_eq!(after_cuts(&sim, "head"), both);
    sync_names(&disk, "");
    assert_eq!(after_cuts(&sim, "head"), BTreeSet::from([just("two")]));
}

#[test]
fn a_directory_moved_twice_is_in_one_place_after_any_cut() {
    let (sim, disk) = fresh();
    for directory in ["d", "e", "f", "d/x"] {
        disk.make_directory(&place(directory)).unwrap();
    }
    disk.sync_everything().unwrap();
    disk.rename_new(&place("d/x"), &place("e/x")).unwrap();
    disk.rename_new(&place("e/x"), &place("f/x")).unwrap();
    for seed in 0..400 {
        let world = sim.survivor(seed).world();
        let places = ["d/x", "e/x", "f/x"].map(|path| world.at(&place(path)).is_ok());
        assert_eq!(
            places.iter().filter(|there| **there).count(),
            1,
            "{places:?}"
        );
    }
}

#[test]
fn times_are_durable_with_a_sync_of_the_file() {
    let (sim, disk) = fresh();
    let handle = put(&disk, "a", b"hello");
    disk.sync_everything().unwrap();
    let (before, later) = (disk.now(), disk.now() + Duration::from_secs(3600));
    handle.touch(later).unwrap();
    let times = |sim: &Sim| -> BTreeSet<_> {
        let modified = |world: World| world.meta(world.at(&place("a")).unwrap()).modified;
        (0..100)
            .map(|seed| modified(sim.survivor(seed).world()) > before)
            .collect()
    };
    assert_eq!(times(&sim), BTreeSet::from([false, true]));
    sync_file(&disk, &handle);
    assert_eq!(times(&sim), BTreeSet::from([true]));
}

#[test]
fn names_are_never_replaced_unless_asked_for() {
    let (sim, disk) = fresh();
    put(&disk, "a", b"a");
    put(&disk, "b", b"b");
    assert!(disk.create(&place("a")).err().unwrap().is_taken());
    assert!(disk.link(&place("a"), &place("b")).unwrap_err().is_taken());
    assert!(
        disk.rename_new(&place("a"), &place("b"))
            .unwrap_err()
            .is_taken()
    );
    disk.link(&place("a"), &place("c")).unwrap();
    assert_eq!(disk.meta(&place("a")).unwrap().links, 2);
    // rename(2) does nothing between two names of one file.
    disk.rename_over(&place("a"), &place("c")).unwrap();
    assert_eq!(text(&sim, "a"), just("a"));
    disk.rename_over(&place("a"), &place("b")).unwrap();
    assert_eq!((text(&sim, "a"), text(&sim, "b")), (None, just("a")));
    assert!(disk.open(&place("none")).err().unwrap().is_absent());
    let below_a_file = disk.open(&place("b/none")).err().unwrap();
    assert!(!below_a_file.is_absent() && below_a_file.is_out_of_shape());
}

#[test]
fn an_open_file_outlives_its_name_and_its_inode_number_is_used_again_later() {
    let (_sim, disk) = fresh();
    let handle = put(&disk, "a", b"hello");
    let number = handle.meta().unwrap().inode;
    disk.remove_file(&place("a")).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(handle.read_at(0, &mut buffer).unwrap(), 5);
    assert_ne!(put(&disk, "b", b"").meta().unwrap().inode, number);
    drop(handle);
    assert_eq!(put(&disk, "c", b"").meta().unwrap().inode, number);
}

#[test]
fn locks_keep_each_other_out_and_go_with_their_process() {
    let (sim, one) = fresh();
    let two = sim.process();
    put(&one, "lock", b"");
    let try_lock = |disk: &SimDisk, mode| disk.try_lock(&place("lock"), mode).unwrap();
    let shared = (try_lock(&one, Mode::Shared), try_lock(&two, Mode::Shared));
    assert!(shared.0.is_some() && shared.1.is_some());
    assert!(try_lock(&two, Mode::Exclusive).is_none());
    drop(shared);
    let held = try_lock(&one, Mode::Exclusive);
    assert!(held.is_some() && try_lock(&two, Mode::Shared).is_none());
    one.kill();
    assert!(try_lock(&two, Mode::Exclusive).is_some());
}

#[test]
fn a_step_fails_once_with_the_error_it_was_told() {
    let (sim, disk) = fresh();
    disk.set_fault(Fault::At(2, Errno::NOSPC));
    let handle = disk.create(&place("a")).unwrap();
    assert!(handle.append(b"hello").unwrap_err().is_no_space());
    assert_eq!(text(&sim, "a"), just("he"), "half of it was written");
    handle.write_at(0, b"hello").unwrap();
    assert_eq!(text(&sim, "a"), just("hello"));
}

#[test]
fn bytes_whose_sync_failed_are_not_made_durable_by_the_next_one() {
    let (sim, disk) = fresh();
    let handle = put(&disk, "a", b"hello");
    sync_names(&disk, "");
    disk.set_fault(Fault::At(1, Errno::IO));
    assert!(disk.sync(&[Target::File(handle.clone())]).is_err());
    sync_file(&disk, &handle);
    assert!(after_cuts(&sim, "a").contains(&just("")));
}

#[test]
fn a_process_that_is_to_die_at_a_step_does_not_do_it() {
    let (sim, disk) = fresh();
    disk.set_fault(Fault::Death(2));
    let program = std::panic::AssertUnwindSafe(|| put(&disk, "a", b"hello"));
    let panic = std::panic::catch_unwind(program).err().unwrap();
    assert!(panic.is::<Killed>());
    assert_eq!(text(&sim, "a"), just(""));
    assert_eq!(disk.steps(), 2);
}

#[test]
fn a_lying_disk_loses_what_was_synced() {
    for (lie, path) in [
        (Lie::Contents, "a"),
        (Lie::Names, "a"),
        (Lie::NewDirectories, "d/a"),
    ] {
        let (sim, disk) = fresh();
        sim.with(|world| world.lies.push(lie));
        disk.make_directory(&place("d")).unwrap();
        for path in ["a", "d/a"] {
            let handle = put(&disk, path, b"hello");
            sync_file(&disk, &handle);
        }
        sync_names(&disk, "");
        sync_names(&disk, "d");
        assert!(after_cuts(&sim, path).len() > 1, "{lie:?}");
    }
}

#[test]
fn schedules_try_every_order_of_steps_within_the_bounds() {
    let mut chooser = Chooser::walk();
    let mut orders = BTreeSet::new();
    let mut count = 0;
    loop {
        let sim = Sim::new(Reading::Atomic);
        let order = Arc::new(Mutex::new(String::new()));
        let program = |letter: char| {
            let (disk, order) = (sim.process(), order.clone());
            let inner = disk.clone();
            let run = move || {
                for _ in 0..2 {
                    let _ = inner.meta(&place("a"));
                    order.lock().unwrap().push(letter);
                }
            };
            (disk, Box::new(run) as Box<dyn FnOnce() + Send>)
        };
        let bounds = Bounds {
            switches: 4,
            kills: 0,
            both: 4,
        };
        let ran = run(&sim, vec![program('a'), program('b')], chooser, bounds);
        assert!(ran.panics.is_empty() && !ran.deadlock);
        orders.insert(order.lock().unwrap().clone());
        count += 1;
        chooser = ran.chooser;
        if !chooser.advance() {
            break;
        }
    }
    let all = ["aabb", "abab", "abba", "baab", "baba", "bbaa"];
    assert_eq!(orders, all.map(String::from).into(), "{count} schedules");
}

#[test]
fn a_process_that_waits_for_a_lock_goes_on_when_it_is_free() {
    let mut chooser = Chooser::walk();
    let mut count = 0;
    loop {
        let sim = Sim::new(Reading::Atomic);
        put(&sim.process(), "lock", b"");
        let inside = Arc::new(Mutex::new(0));
        let program = || {
            let (disk, inside) = (sim.process(), inside.clone());
            let inner = disk.clone();
            let run = move || {
                let held = loop {
                    match inner.try_lock(&place("lock"), Mode::Exclusive).unwrap() {
                        Some(held) => break held,
                        None => inner.pause(Duration::from_millis(1)),
                    }
                };
                *inside.lock().unwrap() += 1;
                assert_eq!(*inside.lock().unwrap(), 1, "two hold the lock");
                inner.meta(&place("lock")).unwrap();
                *inside.lock().unwrap() -= 1;
                drop(held);
            };
            (disk, Box::new(run) as Box<dyn FnOnce() + Send>)
        };
        let bounds = Bounds {
            switches: 2,
            kills: 0,
            both: 2,
        };
        let ran = run(&sim, vec![program(), program(), program()], chooser, bounds);
        assert!(ran.panics.is_empty() && !ran.deadlock, "{:?}", ran.panics);
        count += 1;
        chooser = ran.chooser;
        if !chooser.advance() {
            break;
        }
    }
    assert!(count > 20, "{count} schedules");
}

#[test]
fn processes_that_wait_for_each_other_are_found() {
    let sim = Sim::new(Reading::Atomic);
    let setup = sim.process();
    put(&setup, "lock", b"");
    let _held = setup.try_lock(&place("lock"), Mode::Exclusive).unwrap();
    let disk = sim.process();
    let inner = disk.clone();
    let program = move || {
        while (inner.try_lock(&place("lock"), Mode::Shared).unwrap()).is_none() {
            inner.pause(Duration::from_millis(1));
        }
    };
    let bounds = Bounds {
        switches: 0,
        kills: 0,
        both: 0,
    };
    let ran = run(
        &sim,
        vec![(disk, Box::new(program))],
        Chooser::walk(),
        bounds,
    );
    assert!(ran.deadlock);
}
