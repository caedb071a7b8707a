//! The order of the chain, as a device sees to it before any key comes in.

use super::error::{Error, Forgery};
use crate::model::{Head, Transaction};

/// Sees that a transaction follows this one, and has the id of its contents.
///
/// # Errors
/// [`Error::Forged`].
pub(super) fn follows(after: Head, transaction: &Transaction) -> Result<(), Error> {
    let forged = |what| {
        Err(Error::Forged {
            transaction: transaction.id,
            what,
        })
    };
    if transaction.parent != after.id {
        return forged(Forgery::Order);
    }
    if Some(transaction.seq) != after.seq.checked_add(1) {
        return forged(Forgery::Seq);
    }
    if transaction.content_id() != Some(transaction.id) {
        return forged(Forgery::Id);
    }
    Ok(())
}
