//! `mentat-sync status`: where a replica stands.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;

use super::arguments::ReplicaFlags;
use super::line::head_words;
use super::opened::OpenReplica;
use super::told::Outcome;
use crate::cli::output::{counted, date, json_line, print};
use crate::client::Error;
use crate::model::Head;
use crate::store::layout::DeviceFile;

/// Say where a replica stands: HEAD, to be compared with another device's, what is pending, and when the server was last
/// heard. Asks nobody without --fetch.
#[derive(Args)]
pub struct StatusCommand {
    /// The directory of the replica, or one in it; else the one that the working directory is in.
    dir: Option<PathBuf>,
    /// Ask the server where it stands, too. Nothing is pulled.
    #[arg(long)]
    fetch: bool,
    #[command(flatten)]
    pub replica: ReplicaFlags,
}

#[derive(Serialize)]
struct StatusLine {
    server: String,
    device: String,
    encrypted: bool,
    head: String,
    seq: u64,
    pending: usize,
    bytes: u64,
    heard: Option<String>,
    whole: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<CheckpointLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    there: Option<ThereLine>,
}

/// The checkpoint that is kept here.
#[derive(Serialize)]
struct CheckpointLine {
    transaction: String,
    seq: u64,
    confirmed: bool,
}

/// Where the server stands.
#[derive(Serialize)]
struct ThereLine {
    head: String,
    seq: u64,
    /// Transactions that are to be pulled.
    behind: u64,
}

impl StatusCommand {
    /// Prints it. With --fetch, fails where the server is not reached, or its history is not ours.
    pub fn run(&self) -> Outcome {
        let opened = OpenReplica::of(&self.replica, self.dir.as_deref())?;
        let status = opened.replica.status()?;
        let there = match self.fetch {
            true => Some(there(&opened)?),
            false => None,
        };
        let heard = match self.fetch {
            true => opened.replica.status()?.heard,
            false => status.heard,
        };
        let whole = !opened.home.has(DeviceFile::Cloning)?;
        let base = status.base;
        let kept = opened.replica.kept_state()?;
        let kept = kept.map(|state| (state.at, state.confirmed));
        let line = StatusLine {
            server: opened.identity.server.to_string(),
            device: opened.home.device()?,
            encrypted: !opened.identity.keyring().is_plain(),
            head: base.id.to_string(),
            seq: base.seq,
            pending: status.pending,
            bytes: status.bytes,
            heard: heard.map(date),
            whole,
            checkpoint: kept.map(|(at, confirmed)| CheckpointLine {
                transaction: at.id.to_string(),
                seq: at.seq,
                confirmed,
            }),
            there: there.map(|there| ThereLine {
                head: there.id.to_string(),
                seq: there.seq,
                behind: there.seq.saturating_sub(base.seq),
            }),
        };
        let json = self.replica.json;
        print(|out| {
            if json {
                return json_line(out, &line);
            }
            writeln!(out, "server    {}", line.server)?;
            writeln!(out, "HEAD      {}, {}", head_words(base), ago(heard))?;
            match line.pending {
                0 => writeln!(out, "pending   nothing")?,
                pending => {
                    let what = counted((pending as u64, "transaction"));
                    writeln!(out, "pending   {what}, {}", HumanBytes(line.bytes))?;
                }
            }
            if let Some(there) = &line.there {
                let there = match there.behind {
                    0 => "nothing that is not here".to_owned(),
                    behind => format!("{} more", counted((behind, "transaction"))),
                };
                writeln!(out, "there     {there}")?;
            }
            if let Some((at, confirmed)) = kept {
                let confirmed = match confirmed {
                    true => "",
                    false => ", which the chain has not reached yet",
                };
                writeln!(out, "state     {}{confirmed}", head_words(at))?;
            }
            if !line.whole {
                writeln!(out, "clone     not whole yet: mentat-sync clone goes on")?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// Where the server stands, whose history goes on from ours.
fn there(opened: &OpenReplica) -> Outcome<Head> {
    if let Some(parted) = opened.replica.diverged()? {
        return Err(Error::from(parted).into());
    }
    let head = opened.remote.head()?;
    opened.replica.check_newest(head)?;
    opened.replica.note_heard();
    opened.home.clear();
    Ok(head)
}

fn ago(heard: Option<SystemTime>) -> String {
    let Some(heard) = heard else {
        return "the server was never heard".to_owned();
    };
    let passed = heard.elapsed().unwrap_or_default();
    let (number, unit) = match passed {
        passed if passed < Duration::from_secs(60) => return "confirmed just now".to_owned(),
        passed if passed < Duration::from_secs(3600) => (passed.as_secs() / 60, "minute"),
        passed if passed < Duration::from_secs(48 * 3600) => (passed.as_secs() / 3600, "hour"),
        passed => (passed.as_secs() / (24 * 3600), "day"),
    };
    format!("confirmed {} ago", counted((number, unit)))
}
