//! Listening, serving, and letting go.

use std::future::ready;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Protocol, Request};
use actix_service::boxed::{self, BoxServiceFactory};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::App;
use actix_web::dev::{AppConfig, RequestHead, ServiceRequest, ServiceResponse};
use actix_web::http::Uri;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};
use tokio::time::{Instant, timeout_at};

use super::connection::accept::{Acceptor, Listening};
use super::connection::open::Open;
use super::connection::socket::Socket;
use super::connection::stream::{Connection, Patience};
use super::connection::turn::Turn;
use super::connection::workers::Workers;
use super::request::door::Door;
use super::{Site, dispatch};
use crate::model::limits;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// A host and a port; a name may stand for several addresses.
    Tcp(String),
    /// A socket in the file system. A stale one, which nobody listens at, is replaced.
    Unix(PathBuf),
}

/// How connections are treated.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Threads that serve requests; each has threads of its own for waiting on the disk.
    pub workers: usize,
    /// Connections at a time, over all workers.
    pub connections: usize,
    /// How long the head of a request may take.
    pub head_timeout: Duration,
    /// How long a client may take nothing of its answer.
    pub taking_timeout: Duration,
    /// How long requests in flight may take to end.
    pub shutdown: Duration,
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

/// A socket file of ours, by its inode.
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Server {
    /// Listens at all of these. Requests are answered until `stop` is done; then those in flight may
    /// end. On failure says at which one, and nothing listens.
    pub fn bind(
        site: &Arc<Site>,
        listeners: &[Listener],
        options: &ServerOptions,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, (Listener, io::Error)> {
        let patience = Patience {
            head: options.head_timeout,
            taking: options.taking_timeout,
        };
        let mut acceptor = Acceptor::new(options.connections);
        let door = Arc::new(Door::new(options.connections));
        let mut addresses = Vec::new();
        let mut sockets = Vec::new();
        for listener in listeners {
            let failed = |error| (listener.clone(), error);
            match listener {
                Listener::Tcp(address) => {
                    for socket in bind_all(address).map_err(failed)? {
                        let bound = socket.local_addr().map_err(failed)?;
                        acceptor.listen(Listening::Tcp(socket));
                        addresses.push(format!("http://{bound}"));
                    }
                }
                Listener::Unix(path) => {
                    let (socket, file) = bind_socket(path).map_err(failed)?;
                    let socket = UnixListener::from_std(socket).map_err(failed)?;
                    acceptor.listen(Listening::Unix(socket));
                    addresses.push(format!("unix:{}", path.display()));
                    sockets.push(file);
                }
            }
        }
        let started = Workers::start(options.workers, site, &door, patience);
        let workers = started.map_err(|error| (listeners[0].clone(), error))?;
        Ok(Self {
            acceptor,
            workers,
            addresses,
            sockets,
            shutdown: options.shutdown,
            stop: Box::pin(stop),
        })
    }

    /// Where it listens, with the real ports.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Serves until it is stopped and all in flight has ended, or its time is up. What has been received
    /// by then is answered, and every connection that the system has accepted is served.
    pub async fn run(self) -> io::Result<()> {
        let served = self.acceptor.run(&self.workers, self.stop).await;
        let until = Instant::now() + self.shutdown;
        self.workers.stop();
        // What is not done then is broken off.
        let _ = timeout_at(until, served?).await;
        let until = until.max(Instant::now() + limits::LAST_WRITES);
        let _ = timeout_at(until, self.workers.end()).await;
        drop(self.sockets);
        Ok(())
    }
}

/// The service of the connections that a worker is given.
pub(crate) type ConnectionService<S> = BoxServiceFactory<(), S, (), DispatchError, ()>;

/// What a worker does with an accepted connection, one of these. `prepare` says where it comes from, if
/// that is told.
pub(crate) fn service<S: Socket + 'static>(
    site: &Arc<Site>,
    open: &Open,
    door: &Arc<Door>,
    patience: Patience,
    prepare: fn(&S) -> Option<SocketAddr>,
) -> ConnectionService<S> {
    let (open, door) = (open.clone(), Arc::clone(door));
    let accepted = fn_service(move |stream: S| {
        let (open, door) = (open.clone(), Arc::clone(&door));
        async move {
            let peer = prepare(&stream);
            let (stream, place) = door.admit(stream, peer).await?;
            let connection = Connection::new(stream, patience, &open).holding(place);
            Ok((connection, Protocol::Http1, peer))
        }
    });
    let (app, early) = (Arc::clone(site), Arc::clone(site));
    let app = App::new().default_service(fn_service(move |request: ServiceRequest| {
        let site = Arc::clone(&app);
        async move { Ok(answer(&site, request).await) }
    }));
    let app = map_config(app.into_factory(), |()| AppConfig::default());
    let http = HttpService::build()
        // A `Connection` times all of these, and sees to what is left of a body.
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(Duration::ZERO)
        .keep_alive(KeepAlive::Os)
        .on_connect_ext(|connection: &Connection<S>, data| {
            data.insert(connection.turn());
        })
        .expect(fn_service(move |request: Request| {
            ready(dispatch::before_the_body(&early, request))
        }))
        .finish(app.map_err(|error| error.error_response()));
    boxed::factory(accepted.and_then(http))
}

/// What is said of a connection over TCP to the system.
pub(crate) fn prepare_tcp(stream: &TcpStream) -> Option<SocketAddr> {
    // Best effort, both: a small answer would only come later, and a client that has vanished would be
    // noticed later.
    let _ = stream.set_nodelay(true);
    let _ = set_tcp_user_timeout(stream, limits::VANISHED_MILLISECONDS);
    stream.peer_addr().ok()
}

/// Answers a request, and then gives the turn to the next on its connection.
async fn answer(site: &Site, mut request: ServiceRequest) -> ServiceResponse {
    if request.path().ends_with("/head") && !request.query_string().is_empty() {
        own(request.head_mut());
    }
    let (request, payload) = request.into_parts();
    let turn = request.conn_data::<Turn>();
    let turn = turn.expect("every connection has brought its own");
    let response = match turn.begin(request.head()) {
        None => dispatch::respond(site, request.head(), payload, turn).await,
        Some(refusal) => dispatch::refuse(request.head(), refusal, turn),
    };
    let response = turn.end(request.head(), response);
    ServiceResponse::new(request, response)
}

/// Copies what a request's head borrows from the connection's read buffer. A request that waits
/// would otherwise keep that buffer, and its connection get a second one: 8 KiB a waiter.
fn own(head: &mut RequestHead) {
    if let Ok(uri) = Uri::try_from(head.uri.to_string()) {
        head.uri = uri;
    }
    let mut headers = HeaderMap::with_capacity(head.headers.len());
    for (name, value) in &head.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    head.headers = headers;
}

/// Listens at every address that the name stands for; fails if that is none.
fn bind_all(address: &str) -> io::Result<Vec<TcpListener>> {
    let mut bound = Vec::new();
    let mut failed = None;
    for address in address.to_socket_addrs()? {
        match bind(address) {
            Ok(listener) => bound.push(listener),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if bound.is_empty() => Err(error),
        _ => Ok(bound),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A restart must not wait until the system has forgotten the connections of the last run.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(limits::BACKLOG)
}

fn bind_socket(path: &Path) -> io::Result<(StdUnixListener, SocketFile)> {
    let listener = match StdUnixListener::bind(path) {
        Err(taken) if taken.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            rustix::fs::unlink(path)?;
            StdUnixListener::bind(path)
        }
        other => other,
    }?;
    listener.set_nonblocking(true)?;
    let inode = path.symlink_metadata()?.ino();
    let path = path.to_owned();
    Ok((listener, SocketFile { path, inode }))
}

/// A socket that nobody listens at: what a killed server leaves.
fn is_stale(path: &Path) -> bool {
    let is_socket = path
        .symlink_metadata()
        .is_ok_and(|meta| meta.file_type().is_socket());
    let refused = || {
        UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    is_socket && refused()
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server may have put its own there since.
        if (self.path.symlink_metadata()).is_ok_and(|meta| meta.ino() == self.inode) {
            let _ = rustix::fs::unlink(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let (listener, socket) = bind_socket(&path).unwrap();
        let taken = bind_socket(&path).err().unwrap();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        std::mem::forget(socket);
        drop(listener);
        assert!(path.exists());
        let (_listener, socket) = bind_socket(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::create_dir(&path).unwrap();
        assert!(bind_socket(&path).is_err());
        assert!(path.is_dir());
    }
}
