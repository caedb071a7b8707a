//! When a client of TaskChampion's is asked for a snapshot.

/// The operator's choice: a snapshot is wanted after so many versions, or so many days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// Versions since the snapshot.
    pub versions: u32,
    /// Days since the snapshot.
    pub days: u32,
}

/// How much a snapshot is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A wish that a client may leave to others.
    Low,
    /// A wish that the next client is to fulfil.
    High,
}

/// The snapshot that there is: so many versions, and whole days, ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotAge {
    /// Versions since then, without the one that was just added.
    pub versions: u64,
    /// Whole days since then.
    pub days: u64,
}

/// How much a snapshot is wanted, where the last one is so old, or there is none; `None` where it is not. Half as much again
/// as the policy says is much (as in taskchampion-sync-server).
pub fn urgency(policy: SnapshotPolicy, age: Option<SnapshotAge>) -> Option<Urgency> {
    let Some(age) = age else {
        return Some(Urgency::High);
    };
    let by = |most: u32, number: u64| {
        let most = u64::from(most);
        match number {
            _ if number >= most * 3 / 2 => Some(Urgency::High),
            _ if number >= most => Some(Urgency::Low),
            _ => None,
        }
    };
    by(policy.versions, age.versions).max(by(policy.days, age.days))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_wanted_the_more_the_older_the_last_one_is() {
        let policy = SnapshotPolicy {
            versions: 100,
            days: 14,
        };
        let of = |versions, days| urgency(policy, Some(SnapshotAge { versions, days }));
        for (versions, days, expected) in [
            (0, 0, None),
            (99, 13, None),
            (100, 0, Some(Urgency::Low)),
            (0, 14, Some(Urgency::Low)),
            (149, 20, Some(Urgency::Low)),
            (150, 0, Some(Urgency::High)),
            (0, 21, Some(Urgency::High)),
            (100, 21, Some(Urgency::High)),
            (u64::MAX, 0, Some(Urgency::High)),
        ] {
            assert_eq!(of(versions, days), expected, "{versions} {days}");
        }
        assert_eq!(urgency(policy, None), Some(Urgency::High));
    }
}
