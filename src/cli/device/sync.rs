//! `mentat-sync sync`: pull, rebase and push, until HEAD holds what is ours.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::arguments::ReplicaFlags;
use super::journal_app::Journal;
use super::line::head_words;
use super::opened::OpenReplica;
use super::told::Outcome;
use crate::cli::open::private;
use crate::cli::output::{counted, json_line, print};
use crate::client::Synced;
use crate::store::layout::DeviceFile;
use indicatif::HumanBytes;

/// Push what is pending and pull what other devices said, until HEAD holds all of it. Safe to run again after anything, and
/// beside anything.
#[derive(Args)]
pub struct SyncCommand {
    /// The directory of the replica, or one in it; else the one that the working directory is in.
    dir: Option<PathBuf>,
    #[command(flatten)]
    pub replica: ReplicaFlags,
}

impl SyncCommand {
    /// Syncs. Fails where the server is not reached, refuses, or is not ours any more.
    pub fn run(&self) -> Outcome {
        private();
        let opened = OpenReplica::of(&self.replica, self.dir.as_deref())?;
        synced(&opened, self.replica.json)
    }
}

/// Syncs both ways, and says what was done.
pub fn synced(opened: &OpenReplica, json: bool) -> Outcome {
    opened.moved()?;
    let before = opened.replica.status()?;
    let mut journal = Journal(&opened.replica);
    let synced = opened.replica.sync(&mut journal);
    opened.bar.end();
    tell_synced(opened, synced?, before.bytes, json)
}

/// Prints what a sync did, and notes that the server was heard.
pub fn tell_synced(opened: &OpenReplica, synced: Synced, bytes: u64, json: bool) -> Outcome {
    opened.home.clear();
    opened.home.remove(DeviceFile::Cloning)?;
    let Synced {
        pulled,
        pushed,
        rebased,
        head,
        ..
    } = synced;
    print(|out| {
        if json {
            let done = json!({
                "pulled": pulled, "pushed": pushed, "rebased": rebased,
                "head": head.id.to_string(), "seq": head.seq,
            });
            return json_line(out, &done);
        }
        let mut done = Vec::new();
        if pulled > 0 {
            done.push(format!("pulled {}", counted((pulled, "transaction"))));
        }
        if pushed > 0 {
            let what = counted((pushed, "transaction"));
            done.push(format!("pushed {what}, {}", HumanBytes(bytes)));
        }
        if done.is_empty() {
            done.push("nothing new".to_owned());
        }
        writeln!(out, "{}; HEAD {}", done.join(", "), head_words(head))
    })?;
    Ok(())
}
