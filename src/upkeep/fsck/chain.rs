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
use crate::disk::{self, Handle, IfThere, Meta};
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

/// `log`, read backwards, as it was when it was opened.
pub(super) struct Lines {
    log: Option<(Handle, Meta)>,
    first: u64,
    lines: Vec<Option<TransactionId>>,
    /// The disk did not give all of it.
    error: Option<store::Error>,
}

impl Lines {
    fn new(log: Option<(Handle, Meta)>) -> Self {
        Self {
            log,
            first: 0,
            lines: Vec::new(),
            error: None,
        }
    }

    fn inode(&self) -> Option<u64> {
        self.log.as_ref().map(|(_, meta)| meta.inode)
    }

    fn bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, |(_, meta)| meta.bytes)
    }

    /// How many whole lines there are.
    pub fn count(&self) -> u64 {
        self.bytes() / log::LINE
    }

    pub fn get(&mut self, seq: u64) -> Option<TransactionId> {
        let (log, _) = self.log.as_ref().filter(|_| seq > 0)?;
        if seq < self.first || seq >= self.first + self.lines.len() as u64 {
            self.first = (seq + 1).saturating_sub(log::BATCH).max(1);
            let count = seq + 1 - self.first;
            match log::read_lines(log, self.first, count) {
                Ok(lines) => self.lines = lines,
                Err(error) => {
                    self.lines = Vec::new();
                    self.error = Some(error.into());
                }
            }
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
        self.forget_noted();
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
        if let Ok(None) = self.store().disk().meta(&place).if_there() {
            let what = "an unfinished copy: the server refuses this user";
            self.damage(Kind::NoHead, place, what);
            return None;
        }
        match self.store().read_head(&self.folder) {
            Ok(Some((file, id))) => {
                if let Some(meta) = self.seen(&place, file.opened()) {
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

    fn open_log(&self) -> Option<(Handle, Meta)> {
        let place = self.folder.log();
        let log = self.seen(&place, self.store().open_log(&self.folder))??;
        let meta = self.seen(&place, log.opened())?;
        self.mode(&place, &meta, READ_WRITE);
        Some((log, meta))
    }

    /// The log as it is now, without a word about it.
    fn log_now(&self) -> store::Result<Lines> {
        let Some(log) = self.store().open_log(&self.folder)? else {
            return Ok(Lines::new(None));
        };
        let meta = log.opened()?;
        Ok(Lines::new(Some((log, meta))))
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
            // Only a place to begin at: what is wrong with it is reported where the files are read.
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
        let Some((log, _)) = &lines.log else {
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
        let there = |area| {
            let meta = disk.meta(&self.folder.chunk(area, &digest)).if_there();
            meta.map(|meta| meta.is_some_and(|meta| meta.kind == disk::Kind::File))
        };
        let thing = Thing::Chunk(digest);
        let both = there(Area::Committed).and_then(|committed| {
            let incoming = !committed && there(Area::Incoming)?;
            Ok((committed, incoming))
        });
        match both {
            Ok((true, _)) => Named::There,
            Ok((false, true)) => Named::Uncommitted(thing),
            Ok((false, false)) => Named::Missing(thing),
            Err(_) => Named::Unknown,
        }
    }

    fn judge_log(&self, lines: &Lines, head: Head, walked: &Walked) {
        let there = lines.count();
        if walked.wrong_lines == 0 && there >= head.seq {
            return self.doubt_tail(lines, head);
        }
        let place = self.folder.log();
        // Perhaps a server has rebuilt it since it was opened.
        if let Some(again) = self.seen(&place, self.log_now())
            && again.inode() != lines.inode()
            && self.read_along(&again, head)
        {
            return;
        }
        if let Some(error) = &lines.error {
            self.trouble(&place, error, Kind::LogWrong);
        } else if walked.wrong_lines > 0 {
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
        if lines.bytes() > log::LINE * head.seq {
            self.doubt(Doubt::LogTail);
        }
    }

    /// Says which transaction is the newest whose whole past is sound, if that is not HEAD.
    pub fn tell_newest_sound(&self) {
        let damaged = self.damaged.lock().expect("nobody panics with this");
        if !self.chain.damaged && damaged.is_empty() {
            return;
        }
        // Without a log it is found by walking.
        let mut lines = self.log_now().unwrap_or_else(|_| Lines::new(None));
        let walked = self.walk(&mut lines, self.chain.top, Walk::Quiet(&damaged));
        if self.chain.head != Some(walked.sound) {
            self.run.watch.newest_sound(&self.user, walked.sound);
        }
    }
}
