//! A transaction and the advance of HEAD to it, beside the upload of a chunk: one connection, one user.

use anyhow::Result;

use super::{Bench, Chunk, ROOT, new_id, put_head, put_transaction};
use crate::load::{self, Request};
use crate::measure::{Bar, Figures, Row, Unit, in_turns};

pub fn rows(bench: &Bench) -> Vec<Row> {
    let work = "PUT transaction + PUT head, 1 connection (pairs/s)";
    vec![Row::measured(work, Bar::AtLeast(0.3), advance(bench))]
}

fn advance(bench: &Bench) -> Result<Figures> {
    let user = new_id();
    let chunk = Chunk::new(1, 1, 4 << 10);
    let mut head = bench.commit(&user, ROOT, std::slice::from_ref(&chunk))?;
    let count = bench.sizes.advances;
    in_turns(
        bench.sizes.runs,
        &bench.work,
        Unit::PerSecond,
        "our own PUT chunk",
        |_| {
            let mut requests = Vec::new();
            for _ in 0..count {
                let id = new_id();
                requests.push(put_transaction(&user, &id, &head, &[&chunk.id]));
                requests.push(put_head(&user, &id));
                head = id;
            }
            Ok(load::run(bench.server.address, 1, &requests)?.rate() / 2.0)
        },
        |run| {
            let puts: Vec<Request> = (0..2 * count as u64)
                .map(|number| Chunk::new(1_000_000 + run as u64, number, 4 << 10).put(&user))
                .collect();
            Ok(load::run(bench.server.address, 1, &puts)?.rate())
        },
    )
}
