//! Who may do what to a user at once.
//!
//! Across processes it is flock(2) on `users/{user}/lock`, opened anew for every operation. Shared
//! holders can starve an exclusive one for ever, so everybody first takes `gate` exclusively and
//! lets it go once `lock` is held. Inside the process a fair lock per user stands in front, where
//! waiting holds no thread.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};

use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard};

use super::layout::Folder;
use super::mistake::Mistake;
use super::user::{Known, UserState};
use super::{Error, Result, Store};
use crate::disk::{Disk, Held, Mode, Place};
use crate::model::{UserId, limits};

/// A user's lock, held; given back when dropped.
pub struct UserLock {
    pub(super) user: UserId,
    pub(super) mode: Mode,
    pub(super) state: Arc<UserState>,
    pub(crate) folder: Folder,
    // In this order, so that the next one in this process finds the file free.
    _held: Option<Box<dyn Held>>,
    _front: Front,
}

impl UserLock {
    /// Whose lock it is.
    pub fn user(&self) -> &UserId {
        &self.user
    }
}

enum Front {
    Shared { _guard: OwnedRwLockReadGuard<()> },
    Exclusive { _guard: OwnedRwLockWriteGuard<()> },
}

impl Front {
    async fn wait(state: &UserState, mode: Mode) -> Self {
        let front = Arc::clone(&state.front);
        match mode {
            Mode::Shared => Front::Shared {
                _guard: front.read_owned().await,
            },
            Mode::Exclusive => Front::Exclusive {
                _guard: front.write_owned().await,
            },
        }
    }
}

/// A place in front of the file locks, and the turn to try them: of those in this process who want the
/// user's lock one tries, and the others wait for that one without asking the disk.
async fn queue(state: &UserState, mode: Mode) -> (Front, OwnedMutexGuard<()>) {
    let front = Front::wait(state, mode).await;
    let turn = Arc::clone(&state.turn).lock_owned().await;
    (front, turn)
}

/// When a wait ends that begins now, by the disk's clock.
pub(super) fn deadline(disk: &dyn Disk) -> Duration {
    disk.elapsed() + limits::LOCK_WAIT
}

/// Waits in place, until then at the most: for a thread that is nobody else's.
///
/// # Errors
/// [`Error::Busy`] when the time is up.
pub(super) fn wait_in_place<T>(
    disk: &dyn Disk,
    until: Duration,
    wanted: impl Future<Output = T>,
) -> Result<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut wanted = pin!(wanted);
    loop {
        if let Poll::Ready(got) = wanted.as_mut().poll(&mut context) {
            return Ok(got);
        }
        let left = until.saturating_sub(disk.elapsed());
        if left.is_zero() {
            return Err(Error::Busy);
        }
        // The disk's clock may be another one than the system's.
        disk.park(left.min(limits::LOCK_PAUSE.1));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Which file a lock is: its inode, and when it was made (nobody ever writes to it).
pub(super) type Stamp = (u64, SystemTime);

/// How a try for the file locks ended.
enum Tried {
    Got(Box<dyn Held>, Stamp),
    /// Not yet: to be tried again after this pause.
    Later(Duration),
    /// The user has no folder.
    NoFolder,
    /// Nor may anything be said about the one there is: it is to be met first.
    Unmet,
}

/// A wait for the file locks, from one try to the next.
struct Wait {
    mode: Mode,
    folder: Folder,
    gate: Option<Box<dyn Held>>,
    pause: Duration,
    /// When it ends, all that was waited for before included.
    until: Duration,
}

impl Wait {
    fn new(store: &Store, folder: Folder, mode: Mode) -> Self {
        Self {
            mode,
            folder,
            gate: None,
            pause: limits::LOCK_PAUSE.0,
            until: deadline(&*store.disk),
        }
    }

    fn step(&mut self, store: &Store) -> Result<Tried> {
        if self.gate.is_none() {
            match store.try_file(&self.folder, &self.folder.gate(), Mode::Exclusive)? {
                Tried::Got(held, _) => self.gate = Some(held),
                Tried::Later(_) => return self.later(store),
                other => return Ok(other),
            }
        }
        match store.try_file(&self.folder, &self.folder.lock(), self.mode)? {
            Tried::Later(_) => self.later(store),
            other => Ok(other),
        }
    }

    fn later(&mut self, store: &Store) -> Result<Tried> {
        let left = self.until.saturating_sub(store.disk.elapsed());
        if left.is_zero() {
            return Err(Error::Busy);
        }
        let pause = self.pause.min(left);
        self.pause = (self.pause * 2).min(limits::LOCK_PAUSE.1);
        Ok(Tried::Later(pause))
    }
}

impl Known {
    /// Another lock file than before: whoever held the old one may have changed what is pending.
    fn locked_by(&mut self, stamp: Stamp) {
        *self = Known {
            standing: self.standing,
            generation: self.generation,
            met: self.met,
            changed: self.changed,
            named: self.named,
            read_only: self.read_only,
            doubted: self.doubted,
            head: self.head,
            lock: Some(stamp),
            ..Known::default()
        };
    }
}

impl Store {
    /// Takes the user's lock; `None` for a user without a folder. Waiting holds no thread, and ends
    /// [`limits::LOCK_WAIT`] after it began with [`Error::Busy`], whatever it was for: those in this
    /// process who came before, or another process.
    pub async fn lock(&self, user: &UserId, mode: Mode) -> Result<Option<UserLock>> {
        let state = self.users.state(user);
        let mut wait = Wait::new(self, Folder::of(user), mode);
        let (front, _turn) = tokio::time::timeout(limits::LOCK_WAIT, queue(&state, mode))
            .await
            .map_err(|_| Error::Busy)?;
        if self.mistakes.made(Mistake::NoLock) {
            return Ok(Some(self.locked(user, state, wait, None, front)));
        }
        loop {
            match self.try_lock(user, &state, &mut wait)? {
                Tried::Got(held, _) => {
                    return Ok(Some(self.locked(user, state, wait, Some(held), front)));
                }
                Tried::Later(pause) => tokio::time::sleep(pause).await,
                Tried::NoFolder => return Ok(None),
                // It came just now. Whoever is here has met the one before it.
                Tried::Unmet => return Err(Error::UserGone),
            }
        }
    }

    /// The same, waiting in place and for as long: only for work that has a thread of its own, never on
    /// one of a pool that others need, who would wait for this user too.
    pub fn lock_blocking(&self, user: &UserId, mode: Mode) -> Result<Option<UserLock>> {
        let state = self.users.state(user);
        let mut wait = Wait::new(self, Folder::of(user), mode);
        let (front, _turn) = wait_in_place(&*self.disk, wait.until, queue(&state, mode))?;
        if self.mistakes.made(Mistake::NoLock) {
            return Ok(Some(self.locked(user, state, wait, None, front)));
        }
        loop {
            match self.try_lock(user, &state, &mut wait)? {
                Tried::Got(held, _) => {
                    return Ok(Some(self.locked(user, state, wait, Some(held), front)));
                }
                Tried::Later(pause) => self.disk.pause(pause),
                Tried::NoFolder => return Ok(None),
                Tried::Unmet => {
                    wait = Wait::new(self, Folder::of(user), mode);
                    self.meet(user)?;
                }
            }
        }
    }

    fn locked(
        &self,
        user: &UserId,
        state: Arc<UserState>,
        wait: Wait,
        held: Option<Box<dyn Held>>,
        front: Front,
    ) -> UserLock {
        UserLock {
            user: *user,
            mode: wait.mode,
            state,
            folder: wait.folder,
            _held: held,
            _front: front,
        }
    }

    /// Takes the exclusive lock if that needs no waiting.
    pub(super) fn lock_if_free(&self, user: &UserId) -> Result<Option<UserLock>> {
        let state = self.users.state(user);
        let Ok(guard) = Arc::clone(&state.front).try_write_owned() else {
            return Ok(None);
        };
        let front = Front::Exclusive { _guard: guard };
        let mut wait = Wait::new(self, Folder::of(user), Mode::Exclusive);
        Ok(match self.try_lock(user, &state, &mut wait)? {
            Tried::Got(held, _) => Some(self.locked(user, state, wait, Some(held), front)),
            _ => None,
        })
    }

    /// One try; forgets what is known of the user if the folder is another one than before.
    fn try_lock(&self, user: &UserId, state: &UserState, wait: &mut Wait) -> Result<Tried> {
        let tried = wait.step(self)?;
        if let Tried::Got(_, stamp) = tried {
            let Some(visit) = self.visit(state, &wait.folder)? else {
                return Ok(Tried::NoFolder);
            };
            if !self.has_met(state, &visit) {
                log::debug!("user {}: a folder not seen before", user.short());
                return Ok(Tried::Unmet);
            }
            let mut known = state.known();
            if known.lock != Some(stamp) {
                known.locked_by(stamp);
            }
        }
        Ok(tried)
    }

    /// Tries to lock one file, making it if need be, and sees that it is still the one of its name.
    fn try_file(&self, folder: &Folder, place: &Place, mode: Mode) -> Result<Tried> {
        let held = match self.disk.try_lock(place, mode) {
            Err(absent) if absent.is_absent() => {
                if !self.is_known(folder)? {
                    return Ok(Tried::NoFolder);
                }
                match self.disk.create(place) {
                    Err(error) if !error.is_taken() && !error.is_absent() => {
                        return Err(error.into());
                    }
                    _ => return Ok(Tried::Later(Duration::ZERO)),
                }
            }
            other => other?,
        };
        let Some(held) = held else {
            return Ok(Tried::Later(Duration::ZERO));
        };
        match self.disk.meta(place) {
            Ok(meta) if meta.inode == held.inode() => {
                Ok(Tried::Got(held, (meta.inode, meta.modified)))
            }
            Ok(_) => Ok(Tried::Later(Duration::ZERO)),
            Err(absent) if absent.is_absent() => Ok(Tried::Later(Duration::ZERO)),
            Err(other) => Err(other.into()),
        }
    }
}
