//! Dates of files that can be believed (DESIGN, Garbage).
//!
//! The age of what is in `incoming/` is told by its date, and that by the clock of the moment it came: which
//! may have been wrong, as it is on a box that has none while it is off. After a run of gc nothing is left
//! that is dated before a certain time. What is found later with such a date came later, and its date is
//! wrong.

use std::time::{Duration, SystemTime};

use crate::model::limits;

/// The memory that a run of gc leaves behind when it comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// When it ran.
    pub ran: SystemTime,
    /// The latest time at which any run was.
    pub newest: SystemTime,
    /// When it was over, nothing in `incoming/` but `tmp/` was dated before this.
    pub cut: SystemTime,
}

impl Memory {
    /// Of a run at this time. `oldest` is the oldest that it left because something needs it.
    pub fn of(
        before: Option<&Memory>,
        now: SystemTime,
        grace: Duration,
        oldest: Option<SystemTime>,
    ) -> Self {
        let young_from = now.checked_sub(grace).unwrap_or(SystemTime::UNIX_EPOCH);
        Self {
            ran: now,
            newest: before.map_or(now, |before| before.newest.max(now)),
            cut: oldest.map_or(young_from, |oldest| oldest.min(young_from)),
        }
    }
}

/// The bounds within which a date can be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dates {
    /// Of what is uploaded.
    earliest: SystemTime,
    /// Of temporary files, which go after a time of their own.
    earliest_temporary: SystemTime,
    latest: Option<SystemTime>,
}

impl Default for Dates {
    /// The bounds where nothing is remembered.
    fn default() -> Self {
        Self {
            earliest: SystemTime::UNIX_EPOCH + limits::EARLIEST_DATE,
            earliest_temporary: SystemTime::UNIX_EPOCH + limits::EARLIEST_DATE,
            latest: None,
        }
    }
}

impl Dates {
    /// No bounds: for the mistake that believes every date.
    pub(crate) const ALL: Self = Self {
        earliest: SystemTime::UNIX_EPOCH,
        earliest_temporary: SystemTime::UNIX_EPOCH,
        latest: None,
    };

    /// The bounds at this time. If the clock is behind the last run, nobody knows which of the
    /// two was right: the memory tells nothing.
    pub fn of(memory: Option<&Memory>, now: SystemTime) -> Self {
        let mut dates = Self::default();
        let Some(memory) = memory.filter(|memory| memory.ran <= now) else {
            return dates;
        };
        let before = |time: SystemTime, length| {
            let time = time.checked_sub(length)?;
            time.checked_sub(limits::DATE_SLACK)
        };
        let later = |earliest: SystemTime, than: Option<SystemTime>| {
            than.map_or(earliest, |than| earliest.max(than))
        };
        dates.earliest = later(dates.earliest, before(memory.cut, Duration::ZERO));
        let temporary = before(memory.ran, limits::TEMPORARY);
        dates.earliest_temporary = later(dates.earliest_temporary, temporary);
        // A clock that is behind an earlier run may be the one that is wrong, and not the date.
        if memory.newest <= now {
            dates.latest = now.checked_add(limits::FUTURE_DATE);
        }
        dates
    }

    /// Whether what is uploaded cannot have this date.
    pub fn are_not(&self, time: SystemTime) -> bool {
        time < self.earliest || self.latest.is_some_and(|latest| time > latest)
    }

    /// Whether something temporary cannot have this date.
    pub fn are_not_temporary(&self, time: SystemTime) -> bool {
        time < self.earliest_temporary || self.latest.is_some_and(|latest| time > latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// A day in the year 2026.
    fn day(n: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * (20_454 + n)
    }

    #[test]
    fn what_the_last_run_would_have_taken_came_after_it_with_a_wrong_date() {
        let memory = Memory::of(None, day(100), DAY * 14, None);
        assert_eq!((memory.ran, memory.cut), (day(100), day(86)));
        let dates = Dates::of(Some(&memory), day(101));
        assert!(dates.are_not(SystemTime::UNIX_EPOCH) && dates.are_not(day(85)));
        assert!(!dates.are_not(day(86)) && !dates.are_not(day(87)) && !dates.are_not(day(101)));
        assert!(dates.are_not_temporary(day(98)) && !dates.are_not_temporary(day(99)));
    }

    #[test]
    fn what_it_left_because_something_needs_it_has_a_right_date() {
        let memory = Memory::of(None, day(100), DAY * 14, Some(day(30)));
        let dates = Dates::of(Some(&memory), day(101));
        assert!(dates.are_not(day(29)) && !dates.are_not(day(30)));
        // Something young does not stretch it.
        let young = Memory::of(None, day(100), DAY * 14, Some(day(99)));
        assert_eq!(young.cut, day(86));
    }

    #[test]
    fn without_a_memory_only_what_is_older_than_the_program_is_wrong() {
        let dates = Dates::of(None, day(100));
        assert!(dates.are_not(SystemTime::UNIX_EPOCH));
        assert!(dates.are_not_temporary(SystemTime::UNIX_EPOCH));
        assert!(!dates.are_not(day(0)) && !dates.are_not(day(5000)));
    }

    #[test]
    fn a_date_to_come_is_wrong_unless_it_is_the_clock_that_is_behind() {
        let right = Memory::of(None, day(100), DAY * 14, None);
        let dates = Dates::of(Some(&right), day(101));
        assert!(dates.are_not(day(103)) && !dates.are_not(day(102)));
        // The clock is behind that run, and then behind it though there was another.
        assert!(!Dates::of(Some(&right), day(80)).are_not(day(100)));
        let behind = Memory::of(Some(&right), day(80), DAY * 14, None);
        assert_eq!((behind.ran, behind.newest), (day(80), day(100)));
        assert!(!Dates::of(Some(&behind), day(81)).are_not(day(100)));
        assert!(Dates::of(Some(&behind), day(101)).are_not(day(200)));
    }

    #[test]
    fn a_run_that_is_yet_to_come_tells_nothing() {
        let ahead = Memory::of(None, day(1000), DAY * 14, None);
        let dates = Dates::of(Some(&ahead), day(100));
        assert_eq!(dates, Dates::default());
    }
}
