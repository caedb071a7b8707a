use std::sync::{Arc, Mutex};

use mentat_sync::client::{Progress, Replica};

use super::fleet::{Device, Server};
use super::lossy::Fate;

/// All that a listener was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    transactions: u64,
    bytes: u64,
    /// What there is in all, as of the last word about what is still to come or to go.
    all: Option<(u64, Option<u64>)>,
    words: usize,
    put: u64,
}

/// A listener that notes, and sees that nothing passes its end.
#[derive(Default)]
struct Listener {
    told: Mutex<Told>,
    is_blind: bool,
}

impl Listener {
    fn told(&self) -> Told {
        *self.told.lock().unwrap()
    }

    fn left(&self, transactions: u64, bytes: Option<u64>) {
        let mut told = self.told.lock().unwrap();
        let bytes = bytes.map(|bytes| told.bytes + bytes);
        told.all = Some((told.transactions + transactions, bytes));
        told.words += 1;
    }

    fn done(&self, transactions: u64, bytes: u64) {
        let mut told = self.told.lock().unwrap();
        told.transactions += transactions;
        told.bytes += bytes;
    }
}

impl Progress for Listener {
    fn is_watched(&self) -> bool {
        !self.is_blind
    }

    fn will_come(&self, transactions: u64, bytes: Option<u64>) {
        self.left(transactions, bytes);
    }

    fn came(&self, transactions: u64, bytes: u64) {
        self.done(transactions, bytes);
    }

    fn will_go(&self, transactions: u64, bytes: u64) {
        self.left(transactions, Some(bytes));
    }

    fn went(&self, transactions: u64, bytes: u64) {
        self.done(transactions, bytes);
    }

    fn put(&self, bytes: u64) {
        self.told.lock().unwrap().put += bytes;
    }
}

/// A device whose replica tells the listener.
fn told(mut device: Device, listener: &Arc<Listener>) -> Device {
    let progress = Arc::clone(listener) as Arc<dyn Progress>;
    device.replica = device.replica.with_progress(progress);
    device
}

/// Says so many entries with large chunks beside them, no two of which are the same.
fn say_large(replica: &Replica, count: u8) -> u64 {
    let mut put = 0;
    for number in 0..count {
        let bytes: Vec<u8> = (0..300_000_u32)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ number)
            .collect();
        put += bytes.len() as u64;
        let chunks = replica.put(&bytes[..]).unwrap();
        replica.commit(b"large", &chunks).unwrap();
    }
    put
}

#[test]
fn a_push_and_a_pull_end_where_they_were_told_to_end() {
    let server = Server::new();
    let (out, into) = (Arc::default(), Arc::default());
    let one = told(Device::new(&server), &out);
    let put = say_large(&one.replica, 20);
    assert_eq!(out.told().put, put);
    one.replica.push_as_it_is().unwrap();
    let told_out = out.told();
    let (transactions, bytes) = told_out.all.unwrap();
    assert_eq!((told_out.transactions, transactions), (20, 20));
    assert_eq!(told_out.words, 1);
    // Its transactions are counted, and their bytes are not.
    let bytes = bytes.unwrap();
    assert!(
        (bytes..bytes + 64 * 1024).contains(&told_out.bytes),
        "{told_out:?}"
    );

    let two = told(Device::new(&server), &into);
    two.replica.fetch().unwrap();
    let told_in = into.told();
    let all = told_in.all.unwrap();
    assert_eq!(all, (20, Some(told_in.bytes)), "{told_in:?}");
    assert_eq!(told_in.transactions, 20);
    assert_eq!(
        two.network.take_asked(),
        ["bundle", "head", "length"],
        "asked once the answer is seen to be long"
    );
}

#[test]
fn nobody_asks_how_long_a_pull_is_that_nobody_watches_or_that_is_short() {
    let server = Server::new();
    let one = Device::new(&server);
    say_large(&one.replica, 2);
    one.replica.push_as_it_is().unwrap();
    let blind = Arc::new(Listener {
        is_blind: true,
        ..Listener::default()
    });
    let two = told(Device::new(&server), &blind);
    two.replica.fetch().unwrap();
    assert_eq!(two.network.take_asked(), ["bundle"]);
    assert_eq!((blind.told().transactions, blind.told().words), (2, 0));
    one.say("short");
    one.replica.push_as_it_is().unwrap();
    let sighted = Arc::default();
    let two = told(two, &sighted);
    two.replica.fetch().unwrap();
    assert_eq!(two.network.take_asked(), ["bundle"]);
    assert_eq!((sighted.told().transactions, sighted.told().words), (1, 0));
}

#[test]
fn a_pull_that_breaks_off_is_told_anew_how_much_is_left_and_counts_each_transaction_once() {
    let server = Server::new();
    let one = Device::new(&server);
    say_large(&one.replica, 20);
    one.replica.push_as_it_is().unwrap();
    let into = Arc::default();
    let two = told(Device::new(&server), &into);
    two.network.next("bundle", Fate::CutAfter(2_000_000));
    two.replica.fetch().unwrap();
    let told_in = into.told();
    assert_eq!((told_in.transactions, told_in.words), (20, 2));
    assert_eq!(told_in.all, Some((20, Some(told_in.bytes))));
    // A server that does not say how long it is stops nothing.
    let three = told(Device::new(&server), &into);
    three.network.decide(|name| match name {
        "length" | "head" => Fate::RequestLost,
        _ => Fate::Fine,
    });
    three.replica.fetch().unwrap();
    assert_eq!(into.told().transactions, 40);
}
