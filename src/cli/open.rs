//! Opening the data directory, and saying what is in the way.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::failure::Failure;
use crate::disk::{self, FileSystem, Grouping, Real};
use crate::store::{self, Footing, Options, Store, StoreKind};

/// Opens the store in this directory, which must be there.
pub fn open(path: &Path, options: Options, grouping: Grouping) -> Result<Store, Failure> {
    open_made_before(path, options, grouping, "").map(|(store, _)| store)
}

/// Opens the store in this directory, which must be there, whosever it is: a server's or a device's.
pub fn open_of_any_kind(path: &Path, grouping: Grouping) -> Result<Store, Failure> {
    // What is in the way is told by the opening.
    let disk = Real::new(path, Grouping::Off).ok();
    let kind = disk.and_then(|disk| StoreKind::at(&disk));
    let options = Options {
        kind: kind.unwrap_or_default(),
        ..Options::default()
    };
    open(path, options, grouping)
}

/// The hint for `--existing` where there is no store.
const NO_STORE_YET: &str = "with --existing no store is made: is the disk mounted, and --data right? for the first time, \
                            `mentat-sync users add --init` makes one";

/// Opens the store in this directory to be served, where only an existing one may be, or else one may be made.
pub fn open_to_serve(
    path: &Path,
    options: Options,
    grouping: Grouping,
    existing: bool,
    say: fn(&str),
) -> Result<(Store, Grouping), Failure> {
    match existing {
        true => open_made_before(path, options, grouping, NO_STORE_YET),
        false => open_or_make(path, options, grouping, say),
    }
}

/// Opens the store in this directory, or makes one where it is not there or has nothing in it, and says so in
/// a line of its own. Tells how writers sync there, which depends on the file system.
pub fn open_or_make(
    path: &Path,
    options: Options,
    grouping: Grouping,
    say: fn(&str),
) -> Result<(Store, Grouping), Failure> {
    let is_there = |looked: io::Result<bool>| looked.map_err(|e| in_the_way(path, "look at", &e));
    if !is_there(path.try_exists())? {
        not_inside_of_a_store(path)?;
        disk::make_root(path, None).map_err(|error| in_the_way(path, "make", &error))?;
    }
    let disk = Real::new(path, grouping).map_err(|error| in_the_way(path, "open", &error))?;
    let ground = Store::ground(&disk).map_err(|error| not_usable(path, &error))?;
    if ground == Footing::Vacant {
        not_inside_of_a_store(path)?;
    }
    let works = disk.grouping();
    let store = Store::open(Arc::new(disk), options).map_err(|error| not_usable(path, &error))?;
    if ground == Footing::Vacant {
        let whole = path.canonicalize();
        let whole = whole.as_deref().unwrap_or(path);
        let owner = whole.metadata().map(|meta| name_of(meta.uid()));
        let owner = owner.map_or(String::new(), |name| format!(", which belongs to {name}"));
        say(&format!("made a new store in {}{owner}", whole.display()));
    }
    Ok((store, works))
}

/// Opens the store in this directory, which must be there, and tells how writers sync there. The hint is for a person
/// who named a directory that is not there or empty.
pub fn open_made_before(
    path: &Path,
    options: Options,
    grouping: Grouping,
    hint: &str,
) -> Result<(Store, Grouping), Failure> {
    let disk = Real::new(path, grouping).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => hint,
            _ => "",
        };
        in_the_way(path, "open", &error).and(hint)
    })?;
    let works = disk.grouping();
    let hint = match Store::ground(&disk) {
        Ok(Footing::Vacant) => hint,
        _ => "",
    };
    let store = Store::open_existing(Arc::new(disk), options)
        .map_err(|error| not_usable(path, &error).and(hint))?;
    Ok((store, works))
}

/// Prints these words on stderr, for a person.
pub fn say_on_stderr(words: &str) {
    eprintln!("mentat-sync: {words}");
}

/// Refuses to make a store inside of another one.
fn not_inside_of_a_store(path: &Path) -> Result<(), Failure> {
    match store_above(path) {
        Some(above) => Err(Failure::failed(format!(
            "{}: no store is made here, inside of {}",
            path.display(),
            hint_of(&above)
        ))),
        None => Ok(()),
    }
}

/// The nearest directory above this path, which need not be there, that is a store.
fn store_above(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    let mut levels = absolute.ancestors();
    let nearest = levels.find_map(|level| Some((level, level.canonicalize().ok()?)))?;
    let is_self = nearest.0 == absolute;
    let mut above = nearest.1.ancestors().skip(usize::from(is_self));
    let is_store =
        |level: &&Path| Real::new(level, Grouping::Off).is_ok_and(|disk| Store::is_at(&disk));
    above.find(is_store).map(Path::to_owned)
}

/// The words that lead to the store that was meant.
fn hint_of(store: &Path) -> String {
    let store = store.display();
    format!("{store}, which is a store: name that one with --data {store}")
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
        store::Error::NotAStore(what) => {
            let above = store_above(path).map(|above| hint_of(&above));
            let hint = above.map_or(String::new(), |above| {
                format!("\n  it is inside of {above}")
            });
            Failure::failed(format!("{}: {what}{hint}", path.display()))
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
