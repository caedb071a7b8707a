//! Listening: the sockets that connections come in by.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::accept::Listening;
use crate::model::limits;

/// An address to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// A host and a port; a name may stand for several addresses.
    Tcp(String),
    /// A socket in the file system. A stale one, at which nobody listens, is replaced.
    Unix(PathBuf),
}

/// A socket that is listened at.
pub struct Bound {
    /// The socket.
    pub listening: Listening,
    /// The address for a person, with the real port.
    pub address: String,
    /// The file of a socket in the file system.
    pub file: Option<SocketFile>,
}

/// A socket file that this process has made, known by its inode. Dropped, it is unlinked, if it is still there.
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Listener {
    /// Listens at this address, at all that its name stands for. To be called within a runtime of tokio.
    ///
    /// # Errors
    /// When none of the addresses is free, or there is none; when the file is no stale socket.
    pub fn bind(&self) -> io::Result<Vec<Bound>> {
        match self {
            Self::Tcp(address) => {
                let sockets = bind_all(address)?.into_iter();
                let bound = sockets.map(|socket| {
                    let bound = socket.local_addr()?;
                    Ok(Bound {
                        listening: Listening::Tcp(socket),
                        address: format!("http://{bound}"),
                        file: None,
                    })
                });
                bound.collect()
            }
            Self::Unix(path) => {
                let (socket, file) = bind_socket(path)?;
                Ok(vec![Bound {
                    listening: Listening::Unix(UnixListener::from_std(socket)?),
                    address: format!("unix:{}", path.display()),
                    file: Some(file),
                }])
            }
        }
    }
}

/// Listens at every address that the name stands for; fails where it can listen at none of them.
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

/// Whether this is a socket at which nobody listens, as a killed server leaves it.
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
