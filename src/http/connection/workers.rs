//! The threads that serve connections, each with a runtime of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_http::error::DispatchError;
use actix_service::Service;
use actix_service::boxed::BoxService;
use rustls::ServerConfig;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::open::Open;
use super::tls::TlsSocket;
use crate::model::limits;

/// A connection that has been accepted, not yet served.
pub struct Accepted {
    /// The socket.
    pub stream: Stream,
    /// The permit to be one of the open connections.
    pub permit: OwnedSemaphorePermit,
}

/// The socket of an accepted connection, which does not block.
pub enum Stream {
    /// A socket of TCP.
    Tcp(std::net::TcpStream),
    /// A socket of TCP whose client is to speak TLS.
    Tls(std::net::TcpStream, Arc<ServerConfig>),
    /// A socket in the file system.
    Unix(std::os::unix::net::UnixStream),
}

/// The service of the connections over one kind of socket.
pub type ConnectionService<S> = BoxService<S, (), DispatchError>;

/// The services of one worker, which are made on its thread.
pub struct Services {
    /// The service of connections over TCP.
    pub tcp: ConnectionService<TcpStream>,
    /// The service of connections over TCP that are secured by TLS.
    pub tls: ConnectionService<TlsSocket>,
    /// The service of connections over sockets in the file system.
    pub unix: ConnectionService<UnixStream>,
}

/// All workers. Dropped, they end, and the connections that they serve break off.
pub struct Workers {
    workers: Vec<Worker>,
    next: AtomicUsize,
}

struct Worker {
    orders: mpsc::UnboundedSender<Order>,
    /// The number of connections that it serves.
    load: Arc<AtomicUsize>,
    ended: oneshot::Receiver<()>,
}

enum Order {
    Serve(Accepted, Load),
    /// Say that there is somebody who takes orders.
    Answer(oneshot::Sender<()>),
    Stop,
}

/// Asks the workers whether they are at work.
pub struct Asker(Vec<mpsc::WeakUnboundedSender<Order>>);

impl Asker {
    /// Waits until each worker has answered, but for those that have died.
    pub async fn all_answer(&self) {
        for orders in &self.0 {
            let (sender, answered) = oneshot::channel();
            let orders = orders.upgrade();
            if orders.is_some_and(|orders| orders.send(Order::Answer(sender)).is_ok()) {
                // One that dies now has no answer.
                let _ = answered.await;
            }
        }
    }
}

/// A count of one connection more in the load of its worker, until it is dropped.
struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts so many workers, each with the services that `make` makes for its open connections.
    ///
    /// # Errors
    /// When the system gives no thread. A worker whose services cannot be made logs that, and dies.
    pub fn start<F, M>(count: usize, make: F) -> io::Result<Self>
    where
        F: Fn(Open) -> M + Clone + Send + 'static,
        M: Future<Output = Result<Services, ()>>,
    {
        let start = |number| Worker::start(number, make.clone());
        Ok(Self {
            workers: (0..count).map(start).collect::<io::Result<_>>()?,
            next: AtomicUsize::new(0),
        })
    }

    /// Has a connection served by the worker that serves the fewest.
    ///
    /// # Errors
    /// When every worker has died.
    pub fn serve(&self, accepted: Accepted) -> io::Result<()> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len();
        let (before, after) = self.workers.split_at(first);
        let alive = after
            .iter()
            .chain(before)
            .filter(|worker| !worker.orders.is_closed());
        let least = alive.min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        let worker = least.ok_or_else(|| io::Error::other("every thread that serves has died"))?;
        worker.load.fetch_add(1, Ordering::Relaxed);
        let load = Load(Arc::clone(&worker.load));
        // Should it die just now, the connection dies with it.
        let _ = worker.orders.send(Order::Serve(accepted, load));
        Ok(())
    }

    /// An asker of all these workers, for whom they do not stay.
    pub fn asker(&self) -> Asker {
        let orders = self.workers.iter().map(|worker| worker.orders.downgrade());
        Asker(orders.collect())
    }

    /// Tells all connections that the server stops: each answers what it has received, and ends.
    pub fn stop(&self) {
        for worker in &self.workers {
            // One that has died has stopped.
            let _ = worker.orders.send(Order::Stop);
        }
    }

    /// Lets the workers end, and waits until they have, also for what they still do on other threads.
    pub async fn end(self) {
        let workers = self.workers.into_iter();
        let ending: Vec<_> = workers.map(|Worker { ended, .. }| ended).collect();
        for ended in ending {
            // Ended or died, it is the same.
            let _ = ended.await;
        }
    }
}

impl Worker {
    fn start<F, M>(number: usize, make: F) -> io::Result<Self>
    where
        F: FnOnce(Open) -> M + Send + 'static,
        M: Future<Output = Result<Services, ()>>,
    {
        let (orders, received) = mpsc::unbounded_channel();
        let (ending, ended) = oneshot::channel();
        let work = move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(
                    limits::BLOCKING_THREADS + limits::PUSHES + limits::SPARE_THREADS,
                )
                .build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => runtime.block_on(work(received, make)),
                Err(error) => log::error!("a thread that should serve cannot: {error}"),
            }
            drop(ending);
        };
        std::thread::Builder::new()
            .name(format!("worker {number}"))
            .spawn(work)?;
        Ok(Self {
            orders,
            load: Arc::default(),
            ended,
        })
    }
}

/// The work of one thread, until there are no more orders.
async fn work<M>(mut orders: mpsc::UnboundedReceiver<Order>, make: impl FnOnce(Open) -> M)
where
    M: Future<Output = Result<Services, ()>>,
{
    let open = Open::default();
    let Ok(Services { tcp, tls, unix }) = make(open.clone()).await else {
        log::error!("a thread that should serve has no service");
        return;
    };
    while let Some(order) = orders.recv().await {
        let (accepted, load) = match order {
            Order::Serve(accepted, load) => (accepted, load),
            Order::Answer(asker) => {
                // Whoever asked may have gone.
                let _ = asker.send(());
                continue;
            }
            Order::Stop => {
                open.stop();
                continue;
            }
        };
        let held = (accepted.permit, load);
        let served = match accepted.stream {
            Stream::Tcp(socket) => TcpStream::from_std(socket).map(|s| tcp.call(s)),
            Stream::Tls(socket, config) => {
                TcpStream::from_std(socket).map(|s| tls.call(TlsSocket::new(s, config)))
            }
            Stream::Unix(socket) => UnixStream::from_std(socket).map(|s| unix.call(s)),
        };
        match served {
            Ok(served) => {
                tokio::task::spawn_local(async move {
                    // actix has logged how it ended, if not well.
                    let _ = served.await;
                    drop(held);
                });
            }
            Err(error) => log::error!("a connection cannot be served: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const LONG: Duration = Duration::from_secs(20);

    fn run(test: impl Future<Output = ()>) {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn a_thread_that_hangs_does_not_answer() {
        run(async {
            let hang = |_| std::future::pending::<Result<Services, ()>>();
            let workers = Workers::start(2, hang).unwrap();
            let answered = workers.asker();
            let answered = timeout(Duration::from_millis(100), answered.all_answer());
            assert!(answered.await.is_err());
        });
    }

    #[test]
    fn a_thread_that_has_died_is_not_waited_for_and_an_asker_keeps_none_alive() {
        run(async {
            let die = |_| std::future::ready(Err(()));
            let workers = Workers::start(2, die).unwrap();
            let asker = workers.asker();
            timeout(LONG, asker.all_answer()).await.unwrap();
            timeout(LONG, workers.end()).await.unwrap();
            timeout(LONG, asker.all_answer()).await.unwrap();
        });
    }
}
