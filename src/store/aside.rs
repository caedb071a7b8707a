//! Transactions that HEAD may reach though they were never pending.

use super::json::Start;
use crate::disk::Place;
use crate::model::TransactionId;

/// Transactions that an advance may reach though they have no name in `incoming/`: a push's, which are
/// durable and well-formed, and stand in a folder of its own.
pub(super) trait Aside {
    /// Where one of them is, and what its file starts with.
    fn find(&self, id: TransactionId) -> Option<(Start, Place)>;
}

/// None.
pub(super) struct Nothing;

impl Aside for Nothing {
    fn find(&self, _: TransactionId) -> Option<(Start, Place)> {
        None
    }
}
