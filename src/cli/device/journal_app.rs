//! The journal as an application: it keeps no state, and all that was said is said again as it is.

use std::convert::Infallible;

use crate::client::{App, Entry, Rebase, Replica};
use crate::model::TransactionId;

/// An append-only journal. What is confirmed need not be opened for it: there is nothing to take it into.
pub struct Journal<'a>(pub &'a Replica);

impl App for Journal<'_> {
    type Error = Infallible;

    fn position(&self) -> TransactionId {
        self.0.head().map_or(TransactionId::ROOT, |head| head.id)
    }

    fn apply(&mut self, _: &Entry) -> Result<(), Infallible> {
        Ok(())
    }

    fn rewind(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn rebase(&mut self, _: &Entry) -> Result<Rebase, Infallible> {
        Ok(Rebase::Keep)
    }
}
