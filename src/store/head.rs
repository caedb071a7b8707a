//! HEAD: one file with the id of the newest visible transaction, replaced as a whole.

use std::io;
use std::time::SystemTime;

use super::json::{self, Start};
use super::layout::{Dir, Folder};
use super::lock::UserLock;
use super::log;
use super::meet::{Standing, Visit};
use super::mistake::Mistake;
use super::user::{Doubted, UserState, damaged};
use super::{Error, Result, Store};
use crate::disk::{self, Handle, Identity, Meta, Mode, Place, Target};
use crate::model::{Head, TransactionId, UserId, limits};

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

/// What a user's HEAD was seen to be, and in which folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    generation: u64,
    pub head: Head,
}

impl Seen {
    /// Whether this is news to whoever has seen that: another folder's, or further on in the same.
    pub fn is_news_after(&self, that: &Seen) -> bool {
        self.generation != that.generation || self.head.seq > that.head.seq
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

impl UserState {
    /// A sync of this HEAD failed.
    fn doubt(&self, visit: &Visit, error: &Error, head: Doubted) {
        let mut known = self.known();
        if known.generation == visit.generation && error.is_lost_write() {
            known.doubted = Some(head);
        }
    }

    /// HEAD was replaced, and whether that is durable nobody knows: this process writes nothing more for
    /// the user, and tells this HEAD only as [`Store::vouched_head`] says.
    pub fn doubt_for_good(&self, head: Option<Doubted>) {
        let mut known = self.known();
        known.read_only = true;
        known.doubted = head.or(known.doubted);
    }

    /// This process replaced HEAD, under the exclusive lock, and it is durable. Replacing it changed the
    /// folder, whose name stayed as durable as it was.
    pub fn head_moved(&self, head: Vouched, folder: &Meta) {
        let mut known = self.known();
        if known.standing != Standing::Here(Identity::of(folder)) {
            return;
        }
        if known.named.is_some() {
            known.changed = Some(folder.changed);
            known.named = known.changed;
        }
        if (known.head).is_none_or(|newest| newest.head.seq <= head.head.seq) {
            known.head = Some(head);
        }
    }
}

impl Store {
    /// The user's head, durable; the root for a user who has no folder.
    pub fn head(&self, user: &UserId) -> Result<Head> {
        self.look(user).map(|seen| seen.head)
    }

    /// The same, to be compared with what is seen later.
    pub fn look(&self, user: &UserId) -> Result<Seen> {
        let state = self.users.state(user);
        let (generation, head) = self.vouch_for_head(&state, &Folder::of(user))?;
        match head {
            None if !self.options.new_users => Err(Error::UnknownUser),
            head => Ok(Seen {
                generation,
                head: head.unwrap_or(Head::ROOT),
            }),
        }
    }

    /// The newest head that this process has seen durable, without a look at the disk; `None` where it
    /// has seen none of the folder that the user has now.
    pub fn seen(&self, user: &UserId) -> Option<Seen> {
        let state = self.users.state(user);
        let known = state.known();
        let head = match known.standing {
            Standing::Absent if self.options.new_users => Head::ROOT,
            Standing::Here(_) => known.head?.head,
            _ => return None,
        };
        Some(Seen {
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
    /// same words ([`Store::renew_head`]). Once another process has replaced it, which is a write of its
    /// own, it is read like any other.
    pub(super) fn vouched_head(&self, state: &UserState, folder: &Folder) -> Result<Option<Head>> {
        self.vouch_for_head(state, folder).map(|(_, head)| head)
    }

    /// The same, and of which of the folders that there were it is ([`Known::generation`]).
    fn vouch_for_head(&self, state: &UserState, folder: &Folder) -> Result<(u64, Option<Head>)> {
        for _ in 0..limits::LOOKS {
            let Some(visit) = self.visit(state, folder)? else {
                let known = state.known();
                if known.standing == Standing::Absent {
                    return Ok((known.generation, None));
                }
                continue;
            };
            if let Some(head) = self.look_at_head(state, folder, &visit)? {
                return Ok((visit.generation, Some(head)));
            }
        }
        Err(Error::Busy)
    }

    /// One look; `None` where something changed meanwhile.
    fn look_at_head(
        &self,
        state: &UserState,
        folder: &Folder,
        visit: &Visit,
    ) -> Result<Option<Head>> {
        self.meet_folder(state, folder, visit)?;
        let Some((file, id)) = self.read_head(folder)? else {
            return Ok(None);
        };
        let meta = file.opened()?;
        let (vouched, is_named, doubted) = {
            let known = state.known();
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
            return self.renew_head(state, visit);
        }
        let Some(head) = self.numbered(folder, id)? else {
            return Ok(None);
        };
        if !self.mistakes.made(Mistake::NoReadSync) {
            let synced = self.sync_dirs(state, folder, [Dir::User], vec![Target::File(file)]);
            synced.inspect_err(|error| state.doubt(visit, error, (meta.inode, id)))?;
        }
        self.tell(state, folder, visit, Vouched::new(&meta, head))
    }

    /// The number of the transaction that HEAD names; `None` where HEAD does not name it any more.
    fn numbered(&self, folder: &Folder, id: TransactionId) -> Result<Option<Head>> {
        if id == TransactionId::ROOT {
            return Ok(Some(Head::ROOT));
        }
        let place = folder.transaction(id);
        match self.start_of(&place, id)? {
            Some(start) => Ok(Some(Head { id, seq: start.seq })),
            // Perhaps the user was deleted between the two looks: then HEAD is gone too, or another.
            None if !matches!(self.read_head(folder)?, Some((_, now)) if now == id) => Ok(None),
            None => Err(damaged(&place, "HEAD names it, and it is not there")),
        }
    }

    /// Remembers a HEAD that is durable now, and gives it back, unless a newer one was seen meanwhile.
    fn tell(
        &self,
        state: &UserState,
        folder: &Folder,
        visit: &Visit,
        vouched: Vouched,
    ) -> Result<Option<Head>> {
        // The directory that was synced is the one that the path led to.
        let still = match self.disk.meta(folder.place()) {
            Ok(meta) => Identity::of(&meta) == visit.identity,
            Err(absent) if absent.is_absent() => false,
            Err(other) => return Err(other.into()),
        };
        if !still {
            return Ok(None);
        }
        let mut known = state.known();
        if known.generation != visit.generation {
            return Ok(None);
        }
        let Head { id, seq } = vouched.head;
        let is_behind = |newest: &Vouched| {
            (newest.head.seq, newest.head.id) != (seq, id) && newest.head.seq >= seq
        };
        if known.head.as_ref().is_some_and(is_behind) && !self.mistakes.made(Mistake::ToldOld) {
            drop(known);
            return self.unless_put_back(folder, &vouched);
        }
        known.head = Some(vouched);
        Ok(Some(vouched.head))
    }

    /// Something older than what was told was read. Where it still is HEAD, no server put it there.
    fn unless_put_back(&self, folder: &Folder, older: &Vouched) -> Result<Option<Head>> {
        match self.disk.meta(&folder.head()) {
            Ok(meta) if older.is_of(&meta, older.head.id) => Err(damaged(
                &folder.head(),
                "it was put back behind what was told of it already; if that was on purpose, restart the server",
            )),
            Ok(_) => Ok(None),
            Err(absent) if absent.is_absent() => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// The same for whoever has the user's lock.
    pub(super) fn vouched_head_under(&self, lock: &UserLock) -> Result<Option<Head>> {
        let is_doubted = lock.state.known().doubted.is_some();
        if is_doubted
            && lock.mode == Mode::Exclusive
            && let Some(visit) = self.visit(&lock.state, &lock.folder)?
        {
            self.renew_head_under(lock, &visit)?;
        }
        self.vouched_head(&lock.state, &lock.folder)
    }

    /// Writes HEAD anew as it is, where a sync of the present one failed, and tells it once that is durable:
    /// what it reaches was durable before. Needs the exclusive lock for that, and hardly waits for whoever
    /// has it, since HEAD may be another one then.
    fn renew_head(&self, state: &UserState, visit: &Visit) -> Result<Option<Head>> {
        match self.lock_if_free(&state.user)? {
            Some(lock) => self.renew_head_under(&lock, visit),
            None => {
                // Some milliseconds over all looks: whoever replaces HEAD lets it go soon.
                self.disk.pause(limits::LOCK_PAUSE.0);
                Ok(None)
            }
        }
    }

    fn renew_head_under(&self, lock: &UserLock, visit: &Visit) -> Result<Option<Head>> {
        let (state, folder) = (&*lock.state, &lock.folder);
        let Some((file, id)) = self.read_head(folder)? else {
            return Ok(None);
        };
        let Some(head) = self.numbered(folder, id)? else {
            return Ok(None);
        };
        if state.known().doubted != Some((file.opened()?.inode, id)) {
            return Ok(None);
        }
        let mut temporary = self.temporary(state, folder)?;
        (temporary.file).append(format!("{id}\n").as_bytes())?;
        self.disk.sync(&[Target::File(temporary.file.clone())])?;
        temporary.replace(&folder.head())?;
        let meta = self.disk.meta(&folder.head())?;
        let synced = self.sync_dirs(state, folder, [Dir::User], Vec::new());
        synced.inspect_err(|error| state.doubt(visit, error, (meta.inode, id)))?;
        state.known().doubted = None;
        self.tell(state, folder, visit, Vouched::new(&meta, head))
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
        let Some(log) = self.log_to_read(folder)? else {
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

    /// `log`; `None` where there is none.
    pub(crate) fn open_log(&self, folder: &Folder) -> Result<Option<Handle>> {
        match self.disk.open(&folder.log()) {
            Ok(log) => Ok(Some(log)),
            Err(absent) if absent.is_absent() => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// The same, where one that cannot be read is as good as none: a new one takes its place, or the chain
    /// is read by walking.
    pub(super) fn log_to_read(&self, folder: &Folder) -> Result<Option<Handle>> {
        match self.open_log(folder) {
            Err(Error::Disk(error)) if is_no_log(&error) => Ok(None),
            other => other,
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
