//! Rules that only show in the order of steps of two processes, each taken away.

use std::convert::Infallible;
use std::sync::Arc;

use mentat_sync::client::{App, Entry, Rebase, Replica, Slip};
use mentat_sync::model::TransactionId;
use simulated_disk::{Bounds, Chooser, Program, Sim, run};

use super::fleet::{Device, Server, keys, replica_on};
use super::ledger::Ledger;
use super::lossy::Lossy;
use crate::kit::effort;

/// Two processes each say something at the same time, in every order of their steps that two departures allow; the error is
/// what was lost.
fn two_commit(slip: Option<Slip>) -> Result<usize, String> {
    let server = Server::new();
    let network = Lossy::over(server.remote());
    let first = Device::new(&server);
    first.say("0 z");
    let mut world = first.sim.world();
    world.settle();
    let bounds = Bounds {
        switches: 2,
        kills: 0,
        both: 2,
    };
    let mut chooser = Chooser::walk();
    let most = effort::either(150, 4000);
    for count in 1..=most {
        let sim = Sim::with_world(world.clone());
        let replicas: Vec<_> = (0..2)
            .map(|_| {
                let disk = sim.process();
                let replica = replica_on(&disk, &network, keys());
                let replica = match slip {
                    Some(slip) => replica.with_slip(slip),
                    None => replica,
                };
                (disk, Arc::new(replica))
            })
            .collect();
        let programs: Vec<Program<'_>> = (replicas.iter().zip(["1 a", "2 b"]))
            .map(|((disk, replica), line)| {
                let replica: Arc<Replica> = Arc::clone(replica);
                let say = move || drop(replica.commit(line.as_bytes(), &[]).unwrap());
                (disk.clone(), Box::new(say) as Box<dyn FnOnce() + Send>)
            })
            .collect();
        let ran = run(&sim, programs, chooser, bounds);
        if let Some(panic) = ran.panics.first() {
            return Err(panic.clone());
        }
        assert!(!ran.deadlock);
        let after = Device::on(sim, network.clone());
        let mut lines = Vec::new();
        for entry in after.replica.entries(TransactionId::ROOT) {
            lines.push(String::from_utf8(entry.unwrap().body).unwrap());
        }
        lines[1..].sort();
        if lines != ["0 z", "1 a", "2 b"] {
            return Err(format!("after {count} schedules: {lines:?}"));
        }
        chooser = ran.chooser;
        if !chooser.advance() {
            return Ok(count);
        }
    }
    Ok(most)
}

#[test]
fn two_processes_that_commit_at_the_same_time_are_both_heard() {
    let schedules = two_commit(None).unwrap_or_else(|what| panic!("{what}"));
    println!("{schedules} schedules");
    assert!(schedules > 50);
}

#[test]
fn a_commit_that_does_not_look_at_the_tip_again_is_noticed() {
    let noticed = two_commit(Some(Slip::CommitWithoutLook));
    println!("{:?}", noticed.expect_err("it is not noticed"));
}

/// An application in the middle of whose rebase another process of the device says something.
struct Meddled {
    ledger: Ledger,
    other: Option<Replica>,
}

impl App for Meddled {
    type Error = Infallible;

    fn position(&self) -> TransactionId {
        self.ledger.position()
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), Infallible> {
        self.ledger.apply(entry)
    }

    fn rewind(&mut self) -> Result<(), Infallible> {
        self.ledger.rewind()
    }

    fn rebase(&mut self, ours: &Entry) -> Result<Rebase, Infallible> {
        if let Some(other) = self.other.take() {
            other.commit(b"3 c", &[]).unwrap();
        }
        self.ledger.rebase(ours)
    }
}

#[test]
fn what_another_process_says_in_the_middle_of_a_rebase_is_kept() {
    for slip in [None, Some(Slip::RebaseForgetsCommits)] {
        let server = Server::new();
        let mut other = Device::new(&server);
        other.say("1 a");
        other.sync().unwrap();
        let mut one = Device::new(&server);
        if let Some(slip) = slip {
            one = one.with_slip(slip);
        }
        one.say("2 b");
        let mut app = Meddled {
            ledger: Ledger::default(),
            other: Some(replica_on(&one.sim.process(), &one.network, keys())),
        };
        one.replica.sync(&mut app).unwrap();
        let kept = one.lines().contains(&"3 c".to_owned());
        assert_eq!(kept, slip.is_none(), "{:?}", one.lines());
        assert_eq!(app.ledger.confirmed.lines, one.lines());
    }
}

#[test]
fn without_random_bytes_two_devices_that_say_the_same_are_heard_once() {
    let server = Server::new();
    let [mut one, mut two] = [(); 2].map(|()| Device::new(&server).with_slip(Slip::NoNonce));
    assert_eq!(one.say("1 a"), two.say("1 a"));
    one.sync().unwrap();
    two.sync().unwrap();
    assert_eq!(two.lines(), ["1 a"]);
}

#[test]
fn an_entry_keeps_its_random_bytes_through_a_rebase_and_an_import_knows_it_by_them() {
    for slip in [None, Some(Slip::NonceNotKept)] {
        let old = Device::new(&Server::new());
        old.say("1 a");
        let server = Server::new();
        let mut clone = Device::new(&server);
        if let Some(slip) = slip {
            clone = clone.with_slip(slip);
        }
        let imported = clone.replica.import(&old.replica, &mut clone.app).unwrap();
        assert_eq!(imported.said, 1);
        // Somebody else is quicker, so that it is said again.
        let mut other = Device::new(&server);
        other.say("2 b");
        other.sync().unwrap();
        assert_eq!(clone.sync().unwrap().rebased, 1);
        let again = clone.replica.import(&old.replica, &mut clone.app).unwrap();
        assert_eq!(again.said, u64::from(slip.is_some()));
    }
}
