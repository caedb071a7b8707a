//! What gc remembers of a user, and when pending transactions were last swept: what `gate` holds, and its
//! time.
//!
//! A sweep changes the time under the exclusive lock, before it removes anything, and whoever knows of
//! pending transactions forgets them when it has changed: an id that went may have come again with other
//! content. The time takes no room. What `gate` holds is written when a run has come to its end, if there
//! is room for it: its first byte stands for "gc was here", and on a full disk is a hole.

use std::time::{Duration, SystemTime};

use super::layout::Folder;
use super::lock::UserLock;
use super::mistake::Mistake;
use super::pending::Counted;
use super::sweep::exclusive;
use super::{Result, Store};
use crate::disk::{self, Handle, IfThere, Mode};
use crate::model::{UserId, limits};
use crate::rules::dates::{Dates, Memory};

/// The time of `gate`, which changes before pending transactions are swept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepStamp(Option<SystemTime>);

impl Store {
    /// Remembers that pending transactions are swept now, so that whoever knows of them forgets it; and,
    /// with that, when gc last ran. Needs the exclusive lock.
    pub fn note_sweep(&self, lock: &UserLock) -> Result<SweepStamp> {
        exclusive(lock);
        self.forget_if_swept(lock)?;
        if let Some(file) = self.gate(&lock.user)? {
            make_byte(&file)?;
            file.touch(self.disk.now())?;
        }
        self.note_stamp(lock)
    }

    /// Something else than gc takes pending transactions away now: whoever knows of them forgets it. Needs
    /// the exclusive lock, before anything is removed. When gc last ran stays known, to the second.
    pub(super) fn note_taken(&self, lock: &UserLock) -> Result<SweepStamp> {
        exclusive(lock);
        lock.state.known().pending.clear();
        if self.mistakes.made(Mistake::UntoldRepair) {
            return Ok(SweepStamp::default());
        }
        if let Some(file) = self.gate(&lock.user)? {
            let before = file.meta()?.modified;
            // As little as this file system can tell apart.
            for step in [1, 1_000, 1_000_000, 1_000_000_000, 2_000_000_000] {
                file.touch(before + Duration::from_nanos(step))?;
                if file.meta()?.modified != before {
                    break;
                }
            }
        }
        self.note_stamp(lock)
    }

    fn note_stamp(&self, lock: &UserLock) -> Result<SweepStamp> {
        let stamp = self.sweep_stamp(&lock.user)?;
        let mut known = lock.state.known();
        known.swept = stamp;
        known.counted = Counted::default();
        Ok(stamp)
    }

    /// Remembers that gc ran on this user to its end, and what that proves; unless somebody has swept since
    /// the stamp was taken, who will remember it. Where this run swept nothing itself, the time becomes the run's.
    ///
    /// Takes no room that it must have: on a full disk what was remembered before stands.
    pub fn remember_gc(
        &self,
        user: &UserId,
        stamp: SweepStamp,
        swept_nothing: bool,
        memory: &Memory,
    ) -> Result<()> {
        // Nobody sweeps meanwhile.
        let Some(_lock) = self.lock_blocking(user, Mode::Shared)? else {
            return Ok(());
        };
        if self.sweep_stamp(user)? != stamp {
            return Ok(());
        }
        let Some(file) = self.gate(user)? else {
            return Ok(());
        };
        let before = file.meta()?.modified;
        match file.write_at(0, line(memory).as_bytes()) {
            Err(full) if full.is_no_space() => make_byte(&file)?,
            other => other?,
        }
        let time = match swept_nothing {
            true => self.disk.now(),
            false => before,
        };
        Ok(file.touch(time)?)
    }

    /// What gc remembers of this user, if a run has come to its end since there is such a memory.
    pub fn gc_memory(&self, user: &UserId) -> Result<Option<Memory>> {
        let Some(file) = self.disk.open(&Folder::of(user).gate()).if_there()? else {
            return Ok(None);
        };
        let mut buffer = [0; LINE];
        let read = file.read_at(0, &mut buffer)?;
        Ok(parse(&buffer[..read]))
    }

    /// Which dates in this user's `incoming/` can be believed now.
    pub fn dates(&self, user: &UserId) -> Result<Dates> {
        if self.mistakes.made(Mistake::BelieveDates) {
            return Ok(Dates::ALL);
        }
        Ok(Dates::of(self.gc_memory(user)?.as_ref(), self.disk.now()))
    }

    fn gate(&self, user: &UserId) -> Result<Option<Handle>> {
        Ok((self.disk.open_to_write(&Folder::of(user).gate())).if_there()?)
    }

    /// When gc last ran on this user, if ever.
    pub fn last_gc(&self, user: &UserId) -> Result<Option<SystemTime>> {
        let meta = self.meta_if_there(&Folder::of(user).gate())?;
        Ok(meta.and_then(|meta| (meta.bytes > 0).then_some(meta.modified)))
    }

    /// What changes with every sweep of pending transactions, by whomever.
    pub fn sweep_stamp(&self, user: &UserId) -> Result<SweepStamp> {
        let meta = self.meta_if_there(&Folder::of(user).gate())?;
        Ok(SweepStamp(meta.map(|meta| meta.modified)))
    }

    /// Forgets what is known of the pending transactions if somebody has swept since: an id that
    /// went may have come again with other content. Needs a lock, so that nobody sweeps now.
    pub(super) fn forget_if_swept(&self, lock: &UserLock) -> Result<()> {
        let stamp = self.sweep_stamp(&lock.user)?;
        let mut known = lock.state.known();
        if known.swept != stamp {
            known.swept = stamp;
            known.pending.clear();
            known.counted = Counted::default();
        }
        Ok(())
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
