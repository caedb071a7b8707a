//! A consistent copy of a store that may be served meanwhile, without copying chunks.
//!
//! HEAD is read first; then what it reaches, which never changes, gets second names (hard links); `log`, which
//! grows in place, is copied up to HEAD; HEAD comes last, and `FORMAT` after all users, so that no server takes
//! an unfinished snapshot for a store. No lock is taken.
//!
//! A file that has two names is never changed in place: chunks, aliases and transactions are only ever
//! linked and unlinked, and what is made young again is in `incoming/`, which is not copied.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{self, Disk, Grouping, Kind, Place, Real, Target};
use crate::model::{TransactionId, UserId, limits};
use crate::store::layout::{self, Area, Dir, Folder, Known, Shelf};
use crate::store::{self, FORMAT, Store, format_trouble, log};

/// The shelves of the committed area.
const COMMITTED: [Shelf; 3] = [
    Shelf::Chunks(Area::Committed),
    Shelf::Aliases(Area::Committed),
    Shelf::Transactions,
];

/// What a snapshot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub users: u64,
    /// Files that got a second name.
    pub files: u64,
    /// Users who are not in it, because their HEAD is damaged, and in what way.
    pub left_out: Vec<(UserId, String)>,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0:?} is not empty")]
    NotEmpty(PathBuf),
    #[error("{0:?} is in the data directory")]
    Inside(PathBuf),
    #[error(
        "{0:?} is not on the file system of the data directory, and a hard link cannot lead to another: \
         choose a place beside the data directory, or use scripts/backup"
    )]
    OtherFileSystem(PathBuf),
    #[error("{0}")]
    NotAStore(String),
    #[error("cannot make {0:?}: {1}")]
    Destination(PathBuf, #[source] std::io::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<disk::Error> for Error {
    fn from(error: disk::Error) -> Self {
        Error::Store(error.into())
    }
}

/// Takes a snapshot of the store at `source` into a directory that is empty or not there yet, on the same
/// file system. Calls `linked` after each file.
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
    let store = Store::examine(source.clone());
    check_format(&store)?;
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
        linked,
    };
    copy.all().map_err(|error| match error {
        // Two file systems can have one device number (subvolumes), or one be mounted in the other.
        Error::Store(store::Error::Disk(error))
            if error.kind() == std::io::ErrorKind::CrossesDevices =>
        {
            Error::OtherFileSystem(destination.to_owned())
        }
        other => other,
    })
}

fn check_format(store: &Store) -> Result<(), Error> {
    match store.read_format()? {
        Some(found) => match format_trouble(&found) {
            None => Ok(()),
            Some(trouble) => Err(Error::NotAStore(trouble)),
        },
        None => Err(Error::NotAStore("there is no store here".to_owned())),
    }
}

/// Opens the destination, making it if it is not there, and says whether it was made.
fn prepare(source: &Real, destination: &Path) -> Result<(Real, bool), Error> {
    let failed = |error| Error::Destination(destination.to_owned(), error);
    if is_inside(source, destination) {
        return Err(Error::Inside(destination.to_owned()));
    }
    let made = disk::make_root(destination).map_err(failed)?;
    let target = Real::new(destination, Grouping::Off).map_err(failed)?;
    let mut empty = true;
    target.list(&layout::top(), &mut |_| {
        empty = false;
        false
    })?;
    if !empty {
        return Err(Error::NotEmpty(destination.to_owned()));
    }
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

struct Copy<'a> {
    store: Store,
    source: Arc<Real>,
    target: Arc<Real>,
    copied: Store,
    linked: &'a dyn Fn(),
}

/// A user who is copied.
struct User {
    /// The folder, by itself.
    from: Arc<Real>,
    store: Store,
    /// The folder in that.
    folder: Folder,
    to: Folder,
}

/// A user who has been copied, all but HEAD.
struct Copied {
    head: TransactionId,
    /// Something went away meanwhile.
    missed: bool,
}

impl Copy<'_> {
    fn all(&self) -> Result<Snapshot, Error> {
        for place in [layout::users(), layout::tmp(), layout::trash()] {
            self.target.make_directory(&place)?;
        }
        let mut snapshot = Snapshot::default();
        let mut heads = Vec::new();
        let mut seen = BTreeSet::new();
        // Again until nobody is new: a user may have been renamed since the last look.
        loop {
            let users = self.store.users()?;
            let new: Vec<_> = users
                .into_iter()
                .filter(|user| !seen.contains(user))
                .collect();
            if new.is_empty() {
                break;
            }
            for user in new {
                match self.user(&user, &mut snapshot.files) {
                    Ok(Some(head)) => heads.push((user, head)),
                    Ok(None) => {}
                    Err(Error::Store(store::Error::Damaged { what, .. })) => {
                        self.forget(&user)?;
                        snapshot.left_out.push((user, what));
                    }
                    Err(other) => return Err(other),
                }
                seen.insert(user);
            }
        }
        self.target.sync_everything()?;
        for (user, head) in &heads {
            self.put(&Folder::of(user).head(), &format!("{head}\n"))?;
        }
        self.target.sync_everything()?;
        self.put(&layout::format(), FORMAT)?;
        self.target.sync(&[Target::Directory(layout::top())])?;
        snapshot.users = heads.len() as u64;
        Ok(snapshot)
    }

    /// Copies all of a user but HEAD, and gives that; `None` for one who went away meanwhile.
    fn user(&self, user: &UserId, files: &mut u64) -> Result<Option<TransactionId>, Error> {
        let to = Folder::of(user);
        // From the folder itself rather than by its name: whoever is renamed meanwhile is copied all the same.
        let from = match self.source.below(to.place()) {
            Err(absent) if absent.is_absent() => return Ok(None),
            other => Arc::new(other?),
        };
        let one = User {
            store: Store::examine(from.clone()),
            from,
            folder: Folder::at(layout::top()),
            to,
        };
        let copied = self.copy(&one, files);
        let gone = || self.source.meta(one.to.place()).is_err();
        match copied {
            Ok(Copied { head, missed }) if !missed || !gone() => Ok(Some(head)),
            // Deleted while it was read.
            Ok(_) => self.forget(user).map(|()| None),
            Err(Error::Store(store::Error::Damaged { .. })) if gone() => {
                self.forget(user).map(|()| None)
            }
            Err(other) => Err(other),
        }
    }

    fn copy(&self, user: &User, files: &mut u64) -> Result<Copied, Error> {
        let absent = |place: Place, what: &str| store::Error::Damaged {
            place,
            what: what.to_owned(),
        };
        let folder = &user.folder;
        let Some((_, head)) = user.store.read_head(folder)? else {
            return Err(absent(folder.head(), "missing").into());
        };
        let mut seq = 0;
        if head != TransactionId::ROOT {
            let place = folder.transaction(head);
            let Some(start) = user.store.start_of(&place, head)? else {
                return Err(absent(place, "HEAD names it, and it is not there").into());
            };
            seq = start.seq;
        }
        self.target.make_directory(user.to.place())?;
        let mut missed = false;
        for shelf in COMMITTED {
            missed |= self.shelf(user, shelf, files)?;
        }
        self.log(user, seq)?;
        Ok(Copied { head, missed })
    }

    /// Takes what there is of a user out of the snapshot again.
    fn forget(&self, user: &UserId) -> Result<(), Error> {
        let place = Folder::of(user).place().clone();
        match self.copied.remove_tree(&place) {
            Err(store::Error::Disk(absent)) if absent.is_absent() => Ok(()),
            other => Ok(other?),
        }
    }

    /// Links what is on a shelf. Says whether something went away meanwhile.
    fn shelf(&self, user: &User, shelf: Shelf, files: &mut u64) -> Result<bool, Error> {
        let dir = Dir::Shelf(shelf);
        let mut fans = Vec::new();
        let listed = user.from.list(&user.folder.dir(dir), &mut |entry| {
            if let Some(Known::Dir(fan)) = layout::recognise(dir, &entry.name)
                && entry.kind == Kind::Directory
            {
                fans.push(fan);
            }
            true
        });
        match listed {
            Err(absent) if absent.is_absent() => return Ok(true),
            other => other?,
        }
        self.target.make_directory(&user.to.dir(dir))?;
        let mut missed = false;
        for fan in fans {
            missed |= self.fan(user, fan, files)?;
        }
        Ok(missed)
    }

    fn fan(&self, user: &User, fan: Dir, files: &mut u64) -> Result<bool, Error> {
        let (from, to) = (user.folder.dir(fan), user.to.dir(fan));
        self.target.make_directory(&to)?;
        let (mut missed, mut outcome) = (false, Ok(()));
        let listed = user.from.list(&from, &mut |entry| {
            let known = matches!(
                layout::recognise(fan, &entry.name),
                Some(Known::Thing(Area::Committed, _))
            );
            if !known || entry.kind != Kind::File {
                return true;
            }
            let (from, to) = (from.join(&entry.name), to.join(&entry.name));
            match self.target.link_from(&user.from, &from, &to) {
                Ok(()) => {
                    *files += 1;
                    (self.linked)();
                }
                // Off the chain, and taken away by a repair or an advance since it was listed.
                Err(absent) if absent.is_absent() => missed = true,
                Err(other) => outcome = Err(other),
            }
            outcome.is_ok()
        });
        outcome?;
        match listed {
            Err(absent) if absent.is_absent() => Ok(true),
            other => Ok(other.map(|()| missed)?),
        }
    }

    /// Copies the lines of `log` up to HEAD's. A missing or short one is rebuilt by whoever needs it.
    fn log(&self, user: &User, seq: u64) -> Result<(), Error> {
        let Some(from) = user.store.open_log(&user.folder)? else {
            return Ok(());
        };
        let to = self.target.create(&user.to.log())?;
        let mut buffer = vec![0; limits::PIECE];
        let (mut offset, end) = (0, log::LINE * seq);
        while offset < end {
            let piece = buffer.len().min((end - offset) as usize);
            let read = from.read_at(offset, &mut buffer[..piece])?;
            if read == 0 {
                break;
            }
            to.append(&buffer[..read])?;
            offset += read as u64;
        }
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
