//! The users' folders of a store, held open while they are copied: so they stay the same, whatever their names become.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::process::{Resource, getrlimit};

use super::outcome::Error;
use crate::disk::{self, DirectoryIdentity, Disk, IfThere, Real};
use crate::model::{TransactionId, UserId, limits};
use crate::store::layout::{self, Folder};
use crate::store::{Frozen, Store};

/// A folder that is held open.
pub(super) struct HeldFolder {
    /// The name it was opened by.
    pub user: UserId,
    /// HEAD, which is read before anything else of the user but CHECKPOINT; or why there is none.
    pub head: Result<TransactionId, String>,
    /// Whether the user is frozen, as it was before HEAD was read.
    pub frozen: Option<Frozen>,
    folder: Arc<Real>,
    identity: DirectoryIdentity,
}

impl HeldFolder {
    /// The path that another process of this user of the box finds the folder by.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}/.",
            std::process::id(),
            fd(&self.folder)
        ))
    }
}

impl HeldFolder {
    /// Lays CHECKPOINT aside in this directory, by the user's name, where there is one; and reads HEAD after it once more: so its
    /// transaction is on the chain that is copied. What it names stays for the grace period from now on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn lay_checkpoint_aside(&mut self, aside: &Real) -> disk::Result<()> {
        let store = Store::examine(self.folder.clone());
        match store.bytes_of_checkpoint(&Folder::at(layout::top())) {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                let file = aside.create(&layout::top().join(self.user))?;
                file.append(&bytes)?;
                self.head = head_of(&self.folder);
            }
            Err(error) => self.head = Err(format!("CHECKPOINT in DATA: {error}")),
        }
        Ok(())
    }
}

fn fd(folder: &Real) -> i32 {
    folder.as_fd().as_raw_fd()
}

/// The fate of a folder while it was copied.
pub(super) enum Became {
    Kept,
    Renamed(UserId),
    /// On its way out: a folder is renamed before the first of its files goes.
    Gone,
}

/// All users of a store, and who of them has been met.
pub(super) struct Folders {
    store: Store,
    source: Arc<Real>,
    users: Real,
    begun: SystemTime,
    met: HashSet<DirectoryIdentity>,
    /// The folders that were copied, by the names they had at the end.
    copied: HashMap<UserId, DirectoryIdentity>,
    /// Users whose names something has that cannot be opened as a folder, with what is the matter.
    pub shut: BTreeMap<UserId, String>,
    rounds: u32,
}

impl Folders {
    pub fn of(source: Arc<Real>) -> Result<Self, Error> {
        Ok(Self {
            store: Store::to_read(source.clone())?,
            users: source.below(&layout::users())?,
            begun: source.now(),
            source,
            met: HashSet::new(),
            copied: HashMap::new(),
            shut: BTreeMap::new(),
            rounds: 0,
        })
    }

    /// Opens folders that were not met before, so many as may be open at a time; and says whether some slipped away between
    /// being listed and being opened. Nobody and no slip: then all are copied.
    ///
    /// # Errors
    /// The store as a whole cannot be read.
    pub fn next(&mut self) -> Result<(Vec<HeldFolder>, bool), Error> {
        self.rounds += 1;
        // From here on, those who came after the copy was begun are for the next one: it would never end.
        let is_late = self.rounds > limits::SNAPSHOT_LATE;
        let names = self.store.names_of_users()?;
        let no_folder = "a symlink, file or device in DATA, not a folder";
        self.shut = (names
            .others
            .into_iter()
            .map(|user| (user, no_folder.to_owned())))
        .collect();
        let most = most_open();
        let (mut open, mut slipped) = (Vec::new(), false);
        for user in names.folders {
            let place = Folder::of(&user);
            let folder = match self.source.below(place.place()).if_there() {
                Ok(Some(folder)) => Arc::new(folder),
                Ok(None) => {
                    slipped = true;
                    continue;
                }
                Err(passing) if passing.is_passing() => return Err(passing.into()),
                Err(error) => {
                    let what = format!("the folder in DATA cannot be opened: {}", error.source);
                    self.shut.insert(user, what);
                    continue;
                }
            };
            let identity = folder.identity()?;
            let came = identity.born().is_some_and(|born| born > self.begun);
            if self.met.contains(&identity) || is_late && came {
                continue;
            }
            let frozen = frozen_of(&folder)?;
            let head = head_of(&folder);
            open.push(HeldFolder {
                user,
                frozen,
                head,
                folder,
                identity,
            });
            if open.len() >= most {
                break;
            }
        }
        Ok((open, slipped))
    }

    /// Looks what became of these, and closes them. Whoever has another name by now is to be opened again.
    pub fn close(&mut self, open: Vec<HeldFolder>) -> Vec<(UserId, Became)> {
        let users = name_now(&self.users);
        let mut fates = Vec::new();
        for HeldFolder {
            user,
            folder,
            identity,
            ..
        } in open
        {
            let now = name_now(&folder).filter(|now| now.parent() == users.as_deref());
            let now = now.and_then(|now| layout::parse_user(now.file_name()?.to_str()?));
            let fate = match now {
                None => Became::Gone,
                Some(now) if now == user => Became::Kept,
                Some(now) => Became::Renamed(now),
            };
            if !matches!(fate, Became::Renamed(_)) {
                self.met.insert(identity);
            }
            // Whoever was copied under that name before has another by now, or is gone.
            if matches!(fate, Became::Kept)
                && let Some(before) = self.copied.insert(user, identity)
                && before != identity
            {
                self.met.remove(&before);
            }
            fates.push((user, fate));
        }
        fates
    }

    /// Has a user opened once more.
    pub fn again(&mut self, user: &UserId) {
        if let Some(identity) = self.copied.remove(user) {
            self.met.remove(&identity);
        }
    }
}

/// The path of a directory at this moment. No rename comes between. One that was removed has a name that no user has.
fn name_now(directory: &Real) -> Option<PathBuf> {
    std::fs::read_link(Path::new("/proc/self/fd").join(fd(directory).to_string())).ok()
}

fn frozen_of(folder: &Arc<Real>) -> Result<Option<Frozen>, Error> {
    let store = Store::examine(folder.clone());
    let file = store.read_frozen(&Folder::at(layout::top()))?;
    Ok(file.for_a_copy())
}

fn head_of(folder: &Arc<Real>) -> Result<TransactionId, String> {
    let store = Store::examine(folder.clone());
    match store.read_head(&Folder::at(layout::top())) {
        Ok(Some((_, id))) => Ok(id),
        Ok(None) => Err("HEAD is missing in DATA".to_owned()),
        Err(error) => Err(format!("HEAD in DATA: {error}")),
    }
}

/// How many folders may be open at a time: as many as this process may have, but for some.
fn most_open() -> usize {
    let may = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let may = may.saturating_sub(limits::BACKUP_OTHER_FILES);
    (may.clamp(1, limits::BACKUP_FOLDERS)) as usize
}
