//! Ids of version 8, which a device of ours makes of what its transaction says (CLIENT, section 4).
//!
//! To the server they are ids like any other, and another's client may make such ids in a way of its own: so it is damage that
//! one does not fit only where another one of the same user does, or in a device's own store.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::disk::Place;
use crate::model::{Transaction, TransactionId, limits};

/// The ids of version 8 of a user's transactions, as far as they were read.
#[derive(Default)]
pub(super) struct ContentIds {
    /// Ids that are those of their transactions' content.
    fit: AtomicU64,
    misfits: Mutex<Misfits>,
    /// Ids that have been reported as damage.
    wrong: Mutex<BTreeSet<TransactionId>>,
}

/// The ids that are not.
#[derive(Default)]
pub(super) struct Misfits {
    pub number: u64,
    /// The transactions of the first of them, and what their ids would be.
    pub first: Vec<(TransactionId, Place, Option<TransactionId>)>,
}

impl ContentIds {
    /// Looks at a transaction that was read from here.
    pub fn note(&self, transaction: &Transaction, place: &Place) {
        if !transaction.id.is_version_8() {
            return;
        }
        let expected = transaction.content_id();
        if expected == Some(transaction.id) {
            self.fit.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut misfits = self.misfits();
        misfits.number += 1;
        if misfits.first.len() < limits::FSCK_MENDED {
            (misfits.first).push((transaction.id, place.clone(), expected));
        }
    }

    /// Forgets what was noted, for transactions that are read again.
    pub fn forget(&self) {
        self.fit.store(0, Ordering::Relaxed);
        *self.misfits() = Misfits::default();
    }

    /// Takes note that this one has been reported as damage.
    pub fn told(&self, id: TransactionId) {
        self.wrong().insert(id);
    }

    /// Whether any id was seen that is that of its transaction's content.
    pub fn any_fits(&self) -> bool {
        self.fit.load(Ordering::Relaxed) > 0
    }

    /// The ids that are not, as far as they are known; they are forgotten.
    pub fn take_misfits(&self) -> Misfits {
        std::mem::take(&mut *self.misfits())
    }

    /// Whether it has been reported that this id is not that of its transaction's content.
    pub fn is_wrong(&self, id: TransactionId) -> bool {
        self.wrong().contains(&id)
    }

    /// Whether any has been.
    pub fn any_is_wrong(&self) -> bool {
        !self.wrong().is_empty()
    }

    fn misfits(&self) -> MutexGuard<'_, Misfits> {
        self.misfits.lock().expect("nobody panics with this")
    }

    fn wrong(&self) -> MutexGuard<'_, BTreeSet<TransactionId>> {
        self.wrong.lock().expect("nobody panics with this")
    }
}
