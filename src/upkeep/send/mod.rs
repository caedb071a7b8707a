//! A user sent to another data directory, here or on another machine, with nothing lost that was acknowledged.
//!
//! The steps, and what may stop between them, are those of `tests/model/move.py`: the move gets its name here, then there
//! (`incoming`); all is copied while the user is served; the user is frozen, and the rest is copied; what came is made durable there,
//! HEAD last; the user is `gone` here, durably; then `ready` there; then what is here goes. A send that was stopped is taken up by
//! sending again: before `gone` as a new try, which finds what was copied; after it as the same move, known by its name on both sides.
//!
//! rsync writes into a directory of this try alone, in `incoming/tmp` of the folder there: one that goes on after its send was killed is in
//! nobody's way.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::Command;
use std::time::{Duration, Instant};

use super::backup::{self, Destination, Ran, SSH, Session};
use crate::disk::Real;
use crate::model::{TransactionId, UserId, limits};
use crate::store::layout::Folder;
use crate::store::{self, Exclusive, Frozen, FrozenFile, MoveName, Store, ThawUser, User};

/// The program that does there what is to be done there, see [`Session`].
const PROGRAM: &str = include_str!("there.sh");

/// Rules for what stays here: the words of this side, locks, and temporary files.
const STAYS: [&str; 5] = [
    "- /frozen",
    "- /move",
    "- /lock",
    "- /gate",
    "- /incoming/tmp/*",
];

/// Shelves of files that never change under their names, each of which was compared before the user was frozen.
const IMMUTABLE: [&str; 6] = [
    "- /chunks/**",
    "- /aliases/**",
    "- /transactions/**",
    "- /checkpoint/**",
    "- /incoming/chunks/**",
    "- /incoming/aliases/**",
];

/// A user who is ready on the other side.
#[derive(Debug)]
pub struct SentUser {
    /// How long nobody served the user; `None` where an earlier send had come so far.
    pub frozen: Option<Duration>,
    /// The name of the user that another one has there, so that it was left out.
    pub is_nameless: bool,
}

/// Why a user was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    There(#[from] backup::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("there is no such user")]
    NoSuchUser,
    /// The folder is not here to be sent, and why.
    #[error("{0}")]
    NotHere(&'static str),
    /// The user was thawed by somebody meanwhile, or another move began.
    #[error("it was thawed here meanwhile, or is moved elsewhere: nothing was changed here")]
    Overtaken,
    #[error("it was sent elsewhere, by another move than the one that is known there")]
    OtherMove,
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
) -> Result<SentUser, SendError> {
    if let Destination::Here(path) = to {
        backup::apart(disk, path)?;
    }
    let theirs = store.user(*user).though_frozen();
    if !theirs.has_folder()? {
        return Err(SendError::NoSuchUser);
    }
    let id = user.to_string();
    let variables = [("USER_ID", id.as_str())];
    let mut session = Session::start(to, disk.gives_to(), PROGRAM, &variables)?;
    session.ask("prepare\n")?;
    let name = MoveName::of(*uuid::Uuid::new_v4().as_bytes());
    let lock = locked(&theirs)?;
    match lock.frozen()? {
        FrozenFile::Absent | FrozenFile::Holds(Frozen::Frozen) => lock.name_move(name)?,
        FrozenFile::Holds(Frozen::Gone) => {
            let name = lock.move_name()?.ok_or(SendError::OtherMove)?;
            drop(lock);
            return resume(&theirs, &mut session, name);
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
    let source = store_path(disk, user)?;
    let mut sending = MovingUser {
        user: theirs,
        session,
        name,
        source,
        to,
        into: OsString::new(),
        known: Vec::new(),
        copied,
        froze: false,
    };
    let moved = sending.moved();
    if moved.is_err() && sending.froze {
        sending.take_back();
    }
    moved
}

/// Goes on with a move after which the user is gone here.
fn resume(user: &User, session: &mut Session, name: MoveName) -> Result<SentUser, SendError> {
    let said = session.ask(&format!("resume {name}\n"))?;
    let is = said.first().map_or(&b""[..], Vec::as_slice);
    match is {
        // Whoever wrote that it is gone may have been killed before that was durable.
        b"is incoming" => {
            if !locked(user)?.leave(name)? {
                return Err(SendError::Overtaken);
            }
            session.ask(&format!("ready {name}\n"))?;
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

/// The path of the user's folder, for rsync.
fn store_path(disk: &Real, user: &UserId) -> Result<OsString, SendError> {
    use crate::disk::Disk;
    let path = disk.path(Folder::of(user).place());
    let path = path.ok_or(SendError::NotHere("the data directory has no path"))?;
    let mut path = std::path::absolute(&path).unwrap_or(path).into_os_string();
    path.push("/");
    Ok(path)
}

/// A move that is under way, the user not being gone yet.
struct MovingUser<'a> {
    user: User,
    session: Session,
    name: MoveName,
    /// The user's folder, with a slash at the end.
    source: OsString,
    to: &'a Destination,
    /// The directory there that the copy goes into, and those where parts of it may be.
    into: OsString,
    known: Vec<OsString>,
    copied: &'a dyn Fn(u64),
    /// The user was served until this froze it.
    froze: bool,
}

impl MovingUser<'_> {
    fn moved(&mut self) -> Result<SentUser, SendError> {
        let name = self.name;
        for line in self.session.ask(&format!("begin {name}\n"))? {
            if let Some(path) = line.strip_prefix(b"into ") {
                self.into = OsString::from_vec(path.to_vec());
            } else if let Some(path) = line.strip_prefix(b"known ") {
                self.known.push(OsString::from_vec(path.to_vec()));
            }
        }
        // While it is served: the bulk, and then all of it compared by content.
        let heads = ["- /HEAD", "- /CHECKPOINT"];
        let _ = self.rsync(&[], &heads, &self.known)?;
        self.session.ask("settle\n")?;
        let _ = self.rsync(&["--checksum"], &heads, &[])?;
        self.session.ask("settle\n")?;
        let since = Instant::now();
        let head = self.freeze()?;
        self.rest()?;
        let said = self.session.ask(&format!("install {name} {head}\n"))?;
        if !locked(&self.user)?.leave(name)? {
            return Err(SendError::Overtaken);
        }
        // From here on it is not served here again, whatever comes.
        self.froze = false;
        self.session.ask(&format!("ready {name}\n"))?;
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
        self.froze = was_served;
        if !lock.freeze_to_send(self.name)? {
            return Err(SendError::Overtaken);
        }
        Ok(lock.head()?.id)
    }

    /// Copies what came since: what never changes by its time, in nanoseconds, and its length; all else by its content.
    fn rest(&self) -> Result<(), SendError> {
        for _ in 0..limits::BACKUP_TRIES {
            let first = self.rsync(&[], &["- /HEAD", "- /CHECKPOINT"], &[])?;
            let then = self.rsync(&["--checksum"], &IMMUTABLE, &[])?;
            if matches!((first, then), (Ran::Whole, Ran::Whole)) {
                return Ok(());
            }
        }
        let words = "not all of the user's files can be read, or some go all the time";
        Err(backup::Error::Rsync(words.to_owned()).into())
    }

    /// One run of rsync. What is taken from the known directories is taken by length and time, also in the place of what was
    /// compared: so that is for the first run alone.
    fn rsync(&self, how: &[&str], without: &[&str], known: &[OsString]) -> Result<Ran, SendError> {
        let mut command = Command::new("rsync");
        command.args([
            "-rlt",
            "--modify-window=-1",
            "--delete",
            "--chmod=D0700,F0600",
        ]);
        command.arg("--out-format=%l").args(how);
        let filters = STAYS.iter().chain(without);
        command.args(filters.map(|rule| format!("--filter={rule}")));
        for known in known {
            let mut link = OsString::from("--link-dest=");
            link.push(known);
            command.arg(link);
        }
        if let Destination::There { .. } = self.to {
            command.arg("-e").arg(SSH.join(" "));
        }
        let mut into = self.into.clone();
        into.push("/");
        command.arg(&self.source).arg(self.to.for_rsync(&into));
        let mut complaints = String::new();
        let ran = backup::carry_out(command, Vec::new(), self.copied, &mut complaints)?;
        if matches!(ran, Ran::Partly) {
            return Err(backup::Error::Rsync(complaints.trim_end().to_owned()).into());
        }
        Ok(ran)
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
