//! In: what is known of one push while it is under way.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::outcome::Counts;
use super::staging::Staging;
use super::window::Window;
use crate::disk::Place;
use crate::model::{ChunkDigest, ChunkId, Head, TransactionId, UserId};
use crate::store::layout::{Area, Dir, Folder, Thing};
use crate::store::lock::Stamp;
use crate::store::quota::Amount;
use crate::store::user::UserState;
use crate::store::{Error, Result, Store};

/// Directories looked for so far, and whether they are there: nothing is in one that is not, which saves a
/// look at each thing.
#[derive(Default)]
pub(super) struct DirsSeen(HashMap<Dir, bool>);

impl DirsSeen {
    /// Whether the user of this folder has the thing in `area`. Costs a look for each new directory, and one for
    /// the thing where its directory is there.
    pub fn holds(
        &mut self,
        store: &Store,
        folder: &Folder,
        area: Area,
        thing: &Thing,
    ) -> Result<bool> {
        let is_there = |place| Ok::<_, Error>(store.meta_if_there(&place)?.is_some());
        let dir = thing.dir(area);
        let is_dir = match self.0.entry(dir) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(is_there(folder.dir(dir))?),
        };
        Ok(is_dir && is_there(folder.thing(area, thing))?)
    }
}

/// A push under way.
pub(super) struct Intake<'a> {
    pub store: &'a Store,
    pub user: UserId,
    pub state: Arc<UserState>,
    pub folder: Folder,
    /// The folder in which the first lock was taken: if it becomes another, all is lost.
    pub stamp: Option<Stamp>,
    /// HEAD at the beginning.
    pub began_at: Head,
    pub staging: Staging<'a>,
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
    /// The room that members without a name will take when they get one; counted where there are quotas.
    pub expected: Amount,
    /// Directories that hold what is relied on, not synced since.
    pub dirs: BTreeSet<Dir>,
    /// A file in `incoming/` was made young, and not synced since.
    pub touched: bool,
    pub stored: Counts,
    pub existing: Counts,
}

impl Intake<'_> {
    /// Whether there is a file of this name.
    pub(super) fn is_there(&self, place: &Place) -> Result<bool> {
        Ok(self.store.meta_if_there(place)?.is_some())
    }

    /// Refuses a member that there is no room for as soon as it begins, and not when all has come. A file of its
    /// name in `incoming/` takes no more room.
    pub(super) fn foresee_room(&mut self, thing: &Thing, bytes: u64) -> Result<()> {
        let store = self.store;
        // What is there takes no room.
        if !store.has_quotas() || self.is_there(&self.folder.thing(Area::Incoming, thing))? {
            return Ok(());
        }
        self.expected.add(Amount::file(bytes));
        store.foresee(&self.user, self.expected)
    }
}
