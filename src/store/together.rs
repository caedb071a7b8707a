//! Small chunks taken in together: one sync for the bytes of all, the lock once for each user's, one
//! sync for all the names. Each goes the way of one that comes alone (DESIGN, Order of writes) and has
//! an outcome of its own; what is shared is the waiting.

use std::sync::Arc;

use super::chunks::{Sealed, Staged, Work};
use super::layout::{Dir, Folder};
use super::lock::UserLock;
use super::mistake::Mistake;
use super::user::UserState;
use super::vouch::Name;
use super::{Error, PutChunk, Result, Store};
use crate::disk::{self, Target};
use crate::model::{ChunkDigest, UserId};

/// A small chunk, whole in memory, with the id it is called by.
pub struct Upload {
    pub user: UserId,
    pub id: ChunkDigest,
    pub bytes: Vec<u8>,
}

/// How far an upload got.
pub enum Taken {
    /// To its end.
    Put(PutChunk),
    /// Its bytes are durable; the lock was not to be had without waiting, and [`Store::put_chunk`] is
    /// left to be done under it.
    Sealed(Sealed),
}

/// One upload on its way: where it stands among all, and what is made of it.
struct One<T> {
    index: usize,
    user: UserId,
    id: ChunkDigest,
    made: T,
}

/// What a user's uploads were named under, after the lock was given back.
struct Named {
    user: UserId,
    state: Arc<UserState>,
    folder: Folder,
    work: Work,
    indices: Vec<usize>,
}

type Outcomes = Vec<Option<Result<Taken>>>;

impl Store {
    /// Takes these chunks in; says in their order what became of each. `lock` takes a user's shared
    /// lock if that needs no waiting: nobody waits for another one's user.
    ///
    /// # Errors
    /// One that could not be written has its own error. A sync that fails is everybody's who took part,
    /// and nothing of theirs has a name then, or none that was acknowledged.
    pub fn put_together(
        &self,
        uploads: Vec<Upload>,
        lock: impl Fn(&UserId) -> Option<Result<UserLock>>,
    ) -> Vec<Result<Taken>> {
        let mut outcomes: Outcomes = uploads.iter().map(|_| None).collect();
        let staged = self.stage_all(uploads, &mut outcomes);
        let mut sealed = self.seal_all(staged, &mut outcomes);
        sealed.sort_by_key(|one| one.user);
        let mut named = Vec::new();
        while let Some(user) = sealed.last().map(|one| one.user) {
            let first = sealed.partition_point(|one| one.user < user);
            let theirs = sealed.split_off(first);
            match lock(&user) {
                None => {
                    for one in theirs {
                        outcomes[one.index] = Some(Ok(Taken::Sealed(one.made)));
                    }
                }
                Some(Ok(lock)) => named.push(self.name_all(lock, theirs, &mut outcomes)),
                Some(Err(error)) => {
                    for one in theirs {
                        outcomes[one.index] = Some(Err(error.again()));
                    }
                }
            }
        }
        self.sync_all(named, &mut outcomes);
        let told = "every upload got an outcome on one of its ways";
        outcomes
            .into_iter()
            .map(|outcome| outcome.expect(told))
            .collect()
    }

    fn stage_all(&self, uploads: Vec<Upload>, outcomes: &mut Outcomes) -> Vec<One<Staged>> {
        let mut all = Vec::with_capacity(uploads.len());
        for (index, Upload { user, id, bytes }) in uploads.into_iter().enumerate() {
            let staged = self.stage(&user).and_then(|mut staged| {
                staged.write(&bytes)?;
                Ok(staged)
            });
            match staged {
                Ok(made) => all.push(One {
                    index,
                    user,
                    id,
                    made,
                }),
                Err(error) => outcomes[index] = Some(Err(error)),
            }
        }
        all
    }

    /// Makes the bytes of all of them durable.
    fn seal_all(&self, all: Vec<One<Staged>>, outcomes: &mut Outcomes) -> Vec<One<Sealed>> {
        let files: Vec<Target> = all.iter().map(|one| one.made.target()).collect();
        let synced = self.disk.sync(&files);
        let mut sealed = Vec::with_capacity(all.len());
        for one in all {
            let One {
                index,
                user,
                id,
                made,
            } = one;
            match &synced {
                Ok(()) => sealed.push(One {
                    index,
                    user,
                    id,
                    made: made.synced(),
                }),
                Err(error) => outcomes[index] = Some(Err(error.again().into())),
            }
        }
        sealed
    }

    /// Gives all of one user's their names.
    fn name_all(&self, lock: UserLock, all: Vec<One<Sealed>>, outcomes: &mut Outcomes) -> Named {
        let mut work = Work::default();
        let mut indices = Vec::with_capacity(all.len());
        // A repair takes the exclusive lock, so this holds for as long as the shared one is held.
        let lost = self.disk.meta(&lock.folder.dir(Dir::LostChunks)).is_ok();
        for One {
            index, id, made, ..
        } in all
        {
            match self.name_chunk(&lock, made, id, lost, &mut work) {
                Ok(PutChunk::Stored) => indices.push(index),
                other => outcomes[index] = Some(other.map(Taken::Put)),
            }
        }
        let (user, state, folder) = lock.release();
        Named {
            user,
            state,
            folder,
            work,
            indices,
        }
    }

    /// Makes all those names durable, and vouches for them.
    fn sync_all(&self, named: Vec<Named>, outcomes: &mut Outcomes) {
        let mut targets = Vec::new();
        let mut rest = Vec::new();
        let early = self.mistakes.made(Mistake::AnswerBeforeSync);
        for mut one in named {
            targets.append(&mut one.work.targets);
            let dirs = std::mem::take(&mut one.work.dirs);
            let new = self.dirs_to_sync(&one.state, &one.folder, dirs, &mut targets);
            rest.push((one, new));
        }
        let synced = match early || targets.is_empty() {
            true => Ok(()),
            false => self.disk.sync(&targets),
        };
        for (one, new) in rest {
            if synced.is_ok() && !early {
                one.state.dirs_synced(new);
                for (area, chunk, meta) in one.work.names {
                    let user = one.user;
                    self.vouched.insert(Name { user, area, chunk }, &meta);
                }
            }
            for index in one.indices {
                outcomes[index] = Some(match &synced {
                    Ok(()) => Ok(Taken::Put(PutChunk::Stored)),
                    Err(absent) if absent.is_absent() => Err(Error::UserGone),
                    Err(error) => Err(error.again().into()),
                });
            }
        }
    }
}

impl Error {
    /// The same, for another who is told: what the disk said, or else that it was busy.
    fn again(&self) -> Self {
        match self {
            Error::Disk(error) => error.again().into(),
            Error::UserGone => Error::UserGone,
            Error::ReadOnly => Error::ReadOnly,
            Error::Damaged { place, what } => Error::Damaged {
                place: place.clone(),
                what: what.clone(),
            },
            _ => Error::Busy,
        }
    }
}

impl disk::Error {
    /// The same, for another who took part.
    fn again(&self) -> Self {
        let source = match self.source.raw_os_error() {
            Some(number) => std::io::Error::from_raw_os_error(number),
            None => self.source.kind().into(),
        };
        Self {
            verb: self.verb,
            place: self.place.clone(),
            source,
        }
    }
}
