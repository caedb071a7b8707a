//! Small chunks taken in together: one sync serves the bytes of some and the names of those before
//! them, and the lock is taken once for each user's. Each goes the way of one that comes alone
//! (DESIGN, Order of writes) and is told by itself; what is shared is the waiting.

use std::sync::Arc;

use super::chunks::{Sealed, Staged, Work};
use super::layout::Area;
use super::lock::UserLock;
use super::mistake::Mistake;
use super::user::{NewDirs, UserState};
use super::vouch::Name;
use super::{Error, PutChunk, Result, Store};
use crate::disk::{self, Meta, Target};
use crate::model::{ChunkDigest, ChunkId, UserId};

/// A small chunk, whole in memory, with the id it is called by.
pub struct Upload {
    pub user: UserId,
    pub id: ChunkDigest,
    pub bytes: Vec<u8>,
}

/// The same, written and not durable yet. Dropped, it leaves nothing.
pub struct Written {
    user: UserId,
    id: ChunkDigest,
    staged: Staged,
}

/// The same, durable and without a name. Dropped, it leaves nothing.
pub struct Durable {
    user: UserId,
    id: ChunkDigest,
    sealed: Sealed,
}

/// How far an upload got.
pub enum Taken {
    /// To its end.
    Put(PutChunk),
    /// Its bytes are durable; the lock was not to be had without waiting, and [`Store::put_chunk`] is
    /// left to be done under it.
    Sealed(Sealed),
}

/// Chunks that have their names, which the next sync makes durable, each with who is to be told.
pub struct Together<T>(Vec<Named<T>>);

/// What was named under one user's lock, after that was given back.
struct Named<T> {
    user: UserId,
    state: Arc<UserState>,
    dirs: NewDirs,
    targets: Vec<Target>,
    names: Vec<(Area, ChunkId, Meta)>,
    owners: Vec<T>,
}

impl Store {
    /// Writes a small chunk.
    pub fn write(&self, upload: Upload) -> Result<Written> {
        let Upload { user, id, bytes } = upload;
        let mut staged = self.stage(&user)?;
        staged.write(&bytes)?;
        Ok(Written { user, id, staged })
    }

    /// What became of a part of what was synced in one go. A folder that is gone is a matter of its own
    /// user, whom nothing was lost for: the others' are asked for by themselves.
    fn share(&self, synced: &disk::Result<()>, share: &[Target]) -> Result<()> {
        match synced {
            Ok(()) => Ok(()),
            Err(absent) if absent.is_absent() => match self.disk.sync(share) {
                Err(absent) if absent.is_absent() => Err(Error::UserGone),
                other => Ok(other?),
            },
            Err(error) => Err(error.again().into()),
        }
    }
}

impl<T> Default for Together<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Together<T> {
    /// Whether nothing waits for a sync.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes the names given so far durable, and the bytes of what is written, with one sync. Tells those
    /// who had the names, and gives back what may have a name now.
    ///
    /// # Errors
    /// A sync that fails is told to everybody who took part; nothing of theirs was acknowledged.
    pub fn sync(
        &mut self,
        store: &Store,
        written: Vec<(Written, T)>,
        mut tell: impl FnMut(T, Result<Taken>),
    ) -> Vec<(Durable, T)> {
        let mut targets: Vec<Target> = written.iter().map(|(one, _)| one.staged.target()).collect();
        let mut named = std::mem::take(&mut self.0);
        let mut ends = vec![targets.len()];
        for one in &mut named {
            targets.append(&mut one.targets);
            ends.push(targets.len());
        }
        let synced = store.disk.sync(&targets);
        for (one, ends) in named.into_iter().zip(ends.windows(2)) {
            let synced = store.share(&synced, &targets[ends[0]..ends[1]]);
            one.told(store, &synced, &mut tell);
        }
        match store.share(&synced, &targets[..ends[0]]) {
            Ok(()) => written.into_iter().map(durable).collect(),
            Err(error) => {
                for (_, owner) in written {
                    tell(owner, Err(error.again()));
                }
                Vec::new()
            }
        }
    }

    /// Gives them their names. `lock` takes a user's shared lock if that needs no waiting: nobody waits
    /// for another one's user.
    ///
    /// # Errors
    /// One that gets no name is told its own error.
    pub fn name(
        &mut self,
        store: &Store,
        mut all: Vec<(Durable, T)>,
        lock: impl Fn(&UserId) -> Option<Result<UserLock>>,
        mut tell: impl FnMut(T, Result<Taken>),
    ) {
        all.sort_by_key(|(one, _)| one.user);
        while let Some(user) = all.last().map(|(one, _)| one.user) {
            let theirs = all.split_off(all.partition_point(|(one, _)| one.user < user));
            let takes = |lock: UserLock| store.check_takes(&lock).map(|()| lock);
            match lock(&user).map(|lock| lock.and_then(takes)) {
                Some(Ok(lock)) => self.name_under(store, lock, theirs, &mut tell),
                None => {
                    for (one, owner) in theirs {
                        tell(owner, Ok(Taken::Sealed(one.sealed)));
                    }
                }
                Some(Err(error)) => {
                    for (_, owner) in theirs {
                        tell(owner, Err(error.again()));
                    }
                }
            }
        }
    }

    /// Gives all of one user's their names.
    fn name_under(
        &mut self,
        store: &Store,
        lock: UserLock,
        all: Vec<(Durable, T)>,
        tell: &mut impl FnMut(T, Result<Taken>),
    ) {
        let early = store.mistakes.made(Mistake::AnswerBeforeSync);
        let mut work = Work::default();
        let mut owners = Vec::with_capacity(all.len());
        // A repair takes the exclusive lock, so this holds for as long as the shared one is held.
        let lost = match store.has_lost(&lock.folder) {
            Ok(lost) => lost,
            Err(error) => {
                for (_, owner) in all {
                    tell(owner, Err(error.again()));
                }
                return;
            }
        };
        for (one, owner) in all {
            match store.name_chunk(&lock, one.sealed, one.id, lost, &mut work) {
                Ok(PutChunk::Stored) if !early => owners.push(owner),
                other => tell(owner, other.map(Taken::Put)),
            }
        }
        let (user, state, folder) = lock.release();
        let mut targets = work.targets;
        let dirs = store.dirs_to_sync(&state, &folder, work.dirs, &mut targets);
        if !owners.is_empty() {
            self.0.push(Named {
                user,
                state,
                dirs,
                targets,
                names: work.names,
                owners,
            });
        }
    }
}

fn durable<T>((one, owner): (Written, T)) -> (Durable, T) {
    let Written { user, id, staged } = one;
    let sealed = staged.synced();
    (Durable { user, id, sealed }, owner)
}

impl<T> Named<T> {
    /// The names are durable, and are vouched for; or else they may not be.
    fn told(self, store: &Store, synced: &Result<()>, tell: &mut impl FnMut(T, Result<Taken>)) {
        if synced.is_ok() {
            self.state.dirs_synced(self.dirs);
            for (area, chunk, meta) in self.names {
                let user = self.user;
                store.vouched.insert(Name { user, area, chunk }, &meta);
            }
        }
        for owner in self.owners {
            tell(
                owner,
                match synced {
                    Ok(()) => Ok(Taken::Put(PutChunk::Stored)),
                    Err(error) => Err(error.again()),
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Grouping, Mode, Real};
    use crate::store::Options;
    use sha2::{Digest, Sha256};

    fn upload(user: u8, bytes: &[u8]) -> Upload {
        Upload {
            user: UserId::from_bytes([user; 16]),
            id: ChunkDigest::from_bytes(Sha256::digest(bytes).into()),
            bytes: bytes.to_vec(),
        }
    }

    /// Each directory is synced by itself here, so that the one that is gone is missed.
    #[test]
    fn a_user_who_goes_between_name_and_sync_costs_nobody_else_anything() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Real::new(directory.path(), Grouping::Off).unwrap();
        let store = Store::open(Arc::new(disk), Options::default()).unwrap();
        let lock = |user: &UserId| store.lock_blocking(user, Mode::Shared).transpose();
        let written = |user, bytes| (store.write(upload(user, bytes)).unwrap(), user);
        let mut told = Vec::new();
        let mut together = Together::default();
        let durable = together.sync(&store, vec![written(1, b"a"), written(2, b"b")], |_, _| {
            panic!("nobody has a name yet")
        });
        together.name(&store, durable, lock, |_, _| panic!("all get their names"));
        let gone = store.lock_blocking(&UserId::from_bytes([1; 16]), Mode::Exclusive);
        store.delete_user(gone.unwrap().unwrap()).unwrap();
        let next = vec![written(2, b"c")];
        let durable = together.sync(&store, next, |user, outcome| told.push((user, outcome)));
        assert_eq!(durable.len(), 1);
        told.sort_by_key(|(user, _)| *user);
        assert!(matches!(
            told[..],
            [
                (1, Err(Error::UserGone)),
                (2, Ok(Taken::Put(PutChunk::Stored)))
            ]
        ));
    }
}
