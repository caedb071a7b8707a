//! A send that is told to stop while it is under way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// The way for another thread to have a send stop. The programs that a send runs are in a group of their own, so that what ends
/// this process, or a key that is typed, does not end them at a bad moment.
#[derive(Debug, Default)]
pub struct StopSend(Mutex<StopState>);

#[derive(Debug, Default)]
struct StopState {
    is_asked: bool,
    /// The user is gone here, or is about to be.
    is_past: bool,
    group: Option<Pid>,
}

/// The programs of a send, for as long as their group is theirs.
pub(super) struct Programs<'a>(&'a StopSend);

impl StopSend {
    /// Ends the programs of the send, which then fails and has the user served here again if it was it that froze it. Returns
    /// `false` where the user is gone here, so that the send has to go on to its end.
    pub fn ask(&self) -> bool {
        let mut course = self.course();
        if course.is_past {
            return false;
        }
        course.is_asked = true;
        if let Some(group) = course.group {
            end(group);
        }
        true
    }

    /// Whether somebody asked in time.
    pub fn is_asked(&self) -> bool {
        self.course().is_asked
    }

    /// From here on nothing stops the send; returns `false` where somebody asked before.
    pub(super) fn pass(&self) -> bool {
        let mut course = self.course();
        course.is_past = !course.is_asked;
        course.is_past
    }

    /// Notes the group of the programs, led by one that is not waited for before this is dropped.
    pub(super) fn runs(&self, leader: u32) -> Programs<'_> {
        let mut course = self.course();
        course.group = i32::try_from(leader).ok().and_then(Pid::from_raw);
        if let (true, Some(group)) = (course.is_asked, course.group) {
            end(group);
        }
        Programs(self)
    }

    fn course(&self) -> MutexGuard<'_, StopState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Programs<'_> {
    fn drop(&mut self) {
        self.0.course().group = None;
    }
}

fn end(group: Pid) {
    // Nobody being there any more is as good.
    let _ = kill_process_group(group, Signal::TERM);
}
