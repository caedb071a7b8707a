//! Opening the data directory, and saying what is in the way.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::failure::Failure;
use crate::disk::{self, FileSystem, Grouping, Real};
use crate::store::{self, Options, Store};

/// Opens the store in this directory, making both if they are not there.
pub fn open_or_make(path: &Path, options: Options, grouping: Grouping) -> Result<Store, Failure> {
    open_to_serve(path, options, grouping).map(|(store, _)| store)
}

/// Opens as [`open_or_make`] does, and tells how writers sync there, which depends on the file system.
pub fn open_to_serve(
    path: &Path,
    options: Options,
    grouping: Grouping,
) -> Result<(Store, Grouping), Failure> {
    disk::make_root(path).map_err(|error| in_the_way(path, "make", &error))?;
    open_there(path, options, grouping)
}

/// Opens the store in this directory, which must be there.
pub fn open(path: &Path, options: Options, grouping: Grouping) -> Result<Store, Failure> {
    open_there(path, options, grouping).map(|(store, _)| store)
}

fn open_there(
    path: &Path,
    options: Options,
    grouping: Grouping,
) -> Result<(Store, Grouping), Failure> {
    let disk = Real::new(path, grouping).map_err(|error| in_the_way(path, "open", &error))?;
    let works = disk.grouping();
    let store = Store::open(Arc::new(disk), options).map_err(|error| not_usable(path, &error))?;
    Ok((store, works))
}

/// Refuses a directory that several boxes may have at a time.
pub fn not_by_network(path: &Path) -> Result<(), Failure> {
    let there = FileSystem::of(path).map_err(|error| in_the_way(path, "look at", &error))?;
    let Some(name) = there.network() else {
        return Ok(());
    };
    Err(Failure::failed(format!(
        "{} is on a network file system ({name}): a lock there can be lost with the network, and two servers \
         then overwrite what they have acknowledged\n  \
         serve a local directory; or, if this one server alone uses it, say so with --network-file-system",
        path.display()
    )))
}

/// The words for a directory that the store cannot use.
pub fn not_usable(path: &Path, error: &store::Error) -> Failure {
    match error {
        store::Error::Disk(error) => {
            let place = path.join(error.place.as_str());
            in_the_way(&place, error.verb, &error.source)
        }
        other => Failure::failed(format!("{}: {other}", path.display())),
    }
}

/// The words for a directory that is no store, and why.
pub fn no_store(path: &Path, why: &str) -> Failure {
    Failure::failed(format!("{}: {why}", path.display()))
}

/// Makes what this process makes from here on its own user's alone, but usable for that: whatever umask it was given.
pub fn private() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// The words for an error of the system, and for who owns what where that is the matter.
pub fn in_the_way(path: &Path, verb: &str, error: &io::Error) -> Failure {
    let mut words = format!("cannot {verb} {}: {error}", path.display());
    if error.kind() == io::ErrorKind::CrossesDevices {
        words += "\n  another file system is mounted there, or something of this one: a store is on one file \
                  system as a whole, with nothing mounted inside";
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        words += &format!("\n  this process runs as {}", name_of(effective_user()));
        // The nearest that can be looked at says most.
        for above in path
            .ancestors()
            .filter(|above| !above.as_os_str().is_empty())
        {
            if let Ok(meta) = above.metadata() {
                words += &format!(
                    "\n  {} belongs to {}, mode {:04o}",
                    above.display(),
                    name_of(meta.uid()),
                    meta.mode() & 0o7777
                );
            }
        }
    }
    Failure::failed(words)
}

fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A user of the box, by name where `/etc/passwd` has one.
fn name_of(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    match name {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    }
}
