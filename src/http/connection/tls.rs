//! Connections over TCP that are secured by TLS, as sockets that any connection may stand on.
//!
//! The handshake is a part of reading the first head: whatever bounds a connection bounds it as well. Who asks in the
//! clear is let through as far as the answer that says so.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::event::PollFlags;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::{FallibleAccept, TlsStream};

use super::socket::{CountedSocket, Socket, Speech};
use crate::model::limits;

/// A socket of TCP whose client is to speak TLS.
pub struct TlsSocket(Handshake);

enum Handshake {
    /// The client has said nothing yet.
    Fresh(TcpStream, Arc<ServerConfig>),
    /// The handshake is under way.
    Greeting(Box<FallibleAccept<CountedSocket>>),
    /// All goes through TLS.
    Open(Box<TlsStream<CountedSocket>>),
    /// The client does not speak TLS.
    Clear(TcpStream),
    /// The handshake has failed; the socket is here unless the client has left.
    Failed(Option<TcpStream>),
}

impl TlsSocket {
    /// A socket that has just been accepted, to be secured as this has it.
    pub fn new(stream: TcpStream, config: Arc<ServerConfig>) -> Self {
        Self(Handshake::Fresh(stream, config))
    }

    /// Goes on with the handshake; ready when bytes can go through.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.0 {
                Handshake::Open(_) | Handshake::Clear(_) => return Poll::Ready(Ok(())),
                Handshake::Failed(_) => {
                    return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
                }
                Handshake::Fresh(stream, _) => {
                    let mut first = [0];
                    ready!(stream.poll_peek(context, &mut ReadBuf::new(&mut first)))?;
                    self.begin(first[0]);
                }
                Handshake::Greeting(handshake) => {
                    self.0 = match ready!(Pin::new(handshake).poll(context)) {
                        Ok(stream) => Handshake::Open(Box::new(stream)),
                        Err((error, stream)) => {
                            log::debug!("no TLS could be agreed upon with a client: {error}");
                            Handshake::Failed(Some(stream.into_inner()))
                        }
                    };
                }
            }
        }
    }

    /// Begins with what a client is about to say, of which this is the first byte: a request in the clear begins with
    /// a letter, and nothing of TLS does.
    fn begin(&mut self, first: u8) {
        let fresh = std::mem::replace(&mut self.0, Handshake::Failed(None));
        self.0 = match fresh {
            Handshake::Fresh(stream, _) if first.is_ascii_alphabetic() => Handshake::Clear(stream),
            Handshake::Fresh(stream, config) => {
                let accept = TlsAcceptor::from(config).accept(CountedSocket::new(stream));
                Handshake::Greeting(Box::new(accept.into_fallible()))
            }
            other => other,
        };
    }

    /// The socket below, where it can be reached: not during the handshake.
    fn below(&self) -> Option<&TcpStream> {
        match &self.0 {
            Handshake::Fresh(stream, _) | Handshake::Clear(stream) => Some(stream),
            Handshake::Open(stream) => Some(stream.get_ref().0.get()),
            Handshake::Failed(stream) => stream.as_ref(),
            Handshake::Greeting(_) => None,
        }
    }
}

/// A socket that is written to now, and not waited for.
struct Now<'a>(&'a TcpStream);

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for TlsSocket {
    fn prepare(&self) -> Option<SocketAddr> {
        self.below()?.prepare()
    }

    fn speech(&self) -> Speech {
        match self.0 {
            Handshake::Fresh(..) => Speech::Silent,
            Handshake::Greeting(_) => Speech::Greeting,
            Handshake::Clear(_) => Speech::InTheClear,
            Handshake::Open(_) | Handshake::Failed(_) => Speech::Open,
        }
    }

    fn look(&self) -> io::Result<PollFlags> {
        (self.below()).map_or(Ok(PollFlags::empty()), Socket::look)
    }

    fn say_now(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (below, session) = match &mut self.0 {
            Handshake::Open(stream) => stream.get_mut(),
            Handshake::Clear(stream) => return stream.say_now(bytes),
            _ => return Err(io::ErrorKind::WouldBlock.into()),
        };
        if session.wants_write() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        session.writer().write_all(bytes)?;
        while session.wants_write() {
            match session.write_tls(&mut Now(below.get())) {
                Ok(_) => {}
                // They are sealed, and go out before all else.
                Err(full) if full.kind() == io::ErrorKind::WouldBlock => break,
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Sends some of a file, which is read to be sealed: what waits for the disk is no business of this thread, as with
    /// sendfile(2).
    fn poll_send_file(
        &mut self,
        context: &mut Context<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        let mut bytes = Vec::with_capacity(length.min(limits::SEALED));
        rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), offset)?;
        Pin::new(self).poll_write(context, &bytes)
    }

    fn poll_write_more(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(context, bytes)
    }

    fn has_moved(&mut self) -> bool {
        match &mut self.0 {
            Handshake::Open(stream) => stream.get_mut().0.has_moved(),
            _ => false,
        }
    }
}

impl AsyncRead for TlsSocket {
    /// Reads, after the handshake. Where that fails, and where the client closes without the word for it, this is the
    /// end: a request says by itself whether it is whole.
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if ready!(this.poll_open(context)).is_err() {
            return Poll::Ready(Ok(()));
        }
        match &mut this.0 {
            Handshake::Open(stream) => match ready!(Pin::new(stream).poll_read(context, buffer)) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                read => Poll::Ready(read),
            },
            Handshake::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_open(context))?;
        match &mut this.0 {
            Handshake::Open(stream) => Pin::new(stream).poll_write(context, bytes),
            Handshake::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Handshake::Open(stream) => Pin::new(stream).poll_flush(context),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Ends our side, in TLS (close_notify) and then in TCP.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Handshake::Open(stream) => Pin::new(stream).poll_shutdown(context),
            Handshake::Fresh(stream, _)
            | Handshake::Clear(stream)
            | Handshake::Failed(Some(stream)) => Pin::new(stream).poll_shutdown(context),
            Handshake::Greeting(_) | Handshake::Failed(None) => Poll::Ready(Ok(())),
        }
    }
}
