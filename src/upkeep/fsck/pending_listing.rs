//! The pending transactions as they were listed, and what leads where among them.

use std::collections::{HashMap, HashSet};

use crate::model::{Head, TransactionId};
use crate::store;
use crate::store::json::Start;

/// The pending transactions, as they were listed, and HEAD after that.
pub(super) struct PendingListing {
    /// `None` of one that could not be read.
    pub starts: HashMap<TransactionId, Option<Start>>,
    pub head: Option<Head>,
    /// Parents of pending transactions that are on the chain.
    pub on_chain: HashSet<TransactionId>,
    /// The tip of what is pending in a device's store.
    pub local: store::Result<Option<TransactionId>>,
    /// The pending transactions that lead from there to the chain.
    pub reached: HashSet<TransactionId>,
    pub reach: Reach,
}

/// How far the tip of what is pending leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// To the chain, or nobody knows: what is wrong with something on the way has been reported with it.
    Whole,
    /// To this one, which is not there.
    Broken(TransactionId),
}

impl PendingListing {
    /// Whether HEAD may still go there, for all that is known; or a device is still to say it.
    pub fn is_live(&self, id: TransactionId) -> bool {
        if self.reached.contains(&id) {
            return true;
        }
        let (mut here, mut steps) = (id, 0);
        while let Some(start) = self.starts.get(&here) {
            let Some(start) = start else {
                return true;
            };
            if self.head.is_some_and(|head| head.id == start.parent) {
                return true;
            }
            here = start.parent;
            steps += 1;
            // Damage can make a ring of parents.
            if steps > self.starts.len() {
                return false;
            }
        }
        false
    }

    /// Follows the parents from the tip of what is pending.
    pub fn follow(&mut self) {
        let Ok(Some(mut at)) = self.local else {
            return;
        };
        while !self.is_on_chain(at) {
            match self.starts.get(&at) {
                Some(Some(start)) if self.reached.insert(at) => at = start.parent,
                Some(None) => {
                    self.reached.insert(at);
                    return;
                }
                // Not there, or a ring of parents.
                _ => {
                    self.reach = Reach::Broken(at);
                    return;
                }
            }
        }
    }

    /// The pending transactions that lead to the chain, and that no other one follows, sorted.
    pub fn tips(&self) -> Vec<TransactionId> {
        let starts = self.starts.values().flatten();
        let parents: HashSet<TransactionId> = starts.map(|start| start.parent).collect();
        let mut tips: Vec<TransactionId> = (self.starts.keys())
            .filter(|id| !parents.contains(id) && self.leads_to_the_chain(**id))
            .copied()
            .collect();
        tips.sort_unstable();
        tips
    }

    fn leads_to_the_chain(&self, mut at: TransactionId) -> bool {
        for _ in 0..=self.starts.len() {
            if self.is_on_chain(at) {
                return true;
            }
            match self.starts.get(&at) {
                Some(Some(start)) => at = start.parent,
                _ => return false,
            }
        }
        false
    }

    fn is_on_chain(&self, id: TransactionId) -> bool {
        id == TransactionId::ROOT || self.on_chain.contains(&id)
    }
}
