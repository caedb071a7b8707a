//! Garbage among the pending transactions (DESIGN, Garbage).
//!
//! Kept is a pending transaction younger than the grace period, its pending ancestors, and what they
//! name. One that does not descend from HEAD can never be committed: while it is young it stays
//! itself, but it keeps nothing else alive.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::model::{Head, TransactionId};

/// A pending transaction: immutable, but for its time, which is when it was last put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub id: TransactionId,
    pub parent: TransactionId,
    pub seq: u64,
    pub time: SystemTime,
}

/// The ground that a line of pending transactions stands on: the first parent that is not pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// HEAD itself: the line can be committed.
    Head,
    /// The chain below HEAD: the line is dead, and stays so, since HEAD never goes back.
    BelowHead,
    /// A parent that is not there, or of which nothing is known. If it comes (again), the line may be alive.
    Unknown,
}

/// The pending transactions that go, and those of the others that need what they name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Children before their parents.
    pub garbage: Vec<TransactionId>,
    /// In no order.
    pub needed: Vec<TransactionId>,
}

/// Whether something of this time is younger than the grace period. The future is young: it only
/// tells of a clock that was put back.
pub fn is_young(time: SystemTime, now: SystemTime, grace: Duration) -> bool {
    now.duration_since(time).map_or(true, |age| age < grace)
}

/// Tells the garbage among all of a user's pending transactions. `ground` is asked about parents that
/// are not among them, and only about those of young lines.
///
/// Costs in proportion to the number of pending transactions.
pub fn judge<E>(
    pending: &[Pending],
    now: SystemTime,
    grace: Duration,
    ground: impl FnMut(TransactionId) -> Result<Ground, E>,
) -> Result<Verdict, E> {
    let lines = PendingLines::new(pending);
    let mut alive = Alive::new(&lines, ground);
    let mut needed = vec![false; pending.len()];
    let mut stays = vec![false; pending.len()];
    for (index, transaction) in pending.iter().enumerate() {
        if !is_young(transaction.time, now, grace) {
            continue;
        }
        stays[index] = true;
        if !alive.is(index)? {
            continue;
        }
        let mut here = Some(index);
        while let Some(index) = here.filter(|&index| !needed[index]) {
            needed[index] = true;
            here = lines.parent(index);
        }
    }

    let mut garbage: Vec<&Pending> = Vec::new();
    let mut verdict = Verdict::default();
    for (index, transaction) in pending.iter().enumerate() {
        if needed[index] {
            verdict.needed.push(transaction.id);
        } else if !stays[index] {
            garbage.push(transaction);
        }
    }
    // A child's number is its parent's plus one.
    garbage
        .sort_unstable_by_key(|transaction| (std::cmp::Reverse(transaction.seq), transaction.id));
    verdict.garbage = garbage.into_iter().map(|gone| gone.id).collect();
    Ok(verdict)
}

/// The ties of a pending transaction to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub id: TransactionId,
    pub parent: TransactionId,
    pub seq: u64,
}

/// Picks out the dead of all pending transactions, which can never be committed: children before their parents.
///
/// HEAD reaches only what has a higher number, and the first that it reaches follows HEAD itself. So nothing
/// but numbers need be looked at. One whose parent is not there counts as alive if the parent may come (again).
pub fn dead(mut pending: Vec<Link>, head: Head) -> Vec<TransactionId> {
    pending.sort_unstable_by_key(|link| (link.seq, link.id));
    let mut seen: HashMap<TransactionId, (u64, bool)> = HashMap::with_capacity(pending.len());
    let mut dead = Vec::new();
    for link in pending {
        let first = head.seq.saturating_add(1);
        let alive = match seen.get(&link.parent) {
            _ if link.seq < first => false,
            _ if link.seq == first => link.parent == head.id,
            Some((seq, alive)) if seq.checked_add(1) == Some(link.seq) => *alive,
            _ => true,
        };
        seen.insert(link.id, (link.seq, alive));
        if !alive {
            dead.push(link.id);
        }
    }
    dead.reverse();
    dead
}

/// The pending transactions as lines: from each to its parent.
struct PendingLines<'a> {
    pending: &'a [Pending],
    index: HashMap<TransactionId, usize>,
}

impl<'a> PendingLines<'a> {
    fn new(pending: &'a [Pending]) -> Self {
        let ids = pending.iter().enumerate();
        let index = ids.map(|(index, pending)| (pending.id, index)).collect();
        Self { pending, index }
    }

    /// The parent, if it is pending and has the number of a parent: one that went and came again
    /// with another is not the one that was meant. So no walk along a line goes in a circle either.
    fn parent(&self, index: usize) -> Option<usize> {
        let child = &self.pending[index];
        let parent = *self.index.get(&child.parent)?;
        (self.pending[parent].seq.checked_add(1) == Some(child.seq)).then_some(parent)
    }
}

/// The lines that may still be committed, each transaction looked at once.
struct Alive<'a, F> {
    lines: &'a PendingLines<'a>,
    ground: F,
    known: Vec<Option<bool>>,
}

impl<'a, F> Alive<'a, F> {
    fn new(lines: &'a PendingLines<'a>, ground: F) -> Self {
        let known = vec![None; lines.pending.len()];
        Self {
            lines,
            ground,
            known,
        }
    }

    fn is<E>(&mut self, index: usize) -> Result<bool, E>
    where
        F: FnMut(TransactionId) -> Result<Ground, E>,
    {
        let mut walked = Vec::new();
        let mut here = index;
        let alive = loop {
            if let Some(known) = self.known[here] {
                break known;
            }
            walked.push(here);
            match self.lines.parent(here) {
                Some(parent) => here = parent,
                None => break (self.ground)(self.lines.pending[here].parent)? != Ground::BelowHead,
            }
        };
        for index in walked {
            self.known[index] = Some(alive);
        }
        Ok(alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(100);

    fn id(n: u8) -> TransactionId {
        TransactionId::from_bytes([n; 16])
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    /// A pending transaction of this age.
    fn pending(n: u8, parent: u8, seq: u64, age: u64) -> Pending {
        Pending {
            id: id(n),
            parent: id(parent),
            seq,
            time: now() - Duration::from_secs(age),
        }
    }

    /// The chain is 1, 2 (HEAD); everything else that is not pending is nowhere.
    fn ground(of: TransactionId) -> Result<Ground, ()> {
        Ok(match of.as_bytes()[0] {
            2 => Ground::Head,
            0 | 1 => Ground::BelowHead,
            _ => Ground::Unknown,
        })
    }

    fn judged(pending: &[Pending]) -> (Vec<u8>, Vec<u8>) {
        let verdict = judge(pending, now(), GRACE, ground).unwrap();
        let first = |ids: Vec<TransactionId>| ids.iter().map(|id| id.as_bytes()[0]).collect();
        (first(verdict.garbage), first(verdict.needed))
    }

    #[test]
    fn a_young_transaction_keeps_its_old_ancestors() {
        let line = [
            pending(3, 2, 3, 500),
            pending(4, 3, 4, 500),
            pending(5, 4, 5, 99),
        ];
        assert_eq!(judged(&line), (vec![], vec![3, 4, 5]));
    }

    #[test]
    fn an_old_transaction_goes_when_its_grace_is_over_to_the_second() {
        assert_eq!(judged(&[pending(3, 2, 3, 99)]), (vec![], vec![3]));
        assert_eq!(judged(&[pending(3, 2, 3, 100)]), (vec![3], vec![]));
    }

    #[test]
    fn children_go_before_their_parents() {
        let line = [
            pending(3, 2, 3, 500),
            pending(5, 4, 5, 500),
            pending(4, 3, 4, 500),
            pending(6, 3, 4, 99),
        ];
        assert_eq!(judged(&line).0, [5, 4]);
        assert_eq!(judged(&line[..3]).0, [5, 4, 3]);
    }

    #[test]
    fn a_dead_transaction_keeps_itself_while_young_and_nothing_else() {
        let dead = [
            pending(3, 1, 2, 500),
            pending(4, 3, 3, 500),
            pending(5, 4, 4, 1),
        ];
        assert_eq!(judged(&dead), (vec![4, 3], vec![]));
        assert_eq!(judged(&[pending(3, 0, 1, 1)]), (vec![], vec![]));
    }

    #[test]
    fn a_line_whose_ground_is_lost_may_be_put_again_and_counts_as_alive() {
        let orphans = [pending(8, 7, 9, 500), pending(9, 8, 10, 1)];
        assert_eq!(judged(&orphans), (vec![], vec![8, 9]));
        assert_eq!(judged(&orphans[..1]), (vec![8], vec![]));
    }

    #[test]
    fn a_time_in_the_future_is_young() {
        let mut ahead = pending(3, 2, 3, 0);
        ahead.time = now() + Duration::from_secs(1_000_000);
        assert_eq!(judged(&[ahead]), (vec![], vec![3]));
    }

    #[test]
    fn a_parent_that_came_again_with_another_number_is_not_the_one_that_was_meant() {
        let line = [pending(3, 2, 3, 500), pending(4, 3, 9, 1)];
        assert_eq!(judged(&line), (vec![3], vec![4]));
    }

    #[test]
    fn files_that_make_a_circle_are_judged_too() {
        let circle = [pending(3, 4, 3, 1), pending(4, 3, 3, 1)];
        assert_eq!(judged(&circle), (vec![], vec![3, 4]));
    }

    #[test]
    fn what_head_cannot_reach_any_more_is_dead() {
        let head = Head { id: id(2), seq: 2 };
        let link = |n, parent, seq| Link {
            id: id(n),
            parent: id(parent),
            seq,
        };
        let pending = vec![
            link(9, 8, 5),   // on a dead line
            link(3, 2, 3),   // follows HEAD
            link(4, 3, 4),   // and on
            link(5, 1, 2),   // a sibling of HEAD
            link(6, 5, 3),   // and on
            link(2, 1, 2),   // HEAD itself, a leftover
            link(7, 20, 3),  // its parent would have the number of HEAD
            link(8, 6, 4),   // on a dead line
            link(10, 21, 4), // its parent may come
            link(11, 10, 5), // and so may this
            link(12, 5, 9),  // its parent is another than the one that is there
        ];
        let first = |id: &TransactionId| id.as_bytes()[0];
        let gone: Vec<_> = dead(pending, head).iter().map(first).collect();
        assert_eq!(gone, [9, 8, 7, 6, 5, 2]);
        assert_eq!(dead(vec![link(3, 2, 3)], head), []);
    }

    #[test]
    fn the_ground_is_asked_for_once_a_line() {
        let line: Vec<_> = (3..=200).map(|n| pending(n, n - 1, n.into(), 1)).collect();
        let mut asked = 0;
        let verdict = judge(&line, now(), GRACE, |of| {
            asked += 1;
            ground(of)
        });
        assert_eq!(verdict.unwrap().needed.len(), line.len());
        assert_eq!(asked, 1);
    }
}
