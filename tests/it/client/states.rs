use mentat_sync::client::{Error, Forgery, Remote, SavedState};
use mentat_sync::model::TransactionId;

use super::fleet::{Device, Server};
use super::ledger::State;
use super::lossy::{Fate, Lossy};

const LINES: [&str; 4] = ["1 a", "2 b", "3 c", "4 d"];

/// Four lines, and the state of the application after the first `lines` of them.
fn history(lines: usize) -> (Server, Device) {
    let server = Server::new();
    let mut one = Device::new(&server);
    for line in LINES {
        one.say(line);
        one.sync().unwrap();
    }
    let chunks = one.replica.put(&b"beside"[..]).unwrap();
    let at = server.chain()[lines - 1];
    let body = LINES[..lines].join("\n");
    one.replica
        .checkpoint(at, body.as_bytes(), &chunks)
        .unwrap();
    (server, one)
}

/// The application starts from the state.
fn start(device: &mut Device, state: &SavedState) {
    let body = String::from_utf8(state.body.clone()).unwrap();
    let mut read = State::default();
    for line in body.lines() {
        read.lines.push(line.to_owned());
        let (number, key) = line.split_once(' ').unwrap();
        read.holders.insert(key.to_owned(), number.to_owned());
    }
    device.app.at = state.at.id;
    (device.app.confirmed, device.app.shown) = (read.clone(), read);
}

#[test]
fn a_new_device_starts_from_the_state_while_the_chain_is_on_its_way() {
    let (server, one) = history(3);
    let mut two = Device::new(&server);
    two.replica.take_checkpoint().unwrap().unwrap();
    assert_eq!(two.network.take_asked(), ["checkpoint", "chunk", "chunks"]);
    // From here on without the network.
    two.network.decide(|_| Fate::RequestLost);
    let state = two.replica.kept_state().unwrap().unwrap();
    assert_eq!((state.at.seq, state.confirmed), (3, false));
    assert_eq!(two.replica.read(&state.chunks[0]).unwrap(), b"beside");
    start(&mut two, &state);
    let after = |two: &Device| two.replica.entries(two.app.at).count();
    assert_eq!(after(&two), 0);
    two.say("9 z");
    assert_eq!(after(&two), 1);
    assert!(two.sync().unwrap_err().is_transient());
    assert_eq!(two.app.shown.lines, ["1 a", "2 b", "3 c", "9 z"]);
    // The chain comes in two pieces; the ledger sees to it that nothing before the state is shown.
    let mut bundles = 0;
    two.network.decide(move |name| {
        bundles += u32::from(name == "bundle");
        match (name, bundles) {
            ("bundle", 1) => Fate::CutAfter(5000),
            _ if bundles > 1 => Fate::RequestLost,
            _ => Fate::Fine,
        }
    });
    assert!(two.sync().unwrap_err().is_transient());
    let reached = two.replica.head().unwrap().seq;
    assert!((1..3).contains(&reached), "{reached}");
    assert!(!two.replica.kept_state().unwrap().unwrap().confirmed);
    assert_eq!(two.app.shown.lines, ["1 a", "2 b", "3 c", "9 z"]);
    two.network.decide(|_| Fate::Fine);
    two.sync().unwrap();
    assert_eq!(two.app.confirmed.lines, ["1 a", "2 b", "3 c", "4 d", "9 z"]);
    assert_eq!(two.app.asked, 2, "what is pending follows what came");
    let kept = two.replica.kept_state().unwrap().unwrap();
    let confirmed = true;
    assert_eq!(kept, SavedState { confirmed, ..state });
    assert_eq!(
        one.replica.kept_state().unwrap().unwrap(),
        kept,
        "the one that made it has it too"
    );
    let unknown = two
        .replica
        .entries(TransactionId::from_bytes([1; 16]))
        .next();
    assert!(matches!(unknown, Some(Err(Error::UnknownTransaction(_)))));
}

#[track_caller]
fn is_of_another_history(outcome: mentat_sync::client::Result<mentat_sync::model::Head>) {
    match outcome {
        Err(Error::Forged {
            what: Forgery::Checkpoint,
            ..
        }) => {}
        other => panic!("it is believed: {other:?}"),
    }
}

#[test]
fn a_state_of_another_history_is_forged_and_nothing_of_it_is_kept() {
    let (server, _) = history(3);
    let shorter = Server::new();
    let mut device = Device::new(&shorter);
    device.say("1 a");
    device.sync().unwrap();
    let longer = shorter.copy();
    for line in ["2 x", "3 y", "4 z"] {
        let mut device = Device::new(&longer);
        device.sync().unwrap();
        device.say(line);
        device.sync().unwrap();
    }
    // A server that has forgotten the end of its chain, and one whose chain goes elsewhere.
    for (other, seq) in [(shorter, 1), (longer, 4)] {
        let two = Device::new(&server);
        two.replica.take_checkpoint().unwrap().unwrap();
        let two = Device::on(two.sim.clone(), Lossy::over(other.remote()));
        is_of_another_history(two.replica.fetch());
        assert_eq!(two.replica.kept_state().unwrap(), None);
        // The chain itself is right, and stays.
        assert_eq!(two.replica.fetch().unwrap().seq, seq);
        // Taken where the chain is here already, it is told at once.
        let two = Device::on(two.sim.clone(), Lossy::over(server.remote()));
        if seq == 4 {
            let taken = two.replica.take_checkpoint();
            is_of_another_history(taken.map(|state| state.unwrap().at));
            assert_eq!(two.replica.kept_state().unwrap(), None);
        }
    }
}

#[test]
fn a_state_that_does_not_open_is_not_taken() {
    let (server, _) = history(3);
    let there = server.remote();
    let checkpoint = Remote::checkpoint(&there).unwrap().unwrap();
    // Whoever knows the user's id alone puts it after another transaction.
    let at = server.chain()[3];
    Remote::put_checkpoint(&there, at, &checkpoint.chunks).unwrap();
    let two = Device::new(&server);
    let refused = two.replica.take_checkpoint();
    assert!(matches!(
        refused,
        Err(Error::Forged {
            what: Forgery::Envelope(_),
            ..
        })
    ));
    assert_eq!(two.replica.kept_state().unwrap(), None);
    assert_eq!(
        two.network.take_asked(),
        ["checkpoint", "chunk"],
        "the rest is not even asked for"
    );
    let none = Device::new(&Server::new());
    assert_eq!(none.replica.take_checkpoint().unwrap(), None);
}

#[test]
fn an_emptied_server_gets_the_state_back_with_the_chain() {
    let (server, one) = history(3);
    let before = Remote::checkpoint(&server.remote()).unwrap();
    for device in [one, {
        let two = Device::new(&server);
        two.replica.take_checkpoint().unwrap();
        two.replica.fetch().unwrap();
        two
    }] {
        let empty = Server::new();
        let device = Device::on(device.sim.clone(), Lossy::over(empty.remote()));
        assert_eq!(device.replica.seed().unwrap(), 4);
        let there = Remote::checkpoint(&empty.remote()).unwrap();
        assert_eq!(there, before);
    }
}
