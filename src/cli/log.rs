//! `mentat-sync log`: a user's chain.

use std::io;

use clap::Args;
use serde::Serialize;

use super::arguments::{DataDirectory, is_set};
use super::failure::Failure;
use super::open::{not_usable, open_of_any_kind};
use super::output::{date, json_line, print};
use super::whom::{Care, Whom, no_such_user};
use crate::disk::Grouping;
use crate::model::{TransactionId, UserId};
use crate::store::{self, User, Weighed};

/// Ids that are read from the log at a time.
const BATCH: usize = 4096;

/// Print a user's chain, newest last: sequence number and id. Works beside a running server.
///
/// With --long also the date of the transaction's file, how many chunks it names, and the bytes in them (`-` where one is
/// not there).
#[derive(Args)]
pub struct LogCommand {
    #[command(flatten)]
    pub(super) data: DataDirectory,
    /// The user whose chain to print: the id, its first digits, the name, or - to read one of them from standard input. May
    /// be left out where there is one alone, as in a device's store.
    user: Option<String>,
    /// Print date, chunks and bytes as well. Costs a look at each of them.
    #[arg(long, env = "MENTAT_SYNC_LONG", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    long: bool,
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
    #[serde(flatten)]
    long: Option<LongPart>,
}

/// The part of a line that --long adds.
#[derive(Serialize)]
struct LongPart {
    date: String,
    chunks: u64,
    bytes: Option<u64>,
}

impl LongPart {
    fn of(weighed: &Weighed) -> Self {
        Self {
            date: date(weighed.date),
            chunks: weighed.chunks,
            bytes: weighed.bytes,
        }
    }
}

impl TransactionLine {
    fn print(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let Self { seq, id, long } = self;
        match long {
            None => writeln!(out, "{seq:>12} {id}"),
            Some(LongPart {
                date,
                chunks,
                bytes,
            }) => {
                let bytes = bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
                writeln!(out, "{seq:>12} {id} {date} {chunks:>7} {bytes:>14}")
            }
        }
    }
}

/// The user of a store that has one alone.
fn the_only_one(users: &[UserId]) -> Result<UserId, Failure> {
    match users {
        [only] => Ok(*only),
        [] => Err(Failure::failed("there is no user here")),
        several => Err(Failure::usage(format!(
            "there are {} users here: say whose chain",
            several.len()
        ))),
    }
}

impl LogCommand {
    /// Prints the chain. Fails where there is no such user, or `log` cannot be read to its end.
    pub fn run(&self) -> Result<(), Failure> {
        let whom = self.user.as_deref().map(Whom::read).transpose()?;
        let store = open_of_any_kind(&self.data.path, Grouping::Off)?;
        let failed = |error| not_usable(&self.data.path, &error);
        let user = match whom {
            Some(whom) => whom.find(&store, Care::Usual, failed)?,
            None => the_only_one(&store.users().map_err(failed)?)?,
        };
        if !store.users().map_err(failed)?.contains(&user) {
            return Err(no_such_user(&user));
        }
        let mut broken = None;
        print(|out| {
            let printed = self.print(&store.user(user), out);
            printed.unwrap_or_else(|error| {
                broken = Some(error);
                Ok(())
            })
        })?;
        broken.map_or(Ok(()), |error| Err(failed(error)))
    }

    fn print(&self, user: &User, out: &mut dyn io::Write) -> store::Result<io::Result<()>> {
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
                let weighed = self.long.then(|| user.weigh(id)).transpose()?.flatten();
                let line = TransactionLine {
                    seq,
                    id: id.to_string(),
                    long: weighed.as_ref().map(LongPart::of),
                };
                let written = match self.json {
                    true => json_line(out, &line),
                    false => line.print(out),
                };
                if let Err(error) = written {
                    return Ok(Err(error));
                }
            }
        }
    }
}
