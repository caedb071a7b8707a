//! The advance of HEAD, in its order and words (DESIGN, Advance of HEAD).

use super::aside::{Aside, Nothing};
use super::layout::{Area, Thing};
use super::lock::Exclusive;
use super::to_sync::ToSync;
use super::{Advance, AdvanceRefusal, Error, Result};
use crate::disk::Place;
use crate::model::{Head, TransactionId, limits};
use crate::rules::Descent;

/// Files that an advance leaves in `incoming/` once HEAD reaches them, with the lock that it happened under.
/// They are cleared after the answer; gc drops those that are not.
#[must_use = "clear it once the answer is on its way"]
pub struct Leftovers {
    lock: Exclusive,
    line: Vec<TransactionId>,
    linked: Vec<Thing>,
}

impl Exclusive {
    /// Advances HEAD by compare-and-swap (seed: "atomically advancing HEAD to a new transaction"). To be run to its end whatever becomes of the client.
    ///
    /// Costs in proportion to what becomes visible and to what is pending.
    ///
    /// # Errors
    /// HEAD has not moved, and what was linked is unlinked again; but if the very last sync fails,
    /// nobody knows, and the user is read-only in this process from then on.
    pub fn advance(self, to: TransactionId) -> Result<(Advance, Leftovers)> {
        self.advance_over(to, &Nothing)
    }

    /// Advances HEAD as [`Exclusive::advance`] does, where some of the transactions that it is to reach are not
    /// pending, but stand aside.
    pub(super) fn advance_over(
        self,
        to: TransactionId,
        aside: &dyn Aside,
    ) -> Result<(Advance, Leftovers)> {
        self.state.check_writable()?;

        // What was put off at start is known before HEAD moves; as long as there is no room for it, HEAD moves
        // if it can.
        match self.store.probe_if_due() {
            Err(full) if full.is_no_space() => {}
            other => other?,
        }

        // Read HEAD.
        let head = self.head_under_lock()?.ok_or(Error::UserGone)?;

        // Find the new transaction in `incoming/`; walk parents there until HEAD is met.
        self.look_at_pending(&[])?;
        let line = match self.line_to(head, to, aside)? {
            Descent::Descends(line) => line,
            Descent::NotADescendant => {
                return Ok(self.refused(head, AdvanceRefusal::NotADescendant));
            }
            Descent::Unknown => return Ok(self.refused(head, AdvanceRefusal::UnknownTransaction)),
        };

        // A pending transaction that names it as parent is a descendant.
        let seq = head.seq + line.len() as u64;
        let descendants = self.pending_children(Head { id: to, seq });
        if !descendants.is_empty() {
            return Ok(self.refused(head, AdvanceRefusal::HasDescendants(descendants)));
        }

        // Every chunk named must be there, committed or incoming.
        let (line, missing) = self.check_chunks(line, aside)?;
        if !missing.is_empty() {
            return Ok(self.refused(head, AdvanceRefusal::MissingChunks(missing)));
        }

        // Everything that HEAD is to reach gets its names; then HEAD goes there.
        let (head, linked) = self.or_take_back(
            |linked| {
                let place = self.folder.thing(Area::Committed, linked);
                self.store.disk.remove_file(&place)
            },
            |linked| {
                let dirs = self.link_line(&line, aside, linked)?;
                self.move_head(head, &line.ids, dirs)
            },
        )?;
        for chunk in &line.found {
            let mut synced = ToSync::default();
            self.rely_on_chunk(&chunk.committed(), &mut synced);
            self.vouch(synced.into_parts().2);
        }
        let (lock, line) = (self, line.ids);
        let leftovers = Leftovers { lock, line, linked };
        Ok((Advance::Advanced(head), leftovers))
    }

    fn refused(self, head: Head, why: AdvanceRefusal) -> (Advance, Leftovers) {
        (Advance::Refused { head, why }, Leftovers::none(self))
    }
}

impl Leftovers {
    /// No leftovers: of what HEAD reaches nothing is in `incoming/` that was not before.
    pub(super) fn none(lock: Exclusive) -> Self {
        Self::of(lock, Vec::new())
    }

    /// Chunks that were linked and are in `incoming/` still; no transaction is.
    pub(super) fn of(lock: Exclusive, linked: Vec<Thing>) -> Self {
        Self {
            lock,
            line: Vec::new(),
            linked,
        }
    }

    /// Unlinks from `incoming/` what HEAD reaches now, and gives the lock back.
    pub fn clear(self) {
        let folder = &self.lock.folder;
        let others = |linked: &&Thing| !matches!(linked, Thing::Transaction(_));
        let others = self.linked.iter().filter(others);
        // What came with a push was not pending.
        let mut was_pending = self.line.clone();
        was_pending.retain(|id| self.lock.state.known().pending.contains_key(id));
        let transactions = was_pending.iter().map(|id| folder.pending(*id));
        let others = others.map(|linked| folder.thing(Area::Incoming, linked));
        let mut places = transactions.chain(others).peekable();
        while places.peek().is_some() {
            let row: Vec<_> = places.by_ref().take(limits::LINKED_AT_ONCE).collect();
            self.remove(&row);
        }
        let mut known = self.lock.state.known();
        for id in &self.line {
            known.pending.remove(id);
        }
    }

    fn remove(&self, mut row: &[Place]) {
        while !row.is_empty() {
            let (done, outcome) = self.lock.store.disk.remove_all(row);
            if let Err(error) = outcome
                && !error.is_absent()
            {
                log::debug!("a leftover stays until gc: {error}");
            }
            row = row.get(done + 1..).unwrap_or_default();
        }
    }
}
