//! The advance of HEAD, in its order and words (DESIGN, Advance of HEAD).

use std::collections::{BTreeSet, HashSet};

use uuid::Uuid;

use super::aside::{Aside, Nothing};
use super::bundle::Window;
use super::chain::extend;
use super::chunks::Resolved;
use super::head::{Position, Vouched};
use super::layout::{Area, Dir, Folder};
use super::lock::UserLock;
use super::mistake::Mistake;
use super::quota::Amount;
use super::user::damaged;
use super::{Advance, AdvanceRefusal, Error, Result, Store};
use crate::disk::{self, Mode, Place, Target};
use crate::model::{ChunkDigest, ChunkId, Head, TransactionId, limits};
use crate::rules::{Descent, Standing, descent};

/// What an advance leaves in `incoming/` once HEAD reaches it, with the lock that it happened under.
/// It is cleared after the answer; what is not cleared, gc drops.
#[must_use = "clear it once the answer is on its way"]
pub struct Leftovers {
    lock: UserLock,
    line: Vec<TransactionId>,
    linked: Vec<Linked>,
}

/// A name in the committed area that an advance makes, of what has the like in `incoming/`.
#[derive(Clone, Copy)]
enum Linked {
    Chunk(ChunkDigest),
    Alias(Uuid),
    Transaction(TransactionId),
}

impl Linked {
    fn from(self, folder: &Folder) -> Place {
        match self {
            Linked::Chunk(digest) => folder.chunk(Area::Incoming, &digest),
            Linked::Alias(alias) => folder.alias(Area::Incoming, &alias),
            Linked::Transaction(id) => folder.pending(id),
        }
    }

    fn to(self, folder: &Folder) -> Place {
        match self {
            Linked::Chunk(digest) => folder.chunk(Area::Committed, &digest),
            Linked::Alias(alias) => folder.alias(Area::Committed, &alias),
            Linked::Transaction(id) => folder.transaction(id),
        }
    }

    fn dir(self) -> Dir {
        match self {
            Linked::Chunk(digest) => Dir::of_chunk(Area::Committed, &digest),
            Linked::Alias(alias) => Dir::of_alias(Area::Committed, &alias),
            Linked::Transaction(id) => Dir::of_transaction(id),
        }
    }
}

/// What HEAD is to reach, oldest first, and what the transactions name: kept for some of them, since
/// they are looked through twice, and read again for the others.
struct Line {
    ids: Vec<TransactionId>,
    chunks: Vec<Option<Vec<ChunkId>>>,
    /// Some of the chunks as they were found, to be vouched for.
    found: Vec<Resolved>,
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
        self.advance_over(lock, to, &Nothing)
    }

    /// The same where some of what HEAD is to reach is not pending, but stands aside.
    pub(super) fn advance_over(
        &self,
        lock: UserLock,
        to: TransactionId,
        aside: &dyn Aside,
    ) -> Result<(Advance, Leftovers)> {
        assert_eq!(
            lock.mode,
            Mode::Exclusive,
            "HEAD moves under the exclusive lock"
        );
        lock.state.check_writable()?;
        let refuse = |lock, head, why| Ok((Advance::Refused { head, why }, Leftovers::none(lock)));

        // Read HEAD.
        let head = self.vouched_head_under(&lock)?.ok_or(Error::UserGone)?;

        // Find the new transaction in `incoming/`; walk parents there until HEAD is met.
        self.look_at_pending(&lock)?;
        let line = match self.line_to(&lock, head, to, aside)? {
            Descent::Descends(line) => line,
            Descent::NotADescendant => return refuse(lock, head, AdvanceRefusal::NotADescendant),
            Descent::Unknown => return refuse(lock, head, AdvanceRefusal::UnknownTransaction),
        };

        // A pending transaction that names it as parent is a descendant.
        let seq = head.seq + line.len() as u64;
        let descendants = self.pending_children(&lock, Head { id: to, seq });
        if !descendants.is_empty() {
            return refuse(lock, head, AdvanceRefusal::HasDescendants(descendants));
        }

        // Every chunk named must be there, committed or incoming.
        let (line, missing) = self.check_chunks(&lock, line, aside)?;
        if !missing.is_empty() {
            return refuse(lock, head, AdvanceRefusal::MissingChunks(missing));
        }

        let mut linked = Vec::new();
        let moved = self
            .link_line(&lock, &line, aside, &mut linked)
            .and_then(|dirs| self.move_head(&lock, head, &line.ids, dirs));
        match moved {
            Ok(head) => {
                for chunk in &line.found {
                    self.vouch(&lock.user, &chunk.committed());
                }
                let line = line.ids;
                let leftovers = Leftovers { lock, line, linked };
                Ok((Advance::Advanced(head), leftovers))
            }
            Err(error) => {
                if !lock.state.is_read_only() {
                    for linked in linked.iter().rev() {
                        let _ = self.disk.remove_file(&linked.to(&lock.folder));
                    }
                }
                Err(error)
            }
        }
    }

    fn line_to(
        &self,
        lock: &UserLock,
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
            let known = lock.state.known().pending.get(&id).copied();
            let known = known.or_else(|| aside.find(id).map(|(start, _)| start));
            let known = known.filter(|start| start.seq > head.seq);
            while known.is_none() {
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
            let start = match known {
                Some(start) => Some(start),
                None => (self.start_of(&lock.folder.pending(id), id)?)
                    .or_else(|| aside.find(id).map(|(start, _)| start)),
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

    /// Where a transaction of the line is that is not committed.
    fn place_of_new(&self, lock: &UserLock, id: TransactionId, aside: &dyn Aside) -> Place {
        let is_pending = lock.state.known().pending.contains_key(&id);
        let found = if is_pending { None } else { aside.find(id) };
        found.map_or_else(|| lock.folder.pending(id), |(_, place)| place)
    }

    /// What a transaction of the line names.
    fn chunks_of(
        &self,
        lock: &UserLock,
        id: TransactionId,
        aside: &dyn Aside,
    ) -> Result<Vec<ChunkId>> {
        let place = self.place_of_new(lock, id, aside);
        let there = self.read_transaction(&place, id)?;
        let there = there.ok_or_else(|| damaged(&place, "gone, though the lock is held"))?;
        Ok(there.chunks)
    }

    /// Looks for every chunk that these transactions name; says which are not there, each once.
    fn check_chunks(
        &self,
        lock: &UserLock,
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
        for id in &line.ids {
            let chunks = self.chunks_of(lock, *id, aside)?;
            for chunk in &chunks {
                if !checked.insert(*chunk) {
                    continue;
                }
                match self.resolve(&lock.folder, chunk)? {
                    Some(found) if line.found.len() < limits::VOUCHED_AT_ONCE => {
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

    /// Links chunks and aliases, then transactions, into the committed area, replacing an off-chain
    /// file of that transaction's name. Says which directories hold them.
    fn link_line(
        &self,
        lock: &UserLock,
        line: &Line,
        aside: &dyn Aside,
        linked: &mut Vec<Linked>,
    ) -> Result<BTreeSet<Dir>> {
        let mut dirs = BTreeSet::new();
        let mut done = Window::default();
        for (id, chunks) in line.ids.iter().zip(&line.chunks) {
            let read;
            let chunks = match chunks {
                Some(chunks) => chunks,
                None => {
                    read = self.chunks_of(lock, *id, aside)?;
                    &read
                }
            };
            for chunk in chunks {
                if !done.insert(*chunk) {
                    continue;
                }
                let digest = match chunk {
                    ChunkId::Digest(digest) => *digest,
                    ChunkId::Alias(alias) => {
                        let found = self.find_alias(&lock.folder, alias)?;
                        let place = lock.folder.alias(Area::Incoming, alias);
                        let (_, digest) = found
                            .ok_or_else(|| damaged(&place, "gone, though the lock is held"))?;
                        // The bytes first, so that no alias ever stands for nothing.
                        for name in [Linked::Chunk(digest), Linked::Alias(*alias)] {
                            let from = name.from(&lock.folder);
                            dirs.insert(self.link(lock, name, &from, linked)?);
                        }
                        continue;
                    }
                };
                let name = Linked::Chunk(digest);
                dirs.insert(self.link(lock, name, &name.from(&lock.folder), linked)?);
            }
        }
        for id in &line.ids {
            let from = self.place_of_new(lock, *id, aside);
            dirs.insert(self.link(lock, Linked::Transaction(*id), &from, linked)?);
        }
        Ok(dirs)
    }

    /// The second half: what HEAD is to reach has its names in the committed area, in these
    /// directories; HEAD becomes the last of `ids`, the first of which continues it. Needs the exclusive lock.
    ///
    /// # Errors
    /// HEAD has not moved; but if the very last sync fails, nobody knows, and the user is read-only.
    pub(super) fn move_head(
        &self,
        lock: &UserLock,
        head: Head,
        ids: &[TransactionId],
        mut dirs: BTreeSet<Dir>,
    ) -> Result<Head> {
        let folder = &lock.folder;

        // Make `log` right up to HEAD, cut it there, extend it.
        let (log, made) = self.log_to_extend(lock, head)?;
        extend(&log, head, ids)?;
        if made {
            dirs.insert(Dir::User);
        }

        // Sync every directory and file relied on, whether or not this advance wrote it. The file
        // that will be HEAD is among them.
        let new = Head {
            id: *ids
                .last()
                .expect("a line has at least the transaction itself"),
            seq: head.seq + ids.len() as u64,
        };
        let mut temporary = self.temporary(&lock.state, folder)?;
        (temporary.file).append(format!("{}\n", new.id).as_bytes())?;
        let targets = vec![Target::File(log), Target::File(temporary.file.clone())];
        let late = self.mistakes.made(Mistake::HeadBeforeObjects);
        if !late {
            self.sync_dirs(&lock.state, folder, dirs.clone(), targets)?;
        }

        // Replace HEAD; sync.
        let doubted = Some((temporary.file.meta()?.inode, new.id));
        if let Err(error) = temporary.replace(&folder.head()) {
            if !matches!(self.read_head(folder), Ok(Some((_, id))) if id == head.id) {
                lock.state.doubt_for_good(doubted);
            }
            return Err(error.into());
        }
        if self.mistakes.made(Mistake::AnswerBeforeSync) {
            return Ok(new);
        }
        let finish = || {
            let metas = (
                self.disk.meta(&folder.head())?,
                self.disk.meta(folder.place())?,
            );
            self.sync_dirs(&lock.state, folder, [Dir::User], Vec::new())?;
            Ok(metas)
        };
        let (meta, changed) =
            finish().inspect_err(|_: &Error| lock.state.doubt_for_good(doubted))?;
        if late {
            self.sync_dirs(&lock.state, folder, dirs, Vec::new())?;
        }
        (lock.state).head_moved(Vouched::new(&meta, new), &changed);
        let lines = (super::log::LINE as i64).saturating_mul(ids.len() as i64);
        self.changed(
            &lock.user,
            Amount {
                files: 0,
                bytes: lines,
            },
        );
        Ok(new)
    }

    /// Makes one name in the committed area; says in which directory. What is there already stays,
    /// if it is a chunk or an alias: it is the same then. A transaction's file that is not the pending
    /// one is off the chain, left behind by an advance of other content, and does not exist for any
    /// purpose: it goes.
    fn link(
        &self,
        lock: &UserLock,
        name: Linked,
        from: &Place,
        linked: &mut Vec<Linked>,
    ) -> Result<Dir> {
        let moves = self.mistakes.made(Mistake::RenameInsteadOfLink);
        let (to, dir) = (name.to(&lock.folder), name.dir());
        let make = || {
            self.in_dir(&lock.state, &lock.folder, dir, || {
                let link = match moves {
                    true => self.disk.rename_new(from, &to),
                    false => self.disk.link(from, &to),
                };
                match link {
                    Ok(()) => Ok(true),
                    Err(taken) if taken.is_taken() => Ok(false),
                    // Committed before, and not in `incoming/` any more; or the directory is not there.
                    Err(absent) if absent.is_absent() && self.is_at(&to)? => Ok(false),
                    Err(other) => Err(other),
                }
            })
        };
        let mut made = make()?;
        if !made
            && matches!(name, Linked::Transaction(_))
            && self.disk.meta(&to)?.inode != self.disk.meta(from)?.inode
        {
            self.disk.remove_file(&to)?;
            made = make()?;
        }
        if made && linked.len() < limits::LINKED {
            linked.push(name);
        }
        Ok(dir)
    }

    fn is_at(&self, place: &Place) -> disk::Result<bool> {
        match self.disk.meta(place) {
            Ok(_) => Ok(true),
            Err(absent) if absent.is_absent() => Ok(false),
            Err(other) => Err(other),
        }
    }
}

impl Leftovers {
    /// Nothing: of what HEAD reaches now nothing was in `incoming/`.
    pub(super) fn none(lock: UserLock) -> Self {
        Self {
            lock,
            line: Vec::new(),
            linked: Vec::new(),
        }
    }

    /// Unlinks from `incoming/` what HEAD reaches now, and gives the lock back.
    pub fn clear(self, store: &Store) {
        let folder = &self.lock.folder;
        let others = |linked: &&Linked| !matches!(linked, Linked::Transaction(_));
        let others = self.linked.iter().filter(others);
        // What came with a push was not pending.
        let mut was_pending = self.line.clone();
        was_pending.retain(|id| self.lock.state.known().pending.contains_key(id));
        let transactions = was_pending.iter().map(|id| folder.pending(*id));
        for place in transactions.chain(others.map(|linked| linked.from(folder))) {
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
    }
}
