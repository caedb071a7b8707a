//! Tallies of what users have. Off unless the operator chose limits.
//!
//! How much a user has is kept in memory: counted once, on a thread of its own, when this process
//! first stores something for the user, and kept up from then on. No request waits for a count:
//! until it is known everything is admitted. What other processes store and remove is only
//! noticed when it is counted anew: now and then while the user uploads, and soon after a refusal.
//!
//! Whatever is on the disk counts, pending transactions that can never be committed too; but before it is
//! counted anew because something was refused, those go.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use super::layout::Folder;
use super::usage::count;
use super::{Error, Limit, Options, Result};
use crate::disk::Disk;
use crate::model::{UserId, limits};

/// A number of files and of bytes: may be negative, as a change is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub files: i64,
    pub bytes: i64,
}

impl Amount {
    /// One file of this length.
    pub fn file(bytes: u64) -> Self {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        Self { files: 1, bytes }
    }

    pub fn add(&mut self, other: Amount) {
        self.files = self.files.saturating_add(other.files);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    /// The amount as one that goes.
    pub fn less(self) -> Self {
        Self {
            files: -self.files,
            bytes: -self.bytes,
        }
    }
}

/// The files and bytes of a user, as far as they are known.
#[derive(Default)]
struct UserTally {
    used: Amount,
    /// When it was counted last; never yet, where there is no time.
    counted: Option<SystemTime>,
    /// The changes since a count began, or is about to begin; `None` where there is no count.
    counting: Option<Amount>,
    /// How often it changed.
    changes: u64,
    /// Files that have room reserved and no name yet.
    reserved: Amount,
}

impl UserTally {
    fn change(&mut self, amount: Amount) {
        self.changes += 1;
        self.used.add(amount);
        if let Some(since) = &mut self.counting {
            since.add(amount);
        }
    }

    fn reserve(&mut self, amount: Amount) {
        self.change(amount);
        self.reserved.add(amount);
    }
}

/// The files and bytes of all users, as far as they are known, and the thread that counts.
pub(super) struct Tallies {
    disk: Arc<dyn Disk>,
    users: Arc<Table>,
    counter: Mutex<Option<Sender<Count>>>,
    /// The most bytes, and files, a user.
    most_bytes: Option<u64>,
    most_files: Option<u64>,
    /// The tallies are kept up though nothing is limited.
    always: bool,
    clear_dead: ClearDead,
}

/// Drops the pending transactions of a user that can never be committed: they go before a user is counted anew
/// because something was refused.
pub(super) type ClearDead = fn(&Arc<dyn Disk>, &UserId);

/// A user to be counted, and whether it is because something was refused.
struct Count {
    user: UserId,
    refused: bool,
}

/// Bounded by the number of users, at some tens of bytes each.
#[derive(Default)]
struct Table(Mutex<HashMap<UserId, UserTally>>);

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, UserTally>> {
        self.0.lock().expect("no code panics while it holds this")
    }

    fn change(&self, user: &UserId, amount: Amount) {
        if let Some(tally) = self.lock().get_mut(user) {
            tally.change(amount);
        }
    }

    /// A reservation ends: the file has its name, or the amount is given back.
    fn settle(&self, user: &UserId, amount: Amount, is_named: bool) {
        if let Some(tally) = self.lock().get_mut(user) {
            let back = if is_named {
                Amount::default()
            } else {
                amount.less()
            };
            tally.change(back);
            tally.reserved.add(amount.less());
            // Reserved before the user was deleted, it is not in the tally of the one who came again.
            tally.reserved.files = tally.reserved.files.max(0);
            tally.reserved.bytes = tally.reserved.bytes.max(0);
        }
    }

    /// A count begins; `None` where the user was forgotten.
    fn begin(&self, user: &UserId) -> Option<Quiet> {
        let mut users = self.lock();
        let tally = users.get_mut(user)?;
        // The count may come before what is reserved has its name, and miss it.
        tally.counting = Some(tally.reserved);
        Some(Quiet {
            changes: tally.changes,
            is_still: tally.reserved == Amount::default(),
        })
    }

    /// Whether nothing has changed since a count began, so that it is exact.
    fn is_quiet(&self, user: &UserId, since: Quiet) -> bool {
        let users = self.lock();
        let changes = users.get(user).map(|tally| tally.changes);
        since.is_still && changes == Some(since.changes)
    }

    /// A count ends. What changed meanwhile may be in it already: too much rather than too little,
    /// until it is counted again.
    fn end(&self, user: &UserId, counted: Option<Amount>, is_quiet: bool, now: SystemTime) {
        if let Some(tally) = self.lock().get_mut(user)
            && let Some(since) = tally.counting.take()
            && let Some(mut used) = counted
        {
            if !is_quiet {
                used.add(since);
            }
            tally.used = used;
            tally.counted = Some(now);
        }
    }
}

/// How things stood when a count began.
#[derive(Clone, Copy)]
struct Quiet {
    changes: u64,
    is_still: bool,
}

/// Room for a file that is about to be named. Dropped before it is kept, it is given back.
#[must_use = "keep it once the file has its name"]
pub(super) struct Reservation {
    users: Option<(Arc<Table>, UserId)>,
    amount: Amount,
}

impl Reservation {
    const NONE: Self = Self {
        users: None,
        amount: Amount { files: 0, bytes: 0 },
    };

    /// The file has its name.
    pub fn keep(mut self) {
        if let Some((users, user)) = self.users.take() {
            users.settle(&user, self.amount, true);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some((users, user)) = self.users.take() {
            users.settle(&user, self.amount, false);
        }
    }
}

impl Tallies {
    /// Tallies of no user yet.
    pub fn new(disk: Arc<dyn Disk>, options: &Options, clear_dead: ClearDead) -> Self {
        Self {
            disk,
            users: Arc::default(),
            counter: Mutex::default(),
            most_bytes: options.user_bytes,
            most_files: options.user_files,
            always: options.tally,
            clear_dead,
        }
    }

    /// Whether the operator chose limits, or wants the numbers.
    pub fn is_on(&self) -> bool {
        self.always || self.most_bytes.is_some() || self.most_files.is_some()
    }

    /// Reserves room for so much more.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]
    pub fn reserve(&self, user: &UserId, amount: Amount) -> Result<Reservation> {
        if !self.is_on() {
            return Ok(Reservation::NONE);
        }
        self.fits(user, amount, true)?;
        Ok(Reservation {
            users: Some((Arc::clone(&self.users), *user)),
            amount,
        })
    }

    /// Sees whether so much more would be refused. Takes nothing.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]
    pub fn foresee(&self, user: &UserId, more: Amount) -> Result<()> {
        self.fits(user, more, false)
    }

    /// Notes a change of a user's files that needed no new name.
    pub fn changed(&self, user: &UserId, amount: Amount) {
        if self.is_on() {
            self.users.change(user, amount);
        }
    }

    /// Forgets a user, whose folder is another one now, or none.
    pub fn forget(&self, user: &UserId) {
        self.users.lock().remove(user);
    }

    /// The files and bytes that this process believes a user to have, once they were counted.
    pub fn of(&self, user: &UserId) -> Option<(u64, u64)> {
        let users = self.users.lock();
        let tally = users.get(user).filter(|tally| tally.counted.is_some())?;
        Some((whole(tally.used.files), whole(tally.used.bytes)))
    }

    /// The files and bytes of all users who were counted.
    pub fn all(&self) -> (u64, u64) {
        let users = self.users.lock();
        let counted = users.values().filter(|tally| tally.counted.is_some());
        counted.fold((0, 0), |(files, bytes), tally| {
            (
                files + whole(tally.used.files),
                bytes + whole(tally.used.bytes),
            )
        })
    }

    /// Whether the user may have so much more; with `take` it is reserved. Has the user counted where that was long
    /// ago.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]
    fn fits(&self, user: &UserId, more: Amount, take: bool) -> Result<()> {
        let now = self.disk.now();
        let mut users = self.users.lock();
        let tally = users.entry(*user).or_default();
        let refused = tally.counted.and_then(|_| {
            let over = |limit: Limit, most: Option<u64>, used: i64, more: i64| {
                let most = most?;
                let would_be = whole(used.saturating_add(more));
                (would_be > most).then_some(Error::QuotaExceeded {
                    of: limit,
                    limit: most,
                    used: whole(used),
                })
            };
            let (files, bytes) = (self.most_files, self.most_bytes);
            over(Limit::Bytes, bytes, tally.used.bytes, more.bytes)
                .or_else(|| over(Limit::Files, files, tally.used.files, more.files))
        });
        let after = match refused {
            Some(_) => limits::RECOUNT_REFUSED,
            None => limits::RECOUNT,
        };
        let is_stale = tally.counted.is_none_or(|counted| {
            let age = now.duration_since(counted);
            // A clock that was put back tells nothing of the age.
            age.map_or(true, |age| age >= after)
        });
        let count = is_stale && tally.counting.is_none();
        if count {
            tally.counting = Some(Amount::default());
        }
        if refused.is_none() && take {
            tally.reserve(more);
        }
        drop(users);
        if count {
            self.count_in_background(user, refused.is_some());
        }
        refused.map_or(Ok(()), Err)
    }

    fn count_in_background(&self, user: &UserId, refused: bool) {
        let next = || Count {
            user: *user,
            refused,
        };
        let poisoned = "no code panics while it holds this";
        let mut counter = self.counter.lock().expect(poisoned);
        let sent = counter.as_ref().map(|counter| counter.send(next()));
        if !matches!(sent, Some(Ok(()))) {
            let (sender, users) = channel();
            let (disk, tallies) = (Arc::clone(&self.disk), Arc::clone(&self.users));
            let clear_dead = self.clear_dead;
            let thread = std::thread::Builder::new().name("count".to_owned());
            let started = thread.spawn(move || count_all(&disk, &tallies, &users, clear_dead));
            // With no thread to be had it stays uncounted; the next upload tries again.
            if let Err(error) = started {
                log::warn!("cannot start a thread that counts: {error}");
                (self.users).end(user, None, false, self.disk.now());
                return;
            }
            // The thread waits for what is sent as long as the store is there.
            let _ = sender.send(next());
            *counter = Some(sender);
        }
    }
}

fn whole(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Counts whatever user it is sent, one after the other, until the store is dropped.
fn count_all(
    disk: &Arc<dyn Disk>,
    tallies: &Table,
    users: &Receiver<Count>,
    clear_dead: ClearDead,
) {
    for Count { user, refused } in users {
        if refused {
            clear_dead(disk, &user);
        }
        for tries_left in (0..limits::COUNTS).rev() {
            let Some(since) = tallies.begin(&user) else {
                break;
            };
            let counted = amount(&**disk, &user);
            let is_quiet = tallies.is_quiet(&user, since);
            tallies.end(&user, counted, is_quiet, disk.now());
            if is_quiet || counted.is_none() || tries_left == 0 {
                break;
            }
            disk.pause(limits::COUNT_PAUSE);
        }
    }
}

fn amount(disk: &dyn Disk, user: &UserId) -> Option<Amount> {
    match count(disk, &Folder::of(user)) {
        Ok(usage) => Some(Amount {
            files: i64::try_from(usage.files).unwrap_or(i64::MAX),
            bytes: i64::try_from(usage.bytes).unwrap_or(i64::MAX),
        }),
        Err(error) => {
            log::warn!("user {}: cannot count what is there: {error}", user.short());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A count that begins while a file of 5 bytes is about to be named, and finds none of it.
    fn count_beside_a_reservation(settle: impl FnOnce(&Table, &UserId)) -> Amount {
        let (users, user) = (Table::default(), UserId::from_bytes([7; 16]));
        let mut tally = UserTally::default();
        tally.reserve(Amount::file(5));
        users.lock().insert(user, tally);
        let since = users.begin(&user).unwrap();
        settle(&users, &user);
        let is_quiet = users.is_quiet(&user, since);
        assert!(!is_quiet, "it is not exact");
        let nothing = Some(Amount::default());
        users.end(&user, nothing, is_quiet, SystemTime::UNIX_EPOCH);
        users.lock()[&user].used
    }

    #[test]
    fn what_is_about_to_be_named_is_counted() {
        let file = Amount::file(5);
        assert_eq!(count_beside_a_reservation(|_, _| {}), file);
        let named = |users: &Table, user: &UserId| users.settle(user, file, true);
        assert_eq!(count_beside_a_reservation(named), file);
        let given_back = |users: &Table, user: &UserId| users.settle(user, file, false);
        assert_eq!(count_beside_a_reservation(given_back), Amount::default());
    }

    #[test]
    fn what_a_deleted_user_had_reserved_is_not_owed_by_the_next() {
        let (users, user) = (Table::default(), UserId::from_bytes([7; 16]));
        users.lock().insert(user, UserTally::default());
        users.settle(&user, Amount::file(5), true);
        let since = users.begin(&user).unwrap();
        assert!(users.is_quiet(&user, since), "it can be counted exactly");
    }
}
