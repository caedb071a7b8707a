//! Who serves the connections: threads, each with a runtime of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_service::{Service, ServiceFactory};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::open::Open;
use super::stream::Patience;
use crate::http::Site;
use crate::http::request::door::Door;
use crate::http::server::{prepare_tcp, service};
use crate::model::limits;

/// A connection that has been accepted, not yet served.
pub struct Accepted {
    pub stream: Stream,
    /// One of the connections that may be open at a time.
    pub permit: OwnedSemaphorePermit,
}

/// Its socket, which does not block.
pub enum Stream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// All of them. Dropped, they end, and what they serve breaks off.
pub struct Workers {
    workers: Vec<Worker>,
    next: AtomicUsize,
}

struct Worker {
    orders: mpsc::UnboundedSender<Order>,
    /// Connections that it serves.
    load: Arc<AtomicUsize>,
    ended: oneshot::Receiver<()>,
}

enum Order {
    Serve(Accepted, Load),
    Stop,
}

/// One connection among those of its worker, until it is dropped.
struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts so many.
    pub fn start(
        count: usize,
        site: &Arc<Site>,
        door: &Arc<Door>,
        patience: Patience,
    ) -> io::Result<Self> {
        let start = |number| Worker::start(number, Arc::clone(site), Arc::clone(door), patience);
        Ok(Self {
            workers: (0..count).map(start).collect::<io::Result<_>>()?,
            next: AtomicUsize::new(0),
        })
    }

    /// Has this served by the one that serves the fewest; fails when all have died.
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

    /// Each connection that was given to one of them answers what it has received, and ends.
    pub fn stop(&self) {
        for worker in &self.workers {
            // One that has died has stopped.
            let _ = worker.orders.send(Order::Stop);
        }
    }

    /// Lets them end, and waits until they have: also for what they still do on other threads.
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
    fn start(
        number: usize,
        site: Arc<Site>,
        door: Arc<Door>,
        patience: Patience,
    ) -> io::Result<Self> {
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
                Ok(runtime) => runtime.block_on(work(received, site, door, patience)),
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

/// What one of the threads does, until there are no more orders.
async fn work(
    mut orders: mpsc::UnboundedReceiver<Order>,
    site: Arc<Site>,
    door: Arc<Door>,
    patience: Patience,
) {
    let open = Open::default();
    let tcp = service(&site, &open, &door, patience, prepare_tcp)
        .new_service(())
        .await;
    let unix = service(&site, &open, &door, patience, |_| None)
        .new_service(())
        .await;
    let (Ok(tcp), Ok(unix)) = (tcp, unix) else {
        log::error!("a thread that should serve has no service");
        return;
    };
    while let Some(order) = orders.recv().await {
        let (accepted, load) = match order {
            Order::Serve(accepted, load) => (accepted, load),
            Order::Stop => {
                open.stop();
                continue;
            }
        };
        let held = (accepted.permit, load);
        let served = match accepted.stream {
            Stream::Tcp(socket) => TcpStream::from_std(socket).map(|s| tcp.call(s)),
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
