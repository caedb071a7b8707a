//! `mentat-sync import`: what an older replica has and this one has not is said again.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::arguments::ReplicaFlags;
use super::home::DeviceHome;
use super::journal_app::Journal;
use super::opened::OpenReplica;
use super::told::Outcome;
use crate::cli::open::private;
use crate::cli::output::{counted, json_line, print};

/// Say again what an older replica of the same store has and this one has not: after the server's history has parted from
/// it, or with a new invite. Run again, it says nothing twice.
#[derive(Args)]
pub struct ImportCommand {
    /// The directory of the older replica.
    #[arg(long, value_name = "OLD")]
    from: PathBuf,
    #[command(flatten)]
    pub replica: ReplicaFlags,
}

impl ImportCommand {
    /// Commits it again; a sync sends it.
    pub fn run(&self) -> Outcome {
        private();
        let opened = OpenReplica::of(&self.replica, None)?;
        let old = OpenReplica::in_home(DeviceHome::around(&self.from)?)?;
        let mut journal = Journal(&opened.replica);
        let done = opened.replica.import(&old.replica, &mut journal)?;
        let json = self.replica.json;
        print(|out| match json {
            true => json_line(
                out,
                &json!({"said": done.said, "there": done.there, "dropped": done.dropped}),
            ),
            false => writeln!(
                out,
                "{} said again, {} here already; a sync sends them",
                counted((done.said, "transaction")),
                done.there
            ),
        })?;
        Ok(())
    }
}
