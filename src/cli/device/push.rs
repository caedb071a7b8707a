//! `mentat-sync push`: what is pending goes to the server.

use clap::Args;

use super::arguments::ReplicaFlags;
use super::opened::OpenReplica;
use super::sync::{synced, tell_synced};
use super::told::{DeviceTrouble, Outcome};
use crate::cli::open::private;
use crate::client::{Divergence, Error, Parting, Synced};
use crate::store::layout::DeviceFile;

/// Push what is pending. Where others were quicker, theirs is pulled and ours said again after it.
#[derive(Args)]
pub struct PushCommand {
    /// Where others were quicker, send nothing, and end with status 4.
    #[arg(long)]
    no_rebase: bool,
    /// Fill a server that knows nothing of this store with all of it.
    #[arg(long, conflicts_with_all = ["no_rebase", "restore"])]
    seed: bool,
    /// With --seed: this server had the store before, and it was emptied; no new key was made for the store.
    #[arg(long, requires = "seed")]
    force: bool,
    /// Put back what a server lacks that went back to an older copy of itself.
    #[arg(long, conflicts_with = "no_rebase")]
    restore: bool,
    #[command(flatten)]
    pub replica: ReplicaFlags,
}

impl PushCommand {
    /// Pushes. Fails as `sync` does, and with status 4 where others were quicker and nothing is to be said again.
    pub fn run(&self) -> Outcome {
        private();
        let opened = OpenReplica::of(&self.replica, None)?;
        let json = self.replica.json;
        if self.seed || self.restore {
            return self.put_back(&opened);
        }
        opened.moved()?;
        let before = opened.replica.status()?;
        if before.pending == 0 {
            let nothing = nothing_but(&opened, 0)?;
            return tell_synced(&opened, nothing, 0, json);
        }
        if !self.no_rebase {
            return synced(&opened, json);
        }
        let pushed = opened.replica.push_as_it_is();
        opened.bar.end();
        match pushed? {
            Some(pushed) => tell_synced(&opened, nothing_but(&opened, pushed)?, before.bytes, json),
            None => match opened.replica.diverged()? {
                Some(parted) => Err(Error::from(parted).into()),
                None => Err(DeviceTrouble::lost()),
            },
        }
    }

    /// Refuses to fill a server that had this store and knows nothing of it now: another device may have made a new key, and whoever
    /// has the old one would read what is sent.
    fn check_seed(&self, opened: &OpenReplica) -> Outcome {
        if !self.seed || self.force || !opened.replica.was_here()? {
            return Ok(());
        }
        match opened.replica.diverged()? {
            Some(Divergence {
                how: Parting::Empty,
                ..
            }) => Err(DeviceTrouble::moved_or_emptied()),
            _ => Ok(()),
        }
    }

    fn put_back(&self, opened: &OpenReplica) -> Outcome {
        self.check_seed(opened)?;
        let put_back = match self.seed {
            true => opened.replica.seed(),
            false => opened.replica.restore(),
        };
        opened.bar.end();
        let sent = put_back?;
        // The server has it under the present user now, whatever was moved before.
        opened.home.remove(DeviceFile::Moving)?;
        let bytes = opened.bar.sent();
        tell_synced(opened, nothing_but(opened, sent)?, bytes, self.replica.json)
    }
}

/// A sync that only sent.
fn nothing_but(opened: &OpenReplica, pushed: u64) -> Outcome<Synced> {
    Ok(Synced {
        pulled: 0,
        pushed,
        rebased: 0,
        dropped: 0,
        head: opened.replica.head()?,
    })
}
