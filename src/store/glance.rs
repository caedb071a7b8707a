//! Looks at a user for who lists them: nothing is synced, and nothing remembered.

use std::time::SystemTime;

use super::error::damaged;
use super::usage::{Usage, count};
use super::{Result, User};
use crate::model::{Head, TransactionId};

/// A transaction of the chain, as whoever lists the chain sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// When the transaction's file was written.
    pub date: SystemTime,
    /// The chunks that it names.
    pub chunks: u64,
    /// The bytes in them, each as often as it is named; `None` where one is not there.
    pub bytes: Option<u64>,
}

impl User {
    /// Looks at a committed transaction and at each chunk that it names; `None` where there is no such file.
    ///
    /// # Errors
    /// [`Error::Damaged`](super::Error::Damaged), and those of the disk.
    pub fn weigh(&self, id: TransactionId) -> Result<Option<Weighed>> {
        let place = self.folder.transaction(id);
        let Some((meta, transaction)) = self.store.read_transaction_file(&place, id)? else {
            return Ok(None);
        };
        let mut bytes = Some(0);
        for chunk in &transaction.chunks {
            let content = self.chunk(chunk)?;
            bytes = bytes.zip(content).map(|(sum, content)| sum + content.bytes);
        }
        Ok(Some(Weighed {
            date: meta.modified,
            chunks: transaction.chunks.len() as u64,
            bytes,
        }))
    }

    /// Counts the files and bytes in the user's folder. Lists each directory that is there once, and looks at each file once.
    pub fn usage(&self) -> Result<Usage> {
        count(&*self.store.disk, &self.folder)
    }

    /// The user's head as it is on the disk now: for a mere look, since nothing is synced. `None` where there is no
    /// folder.
    ///
    /// # Errors
    /// [`Error::Damaged`](super::Error::Damaged) where HEAD is missing, is no id, or leads nowhere.
    pub fn glance_at_head(&self) -> Result<Option<Head>> {
        loop {
            let Some((_, id)) = self.store.read_head(&self.folder)? else {
                return Ok(None);
            };
            match self.seq_of(id)? {
                Some(seq) => return Ok(Some(Head { id, seq })),
                // Perhaps the user was deleted between the two looks: then HEAD is gone too, or another.
                None if matches!(self.store.read_head(&self.folder)?, Some((_, now)) if now == id) =>
                {
                    let place = self.folder.transaction(id);
                    return Err(damaged(&place, "HEAD names it, and it is not there"));
                }
                None => {}
            }
        }
    }

    fn seq_of(&self, id: TransactionId) -> Result<Option<u64>> {
        if id == Head::ROOT.id {
            return Ok(Some(0));
        }
        let start = self.store.start_of(&self.folder.transaction(id), id)?;
        Ok(start.map(|start| start.seq))
    }
}
