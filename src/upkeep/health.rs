//! Whether all is well with a store, as far as can be told without reading it all: what `fsck` finds by hashing is not
//! looked for.

use std::time::SystemTime;

use super::fsck::is_foreign;
use super::gc;
use crate::disk::{Disk, IfThere, Kind, Owner, Room};
use crate::model::UserId;
use crate::store::layout::{self, Dir, Folder};
use crate::store::{self, Frozen, FrozenFile, Result, Store};

/// The bits of its mode without which the owner of a directory cannot use it.
const ENTER: u32 = 0o700;

/// The state of a store at a look.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The number of users, damaged ones included.
    pub users: u64,
    /// The users whom no server can serve, each with what is the matter.
    pub damaged: Vec<(UserId, String)>,
    /// The users who are not served from here until somebody thaws them, or a send goes on: frozen, on their way here, or ready. Those
    /// who are gone are not among them.
    pub frozen: u64,
    /// The matters that concern no single user.
    pub trouble: Vec<String>,
    /// How much room there is.
    pub room: Room,
    /// When garbage was last collected, of any user.
    pub last_gc: Option<SystemTime>,
    /// When the last copy came to its end.
    pub last_copy: Option<SystemTime>,
    /// When HEAD of any user last moved.
    pub last_write: Option<SystemTime>,
}

/// Looks at a store. Costs some ten looks a user, none of which grows with what the user has. Reads only, and takes
/// no lock.
///
/// # Errors
/// The users cannot be listed, or the disk cannot be asked.
pub fn condition(store: &Store) -> Result<Condition> {
    let disk = store.disk();
    let owner = disk.meta(&layout::top())?.owner;
    let mut trouble = Vec::new();
    for place in [layout::users(), layout::tmp(), layout::trash()] {
        if let Some(meta) = disk.meta(&place).if_there()?
            && is_foreign(&meta, owner)
        {
            let what = place.as_str();
            trouble.push(format!("{what}/ is not for uid {}, who serves", owner.user));
        }
    }
    let names = store.names_of_users()?;
    let users = (names.folders.len() + names.others.len()) as u64;
    let no_folder = |user| (user, "no folder has the name".to_owned());
    let mut damaged: Vec<_> = names.others.into_iter().map(no_folder).collect();
    let mut last_write = None;
    let mut frozen = 0;
    for id in names.folders {
        let user = store.user(id);
        let looked = fault(disk, &Folder::of(&id), owner).and_then(|fault| {
            match user.frozen()? {
                FrozenFile::Absent => {}
                FrozenFile::Damaged(why) => return Ok(Some(format!("frozen: {why}"))),
                // Nothing of it may be here, or not all yet.
                FrozenFile::Holds(Frozen::Gone) => return Ok(fault),
                FrozenFile::Holds(Frozen::Incoming) => {
                    frozen += 1;
                    return Ok(fault);
                }
                FrozenFile::Holds(Frozen::Frozen | Frozen::Ready) => frozen += 1,
            }
            // Reads HEAD, and the beginning of what it names.
            user.glance_at_head()?;
            last_write = last_write.max(user.last_write()?);
            Ok(fault)
        });
        let what = match looked {
            Ok(None) => continue,
            Ok(Some(what)) => what,
            Err(error) => error.to_string(),
        };
        // Not where the user was deleted or renamed since.
        if !matches!(user.has_folder(), Ok(false)) {
            damaged.push((id, what));
        }
    }
    damaged.sort_unstable_by_key(|(id, _)| *id);
    Ok(Condition {
        users,
        damaged,
        frozen,
        trouble,
        room: disk.room()?,
        last_gc: gc::last_run(store)?,
        last_copy: store.last_copy()?,
        last_write,
    })
}

/// The first thing in a user's folder that is of another kind than a store has there, or that the owner of the data
/// directory cannot use.
fn fault(disk: &dyn Disk, folder: &Folder, owner: Owner) -> Result<Option<String>> {
    let directories = [Dir::User, Dir::Incoming, Dir::Pending, Dir::Tmp]
        .into_iter()
        .map(|dir| (folder.dir(dir), Kind::Directory));
    let files = [folder.head(), folder.lock(), folder.gate()].map(|place| (place, Kind::File));
    for (place, kind) in directories.chain(files) {
        let Some(meta) = disk.meta(&place).if_there().map_err(store::Error::from)? else {
            continue;
        };
        let what = if meta.kind != kind {
            "is of another kind than it should be"
        } else if is_foreign(&meta, owner) {
            "belongs to somebody else, and the server cannot use it"
        } else if kind == Kind::Directory
            && meta.owner.user == owner.user
            && meta.mode & ENTER != ENTER
        {
            "has a mode with which its owner cannot use it"
        } else {
            continue;
        };
        return Ok(Some(format!("{} {what}", place.as_str())));
    }
    Ok(None)
}
