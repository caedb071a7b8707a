//! The manager of services that started this process: systemd, or whoever speaks as it does.
//!
//! It may hand over sockets at which it listens, be told when the server serves, and want to be told so again and again.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::http::{HandedOver, Watcher};
use crate::model::limits;

/// Takes the sockets that this process has been handed (`LISTEN_FDS`, `LISTEN_PID`), all of them. To be called before
/// there are threads, since it takes them out of the environment.
///
/// # Errors
/// When one of them is no stream socket that is listened at by TCP or in the file system.
pub fn handed_over() -> io::Result<Vec<HandedOver>> {
    let mut handed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..handed.len() {
        let socket = match handed.take_unix_listener(index) {
            Ok(socket) => socket.map(HandedOver::Unix),
            Err(_) => handed.take_tcp_listener(index)?.map(HandedOver::Tcp),
        };
        sockets.extend(socket);
    }
    Ok(sockets)
}

/// The manager, if there is one. It is told from a thread of its own: nobody waits for it to listen. A clone is the same.
#[derive(Clone)]
pub struct Manager(Option<SyncSender<NotifyState<'static>>>);

impl Manager {
    /// The manager that `NOTIFY_SOCKET` names.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn find() -> io::Result<Self> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self(None));
        }
        let (sender, told) = sync_channel::<NotifyState<'static>>(limits::TOLD);
        let tell = move || {
            for state in told {
                if let Err(error) = sd_notify::notify(&[state]) {
                    log::warn!("the manager of services cannot be told: {error}");
                }
            }
        };
        let thread = std::thread::Builder::new().name("manager".to_owned());
        thread.spawn(tell)?;
        Ok(Self(Some(sender)))
    }

    /// Tells it that the server serves.
    pub fn is_ready(&self) {
        self.tell(NotifyState::Ready);
    }

    /// Tells it that the server stops.
    pub fn stops(&self) {
        self.tell(NotifyState::Stopping);
    }

    /// The manager as a watcher, where it wants to be told that the server still serves: twice in the time that it
    /// waits.
    pub fn watcher(&self) -> Option<Watcher> {
        let manager = self.clone();
        sd_notify::watchdog_enabled().map(|patience| Watcher {
            every: patience / 2,
            tell: Box::new(move || manager.tell(NotifyState::Watchdog)),
        })
    }

    fn tell(&self, state: NotifyState<'static>) {
        if let Some(sender) = &self.0 {
            // Where it does not listen, there is no use in telling it more.
            let _ = sender.try_send(state);
        }
    }
}
