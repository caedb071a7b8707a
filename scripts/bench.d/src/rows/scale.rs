//! The same requests on a short chain and on a long one: nothing may grow with history.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Bench, new_id, put_head, put_transaction};
use crate::load::{self, Request};
use crate::measure::{Bar, Figures, Row, Unit, in_turns, median_time, settle};
use crate::running::{self, Running};

// The command that makes long chains, also for people.
#[allow(dead_code)]
#[path = "../../../make-chain.rs"]
mod make_chain;

/// A line of `log`.
const LINE: u64 = 50;

/// How many transactions are listed.
const LAST: u64 = 10;

/// A server on a chain.
struct Served {
    server: Running,
    user: String,
    log: PathBuf,
    chunk: String,
}

pub fn rows(bench: &Bench) -> (Vec<Row>, Option<Running>) {
    let [short, long] = bench.sizes.chains;
    let bar = Bar::AtMost(1.1);
    let works = ["GET head", "PUT head", "GET transactions (last ten)"]
        .map(|work| format!("{work} at {long} transactions"));
    let served = Served::new(bench, short).and_then(|a| Ok((a, Served::new(bench, long)?)));
    let (short, long) = match served {
        Ok(served) => served,
        Err(error) => {
            let why = format!("{error:#}");
            let rows = works.map(|work| Row::skipped(work, bar, &why));
            return (rows.into(), None);
        }
    };
    let count = bench.sizes.looks;
    let turns = |look: fn(&Served, usize) -> Result<f64>| -> Result<Figures> {
        let name = format!("the same at {}", bench.sizes.chains[0]);
        in_turns(
            bench.sizes.runs,
            &bench.work,
            Unit::Seconds,
            &name,
            |_| look(&long, count),
            |_| look(&short, count),
        )
    };
    let looks = [Served::get_head, Served::put_head, Served::list];
    let figures = looks.map(turns);
    let rows = works
        .into_iter()
        .zip(figures)
        .map(|(work, figures)| Row::measured(work, bar, figures))
        .collect();
    (rows, Some(long.server))
}

impl Served {
    /// Makes the chain if it is not there from an earlier run, and serves it.
    fn new(bench: &Bench, transactions: u64) -> Result<Self> {
        let data = bench.kept.join(format!("chain-{transactions}"));
        let user = "c4a1a000-0000-4000-8000-000000000000";
        let chain = make_chain::Chain {
            data: data.clone(),
            transactions,
            user: user.parse()?,
            chunks: 1,
        };
        if !is_whole(&data, user) {
            if data.exists() {
                fs::remove_dir_all(&data)?;
            }
            eprintln!("making a chain of {transactions} transactions");
            chain.make().context("cannot make the chain")?;
            settle(&bench.work)?;
        }
        let log = bench.place(&format!("chain-{transactions}.log"));
        let server = running::mentat_sync(&bench.binary, &data, "warn", log)?;
        let chunk = fs::read_dir(data.join(format!("users/{user}/chunks")))?
            .filter_map(|shard| fs::read_dir(shard.ok()?.path()).ok()?.next()?.ok())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .next()
            .context("the chain has no chunk")?;
        let log = data.join(format!("users/{user}/log"));
        Ok(Self {
            server,
            user: user.to_owned(),
            log,
            chunk,
        })
    }

    /// The id of the transaction that many before the last line of the chain's log.
    fn before_head(&self, back: u64) -> Result<String> {
        let log = File::open(&self.log)?;
        let lines = log.metadata()?.len() / LINE;
        let mut line = [0; LINE as usize];
        log.read_exact_at(&mut line, (lines - 1 - back) * LINE)?;
        Ok(String::from_utf8_lossy(&line[13..49]).into_owned())
    }

    fn get_head(&self, count: usize) -> Result<f64> {
        let path = format!("/0.1/{}/head", self.user);
        let requests: Vec<Request> = (0..count).map(|_| Request::get(&path)).collect();
        Ok(median_time(
            load::run(self.server.address, 1, &requests)?.each,
        ))
    }

    fn list(&self, count: usize) -> Result<f64> {
        let from = self.before_head(LAST)?;
        let path = format!("/0.1/{}/transactions?from={from}", self.user);
        let requests: Vec<Request> = (0..count).map(|_| Request::get(&path)).collect();
        Ok(median_time(
            load::run(self.server.address, 1, &requests)?.each,
        ))
    }

    /// The advance alone; the transaction that it needs is not counted.
    fn put_head(&self, count: usize) -> Result<f64> {
        let mut head = self.before_head(0)?;
        let mut requests = Vec::new();
        for _ in 0..count {
            let id = new_id();
            requests.push(put_transaction(&self.user, &id, &head, &[&self.chunk]));
            requests.push(put_head(&self.user, &id));
            head = id;
        }
        let taken = load::run(self.server.address, 1, &requests)?;
        let heads = taken.each.iter().skip(1).step_by(2);
        Ok(median_time(heads.copied()))
    }
}

/// HEAD is written last.
fn is_whole(data: &Path, user: &str) -> bool {
    data.join(format!("users/{user}/HEAD")).is_file()
}
