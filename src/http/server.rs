//! A server: it listens, serves, and lets go.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::connection::accept::Acceptor;
use super::connection::certificates::Certificates;
use super::connection::listen::{Bound, HandedOver, Listener, SocketAccess, SocketFile};
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
    /// The certificates with which TLS is spoken at all of these but those in the file system.
    pub certificates: Option<Arc<Certificates>>,
    /// How long it waits for an address that this box does not have yet, or that somebody else still listens at.
    pub wait: Duration,
}

impl Places {
    /// Listens at all of these, and waits for those that may come. What is listened at by then has its connections wait.
    ///
    /// # Errors
    /// The address at which it cannot listen, unless it is something else, and why.
    async fn bind(self) -> Result<Vec<Bound>, (Option<Listener>, io::Error)> {
        let until = Instant::now() + self.wait;
        let own = self.certificates.as_ref();
        let handed_over = self.handed_over.into_iter().map(|one| one.bind(own));
        let mut all: Vec<_> = handed_over.collect::<Result<_, _>>().map_err(of_none)?;
        for listener in self.listeners {
            match bind_until(&listener, self.access, own, until).await {
                Ok(bound) => all.extend(bound),
                Err(error) => return Err((Some(listener), error)),
            }
        }
        Ok(all)
    }
}

/// Listens at an address, which is tried again and again for as long as it may yet come.
async fn bind_until(
    listener: &Listener,
    access: SocketAccess,
    certificates: Option<&Arc<Certificates>>,
    until: Instant,
) -> io::Result<Vec<Bound>> {
    let mut told = false;
    loop {
        match listener.bind(access, certificates) {
            Err(error) if may_come(&error) && Instant::now() < until => {
                if !std::mem::replace(&mut told, true) {
                    log::info!("waits to listen at {listener}: {error}");
                }
                let pause = Instant::now() + limits::LISTEN_PAUSE;
                tokio::time::sleep_until(pause.min(until)).await;
            }
            bound => return bound,
        }
    }
}

/// Whether an address that cannot be listened at may be one that can, a moment later.
fn may_come(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse
    )
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
    /// The address at which it cannot listen, unless it is something else, and why; then nothing listens. An error of
    /// kind `Interrupted` where `stop` was done before it could.
    pub async fn bind(
        site: &Arc<Site>,
        places: Places,
        options: &ServerOptions,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, (Option<Listener>, io::Error)> {
        let mut acceptor = Acceptor::new(options.connections);
        let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
        let mut stop: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(stop);
        let all = tokio::select! {
            bound = places.bind() => bound?,
            () = &mut stop => return Err(of_none(io::ErrorKind::Interrupted.into())),
        };
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
        if let Some(counters) = &site.counters {
            counters.let_in_by(door.connections().clone());
        }
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
            stop,
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
