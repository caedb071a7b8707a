//! Transactions by the first digits of their ids, and a store that gets another user.

use std::collections::BTreeSet;

use super::Replica;
use super::say::broken;
use crate::client::error::{Error, Result};
use crate::model::{TransactionId, UserId};
use crate::store::RenameUser;

/// Ids that are read from the log at a time.
const READ_TOGETHER: usize = 4096;

impl Replica {
    /// The transactions, on the chain or pending, whose ids begin with these digits in lower case, hyphens left out; where
    /// there is none, those that a rebase replaced and whose ids began so. Costs a look at all ids.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn ids_beginning(&self, digits: &str) -> Result<Vec<TransactionId>> {
        let begins = |id: &TransactionId| hex::encode(id.as_bytes()).starts_with(digits);
        let user = &self.user;
        let mut found = BTreeSet::new();
        let listing = user.mending_log(|| user.listing(TransactionId::ROOT, u64::MAX))?;
        if let Some(mut listing) = listing {
            loop {
                let ids = listing.read(READ_TOGETHER)?;
                if ids.is_empty() {
                    break;
                }
                found.extend(ids.into_iter().filter(begins));
            }
        }
        found.extend(self.pending()?.ids.iter().copied().filter(begins));
        if found.is_empty() {
            let renamed = user.renamed()?.into_iter().map(|(old, _)| old);
            found.extend(renamed.filter(begins));
        }
        Ok(found.into_iter().collect())
    }

    /// The folder of the store gets the new user's id, after an entry with the old keys was said under the new ones: durable
    /// when it returns. The replica is opened with the new keys and the old user. Interrupted, it may be called again: an entry
    /// that is pending already, as `is_said` knows it, is not said twice.
    ///
    /// # Errors
    /// [`Error::NotThisReplica`] where the new user is here already; those of a commit and of the disk.
    pub fn rekey(
        self,
        to: &UserId,
        entry: Option<&[u8]>,
        is_said: impl Fn(&[u8]) -> bool,
    ) -> Result<()> {
        let _lock = self.sync_lock()?;
        if let Some(entry) = entry {
            let mut last = None;
            for pending in self.entries(self.head()?.id) {
                last = Some(pending?.body);
            }
            if !last.is_some_and(|last| is_said(&last)) {
                self.commit(entry, &[])?;
            }
        }
        match self.exclusive()?.rename(to)? {
            RenameUser::Renamed => Ok(()),
            RenameUser::Taken => Err(Error::NotThisReplica(
                "the new user is here already".to_owned(),
            )),
            RenameUser::NoSuchUser => Err(broken("the user's folder went".to_owned())),
        }
    }
}
