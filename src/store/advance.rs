//! The advance of HEAD, in DESIGN's order and words (Order of writes).

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use super::chain::extend;
use super::chunks::Resolved;
use super::head::{Position, Vouched};
use super::layout::{Area, Dir};
use super::lock::UserLock;
use super::mistake::Mistake;
use super::quota::Amount;
use super::user::damaged;
use super::{Advance, AdvanceRefusal, Error, Result, Store};
use crate::disk::{Mode, Place, Target};
use crate::model::{ChunkId, Head, Transaction, TransactionId};
use crate::rules::{Descent, Standing, descent};

/// What an advance leaves in `incoming/` once HEAD reaches it, with the lock that it happened under.
/// It is cleared after the answer; what is not cleared, gc drops.
#[must_use = "clear it once the answer is on its way"]
pub struct Leftovers {
    lock: UserLock,
    line: Vec<TransactionId>,
    places: Vec<Place>,
}

/// A name in the committed area that this advance makes.
struct Linked {
    from: Place,
    to: Place,
}

impl Store {
    /// Advances HEAD by compare-and-swap (seed: "atomically advancing HEAD to a new transaction"). Needs
    /// the exclusive lock. To be run to its end whatever becomes of the client.
    ///
    /// Costs in proportion to what becomes visible and to what is pending.
    ///
    /// # Errors
    /// HEAD has not moved, and what was linked is unlinked again; but if the very last sync fails,
    /// nobody knows, and the user is read-only in this process from then on.
    ///
    /// # Panics
    /// If the lock is a shared one.
    pub fn advance(&self, lock: UserLock, to: TransactionId) -> Result<(Advance, Leftovers)> {
        assert_eq!(
            lock.mode,
            Mode::Exclusive,
            "HEAD moves under the exclusive lock"
        );
        lock.state.check_writable()?;
        let refuse = |lock, head, why| Ok((Advance::Refused { head, why }, Leftovers::none(lock)));

        // Read HEAD.
        let head = self
            .vouched_head(&lock.state, &lock.folder)?
            .ok_or(Error::UserGone)?;

        // Find the new transaction in `incoming/`; walk parents there until HEAD is met.
        let line = match self.line_to(&lock, head, to)? {
            Descent::Descends(line) => line,
            Descent::NotADescendant => return refuse(lock, head, AdvanceRefusal::NotADescendant),
            Descent::Unknown => return refuse(lock, head, AdvanceRefusal::UnknownTransaction),
        };

        // A pending transaction that names it as parent is a descendant.
        let seq = head.seq + line.len() as u64;
        let descendants = self.pending_children(&lock, Head { id: to, seq })?;
        if !descendants.is_empty() {
            return refuse(lock, head, AdvanceRefusal::HasDescendants(descendants));
        }

        // Every chunk named must be there, committed or incoming.
        let (chunks, missing) = self.chunks_of(&lock, &line)?;
        if !missing.is_empty() {
            return refuse(lock, head, AdvanceRefusal::MissingChunks(missing));
        }

        let mut linked = Vec::new();
        match self.commit(&lock, head, &line, &chunks, &mut linked) {
            Ok(head) => {
                let places = linked.into_iter().map(|linked| linked.from).collect();
                let leftovers = Leftovers { lock, line, places };
                Ok((Advance::Advanced(head), leftovers))
            }
            Err(error) => {
                if !lock.state.read_only.load(Ordering::Acquire) {
                    for Linked { to, .. } in linked.iter().rev() {
                        let _ = self.disk.remove_file(to);
                    }
                }
                Err(error)
            }
        }
    }

    fn line_to(&self, lock: &UserLock, head: Head, to: TransactionId) -> Result<Descent> {
        let mut rebuilt = false;
        // A dead transaction may outlive its parent, whose id may come again with another number:
        // what is numbered otherwise is not this one's parent, nor is HEAD.
        let mut number = None;
        let line = descent(head, to, |id| {
            loop {
                match self.position(&lock.folder, head, id)? {
                    Position::OnChain(_) => return Ok(Standing::OnChain),
                    Position::LogIsWrong if rebuilt => {
                        return Err(damaged(&lock.folder.log(), "wrong though just rebuilt"));
                    }
                    Position::LogIsWrong => {
                        self.rebuild_log(lock)?;
                        rebuilt = true;
                    }
                    Position::OffChain => break,
                }
            }
            Ok(match self.start_of(&lock.folder.pending(id), id)? {
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

    fn pending_transaction(&self, lock: &UserLock, id: TransactionId) -> Result<Transaction> {
        let place = lock.folder.pending(id);
        self.read_transaction(&place, id)?
            .ok_or_else(|| damaged(&place, "gone, though the lock is held"))
    }

    /// The chunks that these transactions name, each once, and the names that stand for nothing.
    fn chunks_of(
        &self,
        lock: &UserLock,
        line: &[TransactionId],
    ) -> Result<(Vec<Resolved>, Vec<ChunkId>)> {
        let (mut chunks, mut missing) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for id in line {
            for chunk in self.pending_transaction(lock, *id)?.chunks {
                if seen.insert(chunk) {
                    match self.resolve(&lock.folder, &chunk)? {
                        Some(resolved) => chunks.push(resolved),
                        None => missing.push(chunk),
                    }
                }
            }
        }
        Ok((chunks, missing))
    }

    /// The second half: from here on names are made. `linked` tells which, also after an error.
    fn commit(
        &self,
        lock: &UserLock,
        head: Head,
        line: &[TransactionId],
        chunks: &[Resolved],
        linked: &mut Vec<Linked>,
    ) -> Result<Head> {
        let folder = &lock.folder;
        let mut dirs = Vec::new();

        // Link chunks and aliases, then transactions, into the committed area, replacing an
        // off-chain file of that transaction's name.
        for chunk in chunks {
            let digest = &chunk.digest;
            dirs.push(Dir::of_chunk(Area::Committed, digest));
            if chunk.chunk.area == Area::Incoming {
                let place = |area| folder.chunk(area, digest);
                let dir = Dir::of_chunk(Area::Committed, digest);
                self.link(
                    lock,
                    dir,
                    place(Area::Incoming),
                    place(Area::Committed),
                    linked,
                )?;
            }
            if let Some((alias, found)) = &chunk.alias {
                let dir = Dir::of_alias(Area::Committed, alias);
                dirs.push(dir);
                if found.area == Area::Incoming {
                    let place = |area| folder.alias(area, alias);
                    self.link(
                        lock,
                        dir,
                        place(Area::Incoming),
                        place(Area::Committed),
                        linked,
                    )?;
                }
            }
        }
        for id in line {
            let dir = Dir::of_transaction(*id);
            let (from, to) = (folder.pending(*id), folder.transaction(*id));
            dirs.push(dir);
            self.clear_off_chain(lock, &from, &to)?;
            self.link(lock, dir, from, to, linked)?;
        }

        // Make `log` right up to HEAD, cut it there, extend it.
        let (log, made) = self.log_to_extend(lock, head)?;
        extend(&log, head, line)?;
        if made {
            dirs.push(Dir::User);
        }

        // Sync every directory and file relied on, whether or not this advance wrote it. The file
        // that will be HEAD is among them.
        let new = Head {
            id: *line
                .last()
                .expect("a line has at least the transaction itself"),
            seq: head.seq + line.len() as u64,
        };
        let mut temporary = self.temporary(&lock.state, folder)?;
        (temporary.file).append(format!("{}\n", new.id).as_bytes())?;
        let targets = vec![Target::File(log), Target::File(temporary.file.clone())];
        let late = self.mistakes.made(Mistake::HeadBeforeObjects);
        if !late {
            self.sync_dirs(&lock.state, folder, dirs.clone(), targets)?;
        }

        // Replace HEAD; sync.
        if let Err(error) = temporary.replace(&folder.head()) {
            if !matches!(self.read_head(folder), Ok(Some((_, id))) if id == head.id) {
                lock.state.read_only.store(true, Ordering::Release);
            }
            return Err(error.into());
        }
        if self.mistakes.made(Mistake::AnswerBeforeSync) {
            return Ok(new);
        }
        let finish = || {
            let meta = self.disk.meta(&folder.head())?;
            self.sync_dirs(&lock.state, folder, [Dir::User], Vec::new())?;
            Ok(meta)
        };
        let meta = finish().inspect_err(|_: &Error| {
            lock.state.read_only.store(true, Ordering::Release);
        })?;
        if late {
            self.sync_dirs(&lock.state, folder, dirs, Vec::new())?;
        }
        lock.state.known().head = Some(Vouched::new(&meta, new));
        let lines = (super::log::LINE as i64).saturating_mul(line.len() as i64);
        self.changed(
            &lock.user,
            Amount {
                files: 0,
                bytes: lines,
            },
        );
        for chunk in chunks {
            self.vouch(&lock.user, &chunk.committed());
        }
        Ok(new)
    }

    fn link(
        &self,
        lock: &UserLock,
        dir: Dir,
        from: Place,
        to: Place,
        linked: &mut Vec<Linked>,
    ) -> Result<()> {
        let moves = self.mistakes.made(Mistake::RenameInsteadOfLink);
        let made = self.in_dir(&lock.state, &lock.folder, dir, || {
            let link = if moves {
                self.disk.rename_new(&from, &to)
            } else {
                self.disk.link(&from, &to)
            };
            match link {
                Ok(()) => Ok(true),
                Err(taken) if taken.is_taken() => Ok(false),
                Err(other) => Err(other),
            }
        })?;
        if made {
            linked.push(Linked { from, to });
        }
        Ok(())
    }

    /// Removes a committed file of this name that is not the pending one: it is off the chain, left
    /// behind by an advance of other content, and does not exist for any purpose.
    fn clear_off_chain(&self, _lock: &UserLock, pending: &Place, committed: &Place) -> Result<()> {
        let there = match self.disk.meta(committed) {
            Ok(meta) => meta,
            Err(absent) if absent.is_absent() => return Ok(()),
            Err(other) => return Err(other.into()),
        };
        if there.inode != self.disk.meta(pending)?.inode {
            self.disk.remove_file(committed)?;
        }
        Ok(())
    }
}

impl Leftovers {
    fn none(lock: UserLock) -> Self {
        Self {
            lock,
            line: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Unlinks from `incoming/` what HEAD reaches now, and gives the lock back.
    pub fn clear(self, store: &Store) {
        let transactions = self.line.iter().map(|id| self.lock.folder.pending(*id));
        for place in transactions.chain(self.places) {
            match store.disk.remove_file(&place) {
                Err(error) if !error.is_absent() => {
                    log::debug!("a leftover stays until gc: {error}");
                }
                _ => {}
            }
        }
        let mut known = self.lock.state.known();
        for id in &self.line {
            known.pending.remove(id);
        }
        known.pending_count = Some(known.pending.len());
    }
}
