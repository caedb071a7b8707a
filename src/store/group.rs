//! One group of a group commit: small chunks, from the bytes in memory to the name that is durable.

use super::dirs::NewDirs;
use super::lock::Shared;
use super::mistake::Mistake;
use super::staged::{Sealed, Staged};
use super::to_sync::{SyncedNames, ToSync};
use super::{Error, PutChunk, Result, Store, User};
use crate::disk::{self, Target};
use crate::model::{ChunkDigest, ChunkId};

/// A small chunk, whole in memory, with the id it is called by.
pub struct Upload {
    pub user: User,
    pub id: ChunkDigest,
    pub bytes: Vec<u8>,
}

/// A small chunk, written and not durable yet. Dropped, it leaves nothing.
pub struct Written {
    user: User,
    id: ChunkDigest,
    staged: Staged,
}

/// A small chunk, durable and without a name. Dropped, it leaves nothing.
pub struct Durable {
    pub user: User,
    id: ChunkDigest,
    sealed: Sealed,
}

/// How far an upload got.
pub enum Taken {
    /// To its end.
    Put(PutChunk),
    /// To durable bytes; the lock was not to be had without waiting.
    Unnamed(Box<Durable>),
}

/// Chunks that have their names, which the next sync makes durable, each with who is to be told.
pub struct Group<T>(Vec<Named<T>>);

/// Chunks that were named under one user's lock, after that was given back.
struct Named<T> {
    user: User,
    dirs: NewDirs,
    targets: Vec<Target>,
    synced: SyncedNames,
    owners: Vec<T>,
}

impl Upload {
    /// Writes the chunk to a temporary file.
    pub fn write(self) -> Result<Written> {
        let Upload { user, id, bytes } = self;
        let mut staged = user.stage()?;
        staged.write(&bytes)?;
        Ok(Written { user, id, staged })
    }
}

impl Store {
    /// The outcome for a part of the targets that were synced in one go. A folder that is gone is a matter of its own
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

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Group<T> {
    /// Whether nothing waits for a sync.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the chunks of another group along, whose names the next sync makes durable.
    pub fn join(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
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
            one.told(&synced, &mut tell);
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

    /// Gives the chunks their names. A lock that is not to be had without waiting is not waited for: nobody waits
    /// for another one's user.
    ///
    /// # Errors
    /// One that gets no name is told its own error.
    pub fn name(&mut self, mut all: Vec<(Durable, T)>, mut tell: impl FnMut(T, Result<Taken>)) {
        all.sort_by_key(|(one, _)| one.user.id);
        while let Some(user) = all.last().map(|(one, _)| one.user.clone()) {
            let from = all.partition_point(|(one, _)| one.user.id < user.id);
            let theirs = all.split_off(from);
            match user.shared_now() {
                Some(Ok(lock)) => self.name_under(lock, theirs, &mut tell),
                None => {
                    for (one, owner) in theirs {
                        tell(owner, Ok(Taken::Unnamed(Box::new(one))));
                    }
                }
                Some(Err(error)) => tell_all(theirs, &error, &mut tell),
            }
        }
    }

    /// Gives chunks of one user their names under the user's lock, which was waited for or not.
    ///
    /// # Errors
    /// One that gets no name is told its own error.
    pub fn name_under(
        &mut self,
        lock: Shared,
        all: Vec<(Durable, T)>,
        tell: &mut impl FnMut(T, Result<Taken>),
    ) {
        if let Err(error) = lock.check_takes() {
            return tell_all(all, &error, tell);
        }
        let early = lock.store.mistakes.made(Mistake::AnswerBeforeSync);
        // Each of them held a descriptor before.
        let mut to_sync = ToSync::keeping(all.len());
        let mut owners = Vec::with_capacity(all.len());
        for (one, owner) in all {
            match lock.name_chunk(one.sealed, &ChunkId::Digest(one.id), &mut to_sync) {
                Ok(PutChunk::Stored) if !early => owners.push(owner),
                other => tell(owner, other.map(Taken::Put)),
            }
        }
        let user = lock.release();
        let (dirs, mut targets, synced) = to_sync.into_parts();
        let dirs = user.dirs_to_sync(dirs, &mut targets);
        if !owners.is_empty() {
            self.0.push(Named {
                user,
                dirs,
                targets,
                synced,
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

/// Tells all of these one error.
fn tell_all<T>(all: Vec<(Durable, T)>, error: &Error, tell: &mut impl FnMut(T, Result<Taken>)) {
    for (_, owner) in all {
        tell(owner, Err(error.again()));
    }
}

impl<T> Named<T> {
    /// The names are durable, and are vouched for; or else they may not be.
    fn told(self, synced: &Result<()>, tell: &mut impl FnMut(T, Result<Taken>)) {
        if synced.is_ok() {
            self.user.dirs_synced(self.dirs);
            self.user.vouch(self.synced);
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
    use crate::disk::{Grouping, Real};
    use crate::model::UserId;
    use crate::store::Options;
    use sha2::{Digest, Sha256};
    use std::sync::Arc;

    fn upload(store: &Store, user: u8, bytes: &[u8]) -> Upload {
        Upload {
            user: store.user(UserId::from_bytes([user; 16])),
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
        let written = |user, bytes| (upload(&store, user, bytes).write().unwrap(), user);
        let mut told = Vec::new();
        let mut group = Group::default();
        let durable = group.sync(&store, vec![written(1, b"a"), written(2, b"b")], |_, _| {
            panic!("nobody has a name yet")
        });
        group.name(durable, |_, _| panic!("all get their names"));
        let gone = store.user(UserId::from_bytes([1; 16])).exclusive_blocking();
        gone.unwrap().unwrap().delete().unwrap();
        let next = vec![written(2, b"c")];
        let durable = group.sync(&store, next, |user, outcome| told.push((user, outcome)));
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
