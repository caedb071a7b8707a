//! Who waits for a user's HEAD, and how they are woken.
//!
//! One inotify watch for each user that somebody waits for, one on `users/` for those who have no
//! folder yet, one thread that reads them all. An advance is a rename to `HEAD`, whoever makes it:
//! this process or another one on the same directory. The thread then reads the head once, for all
//! who wait, through the store: so it is synced before it is told.
//!
//! Where the system gives no watch (a limit, a file system without inotify), waiters look for
//! themselves once in [`limits::LOOK_AGAIN`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::sync::watch;

use crate::model::{Head, UserId, limits};
use crate::store::Store;

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
    heads: watch::Sender<Option<Head>>,
    waiters: usize,
    descriptor: Option<WatchDescriptor>,
}

/// One who waits.
pub struct Waiter {
    watch: Arc<Watch>,
    user: UserId,
    heads: watch::Receiver<Option<Head>>,
}

/// What a waiter is woken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The head may be another one: this.
    Head(Head),
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
                let arrivals = WatchMask::MOVED_TO | WatchMask::CREATE | WatchMask::ONLYDIR;
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
    /// compared cannot be missed.
    pub fn wait(self: &Arc<Self>, user: UserId) -> Waiter {
        let mut inner = self.lock();
        let entry = inner.users.entry(user).or_insert_with(|| User {
            heads: watch::Sender::new(None),
            waiters: 0,
            descriptor: None,
        });
        entry.waiters += 1;
        let heads = entry.heads.subscribe();
        inner.watch_folder(user, self.store.path_of(&user));
        Waiter {
            watch: Arc::clone(self),
            user,
            heads,
        }
    }

    /// Wakes everybody, for good: the server ends.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        for user in inner.users.values() {
            user.heads.send_replace(None);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("no code panics while it holds this")
    }

    /// Reads the head of this user, once for all, and tells it.
    fn tell(&self, user: UserId) {
        let head = match self.store.head(&user) {
            Ok(head) => Some(head),
            Err(error) => {
                log::debug!("user {}: {error}", user.short());
                None
            }
        };
        let mut inner = self.lock();
        inner.watch_folder(user, self.store.path_of(&user));
        if let Some(user) = inner.users.get(&user) {
            user.heads.send_replace(head);
        }
    }
}

impl Inner {
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
            self.heads.changed().await.is_ok()
        } else {
            let changed = self.heads.changed();
            (tokio::time::timeout(limits::LOOK_AGAIN, changed).await).is_ok_and(|told| told.is_ok())
        };
        if self.watch.lock().closed {
            return Woken::Closed;
        }
        match *self.heads.borrow_and_update() {
            Some(head) if changed => Woken::Head(head),
            _ => Woken::Look,
        }
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
            watch.tell(user);
        }
    }
}
