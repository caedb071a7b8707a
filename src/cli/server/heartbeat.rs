//! Asking a server whether it is up: one request, with a deadline.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::any_certificate::connection_to;
use super::values::listener;
use crate::http::Listener;
use crate::model::limits;
use crate::wire::{HEARTBEAT, STORE_MARK};

/// The status of a server that does not go by the host that was named.
const MISDIRECTED: u16 = 421;

/// An address at which a server may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    place: Listener,
    /// Whether it is asked by TLS.
    secured: bool,
    /// The path before ours, where a proxy has put the server below one.
    prefix: String,
    given: String,
}

/// The answer of a server to the question whether it is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The status of the answer.
    pub status: u16,
    /// The mark of the directory that it serves, where it says one.
    pub mark: Option<String>,
}

/// An address as `serve` says it on its first line, or as its `--listen` takes it: `http://HOST[:PORT][/PREFIX]`, the same with
/// `https`, `unix:/path`, `HOST:PORT`.
///
/// # Errors
/// The words for what it is not.
pub fn server_address(text: &str) -> Result<ServerAddress, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(ServerAddress {
            place: listener(text)?,
            secured: false,
            prefix: String::new(),
            given: text.to_owned(),
        });
    };
    let (secured, port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (false, 80),
        "https" => (true, 443),
        _ => return Err("not http://HOST:PORT or unix:/path".to_owned()),
    };
    let (host, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if host.starts_with(':') || host.contains('@') || prefix.contains(['?', '#', ' ']) {
        return Err("not http://HOST:PORT, with a path at the most behind it".to_owned());
    }
    let with_port = match listener(host) {
        Ok(_) => host.to_owned(),
        Err(_) => format!("{host}:{port}"),
    };
    Ok(ServerAddress {
        place: listener(&with_port)?,
        secured,
        prefix: prefix.trim_end_matches('/').to_owned(),
        given: text.to_owned(),
    })
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.given)
    }
}

impl ServerAddress {
    /// Asks for the heartbeat, and waits no longer than this, whatever is at that address.
    ///
    /// # Errors
    /// There was no answer of HTTP in time: nobody serves there.
    pub fn ask(&self, patience: Duration) -> io::Result<Heartbeat> {
        let (tell, told) = sync_channel(1);
        let asked = self.clone();
        let until = Instant::now() + patience;
        // A look-up of a name, or a socket whose queue is full, keeps to no deadline: the thread is left behind then.
        std::thread::Builder::new().spawn(move || {
            let _ = tell.send(asked.ask_until(until));
        })?;
        match told.recv_timeout(patience) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(too_late()),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the try broke off")),
        }
    }

    fn ask_until(&self, until: Instant) -> io::Result<Heartbeat> {
        let (host, path) = match &self.place {
            Listener::Unix(_) => ("localhost", &self.prefix),
            Listener::Tcp(address) => (address.as_str(), &self.prefix),
        };
        let with_host = format!(
            "GET {path}{HEARTBEAT} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: mentat-sync\r\nConnection: close\r\n\r\n"
        );
        let answer = self.exchange(&with_host, until)?;
        if answer.status != MISDIRECTED {
            return Ok(answer);
        }
        // It goes by other hosts only (`--host`), and is right here all the same: so none is named.
        let without = format!("GET {path}{HEARTBEAT} HTTP/1.0\r\nUser-Agent: mentat-sync\r\n\r\n");
        self.exchange(&without, until)
    }

    fn exchange(&self, request: &str, until: Instant) -> io::Result<Heartbeat> {
        match &self.place {
            Listener::Tcp(address) => {
                let stream = connect(address, until)?;
                let wait = |left| stream.set_read_timeout(Some(left));
                if !self.secured {
                    return exchange(&mut &stream, request, until, wait);
                }
                let host = address.rsplit_once(':').map_or("", |(host, _)| host);
                let (mut tls, mut plain) = (connection_to(host)?, &stream);
                wait(left(until)?)?;
                exchange(
                    &mut rustls::Stream::new(&mut tls, &mut plain),
                    request,
                    until,
                    wait,
                )
            }
            Listener::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                let wait = |left| stream.set_read_timeout(Some(left));
                exchange(&mut &stream, request, until, wait)
            }
        }
    }
}

/// Connects to the first of a name's addresses that takes it.
fn connect(address: &str, until: Instant) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(until)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Sends the request, and reads no more than the head of the answer.
fn exchange(
    stream: &mut (impl Read + Write),
    request: &str,
    until: Instant,
    wait: impl Fn(Duration) -> io::Result<()>,
) -> io::Result<Heartbeat> {
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while head.len() < limits::HEAD_BYTES {
        wait(left(until)?)?;
        let read = stream.read(&mut piece)?;
        if read == 0 {
            break;
        }
        head.extend_from_slice(&piece[..read]);
        if let Some(answer) = parse(&head)? {
            return Ok(answer);
        }
    }
    Err(no_http())
}

/// The answer, once all of its head is there.
fn parse(head: &[u8]) -> io::Result<Option<Heartbeat>> {
    let mut headers = [httparse::EMPTY_HEADER; limits::HEARTBEAT_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(head).map_err(|_| no_http())?;
    if parsed.is_partial() {
        return Ok(None);
    }
    let mark = (response.headers.iter())
        .find(|header| header.name.eq_ignore_ascii_case(STORE_MARK))
        .map(|header| String::from_utf8_lossy(header.value).into_owned());
    Ok(response.code.map(|status| Heartbeat { status, mark }))
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(too_late());
    }
    Ok(left)
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

fn no_http() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "what answers there is no server of HTTP",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_spelled_as_serve_spells_them() {
        let tcp = |text: &str| Listener::Tcp(text.to_owned());
        for (text, place, prefix) in [
            ("http://127.0.0.1:8000", tcp("127.0.0.1:8000"), ""),
            ("HTTP://[::1]:8000/", tcp("[::1]:8000"), ""),
            ("http://sync.example.org", tcp("sync.example.org:80"), ""),
            ("http://[::1]", tcp("[::1]:80"), ""),
            ("http://box:8000/sync/", tcp("box:8000"), "/sync"),
            ("127.0.0.1:8000", tcp("127.0.0.1:8000"), ""),
            ("unix:/run/x", Listener::Unix("/run/x".into()), ""),
        ] {
            let address = server_address(text).unwrap();
            assert!(!address.secured, "{text}");
            assert_eq!(
                (address.place, address.prefix.as_str()),
                (place, prefix),
                "{text}"
            );
        }
        for (text, place) in [
            ("https://sync.example.org", tcp("sync.example.org:443")),
            ("HTTPS://[::1]:8443/", tcp("[::1]:8443")),
        ] {
            let address = server_address(text).unwrap();
            assert!(address.secured && address.place == place, "{text}");
        }
        for bad in [
            "",
            "https://",
            "8000",
            "http://",
            "http://:80",
            "http://a@b",
            "http://a/?q",
            "ftp://a:1",
            "unix:",
        ] {
            assert!(server_address(bad).is_err(), "{bad}");
        }
    }
}
