use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mentat_sync::client::{Keyring, Keys, LocalRemote, Master, Replica, Slip};
use mentat_sync::model::{Head, TransactionId, UserId};
use mentat_sync::store::{Options, Store};
use simulated_disk::{Reading, Sim, SimDisk, World};

use super::ledger::Ledger;
use super::lossy::Lossy;

pub const USER: UserId = UserId::from_bytes([9; 16]);

/// The keys that all devices of the tests have.
pub fn keys() -> Keyring {
    Keyring::Sealed {
        current: Keys::derive(&Master::from_bytes(&[7; 32])),
        old: Vec::new(),
    }
}

/// Other keys.
pub fn other_keys() -> Keyring {
    Keyring::Sealed {
        current: Keys::derive(&Master::from_bytes(&[8; 32])),
        old: Vec::new(),
    }
}

/// A server: a store on a box of its own.
#[derive(Clone)]
pub struct Server {
    pub sim: Sim,
    pub store: Store,
}

impl Server {
    pub fn new() -> Self {
        Self::on(Sim::new(Reading::Atomic))
    }

    /// A server that starts on this box.
    pub fn on(sim: Sim) -> Self {
        let store = Store::open(Arc::new(sim.process()), Options::default()).unwrap();
        Self { sim, store }
    }

    /// A server on a copy of its directory as it is now: restored from a backup, later.
    pub fn copy(&self) -> Self {
        let mut world = self.sim.world();
        world.settle();
        Self::on(Sim::with_world(world))
    }

    pub fn remote(&self) -> LocalRemote {
        LocalRemote::new(&self.store, USER)
    }

    pub fn head(&self) -> Head {
        self.store.user(USER).head().unwrap()
    }

    /// The ids of the chain.
    pub fn chain(&self) -> Vec<TransactionId> {
        let user = self.store.user(USER);
        let mut listing = user
            .listing(TransactionId::ROOT, u64::MAX)
            .unwrap()
            .unwrap();
        let mut chain = Vec::new();
        while listing.left() > 0 {
            chain.extend(listing.read(1000).unwrap());
        }
        chain
    }
}

/// A box with random numbers of its own.
pub fn a_box(seed: u64) -> Sim {
    let mut world = World::new(Reading::Atomic);
    world.ticks = seed * 1_000_000;
    Sim::with_world(world)
}

/// A device: a replica on a box of its own, and an application.
pub struct Device {
    pub sim: Sim,
    pub disk: SimDisk,
    pub network: Lossy,
    pub replica: Replica,
    pub app: Ledger,
}

impl Device {
    pub fn new(server: &Server) -> Self {
        static BOXES: AtomicU64 = AtomicU64::new(1);
        let seed = BOXES.fetch_add(1, Ordering::Relaxed);
        Self::on(a_box(seed), Lossy::over(server.remote()))
    }

    /// A device that starts on this box.
    pub fn on(sim: Sim, network: Lossy) -> Self {
        Self::with_keys(sim, network, keys())
    }

    pub fn with_keys(sim: Sim, network: Lossy, keys: Keyring) -> Self {
        let disk = sim.process();
        let replica = replica_on(&disk, &network, keys);
        Self {
            sim,
            disk,
            network,
            replica,
            app: Ledger::default(),
        }
    }

    /// The same device, which breaks a rule.
    pub fn with_slip(mut self, slip: Slip) -> Self {
        let replica = replica_on(&self.disk, &self.network, keys());
        self.replica = replica.with_slip(slip);
        self
    }

    pub fn say(&self, line: &str) -> TransactionId {
        self.replica.commit(line.as_bytes(), &[]).unwrap().id
    }

    pub fn sync(&mut self) -> mentat_sync::client::Result<mentat_sync::client::Synced> {
        self.replica.sync(&mut self.app)
    }

    /// The names of the chunks, and of the transactions, in `incoming/`.
    pub fn incoming(&self) -> (Vec<String>, Vec<String>) {
        let world = self.sim.world();
        let names = |path: String| {
            let place = mentat_sync::disk::Place::new(format!("users/{USER}/incoming/{path}"));
            let listed = world.list(&place).unwrap_or_default();
            listed
                .into_iter()
                .map(|entry| entry.name)
                .collect::<Vec<_>>()
        };
        let chunks = (0..256).flat_map(|byte| names(format!("chunks/{byte:02x}")));
        (chunks.collect(), names("transactions".to_owned()))
    }

    /// All lines, the pending ones last.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.replica.entries(TransactionId::ROOT);
        lines
            .map(|entry| String::from_utf8(entry.unwrap().body).unwrap())
            .collect()
    }
}

/// The replica in this disk, made where there is none.
pub fn replica_on(disk: &SimDisk, network: &Lossy, keys: Keyring) -> Replica {
    let store = Store::open(Arc::new(disk.clone()), Replica::options()).unwrap();
    let home = Arc::new(disk.clone());
    Replica::over(home, &store, USER, keys, Arc::new(network.clone())).unwrap()
}
