//! Removals of single files from `incoming/`, and what is forgotten and counted with them.

use super::items::Swept;
use super::layout::{Area, Dir};
use super::lock::Exclusive;
use super::state::Counted;
use super::{Result, Store, User};
use crate::disk::{IfThere, Meta, Place};
use crate::model::TransactionId;
use uuid::Uuid;

impl Exclusive {
    pub(super) fn drop_pending(&self, id: TransactionId, place: &Place) -> Result<Swept> {
        let swept = self.store.sweep(place)?;
        let mut known = self.state.known();
        known.pending.remove(&id);
        known.counted = Counted::default();
        Ok(swept)
    }

    pub(super) fn note_removed(&self, swept: Swept, meta: &Meta) {
        // With a second name it is still there, as what an advance that came to nothing has linked.
        if swept == Swept::Gone && meta.links == 1 {
            self.removed(meta.bytes);
        }
    }
}

impl User {
    /// Makes it durable that these pending transactions are gone, before what they named goes.
    pub fn sync_swept_transactions(&self) -> Result<()> {
        self.sync_dirs([Dir::Pending], Vec::new())
    }

    /// Makes it durable that these aliases are gone, before what they stand for goes.
    pub fn sync_swept_aliases(&self, aliases: &[Uuid]) -> Result<()> {
        let dirs = (aliases.iter()).map(|alias| Dir::of_alias(Area::Incoming, alias));
        self.sync_dirs(dirs, Vec::new())
    }
}

impl Store {
    /// Removes a file.
    pub(super) fn sweep(&self, place: &Place) -> Result<Swept> {
        Ok(match self.disk.remove_file(place).if_there()? {
            Some(()) => Swept::Gone,
            None => Swept::NotThere,
        })
    }
}
