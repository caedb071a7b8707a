//! The chain without `log`: walked from HEAD, parent by parent, and remembered in marks.
//!
//! Where `log` cannot be rebuilt, reads are answered from here. The marks lie so far apart that there are
//! at most [`limits::WALK_MARKS`], however long the chain is: whoever wants the id of a number walks from
//! the mark above it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::layout::Folder;
use super::{Error, Result};
use crate::disk::Place;
use crate::model::{Head, TransactionId, limits};

/// A transaction's place, as HEAD and `log` tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    OnChain(u64),
    /// Not there, or left behind by an advance that did not come to its end.
    OffChain,
    /// `log` cannot tell: it must be rebuilt.
    LogIsWrong,
}

/// The step from one on the chain to its parent, which reads a file.
pub(super) type Below<'a> = &'a dyn Fn(Head) -> Result<Head>;

/// Marks of a walk from HEAD.
#[derive(Debug)]
pub(super) struct Walk {
    head: Head,
    /// Every so manieth id is remembered.
    stride: u64,
    /// The ids of the numbers that are multiples of it, from HEAD down.
    marks: Vec<TransactionId>,
    /// The lowest one whose id is known.
    bottom: Head,
    /// The file of the lowest one could not be read, so that nothing below it is known.
    pub is_broken: bool,
}

impl Walk {
    /// A walk that begins at `head`, which is not the root.
    pub fn from(head: Head) -> Self {
        Self {
            head,
            stride: head.seq.div_ceil(limits::WALK_MARKS).max(1),
            marks: Vec::new(),
            bottom: head,
            is_broken: false,
        }
    }

    /// The next one below the last.
    pub fn note(&mut self, here: Head) {
        if here.seq.is_multiple_of(self.stride) {
            self.marks.push(here.id);
        }
        self.bottom = here;
    }

    /// Ends the walk: it goes no further.
    pub fn broke(&mut self) {
        self.is_broken = true;
    }

    /// Whether these numbers are known.
    ///
    /// # Errors
    /// Why not, as a look at the file that the walk broke at says now; [`Error::LogIsWrong`] where that
    /// can be read again, so that it is worth another walk.
    pub fn tells(&self, below: Below<'_>, first: u64, last: u64) -> Result<()> {
        if self.bottom.seq <= first && last <= self.head.seq {
            return Ok(());
        }
        below(self.bottom)?;
        Err(Error::LogIsWrong)
    }

    /// Why it is not worth another walk: this one broke, and would break again.
    pub fn why_broken(&self, below: Below<'_>) -> Option<Error> {
        match self.is_broken {
            true => below(self.bottom).err(),
            false => None,
        }
    }

    /// The nearest that is remembered at or above a number that is known.
    fn above(&self, seq: u64) -> Head {
        let top = self.head.seq / self.stride;
        let mark = seq.div_ceil(self.stride);
        let index = top.checked_sub(mark);
        match index.and_then(|index| self.marks.get(index as usize)) {
            Some(id) => Head {
                id: *id,
                seq: mark * self.stride,
            },
            None => self.head,
        }
    }

    /// The ids of these numbers, oldest first. Costs a look at as many files, and at those up to the next
    /// mark.
    pub fn ids(&self, below: Below<'_>, first: u64, last: u64) -> Result<Vec<TransactionId>> {
        self.tells(below, first, last)?;
        let mut ids = Vec::with_capacity((last + 1 - first) as usize);
        let mut here = self.above(last);
        loop {
            if here.seq <= last {
                ids.push(here.id);
            }
            if here.seq == first {
                break;
            }
            here = below(here)?;
        }
        ids.reverse();
        Ok(ids)
    }

    /// Whether a transaction of this number, below HEAD's, is on the chain.
    pub fn position(&self, below: Below<'_>, id: TransactionId, seq: u64) -> Result<Position> {
        let on_chain = self.ids(below, seq, seq)?;
        Ok(match on_chain.first() == Some(&id) {
            true => Position::OnChain(seq),
            false => Position::OffChain,
        })
    }
}

/// The walks of those users whose `log` could not be rebuilt, at most [`limits::WALKS`].
#[derive(Default)]
pub(super) struct Walks {
    walks: Mutex<HashMap<Place, Kept>>,
    count: AtomicUsize,
}

/// A walk, and what is to be known before `log` is rebuilt again.
struct Kept {
    walk: Arc<Walk>,
    /// Why there is no `log`, where the disk said so.
    failed: Option<Error>,
    took: Duration,
    again: Duration,
}

/// A walk that is so recent that another try to rebuild `log` is not worth it.
pub(super) struct Recent {
    pub walk: Arc<Walk>,
    pub failed: Option<Error>,
}

impl Walks {
    /// The walk from this very head, if there is one.
    pub fn of(&self, folder: &Folder, head: Head) -> Option<Arc<Walk>> {
        if self.is_empty() {
            return None;
        }
        let walks = self.lock();
        let kept = walks.get(folder.place())?;
        (kept.walk.head == head).then(|| Arc::clone(&kept.walk))
    }

    /// Whether there is one, and the time has come to try again.
    pub fn is_due(&self, folder: &Folder, now: Duration) -> bool {
        !self.is_empty() && (self.lock().get(folder.place())).is_some_and(|kept| kept.again <= now)
    }

    /// The walk from this very head, if that is not long ago.
    pub fn recent(&self, folder: &Folder, head: Head, now: Duration) -> Option<Recent> {
        let walks = self.lock();
        let kept = walks.get(folder.place())?;
        (kept.walk.head == head && now < kept.again).then(|| Recent {
            walk: Arc::clone(&kept.walk),
            failed: (kept.failed.as_ref())
                .filter(|_| kept.took >= limits::LOG_AGAIN.0)
                .map(Error::again),
        })
    }

    /// Remembers a walk that took so long until now, and what became of the new `log`. The next try is not
    /// made before ten times as long has passed.
    pub fn remember(
        &self,
        folder: &Folder,
        walk: Walk,
        failed: Option<Error>,
        took: Duration,
        now: Duration,
    ) {
        let (least, most) = limits::LOG_AGAIN;
        let kept = Kept {
            walk: Arc::new(walk),
            failed,
            took,
            again: now + (took * 10).clamp(least, most),
        };
        let mut walks = self.lock();
        if walks.len() >= limits::WALKS && !walks.contains_key(folder.place()) {
            let oldest = walks.iter().min_by_key(|(_, kept)| kept.again);
            if let Some(oldest) = oldest.map(|(place, _)| place.clone()) {
                walks.remove(&oldest);
            }
        }
        walks.insert(folder.place().clone(), kept);
        self.count.store(walks.len(), Ordering::Release);
    }

    /// `log` is right again.
    pub fn forget(&self, folder: &Folder) {
        let mut walks = self.lock();
        walks.remove(folder.place());
        self.count.store(walks.len(), Ordering::Release);
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Kept>> {
        self.walks
            .lock()
            .expect("no code panics while it holds this")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Head {
        let id = TransactionId::from_bytes(u128::from(seq).to_be_bytes());
        Head { id, seq }
    }

    /// Whatever the length, there are so many marks at most, and the one above is the next.
    #[test]
    fn marks_do_not_grow_with_the_chain() {
        for length in [1, 2, limits::WALK_MARKS, limits::WALK_MARKS + 1, 1_000_000] {
            let mut walk = Walk::from(at(length));
            for seq in (1..=length).rev() {
                walk.note(at(seq));
            }
            assert!(walk.marks.len() as u64 <= limits::WALK_MARKS);
            for seq in [1, length / 3 + 1, length / 2 + 1, length] {
                let above = walk.above(seq);
                assert_eq!(above, at(above.seq));
                assert!(above.seq >= seq && above.seq - seq <= walk.stride, "{seq}");
            }
        }
    }
}
