//! State of a user in this process: locks in front of the file locks, and what was learnt from the disk.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use super::json::Start;
use super::vouch::Directories;
use super::{Error, Result};
use crate::disk::{DirectoryIdentity, Meta};
use crate::model::{Head, TransactionId, UserId, limits};

/// State of one user in this process. Nothing in it is held locked while the disk is asked.
pub(super) struct UserState {
    /// In-process, in front of the file locks: fair, and waiting holds no thread.
    pub front: Arc<tokio::sync::RwLock<()>>,
    /// Of those who got past the front, one at a time tries the file locks.
    pub turn: Arc<tokio::sync::Mutex<()>>,
    /// `log` is being mended.
    pub mending: AtomicBool,
    /// How often mending `log` has come to a result.
    pub mended: tokio::sync::watch::Sender<u64>,
    /// Held by who meets the user's folder, so that others need not.
    pub meeting: Arc<tokio::sync::Mutex<()>>,
    known: Mutex<Remembered>,
}

/// Facts about a user's folder, read from the disk or written to it by this process. All of it can be
/// forgotten, but for [`Remembered::is_lasting`].
#[derive(Default)]
pub(super) struct Remembered {
    /// The folder that the rest belongs to.
    pub standing: FolderSeen,
    /// Another number for each folder, so that a look which began at another one is known.
    pub generation: u64,
    /// All of the folder was durable when this process met it.
    pub met: bool,
    /// A sync of all of the folder failed.
    pub lost: bool,
    /// The folder's time of change at the last look, and the one with which its name was durable.
    pub changed: Option<SystemTime>,
    pub named: Option<SystemTime>,
    /// A sync after HEAD's replacement failed: nothing more is written.
    pub read_only: bool,
    /// The HEAD that a sync by this process failed of: nothing but its replacement makes it durable.
    pub doubted: Option<Doubted>,
    /// The CHECKPOINT that this process has seen durable.
    pub checkpoint: Option<CheckpointStamp>,
    /// The inode of the CHECKPOINT that a sync by this process failed of: nothing but its replacement makes it durable.
    pub doubted_checkpoint: Option<u64>,
    /// The lock file of the folder: another one means that others worked on it without its lock.
    pub lock: Option<LockFile>,
    /// HEAD was there: the folder is no unfinished copy.
    pub complete: bool,
    /// The newest HEAD that this process has seen durable: no older one of this folder is told any more.
    pub head: Option<DurableHead>,
    pub directories: Directories,
    /// Pending transactions that have been read, as they were listed last.
    pub pending: HashMap<TransactionId, Start>,
    /// The last count of pending transactions.
    pub counted: Counted,
    /// The last sweep of pending transactions that the two before take into account.
    pub swept: SweepStamp,
}

/// A user's place in `users/`, as it was last seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FolderSeen {
    /// The place was not looked at yet.
    #[default]
    Unseen,
    Absent,
    Here(DirectoryIdentity),
}

/// A user's folder at a look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub identity: DirectoryIdentity,
    /// The folder's time of change, which a rename sets too.
    pub changed: SystemTime,
    /// [`Remembered::generation`] at the look.
    pub generation: u64,
}

/// A HEAD's file: its inode, which nothing else gets while it has the name, and the id in it.
pub(super) type Doubted = (u64, TransactionId);

/// The file of a lock: its inode, and when it was made (nobody ever writes to it).
pub(super) type LockFile = (u64, SystemTime);

/// A HEAD that this process has synced: the very file, and the head in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DurableHead {
    inode: u64,
    changed: SystemTime,
    pub head: Head,
}

impl DurableHead {
    pub fn new(meta: &Meta, head: Head) -> Self {
        Self {
            inode: meta.inode,
            changed: meta.changed,
            head,
        }
    }

    /// Whether the file of this meta, which says this id, is the very one.
    pub fn is_of(&self, meta: &Meta, id: TransactionId) -> bool {
        (self.inode, self.changed, self.head.id) == (meta.inode, meta.changed, id)
    }
}

/// A CHECKPOINT's very file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CheckpointStamp {
    inode: u64,
    changed: SystemTime,
}

impl CheckpointStamp {
    /// The stamp of the file of this meta.
    pub fn of(meta: &Meta) -> Self {
        Self {
            inode: meta.inode,
            changed: meta.changed,
        }
    }
}

/// The last count of pending transactions. Only ever forgotten: then they are counted again.
#[derive(Default)]
pub(super) struct Counted {
    /// The time of the count, and how many more may come before the next.
    pub uncounted: Option<(SystemTime, usize)>,
    /// There were as many as may be, none of them dead, seen from this HEAD at that time.
    pub full: Option<(SystemTime, TransactionId, usize)>,
}

/// The time of `gate`, which changes before pending transactions are swept, and in which folder that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepStamp {
    /// [`Remembered::generation`]: the gate of another folder may have the same time.
    pub(super) generation: u64,
    pub(super) gate: Option<SystemTime>,
}

impl UserState {
    /// State of a user of whom nothing is known yet.
    pub fn new() -> Self {
        Self {
            front: Arc::default(),
            turn: Arc::default(),
            meeting: Arc::default(),
            mending: AtomicBool::default(),
            mended: tokio::sync::watch::Sender::default(),
            known: Mutex::default(),
        }
    }

    /// The facts, to be read and changed. To be let go before the disk is asked.
    pub fn known(&self) -> MutexGuard<'_, Remembered> {
        self.known
            .lock()
            .expect("no code panics while it holds this")
    }

    /// Refuses a write for a user who is read-only.
    ///
    /// # Errors
    /// [`Error::ReadOnly`]
    pub fn check_writable(&self) -> Result<()> {
        if self.is_read_only() {
            return Err(Error::ReadOnly);
        }
        Ok(())
    }

    /// Whether a sync after HEAD's replacement failed.
    pub fn is_read_only(&self) -> bool {
        self.known().read_only
    }

    /// All of the folder is durable; its name too, where it is said with which time of change.
    pub fn has_met(&self, visit: &Visit, named: Option<SystemTime>) {
        let mut known = self.known();
        if known.generation == visit.generation {
            known.met = true;
            known.named = named.or(known.named);
        }
    }

    /// A sync of this HEAD failed.
    pub fn doubt(&self, visit: &Visit, error: &Error, head: Doubted) {
        let mut known = self.known();
        if known.generation == visit.generation && error.is_lost_write() {
            known.doubted = Some(head);
        }
    }

    /// HEAD was replaced, and whether that is durable nobody knows: this process writes nothing more for
    /// the user, and tells this HEAD only as [`User::vouched_head`](super::User::vouched_head) says.
    pub fn doubt_for_good(&self, head: Option<Doubted>) {
        let mut known = self.known();
        known.read_only = true;
        known.doubted = head.or(known.doubted);
    }

    /// A sync of the CHECKPOINT of this inode failed.
    pub fn doubt_checkpoint(&self, visit: &Visit, error: &Error, inode: u64) {
        let mut known = self.known();
        if known.generation == visit.generation && error.is_lost_write() {
            known.doubted_checkpoint = Some(inode);
        }
    }

    /// CHECKPOINT was replaced, and whether that is durable nobody knows: this process writes nothing more for the
    /// user, and tells this one only once it is written anew.
    pub fn doubt_checkpoint_for_good(&self, inode: Option<u64>) {
        let mut known = self.known();
        known.read_only = true;
        known.doubted_checkpoint = inode.or(known.doubted_checkpoint);
    }

    /// Notes that this process replaced a file in the folder, under the exclusive lock, and that it is durable. That changed the
    /// folder, whose name stayed as durable as it was. Gives back the facts, if they are of this folder.
    pub fn replaced_in(&self, folder: &Meta) -> Option<MutexGuard<'_, Remembered>> {
        let mut known = self.known();
        if known.standing != FolderSeen::Here(DirectoryIdentity::of(folder)) {
            return None;
        }
        known.stays_named(folder);
        Some(known)
    }

    /// Notes that this process replaced CHECKPOINT, under the exclusive lock, and that it is durable.
    pub fn checkpoint_moved(&self, checkpoint: CheckpointStamp, folder: &Meta) {
        if let Some(mut known) = self.replaced_in(folder) {
            known.checkpoint = Some(checkpoint);
        }
    }

    /// Notes that this process replaced HEAD, under the exclusive lock, and that it is durable.
    pub fn head_moved(&self, head: DurableHead, folder: &Meta) {
        if let Some(mut known) = self.replaced_in(folder)
            && (known.head).is_none_or(|newest| newest.head.seq <= head.head.seq)
        {
            known.head = Some(head);
        }
    }
}

/// One number for each folder that anybody here began to know, never given twice, also where a user's state is
/// forgotten and made anew.
static GENERATIONS: AtomicU64 = AtomicU64::new(0);

impl Remembered {
    /// From now on all facts are of this folder: those of another are forgotten.
    pub fn enter(&mut self, standing: FolderSeen) {
        if self.standing != standing {
            self.forget();
            self.standing = standing;
        }
    }

    /// Forgets all facts, also which folder there is.
    pub fn forget(&mut self) {
        *self = Remembered {
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed) + 1,
            ..Remembered::default()
        };
    }

    /// Whether the folder's name in `users/` is durable, as far as anybody has seen.
    pub fn is_named(&self) -> bool {
        self.named.is_some() && self.named == self.changed
    }

    /// A replacement of a file in the folder changed it, and its name is as durable as it was.
    fn stays_named(&mut self, folder: &Meta) {
        if self.named.is_some() {
            self.changed = Some(folder.changed);
            self.named = self.changed;
        }
    }

    /// The folder has another lock file than before: whoever held the old one may have changed what is
    /// pending.
    pub fn locked_by(&mut self, lock: LockFile) {
        *self = Remembered {
            standing: self.standing,
            generation: self.generation,
            met: self.met,
            changed: self.changed,
            named: self.named,
            read_only: self.read_only,
            doubted: self.doubted,
            head: self.head,
            checkpoint: self.checkpoint,
            doubted_checkpoint: self.doubted_checkpoint,
            lock: Some(lock),
            ..Remembered::default()
        };
    }

    /// Whether a sync failed, which holds until a restart and must not be forgotten.
    fn is_lasting(&self) -> bool {
        self.read_only || self.doubted.is_some() || self.doubted_checkpoint.is_some() || self.lost
    }
}

/// The states of the users seen lately.
#[derive(Default)]
pub(super) struct States(Mutex<HashMap<UserId, Arc<UserState>>>);

impl States {
    /// The state of this user. States that nobody uses are forgotten when there are too many.
    pub fn of(&self, user: &UserId) -> Arc<UserState> {
        let mut users = self.0.lock().expect("no code panics while it holds this");
        if let Some(state) = users.get(user) {
            return Arc::clone(state);
        }
        if users.len() >= limits::KNOWN_USERS {
            users.retain(|_, state| {
                Arc::strong_count(state) > 1
                    || Arc::strong_count(&state.front) > 1
                    || Arc::strong_count(&state.meeting) > 1
                    || state.known().is_lasting()
            });
        }
        Arc::clone(
            users
                .entry(*user)
                .or_insert_with(|| Arc::new(UserState::new())),
        )
    }
}
