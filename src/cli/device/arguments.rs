//! The arguments that the commands of a device have in common.

use std::path::PathBuf;

use clap::Args;

/// The flags that say which replica is meant, and how is spoken.
#[derive(Args)]
pub struct ReplicaFlags {
    /// The directory of the replica, or one in it; else the one that the working directory is in.
    #[arg(short = 'C', value_name = "DIR")]
    pub at: Option<PathBuf>,
    /// Print one JSON object a line, errors too.
    #[arg(long)]
    pub json: bool,
}
