//! The chain: HEAD, the transactions that it reaches, `log`, and whether the chunks they name are there.
//!
//! Where `log` is right it is a way into the chain at any place, so that many threads can check stretches of
//! it at a time: by induction from HEAD, it is right if each line's transaction has that number and the line
//! before it as parent. At the first doubt that is given up, and the chain is walked from HEAD, parent by
//! parent, which tells a wrong log from a wrong transaction.

use std::sync::atomic::{AtomicBool, Ordering};

use super::access::{READ, READ_WRITE};
use super::check::Check;
use super::crew::share_out;
use super::finding::Kind;
use super::lines::LogReader;
use super::named::NamedChunk;
use super::suspect::Suspect;
use super::walk::{ChainWalk, Walked};
use crate::disk::{Handle, IfThere, Meta};
use crate::model::{Head, TransactionId, limits};
use crate::store::layout::{Dir, Shelf};
use crate::store::{self, log};

impl Check<'_> {
    /// Reads HEAD, then the chain that it ends.
    pub fn read_chain(&mut self) {
        let head = self.read_head();
        let log = self.open_log();
        let mut lines = LogReader::new(log);
        if head == Some(TransactionId::ROOT) {
            self.chain.head = Some(Head::ROOT);
            self.chain.whole = true;
            self.suspect_tail(&lines, Head::ROOT);
            return;
        }
        let head = head.map(|id| self.place_head(id, &mut lines));
        if let Some(head @ Head { id, .. }) = head {
            self.chain.head = Some(head);
            self.chain.top = (Some(id), head.seq);
            if lines.get(head.seq) == Some(id) && self.read_along(&lines, head) {
                self.chain.whole = true;
                self.tally_chain(head.seq);
                self.suspect_tail(&lines, head);
                return;
            }
        }
        self.forget_noted();
        self.content_ids.forget();
        self.chain.top = match head {
            Some(head) => (Some(head.id), head.seq),
            None => self.best_guess(&mut lines),
        };
        let walked = self.walk(&mut lines, self.chain.top, ChainWalk::Loud);
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
    fn log_now(&self) -> store::Result<LogReader> {
        let Some(log) = self.store().open_log(&self.folder)? else {
            return Ok(LogReader::new(None));
        };
        let meta = log.opened()?;
        Ok(LogReader::new(Some((log, meta))))
    }

    /// HEAD's number: where `log` and the transaction do not agree, it is most likely the last line's.
    fn place_head(&self, id: TransactionId, lines: &mut LogReader) -> Head {
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
    fn best_guess(&self, lines: &mut LogReader) -> (Option<TransactionId>, u64) {
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
    fn read_along(&self, lines: &LogReader, head: Head) -> bool {
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
                if !matches!(self.look_for(chunk), NamedChunk::There) {
                    return None;
                }
            }
            self.mode(&place, &meta, READ);
            self.content_ids.note(&there, &place);
            self.run.watch.checked(0);
        }
        Some(())
    }

    fn judge_log(&self, lines: &LogReader, head: Head, walked: &Walked) {
        let there = lines.count();
        if walked.wrong_lines == 0 && there >= head.seq {
            return self.suspect_tail(lines, head);
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

    /// Suspects lines of `log` after HEAD: they mean nothing, and an advance under way puts them there too.
    fn suspect_tail(&self, lines: &LogReader, head: Head) {
        if lines.bytes() > log::LINE * head.seq {
            self.suspect(Suspect::LogTail);
        }
    }

    /// Reports the newest transaction whose whole past is sound, if that is not HEAD.
    pub fn tell_newest_sound(&self) {
        let damaged = self.damaged.lock().expect("nobody panics with this");
        if !self.chain.damaged && damaged.is_empty() && !self.content_ids.any_is_wrong() {
            return;
        }
        // Without a log it is found by walking.
        let mut lines = self.log_now().unwrap_or_else(|_| LogReader::new(None));
        let walked = self.walk(&mut lines, self.chain.top, ChainWalk::Quiet(&damaged));
        if self.chain.head != Some(walked.sound) {
            self.run.watch.newest_sound(&self.user, walked.sound);
        }
    }
}
