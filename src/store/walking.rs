//! Steps down the chain, parent by parent.

use super::error::damaged;
use super::{Error, Result, User, log};
use crate::disk::Room;
use crate::model::{Head, TransactionId};

impl User {
    /// The parent of one on the chain: the next below it. It need not be there itself.
    pub(super) fn below(&self, here: Head) -> Result<Head> {
        let place = self.folder.transaction(here.id);
        let start = self
            .store
            .start_of(&place, here.id)?
            .ok_or_else(|| damaged(&place, "the chain needs it, and it is not there"))?;
        if start.seq != here.seq {
            let what = format!("its number should be {}", here.seq);
            return Err(damaged(&place, what));
        }
        if here.seq == 1 && start.parent != TransactionId::ROOT {
            return Err(damaged(&place, "the chain does not end at the root"));
        }
        Ok(Head {
            id: start.parent,
            seq: here.seq - 1,
        })
    }

    /// Whether `log` could not be rebuilt up to this head a moment ago, and nothing is another way now that
    /// can be told at once.
    pub(super) fn failed_to_mend(&self, head: Head) -> bool {
        let recent = self
            .store
            .walks
            .recent(&self.folder, head, self.store.disk.elapsed());
        recent.is_some_and(|recent| {
            !recent.walk.is_broken || recent.walk.why_broken(&|here| self.below(here)).is_some()
        })
    }

    /// Why it is not worth a try to rebuild `log` under the lock: the chain is broken, or the disk refused
    /// after a long walk, a moment ago.
    pub(super) fn why_not_mend(&self, head: Head) -> Option<Error> {
        let recent = self
            .store
            .walks
            .recent(&self.folder, head, self.store.disk.elapsed())?;
        let failed = recent.failed.filter(|why| {
            let needed = log::LINE * head.seq;
            let has_room = |room: Room| room.free_bytes > needed && room.free_files > 0;
            !(why.is_no_space() && self.store.disk.room().is_ok_and(has_room))
        });
        recent.walk.why_broken(&|here| self.below(here)).or(failed)
    }
}
