//! `GET` of chunks, beside nginx serving the very same files.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Bench, Chunk, ROOT, new_id};
use crate::measure::{Bar, Figures, Row, Unit, in_turns};
use crate::running::{self, Running};
use crate::wrk::Reads;

const CONNECTIONS: usize = 64;

/// What is read: its length, as a person says it, and the bar.
const LENGTHS: [(usize, &str, f64); 3] = [
    (4 << 10, "4 KiB", 1.0),
    (64 << 10, "64 KiB", 0.9),
    (1 << 20, "1 MiB", 0.9),
];

/// The user whose chunks are read; fsck looks at them too.
pub struct Library {
    pub user: String,
    pub bytes: u64,
}

/// Commits the chunks that are read, and measures the reading.
pub fn rows(bench: &Bench) -> (Vec<Row>, Option<Library>) {
    let user = new_id();
    let mut head = ROOT.to_owned();
    let mut library = None;
    let mut rows = Vec::new();
    let nginx = match &bench.peers.nginx {
        Some(binary) => running::nginx(binary, &bench.data, &bench.work).map(Some),
        None => Ok(None),
    };
    for ((length, name, bar), count) in LENGTHS.into_iter().zip(bench.sizes.reads) {
        let work = format!("GET {name}, {count} chunks, {CONNECTIONS} connections");
        let bar = Bar::AtLeast(bar);
        let chunks: Vec<Chunk> = (0..count)
            .map(|number| Chunk::new(length as u64, number as u64, length))
            .collect();
        rows.push(match (&nginx, bench.peers.wrk) {
            (Ok(Some(nginx)), true) => {
                let figures = bench
                    .commit(&user, &head, &chunks)
                    .context("cannot commit the chunks")
                    .and_then(|committed| {
                        head = committed;
                        read(bench, nginx, &user, name, &chunks)
                    });
                Row::measured(work, bar, figures)
            }
            (Err(error), _) => Row::skipped(work, bar, format!("nginx: {error:#}")),
            _ => Row::skipped(work, bar, "no nginx or no wrk here"),
        });
        let before = library.map_or(0, |library: Library| library.bytes);
        library = Some(Library {
            user: user.clone(),
            bytes: before + (length * count) as u64,
        });
    }
    rows.insert(1, access_log(bench, &user));
    (rows, library.filter(|_| head != ROOT))
}

/// The same chunks from a server that writes its access log, beside one that writes none.
fn access_log(bench: &Bench, user: &str) -> Row {
    let (length, count) = (LENGTHS[0].0, bench.sizes.reads[0]);
    let work = format!("the same, with an access log, {CONNECTIONS} connections");
    let bar = Bar::AtLeast(0.95);
    if !bench.peers.wrk {
        return Row::skipped(work, bar, "no wrk here");
    }
    let log = bench.place("logging.log");
    let figures =
        running::mentat_sync(&bench.binary, &bench.data, "info", log).and_then(|logging| {
            let paths: Vec<String> = (0..count)
                .map(|number| Chunk::new(length as u64, number as u64, length).id)
                .map(|id| format!("/0.1/{user}/chunks/{id}"))
                .collect();
            let reads = Reads::of(&paths, &bench.work, "access-log")?;
            let time = Duration::from_secs(bench.sizes.seconds);
            in_turns(
                bench.sizes.runs,
                &bench.work,
                Unit::PerSecond,
                "without",
                |_| reads.run(logging.address, CONNECTIONS, time),
                |_| reads.run(bench.server.address, CONNECTIONS, time),
            )
        });
    Row::measured(work, bar, figures)
}

fn read(
    bench: &Bench,
    nginx: &Running,
    user: &str,
    name: &str,
    chunks: &[Chunk],
) -> Result<Figures> {
    let ours: Vec<String> = chunks
        .iter()
        .map(|chunk| format!("/0.1/{user}/chunks/{}", chunk.id))
        .collect();
    let theirs: Vec<String> = chunks
        .iter()
        .map(|chunk| format!("/{}", Bench::committed(user, &chunk.id)))
        .collect();
    let name = name.replace(' ', "-");
    let ours = Reads::of(&ours, &bench.work, &format!("ours-{name}"))?;
    let theirs = Reads::of(&theirs, &bench.work, &format!("nginx-{name}"))?;
    let time = Duration::from_secs(bench.sizes.seconds);
    in_turns(
        bench.sizes.runs,
        &bench.work,
        Unit::PerSecond,
        "nginx",
        |_| ours.run(bench.server.address, CONNECTIONS, time),
        |_| theirs.run(nginx.address, CONNECTIONS, time),
    )
}
