//! Accepting connections, until the server stops.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::future::{try_join, try_join_all};
use rustix::net::{SocketFlags, accept_with};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::certificates::Certificates;
use super::workers::{Accepted, Stream, Workers};
use crate::model::limits;

/// The sockets that are listened at, and the number of connections that there may be.
pub struct Acceptor {
    listening: Vec<Listening>,
    room: Arc<Semaphore>,
    most: u32,
}

/// A socket that is listened at.
pub enum Listening {
    /// A socket of TCP.
    Tcp(TcpListener),
    /// A socket of TCP whose clients speak TLS, by these certificates.
    Tls(TcpListener, Arc<Certificates>),
    /// A socket in the file system.
    Unix(UnixListener),
}

impl Acceptor {
    /// An acceptor without a socket, for at most so many connections at a time; more wait to be accepted.
    pub fn new(connections: usize) -> Self {
        let most = u32::try_from(connections.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self {
            listening: Vec::new(),
            room: Arc::new(Semaphore::new(most as usize)),
            most,
        }
    }

    /// Adds a socket to accept at.
    pub fn listen(&mut self, listening: Listening) {
        self.listening.push(listening);
    }

    /// Has the workers serve all connections that come, until `stop` is done; then nobody listens any more.
    /// Returns a future that is done when all those connections have ended.
    ///
    /// # Errors
    /// When every worker has died.
    pub async fn run(
        self,
        workers: &Workers,
        stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> io::Result<impl Future<Output = ()>> {
        let (stopping, stopped) = watch::channel(false);
        let accepting = (self.listening.into_iter())
            .map(|one| one.accept_until(Arc::clone(&self.room), workers, stopped.clone()));
        let stop = async {
            stop.await;
            stopping.send_replace(true);
            Ok(())
        };
        try_join(stop, try_join_all(accepting)).await?;
        Ok(async move {
            // The semaphore is never closed, so this waits for all permits.
            let _ = self.room.acquire_many(self.most).await;
        })
    }
}

impl Listening {
    /// Accepts until the server stops, and at last all connections that the system has accepted by then.
    async fn accept_until(
        self,
        room: Arc<Semaphore>,
        workers: &Workers,
        mut stopped: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let mut stopped = pin!(stopped.wait_for(|stopped| *stopped));
        loop {
            let accepted = tokio::select! {
                _ = &mut stopped => break,
                accepted = self.next(&room) => accepted,
            };
            match accepted {
                Ok(accepted) => workers.serve(accepted)?,
                Err(error) if is_of_one(&error) => {}
                Err(error) => {
                    log::error!("no connection can be accepted: {error}");
                    if timeout(limits::ACCEPT_AGAIN, &mut stopped).await.is_ok() {
                        break;
                    }
                }
            }
        }
        while let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
            match self.accept_now() {
                Ok(stream) => workers.serve(Accepted { stream, permit })?,
                Err(error) if is_of_one(&error) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// The next connection, once there is room for one.
    async fn next(&self, room: &Arc<Semaphore>) -> io::Result<Accepted> {
        let permit = Arc::clone(room).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let stream = match self {
            Self::Tcp(listener) => Stream::Tcp(listener.accept().await?.0.into_std()?),
            Self::Tls(listener, certificates) => {
                let stream = listener.accept().await?.0.into_std()?;
                Stream::Tls(stream, certificates.config())
            }
            Self::Unix(listener) => Stream::Unix(listener.accept().await?.0.into_std()?),
        };
        Ok(Accepted { stream, permit })
    }

    /// Accepts a connection that is there already; fails with `WouldBlock` where none is.
    fn accept_now(&self) -> io::Result<Stream> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accept = |listener: BorrowedFd<'_>| accept_with(listener, flags);
        Ok(match self {
            Self::Tcp(listener) => Stream::Tcp(accept(listener.as_fd())?.into()),
            Self::Tls(listener, certificates) => {
                Stream::Tls(accept(listener.as_fd())?.into(), certificates.config())
            }
            Self::Unix(listener) => Stream::Unix(accept(listener.as_fd())?.into()),
        })
    }
}

/// Whether this error concerns one connection only, and the next one can be accepted.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        Interrupted,
    ]
    .contains(&error.kind())
}
