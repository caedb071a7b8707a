use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use mentat_sync::client::Replica;
use mentat_sync::model::TransactionId;
use simulated_disk::{Bounds, Chooser, Program, Sim, run};

use super::fleet::{Device, Server, keys, replica_on};
use super::lossy::{Fate, Lossy};
use crate::kit::effort;

/// Another process of the same device.
fn another(device: &Device) -> Replica {
    replica_on(&device.sim.process(), &device.network, keys())
}

#[test]
fn what_was_put_and_not_named_stays_while_its_replica_is_open_and_goes_with_the_next_sync() {
    let server = Server::new();
    let mut device = Device::new(&server);
    let writer = another(&device);
    let chunks = writer.put(&b"bytes"[..]).unwrap();
    device.sync().unwrap();
    device.say("1 a");
    device.sync().unwrap();
    let said = writer.commit(b"2 b", &chunks).unwrap();
    device.sync().unwrap();
    assert_eq!(device.replica.read(&said.chunks[0]).unwrap(), b"bytes");
    // One that is closed with something unnamed keeps nothing.
    writer.put(&b"others"[..]).unwrap();
    drop(writer);
    assert_eq!(device.incoming().0.len(), 1);
    device.sync().unwrap();
    assert_eq!(device.incoming().0, [""; 0]);
}

#[test]
fn what_is_pending_and_what_a_saved_state_names_stays_whoever_syncs() {
    let server = Server::new();
    let mut device = Device::new(&server);
    device.say("1 a");
    device.sync().unwrap();
    let writer = another(&device);
    let chunks = writer.put(&b"state"[..]).unwrap();
    let at = server.chain()[0];
    writer.checkpoint(at, b"1 a", &chunks).unwrap();
    let pending = writer.put(&b"pending"[..]).unwrap();
    writer.commit(b"2 b", &pending).unwrap();
    drop(writer);
    device.replica.pull(&mut device.app).unwrap();
    assert_eq!(device.replica.read(&chunks[0]).unwrap(), b"state");
    assert_eq!(device.replica.read(&pending[0]).unwrap(), b"pending");
    device.sync().unwrap();
    assert_eq!(device.replica.read(&chunks[0]).unwrap(), b"state");
    assert_eq!(device.incoming(), (Vec::new(), Vec::new()));
}

#[test]
fn a_put_that_is_taken_back_leaves_nothing_but_what_others_need() {
    let server = Server::new();
    let device = Device::new(&server);
    let shared = device.replica.put(&b"shared"[..]).unwrap();
    device.replica.commit(b"1 a", &shared).unwrap();
    device.replica.put(&b"shared"[..]).unwrap();
    device.replica.put(&b"other"[..]).unwrap();
    let writer = another(&device);
    let theirs = writer.put(&b"theirs"[..]).unwrap();
    // Somebody else may be about to name it.
    device.replica.take_back();
    writer.commit(b"2 b", &theirs).unwrap();
    device.replica.put(&b"other"[..]).unwrap();
    device.replica.take_back();
    // Two entries, and what they name.
    assert_eq!(device.incoming().0.len(), 4);
    assert_eq!(device.replica.read(&shared[0]).unwrap(), b"shared");
    assert_eq!(device.replica.read(&theirs[0]).unwrap(), b"theirs");
}

/// A reader that ends in an error.
struct Broken(usize);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.min(buffer.len());
        self.0 -= read;
        match read {
            0 => Err(io::Error::other("no more")),
            read => Ok(read),
        }
    }
}

#[test]
fn a_put_whose_bytes_cannot_be_read_leaves_nothing() {
    let server = Server::new();
    let device = Device::new(&server);
    device.replica.put(Broken(3 << 20)).unwrap_err();
    assert_eq!(device.incoming(), (Vec::new(), Vec::new()));
}

#[test]
fn what_came_of_a_pull_that_breaks_off_is_not_taken_for_a_leftover() {
    let server = Server::new();
    let one = Device::new(&server);
    let chunks = (0..3).map(|byte| one.replica.put(&vec![byte; 900_000][..]).unwrap());
    let chunks: Vec<_> = chunks.flatten().collect();
    one.replica.commit(b"1 a", &chunks).unwrap();
    one.replica.push_as_it_is().unwrap();
    let mut two = Device::new(&server);
    two.network.decide(|name| match name {
        "bundle" => Fate::CutAfter(1_500_000),
        "bundle without chunks" => Fate::RequestLost,
        _ => Fate::Fine,
    });
    two.sync().unwrap_err();
    assert!(!two.incoming().0.is_empty(), "it is here for the next one");
    two.network.decide(|_| Fate::Fine);
    two.sync().unwrap();
    assert_eq!(two.incoming().0, [""; 0]);
}

#[test]
fn a_sync_beside_a_commit_takes_away_what_was_left_and_nothing_of_the_commit() {
    let server = Server::new();
    let network = Lossy::over(server.remote());
    let first = Device::on(super::fleet::a_box(77), network.clone());
    first.say("0 z");
    first.replica.put(&b"left behind"[..]).unwrap();
    let mut world = first.sim.world();
    world.settle();
    let bounds = Bounds {
        switches: 2,
        kills: 0,
        both: 2,
    };
    let mut chooser = Chooser::walk();
    let mut schedules = 0;
    for _ in 0..effort::either(120, 3000) {
        let sim = Sim::with_world(world.clone());
        let disks = [sim.process(), sim.process()];
        let [writer, syncer] = disks
            .each_ref()
            .map(|disk| Arc::new(replica_on(disk, &network, keys())));
        let put = Arc::new(Mutex::new(None));
        let told = Arc::clone(&put);
        let commit = move || {
            // The same bytes as those that were left: they may go at any moment before it.
            let chunks = writer.put(&b"left behind"[..]).unwrap();
            writer.commit(b"1 a", &chunks).unwrap();
            *told.lock().unwrap() = Some(chunks[0]);
        };
        let pull = move || {
            let mut app = super::ledger::Ledger::default();
            syncer.pull(&mut app).map(drop).unwrap();
        };
        let programs: Vec<Program<'_>> = vec![
            (disks[0].clone(), Box::new(commit)),
            (disks[1].clone(), Box::new(pull)),
        ];
        let ran = run(&sim, programs, chooser, bounds);
        assert_eq!(ran.panics, [""; 0], "after {schedules} schedules");
        assert!(!ran.deadlock);
        let after = Device::on(sim, network.clone());
        let chunk = put.lock().unwrap().unwrap();
        assert_eq!(after.replica.read(&chunk).unwrap(), b"left behind");
        assert_eq!(after.replica.entries(TransactionId::ROOT).count(), 2);
        schedules += 1;
        chooser = ran.chooser;
        if !chooser.advance() {
            break;
        }
    }
    println!("{schedules} schedules");
    assert!(schedules > 50);
}
