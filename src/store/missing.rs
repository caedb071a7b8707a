//! Which chunks are not there: what a client asks before it sends them.

use super::chunks::Resolved;
use super::layout::{Area, Dir, Folder};
use super::lock::UserLock;
use super::{Result, Store};
use crate::disk::{Meta, Mode, Place, Target};
use crate::model::{ChunkId, UserId, limits};

impl Store {
    /// Those of these chunks that are not there, in their order. Those that are there are durable
    /// then, and kept alive for another grace period. Takes the shared lock, which is `None` for a
    /// user without a folder, and gives it back before it waits for a sync.
    ///
    /// # Panics
    /// If the lock is an exclusive one.
    pub fn missing(
        &self,
        user: &UserId,
        lock: Option<UserLock>,
        ids: &[ChunkId],
    ) -> Result<Vec<ChunkId>> {
        let Some(lock) = lock else {
            let nothing: Option<Vec<ChunkId>> = self.unless_denied(&Folder::of(user))?;
            return Ok(nothing.unwrap_or_else(|| ids.to_vec()));
        };
        assert_eq!(lock.mode, Mode::Shared, "others may look meanwhile");
        self.check_takes(&lock)?;
        let (mut missing, mut found, mut dirs) = (Vec::new(), Vec::new(), Vec::new());
        let mut touched = Touched::default();
        for id in ids {
            match self.resolve(&lock.folder, id)? {
                None => missing.push(*id),
                Some(resolved) => {
                    dirs.extend(self.unvouched(user, &resolved));
                    let resolved = self.make_young(&lock, resolved, &mut touched)?;
                    if found.len() < limits::VOUCHED_AT_ONCE {
                        found.push(resolved);
                    }
                }
            }
        }
        dirs.sort_unstable();
        dirs.dedup();
        let (user, state, folder) = lock.release();
        if touched.many {
            self.sync_below(&folder.dir(Dir::Incoming))?;
        }
        if !dirs.is_empty() || !touched.files.is_empty() {
            self.sync_dirs(&state, &folder, dirs, touched.files)?;
        }
        for resolved in &found {
            self.vouch(&user, resolved);
        }
        Ok(missing)
    }

    /// Makes what is in `incoming/` young, and says what the disk says of it then.
    fn make_young(
        &self,
        lock: &UserLock,
        mut resolved: Resolved,
        touched: &mut Touched,
    ) -> Result<Resolved> {
        let mut touch = |place: Place| -> Result<Meta> {
            let file = self.disk.open(&place)?;
            file.touch(self.disk.now())?;
            let meta = file.meta()?;
            if touched.files.len() < limits::SYNCED_APART {
                touched.files.push(Target::File(file));
            } else {
                touched.many = true;
            }
            Ok(meta)
        };
        if resolved.chunk.area == Area::Incoming {
            resolved.chunk.meta = touch(lock.folder.chunk(Area::Incoming, &resolved.digest))?;
        }
        if let Some((alias, found)) = &mut resolved.alias
            && found.area == Area::Incoming
        {
            found.meta = touch(lock.folder.alias(Area::Incoming, alias))?;
        }
        Ok(resolved)
    }
}

/// What was made young and is not durable yet.
#[derive(Default)]
struct Touched {
    files: Vec<Target>,
    /// More than are kept open.
    many: bool,
}
