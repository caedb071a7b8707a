//! `log` rebuilt: by walking parents from HEAD, into a new file that is renamed over the old one.
//!
//! What is on the chain never changes, so the walk needs no lock, and uploads go on meanwhile. The
//! exclusive lock is taken at the end: HEAD is looked at once more, what it reaches since is added, and the
//! old file is compared; perhaps somebody else was quicker. One at a time does this for a user, and the
//! others of this process wait for what comes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::error::damaged;
use super::incoming::Temporary;
use super::lock::Exclusive;
use super::state::UserState;
use super::waiting::{deadline, wait_in_place};
use super::walk::Walk;
use super::{Error, Result, User, log};
use crate::disk::{Handle, Target};
use crate::model::{Head, limits};

/// A whole `log` up to a head, durable, without its name. Dropped, it leaves nothing.
struct NewLog {
    temporary: Temporary,
    head: Head,
}

/// Lines that come from the last one down, written many at a time.
struct LogLines {
    file: Handle,
    batch: Vec<String>,
    lowest: u64,
}

impl LogLines {
    fn of(file: &Handle) -> Self {
        Self {
            file: Handle::clone(file),
            batch: Vec::new(),
            lowest: 0,
        }
    }

    fn push(&mut self, here: Head) -> Result<()> {
        self.batch.push(log::line(here.seq, here.id));
        self.lowest = here.seq;
        match self.batch.len() as u64 {
            log::BATCH => self.flush(),
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.batch.reverse();
        let at = log::offset(self.lowest);
        self.file.write_at(at, self.batch.concat().as_bytes())?;
        self.batch.clear();
        Ok(())
    }
}

/// The turn to mend a user's `log`. Dropped, it is free, and those who wait are told.
pub(super) struct MendTurn(Arc<UserState>);

impl MendTurn {
    /// The turn, if nobody has it and nothing has come of it since there were so many.
    fn take(state: &Arc<UserState>, before: u64) -> Option<Self> {
        if state.mending.swap(true, Ordering::AcqRel) {
            return None;
        }
        let turn = Self(Arc::clone(state));
        // Not in one expression with the rest: a turn that is given up tells so, which would wait for ever for
        // what is borrowed here.
        let is_first = *state.mended.borrow() == before;
        is_first.then_some(turn)
    }

    fn tell(&self) {
        self.0.mended.send_modify(|times| *times += 1);
    }
}

impl Drop for MendTurn {
    fn drop(&mut self) {
        self.0.mending.store(false, Ordering::Release);
        self.tell();
    }
}

impl User {
    /// How often something has come of mending this user's `log`. Whoever finds it wrong compares.
    pub fn mends(&self) -> u64 {
        *self.state.mended.borrow()
    }

    /// Sees to it that `log` is mended, on a thread of its own, unless somebody is at it or something has
    /// come of it since there were so many: a user's log takes nobody else's thread.
    ///
    /// # Errors
    /// [`Error::Busy`] where the system has no thread to give.
    pub fn mend_aside(&self, before: u64) -> Result<()> {
        let Some(turn) = MendTurn::take(&self.state, before) else {
            return Ok(());
        };
        let user = self.clone();
        let thread = std::thread::Builder::new().name("log".to_owned());
        match thread.spawn(move || user.mend_log(&turn)) {
            Ok(_) => Ok(()),
            Err(error) => {
                ::log::warn!("no thread to rebuild a log with: {error}");
                Err(Error::Busy)
            }
        }
    }

    /// Returns when something has come of mending since there were so many: `log` is right, or what a walk
    /// has seen is there to read from. Holds no thread.
    pub async fn mended(&self, before: u64) {
        let mut told = self.state.mended.subscribe();
        // The sender is the state's, which is there.
        let _ = told.wait_for(|times| *times != before).await;
    }

    /// Returns when nobody mends `log` any more. Holds no thread.
    pub async fn mended_wholly(&self) {
        let mut told = self.state.mended.subscribe();
        let is_over = |_: &u64| !self.state.mending.load(Ordering::Acquire);
        let _ = told.wait_for(is_over).await;
    }

    /// Whether reads are answered by walking, and it is time to try once more to rebuild `log`.
    pub fn is_mend_due(&self) -> bool {
        self.store
            .walks
            .is_due(&self.folder, self.store.disk.elapsed())
    }

    /// Runs a look at the chain, and again after `log` was mended if it says so, in place: for work that
    /// has a thread of its own, and no lock.
    pub fn mending_log<T>(&self, look: impl Fn() -> Result<T>) -> Result<T> {
        let until = deadline(&*self.store.disk);
        for _ in 0..limits::LOG_LOOKS {
            let before = self.mends();
            match look() {
                Err(Error::LogIsWrong) => {}
                other => return other,
            }
            match MendTurn::take(&self.state, before) {
                Some(turn) => self.mend_log(&turn),
                None => wait_in_place(&*self.store.disk, until, self.mended(before))?,
            }
        }
        Err(self.still_wrong())
    }

    /// Mends `log` in place if it does not tell HEAD, so that an advance need not under the lock. Where that
    /// fails, the advance says why.
    pub(super) fn mend_before_advance(&self) -> Result<()> {
        let before = self.mends();
        let Some(head) = self.vouched_head()? else {
            return Ok(());
        };
        if self.log_reaches(head)? {
            return Ok(());
        }
        match MendTurn::take(&self.state, before) {
            Some(turn) => self.mend_log(&turn),
            None => {
                let over = self.mended_wholly();
                wait_in_place(&*self.store.disk, deadline(&*self.store.disk), over)?;
            }
        }
        Ok(())
    }

    /// Rebuilds `log`, or leaves a walk to read from.
    fn mend_log(&self, turn: &MendTurn) {
        match self.try_to_mend(turn) {
            Ok(()) | Err(Error::UserGone) => {}
            Err(error) => ::log::warn!(
                "user {}: the log cannot be rebuilt, and is read around: {error}",
                self.id.short()
            ),
        }
    }

    fn try_to_mend(&self, turn: &MendTurn) -> Result<()> {
        let head = self.vouched_head()?.ok_or(Error::UserGone)?;
        let began = self.store.disk.elapsed();
        if head.seq == 0 || self.failed_to_mend(head) {
            return Ok(());
        }
        let (walk, built) = self.build_log(head);
        self.keep_walk(walk, &built, began);
        turn.tell();
        let new = built?;
        let lock = self.exclusive_blocking()?;
        lock.ok_or(Error::UserGone)?.install_log(new)
    }

    fn keep_walk(&self, walk: Walk, built: &Result<NewLog>, began: Duration) {
        let now = self.store.disk.elapsed();
        let failed = built.as_ref().err().map(Error::again);
        let took = now.saturating_sub(began);
        self.store
            .walks
            .remember(&self.folder, walk, failed, took, now);
    }

    /// Walks the whole chain, and writes what it sees to a new file as long as that works. The walk is of
    /// use even where the file is not.
    fn build_log(&self, head: Head) -> (Walk, Result<NewLog>) {
        ::log::warn!("user {}: rebuilding the log", self.id.short());
        let mut walk = Walk::from(head);
        let temporary = (self.state.check_writable()).and_then(|()| self.temporary());
        let mut lines = temporary.as_ref().ok().map(|new| LogLines::of(&new.file));
        let mut written = Ok(());
        let walked = self.descend(head, Head::ROOT, |here| {
            walk.note(here);
            if let Some(Err(error)) = lines.as_mut().map(|lines| lines.push(here)) {
                (lines, written) = (None, Err(error));
            }
            Ok(())
        });
        if let Err(why) = walked {
            walk.broke();
            return (walk, Err(why));
        }
        let built = temporary.and_then(|temporary| {
            written?;
            if let Some(mut lines) = lines {
                lines.flush()?;
            }
            let file = Handle::clone(&temporary.file);
            self.store.disk.sync(&[Target::File(file)])?;
            Ok(NewLog { temporary, head })
        });
        (walk, built)
    }

    /// Calls `each` for one after the other, from one down to another, which is left out.
    fn descend(
        &self,
        from: Head,
        to: Head,
        mut each: impl FnMut(Head) -> Result<()>,
    ) -> Result<()> {
        let mut here = from;
        while here.seq > to.seq {
            each(here)?;
            here = self.below(here)?;
        }
        if here != to {
            let what = "the chain does not lead to where it ended a moment ago";
            return Err(damaged(&self.folder.head(), what));
        }
        Ok(())
    }

    /// Whether `log` has the same lines as a new one up to this head, and can be written on. Costs a reading of both.
    fn says_the_same(&self, new: &Handle, head: Head) -> Result<bool> {
        let old = self.store.disk.open_to_write(&self.folder.log());
        let Some(old) = log::unless_wrong(old)? else {
            return Ok(false);
        };
        let mut buffers = [(); 2].map(|()| vec![0; limits::PIECE]);
        let bytes = log::LINE * head.seq;
        let mut at = 0;
        while at < bytes {
            let length = (bytes - at).min(limits::PIECE as u64) as usize;
            let [ours, theirs] = &mut buffers;
            let same = new.read_at(at, &mut ours[..length])? == length
                && log::unless_wrong(old.read_at(at, &mut theirs[..length]))? == Some(length)
                && ours[..length] == theirs[..length];
            if !same {
                return Ok(false);
            }
            at += length as u64;
        }
        Ok(true)
    }
}

impl User {
    /// The error for a `log` that mending does not help.
    pub fn still_wrong(&self) -> Error {
        damaged(&self.folder.log(), "wrong again just after it was rebuilt")
    }
}

impl Exclusive {
    /// Rebuilds `log` in place. Costs the length of the chain, and no memory; where
    /// that has failed a moment ago, nothing.
    pub(crate) fn rebuild_log(&self) -> Result<()> {
        self.state.check_writable()?;
        let head = self.head_under_lock()?;
        let head = head.ok_or(Error::UserGone)?;
        let began = self.store.disk.elapsed();
        if let Some(why) = self.why_not_mend(head) {
            return Err(why);
        }
        let (walk, built) = self.build_log(head);
        self.keep_walk(walk, &built, began);
        self.install_log(built?)
    }

    /// Gives a new `log` its name, unless the old one says the same by now. The walk is kept where the disk does not
    /// give the new one back either.
    fn install_log(&self, mut new: NewLog) -> Result<()> {
        self.state.check_writable()?;
        let head = self.head_under_lock()?;
        let head = head.ok_or(Error::UserGone)?;
        let file = Handle::clone(&new.temporary.file);
        if head != new.head {
            let mut lines = LogLines::of(&file);
            self.descend(head, new.head, |here| lines.push(here))?;
            lines.flush()?;
        }
        if !self.says_the_same(&file, head)? {
            if head != new.head {
                self.store.disk.sync(&[Target::File(file)])?;
            }
            self.replace_log(&mut new.temporary)?;
        }
        if head.seq == 0 || self.right_log(head, 0, head.seq)?.is_some() {
            self.store.walks.forget(&self.folder);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a thread of its own, so that it fails where it would hang.
    #[test]
    fn whoever_comes_after_something_has_come_of_it_gives_the_turn_back() {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let state = Arc::new(UserState::new());
            drop(MendTurn::take(&state, 0));
            let late = MendTurn::take(&state, 0).is_some();
            let now = *state.mended.borrow();
            tell.send((late, MendTurn::take(&state, now).is_some()))
        });
        let told = told.recv_timeout(Duration::from_secs(20));
        assert_eq!(told, Ok((false, true)));
    }
}
