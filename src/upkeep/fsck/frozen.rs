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
        let frozen = self.store().user(self.user).frozen();
        if let Ok(FrozenFile::Damaged(why)) = &frozen {
            let what = format!(
                "{why}, so nobody serves the user; `mentat-sync users thaw --force` ends that, where no other box has the user"
            );
            self.damage(Kind::Frozen, place, what);
            return false;
        }
        let head = self.store().disk().meta(&self.folder.head()).if_there();
        let known = matches!(
            frozen,
            Ok(FrozenFile::Holds(Frozen::Gone | Frozen::Incoming))
        );
        known && matches!(head, Ok(None))
    }
}
