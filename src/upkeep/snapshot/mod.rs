//! A consistent copy of a store that may be served meanwhile, without copying chunks.
//!
//! CHECKPOINT is read first, and then HEAD; then what it reaches, which never changes, gets second names (hard links); `log`, which
//! grows in place, is copied up to HEAD; HEAD comes last, and `FORMAT` after all users, so that no server takes
//! an unfinished snapshot for a store. No lock is taken.
//!
//! Users may come, go and change names meanwhile. So each folder is read relative to itself, opened once; it is told
//! from others by its [`DirectoryIdentity`], not by its name; whether it was still a user's folder at the end is looked at
//! before its copy counts; and at the very end fsck looks whether all is there that each HEAD reaches.
//!
//! No user stops another: whoever is damaged, cannot be read or is no folder at all is left out and named, and the
//! others are copied.
//!
//! A file that has two names is never changed in place: chunks, aliases and transactions are only ever
//! linked and unlinked, and what is made young again is in `incoming/`, which is not copied.

mod folder;
mod obstacle;
mod outcome;
mod roll;

pub use outcome::{Error, LeftOut, Snapshot};

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use self::folder::Copied;
use self::obstacle::{Obstacle, Stopped};
use self::roll::{Fate, Roll, Visited};
use super::fsck::{self, Finding, Mended, Observer, Severity};
use crate::disk::{self, DirectoryIdentity, Disk, Grouping, IfThere, Place, Real, Target};
use crate::model::{Head, UserId, limits};
use crate::store::layout::{self, Folder};
use crate::store::{self, Store};

/// Takes a snapshot of the store at `source` into a directory that is empty or not there yet, on the same
/// file system. Calls `linked` after each file.
///
/// The snapshot belongs to the owner of the store, the directory included.
///
/// It holds every advance that was acknowledged before this was called. Costs a link for each committed
/// file, and the bytes of `log`.
///
/// # Errors
/// There is no usable snapshot: what there is has no `FORMAT`.
pub fn snapshot(
    source: Arc<Real>,
    destination: &Path,
    linked: &dyn Fn(),
) -> Result<Snapshot, Error> {
    let store = Store::to_read_any(source.clone())?;
    let (target, made) = prepare(&source, destination)?;
    let device = |disk: &Real| Ok::<_, Error>(disk.meta(&layout::top())?.device);
    if device(&source)? != device(&target)? {
        if made {
            // Best effort: an empty directory does no harm.
            let _ = disk::remove_root(destination);
        }
        return Err(Error::OtherFileSystem(destination.to_owned()));
    }
    let target = Arc::new(target);
    let copy = Copy {
        store,
        source,
        copied: Store::examine(target.clone()),
        target,
        destination,
        linked,
    };
    copy.all()
}

/// Opens the destination, making it if it is not there, and says whether it was made.
fn prepare(source: &Real, destination: &Path) -> Result<(Real, bool), Error> {
    let failed = |error| Error::Destination(destination.to_owned(), error);
    if is_inside(source, destination) {
        return Err(Error::Inside(destination.to_owned()));
    }
    let owner = source.meta(&layout::top())?.owner;
    disk::can_make_for(owner).map_err(failed)?;
    let made = disk::make_root(destination, Some(owner)).map_err(failed)?;
    let target = Real::new(destination, Grouping::Off).map_err(failed)?;
    let mut empty = true;
    target.list(&layout::top(), &mut |_| {
        empty = false;
        false
    })?;
    if !empty {
        return Err(Error::NotEmpty(destination.to_owned()));
    }
    // Only now: one with other things in it stays whose it is.
    let target = Real::for_owner(destination, Grouping::Off, owner).map_err(failed)?;
    Ok((target, made))
}

/// Whether the destination, which may not be there yet, is in the data directory.
fn is_inside(source: &Real, destination: &Path) -> bool {
    let here = std::env::current_dir().unwrap_or_default();
    let nearest = here.join(destination);
    let nearest = nearest
        .ancestors()
        .find_map(|above| above.canonicalize().ok());
    let data = source.path(&layout::top());
    data.zip(nearest)
        .is_some_and(|(data, nearest)| nearest.starts_with(data))
}

/// Users whose names something has that cannot be entered, each with what is the matter.
type Apart = BTreeMap<UserId, Obstacle>;

struct Copy<'a> {
    store: Store,
    source: Arc<Real>,
    target: Arc<Real>,
    copied: Store,
    destination: &'a Path,
    linked: &'a dyn Fn(),
}

impl Copy<'_> {
    fn all(&self) -> Result<Snapshot, Error> {
        for place in [layout::users(), layout::tmp(), layout::trash()] {
            self.target.make_directory(&place)?;
        }
        let mut snapshot = Snapshot::default();
        let (met, apart) = self.gather(&mut snapshot)?;
        self.unless_on_another_file_system(&met)?;
        self.target.sync_everything()?;
        for (user, obstacle) in apart {
            if met.iter().all(|met| met.user != user) {
                snapshot.left_out.push(obstacle.of(user));
            }
        }
        for met in met {
            match met.fate {
                Fate::Copied { at, head, files } => {
                    if let Some(head) = head {
                        self.put(&at.head(), &format!("{head}\n"))?;
                    }
                    let to = Folder::of(&met.user);
                    self.target.rename_new(at.place(), to.place())?;
                    snapshot.users += 1;
                    snapshot.files += files;
                }
                Fate::LeftOut(obstacle) => snapshot.left_out.push(obstacle.of(met.user)),
            }
        }
        snapshot.left_out.sort_unstable();
        self.target.sync_everything()?;
        self.put(&layout::format(), self.store.options().kind.format())?;
        self.target.sync(&[Target::Directory(layout::top())])?;
        self.prove(&mut snapshot)?;
        Ok(snapshot)
    }

    /// Two file systems can have one device number (subvolumes), or one be mounted in the other: then not one link
    /// could be made. Where some could, it is only the others' folders that are mounted from elsewhere.
    fn unless_on_another_file_system(&self, met: &[Visited]) -> Result<(), Error> {
        let has_files = |met: &Visited| matches!(met.fate, Fate::Copied { files: 1.., .. });
        let crosses = |met: &Visited| matches!(&met.fate, Fate::LeftOut(why) if why.crosses);
        match met.iter().any(crosses) && !met.iter().any(has_files) {
            true => Err(Error::OtherFileSystem(self.destination.to_owned())),
            false => Ok(()),
        }
    }

    /// Copies everybody, each under a name of its own in `tmp/`: by what name, is known only when nobody is on the
    /// move. Looks again until everybody who is there has been met. Says as well who could not even be entered.
    fn gather(&self, snapshot: &mut Snapshot) -> Result<(Vec<Visited>, Apart), Error> {
        let users = self.source.below(&layout::users())?.identity()?;
        let begun = self.source.now();
        let mut roll = Roll::default();
        let mut gone = Vec::new();
        for round in 0..limits::SNAPSHOT_ROUNDS {
            if round >= limits::SNAPSHOT_LATE {
                self.source.pause(limits::SNAPSHOT_PAUSE);
            }
            let late = (round >= limits::SNAPSHOT_LATE).then_some(begun);
            let (quiet, apart) = self.round(round, &users, late, &mut roll, snapshot)?;
            if roll.settle(round, &mut gone) && quiet {
                for met in gone {
                    self.forget(&met.fate)?;
                }
                let all = roll.into_all();
                snapshot
                    .went
                    .retain(|user| all.iter().all(|met| met.user != *user));
                return Ok((all, apart));
            }
        }
        Err(Error::Unsettled)
    }

    /// Copies those who have not been met yet, and says whether there was nothing to do, and who cannot be entered.
    /// Those who came after `late` are left to the next snapshot.
    fn round(
        &self,
        round: u32,
        users: &DirectoryIdentity,
        late: Option<SystemTime>,
        roll: &mut Roll,
        snapshot: &mut Snapshot,
    ) -> Result<(bool, Apart), Error> {
        let names = self.store.names_of_users()?;
        let no_folder =
            || Obstacle::damage(layout::top(), "a symlink, file or device, not a folder");
        let others = names.others.into_iter().map(|user| (user, no_folder()));
        let mut apart: Apart = others.collect();
        let mut quiet = true;
        for user in names.folders {
            let (from, identity) = match self.enter(&user) {
                Ok(Some(entered)) => entered,
                Ok(None) => {
                    quiet = false;
                    continue;
                }
                Err(Stopped::Folder(obstacle)) => {
                    apart.insert(user, obstacle);
                    continue;
                }
                Err(Stopped::Snapshot(error)) => return Err(error),
            };
            let is_late = late
                .zip(identity.born())
                .is_some_and(|(late, born)| born > late);
            if is_late || roll.knows(&identity, &user, round) {
                continue;
            }
            quiet = false;
            match self.one(&user, &from, users)? {
                Some(fate) => roll.add((from, identity), user, round, fate),
                None => {
                    snapshot.went.insert(user);
                }
            }
        }
        Ok((quiet, apart))
    }

    /// Opens a user's folder, and tells it from others; `None` for one who is gone.
    fn enter(&self, user: &UserId) -> Result<Option<(Arc<Real>, DirectoryIdentity)>, Stopped> {
        let from = self.source.below(Folder::of(user).place()).if_there();
        let at_top = |error| Stopped::of_folder(&self.source, user, error);
        let Some(from) = from.map_err(at_top)?.map(Arc::new) else {
            return Ok(None);
        };
        let identity = from.identity().map_err(at_top)?;
        Ok(Some((from, identity)))
    }

    /// Copies all of a user but HEAD; `None` for one who was deleted meanwhile.
    fn one(
        &self,
        user: &UserId,
        from: &Arc<Real>,
        users: &DirectoryIdentity,
    ) -> Result<Option<Fate>, Error> {
        let at = Folder::at(layout::aside(&layout::tmp(), user, self.target.random()));
        let copied = folder::link_folder(from, &self.target, &at, self.linked);
        // A folder on its way out is renamed before the first file of it goes: what is still where users are was
        // copied as a whole.
        let fate = match copied {
            Ok(Copied { head, files }) => Fate::Copied { at, head, files },
            Err(Stopped::Folder(obstacle)) => {
                self.remove(&at)?;
                Fate::LeftOut(obstacle)
            }
            Err(Stopped::Snapshot(error)) => return Err(error),
        };
        match (from.is_in(users), fate) {
            (Ok(true), fate) => Ok(Some(fate)),
            (Ok(false), fate) => {
                self.forget(&fate)?;
                Ok(None)
            }
            // A folder that may not be searched does not say where it is.
            (Err(_), Fate::LeftOut(obstacle)) => Ok(Some(Fate::LeftOut(obstacle))),
            (Err(error), fate) => {
                self.forget(&fate)?;
                match Stopped::of_folder(&self.source, user, error) {
                    Stopped::Folder(obstacle) => Ok(Some(Fate::LeftOut(obstacle))),
                    Stopped::Snapshot(error) => Err(error),
                }
            }
        }
    }

    /// Takes what there is of a user out of the snapshot again.
    fn forget(&self, fate: &Fate) -> Result<(), Error> {
        match fate {
            Fate::Copied { at, .. } => self.remove(at),
            Fate::LeftOut(_) => Ok(()),
        }
    }

    fn remove(&self, at: &Folder) -> Result<(), Error> {
        match self.copied.remove_tree(at.place()) {
            Err(store::Error::Disk(absent)) if absent.is_absent() => Ok(()),
            other => Ok(other?),
        }
    }

    /// Looks whether all is there that each HEAD reaches. Reads the transactions, and no chunk.
    fn prove(&self, snapshot: &mut Snapshot) -> Result<(), Error> {
        let options = fsck::CheckOptions {
            quick: true,
            content_ids: false,
            ..fsck::CheckOptions::default()
        };
        let seen = Findings::default();
        let checked =
            fsck::check(self.target.clone(), &options, &seen).map_err(|error| match error {
                fsck::Error::Store(error) => Error::Store(error),
                other => Error::NotAStore(other.to_string()),
            })?;
        (snapshot.damage, snapshot.unchecked) = (checked.damage, checked.unchecked);
        snapshot.findings = seen.0.into_inner().expect("nobody panics with this");
        snapshot
            .findings
            .sort_by(|one, other| one.place.cmp(&other.place));
        Ok(())
    }

    /// Writes a small file that has its name only once it is whole and durable.
    fn put(&self, place: &Place, text: &str) -> Result<(), Error> {
        let temporary = layout::probe(self.target.random());
        let file = self.target.create(&temporary)?;
        file.append(text.as_bytes())?;
        self.target.sync(&[Target::File(file)])?;
        self.target.rename_new(&temporary, place)?;
        Ok(())
    }
}

/// The findings of fsck in the snapshot, but for harmless ones.
#[derive(Default)]
struct Findings(Mutex<Vec<Finding>>);

impl Observer for Findings {
    fn found(&self, finding: &Finding) {
        let mut seen = self.0.lock().expect("nobody panics with this");
        if finding.severity != Severity::Harmless && seen.len() < limits::SNAPSHOT_FINDINGS {
            seen.push(finding.clone());
        }
    }

    fn mended(&self, _: &Mended) {}

    fn newest_sound(&self, _: &UserId, _: Head) {}

    fn checked(&self, _: u64) {}
}
