//! How far a pull or a push is, as the one who listens is told it.

use std::cell::Cell;
use std::io::{self, Read};

use super::Replica;
use crate::client::progress::Progress;
use crate::model::{Head, limits};

/// The course of one answer to a pull: what came of it, and how much it is.
pub(super) struct Course<'a> {
    replica: &'a Replica,
    /// HEAD before it.
    before: Head,
    transactions: Cell<u64>,
    bytes: Cell<u64>,
    foretold: Cell<bool>,
}

impl<'a> Course<'a> {
    /// The course of an answer which may be long: how long is asked once it is seen to be.
    pub fn of_pull(replica: &'a Replica, before: Head) -> Self {
        Self {
            replica,
            before,
            transactions: Cell::new(0),
            bytes: Cell::new(0),
            foretold: Cell::new(false),
        }
    }

    /// The course of what is fetched by name: the rest of an answer that was foretold, or nobody knows how much.
    pub fn of_rest(replica: &'a Replica, before: Head) -> Self {
        let foretold = Cell::new(true);
        Self {
            foretold,
            ..Self::of_pull(replica, before)
        }
    }

    /// One transaction more is verified.
    pub fn transaction(&self) {
        self.transactions.set(self.transactions.get() + 1);
        if let Some(progress) = &self.replica.progress {
            progress.came(1, 0);
        }
    }

    fn bytes(&self, bytes: u64) {
        let Some(progress) = &self.replica.progress else {
            return;
        };
        self.bytes.set(self.bytes.get() + bytes);
        progress.came(0, bytes);
        if self.bytes.get() > limits::FORETOLD && !self.foretold.replace(true) {
            self.foretell(&**progress);
        }
    }

    /// Asks how much there is, and tells it. What the server does not say is not told, and stops nothing.
    fn foretell(&self, progress: &dyn Progress) {
        if !progress.is_watched() {
            return;
        }
        let remote = &self.replica.remote;
        let Ok(theirs) = remote.head() else { return };
        let all = theirs.seq.saturating_sub(self.before.seq);
        let asked = all.min(limits::PULLED_TOGETHER);
        if asked == 0 {
            return;
        }
        let first = remote.bundle_bytes(self.before.id, asked).ok().flatten();
        let bytes = first.map(|first| {
            let all = u128::from(first) * u128::from(all) / u128::from(asked);
            u64::try_from(all).unwrap_or(u64::MAX)
        });
        progress.will_come(
            all.saturating_sub(self.transactions.get()),
            bytes.map(|bytes| bytes.saturating_sub(self.bytes.get())),
        );
    }
}

/// An answer of the server whose bytes are counted.
pub(super) struct CountedAnswer<'a> {
    answer: &'a mut (dyn Read + 'a),
    course: &'a Course<'a>,
}

impl<'a> CountedAnswer<'a> {
    pub fn of(answer: &'a mut (dyn Read + 'a), course: &'a Course<'a>) -> Self {
        Self { answer, course }
    }
}

impl Read for CountedAnswer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.answer.read(buffer)?;
        self.course.bytes(read as u64);
        Ok(read)
    }
}

impl Replica {
    /// Tells that so many transactions with so many bytes go now, and so many transactions after them, which are taken
    /// to be like them.
    pub(super) fn will_go(&self, transactions: usize, bytes: u64, later: usize) {
        if let Some(progress) = &self.progress {
            let (now, all) = (transactions as u64, (transactions + later) as u64);
            let all_bytes = u128::from(bytes) * u128::from(all.max(1)) / u128::from(now.max(1));
            progress.will_go(all, u64::try_from(all_bytes).unwrap_or(u64::MAX));
        }
    }

    /// Tells that the server has so many transactions more.
    pub(super) fn went(&self, transactions: usize) {
        if let Some(progress) = &self.progress {
            progress.went(transactions as u64, 0);
        }
    }
}
