//! `mentat-sync log`: a user's chain.

use std::io;

use clap::Args;
use serde::Serialize;

use super::arguments::{DataDirectory, is_set};
use super::failure::Failure;
use super::open::{not_usable, open};
use super::output::{json_line, print};
use super::users::no_such_user;
use crate::disk::Grouping;
use crate::model::{TransactionId, UserId};
use crate::store::{self, Options, Store};

/// Ids that are read from the log at a time.
const BATCH: usize = 4096;

/// Print a user's chain, newest last: sequence number and id. Works beside a running server.
#[derive(Args)]
pub struct LogCommand {
    #[command(flatten)]
    data: DataDirectory,
    /// The user whose chain to print.
    user: UserId,
    /// Print one JSON object a line.
    #[arg(long, env = "MENTAT_SYNC_JSON", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    json: bool,
}

/// One line of the chain.
#[derive(Serialize)]
struct TransactionLine {
    seq: u64,
    id: String,
}

impl LogCommand {
    /// Prints the chain. Fails where there is no such user, or `log` cannot be read to its end.
    pub fn run(&self) -> Result<(), Failure> {
        let store = open(&self.data.path, Options::default(), Grouping::Off)?;
        let failed = |error| not_usable(&self.data.path, &error);
        if !store.users().map_err(failed)?.contains(&self.user) {
            return Err(no_such_user(&self.user));
        }
        let mut broken = None;
        print(|out| {
            let printed = self.print(&store, out);
            printed.unwrap_or_else(|error| {
                broken = Some(error);
                Ok(())
            })
        })?;
        broken.map_or(Ok(()), |error| Err(failed(error)))
    }

    fn print(&self, store: &Store, out: &mut dyn io::Write) -> store::Result<io::Result<()>> {
        let user = store.user(self.user);
        let listing = user.mending_log(|| user.listing(TransactionId::ROOT, u64::MAX));
        let Some(mut listing) = listing? else {
            return Ok(Ok(()));
        };
        loop {
            let first = listing.next_seq();
            let ids = listing.read(BATCH)?;
            if ids.is_empty() {
                return Ok(Ok(()));
            }
            for (seq, id) in (first..).zip(ids) {
                let written = if self.json {
                    let id = id.to_string();
                    json_line(out, &TransactionLine { seq, id })
                } else {
                    writeln!(out, "{seq:>12} {id}")
                };
                if let Err(error) = written {
                    return Ok(Err(error));
                }
            }
        }
    }
}
