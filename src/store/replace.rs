//! A damaged chunk's file is replaced by good bytes that came for it.

use super::Result;
use super::layout::{self, Area, Thing};
use super::lock::Locked;
use super::publish::Unnamed;
use super::tally::Amount;
use super::to_sync::ToSync;
use crate::disk::Meta;

impl Locked {
    /// Puts a chunk's file in the place of one whose length is another: the bytes that just came were hashed, so
    /// it is the one on the disk that is damaged. That goes to `lost+found/`, under a name that marks nothing;
    /// `to_sync` makes both names durable. At each moment the name is there.
    ///
    /// The shared lock is enough: whoever replaces this file at the same time has the same bytes, as durable as
    /// these, so that it does not matter whose come last, and nobody else changes it without the exclusive lock.
    /// A reader who has the damaged file open, and a snapshot that has linked it, keep what they have: no file is
    /// changed in place.
    pub(super) fn replace_damaged(
        &self,
        thing: &Thing,
        area: Area,
        file: &mut dyn Unnamed,
        to_sync: &mut ToSync,
    ) -> Result<()> {
        let place = self.folder.thing(area, thing);
        let lost = thing.lost_dir();
        let aside = layout::spare(&self.folder.dir(lost), thing, self.store.disk.random());
        self.in_dir(lost, || self.store.disk.link(&place, &aside))?;
        let meta: Option<Meta> = file.meta()?;
        file.replace(&place)?;
        // The damaged one stays, and is counted where it is now.
        self.changed(Amount::file(file.bytes()?));
        log::warn!(
            "user {}: {place:?} had the wrong length: it is {aside:?} now, and the chunk that was uploaded has its place",
            self.id.short()
        );
        to_sync.dir(lost);
        to_sync.dir(thing.dir(area));
        if let Some(meta) = meta {
            to_sync.vouches(area, thing, meta);
        }
        Ok(())
    }
}
