//! In: what is known of one push while it is under way.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::outcome::Counts;
use super::staging::Staging;
use super::window::Window;
use crate::disk::{Meta, Place};
use crate::model::{ChunkDigest, ChunkId, Head, TransactionId};
use crate::store::layout::{Area, Dir, Thing};
use crate::store::state::LockFile;
use crate::store::tally::Amount;
use crate::store::to_sync::ToSync;
use crate::store::{Result, User};

/// Directories looked for so far, and whether they are there: nothing is in one that is not, which saves a
/// look at each thing.
#[derive(Default)]
pub(super) struct DirsSeen(HashMap<Dir, bool>);

impl DirsSeen {
    /// Whether the user of this folder has the thing in `area`. Costs a look for each new directory, and one for
    /// the thing where its directory is there.
    pub fn holds(&mut self, user: &User, area: Area, thing: &Thing) -> Result<bool> {
        Ok(self.look(user, area, thing)?.is_some())
    }

    /// Looks at the thing in `area`, at the same cost.
    pub fn look(&mut self, user: &User, area: Area, thing: &Thing) -> Result<Option<Meta>> {
        let meta = |place| user.store.meta_if_there(&place);
        let dir = thing.dir(area);
        let is_dir = match self.0.entry(dir) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(meta(user.folder.dir(dir))?.is_some()),
        };
        match is_dir {
            true => meta(user.folder.thing(area, thing)),
            false => Ok(None),
        }
    }
}

/// A push under way.
pub(super) struct Intake {
    pub user: User,
    /// The folder in which the first lock was taken: if it becomes another, all is lost.
    pub stamp: Option<LockFile>,
    /// HEAD at the beginning.
    pub began_at: Head,
    pub staging: Staging,
    /// The chunks that the transactions name, for as long as the bundle may be a fast-forward (see `fast_forward`).
    pub named: Option<HashSet<ChunkDigest>>,
    /// Chunks and aliases that came with the push and that the chain names, though it has them no more.
    pub lost: HashSet<ChunkId>,
    /// Chunks and aliases that came last.
    pub recent: Window,
    /// The numbers of the first [`Intake::numbered`] transactions that came, for those that do not say theirs.
    pub numbers: HashMap<TransactionId, u64>,
    pub numbered: usize,
    /// The user's directories, as they were when they were looked for first.
    pub seen: DirsSeen,
    /// A committed chunk's file was of another length than the one that came, so that it is to be replaced.
    pub met_damage: bool,
    /// The room that members without a name will take when they get one; counted where there are quotas.
    pub expected: Amount,
    /// Names and dates that are relied on, not synced since.
    pub to_sync: ToSync,
    pub stored: Counts,
    pub existing: Counts,
}

impl Intake {
    /// Whether there is a file of this name.
    pub(super) fn is_there(&self, place: &Place) -> Result<bool> {
        Ok(self.user.store.meta_if_there(place)?.is_some())
    }

    /// Refuses a member that there is no room for as soon as it begins, and not when all has come. A file of its
    /// name in `incoming/` takes no more room.
    pub(super) fn foresee_room(&mut self, thing: &Thing, bytes: u64) -> Result<()> {
        // What is there takes no room.
        if !self.user.has_quotas()
            || self.is_there(&self.user.folder.thing(Area::Incoming, thing))?
        {
            return Ok(());
        }
        self.expected.add(Amount::file(bytes));
        self.user.foresee(self.expected)
    }
}
