//! TaskChampion's own client, as it is published, with a task list that it keeps in memory.
//!
//!     taskchampion-client make URL LIST VERSIONS
//!     taskchampion-client sync URL LIST VERSIONS
//!
//! `make` makes a list of as many versions, each a new task of some words, and sends no snapshot, whatever the server
//! asks for: who comes later is to read them all. `sync` is somebody with nothing who comes later: it syncs once, says
//! how many seconds that took, and fails if it has not as many tasks then.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use taskchampion::server::{
    AddVersionResult, GetVersionResult, HistorySegment, Snapshot, SnapshotUrgency, VersionId,
};
use taskchampion::storage::inmemory::InMemoryStorage;
use taskchampion::{Error, Operations, Replica, Server, ServerConfig, Status, Uuid};

/// The secret that both share.
const SECRET: &[u8] = b"correct horse battery staple";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, url, list, versions] = &arguments[..] else {
        bail!("make or sync, the address, the list, and how many versions");
    };
    let (list, versions): (Uuid, usize) = (list.parse()?, versions.parse()?);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(async {
        match &what[..] {
            "make" => make(url, list, versions).await,
            "sync" => sync(url, list, versions).await,
            other => bail!("neither make nor sync: {other}"),
        }
    })
}

/// The list at this address.
async fn list_at(url: &str, list: Uuid) -> Result<Box<dyn Server>> {
    let config = ServerConfig::Remote {
        url: url.to_owned(),
        client_id: list,
        encryption_secret: SECRET.to_vec(),
    };
    config.into_server().await.context("no client")
}

async fn make(url: &str, list: Uuid, versions: usize) -> Result<()> {
    let mut server: Box<dyn Server> = Box::new(Unhurried(list_at(url, list).await?));
    let mut replica = Replica::new(InMemoryStorage::new());
    for number in 0..versions {
        let mut operations = Operations::new();
        let mut task = replica.create_task(Uuid::new_v4(), &mut operations).await?;
        let words = format!("the task of number {number}, of which there is something to be said");
        task.set_description(words, &mut operations)?;
        task.set_status(Status::Pending, &mut operations)?;
        replica.commit_operations(operations).await?;
        replica.sync(&mut server, false).await?;
    }
    Ok(())
}

async fn sync(url: &str, list: Uuid, versions: usize) -> Result<()> {
    let mut server = list_at(url, list).await?;
    let mut replica = Replica::new(InMemoryStorage::new());
    let started = Instant::now();
    replica.sync(&mut server, false).await?;
    let took = started.elapsed();
    let tasks = replica.all_task_data().await?.len();
    ensure!(tasks == versions, "{tasks} tasks");
    println!("{}", took.as_secs_f64());
    Ok(())
}

/// A server whose wish for a snapshot is not told to the client.
struct Unhurried(Box<dyn Server>);

#[async_trait(?Send)]
impl Server for Unhurried {
    async fn add_version(
        &mut self,
        parent: VersionId,
        segment: HistorySegment,
    ) -> Result<(AddVersionResult, SnapshotUrgency), Error> {
        let (added, _) = self.0.add_version(parent, segment).await?;
        Ok((added, SnapshotUrgency::None))
    }

    async fn get_child_version(&mut self, parent: VersionId) -> Result<GetVersionResult, Error> {
        self.0.get_child_version(parent).await
    }

    async fn add_snapshot(&mut self, version: VersionId, snapshot: Snapshot) -> Result<(), Error> {
        self.0.add_snapshot(version, snapshot).await
    }

    async fn get_snapshot(&mut self) -> Result<Option<(VersionId, Snapshot)>, Error> {
        self.0.get_snapshot().await
    }
}
