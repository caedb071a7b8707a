//! A copy, set aside in a directory that goes again.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use indicatif::HumanBytes;

use crate::cli::failure::Failure;
use crate::cli::open::{in_the_way, no_store, not_usable};
use crate::cli::server::scratch::Scratch;
use crate::disk::{Disk, Grouping, Real};
use crate::store;
use crate::upkeep::snapshot::{self, Snapshot};

/// A copy that may be served, and goes when this is dropped.
pub struct Stage {
    /// The data directory to be served.
    pub data: PathBuf,
    /// The data directory to compare with.
    pub origin: PathBuf,
    _aside: Scratch,
}

impl Stage {
    /// Sets a copy aside in `tmp`, or beside it, or among temporary files. Calls `step` for each file.
    pub fn of(backup: &Path, tmp: Option<&Path>, step: &dyn Fn(u64)) -> Result<Self, Failure> {
        let meta = fs::metadata(backup).map_err(|error| {
            let Failure { words, .. } = in_the_way(backup, "read", &error);
            Failure::could_not_check(words)
        })?;
        let backup =
            &std::path::absolute(backup).map_err(|error| in_the_way(backup, "find", &error))?;
        let aside = aside(backup, tmp)?;
        let (data, origin) = match meta.is_dir() {
            true => (set_aside(backup, aside.path(), step)?, backup.clone()),
            // What tar gave back is the copy: there is no other form of it to compare with.
            false => {
                let data = unpack(backup, aside.path())?;
                (data.clone(), data)
            }
        };
        Ok(Self {
            data,
            origin,
            _aside: aside,
        })
    }
}

/// Makes the directory: beside the copy, where files that never change can get a second name instead of being copied; or
/// where it is wanted.
fn aside(backup: &Path, tmp: Option<&Path>) -> Result<Scratch, Failure> {
    let make = |place: &Path| {
        let made = tempfile::Builder::new()
            .prefix("mentat-sync-drill.")
            .tempdir_in(place);
        (made.and_then(Scratch::of))
            .map_err(|error| in_the_way(place, "make a directory in", &error))
    };
    let cannot = |Failure { words, .. }| Failure::could_not_check(words);
    if let Some(tmp) = tmp {
        let inside = tmp.canonicalize().ok().zip(backup.canonicalize().ok());
        if inside.is_some_and(|(tmp, backup)| tmp.starts_with(backup)) {
            let words = "the copy is not to be touched: --tmp must be outside of it";
            return Err(Failure::usage(words));
        }
        return make(tmp).map_err(cannot);
    }
    let beside = backup.canonicalize().ok();
    let beside = beside.as_deref().and_then(Path::parent).map(make);
    match beside {
        Some(Ok(made)) => Ok(made),
        _ => make(&std::env::temp_dir()).map_err(cannot),
    }
}

/// Takes a snapshot of the copy, or copies it where no second names can be had; says where.
fn set_aside(backup: &Path, aside: &Path, step: &dyn Fn(u64)) -> Result<PathBuf, Failure> {
    let source = Real::new(backup, Grouping::Off).map_err(|e| in_the_way(backup, "open", &e))?;
    let linked = aside.join("linked");
    match snapshot::snapshot(Arc::new(source), &linked, &|| step(0)) {
        // Whoever is left out may only have files that may not be linked: what is the matter, fsck says.
        Ok(Snapshot { left_out, .. }) if left_out.is_empty() => Ok(linked),
        Ok(_) | Err(snapshot::Error::OtherFileSystem(_)) => {
            let copied = aside.join("copied");
            let bytes = bytes_below(backup).map_err(|e| in_the_way(backup, "read", &e))?;
            has_room(aside, bytes)?;
            copy_below(backup, &copied, step).map_err(|(at, e)| in_the_way(&at, "copy", &e))?;
            Ok(copied)
        }
        Err(snapshot::Error::Store(store::Error::NotAStore(why))) => Err(no_store(backup, &why)),
        Err(snapshot::Error::Store(error)) => Err(not_usable(backup, &error)),
        Err(other) => Err(Failure::failed(other.to_string())),
    }
}

/// Sees that so much can be put there.
fn has_room(place: &Path, bytes: u64) -> Result<(), Failure> {
    let disk = Real::new(place, Grouping::Off).map_err(|e| in_the_way(place, "open", &e))?;
    let free = (disk.room()).map_err(|e| in_the_way(place, "look at", &e.source))?;
    match free.free_bytes >= bytes {
        true => Ok(()),
        false => Err(Failure::could_not_check(format!(
            "{} has room for {}, and the copy is {}: name another place with --tmp",
            place.display(),
            HumanBytes(free.free_bytes),
            HumanBytes(bytes)
        ))),
    }
}

fn bytes_below(place: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => bytes_below(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

/// Copies directories and regular files. Whatever else there is, no store has.
fn copy_below(from: &Path, to: &Path, step: &dyn Fn(u64)) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    let mut make = fs::DirBuilder::new();
    make.mode(0o700).create(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(at(&path))?;
        if kind.is_dir() {
            copy_below(&path, &to, step)?;
        } else if kind.is_file() {
            step(fs::copy(&path, &to).map_err(at(&path))?);
        }
    }
    Ok(())
}

/// Unpacks an archive with tar, which knows by itself how it is compressed; says where.
fn unpack(archive: &Path, aside: &Path) -> Result<PathBuf, Failure> {
    let data = aside.join("unpacked");
    let mut make = fs::DirBuilder::new();
    (make.mode(0o700).create(&data)).map_err(|error| in_the_way(&data, "make", &error))?;
    let mut command = Command::new("tar");
    command
        .arg("-x")
        .arg("-f")
        .arg(archive)
        .arg("-C")
        .arg(&data);
    command.stdin(Stdio::null()).current_dir("/");
    match command.status() {
        Ok(status) if status.success() => Ok(data),
        Ok(status) => Err(Failure::failed(format!(
            "tar cannot unpack {}: {status}",
            archive.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::could_not_check("tar is not here: install it"))
        }
        Err(error) => Err(Failure::could_not_check(format!(
            "tar cannot be run: {error}"
        ))),
    }
}
