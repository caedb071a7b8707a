//! One user's folder, checked from HEAD to the last leftover.

use std::sync::atomic::Ordering;

use super::access::unread;
use super::check::Check;
use super::finding::Finding;
use super::run::Run;
use crate::disk::{DirectoryIdentity, IfThere};
use crate::model::UserId;
use crate::store::layout::Folder;

impl Run<'_> {
    /// Checks one user.
    pub(super) fn user(&self, user: UserId) {
        let folder = Folder::of(&user);
        let identity = match self.store.disk().meta(folder.place()).if_there() {
            Ok(Some(meta)) => DirectoryIdentity::of(&meta),
            // Deleted or renamed since it was listed.
            Ok(None) => return,
            Err(error) => {
                let (kind, severity) = unread(&error);
                return self.found(&Finding {
                    kind,
                    severity,
                    user: Some(user),
                    place: folder.place().clone(),
                    detail: error.source.to_string(),
                });
            }
        };
        let mut check = Check::new(self, user, folder, identity);
        if check.may_lack_head() {
            check.read_files();
            check.tell_noted();
            self.tally.users.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Before HEAD: what it stands on is on the chain then, whatever is put meanwhile.
        check.read_checkpoint();
        check.read_chain();
        *check.reached.lock().expect("nobody panics with this") = check.chain.head;
        check.read_files();
        check.read_pending();
        check.tell_content_ids();
        check.check_checkpoint();
        check.settle();
        check.tell_noted();
        if self.options.repair && !check.has_gone() {
            check.repair();
        }
        if !check.has_gone() {
            check.tell_newest_sound();
            self.tally.users.fetch_add(1, Ordering::Relaxed);
        }
    }
}
