//! Users who are frozen, or on the way from box to box: the files `frozen` and `move` of a folder, and who may take which
//! step. `tests/model/move.py` is the order of the steps.
//!
//! Whoever serves looks for `frozen` before it says or takes anything: a read once it has read, a write once it has the
//! lock. Both files change under the exclusive lock alone, as HEAD does: synced, renamed over, and the folder synced.

use std::fmt;

use uuid::Uuid;

use super::layout::{self, Dir, Folder, Recognised};
use super::lock::Exclusive;
use super::mistake::Mistake;
use super::{Error, Result, Store, User};
use crate::disk::{IfThere, Kind, Place, Target};
use crate::model::limits;

/// Why a user is not served from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frozen {
    /// For a while, or while the rest is sent elsewhere. All is here.
    Frozen,
    /// Sent elsewhere, for good.
    Gone,
    /// On the way here: not all of it may be here, and it may never come.
    Incoming,
    /// All of it came, and it is gone where it came from.
    Ready,
}

impl Frozen {
    /// Whether what is here is nobody's, so that of this user a copy has the word alone.
    pub(crate) fn is_elsewhere(self) -> bool {
        matches!(self, Frozen::Gone | Frozen::Incoming)
    }

    /// Each of them once.
    pub const ALL: [Frozen; 4] = [
        Frozen::Frozen,
        Frozen::Gone,
        Frozen::Incoming,
        Frozen::Ready,
    ];

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Frozen::Frozen => "frozen",
            Frozen::Gone => "gone",
            Frozen::Incoming => "incoming",
            Frozen::Ready => "ready",
        }
    }
}

impl fmt::Display for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The file `frozen` of a user, as it was found. Whatever is there by that name, the user is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrozenFile {
    Absent,
    Holds(Frozen),
    /// None of the four words, or no file; with the reason.
    Damaged(String),
}

impl FrozenFile {
    /// The word for a copy, which keeps the state: one that cannot be read is frozen there.
    pub(crate) fn for_a_copy(&self) -> Option<Frozen> {
        match self {
            FrozenFile::Absent => None,
            FrozenFile::Holds(frozen) => Some(*frozen),
            FrozenFile::Damaged(_) => Some(Frozen::Frozen),
        }
    }
}

/// How a freeze ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FreezeUser {
    Frozen,
    /// The user was not served before: as the file says.
    Already(FrozenFile),
}

/// How a thaw ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThawUser {
    Thawed,
    NotFrozen,
    /// Another box may serve the user, or not all is here: only by force.
    Refused(FrozenFile),
    /// The folder has no HEAD, so that nothing could be served.
    Empty,
}

/// The name of one try to move a user, in `move` on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveName(Uuid);

impl MoveName {
    /// The name with these random bytes.
    pub fn of(random: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(random).into_uuid())
    }
}

impl fmt::Display for MoveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl User {
    /// The user, for whoever works on a frozen one as well: its locks are to be had, and nothing is
    /// [`Error::Moving`].
    pub fn though_frozen(&self) -> Self {
        Self {
            though_frozen: true,
            ..self.clone()
        }
    }

    /// Whether something by the name of `frozen` is in the folder. Costs one look.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn is_frozen(&self) -> Result<bool> {
        let place = self.folder.frozen();
        let look = self.store.disk.meta_by_path(&place);
        // The path may have failed for what is above the store.
        match look.if_there() {
            Ok(there) => Ok(there.is_some()),
            Err(_) => Ok(self.store.meta_if_there(&place)?.is_some()),
        }
    }

    /// Refuses what is asked of a user who is frozen.
    ///
    /// # Errors
    /// [`Error::Moving`]
    pub fn check_serves(&self) -> Result<()> {
        match !self.though_frozen && self.is_frozen()? {
            true => Err(Error::Moving),
            false => Ok(()),
        }
    }

    /// Reads the file `frozen`.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn frozen(&self) -> Result<FrozenFile> {
        self.store.read_frozen(&self.folder)
    }

    /// The move that the folder takes part in, or came by; `None` where `move` names none.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn move_name(&self) -> Result<Option<MoveName>> {
        let text = self.store.read_word(&self.folder.moving())?;
        Ok(text.and_then(|text| text.trim_end().parse().ok().map(MoveName)))
    }
}

impl Store {
    /// Reads the file `frozen` of a folder.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn read_frozen(&self, folder: &Folder) -> Result<FrozenFile> {
        let place = folder.frozen();
        match self.meta_if_there(&place)? {
            None => return Ok(FrozenFile::Absent),
            Some(meta) if meta.kind != Kind::File => {
                return Ok(FrozenFile::Damaged("it is no regular file".to_owned()));
            }
            Some(_) => {}
        }
        let Some(text) = self.read_word(&place)? else {
            return Ok(FrozenFile::Absent);
        };
        let word = text.strip_suffix('\n').unwrap_or(&text);
        let known = Frozen::ALL.into_iter().find(|one| one.as_str() == word);
        Ok(match known {
            Some(frozen) => FrozenFile::Holds(frozen),
            None => FrozenFile::Damaged("it says none of the words that it may".to_owned()),
        })
    }

    /// The first [`limits::SIGN_BYTES`] of a small file; `None` where there is none.
    fn read_word(&self, place: &Place) -> Result<Option<String>> {
        let Some(file) = self.disk.open(place).if_there()? else {
            return Ok(None);
        };
        let mut bytes = vec![0; limits::SIGN_BYTES];
        let read = file.read_at(0, &mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes[..read]).into_owned()))
    }
}

impl Exclusive {
    /// Freezes the user, HEAD being durable: from now on no server tells or takes anything of it. Durable then.
    ///
    /// # Errors
    /// Those of the disk: if only the last sync fails the user is frozen, and may not be after a power cut.
    pub fn freeze(&self) -> Result<FreezeUser> {
        match self.frozen()? {
            FrozenFile::Absent => {}
            // Whoever wrote it may have been killed before its sync.
            other => {
                self.sync_dirs([Dir::User], Vec::new())?;
                return Ok(FreezeUser::Already(other));
            }
        }
        self.head_under_lock()?;
        // A send that goes on after a thaw would take this one for its own.
        self.remove_word(&self.folder.moving())?;
        self.set_frozen(Frozen::Frozen)?;
        Ok(FreezeUser::Frozen)
    }

    /// Has the user served from here. Durable then. Who is gone or incoming is thawed by force alone.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn thaw(&self, force: bool) -> Result<ThawUser> {
        let file = self.frozen()?;
        let came = file == FrozenFile::Holds(Frozen::Ready);
        match &file {
            FrozenFile::Absent => return Ok(ThawUser::NotFrozen),
            FrozenFile::Holds(Frozen::Frozen | Frozen::Ready) => {}
            _ if !force && !self.store.mistakes.made(Mistake::ThawedAnyway) => {
                return Ok(ThawUser::Refused(file));
            }
            _ => {}
        }
        match self.store.read_head(&self.folder) {
            Err(Error::Damaged { .. }) => return Ok(ThawUser::Empty),
            other => other?.map(drop),
        };
        // Where it came from it is known by that name until nothing is left there. Otherwise the move is off, and that
        // comes first.
        if !came {
            self.remove_word(&self.folder.moving())?;
        }
        self.remove_word(&self.folder.frozen())?;
        self.sync_dirs([Dir::User], Vec::new())?;
        self.store.forget_tally(&self.id);
        Ok(ThawUser::Thawed)
    }

    /// Names the move that is about to begin, where nothing of it is known elsewhere yet. Durable then.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn name_move(&self, name: MoveName) -> Result<()> {
        self.replace_word(&self.folder.moving(), &name.to_string())?;
        self.sync_dirs([Dir::User], Vec::new())
    }

    /// Freezes the user for the move of this name; returns `false` where another one began meanwhile, or the user is
    /// not to be sent any more. Durable then.
    ///
    /// # Errors
    /// Those of [`Exclusive::freeze`].
    pub fn freeze_to_send(&self, name: MoveName) -> Result<bool> {
        if self.move_name()? != Some(name) {
            return Ok(false);
        }
        match self.frozen()? {
            FrozenFile::Absent => {
                self.head_under_lock()?;
                self.set_frozen(Frozen::Frozen)?;
            }
            FrozenFile::Holds(Frozen::Frozen) => self.sync_dirs([Dir::User], Vec::new())?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Notes that the user is gone, by the move of this name, the other side having all of it; returns `false` where
    /// the user was thawed meanwhile, or another move began. Durable then, also where it was noted before.
    ///
    /// # Errors
    /// Those of the disk: nobody knows then which it is after a power cut, and nothing may stand on it.
    pub fn leave(&self, name: MoveName) -> Result<bool> {
        let wrong = self.move_name()? != Some(name);
        match self.frozen()? {
            _ if wrong && !self.store.mistakes.made(Mistake::NoMoveName) => Ok(false),
            FrozenFile::Holds(Frozen::Frozen) => {
                self.set_frozen(Frozen::Gone)?;
                Ok(true)
            }
            FrozenFile::Holds(Frozen::Gone) => {
                if !self.store.mistakes.made(Mistake::NoGoneResync) {
                    self.sync_dirs([Dir::User], Vec::new())?;
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Removes all that a user had who is gone, but what says so; HEAD first, so that nothing that is left is taken for
    /// whole.
    ///
    /// # Errors
    /// Those of the disk; the rest stays, and goes the next time.
    pub fn empty(&self) -> Result<()> {
        if self.frozen()? != FrozenFile::Holds(Frozen::Gone) {
            return Ok(());
        }
        self.remove_word(&self.folder.head())?;
        self.sync_dirs([Dir::User], Vec::new())?;
        let mut inner = Vec::new();
        let listed = self.store.disk.list(self.folder.place(), &mut |entry| {
            let known = layout::recognise(Dir::User, &entry.name);
            if !matches!(known, Some(Recognised::Move | Recognised::Lock)) {
                inner.push(entry);
            }
            true
        });
        listed?;
        for entry in inner {
            let place = self.folder.place().join(&entry.name);
            match entry.kind {
                Kind::Directory => self.store.remove_tree(&place)?,
                _ => self.remove_word(&place)?,
            }
        }
        self.state.known().forget();
        self.store.forget_tally(&self.id);
        Ok(())
    }

    fn set_frozen(&self, frozen: Frozen) -> Result<()> {
        self.replace_word(&self.folder.frozen(), frozen.as_str())?;
        let mistake = match frozen {
            Frozen::Gone => Mistake::NoGoneSync,
            _ => Mistake::NoFreezeSync,
        };
        match self.store.mistakes.made(mistake) {
            true => Ok(()),
            false => self.sync_dirs([Dir::User], Vec::new()),
        }
    }

    fn replace_word(&self, place: &Place, word: &str) -> Result<()> {
        let mut temporary = self.temporary()?;
        temporary.file.append(format!("{word}\n").as_bytes())?;
        let file = Target::File(temporary.file.clone());
        self.store.disk.sync(&[file])?;
        Ok(temporary.replace(place)?)
    }

    fn remove_word(&self, place: &Place) -> Result<()> {
        Ok(self.store.disk.remove_file(place).if_there().map(drop)?)
    }
}
