//! A user sent to another data directory, here or on another machine, with nothing lost that was acknowledged.
//!
//! The steps, and what may stop between them, are those of `tests/model/move.py`: the move gets its name here, then there
//! (`incoming`); all is copied while the user is served; the user is frozen, and the rest is copied; what came is made durable there,
//! HEAD last; the user is `gone` here, durably; then `ready` there; then what is here goes. A send that was stopped is taken up by
//! sending again: before `gone` as a new try, which finds what was copied; after it as the same move, known by its name on both sides.
//!
//! rsync writes into a directory of this try alone, in `incoming/tmp` of the folder there: one that goes on after its send was killed is in
//! nobody's way.

mod carrier;
mod side;
mod stop;

pub use side::{CopyRound, OtherSide, SendError};
pub use stop::StopSend;

use std::time::{Duration, Instant};

use self::carrier::Carrier;
use super::backup::{self, Destination};
use crate::disk::Real;
use crate::model::{TransactionId, UserId};

use crate::store::{Exclusive, Frozen, FrozenFile, Mistake, MoveName, Store, ThawUser, User};

/// A user who is ready on the other side.
#[derive(Debug)]
pub struct SentUser {
    /// How long nobody served the user; `None` where an earlier send had come so far.
    pub frozen: Option<Duration>,
    /// The name of the user that another one has there, so that it was left out.
    pub is_nameless: bool,
}

/// Sends a user. Calls `copied` with the length of each file that goes over. May be called again whatever became of an earlier call.
///
/// Costs the bytes of all files, read on both sides once before the user is frozen; while it is, a look at each, and the bytes of those that are
/// new.
///
/// # Errors
/// Where the user was served before, it is so again, unless it is gone here already or the disk fails; a send that comes later goes on.
pub fn send(
    store: &Store,
    disk: &Real,
    user: &UserId,
    to: &Destination,
    copied: &dyn Fn(u64),
    stop: &StopSend,
) -> Result<SentUser, SendError> {
    if let Destination::Here(path) = to {
        backup::apart(disk, path)?;
    }
    if !store.user(*user).though_frozen().has_folder()? {
        return Err(SendError::NoSuchUser);
    }
    let mut other = Carrier::start(disk, user, to, copied, stop)?;
    let name = MoveName::of(*uuid::Uuid::new_v4().as_bytes());
    send_to(store, user, &mut other, name, stop)
}

/// Sends a user to this other side, by a move of this name, which no other one has.
///
/// # Errors
/// Those of [`send`].
pub fn send_to(
    store: &Store,
    user: &UserId,
    other: &mut dyn OtherSide,
    mut name: MoveName,
    stop: &StopSend,
) -> Result<SentUser, SendError> {
    let theirs = store.user(*user).though_frozen();
    other.ask("prepare")?;
    let lock = locked(&theirs)?;
    match lock.frozen()? {
        FrozenFile::Absent | FrozenFile::Holds(Frozen::Frozen) => {
            name = match lock.move_name()? {
                Some(earlier) if store.mistakes.made(Mistake::SameMoveAgain) => earlier,
                _ => name,
            };
            lock.name_move(name)?;
        }
        FrozenFile::Holds(Frozen::Gone) => {
            let name = lock.move_name()?.ok_or(SendError::OtherMove)?;
            drop(lock);
            return resume(&theirs, other, name);
        }
        FrozenFile::Holds(Frozen::Incoming) => {
            return Err(SendError::NotHere("it is on its way here"));
        }
        FrozenFile::Holds(Frozen::Ready) => {
            return Err(SendError::NotHere("it came here and is to be thawed first"));
        }
        FrozenFile::Damaged(_) => return Err(SendError::NotHere("its file `frozen` is damaged")),
    }
    drop(lock);
    let mut sending = MovingUser {
        user: theirs,
        other,
        name,
        stop,
        froze: false,
        hastens: store.mistakes.made(Mistake::ReadyBeforeGone),
    };
    let moved = sending.moved();
    if moved.is_err() && sending.froze {
        sending.take_back();
    }
    moved
}

/// Goes on with a move after which the user is gone here.
fn resume(user: &User, other: &mut dyn OtherSide, name: MoveName) -> Result<SentUser, SendError> {
    let said = other.ask(&format!("resume {name}"))?;
    let is = said.first().map_or(&b""[..], Vec::as_slice);
    match is {
        // Whoever wrote that it is gone may have been killed before that was durable.
        b"is incoming" => {
            if !locked(user)?.leave(name)? {
                return Err(SendError::Overtaken);
            }
            other.ask(&format!("ready {name}"))?;
        }
        b"is ready" | b"is served" => {}
        _ => return Err(SendError::OtherMove),
    }
    locked(user)?.empty()?;
    Ok(SentUser {
        frozen: None,
        is_nameless: false,
    })
}

fn locked(user: &User) -> Result<Exclusive, SendError> {
    user.exclusive_blocking()?.ok_or(SendError::NoSuchUser)
}

/// A move that is under way, the user not being gone yet.
struct MovingUser<'a> {
    user: User,
    other: &'a mut dyn OtherSide,
    name: MoveName,
    stop: &'a StopSend,
    /// The user was served until this froze it.
    froze: bool,
    /// By mistake it is ready there first.
    hastens: bool,
}

impl MovingUser<'_> {
    fn moved(&mut self) -> Result<SentUser, SendError> {
        let name = self.name;
        self.other.ask(&format!("begin {name}"))?;
        // While it is served: the bulk, and then all of it compared by content.
        for what in [CopyRound::Bulk, CopyRound::Compared] {
            self.other.copy(what)?;
            self.other.ask("settle")?;
        }
        let since = Instant::now();
        let head = self.freeze()?;
        self.other.copy(CopyRound::Rest)?;
        let said = self.other.ask(&format!("install {name} {head}"))?;
        if !self.stop.pass() {
            return Err(SendError::Stopped);
        }
        if self.hastens {
            self.other.ask(&format!("ready {name}"))?;
        }
        if !locked(&self.user)?.leave(name)? {
            return Err(SendError::Overtaken);
        }
        // From here on it is not served here again, whatever comes.
        self.froze = false;
        if !self.hastens {
            self.other.ask(&format!("ready {name}"))?;
        }
        let frozen = since.elapsed();
        locked(&self.user)?.empty()?;
        Ok(SentUser {
            frozen: Some(frozen),
            is_nameless: said.iter().any(|line| line == b"named"),
        })
    }

    /// Freezes the user, unless it is; HEAD is durable then, and stays.
    fn freeze(&mut self) -> Result<TransactionId, SendError> {
        let lock = locked(&self.user)?;
        let was_served = lock.frozen()? == FrozenFile::Absent;
        if self.stop.is_asked() {
            return Err(SendError::Stopped);
        }
        self.froze = was_served;
        if !lock.freeze_to_send(self.name)? {
            return Err(SendError::Overtaken);
        }
        Ok(lock.head()?.id)
    }

    /// Has the user served here again, where it is frozen by this move still.
    fn take_back(&self) {
        let thawed = locked(&self.user).and_then(|lock| {
            let ours = lock.move_name()? == Some(self.name)
                && lock.frozen()? == FrozenFile::Holds(Frozen::Frozen);
            Ok(match ours {
                true => Some(lock.thaw(false)?),
                false => None,
            })
        });
        match thawed {
            Ok(Some(ThawUser::Thawed)) | Ok(None) => {}
            other => {
                log::error!("the user may be frozen still: `users thaw` ends that ({other:?})")
            }
        }
    }
}
