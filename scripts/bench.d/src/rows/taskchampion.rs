//! TaskChampion's requests, beside a server of its protocol over SQLite: a plain handler of actix-web over the
//! published `taskchampion-sync-server-core` and `-storage-sqlite`, with `synchronous=FULL`
//! (scripts/bench-taskchampion.d). The server that they are made for is in no registry.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Bench, Chunk, ROOT, new_id};
use crate::load::{self, Request, header};
use crate::measure::{Bar, Figures, Row, Unit, in_turns};
use crate::peers::TaskChampion;
use crate::running::{self, Running};
use crate::wrk::Reads;

const PEER: &str = "actix over its sync-server-core and SQLite, synchronous=FULL";

/// A version of Taskwarrior's is some tasks' worth of changes.
const LENGTH: usize = 1 << 10;

/// Clients that add versions at once, each to a list of its own.
const CLIENTS: [usize; 2] = [1, 16];

/// Connections that read.
const READERS: usize = 64;

/// Both servers.
struct Field<'a> {
    bench: &'a Bench,
    peer: Running,
    client: &'a Path,
}

pub fn rows(bench: &Bench) -> Vec<Row> {
    let versions = bench.sizes.versions;
    let add = CLIENTS.map(|clients| {
        let s = if clients == 1 { "" } else { "s at once" };
        format!("TaskChampion add-version, 1 KiB, durable, {clients} client{s}")
    });
    let child = format!("TaskChampion get-child-version, 1 KiB, {READERS} connections");
    let first = format!("TaskChampion first sync of {versions} versions, its own client");
    let faster = Bar::AtLeast(1.0);
    let field = match &bench.peers.taskchampion {
        Some(programs) => Field::new(bench, programs),
        None => Err(anyhow::anyhow!("its programs are not built here")),
    };
    let field = match field {
        Ok(field) => field,
        Err(error) => {
            let why = format!("{error:#}");
            let skipped = |work| Row::skipped(work, faster, &why);
            let mut rows: Vec<Row> = add.into_iter().chain([child]).map(skipped).collect();
            rows.push(Row::skipped(first, Bar::AtMost(1.0), why));
            return rows;
        }
    };
    let mut rows = Vec::new();
    for (work, clients) in add.into_iter().zip(CLIENTS) {
        rows.push(Row::measured(work, faster, field.add(clients)));
    }
    rows.push(match bench.peers.wrk {
        true => Row::measured(child, faster, field.child()),
        false => Row::skipped(child, faster, "no wrk here"),
    });
    rows.push(Row::measured(first, Bar::AtMost(1.0), field.first_sync()));
    rows
}

impl<'a> Field<'a> {
    fn new(bench: &'a Bench, programs: &'a TaskChampion) -> Result<Self> {
        let log = bench.place("taskchampion-peer.log");
        let data = bench.place("taskchampion-peer");
        let peer = running::taskchampion_peer(&programs.peer, &data, log)?;
        let client = &programs.client;
        Ok(Self {
            bench,
            peer,
            client,
        })
    }

    fn ours(&self) -> SocketAddr {
        self.bench.server.address
    }

    fn in_turns(
        &self,
        unit: Unit,
        one: impl Fn(SocketAddr, usize) -> Result<f64>,
    ) -> Result<Figures> {
        in_turns(
            self.bench.sizes.runs,
            &self.bench.work,
            unit,
            PEER,
            |run| one(self.ours(), run),
            |run| one(self.peer.address, run),
        )
    }

    /// Versions a second, each of which is answered before its client sends the next. The lists are new, as is what
    /// their first versions make: those are not counted.
    fn add(&self, clients: usize) -> Result<Figures> {
        let each = self.bench.sizes.added / clients;
        self.in_turns(Unit::PerSecond, |address, run| {
            let mut lists: Vec<List> = (0..clients)
                .map(|client| List::new((clients * 100 + run) as u64, client as u64))
                .collect();
            extend(address, &mut lists, 1)?;
            Ok(extend(address, &mut lists, each)?.rate())
        })
    }

    /// Answers a second, each with a version of a long list.
    fn child(&self) -> Result<Figures> {
        let versions = self.bench.sizes.versions;
        let read = |address: SocketAddr, name: &str| {
            let mut lists = [List::new(77, 0)];
            let mut parents = vec![ROOT.to_owned()];
            for _ in 1..versions {
                extend(address, &mut lists, 1)?;
                parents.push(lists[0].newest.clone());
            }
            extend(address, &mut lists, 1)?;
            let paths: Vec<String> = (parents.iter())
                .map(|parent| format!("/v1/client/get-child-version/{parent}"))
                .collect();
            let headers = [("X-Client-Id", &lists[0].client[..])];
            Reads::with_headers(&paths, &headers, &self.bench.work, name)
        };
        let ours = read(self.ours(), "child-ours")?;
        let theirs = read(self.peer.address, "child-theirs")?;
        let time = Duration::from_secs(self.bench.sizes.seconds);
        self.in_turns(Unit::PerSecond, |address, _| {
            let reads = if address == self.ours() {
                &ours
            } else {
                &theirs
            };
            reads.run(address, READERS, time)
        })
    }

    /// Seconds from nothing to all tasks, by the client's own clock: without its start, in which it makes the secret a key.
    fn first_sync(&self) -> Result<Figures> {
        let list = new_id();
        for address in [self.ours(), self.peer.address] {
            self.run_client("make", address, &list)?;
        }
        self.in_turns(Unit::Seconds, |address, _| {
            let said = self.run_client("sync", address, &list)?;
            said.trim().parse().context("the client says no time")
        })
    }

    fn run_client(&self, what: &str, address: SocketAddr, list: &str) -> Result<String> {
        let output = Command::new(self.client)
            .args([what, &format!("http://{address}"), list])
            .arg(self.bench.sizes.versions.to_string())
            .output()
            .context("cannot start the client")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the client: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// A list that is added to.
struct List {
    client: String,
    newest: String,
    body: Vec<u8>,
    count: u64,
}

impl List {
    fn new(series: u64, number: u64) -> Self {
        Self {
            client: new_id(),
            newest: ROOT.to_owned(),
            body: Chunk::new(series, number, LENGTH).bytes,
            count: 0,
        }
    }

    /// The next version, unlike all others.
    fn next(&mut self) -> Request {
        self.count += 1;
        self.body[..8].copy_from_slice(&self.count.to_le_bytes());
        let path = format!("/v1/client/add-version/{}", self.newest);
        let media = "application/vnd.taskchampion.history-segment";
        let headers = [("x-client-id", &self.client[..]), ("content-type", media)];
        Request::with_headers("POST", &path, &headers, &self.body, 200)
    }
}

/// Adds as many versions to each list, all lists at once.
fn extend(address: SocketAddr, lists: &mut [List], each: usize) -> Result<load::Taken> {
    let mut left = vec![each; lists.len()];
    load::run_by(address, lists.len(), |number, answer| {
        let list = &mut lists[number];
        if let Some(answer) = answer {
            let version = header(answer, "x-version-id").context("no version's id")?;
            list.newest = version.to_owned();
        }
        Ok(match left[number].checked_sub(1) {
            None => None,
            Some(fewer) => {
                left[number] = fewer;
                Some(Cow::Owned(list.next()))
            }
        })
    })
}
