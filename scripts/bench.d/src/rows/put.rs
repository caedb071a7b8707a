//! Durable `PUT` of new chunks, beside rustic_server, which writes a blob under its final name and
//! syncs that file, and nothing else: a power cut can take the name, or leave half of it.

use anyhow::Result;

use super::{Bench, Chunk, new_id};
use crate::load::{self, Request};
use crate::measure::{Bar, Figures, Row, Unit, in_turns};
use crate::running::{self, Running};

/// Connections, and the bar.
const CROWDS: [(usize, f64); 3] = [(64, 1.2), (16, 1.0), (1, 0.8)];

const LENGTH: usize = 4 << 10;

/// The repository in rustic_server; it would make what is missing, but its own client asks first.
const REPOSITORY: &str = "bench";

pub fn rows(bench: &Bench) -> Vec<Row> {
    let server = bench.peers.rustic.as_ref().map(|binary| {
        let log = bench.place("rustic_server.log");
        let server = running::rustic_server(binary, &bench.place("rustic"), REPOSITORY, log)?;
        let create = format!("/{REPOSITORY}/?create=true");
        load::run(
            server.address,
            1,
            &[Request::new("POST", &create, b"", 200)],
        )?;
        Ok(server)
    });
    let user = new_id();
    let mut rows = Vec::new();
    for ((connections, bar), count) in CROWDS.into_iter().zip(bench.sizes.uploads) {
        let s = if connections == 1 { "" } else { "s" };
        let work = format!("PUT 4 KiB, new and durable, {connections} connection{s}");
        let bar = Bar::AtLeast(bar);
        rows.push(match &server {
            Some(Ok(server)) => {
                let figures = upload(bench, server, &user, connections, count);
                Row::measured(work, bar, figures)
            }
            Some(Err(error)) => {
                let error: &anyhow::Error = error;
                Row::skipped(work, bar, format!("rustic_server: {error:#}"))
            }
            None => {
                let tried = once(bench, &user, connections, count);
                let why = "rustic_server is not built here";
                match tried {
                    Ok(()) => Row::skipped(work, bar, format!("{why}; our side ran")),
                    Err(error) => Row::measured(work, bar, Err(error)),
                }
            }
        });
    }
    rows
}

fn upload(
    bench: &Bench,
    server: &Running,
    user: &str,
    connections: usize,
    count: usize,
) -> Result<Figures> {
    // The same bytes for both, and never the same twice.
    let chunks = |run: usize| {
        let series = (connections * 1000 + run) as u64;
        (0..count as u64).map(move |number| Chunk::new(series, number, LENGTH))
    };
    in_turns(
        bench.sizes.runs,
        &bench.work,
        Unit::PerSecond,
        "rustic_server",
        |run| {
            let puts: Vec<Request> = chunks(run).map(|chunk| chunk.put(user)).collect();
            Ok(load::run(bench.server.address, connections, &puts)?.rate())
        },
        |run| {
            let posts: Vec<Request> = chunks(run)
                .map(|chunk| {
                    let path = format!("/{REPOSITORY}/data/{}", chunk.id);
                    Request::new("POST", &path, &chunk.bytes, 200)
                })
                .collect();
            Ok(load::run(server.address, connections, &posts)?.rate())
        },
    )
}

/// Our side alone, where there is nobody to compare it with.
fn once(bench: &Bench, user: &str, connections: usize, count: usize) -> Result<()> {
    let puts: Vec<Request> = (0..count as u64)
        .map(|number| Chunk::new(connections as u64, number, LENGTH).put(user))
        .collect();
    load::run(bench.server.address, connections, &puts).map(drop)
}
