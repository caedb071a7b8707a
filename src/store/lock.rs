//! The guards of a user's lock, and single tries for it.
//!
//! Across processes it is flock(2) on `users/{user}/lock`, opened anew for every operation. Shared
//! holders can starve an exclusive one for ever, so everybody first takes `gate` exclusively and
//! lets it go once `lock` is held. Inside the process a fair lock per user stands in front, where
//! waiting holds no thread. `acquire` has the waiting.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard};

use super::mistake::Mistake;
use super::state::{LockFile, UserState};
use super::{Error, Result, User};
use crate::disk::{Held, Mode, Place};
use crate::model::limits;

/// A user whose lock is held in either mode; the lock is given back when this is dropped. Derefs to the
/// [`User`], and has the verbs that are sound under both [`Shared`] and [`Exclusive`].
pub struct Locked {
    user: User,
    /// Whether any chunk is marked as lost, once somebody asked.
    pub(super) lost: OnceLock<bool>,
    // In this order, so that the next one in this process finds the file free.
    _held: Option<Box<dyn Held>>,
    _front: Front,
}

impl Deref for Locked {
    type Target = User;

    fn deref(&self) -> &User {
        &self.user
    }
}

impl Locked {
    /// Gives the lock back, and keeps the user.
    pub(super) fn release(self) -> User {
        self.user
    }
}

/// A user whose lock is held shared: others may hold it so too, and HEAD does not move. Publishing is a verb of
/// this guard.
pub struct Shared(Locked);

/// A user whose lock nobody else holds. All that changes what is published already is a verb of this guard, but for
/// the replacing of a damaged chunk.
pub struct Exclusive(Locked);

impl Deref for Shared {
    type Target = Locked;

    fn deref(&self) -> &Locked {
        &self.0
    }
}

impl Deref for Exclusive {
    type Target = Locked;

    fn deref(&self) -> &Locked {
        &self.0
    }
}

impl Shared {
    /// The guard of a lock that is held shared.
    pub(super) fn of(locked: Locked) -> Self {
        Self(locked)
    }

    /// Gives the lock back, and keeps the user.
    pub(super) fn release(self) -> User {
        self.0.release()
    }
}

impl Exclusive {
    /// The guard of a lock that is held exclusively.
    pub(super) fn of(locked: Locked) -> Self {
        Self(locked)
    }

    /// Gives the lock back, and keeps the user.
    pub(super) fn release(self) -> User {
        self.0.release()
    }
}

/// A place in front of the file locks.
pub(super) enum Front {
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

    /// A place in front of the file locks, and the turn to try them, if that needs no waiting.
    fn now(state: &UserState, mode: Mode) -> Option<(Self, OwnedMutexGuard<()>)> {
        let front = Arc::clone(&state.front);
        let front = match mode {
            Mode::Shared => Front::Shared {
                _guard: front.try_read_owned().ok()?,
            },
            Mode::Exclusive => Front::Exclusive {
                _guard: front.try_write_owned().ok()?,
            },
        };
        let turn = Arc::clone(&state.turn).try_lock_owned().ok()?;
        Some((front, turn))
    }
}

/// Waits for a place in front of the file locks, and for the turn to try them: of those in this process who want
/// the user's lock one tries, and the others wait for that one without asking the disk.
pub(super) async fn queue(state: &UserState, mode: Mode) -> (Front, OwnedMutexGuard<()>) {
    let front = Front::wait(state, mode).await;
    let turn = Arc::clone(&state.turn).lock_owned().await;
    (front, turn)
}

/// How a try for the file locks ended.
pub(super) enum Tried {
    Got(Box<dyn Held>, LockFile),
    /// Not yet: to be tried again after this pause.
    Later(Duration),
    /// The user has no folder.
    NoFolder,
    /// Nor may anything be said about the one there is: it is to be met first.
    Unmet,
}

/// A wait for the file locks, from one try to the next.
pub(super) struct Wait {
    mode: Mode,
    gate: Option<Box<dyn Held>>,
    pause: Duration,
    /// When it ends, all that was waited for before included.
    pub until: Duration,
}

impl Wait {
    /// A wait that begins now, and ends [`limits::LOCK_WAIT`] later.
    pub fn new(user: &User, mode: Mode) -> Self {
        Self {
            mode,
            gate: None,
            pause: limits::LOCK_PAUSE.0,
            until: user.store.disk.elapsed() + limits::LOCK_WAIT,
        }
    }

    fn step(&mut self, user: &User) -> Result<Tried> {
        if self.gate.is_none() {
            match user.try_file(&user.folder.gate(), Mode::Exclusive)? {
                Tried::Got(held, _) => self.gate = Some(held),
                Tried::Later(_) => return self.later(user),
                other => return Ok(other),
            }
        }
        match user.try_file(&user.folder.lock(), self.mode)? {
            Tried::Later(_) => self.later(user),
            other => Ok(other),
        }
    }

    fn later(&mut self, user: &User) -> Result<Tried> {
        let left = self.until.saturating_sub(user.store.disk.elapsed());
        if left.is_zero() {
            return Err(Error::Busy);
        }
        let pause = self.pause.min(left);
        self.pause = (self.pause * 2).min(limits::LOCK_PAUSE.1);
        Ok(Tried::Later(pause))
    }
}

impl User {
    /// The guard of a lock that was got.
    pub(super) fn locked(&self, held: Option<Box<dyn Held>>, front: Front) -> Locked {
        Locked {
            user: self.clone(),
            lost: OnceLock::new(),
            _held: held,
            _front: front,
        }
    }

    /// Takes the shared lock of a user who has just been seen to have a folder, if that needs no waiting; `None`
    /// where it does.
    ///
    /// # Errors
    /// [`Error::UserGone`] where there is no folder any more; [`Error::Moving`] where the user is frozen.
    pub fn shared_now(&self) -> Option<Result<Shared>> {
        let locked = self.lock_now(Mode::Shared).transpose()?;
        Some(locked.map(Shared::of))
    }

    /// Takes the exclusive lock of a user who has just been seen to have a folder, if that needs no waiting;
    /// `None` where it does.
    ///
    /// # Errors
    /// [`Error::UserGone`] where there is no folder any more; [`Error::Moving`] where the user is frozen.
    pub fn exclusive_now(&self) -> Option<Result<Exclusive>> {
        let locked = self.lock_now(Mode::Exclusive).transpose()?;
        Some(locked.map(Exclusive::of))
    }

    fn lock_now(&self, mode: Mode) -> Result<Option<Locked>> {
        let Some((front, _turn)) = Front::now(&self.state, mode) else {
            return Ok(None);
        };
        if self.store.mistakes.made(Mistake::NoLock) {
            return Ok(Some(self.locked(None, front)));
        }
        match self.try_lock(&mut Wait::new(self, mode))? {
            Tried::Got(held, _) => Ok(Some(self.locked(Some(held), front))),
            Tried::Later(_) => Ok(None),
            Tried::NoFolder | Tried::Unmet => Err(Error::UserGone),
        }
    }

    /// One try; forgets what is known of the user if the folder is another one than before.
    pub(super) fn try_lock(&self, wait: &mut Wait) -> Result<Tried> {
        let tried = wait.step(self)?;
        if let Tried::Got(_, stamp) = tried {
            let Some(visit) = self.visit()? else {
                return Ok(Tried::NoFolder);
            };
            if !self.has_met(&visit) {
                log::debug!("user {}: a folder not seen before", self.id.short());
                return Ok(Tried::Unmet);
            }
            {
                let mut known = self.state.known();
                if known.lock != Some(stamp) {
                    known.locked_by(stamp);
                }
            }
            // Whoever freezes a user has the lock to itself meanwhile, so that this is the last word.
            if !self.store.mistakes.made(Mistake::NoFrozenLook) {
                self.check_serves()?;
            }
        }
        Ok(tried)
    }

    /// Tries to lock one file, making it if need be, and sees that it is still the one of its name.
    fn try_file(&self, place: &Place, mode: Mode) -> Result<Tried> {
        let held = match self.store.disk.try_lock(place, mode) {
            Err(absent) if absent.is_absent() => {
                if !self.has_folder()? {
                    return Ok(Tried::NoFolder);
                }
                match self.store.disk.create(place) {
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
        match self.store.disk.meta(place) {
            Ok(meta) if meta.inode == held.inode() => {
                Ok(Tried::Got(held, (meta.inode, meta.modified)))
            }
            Ok(_) => Ok(Tried::Later(Duration::ZERO)),
            Err(absent) if absent.is_absent() => Ok(Tried::Later(Duration::ZERO)),
            Err(other) => Err(other.into()),
        }
    }
}
