//! The folders that have been copied, told apart by identity rather than by the user's name.

use std::collections::HashMap;
use std::sync::Arc;

use super::obstacle::Obstacle;
use crate::disk::{DirectoryIdentity, Real};
use crate::model::{TransactionId, UserId, limits};
use crate::store::layout::Folder;

/// The outcome of copying a folder.
pub(super) enum Fate {
    /// The copy, all but HEAD, is at this place.
    Copied {
        at: Folder,
        head: Option<TransactionId>,
        files: u64,
    },
    /// The folder is damaged or cannot be read, and in what way.
    LeftOut(Obstacle),
}

/// A folder that was met.
pub(super) struct Visited {
    pub fate: Fate,
    /// The user that the folder was of when it was seen last, and the round of that look.
    pub user: UserId,
    round: u32,
    /// Kept open where nothing else tells it from a later one with its inode.
    _open: Option<Arc<Real>>,
}

/// All folders that were met.
#[derive(Default)]
pub(super) struct Roll(HashMap<DirectoryIdentity, Visited>);

impl Roll {
    /// Whether this folder was met before. Remembers that it is called so now.
    pub fn knows(&mut self, identity: &DirectoryIdentity, user: &UserId, round: u32) -> bool {
        match self.0.get_mut(identity) {
            Some(met) => {
                (met.user, met.round) = (*user, round);
                true
            }
            None => false,
        }
    }

    /// Takes a folder in that was not met before.
    pub fn add(
        &mut self,
        (from, identity): (Arc<Real>, DirectoryIdentity),
        user: UserId,
        round: u32,
        fate: Fate,
    ) {
        let open = identity.born().is_none().then_some(from);
        let met = Visited {
            fate,
            user,
            round,
            _open: open,
        };
        self.0.insert(identity, met);
    }

    /// Takes out those whose name another one has by now, and who have not been seen for some rounds: they went.
    /// Says whether nobody is left who shares a name.
    pub fn settle(&mut self, round: u32, gone: &mut Vec<Visited>) -> bool {
        let mut last: HashMap<UserId, (u32, u32)> = HashMap::new();
        for met in self.0.values() {
            let (newest, many) = last.entry(met.user).or_default();
            *newest = met.round.max(*newest);
            *many += 1;
        }
        let mut settled = true;
        let shared = self.0.extract_if(|_, met| {
            let (newest, many) = last[&met.user];
            settled &= many == 1;
            met.round < newest && round - met.round >= limits::SNAPSHOT_UNSEEN
        });
        gone.extend(shared.map(|(_, met)| met));
        settled
    }

    /// All of them.
    pub fn into_all(self) -> Vec<Visited> {
        self.0.into_values().collect()
    }
}
