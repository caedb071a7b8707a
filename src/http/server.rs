//! A server: it listens, serves, and lets go.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::connection::accept::Acceptor;
use super::connection::listen::{HandedOver, Listener, SocketAccess, SocketFile};
use super::connection::waits::Patience;
use super::connection::workers::Workers;
use super::request::door::Door;
use super::service::services;
use super::site::Site;
use crate::model::limits;

/// The bounds within which connections are served.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Threads that serve requests; each has threads of its own for waiting on the disk.
    pub workers: usize,
    /// Connections at a time, over all workers.
    pub connections: usize,
    /// The time that the head of a request may take.
    pub head_timeout: Duration,
    /// The time for which a client may take nothing of its answer.
    pub taking_timeout: Duration,
    /// The time that requests in flight may take to end, once the server stops.
    pub shutdown: Duration,
}

/// The places where a server listens.
#[derive(Default)]
pub struct Places {
    /// Addresses that it listens at itself.
    pub listeners: Vec<Listener>,
    /// The access to the sockets in the file system among them.
    pub access: SocketAccess,
    /// Sockets that it has been handed.
    pub handed_over: Vec<HandedOver>,
}

/// A watcher, who is told again and again that the server serves.
pub struct Watcher {
    /// The time between two tellings.
    pub every: Duration,
    /// Tells it.
    pub tell: Box<dyn Fn()>,
}

/// A server that listens and does not serve yet.
pub struct Server {
    acceptor: Acceptor,
    workers: Workers,
    addresses: Vec<String>,
    sockets: Vec<SocketFile>,
    shutdown: Duration,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Server {
    /// Listens at all of these. Requests are answered until `stop` is done; then those in flight may
    /// end.
    ///
    /// # Errors
    /// The address at which it cannot listen, unless it is something else, and why; then nothing listens.
    pub fn bind(
        site: &Arc<Site>,
        places: Places,
        options: &ServerOptions,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, (Option<Listener>, io::Error)> {
        let mut acceptor = Acceptor::new(options.connections);
        let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
        let handed_over = places.handed_over.into_iter().map(HandedOver::bind);
        let mut all: Vec<_> = handed_over.collect::<Result<_, _>>().map_err(of_none)?;
        for listener in places.listeners {
            match listener.bind(places.access) {
                Ok(bound) => all.extend(bound),
                Err(error) => return Err((Some(listener), error)),
            }
        }
        for bound in all {
            acceptor.listen(bound.listening);
            addresses.push(bound.address);
            sockets.extend(bound.file);
        }
        let patience = Patience {
            head: options.head_timeout,
            taking: options.taking_timeout,
        };
        let (site, door) = (Arc::clone(site), Arc::new(Door::new(options.connections)));
        let started = Workers::start(options.workers, move |open| {
            services(Arc::clone(&site), Arc::clone(&door), open, patience)
        });
        let workers = started.map_err(of_none)?;
        Ok(Self {
            acceptor,
            workers,
            addresses,
            sockets,
            shutdown: options.shutdown,
            stop: Box::pin(stop),
        })
    }

    /// The addresses at which it listens, with the real ports.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Serves as [`Server::run`] does, and has a watcher told so: whenever all threads that serve have answered
    /// that they do.
    ///
    /// # Errors
    /// Those of [`Server::run`].
    pub async fn run_watched(self, watcher: Option<Watcher>) -> io::Result<()> {
        let Some(Watcher { every, tell }) = watcher else {
            return self.run().await;
        };
        let asker = self.workers.asker();
        let telling = async move {
            loop {
                asker.all_answer().await;
                tell();
                tokio::time::sleep(every).await;
            }
        };
        tokio::select! {
            ended = self.run() => ended,
            never = telling => never,
        }
    }

    /// Serves until it is stopped and all in flight has ended, or its time is up. What has been received
    /// by then is answered, and every connection that the system has accepted is served.
    ///
    /// # Errors
    /// When every worker has died.
    pub async fn run(self) -> io::Result<()> {
        let served = self.acceptor.run(&self.workers, self.stop).await;
        let until = Instant::now() + self.shutdown;
        self.workers.stop();
        // Requests that are not done then break off.
        let _ = timeout_at(until, served?).await;
        let until = until.max(Instant::now() + limits::LAST_WRITES);
        let _ = timeout_at(until, self.workers.end()).await;
        drop(self.sockets);
        Ok(())
    }
}

/// An error that no address is to blame for.
fn of_none(error: io::Error) -> (Option<Listener>, io::Error) {
    (None, error)
}
