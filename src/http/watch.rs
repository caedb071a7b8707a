//! Waking those who wait for a user's HEAD.
//!
//! One inotify watch for each user that somebody waits for, one on `users/` for those who have no
//! folder yet, one thread that reads them all. An advance is a rename to `HEAD`, whoever makes it:
//! this process or another one on the same directory. The head is then read once, for all who wait,
//! through the store, which syncs it first; on a thread of the pool, so that no user's disk holds the
//! others' news up. A waiter is told the head that the store has seen when the waiter gets its turn, which
//! never goes back; the head that was read is not handed on, since others may have moved HEAD, and been
//! answered, meanwhile.
//!
//! Where the system gives no watch (a limit, a file system without inotify), waiters look for
//! themselves once in [`limits::LOOK_AGAIN`].

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use inotify::{Event, EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::model::{UserId, limits};
use crate::store::{SeenHead, Store};

/// The watch over all users that somebody waits for.
pub struct HeadWatch {
    store: Store,
    inner: Mutex<Watched>,
}

struct Watched {
    users: HashMap<UserId, WatchedUser>,
    by_descriptor: HashMap<WatchDescriptor, UserId>,
    /// `None` where there is no inotify.
    watches: Option<Watches>,
    closed: bool,
}

/// A user that somebody waits for.
struct WatchedUser {
    news: watch::Sender<News>,
    waiters: usize,
    descriptor: Option<WatchDescriptor>,
    /// The runtime of the first who waits, on whose threads the head is read.
    runtime: Handle,
    reading: Reading,
}

/// The news for those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// The store has seen the head.
    Seen,
    /// The head could not be read: each waiter is to look.
    Look,
}

/// Whether the head of a user is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    No,
    Yes,
    /// Yes, and it may have moved since that began.
    Again,
}

/// A client that waits for another head.
pub struct Waiter {
    watch: Arc<HeadWatch>,
    user: UserId,
    news: watch::Receiver<News>,
}

/// The reason for which a waiter is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaiterWoken {
    /// The head may be another one: this, the newest that this process has seen.
    Seen(SeenHead),
    /// The head may be another one, and this process has not read it: look.
    Look,
    /// The server ends.
    Closed,
}

impl HeadWatch {
    /// A watch over no user yet. Starts the threads that read the events and look whether the store is there;
    /// logs where the system gives no watch or no thread, and does without.
    pub fn new(store: Store) -> Arc<Self> {
        let inotify = inotify(&store)
            .inspect_err(|error| {
                log::warn!("no inotify ({error}): those who wait for HEAD look for it instead");
            })
            .ok();
        let watch = Arc::new(Self {
            store,
            inner: Mutex::new(Watched {
                users: HashMap::new(),
                by_descriptor: HashMap::new(),
                watches: inotify.as_ref().map(Inotify::watches),
                closed: false,
            }),
        });
        // The threads hold no reference while they wait, and end with the process.
        let weak = Arc::downgrade(&watch);
        if let Err(error) = spawn("there", move || look_there(&weak)) {
            log::warn!("no thread to see that the store is there ({error})");
        }
        if let Some(inotify) = inotify {
            let weak = Arc::downgrade(&watch);
            if let Err(error) = spawn("watch", move || read_events(inotify, &weak)) {
                log::warn!("no thread to watch with ({error})");
                watch.lock().watches = None;
            }
        }
        watch
    }

    /// Begins to wait for this user: a head that is read after this and still current when it is
    /// compared cannot be missed. To be called where there are threads for the disk.
    pub fn wait(self: &Arc<Self>, user: UserId) -> Waiter {
        let mut inner = self.lock();
        let entry = inner.users.entry(user).or_insert_with(|| WatchedUser {
            news: watch::Sender::new(News::Look),
            waiters: 0,
            descriptor: None,
            runtime: Handle::current(),
            reading: Reading::No,
        });
        entry.waiters += 1;
        let news = entry.news.subscribe();
        inner.watch_folder(user, self.store.user(user).path());
        Waiter {
            watch: Arc::clone(self),
            user,
            news,
        }
    }

    /// Wakes everybody, for good: the server ends.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.wake_all();
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.inner
            .lock()
            .expect("no code panics while it holds this")
    }

    /// Has the head of this user read, once for all, and those told who wait.
    fn read(self: &Arc<Self>, user: UserId) {
        let mut inner = self.lock();
        let Some(entry) = inner.users.get_mut(&user) else {
            return;
        };
        if entry.reading != Reading::No {
            entry.reading = Reading::Again;
            return;
        }
        entry.reading = Reading::Yes;
        let watch = Arc::clone(self);
        entry.runtime.spawn_blocking(move || watch.read_now(user));
    }

    fn read_now(&self, user: UserId) {
        loop {
            let news = match self.store.user(user).look() {
                Ok(_) => News::Seen,
                Err(error) => {
                    log::debug!("user {}: {error}", user.short());
                    News::Look
                }
            };
            let mut inner = self.lock();
            inner.watch_folder(user, self.store.user(user).path());
            let Some(entry) = inner.users.get_mut(&user) else {
                return;
            };
            entry.news.send_replace(news);
            if entry.reading != Reading::Again {
                entry.reading = Reading::No;
                return;
            }
            entry.reading = Reading::Yes;
        }
    }
}

impl Watched {
    /// The users whose head may have moved, by this event, of those that are waited for.
    fn about(&mut self, event: &Event<&OsStr>) -> Vec<UserId> {
        let name = event.name.and_then(|name| name.to_str());
        let is_away = (event.mask).intersects(EventMask::MOVE_SELF | EventMask::DELETE_SELF);
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            return self.users.keys().copied().collect();
        }
        if let Some(user) = self.by_descriptor.get(&event.wd).copied() {
            if is_away || event.mask.contains(EventMask::IGNORED) {
                self.forget(&event.wd);
                return vec![user];
            }
            // A user who freezes is told to nobody any more.
            let is_news = matches!(name, Some("HEAD" | "frozen"));
            return Vec::from_iter(is_news.then_some(user));
        }
        if is_away {
            // `users/` itself.
            self.wake_all();
            return Vec::new();
        }
        // Somebody's folder came to `users/`.
        let user = name.and_then(|name| name.parse().ok());
        Vec::from_iter(user.filter(|user| self.users.contains_key(user)))
    }

    fn wake_all(&self) {
        for user in self.users.values() {
            user.news.send_replace(News::Look);
        }
    }

    /// Watches the user's folder, if it is there and not yet watched.
    fn watch_folder(&mut self, user: UserId, path: Option<PathBuf>) {
        let (Some(watches), Some(path)) = (&mut self.watches, path) else {
            return;
        };
        let Some(entry) = self.users.get_mut(&user).filter(|e| e.descriptor.is_none()) else {
            return;
        };
        let mask = WatchMask::MOVED_TO
            | WatchMask::MOVE_SELF
            | WatchMask::DELETE_SELF
            | WatchMask::ONLYDIR
            | WatchMask::DONT_FOLLOW;
        match watches.add(path, mask) {
            Ok(descriptor) => {
                self.by_descriptor.insert(descriptor.clone(), user);
                entry.descriptor = Some(descriptor);
            }
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log::warn!("user {}: cannot be watched: {error}", user.short()),
        }
    }

    fn forget(&mut self, descriptor: &WatchDescriptor) -> Option<UserId> {
        let user = self.by_descriptor.remove(descriptor)?;
        if let Some(entry) = self.users.get_mut(&user) {
            entry.descriptor = None;
        }
        if let Some(watches) = &mut self.watches {
            // The system may have dropped it already.
            let _ = watches.remove(descriptor.clone());
        }
        Some(user)
    }
}

impl Waiter {
    /// Waits until the head may be another one, or the server ends.
    pub async fn woken(&mut self) -> WaiterWoken {
        if self.watch.lock().closed {
            return WaiterWoken::Closed;
        }
        let changed = if self.is_watched() {
            self.news.changed().await.is_ok()
        } else {
            let changed = self.news.changed();
            (tokio::time::timeout(limits::LOOK_AGAIN, changed).await).is_ok_and(|told| told.is_ok())
        };
        if self.watch.lock().closed {
            return WaiterWoken::Closed;
        }
        let news = *self.news.borrow_and_update();
        let seen = (changed && news == News::Seen).then(|| self.watch.store.user(self.user).seen());
        seen.flatten().map_or(WaiterWoken::Look, WaiterWoken::Seen)
    }

    /// Whether something would wake it: the watch on the folder, or where that is not there yet the
    /// one on `users/`.
    fn is_watched(&self) -> bool {
        let inner = self.watch.lock();
        let entry = inner.users.get(&self.user);
        inner.watches.is_some() && entry.is_some_and(|entry| entry.descriptor.is_some())
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut inner = self.watch.lock();
        if let Some(entry) = inner.users.get_mut(&self.user) {
            entry.waiters -= 1;
            if entry.waiters == 0 {
                let descriptor = entry.descriptor.take();
                if let Some(descriptor) = descriptor {
                    inner.forget(&descriptor);
                }
                inner.users.remove(&self.user);
            }
        }
    }
}

/// An inotify that watches `users/`, where the store has a path.
fn inotify(store: &Store) -> io::Result<Inotify> {
    let inotify = Inotify::init()?;
    if let Some(users) = store.path_of_users() {
        let arrivals = WatchMask::MOVED_TO
            | WatchMask::CREATE
            | WatchMask::MOVE_SELF
            | WatchMask::DELETE_SELF
            | WatchMask::ONLYDIR;
        inotify.watches().add(users, arrivals)?;
    }
    Ok(inotify)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map(drop)
}

/// Reads events until the process ends, and has the heads read of the users that they are about.
fn read_events(mut inotify: Inotify, watch: &Weak<HeadWatch>) {
    let mut buffer = [0; 16 << 10];
    loop {
        let mut awake = Vec::new();
        match inotify.read_events_blocking(&mut buffer) {
            Ok(events) => {
                let Some(watch) = watch.upgrade() else { return };
                let mut inner = watch.lock();
                for event in events {
                    awake.extend(inner.about(&event));
                }
            }
            Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                log::warn!("watching ends ({error}): those who wait for HEAD look for it instead");
                if let Some(watch) = watch.upgrade() {
                    watch.lock().watches = None;
                }
                return;
            }
        }
        awake.sort_unstable();
        awake.dedup();
        let Some(watch) = watch.upgrade() else { return };
        for user in awake {
            watch.read(user);
        }
    }
}

/// Wakes those who wait where the store went away, until the process ends: they look, and find that out.
fn look_there(watch: &Weak<HeadWatch>) {
    loop {
        std::thread::sleep(limits::LOOK_THERE);
        let Some(watch) = watch.upgrade() else { return };
        let waits = !watch.lock().users.is_empty();
        if waits && watch.store.is_there().is_err() {
            watch.lock().wake_all();
        }
    }
}
