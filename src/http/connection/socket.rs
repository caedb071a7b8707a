//! What the sockets that are served have in common beyond bytes in and out.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};

use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};

/// A stream socket of the system.
pub trait Socket: AsyncRead + AsyncWrite + AsFd + Unpin {
    /// Sends as this does, which must not wait, once the socket takes something; says how much.
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        send: &dyn Fn() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>>;

    /// Sends some of a file from the system's own memory; says how much, 0 at the file's end.
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

    /// Writes some of this, after which more comes at once: it needs no packet of its own.
    fn poll_write_more(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        self.poll_send(context, &|| Ok(rustix::net::send(self, bytes, flags)?))
    }
}

/// The same words for each kind, which have no trait in common.
macro_rules! socket {
    ($stream:ty) => {
        impl Socket for $stream {
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

socket!(TcpStream);
socket!(UnixStream);
