//! The journal as an application: it keeps no state, and all that was said is said again as it is.

use std::convert::Infallible;

use crate::client::{App, Entry, Rebase};
use crate::model::TransactionId;

/// An append-only journal.
pub struct Journal {
    at: TransactionId,
}

impl Journal {
    /// The journal that has taken in all up to this transaction.
    pub fn at(id: TransactionId) -> Self {
        Self { at: id }
    }
}

impl App for Journal {
    type Error = Infallible;

    fn position(&self) -> TransactionId {
        self.at
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), Infallible> {
        if !entry.pending {
            self.at = entry.id;
        }
        Ok(())
    }

    fn rewind(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn rebase(&mut self, _: &Entry) -> Result<Rebase, Infallible> {
        Ok(Rebase::Keep)
    }
}
