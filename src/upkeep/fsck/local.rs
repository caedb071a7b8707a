//! `local` of a device's store: what is pending from it on leads to the chain.

use super::check::Check;
use super::finding::Kind;
use super::pending_listing::{PendingListing, Reach};
use crate::model::TransactionId;
use crate::store::{self, Error, StoreKind};

impl Check<'_> {
    /// The tip of what is pending, if there is one; in the store of a server there never is.
    pub fn local(&self) -> store::Result<Option<TransactionId>> {
        match self.store().options().kind {
            StoreKind::Server => Ok(None),
            StoreKind::Replica => self.store().read_local(&self.folder),
        }
    }

    /// Reports what is wrong with `local`. Nothing is taken away for it: only a person knows what was to be said.
    pub fn tell_local(&self, pending: &PendingListing) {
        let place = self.folder.local();
        if let Err(error) = &pending.local {
            self.trouble(&place, error, Kind::LocalDamaged);
        }
        let what = match (&pending.local, &pending.reach) {
            (Err(Error::Damaged { .. }), _) => {
                self.todo().local = Some(pending.tips());
                return;
            }
            (Ok(Some(tip)), Reach::Broken(at)) if tip == at => {
                format!("it names {tip}, which is neither pending nor on the chain")
            }
            (Ok(Some(tip)), Reach::Broken(at)) => {
                format!(
                    "it names {tip}, which comes after {at}, which is neither pending nor on the chain"
                )
            }
            _ => return,
        };
        self.damage(Kind::LocalDamaged, place, what);
        self.todo().local = Some(pending.tips());
    }

    /// Tells a person what can be done about `local`.
    pub fn explain_local(&self, tips: &[TransactionId]) {
        let tips: Vec<String> = tips.iter().map(TransactionId::to_string).collect();
        let what = match tips.as_slice() {
            [] => "all is left as it is: nothing is pending that leads to the chain".to_owned(),
            tips => format!(
                "all is left as it is: what is pending and leads to the chain ends in {}; write the one that was meant into \
                 this file, with a newline",
                tips.join(", or in ")
            ),
        };
        let place = self.folder.local();
        let why = || Error::Damaged {
            place: place.clone(),
            what: what.clone(),
        };
        self.each(&[()], |()| place.clone(), |_, ()| Err(why()));
    }
}
