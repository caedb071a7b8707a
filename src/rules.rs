//! Pure decisions. They do no I/O themselves: what they need to know of the store is asked through
//! a function that is passed in. Outcomes are values, not errors.

pub mod dates;
pub mod garbage;
pub mod proposal;
pub mod snapshots;

use crate::model::{Head, TransactionId};

/// Where a transaction stands, seen from HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// HEAD itself, or an ancestor of it (the root is one).
    OnChain,
    Pending {
        parent: TransactionId,
    },
    Nowhere,
}

/// Whether a transaction descends from HEAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Descent {
    /// The transaction descends from HEAD: these are what HEAD would reach, oldest first, the transaction last.
    Descends(Vec<TransactionId>),
    /// The transaction is on the chain, or its line meets the chain before HEAD.
    NotADescendant,
    /// The transaction or an ancestor of it is not there.
    Unknown,
}

/// Walks parents from a transaction until HEAD is met (seed: "the new HEAD transaction must be a
/// proper descendant of the current HEAD"). Asks once for each step.
pub fn descent<E>(
    head: Head,
    to: TransactionId,
    mut stands: impl FnMut(TransactionId) -> Result<Standing, E>,
) -> Result<Descent, E> {
    let mut line = Vec::new();
    let mut here = to;
    while here != head.id {
        match stands(here)? {
            Standing::OnChain => return Ok(Descent::NotADescendant),
            Standing::Nowhere => return Ok(Descent::Unknown),
            Standing::Pending { parent } => {
                line.push(here);
                here = parent;
            }
        }
    }
    if line.is_empty() {
        return Ok(Descent::NotADescendant);
    }
    line.reverse();
    Ok(Descent::Descends(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> TransactionId {
        TransactionId::from_bytes([n; 16])
    }

    /// The chain is 0 (the root), 1, 2; pending are 3 on 2, 4 on 3, 5 on 1, and 7 on 6, which is lost.
    fn stands(at: TransactionId) -> Result<Standing, ()> {
        Ok(match at.as_bytes()[0] {
            0..=2 => Standing::OnChain,
            3 => Standing::Pending { parent: id(2) },
            4 => Standing::Pending { parent: id(3) },
            5 => Standing::Pending { parent: id(1) },
            7 => Standing::Pending { parent: id(6) },
            _ => Standing::Nowhere,
        })
    }

    #[test]
    fn only_a_proper_descendant_descends() {
        let head = Head { id: id(2), seq: 2 };
        let go = |n| descent(head, id(n), stands).unwrap();
        assert_eq!(go(3), Descent::Descends(vec![id(3)]));
        assert_eq!(go(4), Descent::Descends(vec![id(3), id(4)]));
        for behind in [0, 1, 2, 5] {
            assert_eq!(go(behind), Descent::NotADescendant, "{behind}");
        }
        for unknown in [6, 7, 8] {
            assert_eq!(go(unknown), Descent::Unknown, "{unknown}");
        }
    }
}
