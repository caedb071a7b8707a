//! Figures about users, counted aside from time to time for whoever watches, so that no request waits for a count.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use super::gc;
use crate::model::{UserId, limits};
use crate::store::{FrozenFile, Result, Store, User};

/// The figures of the last count, which a thread of its own keeps up. A clone is the very same.
#[derive(Clone, Default)]
pub struct Census(Arc<Mutex<Figures>>);

/// Figures of one count.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// When garbage was last collected, of any user.
    pub last_gc: Option<SystemTime>,
    /// When the last copy came to its end.
    pub last_copy: Option<SystemTime>,
    /// How many users are not served from here, by the word for it; nobody is among those who cannot be looked at.
    pub frozen: BTreeMap<&'static str, u64>,
    /// The users, where they are counted, by what they are called in public.
    pub users: BTreeMap<String, UserFigures>,
}

/// Figures of one user; of those together who are called the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserFigures {
    /// When HEAD last moved.
    pub last_write: Option<SystemTime>,
    /// Bytes, where this process keeps them.
    pub bytes: Option<u64>,
    /// Transactions that are pending.
    pub pending: u64,
}

impl Census {
    /// Counts at once, and then every [`limits::CENSUS`], on a thread that ends with the process. Each user is counted only
    /// where that is asked for, which costs two looks and a listing of what is pending; a look a user is taken in any case.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(store: Store, each_user: bool) -> io::Result<Self> {
        let census = Self::default();
        let kept = census.clone();
        let work = move || {
            loop {
                let started = Instant::now();
                let counted = count(&store, each_user);
                *kept.0.lock().unwrap_or_else(PoisonError::into_inner) = counted;
                let pause = started.elapsed() * limits::CENSUS_SHARE;
                std::thread::sleep(pause.max(limits::CENSUS));
            }
        };
        let thread = std::thread::Builder::new().name("census".to_owned());
        thread.spawn(work)?;
        Ok(census)
    }

    /// The figures of the last count.
    pub fn figures(&self) -> Figures {
        let figures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        figures.clone()
    }
}

/// Counts. Whoever cannot be looked at has no figures: that is for `health` to tell.
fn count(store: &Store, each_user: bool) -> Figures {
    let mut figures = Figures {
        last_gc: gc::last_run(store).ok().flatten(),
        last_copy: store.last_copy().ok().flatten(),
        frozen: BTreeMap::new(),
        users: BTreeMap::new(),
    };
    for id in store.users().unwrap_or_default() {
        if let Ok(FrozenFile::Holds(frozen)) = store.user(id).frozen() {
            *figures.frozen.entry(frozen.as_str()).or_default() += 1;
        }
        if !each_user {
            continue;
        }
        if let Ok(theirs) = figures_of(&store.user(id)) {
            let all = figures.users.entry(called(&id)).or_default();
            all.last_write = all.last_write.max(theirs.last_write);
            all.pending += theirs.pending;
            if let Some(bytes) = theirs.bytes {
                *all.bytes.get_or_insert(0) += bytes;
            }
        }
    }
    figures
}

/// The name of a user where everybody may read it.
fn called(id: &UserId) -> String {
    id.short().to_string()
}

fn figures_of(user: &User) -> Result<UserFigures> {
    Ok(UserFigures {
        last_write: user.last_write()?,
        bytes: user.tally().map(|(_, bytes)| bytes),
        pending: user.pending_count()?,
    })
}
