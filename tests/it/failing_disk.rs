//! A disk that fails, is full, or is left by a killed process, at each step of each request: the answer is
//! an error or the whole truth, nothing is left behind, and the same process goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use mentat_sync::disk::Place;
use mentat_sync::model::TransactionId;
use mentat_sync::store::{Error, PushBundle};
use rustix::io::Errno;

use crate::kit::effort;
use crate::proof::cast::{Tar, digest, user};
use crate::proof::{Act, Answers, Book, Client, Disks, Fact, Files, folder, judge};
use crate::stories::{directory_for_log, without_log};
use simulated_disk::{Fault, Killed, Random, Reading, Sim, World};

use Act::{
    Advance, Ask, Delete, GetHead, GetListing, GetTransaction, Pull, Push, PushWithSpare, PutChunk,
    PutChunks, PutTransaction,
};

/// What there is, and the request that meets the fault.
struct Case {
    before: Vec<Act>,
    meddle: Option<fn(&mut World)>,
    act: Act,
}

fn cases() -> Vec<Case> {
    let two = [
        PutChunk("a"),
        PutChunk("b"),
        PutTransaction("A"),
        PutTransaction("B"),
    ];
    let three = [&two[..], &[Advance("B"), PutTransaction("C")]].concat();
    let has_state = [&three[..], &[PutChunk("x"), PutChunk("c")]].concat();
    let has_checkpoint = [&has_state[..], &[Act::PutCheckpoint("KA")]].concat();
    let case = |before: &[Act], act| Case {
        before: before.to_vec(),
        meddle: None,
        act,
    };
    let without_log = |act| Case {
        meddle: Some(without_log),
        ..case(&three, act)
    };
    let no_file = |act| Case {
        meddle: Some(directory_for_log),
        ..case(&three, act)
    };
    vec![
        case(&[], PutChunk("a")),
        case(&[], PutTransaction("E")),
        case(&[PutTransaction("E")], PutChunk("a")),
        case(&two[..1], PutChunk("a")),
        case(&two[..1], PutChunk("ua")),
        case(&[], PutChunks(&["a", "b"])),
        case(&two[..1], PutChunks(&["c", "a", "b"])),
        case(&two[..2], PutTransaction("A")),
        case(&two[..3], PutTransaction("A")),
        case(&two, Advance("B")),
        case(&three, Advance("C")),
        case(&three, GetHead),
        case(&three, GetListing),
        case(&three, GetTransaction("A")),
        case(&three, Delete),
        case(&two[..1], Ask(&["a", "b"])),
        case(&[], Push(&["A", "B"])),
        case(&[], PushWithSpare(&["A", "B"])),
        case(&two[..3], Push(&["A", "B"])),
        case(&three, Pull),
        case(&has_state, Act::PutCheckpoint("KA")),
        case(&has_checkpoint, Act::PutCheckpoint("KA")),
        case(&has_checkpoint, Act::PutCheckpoint("KB")),
        case(&has_checkpoint, Act::GetCheckpoint),
        without_log(GetListing),
        without_log(PutTransaction("D")),
        without_log(Advance("C")),
        no_file(GetListing),
        no_file(Advance("C")),
    ]
}

/// The world before the request, and what was answered until then.
fn prepare(case: &Case) -> (World, Answers) {
    let sim = Sim::new(Reading::Posix);
    let (book, client) = (Book::default(), Client::new(&sim, None));
    for act in &case.before {
        act.perform(&client, &book, Disks::Sound);
    }
    let mut world = sim.world();
    if let Some(meddle) = case.meddle {
        meddle(&mut world);
    }
    world.settle();
    // Whoever starts now has it all synced.
    world.clock += Duration::from_secs(60);
    let answers = book.open().clone();
    assert!(answers.wrong.is_empty(), "{:?}", answers.wrong);
    (world, answers)
}

/// How many steps the request takes when all is well.
fn steps(case: &Case, world: &World, answers: &Answers) -> u64 {
    let client = Client::new(&Sim::with_world(world.clone()), None);
    client.disk.set_fault(Fault::None);
    let book = Book::new(answers.clone());
    case.act.perform(&client, &book, Disks::Sound);
    assert!(book.open().wrong.is_empty(), "{:?}", book.open().wrong);
    client.disk.steps()
}

fn temporaries(world: &World) -> Vec<Place> {
    let places = [folder().join("incoming/tmp"), Place::new("tmp")];
    let found = places.iter().flat_map(|place| world.files_below(place));
    found.map(|(place, ..)| place).collect()
}

/// Judges what there is, and what cuts may leave of it.
fn judge_cuts(sim: &Sim, case: &Case, answers: &Answers, told: &str) {
    let files = match case.meddle {
        Some(_) => Files::MeddledWith,
        None => Files::Ours,
    };
    let drawn = Random(sim.world().fingerprint()).next() | 2;
    for seed in [0, 1, drawn] {
        if let Err(what) = judge(&sim.survivor(seed), answers, files) {
            panic!("{told}, survivor {seed}: {what}\n{}", sim.trace());
        }
    }
}

/// How often something was refused, answered with an error, and left the user read-only.
#[derive(Debug, Default)]
struct Met {
    refused: usize,
    errors: usize,
    read_only: usize,
}

fn meets(case: &Case, world: &World, answers: &Answers, fault: Fault, met: &mut Met) {
    let sim = Sim::with_world(world.clone());
    let (book, client) = (Book::new(answers.clone()), Client::new(&sim, None));
    sim.clear_trace();
    let told = format!("{:?} after {:?} meets {fault:?}", case.act, case.before);
    let right = |when: &str| {
        let wrong = book.open().wrong.clone();
        assert!(
            wrong.is_empty(),
            "{told}, {when}: {wrong:?}\n{}",
            sim.trace()
        );
    };

    client.disk.set_fault(fault);
    let error = case.act.perform(&client, &book, Disks::Failing);
    book.open().advancing.clear();
    client.disk.set_fault(Fault::None);
    right("in the request");
    let refused = sim.refused();
    if refused.is_empty() {
        return; // the system gives no such error for what this step does
    }
    met.refused += 1;
    met.errors += usize::from(error.is_some());
    let full = matches!(fault, Fault::At(_, errno) | Fault::From(_, errno) if errno != Errno::IO && errno != Errno::MFILE);
    if let (Some(error), true) = (&error, full) {
        assert!(
            error.is_no_space(),
            "{told}: {error} is no word of a full disk"
        );
    }
    if !refused.contains(&"remove") {
        let left = temporaries(&sim.world());
        assert!(
            left.is_empty(),
            "{told}: {left:?} are left\n{}",
            sim.trace()
        );
    }
    judge_cuts(&sim, case, &book.open().clone(), &told);

    // The same process goes on; but where nobody knows what HEAD is, it says so and only a new one does.
    let again = case.act.perform(&client, &book, Disks::Failing);
    right("when asked again");
    match &again {
        Some(Error::ReadOnly) => {
            assert!(error.is_some(), "{told}: read-only after a success");
            met.read_only += 1;
            for look in [GetHead, GetListing] {
                look.perform(&client, &book, Disks::Failing);
            }
            right("when it is read-only");
        }
        Some(other) => panic!("{told}: asked again, {other}\n{}", sim.trace()),
        None => {
            for act in [GetHead, GetListing, PutChunk("fresh")] {
                act.perform(&client, &book, Disks::Sound);
            }
            right("when it goes on");
        }
    }
    book.open().advancing.clear();
    judge_cuts(
        &sim,
        case,
        &book.open().clone(),
        &format!("{told}, and goes on"),
    );
}

/// The steps of a case at which the fault is tried: each of them, or for a first look every third, another third in
/// the next case.
fn tried(index: usize, steps: u64) -> impl Iterator<Item = u64> {
    let stride = effort::either(5, 1);
    let first = index % stride;
    (1..=steps).skip(first).step_by(stride)
}

fn each_step_meets(fault: impl Fn(u64) -> Fault) {
    let mut met = Met::default();
    for (index, case) in cases().into_iter().enumerate() {
        let (world, answers) = prepare(&case);
        for step in tried(index, steps(&case, &world, &answers)) {
            meets(&case, &world, &answers, fault(step), &mut met);
        }
    }
    println!("{:?} and the like: {met:?}", fault(1));
    assert!(met.errors > 10);
}

/// Files with a committed name, HEAD and `log` apart.
fn committed(world: &World) -> Vec<Place> {
    let places = ["chunks", "aliases", "transactions"].map(|name| folder().join(name));
    let found = places.iter().flat_map(|place| world.files_below(place));
    found.map(|(place, ..)| place).collect()
}

/// An advance that fails before HEAD may have moved takes back the names that it made; so does a bundle that
/// continues HEAD.
#[test]
fn an_advance_that_fails_leaves_no_committed_name() {
    let two = [PutChunk("a"), PutChunk("b"), PutTransaction("A")];
    let case = |before: &[Act], act| Case {
        before: before.to_vec(),
        meddle: None,
        act,
    };
    for case in [case(&two, Advance("A")), case(&[], Push(&["A", "B"]))] {
        let (world, answers) = prepare(&case);
        let (before, mut failed) = (committed(&world), 0);
        for step in 1..=steps(&case, &world, &answers) {
            let sim = Sim::with_world(world.clone());
            let client = Client::new(&sim, None);
            client.disk.set_fault(Fault::At(step, Errno::IO));
            let book = Book::new(answers.clone());
            let error = case.act.perform(&client, &book, Disks::Failing);
            client.disk.set_fault(Fault::None);
            // After a failed sync of HEAD it may be reached.
            let reached = matches!(client.store.user(user()).stage(), Err(Error::ReadOnly));
            if error.is_some() && !reached {
                failed += 1;
                assert_eq!(committed(&sim.world()), before, "{:?}: {step}", case.act);
            }
        }
        assert!(failed > 5, "{failed} failed");
    }
}

#[test]
fn an_error_at_any_step() {
    each_step_meets(|step| Fault::At(step, Errno::IO));
}

#[test]
fn no_room_at_any_step() {
    each_step_meets(|step| Fault::At(step, Errno::NOSPC));
}

#[test]
fn the_quota_reached_at_any_step() {
    each_step_meets(|step| Fault::At(step, Errno::DQUOT));
}

#[test]
fn no_descriptor_at_any_step() {
    each_step_meets(|step| Fault::At(step, Errno::MFILE));
}

#[test]
fn a_disk_that_is_full_from_any_step_on() {
    each_step_meets(|step| Fault::From(step, Errno::NOSPC));
}

/// A bundle of so many members that several threads write them, and one of them meets the fault: HEAD
/// moves only with all of it, and nothing is left.
#[test]
fn a_failure_while_several_threads_unpack_a_bundle() {
    const COUNT: u64 = 120;
    let tar = long_bundle(COUNT);
    let (mut refused, mut whole) = (0, 0);
    for errno in [Errno::IO, Errno::NOSPC] {
        for step in (100..1000).step_by(effort::either(47, 11)) {
            let sim = Sim::new(Reading::Posix);
            let client = Client::new(&sim, None);
            client.disk.set_fault(Fault::At(step, errno));
            let pushed = client.store.user(user()).push_bundle(&mut &tar[..]);
            client.disk.set_fault(Fault::None);
            let seq = client
                .store
                .user(user())
                .head()
                .expect("it can be read")
                .seq;
            match pushed {
                Ok((outcome, leftovers)) => {
                    whole += 1;
                    assert!(matches!(outcome, PushBundle::Taken { .. }), "{outcome:?}");
                    assert_eq!(seq, COUNT);
                    drop(leftovers);
                }
                Err(_) => {
                    refused += 1;
                    assert_eq!(seq, 0, "refused at step {step}");
                }
            }
            if !sim.refused().contains(&"remove") {
                assert_eq!(temporaries(&sim.world()), [], "left after step {step}");
            }
            let again = client.store.user(user()).push_bundle(&mut &tar[..]);
            assert!(again.is_ok(), "after step {step}: {:?}", again.err());
            assert_eq!(client.store.user(user()).head().unwrap().seq, COUNT);
        }
    }
    println!("{refused} of {} pushes refused", refused + whole);
    assert!(refused > 10 && whole > 0);
}

/// What is synced while the rest of a long bundle is being unpacked counts: after a failure no later sync
/// proves anything.
#[test]
fn an_early_sync_of_a_long_bundle_fails() {
    let tar = long_bundle(2200);
    let sim = Sim::new(Reading::Posix);
    let client = Client::new(&sim, None);
    client.disk.set_fault(Fault::NextSync(Errno::IO));
    let pushed = client.store.user(user()).push_bundle(&mut &tar[..]);
    assert_eq!(sim.refused(), ["sync below"]);
    assert!(pushed.is_err(), "{:?}", pushed.map(|(outcome, _)| outcome));
    assert_eq!(client.store.user(user()).head().unwrap().seq, 0);
    assert_eq!(temporaries(&sim.world()), []);
    let again = client.store.user(user()).push_bundle(&mut &tar[..]);
    assert!(matches!(again, Ok((PushBundle::Taken { head, .. }, _)) if head.seq == 2200));
}

/// A line of transactions from the root, each with a chunk of its own.
fn long_bundle(count: u64) -> Vec<u8> {
    let mut tar = Tar::default();
    let mut add = |name: &str, contents: &[u8]| tar.add(name, contents);
    let mut parent = TransactionId::ROOT.to_string();
    for seq in 1..=count {
        let contents = format!("chunk {seq}");
        let chunk = digest(contents.as_bytes()).to_string();
        add(
            &format!("chunks/{}/{chunk}", &chunk[..2]),
            contents.as_bytes(),
        );
        let id = format!("{seq:08x}-0000-4000-8000-{seq:012x}");
        let json = format!(
            "{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":\"{parent}\",\"chunks\":[\"{chunk}\"]}}\n"
        );
        add(
            &format!("transactions/{}/{id}.json", &id[..2]),
            json.as_bytes(),
        );
        parent = id;
    }
    add("HEAD", format!("{parent}\n").as_bytes());
    tar.end()
}

/// The sync after HEAD's replacement fails, and what it was to make durable never will be: from then
/// on this process answers what it knows to be durable, and writes nothing.
#[test]
fn a_head_whose_sync_failed_is_not_answered() {
    let before = [PutChunk("a"), PutTransaction("A")];
    let case = Case {
        before: before.to_vec(),
        meddle: None,
        act: Advance("A"),
    };
    let (world, answers) = prepare(&case);
    let mut read_only = 0;
    for step in 1..=steps(&case, &world, &answers) {
        let sim = Sim::with_world(world.clone());
        sim.with(|world| world.doom_names = true);
        let (book, client) = (Book::new(answers.clone()), Client::new(&sim, None));
        GetHead.perform(&client, &book, Disks::Sound);
        client.disk.set_fault(Fault::At(step, Errno::IO));
        case.act.perform(&client, &book, Disks::Failing);
        if !sim.refused().contains(&"sync") {
            continue;
        }
        for act in [GetHead, GetListing, GetTransaction("A")] {
            act.perform(&client, &book, Disks::Failing);
        }
        let again = PutChunk("b").perform(&client, &book, Disks::Failing);
        read_only += usize::from(matches!(again, Some(Error::ReadOnly)));
        book.open()
            .facts
            .retain(|fact| matches!(fact, Fact::Head(_)));
        judge_cuts(&sim, &case, &book.open().clone(), &format!("{step}"));
    }
    assert!(read_only > 0, "no sync was that of HEAD");
}

#[test]
fn a_process_that_is_killed_at_any_step() {
    let mut count = 0;
    for (index, case) in cases().into_iter().enumerate() {
        let (world, answers) = prepare(&case);
        for step in tried(index, steps(&case, &world, &answers)) {
            let sim = Sim::with_world(world.clone());
            let (book, client) = (Book::new(answers.clone()), Client::new(&sim, None));
            let next = Client::new(&sim, None);
            sim.clear_trace();
            client.disk.set_fault(Fault::Death(step));
            let request = || case.act.perform(&client, &book, Disks::Sound);
            let panic = catch_unwind(AssertUnwindSafe(request)).expect_err("it is killed");
            assert!(panic.is::<Killed>());
            let told = format!("{:?} after {:?}, killed at {step}", case.act, case.before);
            judge_cuts(&sim, &case, &book.open().clone(), &told);

            // Another process, which was there all the time, is asked the same.
            book.open().advancing.clear();
            case.act.perform(&next, &book, Disks::Sound);
            let wrong = book.open().wrong.clone();
            assert!(wrong.is_empty(), "{told}: {wrong:?}\n{}", sim.trace());
            judge_cuts(&sim, &case, &book.open().clone(), &told);
            count += 1;
        }
    }
    println!("killed at {count} steps");
}

/// Without room, at whichever step of the probe, a server starts, and makes the probe as soon as there is room; with
/// any other refusal it does not start.
#[test]
fn a_probe_that_finds_no_room_is_put_off_until_there_is_some() {
    let steps = {
        let client = Client::new(&Sim::new(Reading::Posix), None);
        client.disk.set_fault(Fault::None);
        assert!(client.store.probe_or_put_off().unwrap().is_none());
        client.disk.steps()
    };
    let (mut put_off, mut refused) = (0, 0);
    for step in 1..=steps {
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::ACCESS] {
            let sim = Sim::new(Reading::Posix);
            let client = Client::new(&sim, None);
            let beat = |fault| {
                client.disk.set_fault(fault);
                let outcome = client.store.heartbeat();
                (outcome, client.disk.steps())
            };
            client.disk.set_fault(Fault::From(step, errno));
            match client.store.probe_or_put_off() {
                Err(error) => {
                    assert!(!error.is_no_space(), "{errno:?} at {step}: {error}");
                    refused += 1;
                }
                Ok(None) => {}
                Ok(Some(full)) => {
                    put_off += 1;
                    assert!(full.is_no_space(), "{errno:?} at {step}: {full}");
                    let (tried, long) = beat(Fault::None);
                    let (again, short) = beat(Fault::None);
                    assert!(tried.is_ok() && again.is_ok(), "{errno:?} at {step}");
                    assert!(long > short, "{errno:?} at {step}: {long}, {short}");
                }
            }
        }
    }
    assert!(put_off > 0 && refused > 0, "{put_off}, {refused}");
}
