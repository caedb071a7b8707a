//! `mentat-sync snapshot`: a consistent copy beside a running server.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::Failure;
use super::arguments::DataDirectory;
use super::open::{in_the_way, not_usable};
use super::output::{counted, print};
use super::progress::Progress;
use crate::disk::{Grouping, Real};
use crate::upkeep::snapshot::{self, Error};

/// Make a consistent copy of the data directory, without copying chunks: what never changes gets a
/// second name. Works beside a running server. The copy is a store like any other; to keep it on another
/// disk, copy it from there at leisure.
#[derive(Args)]
pub struct Snapshot {
    #[command(flatten)]
    data: DataDirectory,
    /// Where: an empty directory, or one that is not there yet, on the file system of the data directory
    /// and outside of it.
    destination: PathBuf,
}

impl Snapshot {
    pub fn run(&self) -> Result<(), Failure> {
        let path = &self.data.path;
        let disk = Real::new(path, Grouping::Off).map_err(|e| in_the_way(path, "open", &e))?;
        let progress = Progress::of(None);
        let taken = snapshot::snapshot(Arc::new(disk), &self.destination, &|| progress.step(0));
        progress.end();
        let taken = taken.map_err(|error| match error {
            Error::NotEmpty(_) | Error::Inside(_) => Failure::usage(error.to_string()),
            Error::Store(error) => not_usable(path, &error),
            other => Failure::failed(other.to_string()),
        })?;
        for (user, what) in &taken.left_out {
            eprintln!("mentat-sync: user {user} is not in the snapshot: HEAD is damaged: {what}");
        }
        print(|out| {
            let place = self.destination.display();
            let [users, files] = [(taken.users, "user"), (taken.files, "file")].map(counted);
            writeln!(out, "{place}: {users}, {files}")
        })?;
        match taken.left_out.len() {
            0 => Ok(()),
            count => Err(Failure::failed(format!(
                "{} left out",
                counted((count as u64, "user"))
            ))),
        }
    }
}
