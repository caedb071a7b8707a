//! `log` rebuilt: by walking parents from HEAD, into a new file that is renamed over the old one.
//!
//! What is on the chain never changes, so the walk needs no lock, and uploads go on meanwhile. The
//! exclusive lock is taken at the end: HEAD is looked at once more, what it reaches since is added, and the
//! old file is compared; perhaps somebody else was quicker. One at a time does this for a user, and the
//! others of this process wait for what comes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::incoming::Temporary;
use super::layout::{Dir, Folder};
use super::lock::{UserLock, deadline, wait_in_place};
use super::user::{UserState, damaged};
use super::walk::Walk;
use super::{Error, Result, Store, log};
use crate::disk::{Handle, Mode, Target};
use crate::model::{Head, UserId, limits};

/// A whole `log` up to a head, durable, without its name. Dropped, it leaves nothing.
struct NewLog {
    temporary: Temporary,
    head: Head,
}

/// Lines that come from the last one down, written many at a time.
struct Lines {
    file: Handle,
    batch: Vec<String>,
    lowest: u64,
}

impl Lines {
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
pub(super) struct Turn(Arc<UserState>);

impl Turn {
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

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.mending.store(false, Ordering::Release);
        self.tell();
    }
}

impl Store {
    /// How often something has come of mending this user's `log`. Whoever finds it wrong compares.
    pub fn mends(&self, user: &UserId) -> u64 {
        *self.users.state(user).mended.borrow()
    }

    /// Sees to it that `log` is mended, on a thread of its own, unless somebody is at it or something has
    /// come of it since there were so many: a user's log takes nobody else's thread.
    ///
    /// # Errors
    /// [`Error::Busy`] where the system has no thread to give.
    pub fn mend_aside(self: &Arc<Self>, user: &UserId, before: u64) -> Result<()> {
        let state = self.users.state(user);
        let Some(turn) = Turn::take(&state, before) else {
            return Ok(());
        };
        let (store, user) = (Arc::clone(self), *user);
        let thread = std::thread::Builder::new().name("log".to_owned());
        match thread.spawn(move || store.mend_log(&user, &turn)) {
            Ok(_) => Ok(()),
            Err(error) => {
                ::log::warn!("no thread to rebuild a log with: {error}");
                Err(Error::Busy)
            }
        }
    }

    /// Returns when something has come of mending since there were so many: `log` is right, or what a walk
    /// has seen is there to read from. Holds no thread.
    pub async fn mended(&self, user: &UserId, before: u64) {
        let state = self.users.state(user);
        let mut told = state.mended.subscribe();
        // The sender is the state's, which is there.
        let _ = told.wait_for(|times| *times != before).await;
    }

    /// The same, but returns when nobody is at it any more.
    pub async fn mended_wholly(&self, user: &UserId) {
        let state = self.users.state(user);
        let mut told = state.mended.subscribe();
        let is_over = |_: &u64| !state.mending.load(Ordering::Acquire);
        let _ = told.wait_for(is_over).await;
    }

    /// Whether reads are answered by walking, and it is time to try once more to rebuild `log`.
    pub fn is_mend_due(&self, user: &UserId) -> bool {
        self.walks.is_due(&Folder::of(user), self.disk.elapsed())
    }

    /// Runs a look at the chain, and again after `log` was mended if it says so, in place: for work that
    /// has a thread of its own, and no lock.
    pub fn mending_log<T>(&self, user: &UserId, look: impl Fn() -> Result<T>) -> Result<T> {
        let until = deadline(&*self.disk);
        for _ in 0..limits::LOG_LOOKS {
            let before = self.mends(user);
            match look() {
                Err(Error::LogIsWrong) => {}
                other => return other,
            }
            match Turn::take(&self.users.state(user), before) {
                Some(turn) => self.mend_log(user, &turn),
                None => wait_in_place(&*self.disk, until, self.mended(user, before))?,
            }
        }
        Err(still_wrong(user))
    }

    /// Mends `log` in place if it does not tell HEAD, so that an advance need not under the lock. Where that
    /// fails, the advance says why.
    pub(super) fn mend_before_advance(&self, user: &UserId) -> Result<()> {
        let (state, folder) = (self.users.state(user), Folder::of(user));
        let before = self.mends(user);
        let Some(head) = self.vouched_head(&state, &folder)? else {
            return Ok(());
        };
        if self.log_reaches(&folder, head)? {
            return Ok(());
        }
        match Turn::take(&state, before) {
            Some(turn) => self.mend_log(user, &turn),
            None => {
                let over = self.mended_wholly(user);
                wait_in_place(&*self.disk, deadline(&*self.disk), over)?;
            }
        }
        Ok(())
    }

    /// Rebuilds `log`, or leaves a walk to read from.
    fn mend_log(&self, user: &UserId, turn: &Turn) {
        match self.try_to_mend(user, turn) {
            Ok(()) | Err(Error::UserGone) => {}
            Err(error) => ::log::warn!(
                "user {}: the log cannot be rebuilt, and is read around: {error}",
                user.short()
            ),
        }
    }

    fn try_to_mend(&self, user: &UserId, turn: &Turn) -> Result<()> {
        let (state, folder) = (&turn.0, Folder::of(user));
        let head = self.vouched_head(state, &folder)?.ok_or(Error::UserGone)?;
        let began = self.disk.elapsed();
        if head.seq == 0 || self.failed_to_mend(&folder, head) {
            return Ok(());
        }
        let (walk, built) = self.build_log(user, state, &folder, head);
        self.keep_walk(&folder, walk, &built, began);
        turn.tell();
        let new = built?;
        let lock = self.lock_blocking(user, Mode::Exclusive)?;
        self.install_log(&lock.ok_or(Error::UserGone)?, new)
    }

    /// Rebuilds `log` in place, under the exclusive lock. Costs the length of the chain, and no memory; where
    /// that has failed a moment ago, nothing.
    pub(crate) fn rebuild_log(&self, lock: &UserLock) -> Result<()> {
        let folder = &lock.folder;
        lock.state.check_writable()?;
        let head = self.vouched_head_under(lock)?;
        let head = head.ok_or(Error::UserGone)?;
        let began = self.disk.elapsed();
        if let Some(why) = self.why_not_mend(folder, head) {
            return Err(why);
        }
        let (walk, built) = self.build_log(&lock.user, &lock.state, folder, head);
        if built.is_err() {
            self.keep_walk(folder, walk, &built, began);
        }
        self.install_log(lock, built?)
    }

    fn keep_walk(&self, folder: &Folder, walk: Walk, built: &Result<NewLog>, began: Duration) {
        let now = self.disk.elapsed();
        let failed = built.as_ref().err().map(Error::again);
        let took = now.saturating_sub(began);
        self.walks.remember(folder, walk, failed, took, now);
    }

    /// Walks the whole chain, and writes what it sees to a new file as long as that works. The walk is of
    /// use even where the file is not.
    fn build_log(
        &self,
        user: &UserId,
        state: &UserState,
        folder: &Folder,
        head: Head,
    ) -> (Walk, Result<NewLog>) {
        ::log::warn!("user {}: rebuilding the log", user.short());
        let mut walk = Walk::from(head);
        let temporary = state
            .check_writable()
            .and_then(|()| self.temporary(state, folder));
        let mut lines = temporary.as_ref().ok().map(|new| Lines::of(&new.file));
        let mut written = Ok(());
        let walked = self.descend(folder, head, Head::ROOT, |here| {
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
            self.disk.sync(&[Target::File(file)])?;
            Ok(NewLog { temporary, head })
        });
        (walk, built)
    }

    /// Calls `each` for one after the other, from one down to another, which is left out.
    fn descend(
        &self,
        folder: &Folder,
        from: Head,
        to: Head,
        mut each: impl FnMut(Head) -> Result<()>,
    ) -> Result<()> {
        let mut here = from;
        while here.seq > to.seq {
            each(here)?;
            here = self.below(folder, here)?;
        }
        if here != to {
            let what = "the chain does not lead to where it ended a moment ago";
            return Err(damaged(&folder.head(), what));
        }
        Ok(())
    }

    /// Gives a new `log` its name, unless the old one says the same by now. Needs the exclusive lock.
    fn install_log(&self, lock: &UserLock, mut new: NewLog) -> Result<()> {
        let folder = &lock.folder;
        assert_eq!(
            lock.mode,
            Mode::Exclusive,
            "log is replaced under that lock"
        );
        lock.state.check_writable()?;
        let head = self.vouched_head_under(lock)?;
        let head = head.ok_or(Error::UserGone)?;
        let file = Handle::clone(&new.temporary.file);
        if head != new.head {
            let mut lines = Lines::of(&file);
            self.descend(folder, head, new.head, |here| lines.push(here))?;
            lines.flush()?;
        }
        if !self.says_the_same(folder, &file, head)? {
            if head != new.head {
                self.disk.sync(&[Target::File(file)])?;
            }
            new.temporary.replace(&folder.log())?;
            self.sync_dirs(&lock.state, folder, [Dir::User], Vec::new())?;
        }
        self.walks.forget(folder);
        Ok(())
    }

    /// Whether `log` has the same lines as a new one up to this head. Costs a reading of both.
    fn says_the_same(&self, folder: &Folder, new: &Handle, head: Head) -> Result<bool> {
        let Some(old) = self.log_to_read(folder)? else {
            return Ok(false);
        };
        let mut buffers = [(); 2].map(|()| vec![0; limits::PIECE]);
        let bytes = log::LINE * head.seq;
        let mut at = 0;
        while at < bytes {
            let length = (bytes - at).min(limits::PIECE as u64) as usize;
            let [ours, theirs] = &mut buffers;
            let same = new.read_at(at, &mut ours[..length])? == length
                && old.read_at(at, &mut theirs[..length])? == length
                && ours[..length] == theirs[..length];
            if !same {
                return Ok(false);
            }
            at += length as u64;
        }
        Ok(true)
    }
}

/// Mending it does not help.
pub fn still_wrong(user: &UserId) -> Error {
    damaged(
        &Folder::of(user).log(),
        "wrong again just after it was rebuilt",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a thread of its own, so that it fails where it would hang.
    #[test]
    fn whoever_comes_after_something_has_come_of_it_gives_the_turn_back() {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let state = Arc::new(UserState::new(UserId::from_bytes([1; 16])));
            drop(Turn::take(&state, 0));
            let late = Turn::take(&state, 0).is_some();
            let now = *state.mended.borrow();
            tell.send((late, Turn::take(&state, now).is_some()))
        });
        let told = told.recv_timeout(Duration::from_secs(20));
        assert_eq!(told, Ok((false, true)));
    }
}
