//! The load generator for uploads: requests made beforehand, sent over keep-alive connections by
//! one thread, so that it leaves the machine to the server. Both sides get the same.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

/// One request, byte for byte, and the status it must get.
pub struct Request {
    pub bytes: Vec<u8>,
    pub status: u16,
}

impl Request {
    /// A request with a body of known length.
    pub fn new(method: &str, path: &str, body: &[u8], status: u16) -> Self {
        let length = body.len();
        let mut bytes = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        Self { bytes, status }
    }

    pub fn get(path: &str) -> Self {
        let bytes = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes();
        Self { bytes, status: 200 }
    }
}

/// What a run took.
pub struct Taken {
    /// From the first byte sent to the last received.
    pub all: Duration,
    /// Each request's own time, in the order of the requests.
    pub each: Vec<Duration>,
}

impl Taken {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.each.len() as f64 / self.all.as_secs_f64()
    }
}

/// How long the slowest answer may take before the run counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Room for an answer: those of uploads are short, and longer ones are read piece by piece.
const PIECE: usize = 64 << 10;

/// Sends all requests over this many connections, each sending its next one when its last is
/// answered, and fails if one is answered otherwise than expected. With one connection they go in
/// their order.
pub fn run(address: SocketAddr, connections: usize, requests: &[Request]) -> Result<Taken> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut open = Vec::new();
    for number in 0..connections.min(requests.len()) {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(number as u64);
        let edges = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&poll, &stream, data, edges)?;
        open.push(Connection::new(stream));
    }
    let mut each = vec![Duration::ZERO; requests.len()];
    let mut next = 0;
    let mut answered = 0;
    let started = Instant::now();
    for connection in &mut open {
        connection.start(next);
        connection.send(requests)?;
        next += 1;
    }
    let mut events = Vec::with_capacity(connections);
    while answered < requests.len() {
        events.clear();
        let patience = PATIENCE.try_into().expect("a minute is a timespec");
        let came = epoll::wait(&poll, spare_capacity(&mut events), Some(&patience))?;
        ensure!(came > 0, "no answer for {PATIENCE:?}");
        for event in &events {
            let connection = &mut open[event.data.u64() as usize];
            connection.send(requests)?;
            if let Some((request, took)) = connection.receive(requests)? {
                each[request] = took;
                answered += 1;
                if next < requests.len() {
                    connection.start(next);
                    connection.send(requests)?;
                    next += 1;
                }
            }
        }
    }
    let all = started.elapsed();
    Ok(Taken { all, each })
}

struct Connection {
    stream: TcpStream,
    /// The request that is under way.
    request: Option<usize>,
    since: Instant,
    sent: usize,
    received: Vec<u8>,
    /// Bytes of the answer's body that are still to come, once its head is known.
    body: Option<usize>,
    piece: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            request: None,
            since: Instant::now(),
            sent: 0,
            received: Vec::new(),
            body: None,
            piece: vec![0; PIECE],
        }
    }

    fn start(&mut self, request: usize) {
        self.request = Some(request);
        self.since = Instant::now();
        self.sent = 0;
    }

    fn send(&mut self, requests: &[Request]) -> Result<()> {
        let Some(request) = self.request else {
            return Ok(());
        };
        let bytes = &requests[request].bytes;
        while self.sent < bytes.len() {
            match self.stream.write(&bytes[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(full) if full.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("cannot send"),
            }
        }
        Ok(())
    }

    /// The request that has been answered to the end, and its time; `None` when more has to come.
    fn receive(&mut self, requests: &[Request]) -> Result<Option<(usize, Duration)>> {
        let Some(request) = self.request else {
            return Ok(None);
        };
        loop {
            let read = match self.stream.read(&mut self.piece) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(read) => read,
                Err(empty) if empty.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("cannot receive"),
            };
            let mut came = read;
            if self.body.is_none() {
                self.received.extend_from_slice(&self.piece[..read]);
                let Some(head) = find(&self.received, b"\r\n\r\n") else {
                    continue;
                };
                let length = check(&self.received, head, requests[request].status)?;
                came = self.received.len() - head - 4;
                self.body = Some(length);
                self.received.clear();
            }
            let left = self.body.expect("the head has been read") as i64 - came as i64;
            ensure!(left >= 0, "more came than was announced");
            self.body = Some(left as usize);
            if left == 0 {
                self.body = None;
                self.request = None;
                return Ok(Some((request, self.since.elapsed())));
            }
        }
    }
}

/// The length of the body, if the status is the one expected.
fn check(answer: &[u8], head: usize, status: u16) -> Result<usize> {
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let got: u16 = (text.split(' ').nth(1))
        .and_then(|number| number.parse().ok())
        .context("not an answer of HTTP")?;
    if got != status {
        bail!(
            "answered {got} instead of {status}: {}",
            String::from_utf8_lossy(answer)
        );
    }
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    match length {
        Some(length) => Ok(length.trim().parse()?),
        None if status == 204 => Ok(0),
        None => bail!("no content-length in {text:?}"),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
