use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use mentat_sync::client::{Divergence, Error, Identity, LocalRemote, Parting, Remote, Replica};
use mentat_sync::model::{Head, UserId};
use mentat_sync::store::{Options, Store};

use super::fleet::{Device, Server, USER, keys};
use super::lossy::Lossy;

/// The same device, as it finds another server in the place of its own.
fn moved(device: &Device, server: &Server) -> Device {
    let mut moved = Device::on(device.sim.clone(), Lossy::over(server.remote()));
    moved.app = device.app.clone();
    moved
}

fn parted(device: &mut Device) -> Divergence {
    match device.sync() {
        Err(Error::Diverged(divergence)) => divergence,
        other => panic!("it has not parted: {other:?}"),
    }
}

/// Three lines, confirmed, and a copy of the server after the second.
fn three() -> (Server, Server, Device) {
    let server = Server::new();
    let mut one = Device::new(&server);
    let mut copy = None;
    for line in ["1 a", "2 b", "3 c"] {
        one.say(line);
        one.sync().unwrap();
        if line == "2 b" {
            copy = Some(server.copy());
        }
    }
    (server, copy.unwrap(), one)
}

#[test]
fn a_server_that_went_back_is_told_and_gets_back_what_it_lacks() {
    let (server, backup, one) = three();
    let mut one = moved(&one, &backup);
    for pending in 0..2 {
        let expected = Divergence {
            how: Parting::Rollback,
            common: Head {
                id: server.chain()[1],
                seq: 2,
            },
            ours: 1,
            theirs: 0,
        };
        assert_eq!(parted(&mut one), expected);
        assert_eq!(one.replica.diverged().unwrap(), Some(expected));
        assert_eq!(backup.head().seq, 2, "nothing is put back by itself");
        if pending == 0 {
            // With something pending it is told as well.
            one.say("4 d");
        }
    }
    let error = one.replica.seed().unwrap_err();
    assert!(matches!(error, Error::Diverged(_)));
    assert_eq!(one.replica.restore().unwrap(), 1);
    assert_eq!(backup.chain(), server.chain());
    one.sync().unwrap();
    let mut two = Device::new(&backup);
    two.sync().unwrap();
    assert_eq!(two.lines(), ["1 a", "2 b", "3 c", "4 d"]);
    assert_eq!(two.app.confirmed, one.app.confirmed);
    assert_eq!(one.replica.restore().unwrap(), 0, "nothing is lacking");
}

#[test]
fn a_fork_is_told_and_what_was_lost_is_said_again_by_a_clone() {
    let (server, backup, one) = three();
    let mut two = Device::new(&backup);
    two.sync().unwrap();
    for line in ["4 d", "5 c"] {
        two.say(line);
        two.sync().unwrap();
    }
    let mut one = moved(&one, &backup);
    one.say("6! d");
    let expected = Divergence {
        how: Parting::Fork,
        common: Head {
            id: server.chain()[1],
            seq: 2,
        },
        ours: 1,
        theirs: 2,
    };
    assert_eq!(parted(&mut one), expected);
    for refused in [one.replica.restore(), one.replica.seed()] {
        assert!(matches!(refused, Err(Error::Diverged(_))));
    }
    let mut clone = Device::new(&backup);
    clone.sync().unwrap();
    let chunks = clone.replica.put(&b"kept"[..]).unwrap();
    assert_eq!(chunks.len(), 1);
    let imported = clone.replica.import(&one.replica, &mut clone.app).unwrap();
    assert_eq!((imported.said, imported.there, imported.dropped), (2, 0, 0));
    // Run again, nothing is said twice; nor after it was confirmed.
    for _ in 0..2 {
        let again = clone.replica.import(&one.replica, &mut clone.app).unwrap();
        assert_eq!((again.said, again.there), (0, 2));
        clone.sync().unwrap();
    }
    two.sync().unwrap();
    let all = ["1 a", "2 b", "4 d", "5 c", "3 c", "6! d late"];
    assert_eq!(two.lines(), all);
    assert_eq!(clone.app.confirmed, two.app.confirmed);
}

#[test]
fn an_import_brings_the_chunks_also_to_other_keys() {
    let (_, backup, one) = three();
    let bytes: Vec<u8> = (0..1_500_000_u32).map(|n| (n >> 5) as u8).collect();
    let chunks = one.replica.put(bytes.as_slice()).unwrap();
    one.replica.commit(b"4 file", &chunks).unwrap();
    let server = Server::new();
    let mut other = Device::with_keys(
        super::fleet::a_box(77),
        Lossy::over(server.remote()),
        super::fleet::other_keys(),
    );
    let _ = backup;
    let imported = other.replica.import(&one.replica, &mut other.app).unwrap();
    assert_eq!(imported.said, 4);
    other.sync().unwrap();
    assert_eq!(other.lines(), ["1 a", "2 b", "3 c", "4 file"]);
    let last = other.replica.entry(other.app.at).unwrap().unwrap();
    let read: Vec<u8> = (last.chunks.iter())
        .flat_map(|chunk| other.replica.read(chunk).unwrap())
        .collect();
    assert!(read == bytes && last.chunks != chunks);
}

#[test]
fn an_empty_server_is_told_and_is_filled_from_any_device() {
    let (server, _, one) = three();
    let empty = Server::new();
    let mut one = moved(&one, &empty);
    one.say("4 d");
    let expected = Divergence {
        how: Parting::Empty,
        common: Head::ROOT,
        ours: 3,
        theirs: 0,
    };
    assert_eq!(parted(&mut one), expected);
    assert_eq!(empty.head(), Head::ROOT);
    assert!(matches!(one.replica.restore(), Err(Error::Diverged(_))));
    assert_eq!(one.replica.seed().unwrap(), 3);
    assert_eq!(empty.chain(), server.chain());
    one.sync().unwrap();
    assert_eq!(empty.head().seq, 4);
}

#[test]
fn a_server_that_does_not_admit_us_any_more_is_one_that_does_not_know_us() {
    let (_, _, one) = three();
    let options = Options {
        new_users: false,
        ..Options::default()
    };
    let sim = super::fleet::a_box(55);
    let store = Store::open(std::sync::Arc::new(sim.process()), options).unwrap();
    let remote = LocalRemote::new(&store, USER);
    let one = Device::on(one.sim.clone(), Lossy::over(remote));
    let divergence = one.replica.diverged().unwrap().unwrap();
    assert_eq!((divergence.how, divergence.ours), (Parting::Empty, 3));
}

#[test]
fn another_stores_history_is_told_and_not_mixed_with_ours() {
    let (_, _, one) = three();
    let server = Server::new();
    let mut other = Device::new(&server);
    other.say("9 z");
    other.sync().unwrap();
    let mut one = moved(&one, &server);
    let expected = Divergence {
        how: Parting::OtherStore,
        common: Head::ROOT,
        ours: 3,
        theirs: 1,
    };
    assert_eq!(parted(&mut one), expected);
    assert_eq!(one.lines(), ["1 a", "2 b", "3 c"]);
}

#[test]
fn another_key_is_told_as_that_and_nothing_of_it_is_taken() {
    let (server, _, one) = three();
    let network = Lossy::over(server.remote());
    let mut stranger =
        Device::with_keys(super::fleet::a_box(66), network, super::fleet::other_keys());
    match stranger.sync() {
        Err(Error::WrongKey { ours, theirs }) => assert_ne!(ours, theirs),
        other => panic!("{other:?}"),
    }
    assert_eq!(stranger.replica.status().unwrap().tip, Head::ROOT);
    // With the old key among its own it reads what that sealed, and seals with the new one.
    let (
        mentat_sync::client::Keyring::Sealed { current: old, .. },
        mentat_sync::client::Keyring::Sealed { current, .. },
    ) = (keys(), super::fleet::other_keys())
    else {
        panic!("both are sealed");
    };
    let both = mentat_sync::client::Keyring::Sealed {
        current,
        old: vec![old],
    };
    let network = Lossy::over(server.remote());
    let mut rekeyed = Device::with_keys(super::fleet::a_box(67), network, both);
    rekeyed.say("4 d");
    rekeyed.sync().unwrap();
    assert_eq!(rekeyed.lines(), ["1 a", "2 b", "3 c", "4 d"]);
    let mut one = moved(&one, &server);
    assert!(matches!(one.sync(), Err(Error::WrongKey { .. })));
    assert_eq!(one.lines(), ["1 a", "2 b", "3 c"]);
}

#[test]
fn a_replica_is_made_once_opened_again_and_never_mixed_with_another() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::new();
    let url: mentat_sync::client::Url = "https://sync.example.org".parse().unwrap();
    let mine = Identity::generate(url).unwrap();
    let remote = |identity: &Identity| -> Arc<dyn Remote> {
        Arc::new(LocalRemote::new(&server.store, identity.user))
    };
    let open = || Replica::open_with(directory.path(), |identity| Ok(remote(identity)));
    assert!(matches!(open(), Err(Error::NotThisReplica(_))));
    let replica = Replica::create_with(directory.path(), &mine, remote(&mine)).unwrap();
    replica.commit(b"1 a", &[]).unwrap();
    drop(replica);
    let again = Replica::clone_with(directory.path(), &mine, remote(&mine), None).unwrap();
    assert_eq!(again.status().unwrap().pending, 1);
    let opened = open().unwrap();
    assert_eq!(*opened.user(), mine.user);
    assert_eq!(opened.push_as_it_is().unwrap(), Some(1));
    let other = Identity {
        user: UserId::from_bytes([1; 16]),
        ..mine.clone()
    };
    let error = Replica::create_with(directory.path(), &other, remote(&other));
    assert!(matches!(error, Err(Error::NotThisReplica(_))));
    let home = directory.path().join(".mentat-sync");
    let format = std::fs::read_to_string(home.join("store/FORMAT")).unwrap();
    assert_eq!(format, "mentat-sync 1 replica\n");
    let mode = std::fs::metadata(home.join("remote"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::remove_file(home.join("remote")).unwrap();
    assert!(matches!(open(), Err(Error::Secrets(_))));
}
