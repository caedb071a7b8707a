//! Listening, and letting go.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{RequestHead, ServiceRequest, ServiceResponse, fn_service};
use actix_web::http::Uri;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{App, HttpServer};

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
    /// How long the head of a connection's first request may take.
    pub head_timeout: Duration,
    /// How long requests in flight may take to end.
    pub shutdown: Duration,
}

/// A server that listens and does not serve yet.
pub struct Server {
    server: actix_web::dev::Server,
    addresses: Vec<String>,
    sockets: Vec<Socket>,
}

/// A socket file of ours, by its inode.
struct Socket {
    path: PathBuf,
    inode: u64,
}

impl Server {
    /// Listens at all of these. Requests are answered until `stop` is done; then those in flight may
    /// end. On failure says at which one, and nothing listens.
    pub fn bind(
        site: Arc<Site>,
        listeners: &[Listener],
        options: &ServerOptions,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Self, (Listener, io::Error)> {
        let app = move || {
            let site = Arc::clone(&site);
            App::new().default_service(fn_service(move |mut request: ServiceRequest| {
                let site = Arc::clone(&site);
                async move {
                    if request.path().ends_with("/head") && !request.query_string().is_empty() {
                        own(request.head_mut());
                    }
                    let (request, payload) = request.into_parts();
                    let response = dispatch::respond(&site, &request, payload).await;
                    Ok(ServiceResponse::new(request, response))
                }
            }))
        };
        let seconds = options.shutdown.as_millis().div_ceil(1000);
        let mut server = HttpServer::new(app)
            .workers(options.workers)
            .max_connections(options.connections.div_ceil(options.workers))
            .worker_max_blocking_threads(limits::BLOCKING_THREADS)
            .client_request_timeout(options.head_timeout)
            .client_disconnect_timeout(limits::LINGER)
            .keep_alive(limits::KEEP_ALIVE)
            .tcp_nodelay(true)
            .shutdown_timeout(u64::try_from(seconds).unwrap_or(u64::MAX))
            .shutdown_signal(stop);
        let mut addresses = Vec::new();
        let mut sockets = Vec::new();
        for listener in listeners {
            let failed = |error| (listener.clone(), error);
            match listener {
                Listener::Tcp(address) => {
                    let before = server.addrs().len();
                    server = server.bind(address).map_err(failed)?;
                    let bound = server.addrs().into_iter().skip(before);
                    addresses.extend(bound.map(|address| format!("http://{address}")));
                }
                Listener::Unix(path) => {
                    let (listener, socket) = bind_socket(path).map_err(failed)?;
                    server = server.listen_uds(listener).map_err(failed)?;
                    addresses.push(format!("unix:{}", path.display()));
                    sockets.push(socket);
                }
            }
        }
        Ok(Self {
            server: server.run(),
            addresses,
            sockets,
        })
    }

    /// Where it listens, with the real ports.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Serves until it is stopped and all in flight has ended, or its time is up.
    pub async fn run(self) -> io::Result<()> {
        let ended = self.server.await;
        drop(self.sockets);
        ended
    }
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

fn bind_socket(path: &Path) -> io::Result<(UnixListener, Socket)> {
    let listener = match UnixListener::bind(path) {
        Err(taken) if taken.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            rustix::fs::unlink(path)?;
            UnixListener::bind(path)
        }
        other => other,
    }?;
    let inode = path.symlink_metadata()?.ino();
    let path = path.to_owned();
    Ok((listener, Socket { path, inode }))
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

impl Drop for Socket {
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
