//! Sockets in the file system, for a client that knows TCP alone. What it stands on is outside of that library's promises, so
//! its version is pinned.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

/// The way to one socket, whatever host is asked for.
#[derive(Debug)]
pub struct SocketPath(pub PathBuf);

impl Connector for SocketPath {
    type Out = UnixTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<UnixTransport>, Error> {
        let config = details.config;
        let stream = self.stream(details.timeout.not_zero().map(|wait| *wait));
        Ok(Some(UnixTransport {
            stream: stream.map_err(|error| UnixTransport::failed(error, Timeout::Connect))?,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
        }))
    }
}

impl SocketPath {
    /// A connection, which may take this long where the listener's queue is full.
    fn stream(&self, wait: Option<Duration>) -> io::Result<UnixStream> {
        let address = SocketAddrUnix::new(&self.0)?;
        let socket = net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, wait)?;
        net::connect(&socket, &address)?;
        Ok(socket.into())
    }
}

/// Looks nothing up: a socket has no address.
#[derive(Debug)]
pub struct NoNames;

impl Resolver for NoNames {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// A connection to a socket.
pub struct UnixTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl UnixTransport {
    fn failed(error: io::Error, reason: Timeout) -> Error {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(reason),
            _ => error.into(),
        }
    }
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        let wait = timeout.not_zero().map(|wait| *wait);
        self.stream.set_write_timeout(wait)?;
        let output = &self.buffers.output()[..amount];
        let written = self.stream.write_all(output);
        written.map_err(|error| Self::failed(error, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        let wait = timeout.not_zero().map(|wait| *wait);
        self.stream.set_read_timeout(wait)?;
        let buffer = self.buffers.input_append_buf();
        let read = loop {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let read = read.map_err(|error| Self::failed(error, timeout.reason))?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        // Nothing was asked, so that whatever can be read is the end, or no answer.
        let waits = |stream: &mut UnixStream| {
            stream.set_nonblocking(true)?;
            let read = stream.read(&mut [0]);
            stream.set_nonblocking(false)?;
            Ok::<_, io::Error>(
                matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock),
            )
        };
        waits(&mut self.stream).unwrap_or(false)
    }
}

impl fmt::Debug for UnixTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnixTransport")
    }
}
