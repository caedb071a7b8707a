//! The line of transactions that an advance makes visible: found, and its chunks looked for.

use std::collections::HashSet;

use super::Result;
use super::aside::Aside;
use super::bundle::Window;
use super::error::damaged;
use super::lock::Exclusive;
use super::lookup::Resolved;
use super::to_sync::ToSync;
use super::walk::Position;
use crate::disk::Place;
use crate::model::{ChunkId, Head, TransactionId, limits};
use crate::rules::{Descent, Standing, descent};

/// The transactions that HEAD is to reach, oldest first, and the chunks that they name: kept for some of them, since
/// they are looked through twice, and read again for the others.
pub(super) struct Line {
    pub ids: Vec<TransactionId>,
    pub chunks: Vec<Option<Vec<ChunkId>>>,
    /// Some of the chunks as they were found, to be vouched for.
    pub found: Vec<Resolved>,
}

impl Exclusive {
    /// Walks from `to` down to HEAD, through pending transactions and those that stand aside. Rebuilds `log` where
    /// it cannot tell.
    pub(super) fn line_to(
        &self,
        head: Head,
        to: TransactionId,
        aside: &dyn Aside,
    ) -> Result<Descent> {
        let mut rebuilt = false;
        // A dead transaction may outlive its parent, whose id may come again with another number:
        // what is numbered otherwise is not this one's parent, nor is HEAD.
        let mut number = None;
        let line = descent(head, to, |id| {
            // What is numbered beyond HEAD is not on the chain.
            let known = self.state.known().pending.get(&id).copied();
            let known = known.or_else(|| aside.find(id).map(|(start, _)| start));
            let known = known.filter(|start| start.seq > head.seq);
            while known.is_none() {
                match self.position(head, id)? {
                    Position::OnChain(_) => return Ok(Standing::OnChain),
                    Position::LogIsWrong if rebuilt => {
                        return Err(damaged(&self.folder.log(), "wrong though just rebuilt"));
                    }
                    Position::LogIsWrong => {
                        self.rebuild_log()?;
                        rebuilt = true;
                    }
                    Position::OffChain => break,
                }
            }
            let start = match known {
                Some(start) => Some(start),
                None => {
                    let pending = self.store.start_of(&self.folder.pending(id), id)?;
                    self.state
                        .known()
                        .pending
                        .extend(pending.map(|start| (id, start)));
                    pending.or_else(|| aside.find(id).map(|(start, _)| start))
                }
            };
            Ok(match start {
                Some(start) if number.is_none_or(|child| child == start.seq + 1) => {
                    number = Some(start.seq);
                    Standing::Pending {
                        parent: start.parent,
                    }
                }
                _ => Standing::Nowhere,
            })
        })?;
        Ok(match line {
            Descent::Descends(_) if number != Some(head.seq + 1) => Descent::Unknown,
            other => other,
        })
    }

    /// The place of a transaction of the line, which is not committed.
    pub(super) fn place_of_new(&self, id: TransactionId, aside: &dyn Aside) -> Place {
        let is_pending = self.state.known().pending.contains_key(&id);
        let found = if is_pending { None } else { aside.find(id) };
        found.map_or_else(|| self.folder.pending(id), |(_, place)| place)
    }

    /// The chunks that a transaction of the line names.
    pub(super) fn chunks_of(&self, id: TransactionId, aside: &dyn Aside) -> Result<Vec<ChunkId>> {
        if let Some(read) = aside.chunks(id) {
            return Ok(read.to_vec());
        }
        let place = self.place_of_new(id, aside);
        let there = self.store.read_transaction(&place, id)?;
        let there = there.ok_or_else(|| damaged(&place, "gone, though the lock is held"))?;
        Ok(there.chunks)
    }

    /// Looks for every chunk that these transactions name; returns those that are not there, each once.
    pub(super) fn check_chunks(
        &self,
        ids: Vec<TransactionId>,
        aside: &dyn Aside,
    ) -> Result<(Line, Vec<ChunkId>)> {
        let (mut missing, mut named) = (Vec::new(), HashSet::new());
        let mut checked = Window::default();
        let mut line = Line {
            chunks: Vec::with_capacity(ids.len()),
            found: Vec::new(),
            ids,
        };
        let mut kept = 0;
        // A device is asked for nothing that it would sync first.
        let vouches = !self.store.is_of_device();
        // The line gets committed names, which are synced.
        let mut adopted = ToSync::default();
        for id in &line.ids {
            let chunks = self.chunks_of(*id, aside)?;
            for chunk in &chunks {
                if !checked.insert(*chunk) {
                    continue;
                }
                match self.reach(chunk, &mut adopted)? {
                    Some(found) if vouches && line.found.len() < limits::VOUCHED_AT_ONCE => {
                        line.found.push(found);
                    }
                    Some(_) => {}
                    None if missing.len() == limits::MISSING_NAMED => {}
                    None => missing.extend(named.insert(*chunk).then_some(*chunk)),
                }
            }
            kept += chunks.len();
            line.chunks
                .push((kept <= limits::TRANSACTION_CHUNKS).then_some(chunks));
        }
        Ok((line, missing))
    }
}
