//! The commands of a device: a replica of a store, with a journal in it (CLIENT, sections 1 and 7a).
//!
//! Secrets are in the file `remote` alone, which nobody but its owner may read: none is an argument, a variable of the
//! environment, or in a word that is printed, but for those of `invite` and `rekey`, which print to a terminal.

mod arguments;
mod cat;
mod clone;
mod commit;
mod files;
mod follow;
mod home;
mod import;
mod init;
mod invite;
mod journal_app;
mod line;
mod opened;
mod pull;
mod push;
mod rekey;
mod status;
mod sync;
mod told;
mod transfer;
mod usage;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use crate::cli::arguments::DataDirectory;
use crate::cli::failure::Failure;
use crate::client::store_in;
use told::{Outcome, tell};
pub use usage::refused;

/// A command of a device: the feature `client` builds them.
#[derive(Subcommand)]
pub enum DeviceCommand {
    Init(init::InitCommand),
    Clone(clone::CloneCommand),
    Commit(commit::CommitCommand),
    Pull(pull::PullCommand),
    Push(push::PushCommand),
    Sync(sync::SyncCommand),
    Cat(cat::CatCommand),
    Follow(follow::FollowCommand),
    Status(status::StatusCommand),
    Invite(invite::InviteCommand),
    Rekey(rekey::RekeyCommand),
    Import(import::ImportCommand),
}

impl DeviceCommand {
    /// Runs the command, and says how it failed: as an object on stdout where it was asked for in JSON. `at` is the `-C` that
    /// stands before the command.
    pub fn run(mut self, at: Option<PathBuf>) -> Result<(), Failure> {
        if let Some(at) = at {
            let own = self.at();
            *own = Some(own.take().map_or(at.clone(), |own| at.join(own)));
        }
        let (json, outcome): (bool, Outcome) = match &self {
            Self::Init(init) => (init.json, init.run()),
            Self::Clone(clone) => (clone.json, clone.run()),
            Self::Commit(commit) => (commit.replica.json, commit.run()),
            Self::Pull(pull) => (pull.replica.json, pull.run()),
            Self::Push(push) => (push.replica.json, push.run()),
            Self::Sync(sync) => (sync.replica.json, sync.run()),
            Self::Cat(cat) => (cat.replica.json, cat.run()),
            Self::Follow(follow) => (follow.replica.json, follow.run()),
            Self::Status(status) => (status.replica.json, status.run()),
            Self::Invite(invite) => (invite.replica.json, invite.run()),
            Self::Rekey(rekey) => (rekey.replica.json, rekey.run()),
            Self::Import(import) => (import.replica.json, import.run()),
        };
        outcome.map_err(|trouble| tell(json, trouble))
    }

    fn at(&mut self) -> &mut Option<PathBuf> {
        match self {
            Self::Init(init) => &mut init.at,
            Self::Clone(clone) => &mut clone.at,
            Self::Commit(commit) => &mut commit.replica.at,
            Self::Pull(pull) => &mut pull.replica.at,
            Self::Push(push) => &mut push.replica.at,
            Self::Sync(sync) => &mut sync.replica.at,
            Self::Cat(cat) => &mut cat.replica.at,
            Self::Follow(follow) => &mut follow.replica.at,
            Self::Status(status) => &mut status.replica.at,
            Self::Invite(invite) => &mut invite.replica.at,
            Self::Rekey(rekey) => &mut rekey.replica.at,
            Self::Import(import) => &mut import.replica.at,
        }
    }
}

/// Finds the data directory of a command that looks at either kind of store: a replica's, where `-C` names one, or where nobody
/// named any, there is no server's at the usual place, and the working directory is in a replica.
pub fn find_store(
    data: &mut DataDirectory,
    at: Option<&Path>,
    is_open: bool,
) -> Result<(), Failure> {
    let home = match at {
        Some(_) if !is_open => {
            return Err(Failure::usage(
                "-C names a replica, and --data a data directory: which is meant?",
            ));
        }
        Some(at) => home::DeviceHome::around(at).map_err(|trouble| tell(false, trouble))?,
        None if !is_open || data.path.exists() => return Ok(()),
        None => match home::DeviceHome::around(Path::new(".")) {
            Ok(home) => home,
            Err(_) => return Ok(()),
        },
    };
    data.path = store_in(&home.top);
    Ok(())
}
