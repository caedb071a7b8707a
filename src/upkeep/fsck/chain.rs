//! The chain: HEAD, the transactions that it reaches, `log`, and whether the chunks they name are there.
//!
//! Where `log` is right it is a way into the chain at any place, so that many threads can check stretches of
//! it at a time: by induction from HEAD, it is right if each line's transaction has that number and the line
//! before it as parent. At the first doubt that is given up, and the chain is walked from HEAD, parent by
//! parent, which tells a wrong log from a wrong transaction.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Kind;
use super::crew::share_out;
use super::doubts::Doubt;
use super::user::{Check, READ, READ_WRITE};
use super::walk::{Walk, Walked};
use crate::disk::{self, Handle};
use crate::model::{ChunkId, Head, TransactionId, limits};
use crate::store::layout::{Area, Dir, Shelf, Thing};
use crate::store::{self, log};

/// What is known of the chain.
#[derive(Default)]
pub(super) struct Chain {
    /// Where it ends, if HEAD says so and the transaction could be read.
    pub head: Option<Head>,
    /// All of it could be read and fits together: what it does not name is off the chain.
    pub whole: bool,
    /// Something about it is damaged.
    pub damaged: bool,
    /// Where a walk begins: HEAD or, where that does not tell, the best guess.
    top: (Option<TransactionId>, u64),
}

/// How a chunk id that a transaction names stands.
pub(super) enum Named {
    There,
    /// In `incoming/` only.
    Uncommitted(Thing),
    Missing(Thing),
    /// It could not be looked up.
    Unknown,
}

/// `log`, read backwards.
pub(super) struct Lines {
    log: Option<Handle>,
    first: u64,
    lines: Vec<Option<TransactionId>>,
}

impl Lines {
    fn new(log: Option<Handle>) -> Self {
        Self {
            log,
            first: 0,
            lines: Vec::new(),
        }
    }

    fn inode(&self) -> Option<u64> {
        self.log.as_ref()?.meta().ok().map(|meta| meta.inode)
    }

    /// How many whole lines there are.
    pub fn count(&self) -> u64 {
        let meta = self.log.as_ref().and_then(|log| log.meta().ok());
        meta.map_or(0, |meta| meta.bytes / log::LINE)
    }

    pub fn get(&mut self, seq: u64) -> Option<TransactionId> {
        let log = self.log.as_ref().filter(|_| seq > 0)?;
        if seq < self.first || seq >= self.first + self.lines.len() as u64 {
            self.first = (seq + 1).saturating_sub(log::BATCH).max(1);
            let count = seq + 1 - self.first;
            self.lines = log::read_lines(log, self.first, count).unwrap_or_default();
        }
        let index = seq.checked_sub(self.first)?;
        *self.lines.get(usize::try_from(index).ok()?)?
    }
}

impl Check<'_> {
    /// Reads HEAD, then the chain that it ends.
    pub fn read_chain(&mut self) {
        let head = self.read_head();
        let log = self.open_log();
        let mut lines = Lines::new(log);
        if head == Some(TransactionId::ROOT) {
            self.chain.head = Some(Head::ROOT);
            self.chain.whole = true;
            self.doubt_tail(&lines, Head::ROOT);
            return;
        }
        let head = head.map(|id| self.place_head(id, &mut lines));
        if let Some(head @ Head { id, .. }) = head {
            self.chain.head = Some(head);
            self.chain.top = (Some(id), head.seq);
            if lines.get(head.seq) == Some(id) && self.read_along(&lines, head) {
                self.chain.whole = true;
                self.tally_chain(head.seq);
                self.doubt_tail(&lines, head);
                return;
            }
        }
        self.forget_loose();
        self.chain.top = match head {
            Some(head) => (Some(head.id), head.seq),
            None => self.best_guess(&mut lines),
        };
        let walked = self.walk(&mut lines, self.chain.top, Walk::Loud);
        self.chain.whole = walked.whole && head.is_some();
        self.chain.damaged = head != Some(walked.sound);
        if let Some(head) = head.filter(|_| self.chain.whole) {
            self.judge_log(&lines, head, &walked);
        }
        self.tally_chain(self.chain.top.1);
    }

    fn tally_chain(&self, transactions: u64) {
        Self::count(&self.run.tally.transactions, transactions);
    }

    /// HEAD's id, if it is there and is one.
    fn read_head(&self) -> Option<TransactionId> {
        let place = self.folder.head();
        let meta = match self.store().disk().meta(&place) {
            Err(absent) if absent.is_absent() => {
                let what = "an unfinished copy: the server refuses this user";
                self.damage(Kind::NoHead, place, what);
                return None;
            }
            meta => meta,
        };
        match self.store().read_head(&self.folder) {
            Ok(Some((_, id))) => {
                if let Ok(meta) = meta {
                    self.mode(&place, &meta, READ);
                }
                Some(id)
            }
            Ok(None) => None,
            Err(error) => {
                self.trouble(&place, &error, Kind::HeadMalformed);
                None
            }
        }
    }

    fn open_log(&self) -> Option<Handle> {
        let place = self.folder.log();
        let log = match self.store().open_log(&self.folder) {
            Ok(log) => log?,
            Err(error) => {
                self.trouble(&place, &error, Kind::LogWrong);
                return None;
            }
        };
        if let Ok(meta) = log.meta() {
            self.mode(&place, &meta, READ_WRITE);
        }
        Some(log)
    }

    /// HEAD's number: where `log` and the transaction do not agree, it is most likely the last line's.
    fn place_head(&self, id: TransactionId, lines: &mut Lines) -> Head {
        let place = self.folder.transaction(id);
        let said = match self.store().read_transaction_file(&place, id) {
            Ok(Some((_, transaction))) => Some(transaction.seq),
            _ => None,
        };
        let last = lines.count();
        let seq = match said {
            Some(seq) if lines.get(seq) == Some(id) => seq,
            _ if lines.get(last) == Some(id) => last,
            Some(seq) => seq,
            // Neither says: as if it came next, so that the walk begins at the last line.
            None => last + 1,
        };
        Head { id, seq }
    }

    /// Without a HEAD: the end of `log` or, where there is none, the transaction with the highest number.
    fn best_guess(&self, lines: &mut Lines) -> (Option<TransactionId>, u64) {
        let last = lines.count();
        if last > 0 {
            return (lines.get(last), last);
        }
        let mut best = (None, 0);
        for byte in 0..=255 {
            let fan = self.folder.dir(Dir::Fan(Shelf::Transactions, byte));
            let mut ids = Vec::new();
            let _ = self.store().disk().list(&fan, &mut |entry| {
                ids.extend(store::layout::parse_transaction(&entry.name));
                true
            });
            for id in ids {
                let start = self.store().start_of(&self.folder.transaction(id), id);
                if let Ok(Some(start)) = start
                    && start.seq > best.1
                {
                    best = (Some(id), start.seq);
                }
            }
        }
        best
    }

    /// Checks the chain along `log`, many threads at a time; `false` at the first doubt, with nothing
    /// reported but modes.
    fn read_along(&self, lines: &Lines, head: Head) -> bool {
        let Some(log) = &lines.log else {
            return false;
        };
        let doubt = AtomicBool::new(false);
        let fill = |give: &mut dyn FnMut((u64, u64))| {
            let mut last = head.seq;
            while last > 0 && !doubt.load(Ordering::Relaxed) {
                let first = (last + 1).saturating_sub(limits::FSCK_STRETCH).max(1);
                give((first, last));
                last = first - 1;
            }
        };
        share_out(self.threads(), fill, |_, (first, last)| {
            if !doubt.load(Ordering::Relaxed) && self.stretch(log, first, last).is_none() {
                doubt.store(true, Ordering::Relaxed);
            }
        });
        !doubt.into_inner()
    }

    /// Checks these lines and their transactions; `None` at the first doubt.
    fn stretch(&self, log: &Handle, first: u64, last: u64) -> Option<()> {
        // The line before them too: it is the first one's parent.
        let start = (first - 1).max(1);
        let lines = log::read_lines(log, start, last + 1 - start).ok()?;
        let line = |seq: u64| match seq {
            0 => Some(TransactionId::ROOT),
            _ => *lines.get((seq - start) as usize)?,
        };
        for seq in (first..=last).rev() {
            let id = line(seq)?;
            let place = self.folder.transaction(id);
            let (meta, there) = self.store().read_transaction_file(&place, id).ok()??;
            let fits = there.seq == seq && there.parent == line(seq - 1)?;
            if !fits || meta.mode & READ != READ {
                return None;
            }
            self.members.insert(id.as_bytes());
            for chunk in &there.chunks {
                if !matches!(self.look_for(chunk), Named::There) {
                    return None;
                }
            }
            self.mode(&place, &meta, READ);
            self.run.watch.checked(0);
        }
        Some(())
    }

    /// Looks a chunk id up that the chain names, and remembers that it is named. What cannot be read is
    /// reported where the files are.
    pub fn look_for(&self, id: &ChunkId) -> Named {
        let digest = match id {
            ChunkId::Digest(digest) => *digest,
            ChunkId::Alias(alias) => {
                self.named.insert(alias.as_bytes());
                let thing = Thing::Alias(*alias);
                let read = |area| self.store().read_alias(&self.folder.alias(area, alias));
                match (read(Area::Committed), read(Area::Incoming)) {
                    (Ok(Some((_, digest))), _) => digest,
                    (Ok(None), Ok(Some((_, digest)))) => {
                        self.named.insert(digest.as_bytes());
                        return Named::Uncommitted(thing);
                    }
                    (outcome, _) => {
                        // Some chunk is named, and nobody knows which.
                        self.blind.store(true, Ordering::Relaxed);
                        return match outcome {
                            Ok(_) => Named::Missing(thing),
                            Err(_) => Named::Unknown,
                        };
                    }
                }
            }
        };
        self.named.insert(digest.as_bytes());
        let disk = self.store().disk();
        let there = |area| match disk.meta(&self.folder.chunk(area, &digest)) {
            Ok(meta) => Ok(meta.kind == disk::Kind::File),
            Err(absent) if absent.is_absent() => Ok(false),
            Err(other) => Err(other),
        };
        let thing = Thing::Chunk(digest);
        match there(Area::Committed) {
            Ok(true) => Named::There,
            Ok(false) if matches!(there(Area::Incoming), Ok(true)) => Named::Uncommitted(thing),
            Ok(false) => Named::Missing(thing),
            Err(_) => Named::Unknown,
        }
    }

    fn judge_log(&self, lines: &Lines, head: Head, walked: &Walked) {
        let there = lines.count();
        if walked.wrong_lines == 0 && there >= head.seq {
            return self.doubt_tail(lines, head);
        }
        // Perhaps a server has rebuilt it since it was opened.
        let again = Lines::new(self.store().open_log(&self.folder).ok().flatten());
        if again.inode() != lines.inode() && self.read_along(&again, head) {
            return;
        }
        let place = self.folder.log();
        if walked.wrong_lines > 0 {
            let what = format!(
                "{} of its lines are not what the chain says, the last of them number {}",
                walked.wrong_lines, walked.newest_wrong
            );
            self.damage(Kind::LogWrong, place, what);
        } else {
            let seq = head.seq;
            let what = format!(
                "{there} lines where HEAD has number {seq}: it is rebuilt when it is needed"
            );
            self.harmless(Kind::LogShort, place, what);
        }
        self.todo().log = true;
    }

    /// What stands in `log` after HEAD means nothing; an advance under way puts it there.
    fn doubt_tail(&self, lines: &Lines, head: Head) {
        let meta = lines.log.as_ref().and_then(|log| log.meta().ok());
        if meta.is_some_and(|meta| meta.bytes > log::LINE * head.seq) {
            self.doubt(Doubt::LogTail);
        }
    }

    /// Says which transaction is the newest whose whole past is sound, if that is not HEAD.
    pub fn tell_newest_sound(&self) {
        let damaged = self.damaged.lock().expect("nobody panics with this");
        if !self.chain.damaged && damaged.is_empty() {
            return;
        }
        let mut lines = Lines::new(self.store().open_log(&self.folder).ok().flatten());
        let walked = self.walk(&mut lines, self.chain.top, Walk::Quiet(&damaged));
        if self.chain.head != Some(walked.sound) {
            self.run.watch.newest_sound(&self.user, walked.sound);
        }
    }
}
