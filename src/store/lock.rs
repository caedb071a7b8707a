//! Who may do what to a user at once.
//!
//! Across processes it is flock(2) on `users/{user}/lock`, opened anew for every operation. Shared
//! holders can starve an exclusive one for ever, so everybody first takes `gate` exclusively and
//! lets it go once `lock` is held. Inside the process a fair lock per user stands in front, where
//! waiting holds no thread.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard};

use super::layout::Folder;
use super::mistake::Mistake;
use super::user::{Known, UserState};
use super::{Error, Result, Store};
use crate::disk::{Held, Mode, Place};
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
    waited: Duration,
}

impl Wait {
    fn new(folder: Folder, mode: Mode) -> Self {
        Self {
            mode,
            folder,
            gate: None,
            pause: limits::LOCK_PAUSE.0,
            waited: Duration::ZERO,
        }
    }

    fn step(&mut self, store: &Store) -> Result<Tried> {
        if self.gate.is_none() {
            match store.try_file(&self.folder, &self.folder.gate(), Mode::Exclusive)? {
                Tried::Got(held, _) => self.gate = Some(held),
                Tried::Later(_) => return self.later(),
                other => return Ok(other),
            }
        }
        match store.try_file(&self.folder, &self.folder.lock(), self.mode)? {
            Tried::Later(_) => self.later(),
            other => Ok(other),
        }
    }

    fn later(&mut self) -> Result<Tried> {
        if self.waited >= limits::LOCK_WAIT {
            return Err(Error::Busy);
        }
        let pause = self.pause;
        self.waited += pause;
        self.pause = (pause * 2).min(limits::LOCK_PAUSE.1);
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
    /// after [`limits::LOCK_WAIT`] with [`Error::Busy`].
    pub async fn lock(&self, user: &UserId, mode: Mode) -> Result<Option<UserLock>> {
        let state = self.users.state(user);
        let front = tokio::time::timeout(limits::LOCK_WAIT, Front::wait(&state, mode))
            .await
            .map_err(|_| Error::Busy)?;
        let mut wait = Wait::new(Folder::of(user), mode);
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

    /// The same, waiting in place: for work that has a thread of its own.
    pub fn lock_blocking(&self, user: &UserId, mode: Mode) -> Result<Option<UserLock>> {
        let state = self.users.state(user);
        let front = futures_executor::block_on(Front::wait(&state, mode));
        let mut wait = Wait::new(Folder::of(user), mode);
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
                    wait = Wait::new(Folder::of(user), mode);
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
        let mut wait = Wait::new(Folder::of(user), Mode::Exclusive);
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
