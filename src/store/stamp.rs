//! The file `gate`: its contents are the memory of gc, and its time is that of the last sweep of pending
//! transactions.
//!
//! A sweep changes the time under the exclusive lock, before it removes anything, and whoever knows of
//! pending transactions forgets them when it has changed: an id that went may have come again with other
//! content. The time takes no room. What `gate` holds is written when a run has come to its end, if there
//! is room for it: its first byte stands for "gc was here", and on a full disk is a hole.

use std::time::{Duration, SystemTime};

use super::lock::{Exclusive, Locked};
use super::mistake::Mistake;
use super::state::{Counted, SweepStamp};
use super::{Result, User};
use crate::disk::{self, Handle, IfThere};
use crate::model::limits;
use crate::rules::dates::{Dates, Memory};

impl Exclusive {
    /// Remembers that pending transactions are swept now, so that whoever knows of them forgets it; and,
    /// with that, when gc last ran.
    pub fn note_sweep(&self) -> Result<SweepStamp> {
        self.forget_if_swept()?;
        if let Some(file) = self.gate()? {
            make_byte(&file)?;
            file.touch(self.store.disk.now())?;
        }
        self.note_stamp()
    }

    /// Notes that something else than gc takes pending transactions away now: whoever knows of them forgets it. To be called
    /// before anything is removed. When gc last ran stays known, to the second.
    pub(super) fn note_taken(&self) -> Result<SweepStamp> {
        self.state.known().pending.clear();
        if self.store.mistakes.made(Mistake::UntoldRepair) {
            return Ok(SweepStamp::default());
        }
        if let Some(file) = self.gate()? {
            let before = file.meta()?.modified;
            // As little as this file system can tell apart.
            for step in [1, 1_000, 1_000_000, 1_000_000_000, 2_000_000_000] {
                file.touch(before + Duration::from_nanos(step))?;
                if file.meta()?.modified != before {
                    break;
                }
            }
        }
        self.note_stamp()
    }

    fn note_stamp(&self) -> Result<SweepStamp> {
        let stamp = self.sweep_stamp()?;
        let mut known = self.state.known();
        known.swept = stamp;
        known.counted = Counted::default();
        Ok(stamp)
    }
}

impl Locked {
    /// Forgets what is known of the pending transactions if somebody has swept since: an id that
    /// went may have come again with other content.
    pub(super) fn forget_if_swept(&self) -> Result<()> {
        let stamp = self.sweep_stamp()?;
        let mut known = self.state.known();
        if known.swept != stamp {
            known.swept = stamp;
            known.pending.clear();
            known.counted = Counted::default();
        }
        Ok(())
    }
}

impl User {
    /// Remembers that gc ran on this user to its end, and what that proves; unless somebody has swept since
    /// the stamp was taken, who will remember it. Where this run swept nothing itself, the time becomes the run's.
    ///
    /// Takes no room that it must have: on a full disk what was remembered before stands.
    pub fn remember_gc(
        &self,
        stamp: SweepStamp,
        swept_nothing: bool,
        memory: &Memory,
    ) -> Result<()> {
        // Nobody sweeps meanwhile.
        let Some(_lock) = self.shared_blocking()? else {
            return Ok(());
        };
        if self.sweep_stamp()? != stamp {
            return Ok(());
        }
        let Some(file) = self.gate()? else {
            return Ok(());
        };
        let before = file.meta()?.modified;
        match file.write_at(0, line(memory).as_bytes()) {
            Err(full) if full.is_no_space() => make_byte(&file)?,
            other => other?,
        }
        let time = match swept_nothing {
            true => self.store.disk.now(),
            false => before,
        };
        Ok(file.touch(time)?)
    }

    /// The memory of gc of this user, if a run has come to its end since there is such a memory.
    pub fn gc_memory(&self) -> Result<Option<Memory>> {
        let Some(file) = self.store.disk.open(&self.folder.gate()).if_there()? else {
            return Ok(None);
        };
        let mut buffer = [0; LINE];
        let read = file.read_at(0, &mut buffer)?;
        Ok(parse(&buffer[..read]))
    }

    /// The dates in this user's `incoming/` that can be believed now.
    pub fn dates(&self) -> Result<Dates> {
        if self.store.mistakes.made(Mistake::BelieveDates) {
            return Ok(Dates::ALL);
        }
        Ok(Dates::of(self.gc_memory()?.as_ref(), self.store.disk.now()))
    }

    fn gate(&self) -> Result<Option<Handle>> {
        Ok((self.store.disk.open_to_write(&self.folder.gate())).if_there()?)
    }

    /// When gc last ran on this user, if ever.
    pub fn last_gc(&self) -> Result<Option<SystemTime>> {
        let meta = self.store.meta_if_there(&self.folder.gate())?;
        Ok(meta.and_then(|meta| (meta.bytes > 0).then_some(meta.modified)))
    }

    /// The stamp that changes with every sweep of pending transactions, by whomever, and with the folder that the
    /// user has, as far as this process has seen it. Whoever takes the lock sees it.
    pub fn sweep_stamp(&self) -> Result<SweepStamp> {
        let meta = self.store.meta_if_there(&self.folder.gate())?;
        let generation = match self.store.mistakes.made(Mistake::AnyFolderSwept) {
            true => 0,
            false => self.state.known().generation,
        };
        Ok(SweepStamp {
            generation,
            gate: meta.map(|meta| meta.modified),
        })
    }
}

/// `gate` is one byte long at least.
fn make_byte(file: &Handle) -> disk::Result<()> {
    match file.meta()?.bytes {
        0 => file.set_len(1),
        _ => Ok(()),
    }
}

/// Three times, two blanks, a newline: always as long, so that one line replaces another.
const LINE: usize = 3 * 20 + 3;

fn line(memory: &Memory) -> String {
    let time = |time: SystemTime| {
        // What a person can read, and what fits in four digits of a year.
        let first = SystemTime::UNIX_EPOCH;
        let time = time.clamp(first, first + limits::LATEST_DATE);
        humantime::format_rfc3339_seconds(time)
    };
    let Memory { ran, newest, cut } = *memory;
    format!("{} {} {}\n", time(ran), time(newest), time(cut))
}

fn parse(line: &[u8]) -> Option<Memory> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let mut times = (line.split(' ')).map(|time| humantime::parse_rfc3339(time).ok());
    let mut next = || times.next().flatten();
    let (ran, newest, cut) = (next()?, next()?, next()?);
    times
        .next()
        .is_none()
        .then_some(Memory { ran, newest, cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_read_again_to_the_second_and_one_line_is_as_long_as_another() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let memory = Memory {
            ran: at(1_735_689_600),
            newest: at(1_735_689_601),
            cut: at(0),
        };
        let text = "2025-01-01T00:00:00Z 2025-01-01T00:00:01Z 1970-01-01T00:00:00Z\n";
        assert_eq!(line(&memory), text);
        assert_eq!(parse(text.as_bytes()), Some(memory));
        let far = Memory {
            ran: at(u32::MAX.into()),
            newest: at(1 << 40),
            cut: SystemTime::UNIX_EPOCH - Duration::from_secs(1),
        };
        assert_eq!(line(&far).len(), LINE);
    }

    #[test]
    fn what_is_no_memory_is_none() {
        let good = "2025-01-01T00:00:00Z 2025-01-01T00:00:01Z 1970-01-01T00:00:00Z";
        for bad in [
            "".to_owned(),
            "\0".to_owned(),
            good.to_owned(),
            format!("{good} 1970-01-01T00:00:00Z\n"),
            format!("{}\n", &good[..41]),
            format!("{}x\n", &good[..62]),
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
