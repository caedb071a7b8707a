//! Chunks and their aliases: looked up, taken in, given their names.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::incoming::Temporary;
use super::layout::{Area, Dir, Folder};
use super::lock::UserLock;
use super::mistake::Mistake;
use super::user::{UserState, damaged};
use super::vouch::Name;
use super::{Content, Error, PutChunk, Result, Store};
use crate::disk::{IfThere, Kind, Meta, Mode, Place, Target};
use crate::model::{ChunkDigest, ChunkId, UserId};

/// The areas in the order in which a chunk is looked for: an advance links it into the committed
/// area before it leaves `incoming/`, so the third look finds what moved between the first two.
const LOOKS: [Area; 3] = [Area::Committed, Area::Incoming, Area::Committed];

/// The length of an alias's file: a digest and a newline.
pub(super) const ALIAS_BYTES: u64 = 65;

/// A chunk on its way in: a temporary file and its digest so far. Dropped, it leaves nothing.
pub struct Staged {
    state: Arc<UserState>,
    temporary: Temporary,
    hasher: Sha256,
    bytes: u64,
    /// What uploads leave free of the disk.
    min_free: u64,
}

/// A chunk that is whole and durable, but has no name yet. Dropped, it leaves nothing.
pub struct Sealed {
    digest: ChunkDigest,
    bytes: u64,
    temporary: Temporary,
}

impl Staged {
    /// More of the chunk. The caller watches the limit.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        (self.temporary).check_room(self.min_free, bytes.len() as u64)?;
        self.temporary.file.append(bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// How much has been written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is to be synced before [`Staged::synced`].
    pub(super) fn target(&self) -> Target {
        Target::File(self.temporary.file.clone())
    }

    /// The bytes are durable.
    pub(super) fn synced(self) -> Sealed {
        Sealed {
            digest: ChunkDigest::from_bytes(self.hasher.finalize().into()),
            bytes: self.bytes,
            temporary: self.temporary,
        }
    }
}

impl Sealed {
    /// The SHA-256 of the bytes.
    pub fn digest(&self) -> ChunkDigest {
        self.digest
    }

    /// How many there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A chunk or alias that was found: where, and what the disk says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub area: Area,
    pub meta: Meta,
}

/// A chunk id looked up to the end.
pub(super) struct Resolved {
    pub digest: ChunkDigest,
    pub chunk: Found,
    /// The alias and where it stands, where the id is one.
    pub alias: Option<(Uuid, Found)>,
}

impl Store {
    /// A place for a chunk's bytes. Makes the user's folder if there is none.
    pub fn stage(&self, user: &UserId) -> Result<Staged> {
        let state = self.users.state(user);
        state.check_writable()?;
        self.check_room(0)?;
        let folder = Folder::of(user);
        let temporary = match self.temporary(&state, &folder) {
            Err(Error::UserGone) => {
                self.admit(user)?;
                self.temporary(&state, &folder)?
            }
            other => other?,
        };
        Ok(Staged {
            state,
            temporary,
            hasher: Sha256::new(),
            bytes: 0,
            min_free: self.options.min_free,
        })
    }

    /// The chunk is whole: makes its bytes durable.
    pub fn seal(&self, staged: Staged) -> Result<Sealed> {
        staged.state.check_writable()?;
        self.disk.sync(&[staged.target()])?;
        Ok(staged.synced())
    }

    /// The bytes of a chunk that is there, committed or not.
    pub fn chunk(&self, user: &UserId, id: &ChunkId) -> Result<Option<Content>> {
        let folder = Folder::of(user);
        let digest = match id {
            ChunkId::Digest(digest) => *digest,
            ChunkId::Alias(alias) => match self.find_alias(&folder, alias)? {
                Some((_, digest)) => digest,
                None => return self.unless_denied(&folder),
            },
        };
        for area in LOOKS {
            let opened = self.disk.open(&folder.chunk(area, &digest));
            if let Some(handle) = opened.if_there()? {
                let bytes = handle.opened()?.bytes;
                if self.mistakes.made(Mistake::LeakedDescriptor) {
                    std::mem::forget(handle.clone());
                }
                return Ok(Some(Content { handle, bytes }));
            }
        }
        self.unless_denied(&folder)
    }

    /// Nothing, for a user who may be unknown; refuses one who may not.
    pub(super) fn unless_denied<T>(&self, folder: &Folder) -> Result<Option<T>> {
        if !self.options.new_users && !self.is_known(folder)? {
            return Err(Error::UnknownUser);
        }
        Ok(None)
    }

    fn find(&self, place: impl Fn(Area) -> Place) -> Result<Option<Found>> {
        for area in LOOKS {
            if let Some(meta) = self.look(&place(area))? {
                return Ok(Some(Found { area, meta }));
            }
        }
        Ok(None)
    }

    fn look(&self, place: &Place) -> Result<Option<Meta>> {
        match self.disk.meta(place).if_there()? {
            Some(meta) if meta.kind != Kind::File => Err(damaged(place, "not a regular file")),
            found => Ok(found),
        }
    }

    pub(super) fn find_chunk(
        &self,
        folder: &Folder,
        digest: &ChunkDigest,
    ) -> Result<Option<Found>> {
        self.find(|area| folder.chunk(area, digest))
    }

    /// Finds an alias, and reads which chunk it stands for.
    pub(super) fn find_alias(
        &self,
        folder: &Folder,
        alias: &Uuid,
    ) -> Result<Option<(Found, ChunkDigest)>> {
        for area in LOOKS {
            let Some((meta, digest)) = self.read_alias(&folder.alias(area, alias))? else {
                continue;
            };
            return Ok(Some((Found { area, meta }, digest)));
        }
        Ok(None)
    }

    /// Reads which chunk an alias's file stands for; `None` where there is no file.
    pub(crate) fn read_alias(&self, place: &Place) -> Result<Option<(Meta, ChunkDigest)>> {
        let Some(file) = self.disk.open(place).if_there()? else {
            return Ok(None);
        };
        let mut buffer = [0; 66];
        let read = file.read_at(0, &mut buffer)?;
        let digest = std::str::from_utf8(&buffer[..read])
            .ok()
            .and_then(|text| text.strip_suffix('\n')?.parse().ok())
            .ok_or_else(|| damaged(place, "not one digest and a newline"))?;
        Ok(Some((file.opened()?, digest)))
    }

    /// Looks a chunk id up to the end: the alias where it is one, and the bytes.
    pub(super) fn resolve(&self, folder: &Folder, id: &ChunkId) -> Result<Option<Resolved>> {
        let (digest, alias) = match id {
            ChunkId::Digest(digest) => (*digest, None),
            ChunkId::Alias(alias) => match self.find_alias(folder, alias)? {
                Some((found, digest)) => (digest, Some((*alias, found))),
                None => return Ok(None),
            },
        };
        let chunk = self.find_chunk(folder, &digest)?;
        Ok(chunk.map(|chunk| Resolved {
            digest,
            chunk,
            alias,
        }))
    }

    /// The directories that must be synced before it is answered that this chunk is there: those of
    /// the files that this process has not itself synced.
    pub(super) fn unvouched(&self, user: &UserId, resolved: &Resolved) -> Vec<Dir> {
        if self.mistakes.made(Mistake::NoVouch) {
            return Vec::new();
        }
        let mut dirs = Vec::new();
        for (name, found, dir) in resolved.names(user) {
            if !self.vouched.has(&name, &found.meta) {
                dirs.push(dir);
            }
        }
        dirs
    }

    /// What was found has been synced under its name.
    pub(super) fn vouch(&self, user: &UserId, resolved: &Resolved) {
        for (name, found, _) in resolved.names(user) {
            self.vouched.insert(name, &found.meta);
        }
    }

    /// Gives a chunk its name, or makes the one that is there young. Needs the shared lock, and
    /// gives it back before it waits for a sync.
    ///
    /// # Panics
    /// If the lock is an exclusive one: whoever holds that has other work.
    pub fn put_chunk(&self, lock: UserLock, sealed: Sealed, id: &ChunkId) -> Result<PutChunk> {
        assert_eq!(
            lock.mode,
            Mode::Shared,
            "a chunk is put under the shared lock"
        );
        self.check_takes(&lock)?;
        let digest = sealed.digest;
        let mut work = Work::default();
        let lost = self.has_lost(&lock.folder)?;
        match id {
            ChunkId::Digest(named) => {
                match self.name_chunk(&lock, sealed, *named, lost, &mut work)? {
                    PutChunk::Stored => {}
                    refused => return Ok(refused),
                }
            }
            ChunkId::Alias(alias) => {
                // The bytes first, so that no alias ever stands for nothing.
                match self.find_alias(&lock.folder, alias)? {
                    Some((_, other)) if other != digest => {
                        return self.refuse_alias(&lock, alias);
                    }
                    _ => self.publish_chunk(&lock, sealed, lost, &mut work)?,
                }
                if !self.publish_alias(&lock, alias, &digest, &mut work)? {
                    return self.refuse_alias(&lock, alias);
                }
            }
        }
        let (user, state, folder) = lock.release();
        if self.mistakes.made(Mistake::AnswerBeforeSync) {
            return Ok(PutChunk::Stored);
        }
        self.sync_dirs(&state, &folder, work.dirs, work.targets)?;
        for (area, chunk, meta) in work.names {
            self.vouched.insert(Name { user, area, chunk }, &meta);
        }
        Ok(PutChunk::Stored)
    }

    /// "It stands for other bytes" is a promise too: the name is synced before.
    fn refuse_alias(&self, lock: &UserLock, alias: &Uuid) -> Result<PutChunk> {
        let mut there = Vec::new();
        for area in [Area::Committed, Area::Incoming] {
            let dir = Dir::of_alias(area, alias);
            let found = self.disk.meta(&lock.folder.dir(dir)).if_there()?;
            there.extend(found.map(|_| dir));
        }
        self.sync_dirs(&lock.state, &lock.folder, there, Vec::new())?;
        Ok(PutChunk::ChunkExists)
    }

    /// Gives a chunk that is called by its digest its name. `lost` says whether anything at all was
    /// taken out of the way by fsck. That the folder takes uploads has been seen under the lock.
    pub(super) fn name_chunk(
        &self,
        lock: &UserLock,
        sealed: Sealed,
        named: ChunkDigest,
        lost: bool,
        work: &mut Work,
    ) -> Result<PutChunk> {
        let actual = sealed.digest;
        if named != actual {
            return Ok(PutChunk::DigestMismatch { actual });
        }
        self.publish_chunk(lock, sealed, lost, work)?;
        Ok(PutChunk::Stored)
    }

    fn publish_chunk(
        &self,
        lock: &UserLock,
        mut sealed: Sealed,
        lost: bool,
        work: &mut Work,
    ) -> Result<()> {
        let digest = sealed.digest;
        let id = ChunkId::Digest(digest);
        let place = |area| lock.folder.chunk(area, &digest);
        let refresh = |area, meta, work: &mut Work| {
            let (found, dir) = (Found { area, meta }, Dir::of_chunk(area, &digest));
            self.refresh(lock, id, found, dir, &place(area), work)
        };
        // Nothing moves from one area to the other while the lock is held: one look will do here, and
        // whether it is in `incoming/` is told by the try to give it that name.
        if let Some(meta) = self.look(&place(Area::Committed))? {
            return refresh(Area::Committed, meta, work);
        }
        let area = match lost && self.was_lost(&lock.folder, &digest)? {
            true => Area::Committed,
            false => Area::Incoming,
        };
        let room = match self.reserve(&lock.user, sealed.bytes) {
            // What is there takes no room.
            Err(refused @ Error::QuotaExceeded { .. }) => {
                let there = self.look(&place(Area::Incoming))?;
                return refresh(Area::Incoming, there.ok_or(refused)?, work);
            }
            other => other?,
        };
        let meta = sealed.temporary.file.meta()?;
        let dir = Dir::of_chunk(area, &digest);
        let taken = self.publish(lock, &mut sealed.temporary, dir, &place(area))?;
        if taken {
            let there = self.look(&place(area))?;
            return refresh(area, there.ok_or(Error::UserGone)?, work);
        }
        room.keep();
        work.dirs.push(dir);
        work.names.push((area, id, meta));
        Ok(())
    }

    /// Publishes a temporary file; says whether the name was taken.
    pub(super) fn publish(
        &self,
        lock: &UserLock,
        temporary: &mut Temporary,
        dir: Dir,
        place: &Place,
    ) -> Result<bool> {
        if self.mistakes.made(Mistake::Replace) {
            temporary.replace(place)?;
            return Ok(false);
        }
        let tried = match temporary.publish(place) {
            Err(absent) if absent.is_absent() => {
                self.make_dir(&lock.state, &lock.folder, dir)?;
                temporary.publish(place)
            }
            other => other,
        };
        match tried {
            Ok(()) => Ok(false),
            Err(taken) if taken.is_taken() => Ok(true),
            // The directory is there, so it is the temporary file that is not: the folder that it
            // was made in was deleted, and this is the user's next one.
            Err(absent) if absent.is_absent() => Err(Error::UserGone),
            Err(other) => Err(other.into()),
        }
    }

    /// What is there already: young again if it is in `incoming/`, and vouched for.
    fn refresh(
        &self,
        lock: &UserLock,
        chunk: ChunkId,
        found: Found,
        dir: Dir,
        place: &Place,
        work: &mut Work,
    ) -> Result<()> {
        let Found { area, mut meta } = found;
        let name = Name {
            user: lock.user,
            area,
            chunk,
        };
        let vouched = self.vouched.has(&name, &meta) || self.mistakes.made(Mistake::NoVouch);
        if area == Area::Incoming {
            let file = self.disk.open(place)?;
            file.touch(self.disk.now())?;
            meta = file.meta()?;
            work.targets.push(Target::File(file));
        }
        if !vouched {
            work.dirs.push(dir);
        }
        work.names.push((area, chunk, meta));
        Ok(())
    }

    /// Makes the alias stand for the chunk; says `false` where it stands for another.
    pub(super) fn publish_alias(
        &self,
        lock: &UserLock,
        alias: &Uuid,
        digest: &ChunkDigest,
        work: &mut Work,
    ) -> Result<bool> {
        let id = ChunkId::Alias(*alias);
        if self.find_alias(&lock.folder, alias)?.is_none() {
            let room = self.reserve(&lock.user, ALIAS_BYTES)?;
            let mut temporary = self.temporary(&lock.state, &lock.folder)?;
            temporary.file.append(format!("{digest}\n").as_bytes())?;
            self.disk.sync(&[Target::File(temporary.file.clone())])?;
            let meta = temporary.file.meta()?;
            let dir = Dir::of_alias(Area::Incoming, alias);
            let place = lock.folder.alias(Area::Incoming, alias);
            if !self.publish(lock, &mut temporary, dir, &place)? {
                room.keep();
                work.dirs.push(dir);
                work.names.push((Area::Incoming, id, meta));
                return Ok(true);
            }
        }
        let Some((found, stands_for)) = self.find_alias(&lock.folder, alias)? else {
            return Err(Error::UserGone);
        };
        if stands_for == *digest {
            let dir = Dir::of_alias(found.area, alias);
            let place = lock.folder.alias(found.area, alias);
            self.refresh(lock, id, found, dir, &place, work)?;
        }
        Ok(stands_for == *digest)
    }
}

impl Resolved {
    /// The same once an advance has linked it: another name, the same file.
    pub(super) fn committed(&self) -> Resolved {
        let at = |found: &Found| Found {
            area: Area::Committed,
            meta: found.meta,
        };
        Resolved {
            digest: self.digest,
            chunk: at(&self.chunk),
            alias: self
                .alias
                .as_ref()
                .map(|(alias, found)| (*alias, at(found))),
        }
    }

    fn names(&self, user: &UserId) -> impl Iterator<Item = (Name, Found, Dir)> {
        let chunk = (
            self.chunk,
            ChunkId::Digest(self.digest),
            Dir::of_chunk(self.chunk.area, &self.digest),
        );
        let alias = self.alias.map(|(alias, found)| {
            let dir = Dir::of_alias(found.area, &alias);
            (found, ChunkId::Alias(alias), dir)
        });
        let user = *user;
        [Some(chunk), alias]
            .into_iter()
            .flatten()
            .map(move |(found, chunk, dir)| {
                let area = found.area;
                (Name { user, area, chunk }, found, dir)
            })
    }
}

/// What must be synced before the answer, and what is known to be durable after that.
#[derive(Default)]
pub(super) struct Work {
    pub dirs: Vec<Dir>,
    pub targets: Vec<Target>,
    pub names: Vec<(Area, ChunkId, Meta)>,
}
