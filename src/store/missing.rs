//! The question for chunks that are not there, which a client asks before it sends them.

use super::lock::Shared;
use super::to_sync::ToSync;
use super::{Result, User};
use crate::model::ChunkId;

impl Shared {
    /// Returns those of these chunks that are not there, in their order. Those that are there are durable
    /// then, and kept alive for another grace period. Gives the lock back before it waits for a sync.
    pub fn missing(self, ids: &[ChunkId]) -> Result<Vec<ChunkId>> {
        self.check_takes()?;
        let mut missing = Vec::new();
        let mut to_sync = ToSync::default();
        for id in ids {
            match self.reach(id, &mut to_sync)? {
                None => missing.push(*id),
                Some(resolved) => {
                    for (thing, found) in resolved.things() {
                        self.refresh(&thing, found, &mut to_sync)?;
                    }
                }
            }
        }
        let user = self.release();
        if !to_sync.is_empty() {
            user.sync(to_sync)?;
        }
        Ok(missing)
    }
}

impl User {
    /// Returns all of these chunks, for a user who was just seen to have no folder.
    ///
    /// # Errors
    /// [`Error::UnknownUser`](super::Error::UnknownUser) where new users are not admitted.
    pub fn missing_all(&self, ids: &[ChunkId]) -> Result<Vec<ChunkId>> {
        let nothing: Option<Vec<ChunkId>> = self.unless_denied()?;
        Ok(nothing.unwrap_or_else(|| ids.to_vec()))
    }
}
