//! `mentat-sync snapshot`: a consistent copy beside a running server.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::arguments::DataDirectory;
use super::failure::Failure;
use super::open::{in_the_way, not_usable};
use super::output::{counted, print};
use super::progress::FileBar;
use crate::disk::{Grouping, Real};
use crate::store::{self, Store, StoreKind};
use crate::upkeep::snapshot::{self, Error, LeftOut};

/// Make a consistent copy of the data directory, without copying chunks: what never changes gets a
/// second name. Works beside a running server. The copy is a store like any other; to keep it on another
/// disk, copy it from there at leisure.
#[derive(Args)]
pub struct SnapshotCommand {
    #[command(flatten)]
    pub(super) data: DataDirectory,
    /// Where: an empty directory, or one that is not there yet, on the file system of the data directory
    /// and outside of it.
    destination: PathBuf,
}

impl SnapshotCommand {
    /// Takes the snapshot and prints what is in it. Fails where there is none, a user is left out, or it
    /// holds damage.
    pub fn run(&self) -> Result<(), Failure> {
        let path = &self.data.path;
        let disk = Real::new(path, Grouping::Off).map_err(|e| in_the_way(path, "open", &e))?;
        let progress = FileBar::of(None);
        let disk = Arc::new(disk);
        let taken = snapshot::snapshot(disk.clone(), &self.destination, &|| progress.step(0));
        progress.end();
        let taken = taken.map_err(|error| match error {
            Error::NotEmpty(_) | Error::Inside(_) => Failure::usage(error.to_string()),
            Error::Store(error) => not_usable(path, &error),
            other => Failure::failed(other.to_string()),
        })?;
        for LeftOut { user, place, what } in &taken.left_out {
            let place = path.join(place.as_str());
            let place = place.display();
            eprintln!("mentat-sync: user {user} is not in the snapshot: {place}: {what}");
        }
        tell_pending(&disk);
        for user in &taken.went {
            eprintln!(
                "mentat-sync: user {user} is not in the snapshot: deleted while it was taken"
            );
        }
        for finding in &taken.findings {
            let (kind, place) = (finding.kind.as_str(), finding.place.as_str());
            eprintln!("mentat-sync: {kind}: {place}: {}", finding.detail);
        }
        print(|out| {
            let place = self.destination.display();
            let [users, files] = [(taken.users, "user"), (taken.files, "file")].map(counted);
            writeln!(out, "{place}: {users}, {files}")
        })?;
        outcome(&taken)
    }
}

/// Tells a person that what a device has not pushed yet is not in a snapshot, which ends where HEAD does.
fn tell_pending(disk: &Arc<Real>) {
    if StoreKind::at(&**disk) != Some(StoreKind::Replica) {
        return;
    }
    let pending = pending_of(disk).unwrap_or_default();
    if pending > 0 {
        let pending = counted((pending, "transaction"));
        eprintln!("mentat-sync: {pending} pending here, and in no snapshot before they are pushed");
    }
}

/// The transactions that are pending in a device's store.
fn pending_of(disk: &Arc<Real>) -> store::Result<u64> {
    let store = Store::to_read_any(disk.clone())?;
    let mut sum = 0;
    for user in store.users()? {
        sum += store.user(user).usage()?.pending;
    }
    Ok(sum)
}

/// Good, or why not.
fn outcome(taken: &snapshot::Snapshot) -> Result<(), Failure> {
    if !taken.left_out.is_empty() {
        let users = counted((taken.left_out.len() as u64, "user"));
        return Err(Failure::failed(format!("{users} left out")));
    }
    if taken.damage > 0 {
        let pieces = counted((taken.damage, "piece"));
        let words = format!("{pieces} of damage, in the store as in the snapshot: see fsck");
        return Err(Failure::failed(words));
    }
    if taken.unchecked > 0 {
        let files = counted((taken.unchecked, "file"));
        return Err(Failure::could_not_check(format!(
            "{files} could not be checked"
        )));
    }
    Ok(())
}
