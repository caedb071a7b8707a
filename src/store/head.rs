//! HEAD as it is told: read, synced before it is told for the first time, and never older than one told before.

use super::error::damaged;
use super::layout::Dir;
use super::lock::{Exclusive, Locked};
use super::mistake::Mistake;
use super::state::{DurableHead, FolderSeen, Visit};
use super::{Error, Result, User};
use crate::disk::{DirectoryIdentity, Target};
use crate::model::{Head, TransactionId, limits};
/// A user's HEAD as it was seen, and in which folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenHead {
    generation: u64,
    pub head: Head,
}

impl SeenHead {
    /// Whether this is news to whoever has seen that: another folder's, or further on in the same.
    pub fn is_news_after(&self, that: &SeenHead) -> bool {
        self.generation != that.generation || self.head.seq > that.head.seq
    }
}

impl User {
    /// The user's head, durable; the root for a user who has no folder.
    pub fn head(&self) -> Result<Head> {
        self.look().map(|seen| seen.head)
    }

    /// The user's head, durable, to be compared with one that is seen later.
    ///
    /// # Errors
    /// [`Error::Moving`] where the user is frozen.
    pub fn look(&self) -> Result<SeenHead> {
        let seen = self.vouch_for_head();
        // After the head was read: until then it moved nowhere else.
        self.check_serves()?;
        let (generation, head) = seen?;
        match head {
            Some(head) => Ok(SeenHead { generation, head }),
            None => self.may_be_unknown().map(|()| SeenHead {
                generation,
                head: Head::ROOT,
            }),
        }
    }

    /// The newest head that this process has seen durable, without a look at the disk; `None` where it
    /// has seen none of the folder that the user has now.
    pub fn seen(&self) -> Option<SeenHead> {
        let known = self.state.known();
        let head = match known.standing {
            FolderSeen::Absent if self.may_be_unknown().is_ok() => Head::ROOT,
            FolderSeen::Here(_) => known.head?.head,
            _ => return None,
        };
        Some(SeenHead {
            generation: known.generation,
            head,
        })
    }

    /// Reads HEAD, and syncs it unless this process has synced that very file. `None` where there is
    /// no folder; a folder without HEAD is an unfinished copy, and damaged.
    ///
    /// What is told never goes back: a HEAD that was read, and is older than one that this process has seen
    /// of the same folder when it is about to be told, is not told, but the disk looked at anew. And so it
    /// is where the folder has become another meanwhile.
    ///
    /// Where a sync of HEAD failed here (after its replacement, or before it was told), that file is not told
    /// for what any later sync of it says: the system reports a write that was lost once. Others may
    /// have told of it all the same, so what was told before would go back. It is written anew, with the
    /// same words ([`User::renew_head`]). Once another process has replaced it, which is a write of its
    /// own, it is read like any other.
    pub(super) fn vouched_head(&self) -> Result<Option<Head>> {
        self.vouch_for_head().map(|(_, head)| head)
    }

    /// HEAD as [`User::vouched_head`] tells it, and the number of the folder that it is of ([`Remembered::generation`](super::state::Remembered::generation)).
    fn vouch_for_head(&self) -> Result<(u64, Option<Head>)> {
        for _ in 0..limits::LOOKS {
            let Some(visit) = self.visit()? else {
                let known = self.state.known();
                if known.standing == FolderSeen::Absent {
                    return Ok((known.generation, None));
                }
                continue;
            };
            if let Some(head) = self.look_at_head(&visit)? {
                return Ok((visit.generation, Some(head)));
            }
        }
        Err(Error::Busy)
    }

    /// One look; `None` where something changed meanwhile.
    fn look_at_head(&self, visit: &Visit) -> Result<Option<Head>> {
        self.meet_folder(visit)?;
        let Some((file, id)) = self.store.read_head(&self.folder)? else {
            return Ok(None);
        };
        let meta = file.opened()?;
        let (vouched, is_named, doubted) = {
            let known = self.state.known();
            if known.generation != visit.generation {
                return Ok(None);
            }
            (known.head, known.is_named(), known.doubted)
        };
        let same = vouched.filter(|vouched| vouched.is_of(&meta, id));
        if let Some(vouched) = same.filter(|_| is_named) {
            return Ok(Some(vouched.head));
        }
        if doubted == Some((meta.inode, id)) {
            return self.renew_head(visit);
        }
        let Some(head) = self.numbered(id)? else {
            return Ok(None);
        };
        if !self.store.mistakes.made(Mistake::NoReadSync) {
            let synced = self.sync_dirs([Dir::User], vec![Target::File(file)]);
            synced.inspect_err(|error| self.state.doubt(visit, error, (meta.inode, id)))?;
        }
        self.tell(visit, DurableHead::new(&meta, head))
    }

    /// The number of the transaction that HEAD names; `None` where HEAD does not name it any more.
    fn numbered(&self, id: TransactionId) -> Result<Option<Head>> {
        if id == TransactionId::ROOT {
            return Ok(Some(Head::ROOT));
        }
        let place = self.folder.transaction(id);
        match self.store.start_of(&place, id)? {
            Some(start) => Ok(Some(Head { id, seq: start.seq })),
            // Perhaps the user was deleted between the two looks: then HEAD is gone too, or another.
            None if !matches!(self.store.read_head(&self.folder)?, Some((_, now)) if now == id) => {
                Ok(None)
            }
            None => Err(damaged(&place, "HEAD names it, and it is not there")),
        }
    }

    /// Remembers a HEAD that is durable now, and gives it back, unless a newer one was seen meanwhile.
    fn tell(&self, visit: &Visit, vouched: DurableHead) -> Result<Option<Head>> {
        // The directory that was synced is the one that the path led to.
        let still = match self.store.disk.meta(self.folder.place()) {
            Ok(meta) => DirectoryIdentity::of(&meta) == visit.identity,
            Err(absent) if absent.is_absent() => false,
            Err(other) => return Err(other.into()),
        };
        if !still {
            return Ok(None);
        }
        let mut known = self.state.known();
        if known.generation != visit.generation {
            return Ok(None);
        }
        let Head { id, seq } = vouched.head;
        let is_behind = |newest: &DurableHead| {
            (newest.head.seq, newest.head.id) != (seq, id) && newest.head.seq >= seq
        };
        if known.head.as_ref().is_some_and(is_behind) && !self.store.mistakes.made(Mistake::ToldOld)
        {
            drop(known);
            return self.unless_put_back(&vouched);
        }
        known.head = Some(vouched);
        Ok(Some(vouched.head))
    }

    /// Refuses a HEAD that is older than one told before. Where it still is HEAD, no server put it there.
    fn unless_put_back(&self, older: &DurableHead) -> Result<Option<Head>> {
        match self.store.disk.meta(&self.folder.head()) {
            Ok(meta) if older.is_of(&meta, older.head.id) => Err(damaged(
                &self.folder.head(),
                "it was put back behind what was told of it already; if that was on purpose, restart the server",
            )),
            Ok(_) => Ok(None),
            Err(absent) if absent.is_absent() => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// Has HEAD written anew as it is, where a sync of the present one failed, and tells it once that is durable:
    /// what it reaches was durable before. Takes the exclusive lock for that, and hardly waits for whoever
    /// has it, since HEAD may be another one then.
    fn renew_head(&self, visit: &Visit) -> Result<Option<Head>> {
        match self.exclusive_now() {
            Some(Ok(lock)) => lock.renew_head_now(visit),
            Some(Err(error)) if !matches!(error, Error::UserGone) => Err(error),
            _ => {
                // Some milliseconds over all looks: whoever replaces HEAD lets it go soon.
                self.store.disk.pause(limits::LOCK_PAUSE.0);
                Ok(None)
            }
        }
    }
}

impl Exclusive {
    /// HEAD, as [`User::vouched_head`] tells it; where a sync of it failed it is written anew at once.
    pub(super) fn head_under_lock(&self) -> Result<Option<Head>> {
        let is_doubted = self.state.known().doubted.is_some();
        if is_doubted && let Some(visit) = self.visit()? {
            self.renew_head_now(&visit)?;
        }
        self.vouched_head()
    }

    fn renew_head_now(&self, visit: &Visit) -> Result<Option<Head>> {
        let Some((file, id)) = self.store.read_head(&self.folder)? else {
            return Ok(None);
        };
        let Some(head) = self.numbered(id)? else {
            return Ok(None);
        };
        if self.state.known().doubted != Some((file.opened()?.inode, id)) {
            return Ok(None);
        }
        let mut temporary = self.temporary()?;
        (temporary.file).append(format!("{id}\n").as_bytes())?;
        self.store
            .disk
            .sync(&[Target::File(temporary.file.clone())])?;
        temporary.replace(&self.folder.head())?;
        let meta = self.store.disk.meta(&self.folder.head())?;
        let synced = self.sync_dirs([Dir::User], Vec::new());
        synced.inspect_err(|error| self.state.doubt(visit, error, (meta.inode, id)))?;
        self.state.known().doubted = None;
        self.tell(visit, DurableHead::new(&meta, head))
    }
}

impl Locked {
    /// Whether the folder takes uploads: an unfinished copy does not, since what is put there may go with
    /// the next try to copy.
    pub(super) fn check_takes(&self) -> Result<()> {
        self.state.check_writable()?;
        if !self.state.known().complete {
            self.store.read_head(&self.folder)?.ok_or(Error::UserGone)?;
            self.state.known().complete = true;
        }
        Ok(())
    }
}
