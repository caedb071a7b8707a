//! Users who are frozen: what their folders may lack, and a file `frozen` that says nothing.

use super::check::Check;
use super::finding::Kind;
use crate::disk::IfThere;
use crate::store::{Frozen, FrozenFile};

impl Check<'_> {
    /// Whether the folder has no HEAD and need not have one: its user is gone, or has not come yet. A file `frozen` that
    /// says none of its words is damage, since no server serves the user, and nobody knows why.
    pub fn may_lack_head(&self) -> bool {
        let place = self.folder.frozen();
        let frozen = self.seen(&place, self.store().user(self.user).frozen());
        match frozen {
            Some(FrozenFile::Damaged(why)) => {
                let what = format!(
                    "{why}, so nobody serves the user; `mentat-sync users thaw --force` ends that, where no other box has the user"
                );
                self.damage(Kind::Frozen, place, what);
                false
            }
            Some(FrozenFile::Holds(Frozen::Gone | Frozen::Incoming)) => {
                let head = self.folder.head();
                let found = self.seen(&head, self.store().disk().meta(&head).if_there());
                found.is_some_and(|head| head.is_none())
            }
            _ => false,
        }
    }
}
