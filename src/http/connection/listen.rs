//! Listening: the sockets that connections come in by.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Gid, Mode};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::accept::Listening;
use super::certificates::Certificates;
use crate::model::limits;

/// An address to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// A host and a port; a name may stand for several addresses.
    Tcp(String),
    /// A socket in the file system. A stale one, at which nobody listens, is replaced.
    Unix(PathBuf),
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket that whoever started this process listens at for it (systemd's socket activation): what comes while
/// no process serves waits there.
pub enum HandedOver {
    /// A socket of TCP.
    Tcp(StdTcpListener),
    /// A socket in the file system, whose file is not ours.
    Unix(StdUnixListener),
}

/// The access to a socket in the file system that this process makes; as the umask has it, where this does
/// not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketAccess {
    /// The mode of its file.
    pub mode: Option<u32>,
    /// The group of its file, by number.
    pub group: Option<u32>,
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
    /// Listens at this address, at all that its name stands for; with certificates TLS is spoken there, but not at a
    /// socket in the file system. To be called within a runtime of tokio.
    ///
    /// # Errors
    /// When none of the addresses is free, or there is none; when the file is no stale socket, or cannot be made
    /// as `access` has it.
    pub fn bind(
        &self,
        access: SocketAccess,
        certificates: Option<&Arc<Certificates>>,
    ) -> io::Result<Vec<Bound>> {
        match self {
            Self::Tcp(address) => {
                let sockets = bind_all(address)?.into_iter();
                sockets
                    .map(|socket| Bound::tcp(socket, certificates))
                    .collect()
            }
            Self::Unix(path) => {
                let (socket, file) = bind_socket(path, access)?;
                Ok(vec![Bound {
                    listening: Listening::Unix(UnixListener::from_std(socket)?),
                    address: format!("unix:{}", path.display()),
                    file: Some(file),
                }])
            }
        }
    }
}

impl HandedOver {
    /// Listens at this socket, as [`Listener::bind`] does. To be called within a runtime of tokio.
    ///
    /// # Errors
    /// When the system does not let the socket be used.
    pub fn bind(self, certificates: Option<&Arc<Certificates>>) -> io::Result<Bound> {
        match self {
            Self::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Bound::tcp(TcpListener::from_std(socket)?, certificates)
            }
            Self::Unix(socket) => {
                socket.set_nonblocking(true)?;
                let address = socket.local_addr()?;
                let path = address.as_pathname().unwrap_or(Path::new("-"));
                Ok(Bound {
                    address: format!("unix:{}", path.display()),
                    listening: Listening::Unix(UnixListener::from_std(socket)?),
                    file: None,
                })
            }
        }
    }
}

impl Bound {
    fn tcp(socket: TcpListener, certificates: Option<&Arc<Certificates>>) -> io::Result<Self> {
        let bound = socket.local_addr()?;
        let (scheme, listening) = match certificates {
            None => ("http", Listening::Tcp(socket)),
            Some(own) => ("https", Listening::Tls(socket, Arc::clone(own))),
        };
        Ok(Self {
            listening,
            address: format!("{scheme}://{bound}"),
            file: None,
        })
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

fn bind_socket(path: &Path, access: SocketAccess) -> io::Result<(StdUnixListener, SocketFile)> {
    let socket = match socket_at(path) {
        Err(taken) if taken.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            rustix::fs::unlink(path)?;
            socket_at(path)
        }
        other => other,
    }?;
    let inode = path.symlink_metadata()?.ino();
    let path = path.to_owned();
    // Should anything below fail, nothing is left.
    let file = SocketFile { path, inode };
    // Nobody can connect before it is listened at: by then it is for those whom it is for.
    let group = access.group.map(Gid::from_raw);
    rustix::fs::chown(&file.path, None, group)?;
    if let Some(mode) = access.mode {
        rustix::fs::chmod(&file.path, Mode::from_raw_mode(mode))?;
    }
    rustix::net::listen(&socket, limits::BACKLOG.cast_signed())?;
    Ok((socket.into(), file))
}

/// A socket with this name, at which nobody listens yet.
fn socket_at(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
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
        let (listener, socket) = bind_socket(&path, SocketAccess::default()).unwrap();
        let taken = bind_socket(&path, SocketAccess::default()).err().unwrap();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        std::mem::forget(socket);
        drop(listener);
        assert!(path.exists());
        let (_listener, socket) = bind_socket(&path, SocketAccess::default()).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::create_dir(&path).unwrap();
        assert!(bind_socket(&path, SocketAccess::default()).is_err());
        assert!(path.is_dir());
    }
}
