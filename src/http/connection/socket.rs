//! The sockets that are served, over TCP and in the file system, beyond bytes in and out.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};

use rustix::net::SendFlags;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};

use crate::model::limits;

/// A stream socket of the system.
pub trait Socket: AsyncRead + AsyncWrite + AsFd + Unpin {
    /// Sets a socket up that has just been accepted, and returns the address of its client, if it has one.
    fn prepare(&self) -> Option<SocketAddr>;

    /// Calls `send`, which must not wait, once the socket takes something; ready with the number of bytes sent.
    ///
    /// # Errors
    /// Those of `send`, except that it would have to wait.
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        send: &dyn Fn() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>>;

    /// Sends some of a file from the system's own memory; ready with the number of bytes sent, 0 at the file's
    /// end.
    ///
    /// # Errors
    /// Those of sendfile(2), of which some say that this file's system has no such call.
    fn poll_send_file(
        &self,
        context: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, &|| {
            let mut offset = offset;
            Ok(rustix::fs::sendfile(self, file, Some(&mut offset), length)?)
        })
    }

    /// Writes some of these bytes, behind which more come at once, so that they need no packet of their own.
    ///
    /// # Errors
    /// Those of send(2).
    fn poll_write_more(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        self.poll_send(context, &|| Ok(rustix::net::send(self, bytes, flags)?))
    }
}

/// Implements [`Socket`] for a kind of socket; tokio's kinds have no trait in common.
macro_rules! socket {
    ($stream:ty, $prepare:expr) => {
        impl Socket for $stream {
            fn prepare(&self) -> Option<SocketAddr> {
                $prepare(self)
            }

            fn poll_send(
                &self,
                context: &mut Context<'_>,
                send: &dyn Fn() -> io::Result<usize>,
            ) -> Poll<io::Result<usize>> {
                loop {
                    ready!(self.poll_write_ready(context))?;
                    match self.try_io(Interest::WRITABLE, send) {
                        Err(full) if full.kind() == io::ErrorKind::WouldBlock => {}
                        other => return Poll::Ready(other),
                    }
                }
            }
        }
    };
}

socket!(TcpStream, prepare_tcp);
socket!(UnixStream, |_| None);

fn prepare_tcp(stream: &TcpStream) -> Option<SocketAddr> {
    // Best effort, both: a small answer would only come later, and a client that has vanished would be
    // noticed later.
    let _ = stream.set_nodelay(true);
    let _ = set_tcp_user_timeout(stream, limits::VANISHED_MILLISECONDS);
    stream.peer_addr().ok()
}
