//! The replica that a command is about, opened.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::arguments::ReplicaFlags;
use super::home::DeviceHome;
use super::told::{DeviceTrouble, Outcome};
use super::transfer::TransferBar;
use crate::cli::output::date;
use crate::client::{
    Divergence, Error, HttpOptions, HttpRemote, Identity, JournalBody, JournalEntry, Masters,
    Parting, Progress, Remote, Replica, has_entries, say_farewell,
};
use crate::model::{Head, UserId};
use crate::store::layout::DeviceFile;

/// A replica, and what is beside it.
pub struct OpenReplica {
    pub home: DeviceHome,
    pub identity: Identity,
    pub remote: Arc<dyn Remote>,
    pub replica: Replica,
    pub bar: Arc<TransferBar>,
}

impl OpenReplica {
    /// Opens the replica that is meant. Asks no server.
    pub fn of(flags: &ReplicaFlags, dir: Option<&Path>) -> Outcome<Self> {
        let from = match (dir, &flags.at) {
            (Some(dir), Some(at)) => at.join(dir),
            (Some(dir), None) => dir.to_owned(),
            (None, Some(at)) => at.clone(),
            (None, None) => ".".into(),
        };
        Self::in_home(DeviceHome::around(&from)?)
    }

    /// Opens the replica beside these files, after a `rekey` that was broken off was brought to its end.
    pub fn in_home(home: DeviceHome) -> Outcome<Self> {
        if !home.has(DeviceFile::Remote)? {
            let what = format!("the replica in {} is not made yet", home.top.display());
            return Err(DeviceTrouble::failed(what).hint(
                "`mentat-sync init`, or `mentat-sync clone`, was broken off there: run it again",
            ));
        }
        if home.has(DeviceFile::NextRemote)? {
            finish_rekey(&home)?;
        }
        let identity = home.identity(DeviceFile::Remote)?;
        let remote: Arc<dyn Remote> = Arc::from(remote_of(&identity)?);
        let bar = Arc::new(TransferBar::new());
        let replica = Replica::open_with(&home.top, |_| Ok(Arc::clone(&remote)))?
            .with_progress(Arc::clone(&bar) as Arc<dyn Progress>);
        Ok(Self {
            home,
            identity,
            remote,
            replica,
            bar,
        })
    }

    /// Looks whether the server has the store under its new user, after a `rekey`: a new user who sends something is taken for
    /// one who has nothing yet, and the store could not be moved there any more.
    pub fn moved(&self) -> Outcome {
        if !self.home.has(DeviceFile::Moving)? {
            return Ok(());
        }
        if let Some(parted) = self.not_moved()? {
            let trouble = DeviceTrouble::from(Error::from(parted));
            return Err(trouble.hint(
                "this store has a new key: its user is to be moved at the server, as `mentat-sync rekey` said",
            ));
        }
        farewell(&self.home, &self.identity)?;
        self.home.remove(DeviceFile::Moving)
    }

    /// How the server's history under the new user has parted from ours, after a `rekey`: empty also where neither has anything and
    /// other devices said something under the old one. `None` where the store is under the new one.
    pub fn not_moved(&self) -> Outcome<Option<Divergence>> {
        if let Some(parted) = self.replica.diverged()? {
            return Ok(Some(parted));
        }
        if self.replica.head()? != Head::ROOT || self.remote.head()? != Head::ROOT {
            return Ok(None);
        }
        // Last is the one that was left first.
        let Some(old) = left(&self.home, &self.identity)?.pop() else {
            return Ok(None);
        };
        let has_something = has_entries(&*remote_of(&old)?, &old.keyring())?;
        Ok(has_something.then_some(Divergence {
            how: Parting::Empty,
            common: Head::ROOT,
            ours: 0,
            theirs: 0,
        }))
    }

    /// A new entry of this device's, with this in it.
    pub fn entry(&self, note: Option<String>, what: JournalBody) -> Outcome<JournalEntry> {
        entry_of(&self.home, note, what)
    }
}

fn entry_of(home: &DeviceHome, note: Option<String>, what: JournalBody) -> Outcome<JournalEntry> {
    Ok(JournalEntry {
        by: home.device()?,
        at: date(SystemTime::now()),
        note,
        what,
    })
}

/// The way to the server of this identity, which is not asked yet.
pub fn remote_of(identity: &Identity) -> Outcome<Box<dyn Remote>> {
    let options = HttpOptions::of_environment();
    Ok(Box::new(HttpRemote::new(
        &identity.server,
        identity.user,
        options,
    )?))
}

/// Brings a `rekey` to its end, wherever it was broken off: the file `remote.next` is its beginning, and its going the
/// end.
pub fn finish_rekey(home: &DeviceHome) -> Outcome {
    let next = home.identity(DeviceFile::NextRemote)?;
    let before = home.identity(DeviceFile::Remote)?;
    if before.user != next.user {
        // The folder is still the old user's, and what is said is said with the new key.
        let halfway = Identity {
            user: before.user,
            ..next.clone()
        };
        home.set_identity(DeviceFile::Remote, &halfway)?;
        let remote: Arc<dyn Remote> = Arc::from(remote_of(&halfway)?);
        match Replica::open_with(&home.top, |_| Ok(remote)) {
            Ok(replica) => rename(home, replica, &next)?,
            // It has the new user's name already.
            Err(Error::NotThisReplica(_)) => {}
            Err(error) => return Err(error.into()),
        }
        left_users(home, before.user)?;
        home.set_identity(DeviceFile::Remote, &next)?;
    }
    home.remove(DeviceFile::NextRemote)
}

/// Notes, before the others, a user whom the store leaves.
fn left_users(home: &DeviceHome, user: UserId) -> Outcome {
    let before = home.read(DeviceFile::Moving)?.unwrap_or_default();
    let line = format!("{user}\n");
    match before.starts_with(line.as_bytes()) {
        true => Ok(()),
        false => home.write(DeviceFile::Moving, &[line.as_bytes(), &before].concat()),
    }
}

/// The identities of before, for as long as it is not known that the store has moved: the newest first.
fn left(home: &DeviceHome, identity: &Identity) -> Outcome<Vec<Identity>> {
    let left = home.read(DeviceFile::Moving)?.unwrap_or_default();
    let left = String::from_utf8(left).unwrap_or_default();
    let left = left.lines().enumerate().filter_map(|(number, user)| {
        let masters = match &identity.masters {
            Masters::Plain => Masters::Plain,
            Masters::Sealed { old, .. } => Masters::Sealed {
                current: old.get(number)?.clone(),
                old: Vec::new(),
            },
        };
        Some(Identity {
            user: user.parse().ok()?,
            masters,
            ..identity.clone()
        })
    });
    Ok(left.collect())
}

/// Writes the last word under the users whom the store left: who comes there with the old invite is told so. A server that
/// admits no user whom it does not know tells by that.
fn farewell(home: &DeviceHome, identity: &Identity) -> Outcome {
    let entry = entry_of(home, None, JournalBody::Moved)?;
    for old in left(home, identity)? {
        let remote = remote_of(&old)?;
        match say_farewell(&*remote, &old.keyring(), &entry) {
            Err(error @ Error::Refused { .. }) => {
                log::debug!("the last word under the old user is not taken: {error}");
            }
            other => other?,
        }
    }
    Ok(())
}

fn rename(home: &DeviceHome, replica: Replica, next: &Identity) -> Outcome {
    let entry = match &next.masters {
        Masters::Plain => None,
        Masters::Sealed { old, .. } => {
            let entry = entry_of(home, None, JournalBody::Keys(old.clone()))?;
            Some(entry.encode()?)
        }
    };
    // One of a `rekey` before this one, which is pending too, has not all of the old keys.
    let is_said = |body: &[u8]| match (JournalEntry::decode(body), &next.masters) {
        (Some(entry), Masters::Sealed { old, .. }) => {
            matches!(entry.what, JournalBody::Keys(said) if said == *old)
        }
        _ => false,
    };
    let entry = entry.as_ref().map(|entry| entry.as_slice());
    Ok(replica.rekey(&next.user, entry, is_said)?)
}

/// Refuses a directory that has a replica already, or a clone under way. One whose making was broken off has none yet.
pub fn no_replica_yet(top: &Path) -> Outcome {
    if !DeviceHome::is_in(top) {
        return Ok(());
    }
    let home = DeviceHome::open(top)?;
    let is_there = home.has(DeviceFile::Remote)? || home.has(DeviceFile::Cloning)?;
    match is_there {
        true => Err(DeviceTrouble::usage(format!(
            "{} has a replica already",
            top.display()
        ))),
        false => Ok(()),
    }
}
