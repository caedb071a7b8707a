//! The load generator for uploads: requests made beforehand, or each by the answer to the last, sent over
//! keep-alive connections by one thread, so that it leaves the machine to the server. Both sides get the same.

use std::borrow::Cow;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

/// One request, byte for byte, and the status it must get.
#[derive(Clone)]
pub struct Request {
    pub bytes: Vec<u8>,
    pub status: u16,
}

impl Request {
    /// A request with a body of known length.
    pub fn new(method: &str, path: &str, body: &[u8], status: u16) -> Self {
        Self::with_headers(method, path, &[], body, status)
    }

    /// The same with headers of its own.
    pub fn with_headers(
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        status: u16,
    ) -> Self {
        let length = body.len();
        let headers: String = (headers.iter())
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let mut bytes = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{headers}\r\n"
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
    let mut left = requests.iter();
    run_by(address, connections.min(requests.len()), |_, _| {
        Ok(left.next().map(Cow::Borrowed))
    })
}

/// Sends what is named over this many connections: each is asked for with the number of its connection, and with the
/// head of the answer to the last one of that (in lower case), and there is no more where there is none. Fails as
/// [`run`] does.
pub fn run_by<'a>(
    address: SocketAddr,
    connections: usize,
    mut next: impl FnMut(usize, Option<&str>) -> Result<Option<Cow<'a, Request>>>,
) -> Result<Taken> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut open = Vec::new();
    for number in 0..connections {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(number as u64);
        let edges = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&poll, &stream, data, edges)?;
        open.push(Connection::new(stream));
    }
    let mut each = Vec::new();
    let mut under_way = 0;
    let started = Instant::now();
    for (number, connection) in open.iter_mut().enumerate() {
        if let Some(request) = next(number, None)? {
            connection.start(each.len(), request);
            connection.send()?;
            each.push(Duration::ZERO);
            under_way += 1;
        }
    }
    let mut events = Vec::with_capacity(connections);
    while under_way > 0 {
        events.clear();
        let patience = PATIENCE.try_into().expect("a minute is a timespec");
        let came = epoll::wait(&poll, spare_capacity(&mut events), Some(&patience))?;
        ensure!(came > 0, "no answer for {PATIENCE:?}");
        for event in &events {
            let number = event.data.u64() as usize;
            let connection = &mut open[number];
            connection.send()?;
            if let Some((request, took)) = connection.receive()? {
                each[request] = took;
                match next(number, Some(&connection.head))? {
                    None => under_way -= 1,
                    Some(request) => {
                        connection.start(each.len(), request);
                        connection.send()?;
                        each.push(Duration::ZERO);
                    }
                }
            }
        }
    }
    let all = started.elapsed();
    Ok(Taken { all, each })
}

struct Connection<'a> {
    stream: TcpStream,
    /// The request that is under way, and its number.
    request: Option<(usize, Cow<'a, Request>)>,
    since: Instant,
    sent: usize,
    received: Vec<u8>,
    /// The head of the last answer, in lower case.
    head: String,
    /// Bytes of the answer's body that are still to come, once its head is known.
    body: Option<usize>,
    piece: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            request: None,
            since: Instant::now(),
            sent: 0,
            received: Vec::new(),
            head: String::new(),
            body: None,
            piece: vec![0; PIECE],
        }
    }

    fn start(&mut self, number: usize, request: Cow<'a, Request>) {
        self.request = Some((number, request));
        self.since = Instant::now();
        self.sent = 0;
    }

    fn send(&mut self) -> Result<()> {
        let Some((_, request)) = &self.request else {
            return Ok(());
        };
        let bytes = &request.bytes;
        while self.sent < bytes.len() {
            match self.stream.write(&bytes[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(full) if full.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("cannot send"),
            }
        }
        Ok(())
    }

    /// The number of the request that has been answered to the end, and its time; `None` when more has to come.
    fn receive(&mut self) -> Result<Option<(usize, Duration)>> {
        let Some((number, request)) = &self.request else {
            return Ok(None);
        };
        let number = *number;
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
                let (length, text) = check(&self.received, head, request.status)?;
                self.head = text;
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
                return Ok(Some((number, self.since.elapsed())));
            }
        }
    }
}

/// The length of the body, and the head in lower case, if the status is the one expected.
fn check(answer: &[u8], head: usize, status: u16) -> Result<(usize, String)> {
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
    let length = match header(&text, "content-length") {
        Some(length) => length.parse()?,
        None if status == 204 => 0,
        None => bail!("no content-length in {text:?}"),
    };
    Ok((length, text))
}

/// What a head in lower case says under this name.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let said = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    Some(head.lines().find_map(said)?.trim())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
