//! The sockets that are served, over TCP and in the file system, beyond bytes in and out.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SendFlags;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::model::limits;

/// The way in which a socket and its client speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// The client has said nothing yet, and nothing can be said before.
    Silent,
    /// Both agree upon how to speak, and nothing can be said before.
    Greeting,
    /// Both say what they have to say.
    Open,
    /// The client speaks in the clear, and should not.
    InTheClear,
}

/// A stream socket of the system.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Sets a socket up that has just been accepted, and returns the address of its client, if it has one.
    fn prepare(&self) -> Option<SocketAddr>;

    /// The way in which it and its client speak.
    fn speech(&self) -> Speech {
        Speech::Open
    }

    /// The state of the socket as the system knows it, without waiting.
    ///
    /// # Errors
    /// Those of poll(2).
    fn look(&self) -> io::Result<PollFlags>;

    /// Sends these few bytes without waiting, before anything that is written later.
    ///
    /// # Errors
    /// `WouldBlock` where the socket does not take all of them now, and other ones of send(2).
    fn say_now(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Sends some of a file, from the system's own memory where it can; ready with the number of bytes sent, 0 at the
    /// file's end.
    ///
    /// # Errors
    /// Those of sendfile(2), of which some say that this file's system has no such call.
    fn poll_send_file(
        &mut self,
        context: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: usize,
    ) -> Poll<io::Result<usize>>;

    /// Writes some of these bytes, behind which more come at once, so that they need no packet of their own.
    ///
    /// # Errors
    /// Those of send(2).
    fn poll_write_more(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>>;

    /// Whether the client has taken some of what waited here, unseen, since this was last asked.
    fn has_moved(&mut self) -> bool {
        false
    }
}

/// Calls `send`, which must not wait, once the socket takes something; ready with the number of bytes sent.
macro_rules! poll_send {
    ($stream:expr, $context:expr, $send:expr) => {
        loop {
            ready!($stream.poll_write_ready($context))?;
            match $stream.try_io(Interest::WRITABLE, || $send($stream)) {
                Err(full) if full.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    };
}

/// Implements [`Socket`] for a kind of socket; tokio's kinds have no trait in common.
macro_rules! socket {
    ($stream:ty, $prepare:expr) => {
        impl Socket for $stream {
            fn prepare(&self) -> Option<SocketAddr> {
                $prepare(self)
            }

            fn look(&self) -> io::Result<PollFlags> {
                look(self.as_fd())
            }

            fn say_now(&mut self, bytes: &[u8]) -> io::Result<()> {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                match rustix::net::send(&*self, bytes, flags)? {
                    sent if sent == bytes.len() => Ok(()),
                    _ => Err(io::ErrorKind::WouldBlock.into()),
                }
            }

            fn poll_send_file(
                &mut self,
                context: &mut Context<'_>,
                file: BorrowedFd<'_>,
                offset: u64,
                length: usize,
            ) -> Poll<io::Result<usize>> {
                let send = |stream: &Self| {
                    let mut offset = offset;
                    Ok(rustix::fs::sendfile(
                        stream,
                        file,
                        Some(&mut offset),
                        length,
                    )?)
                };
                poll_send!(self, context, send)
            }

            fn poll_write_more(
                &mut self,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
                let send = |stream: &Self| Ok(rustix::net::send(stream, bytes, flags)?);
                poll_send!(self, context, send)
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

/// The state of a socket as the system knows it.
fn look(socket: BorrowedFd<'_>) -> io::Result<PollFlags> {
    let mut sockets = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
    poll(&mut sockets, Some(&Timespec::default()))?;
    Ok(sockets[0].revents())
}

/// A socket of TCP below something that keeps bytes back, and knows whether any went out.
pub struct CountedSocket {
    stream: TcpStream,
    moved: bool,
}

impl CountedSocket {
    /// A socket from which nothing has gone out yet.
    pub fn new(stream: TcpStream) -> Self {
        let moved = false;
        Self { stream, moved }
    }

    /// The socket itself.
    pub fn get(&self) -> &TcpStream {
        &self.stream
    }

    /// The socket itself, uncounted.
    pub fn into_inner(self) -> TcpStream {
        self.stream
    }

    /// Whether bytes have gone out since this was last asked.
    pub fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }
}

impl AsyncRead for CountedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for CountedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.moved |= written.is_ok();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, pieces));
        self.moved |= written.is_ok();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
