//! HEAD: one file with the id of the newest visible transaction, replaced as a whole.

use std::io;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::json::{self, Start};
use super::layout::{Dir, Folder};
use super::lock::UserLock;
use super::log;
use super::mistake::Mistake;
use super::user::{UserState, damaged};
use super::{Error, Result, Store};
use crate::disk::{self, Handle, Meta, Place, Target};
use crate::model::{Head, TransactionId, UserId};

/// A HEAD that this process has synced: the very file, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vouched {
    inode: u64,
    changed: SystemTime,
    pub head: Head,
}

impl Vouched {
    pub fn new(meta: &Meta, head: Head) -> Self {
        Self {
            inode: meta.inode,
            changed: meta.changed,
            head,
        }
    }

    fn is_of(&self, meta: &Meta, id: TransactionId) -> bool {
        (self.inode, self.changed, self.head.id) == (meta.inode, meta.changed, id)
    }
}

/// Where a transaction stands, as HEAD and `log` tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    OnChain(u64),
    /// Not there, or left behind by an advance that did not come to its end.
    OffChain,
    /// `log` cannot tell: it must be rebuilt.
    LogIsWrong,
}

impl Store {
    /// The user's head, durable; the root for a user who has no folder.
    pub fn head(&self, user: &UserId) -> Result<Head> {
        let state = self.users.state(user);
        let folder = Folder::of(user);
        match self.vouched_head(&state, &folder)? {
            Some(head) => Ok(head),
            None if self.options.new_users => Ok(Head::ROOT),
            None => Err(Error::UnknownUser),
        }
    }

    /// Reads HEAD, and syncs it unless this process has synced that very file. `None` where there is
    /// no folder; a folder without HEAD is an unfinished copy, and damaged.
    pub(super) fn vouched_head(&self, state: &UserState, folder: &Folder) -> Result<Option<Head>> {
        if state.read_only.load(Ordering::Acquire) {
            // The file may show a HEAD that is not durable: what was answered last still is.
            let last = state.known().head.map(|vouched| vouched.head);
            return last.map(Some).ok_or(Error::ReadOnly);
        }
        let Some((file, id)) = self.read_head(folder)? else {
            return Ok(None);
        };
        let meta = file.opened()?;
        let known = state.known().head;
        if let Some(vouched) = known.filter(|vouched| vouched.is_of(&meta, id)) {
            return Ok(Some(vouched.head));
        }
        let seq = if id == TransactionId::ROOT {
            0
        } else {
            let place = folder.transaction(id);
            match self.start_of(&place, id)? {
                Some(start) => start.seq,
                // Perhaps the user was deleted between the two looks: then HEAD is gone too, or another.
                None if !matches!(self.read_head(folder)?, Some((_, now)) if now == id) => {
                    return self.vouched_head(state, folder);
                }
                None => return Err(damaged(&place, "HEAD names it, and it is not there")),
            }
        };
        let head = Head { id, seq };
        if !self.mistakes.made(Mistake::NoReadSync) {
            self.sync_dirs(state, folder, [Dir::User], vec![Target::File(file)])?;
        }
        state.known().head = Some(Vouched::new(&meta, head));
        Ok(Some(head))
    }

    /// Whether the folder takes uploads: an unfinished copy does not, since what is put there may go with
    /// the next try to copy.
    pub(super) fn check_takes(&self, lock: &UserLock) -> Result<()> {
        lock.state.check_writable()?;
        if !lock.state.known().complete {
            self.read_head(&lock.folder)?.ok_or(Error::UserGone)?;
            lock.state.known().complete = true;
        }
        Ok(())
    }

    pub(crate) fn read_head(&self, folder: &Folder) -> Result<Option<(Handle, TransactionId)>> {
        let place = folder.head();
        // Once more, for a folder that was renamed in between the two looks.
        for _ in 0..2 {
            match self.disk.open(&place) {
                Ok(file) => {
                    let mut buffer = [0; 38];
                    let read = file.read_at(0, &mut buffer)?;
                    let id = std::str::from_utf8(&buffer[..read])
                        .ok()
                        .and_then(|text| text.strip_suffix('\n')?.parse().ok())
                        .ok_or_else(|| damaged(&place, "not one id and a newline"))?;
                    return Ok(Some((file, id)));
                }
                Err(absent) if absent.is_absent() => {
                    if !self.is_known(folder)? {
                        return Ok(None);
                    }
                }
                Err(other) => return Err(other.into()),
            }
        }
        Err(damaged(&place, "missing: an unfinished copy"))
    }

    /// The start of a transaction's file; `None` where there is no file. It must be of this id.
    pub(crate) fn start_of(&self, place: &Place, id: TransactionId) -> Result<Option<Start>> {
        Ok(self.open_transaction(place, id)?.map(|(_, start)| start))
    }

    /// Opens a transaction's file and reads its start.
    pub(super) fn open_transaction(
        &self,
        place: &Place,
        id: TransactionId,
    ) -> Result<Option<(Handle, Start)>> {
        let file = match self.disk.open(place) {
            Ok(file) => file,
            Err(absent) if absent.is_absent() => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let mut buffer = [0; json::PREFIX];
        let read = file.read_at(0, &mut buffer)?;
        match json::parse_start(&buffer[..read]) {
            Some(start) if start.id == id && start.seq > 0 => Ok(Some((file, start))),
            _ => Err(damaged(place, "not the transaction of its name")),
        }
    }

    /// Whether the transaction is on the chain that ends at `head`, and where. Costs two looks.
    pub(crate) fn position(
        &self,
        folder: &Folder,
        head: Head,
        id: TransactionId,
    ) -> Result<Position> {
        if id == TransactionId::ROOT {
            return Ok(Position::OnChain(0));
        }
        if id == head.id {
            return Ok(Position::OnChain(head.seq));
        }
        match self.start_of(&folder.transaction(id), id)? {
            Some(start) => self.position_at(folder, head, id, start.seq),
            None => Ok(Position::OffChain),
        }
    }

    /// The same for a transaction whose number, if it is on the chain, is known.
    pub(super) fn position_at(
        &self,
        folder: &Folder,
        head: Head,
        id: TransactionId,
        seq: u64,
    ) -> Result<Position> {
        if seq >= head.seq {
            return Ok(if id == head.id {
                Position::OnChain(seq)
            } else {
                Position::OffChain
            });
        }
        match self.position_in_log(folder, head, id, seq)? {
            Position::LogIsWrong => self.by_walking(folder, head, id, seq),
            found => Ok(found),
        }
    }

    /// The same for one below HEAD, as `log` tells it.
    fn position_in_log(
        &self,
        folder: &Folder,
        head: Head,
        id: TransactionId,
        seq: u64,
    ) -> Result<Position> {
        let Some(log) = self.open_log(folder)? else {
            return Ok(Position::LogIsWrong);
        };
        if log::look_up(&log, head.seq)? != Some(head.id) {
            return Ok(Position::LogIsWrong);
        }
        let Some(on_chain) = log::look_up(&log, seq)? else {
            return Ok(Position::LogIsWrong);
        };
        if on_chain == id {
            return Ok(Position::OnChain(seq));
        }
        // Somebody else stands there. Believe it only of one who is what the log says.
        match self.start_of(&folder.transaction(on_chain), on_chain)? {
            Some(start) if start.seq == seq => Ok(Position::OffChain),
            _ => Ok(Position::LogIsWrong),
        }
    }

    /// `log`; `None` where there is none, or nothing that can be read as one: it is wrong then.
    pub(crate) fn open_log(&self, folder: &Folder) -> Result<Option<Handle>> {
        match self.disk.open(&folder.log()) {
            Ok(log) => Ok(Some(log)),
            Err(absent) if absent.is_absent() => Ok(None),
            Err(other) if is_no_log(&other) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}

/// No regular file, or one that is not for us to read: a new one takes its place.
fn is_no_log(error: &disk::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied
    )
}
