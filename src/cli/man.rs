//! `mentat-sync man`: the manual pages, made of the command line itself.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command};

use super::failure::Failure;

/// Write the manual pages into a directory, which is made if it is not there: mentat-sync.1, and one for each
/// subcommand. `man -l DIR/mentat-sync.1` shows one; /usr/local/share/man/man1 is a place that `man` knows.
#[derive(Args)]
pub struct ManCommand {
    /// The directory.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl ManCommand {
    /// Writes the pages of this command line; pages of an earlier version are written over. Fails where the directory
    /// cannot be made or written.
    pub fn run(&self, whole: Command) -> Result<(), Failure> {
        let failed = |error| {
            let directory = self.directory.display();
            Failure::failed(format!("cannot write manual pages to {directory}: {error}"))
        };
        fs::create_dir_all(&self.directory)
            .and_then(|()| clap_mangen::generate_to(whole, &self.directory))
            .map_err(failed)
    }
}
