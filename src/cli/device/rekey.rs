//! `mentat-sync rekey`: a device was lost, and is shut out of what comes.

use clap::Args;
use serde_json::json;

use super::arguments::ReplicaFlags;
use super::home::DeviceHome;
use super::invite::to_a_terminal;
use super::opened::{OpenReplica, finish_rekey};
use super::told::{DeviceTrouble, Outcome};
use crate::cli::open::private;
use crate::cli::output::{json_line, print};
use crate::client::{Identity, Masters};
use crate::model::UserId;
use crate::store::layout::DeviceFile;

/// Give the store a new key and a new user id, after a device was lost: it sees nothing of what comes, though it has what
/// it has seen. Says what to run at the server; the other devices need the new invite then.
#[derive(Args)]
pub struct RekeyCommand {
    /// Print the ids of both users also where stdout is no terminal.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub replica: ReplicaFlags,
}

impl RekeyCommand {
    /// Makes the new key. Fails where stdout is no terminal.
    pub fn run(&self) -> Outcome {
        private();
        to_a_terminal(
            self.force,
            "what to run at the server has secrets in it, and",
        )?;
        let at = self.replica.at.clone().unwrap_or_else(|| ".".into());
        let home = DeviceHome::around(&at)?;
        // One that was broken off before it said anything is brought to its end, and makes no further key.
        let is_begun = home.has(DeviceFile::NextRemote)?;
        let opened = OpenReplica::in_home(home)?;
        let (old, new) = match (is_begun, opened.home.moving_from()?) {
            (true, Some(old)) => (old, opened.identity.user),
            (_, moving) => another(opened, moving)?,
        };
        let json = self.replica.json;
        print(|out| match json {
            true => json_line(
                out,
                &json!({"old": old.to_string(), "new": new.to_string()}),
            ),
            false => writeln!(
                out,
                "a new key; now run this at the server, with --data as it has it:\n  \
                 printf '%s\\n' {old} {new} | mentat-sync users mv - -\n\
                 then `mentat-sync sync` here, and `mentat-sync invite` for each other device"
            ),
        })?;
        Ok(())
    }
}

/// Makes the new key, and brings it in. Returns the user that the server has the store under, and the new one. `moving`: the
/// former, where a `rekey` before this one is not known to have reached the server.
fn another(opened: OpenReplica, moving: Option<UserId>) -> Outcome<(UserId, UserId)> {
    let has_moved = moving.is_some() && opened.not_moved()?.is_none();
    if has_moved {
        opened.moved()?;
    }
    let (home, before) = (opened.home, opened.identity);
    let old = moving.filter(|_| !has_moved).unwrap_or(before.user);
    let next = next_of(&before)?;
    drop(opened.replica);
    // From here on it is brought to its end, by the next command if not by this one.
    home.set_identity(DeviceFile::NextRemote, &next)?;
    finish_rekey(&home)?;
    Ok((old, next.user))
}

/// An identity of the same store, with a new user and a new key, and the old keys beside it.
fn next_of(before: &Identity) -> Outcome<Identity> {
    let server = before.server.clone();
    let next = match &before.masters {
        Masters::Plain => Identity::generate_plain(server),
        Masters::Sealed { .. } => Identity::generate(server),
    };
    let mut next = next.map_err(|error| {
        DeviceTrouble::failed(format!("the system gives no random numbers: {error}"))
    })?;
    if let (
        Masters::Sealed { old, .. },
        Masters::Sealed {
            current: last,
            old: older,
        },
    ) = (&mut next.masters, &before.masters)
    {
        old.push(last.clone());
        old.extend(older.iter().cloned());
    }
    Ok(next)
}
