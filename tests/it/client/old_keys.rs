use mentat_sync::client::{Identity, JournalBody, JournalEntry, Masters};

use super::fleet::{Device, Server, USER, a_box};
use super::lossy::Lossy;

/// What a `rekey` says, with these keys in it.
fn keys_entry(old: &Masters) -> Vec<u8> {
    let Masters::Sealed { current, old } = old else {
        panic!("it is sealed")
    };
    let entry = JournalEntry {
        by: "desk".to_owned(),
        at: "2026-11-29T12:00:00Z".to_owned(),
        note: None,
        what: JournalBody::Keys(std::iter::once(current).chain(old).cloned().collect()),
    };
    entry.encode().unwrap().to_vec()
}

/// Says these with the keys of an identity.
fn say(server: &Server, identity: &Identity, bodies: &[&[u8]]) {
    let network = Lossy::over(server.remote());
    let mut device = Device::with_keys(a_box(71), network, identity.keyring());
    device.replica.fetch().unwrap();
    for body in bodies {
        device.replica.commit(body, &[]).unwrap();
    }
    device.sync().unwrap();
}

#[test]
fn the_old_keys_are_found_wherever_an_answer_of_the_server_ends() {
    let server = Server::new();
    let first = Identity::generate("https://sync.example.org".parse().unwrap()).unwrap();
    let second = first.rekeyed().unwrap();
    let third = second.rekeyed().unwrap();
    say(&server, &first, &[b"1 a", b"2 b", b"3 c"]);
    // What was pending came before the entries of two keys that were made one after the other, and more after them.
    let (one, two) = (keys_entry(&first.masters), keys_entry(&second.masters));
    say(
        &server,
        &third,
        &[b"4 d", b"5 e", b"6 f", &one, &two, b"7 g", b"8 h"],
    );
    for most in 1..=11 {
        let mut network = Lossy::over(server.remote());
        network.most = most;
        let mut new = Identity {
            user: USER,
            ..Identity::from_invite(&third.invite()).unwrap()
        };
        let is_found = new.find_old_keys(&network).unwrap();
        assert!(is_found, "{most} in an answer");
        assert!(new.masters == third.masters, "{most} in an answer");
    }
    // Whose key nothing is sealed with finds none.
    let mut stranger = third.rekeyed().unwrap();
    let network = Lossy::over(server.remote());
    assert!(!stranger.find_old_keys(&network).unwrap());
}
