//! Users: what each is called at the moment, and which folder is theirs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::kit::user_id;

use super::ledger::{Ledger, Link, Ticket};

/// What happens to a user beside its own devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `gc` runs with the grace period that the servers have.
    Busy,
    /// `gc --grace 0s`: whatever is not committed may go at any moment.
    Storm,
    /// `users mv`, again and again.
    Renamed,
    /// Deleted and made anew, under the same id.
    Deleted,
    /// Nothing: how long others make it wait is measured.
    Quiet,
    /// Chunks rot, `fsck --repair` finds them, the device uploads them again.
    Damaged,
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::Busy,
        Kind::Storm,
        Kind::Renamed,
        Kind::Deleted,
        Kind::Quiet,
        Kind::Damaged,
    ];

    /// Devices that do everything; the last two users have one of their own kind.
    pub fn devices(self) -> u64 {
        match self {
            Kind::Busy | Kind::Storm | Kind::Renamed | Kind::Deleted => 3,
            Kind::Quiet | Kind::Damaged => 0,
        }
    }

    /// What is uploaded is kept for that long at least.
    pub fn grace(self, grace: Duration) -> Duration {
        match self {
            Kind::Storm | Kind::Deleted => Duration::ZERO,
            _ => grace,
        }
    }

    /// Whether a device may build on what it saw while the user changed: the id stays the same, so it cannot do
    /// anything that another device's user would not.
    pub fn goes_on_blindly(self) -> bool {
        self == Kind::Deleted
    }
}

/// Who the user is at a moment.
#[derive(Clone)]
pub struct Now {
    /// Goes up when a change begins and when it ends: even, nothing changes.
    pub epoch: u64,
    pub id: String,
    /// Of the folder under that name; while the user is deleted and made anew, of the next one as well.
    pub ledgers: Vec<Arc<Ledger>>,
}

impl Now {
    /// Nothing changes just now.
    pub fn is_steady(&self) -> bool {
        self.epoch.is_multiple_of(2)
    }

    /// Of the folder.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledgers[0]
    }
}

/// Lines of a user's requests that are remembered for when something is wrong.
const REMEMBERED: usize = 20_000;

/// Folders that are remembered: what a copy may still hold of a user who is deleted all the time.
const PAST: usize = 16;

/// One user, from the first upload to the last look at all of it.
pub struct House {
    pub kind: Kind,
    now: Mutex<Now>,
    /// The advances that were asked for and not yet answered, by when they were: who is deleted and made anew may meet
    /// them.
    under_way: Mutex<BTreeMap<u64, Vec<Link>>>,
    /// All ids so far, the present one last.
    names: Mutex<Vec<String>>,
    /// Of the folders before, the last of them last.
    past: Mutex<Vec<Arc<Ledger>>>,
    leaving: AtomicBool,
    lines: Mutex<VecDeque<String>>,
}

impl House {
    /// A user with an id that this seed has for it.
    pub fn new(kind: Kind, seed: u64, generation: u64) -> Self {
        let id = user_id(&format!("soak {seed} {kind:?} {generation}"));
        Self {
            kind,
            names: Mutex::new(vec![id.clone()]),
            now: Mutex::new(Now {
                epoch: 0,
                id,
                ledgers: vec![Arc::default()],
            }),
            past: Mutex::default(),
            under_way: Mutex::default(),
            leaving: AtomicBool::new(false),
            lines: Mutex::default(),
        }
    }

    pub fn now(&self) -> Now {
        self.now.lock().unwrap().clone()
    }

    /// All ids so far.
    pub fn names(&self) -> Vec<String> {
        self.names.lock().unwrap().clone()
    }

    /// A change of the name begins.
    pub fn begins_to_change(&self) -> Now {
        let mut now = self.now.lock().unwrap();
        now.epoch += 1;
        now.clone()
    }

    /// The folder is about to be deleted, and another one to be made, of which this is known.
    pub fn begins_anew(&self, ledger: Arc<Ledger>) -> Now {
        let mut now = self.now.lock().unwrap();
        now.epoch += 1;
        for (called, links) in self.under_way.lock().unwrap().iter() {
            ledger.open(*called, links);
        }
        now.ledgers.push(ledger);
        now.clone()
    }

    /// An advance is about to be asked for.
    pub fn opens(&self, called: u64, links: &[Link]) -> (Now, Vec<Ticket>) {
        let now = self.now.lock().unwrap();
        let ledgers = now.ledgers.iter();
        let tickets = ledgers.map(|ledger| ledger.open(called, links)).collect();
        self.under_way
            .lock()
            .unwrap()
            .insert(called, links.to_vec());
        (now.clone(), tickets)
    }

    /// It was answered, or never will be.
    pub fn closes(&self, called: u64) {
        self.under_way.lock().unwrap().remove(&called);
    }

    /// The change is over; with another name, where there is one.
    pub fn has_changed(&self, name: Option<String>) {
        let mut now = self.now.lock().unwrap();
        now.epoch += 1;
        if now.ledgers.len() > 1 {
            let mut past = self.past.lock().unwrap();
            past.push(now.ledgers.remove(0));
            if past.len() > PAST {
                past.remove(0);
            }
        }
        if let Some(name) = name {
            now.id.clone_from(&name);
            self.names.lock().unwrap().push(name);
        }
    }

    /// Of the folder now and of those before.
    pub fn ledgers(&self) -> Vec<Arc<Ledger>> {
        let now = self.now().ledgers;
        let past = self.past.lock().unwrap();
        past.iter().chain(&now).cloned().collect()
    }

    /// Its devices come to an end.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    pub fn is_left(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Remembers a line for when something is wrong.
    pub fn remember(&self, line: String) {
        let mut lines = self.lines.lock().unwrap();
        if lines.len() == REMEMBERED {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub fn remembered(&self) -> Vec<String> {
        self.lines.lock().unwrap().iter().cloned().collect()
    }
}
