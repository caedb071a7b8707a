//! Who waits for a user's HEAD, and how they are woken.
//!
//! One inotify watch for each user that somebody waits for, one on `users/` for those who have no
//! folder yet, one thread that reads them all. An advance is a rename to `HEAD`, whoever makes it:
//! this process or another one on the same directory. The head is then read once, for all who wait,
//! through the store, which syncs it first; on a thread of the pool, so that no user's disk holds the
//! others' news up. Told is what the store has seen when the waiter gets its turn, which never goes
//! back; what was read is not handed on, since others may have moved HEAD, and been answered, meanwhile.
//!
//! Where the system gives no watch (a limit, a file system without inotify), waiters look for
//! themselves once in [`limits::LOOK_AGAIN`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::model::{UserId, limits};
use crate::store::{Seen, Store};

/// All who wait.
pub struct Watch {
    store: Arc<Store>,
    inner: Mutex<Inner>,
}

struct Inner {
    users: HashMap<UserId, User>,
    by_descriptor: HashMap<WatchDescriptor, UserId>,
    /// None where there is no inotify.
    watches: Option<Watches>,
    closed: bool,
}

/// A user that somebody waits for.
struct User {
    news: watch::Sender<News>,
    waiters: usize,
    descriptor: Option<WatchDescriptor>,
    /// Where the head is read: on the threads of the first who waits.
    runtime: Handle,
    reading: Reading,
}

/// What those who wait are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// The store has seen the head.
    Seen,
    /// Nobody could read it.
    Look,
}

/// Whether the head of a user is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    No,
    Yes,
    /// It may have moved since that began.
    Again,
}

/// One who waits.
pub struct Waiter {
    watch: Arc<Watch>,
    user: UserId,
    news: watch::Receiver<News>,
}

/// What a waiter is woken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The head may be another one: this, the newest that anybody here has seen.
    Seen(Seen),
    /// Something happened, or nobody can tell: look.
    Look,
    /// The server ends.
    Closed,
}

impl Watch {
    /// Starts the thread that reads the watches.
    pub fn new(store: Arc<Store>) -> Arc<Self> {
        let inotify = Inotify::init().and_then(|inotify| {
            if let Some(users) = store.path_of_users() {
                let arrivals = WatchMask::MOVED_TO
                    | WatchMask::CREATE
                    | WatchMask::MOVE_SELF
                    | WatchMask::DELETE_SELF
                    | WatchMask::ONLYDIR;
                inotify.watches().add(users, arrivals)?;
            }
            Ok(inotify)
        });
        let inotify = inotify
            .inspect_err(|error| {
                log::warn!("no inotify ({error}): those who wait for HEAD look for it instead");
            })
            .ok();
        let inner = Inner {
            users: HashMap::new(),
            by_descriptor: HashMap::new(),
            watches: inotify.as_ref().map(Inotify::watches),
            closed: false,
        };
        let watch = Arc::new(Self {
            store,
            inner: Mutex::new(inner),
        });
        let weak = Arc::downgrade(&watch);
        let look = std::thread::Builder::new().name("there".to_owned());
        if let Err(error) = look.spawn(move || look_there(&weak)) {
            log::warn!("no thread to see that the store is there ({error})");
        }
        if let Some(inotify) = inotify {
            // It holds no reference while it waits, and ends with the process.
            let weak = Arc::downgrade(&watch);
            let read = move || read_events(inotify, &weak);
            if let Err(error) = std::thread::Builder::new()
                .name("watch".to_owned())
                .spawn(read)
            {
                log::warn!("no thread to watch with ({error})");
                watch.lock().watches = None;
            }
        }
        watch
    }

    /// Waits for this user from now on: a head that is read after this and still current when it is
    /// compared cannot be missed. To be called where there are threads for the disk.
    pub fn wait(self: &Arc<Self>, user: UserId) -> Waiter {
        let mut inner = self.lock();
        let entry = inner.users.entry(user).or_insert_with(|| User {
            news: watch::Sender::new(News::Look),
            waiters: 0,
            descriptor: None,
            runtime: Handle::current(),
            reading: Reading::No,
        });
        entry.waiters += 1;
        let news = entry.news.subscribe();
        inner.watch_folder(user, self.store.path_of(&user));
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

    fn lock(&self) -> MutexGuard<'_, Inner> {
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
            let news = match self.store.look(&user) {
                Ok(_) => News::Seen,
                Err(error) => {
                    log::debug!("user {}: {error}", user.short());
                    News::Look
                }
            };
            let mut inner = self.lock();
            inner.watch_folder(user, self.store.path_of(&user));
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

impl Inner {
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
            Err(absent) if absent.kind() == std::io::ErrorKind::NotFound => {}
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
    /// Returns when the head may be another one.
    pub async fn woken(&mut self) -> Woken {
        if self.watch.lock().closed {
            return Woken::Closed;
        }
        let changed = if self.is_watched() {
            self.news.changed().await.is_ok()
        } else {
            let changed = self.news.changed();
            (tokio::time::timeout(limits::LOOK_AGAIN, changed).await).is_ok_and(|told| told.is_ok())
        };
        if self.watch.lock().closed {
            return Woken::Closed;
        }
        let news = *self.news.borrow_and_update();
        let seen = (changed && news == News::Seen).then(|| self.watch.store.seen(&self.user));
        seen.flatten().map_or(Woken::Look, Woken::Seen)
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

/// Reads events until the process ends.
fn read_events(mut inotify: Inotify, watch: &std::sync::Weak<Watch>) {
    let mut buffer = [0; 16 << 10];
    loop {
        let mut awake = Vec::new();
        match inotify.read_events_blocking(&mut buffer) {
            Ok(events) => {
                let Some(watch) = watch.upgrade() else { return };
                let mut inner = watch.lock();
                for event in events {
                    let name = event.name.and_then(|name| name.to_str());
                    if event.mask.contains(EventMask::Q_OVERFLOW) {
                        awake.extend(inner.users.keys());
                    } else if let Some(user) = inner.by_descriptor.get(&event.wd).copied() {
                        let gone =
                            EventMask::MOVE_SELF | EventMask::DELETE_SELF | EventMask::IGNORED;
                        if event.mask.intersects(gone) {
                            inner.forget(&event.wd);
                            awake.push(user);
                        } else if name == Some("HEAD") {
                            awake.push(user);
                        }
                    } else if event
                        .mask
                        .intersects(EventMask::MOVE_SELF | EventMask::DELETE_SELF)
                    {
                        // `users/` itself.
                        inner.wake_all();
                    } else if let Some(user) = name.and_then(|name| name.parse().ok()) {
                        // Somebody's folder came to `users/`.
                        if inner.users.contains_key(&user) {
                            awake.push(user);
                        }
                    }
                }
            }
            Err(interrupted) if interrupted.kind() == std::io::ErrorKind::Interrupted => {}
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
fn look_there(watch: &std::sync::Weak<Watch>) {
    loop {
        std::thread::sleep(limits::LOOK_THERE);
        let Some(watch) = watch.upgrade() else { return };
        let waits = !watch.lock().users.is_empty();
        if waits && watch.store.is_there().is_err() {
            watch.lock().wake_all();
        }
    }
}
