//! `mentat-sync pull`: what others said comes here.

use clap::Args;

use super::arguments::ReplicaFlags;
use super::journal_app::Journal;
use super::opened::OpenReplica;
use super::sync::tell_synced;
use super::told::Outcome;
use crate::cli::open::private;

/// Pull what other devices said, verified before any of it is seen; what is pending here follows it. Sends nothing.
#[derive(Args)]
pub struct PullCommand {
    #[command(flatten)]
    pub replica: ReplicaFlags,
}

impl PullCommand {
    /// Pulls. Fails as `sync` does.
    pub fn run(&self) -> Outcome {
        private();
        let opened = OpenReplica::of(&self.replica, None)?;
        opened.moved()?;
        let before = opened.replica.status()?;
        let mut journal = Journal(&opened.replica);
        let pulled = opened.replica.pull(&mut journal);
        opened.bar.end();
        tell_synced(&opened, pulled?, before.bytes, self.replica.json)
    }
}
