//! A device that reaches a server over HTTP, by the library: what it asks, what it makes of answers, and of their absence.

mod messages;
mod secure;
mod trouble;
mod wire;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mentat_sync::client::{
    Error, HttpOptions, HttpRemote, Parcel, Pauses, Proxies, Result, Tries, Unreached,
};
use mentat_sync::model::UserId;

use crate::kit::user_id;

/// The clock of tests: nobody waits, and what would have been waited is noted.
#[derive(Clone, Default)]
struct NotedPauses(Arc<Mutex<Vec<Duration>>>);

impl NotedPauses {
    fn all(&self) -> Vec<Duration> {
        self.0.lock().unwrap().clone()
    }
}

impl Pauses for NotedPauses {
    fn pause(&self, time: Duration) {
        self.0.lock().unwrap().push(time);
    }

    fn up_to(&self, most: Duration) -> Duration {
        most
    }
}

fn user(name: &str) -> UserId {
    user_id(name).parse().unwrap()
}

/// The options of a command whose clock is that of tests, and which no proxy of this machine's gets to see.
fn options() -> HttpOptions {
    HttpOptions {
        proxies: Proxies::default(),
        authorities: None,
        tries: Tries::AtMost(3),
        connect_wait: Duration::from_secs(20),
        answer_wait: Duration::from_secs(60),
        pauses: Arc::new(NotedPauses::default()),
    }
}

/// Options under which nobody waits for long.
fn impatient() -> HttpOptions {
    HttpOptions {
        tries: Tries::AtMost(1),
        answer_wait: Duration::from_secs(1),
        ..options()
    }
}

#[track_caller]
fn remote_at(url: &str, name: &str, options: HttpOptions) -> HttpRemote {
    HttpRemote::new(&url.parse().unwrap(), user(name), options).unwrap()
}

#[track_caller]
fn remote(address: SocketAddr, name: &str) -> HttpRemote {
    remote_at(&format!("http://{address}"), name, options())
}

/// Why nothing was reached.
#[track_caller]
fn unreached<T: std::fmt::Debug>(outcome: &Result<T>) -> &Unreached {
    let Err(error) = outcome else {
        panic!("reached: {outcome:?}")
    };
    assert!(matches!(error, Error::Offline { .. }), "{error:?}");
    Unreached::of_error(error).unwrap_or_else(|| panic!("{error:?}"))
}

/// Why a body could not be read to its end.
#[track_caller]
fn broken(mut body: impl Read) -> io::Error {
    let mut bytes = Vec::new();
    match body.read_to_end(&mut bytes) {
        Ok(_) => panic!("{} bytes were taken for all", bytes.len()),
        Err(error) => error,
    }
}

fn whole(mut body: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).unwrap();
    bytes
}

/// A bundle in memory, and how often it was opened.
struct InMemory {
    bytes: Vec<u8>,
    opened: AtomicUsize,
}

impl InMemory {
    fn of(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            opened: AtomicUsize::new(0),
        }
    }
}

impl Parcel for InMemory {
    fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn open(&self) -> Result<Box<dyn Read + Send + '_>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(&self.bytes[..]))
    }
}
