use std::collections::{BTreeMap, HashMap};

use taskchampion::storage::inmemory::InMemoryStorage;
use taskchampion::{Error, Operations, Server, ServerConfig, Status, Uuid};

/// The secret that the replicas of a list share.
const SECRET: &[u8] = b"correct horse battery staple";

/// The user of every list, where nobody says another.
pub const LIST: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

/// The tasks of a list, each with its properties.
pub type Tasks = BTreeMap<Uuid, BTreeMap<String, String>>;

/// A replica of a task list, and the servers that it has synced with.
pub struct Replica {
    list: String,
    replica: taskchampion::Replica<InMemoryStorage>,
    servers: HashMap<String, Box<dyn Server>>,
    runtime: tokio::runtime::Runtime,
}

impl Replica {
    pub fn new() -> Self {
        Self::of(LIST)
    }

    /// A replica of this user's list.
    pub fn of(list: &str) -> Self {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        Self {
            list: list.to_owned(),
            replica: taskchampion::Replica::new(InMemoryStorage::new()),
            servers: HashMap::new(),
            runtime: runtime.enable_all().build().expect("a runtime"),
        }
    }

    /// Prepares to sync with the server at this address, which takes a while: the secret becomes a key.
    pub fn prepare(&mut self, url: &str) {
        if self.servers.contains_key(url) {
            return;
        }
        let config = ServerConfig::Remote {
            url: url.to_owned(),
            client_id: self.list.parse().expect("it is a uuid"),
            encryption_secret: SECRET.to_vec(),
        };
        let server = self.runtime.block_on(config.into_server());
        self.servers
            .insert(url.to_owned(), server.expect("a client"));
    }

    /// Syncs with the server at this address.
    pub fn try_sync(&mut self, url: &str) -> Result<(), Error> {
        self.prepare(url);
        let server = self.servers.get_mut(url).expect("it was prepared");
        self.runtime.block_on(self.replica.sync(server, false))
    }

    #[track_caller]
    pub fn sync(&mut self, url: &str) {
        if let Err(error) = self.try_sync(url) {
            panic!("sync with {url}: {error:?}");
        }
    }

    /// Syncs until it works: the server may be away just now, and others may be quicker.
    pub fn sync_in_the_end(&mut self, url: &str) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while let Err(error) = self.try_sync(url) {
            assert!(
                std::time::Instant::now() < deadline,
                "sync with {url}: {error:?}"
            );
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Makes a task.
    pub fn add(&mut self, description: &str) -> Uuid {
        let id = Uuid::new_v4();
        let mut operations = Operations::new();
        self.runtime.block_on(async {
            let task = self.replica.create_task(id, &mut operations).await;
            let mut task = task.expect("there is room");
            let set = task.set_description(description.to_owned(), &mut operations);
            set.and_then(|()| task.set_status(Status::Pending, &mut operations))
                .expect("a new task can be changed");
            let committed = self.replica.commit_operations(operations).await;
            committed.expect("there is room");
        });
        id
    }

    /// Changes a task that is there.
    pub fn change(&mut self, id: Uuid, property: &str, value: &str) {
        let mut operations = Operations::new();
        self.runtime.block_on(async {
            let task = self.replica.get_task(id).await.expect("it can be read");
            let mut task = task.expect("it is there");
            let value = Some(value.to_owned());
            let set = task.set_value(property, value, &mut operations);
            set.expect("it can be changed");
            let committed = self.replica.commit_operations(operations).await;
            committed.expect("there is room");
        });
    }

    /// Deletes a task for good.
    pub fn delete(&mut self, id: Uuid) {
        let mut operations = Operations::new();
        self.runtime.block_on(async {
            let task = self
                .replica
                .get_task_data(id)
                .await
                .expect("it can be read");
            task.expect("it is there").delete(&mut operations);
            let committed = self.replica.commit_operations(operations).await;
            committed.expect("there is room");
        });
    }

    /// All tasks.
    pub fn tasks(&mut self) -> Tasks {
        let all = self.runtime.block_on(self.replica.all_task_data());
        let all = all.expect("they can be read").into_iter();
        all.map(|(id, task)| {
            let properties = task.iter();
            let told = properties.map(|(name, value)| (name.clone(), value.clone()));
            (id, told.collect())
        })
        .collect()
    }

    /// Changes that have not been synced.
    pub fn unsynced(&mut self) -> usize {
        let number = self.runtime.block_on(self.replica.num_local_operations());
        number.expect("they can be counted")
    }
}

/// These replicas agree on every task; returns what they agree on.
#[track_caller]
pub fn agree(replicas: &mut [Replica]) -> Tasks {
    let first = replicas[0].tasks();
    for other in &mut replicas[1..] {
        assert_eq!(other.tasks(), first);
    }
    first
}

/// Syncs all of these until none has anything new.
#[track_caller]
pub fn settle(replicas: &mut [Replica], url: &str) -> Tasks {
    for _ in 0..2 {
        for replica in &mut *replicas {
            replica.sync_in_the_end(url);
        }
    }
    assert!(replicas.iter_mut().all(|replica| replica.unsynced() == 0));
    agree(replicas)
}
