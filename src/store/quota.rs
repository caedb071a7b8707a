//! How much a user may have, and how full the disk may get. Off unless the operator chose limits.
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
use super::{Error, Limit, Result, Store};
use crate::disk::Disk;
use crate::model::{ChunkId, UserId, limits};

/// How much: may be negative, as a change is.
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

    fn less(self) -> Self {
        Self {
            files: -self.files,
            bytes: -self.bytes,
        }
    }
}

/// What is known of what a user has.
#[derive(Default)]
struct Tally {
    used: Amount,
    /// When it was counted last; never yet, where there is no time.
    counted: Option<SystemTime>,
    /// It is being counted, or is about to be: what changed since that began.
    counting: Option<Amount>,
    /// How often it changed.
    changes: u64,
    /// What has room reserved and no name yet.
    reserved: Amount,
}

impl Tally {
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

/// What is known of what all users have, and the thread that counts.
#[derive(Default)]
pub(super) struct Tallies {
    users: Arc<Users>,
    counter: Mutex<Option<Sender<Count>>>,
}

/// Whom to count, and whether it is because something was refused.
struct Count {
    user: UserId,
    refused: bool,
}

/// Bounded by the number of users, at some tens of bytes each.
#[derive(Default)]
struct Users(Mutex<HashMap<UserId, Tally>>);

impl Users {
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, Tally>> {
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
    users: Option<(Arc<Users>, UserId)>,
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

impl Store {
    pub(super) fn has_quotas(&self) -> bool {
        self.options.user_bytes.is_some() || self.options.user_files.is_some()
    }

    /// Says beforehand that an upload would be refused, so that its body need not be read. Of a chunk
    /// that is there already none is: it takes no room.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`], [`Error::NoRoom`].
    pub fn foresee_chunk(&self, user: &UserId, id: &ChunkId, bytes: Option<u64>) -> Result<()> {
        let amount = Amount::file(bytes.unwrap_or(0));
        let refused = match self.check_room(bytes.unwrap_or(0)) {
            Ok(()) if !self.has_quotas() => return Ok(()),
            Ok(()) => self.fits(user, amount, false),
            refused => refused,
        };
        match refused {
            Err(Error::QuotaExceeded { .. }) if self.is_chunk(user, id)? => Ok(()),
            other => other,
        }
    }

    fn is_chunk(&self, user: &UserId, id: &ChunkId) -> Result<bool> {
        Ok(self.resolve(&Folder::of(user), id)?.is_some())
    }

    /// Room for one more file of the user's, if there may be one more.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]
    pub(super) fn reserve(&self, user: &UserId, bytes: u64) -> Result<Reservation> {
        self.reserve_all(user, Amount::file(bytes))
    }

    /// The same for several files at once.
    pub(super) fn reserve_all(&self, user: &UserId, amount: Amount) -> Result<Reservation> {
        if !self.has_quotas() {
            return Ok(Reservation::NONE);
        }
        self.fits(user, amount, true)?;
        Ok(Reservation {
            users: Some((Arc::clone(&self.tallies.users), *user)),
            amount,
        })
    }

    /// Says beforehand that so much more would be refused. Takes nothing.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`]
    pub(super) fn foresee(&self, user: &UserId, more: Amount) -> Result<()> {
        self.fits(user, more, false)
    }

    /// What the user has changed without a new name being asked for.
    pub(super) fn changed(&self, user: &UserId, amount: Amount) {
        if self.has_quotas() {
            self.tallies.users.change(user, amount);
        }
    }

    /// A file of the user's is gone.
    pub(super) fn removed(&self, user: &UserId, bytes: u64) {
        self.changed(user, Amount::file(bytes).less());
    }

    /// The user's folder is another one now, or none.
    pub(super) fn forget_tally(&self, user: &UserId) {
        self.tallies.users.lock().remove(user);
    }

    /// What this process believes that the user has, files and bytes, once it was counted.
    pub fn tally(&self, user: &UserId) -> Option<(u64, u64)> {
        let users = self.tallies.users.lock();
        let tally = users.get(user).filter(|tally| tally.counted.is_some())?;
        Some((whole(tally.used.files), whole(tally.used.bytes)))
    }

    fn fits(&self, user: &UserId, more: Amount, take: bool) -> Result<()> {
        let now = self.disk.now();
        let mut users = self.tallies.users.lock();
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
            let (files, bytes) = (self.options.user_files, self.options.user_bytes);
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
        let mut counter = self.tallies.counter.lock().expect(poisoned);
        let sent = counter.as_ref().map(|counter| counter.send(next()));
        if !matches!(sent, Some(Ok(()))) {
            let (sender, users) = channel();
            let (disk, tallies) = (Arc::clone(&self.disk), Arc::clone(&self.tallies.users));
            let thread = std::thread::Builder::new().name("count".to_owned());
            let started = thread.spawn(move || count_all(&disk, &tallies, &users));
            // With no thread to be had it stays uncounted; the next upload tries again.
            if let Err(error) = started {
                log::warn!("cannot start a thread that counts: {error}");
                (self.tallies.users).end(user, None, false, self.disk.now());
                return;
            }
            // The thread waits for what is sent as long as the store is there.
            let _ = sender.send(next());
            *counter = Some(sender);
        }
    }

    /// Whether the disk has room for so many bytes, and the reserve stays free.
    ///
    /// # Errors
    /// [`Error::NoRoom`]
    pub(super) fn check_room(&self, bytes: u64) -> Result<()> {
        check_room(&*self.disk, self.options.min_free, bytes)
    }
}

/// The same with the reserve given.
pub(super) fn check_room(disk: &dyn Disk, min_free: u64, bytes: u64) -> Result<()> {
    if min_free == 0 {
        return Ok(());
    }
    let room = disk.room()?;
    let too_few_bytes = room.free_bytes < min_free.saturating_add(bytes);
    // None at all is what a file system says that has no such number.
    let too_few_files = (1..limits::MIN_FREE_FILES).contains(&room.free_files);
    if too_few_bytes || too_few_files {
        return Err(Error::NoRoom {
            min_free,
            free_bytes: room.free_bytes,
            free_files: room.free_files,
        });
    }
    Ok(())
}

fn whole(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Counts whatever user it is sent, one after the other, until the store is dropped.
fn count_all(disk: &Arc<dyn Disk>, tallies: &Users, users: &Receiver<Count>) {
    for Count { user, refused } in users {
        if refused {
            drop_dead(disk, &user);
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

/// Room is wanted: what can never be committed goes first. As another process would do it, with all locks.
fn drop_dead(disk: &Arc<dyn Disk>, user: &UserId) {
    let store = Store::examine(Arc::clone(disk));
    if let Err(error) = store.drop_all_dead(user) {
        let user = user.short();
        log::debug!("user {user}: what is dead stays for now: {error}");
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
    fn count_beside_a_reservation(settle: impl FnOnce(&Users, &UserId)) -> Amount {
        let (users, user) = (Users::default(), UserId::from_bytes([7; 16]));
        let mut tally = Tally::default();
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
        let named = |users: &Users, user: &UserId| users.settle(user, file, true);
        assert_eq!(count_beside_a_reservation(named), file);
        let given_back = |users: &Users, user: &UserId| users.settle(user, file, false);
        assert_eq!(count_beside_a_reservation(given_back), Amount::default());
    }

    #[test]
    fn what_a_deleted_user_had_reserved_is_not_owed_by_the_next() {
        let (users, user) = (Users::default(), UserId::from_bytes([7; 16]));
        users.lock().insert(user, Tally::default());
        users.settle(&user, Amount::file(5), true);
        let since = users.begin(&user).unwrap();
        assert!(users.is_quiet(&user, since), "it can be counted exactly");
    }
}
