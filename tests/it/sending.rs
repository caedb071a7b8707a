use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::faults::scene::Act;
use crate::faults::strace::{self, Tracer};
use crate::kit::{Chunk, Device, ROOT, Server, chunk, skipped, transaction_id, user_id};

/// Far more than the sockets between two processes hold (10 MiB, unless the box is set up for more), so that the server is still at it when a
/// client stops reading.
const LARGE: usize = 32 << 20;

/// How long the server may take over any of it, on a busy box.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of which no part is like another: what comes from the wrong place is noticed.
fn numbered(length: usize) -> Vec<u8> {
    (0..length.div_ceil(8) as u64)
        .flat_map(u64::to_le_bytes)
        .take(length)
        .collect()
}

/// Where a committed chunk is.
fn file_of(server: &Server, chunk: &Chunk) -> PathBuf {
    let place = format!("chunks/{}/{}", &chunk.id[..2], chunk.id);
    server.folder("ada").join(place)
}

/// A server with one chunk, committed, and a device of its user.
fn served(bytes: Vec<u8>) -> (Server, Device, Chunk) {
    let server = Server::start();
    let mut device = server.device("ada");
    let chunk = chunk(bytes);
    device.commit(&transaction_id("one"), ROOT, &[&chunk]);
    (server, device, chunk)
}

/// The system does this to `sendfile` from now on.
fn sabotage(server: &Server, how: &str) -> Tracer {
    let log = server.data().with_file_name("sendfile.log");
    let arguments = [
        "-e",
        "trace=sendfile",
        "-e",
        &format!("inject=sendfile:{how}"),
    ];
    let arguments = arguments.map(str::to_owned);
    Tracer::attach(server, Act::ReadChunk, &log, &arguments)
}

/// How often it was done.
fn injected(tracer: Tracer) -> usize {
    let lines = tracer.detach();
    lines
        .iter()
        .filter(|line| line.contains("(INJECTED)"))
        .count()
}

/// strace, or a word of why there is no test.
fn can_trace() -> bool {
    let works = strace::works();
    if !works {
        skipped("a sendfile that fails", "strace cannot trace here");
    }
    works
}

#[test]
fn a_file_that_the_system_cannot_send_by_itself_is_sent_all_the_same() {
    if !can_trace() {
        return;
    }
    let (server, mut device, chunk) = served(numbered(5 << 20));
    let path = format!("chunks/{}", chunk.id);
    // Never; not the first time; only the first time; now and then.
    for how in [
        "error=EINVAL",
        "error=ENOSYS",
        "error=EOPNOTSUPP",
        "error=EINVAL:when=2+",
        "error=EINVAL:when=1",
        "error=EINVAL:when=2+2",
    ] {
        let tracer = sabotage(&server, how);
        // On one connection: what comes after a body is the next answer.
        for _ in 0..2 {
            let whole = device.get(&path).expect(200);
            assert!(whole.body == chunk.bytes, "{how}: other bytes");
            for (first, last) in [
                (0, 99_999),
                (1_234_567, 4_000_000),
                (3 << 20, (5 << 20) - 1),
            ] {
                let range = format!("bytes={first}-{last}");
                let part = device.get_with(&path, &[("range", &range)]).expect(206);
                assert!(part.body == chunk.bytes[first..=last], "{how}: {range}");
            }
        }
        assert_ne!(injected(tracer), 0, "{how}: sendfile was not called");
    }
}

#[test]
fn a_client_that_takes_its_time_gets_what_the_system_cannot_send_by_itself() {
    if !can_trace() {
        return;
    }
    let (server, _, chunk) = served(numbered(LARGE));
    // Some of a part has gone out when the system cannot any more: the rest begins where that ended.
    for how in ["error=EINVAL:when=3", "error=EINVAL:when=4+3"] {
        let tracer = sabotage(&server, how);
        let mut taker = Taker::new(&server, &chunk_path(&chunk), "");
        taker.takes(1 << 20);
        std::thread::sleep(Duration::from_millis(300));
        let (taken, end) = taker.takes_the_rest();
        assert_eq!(end, End::Whole, "{how}");
        assert!(taken == chunk.bytes, "{how}: other bytes");
        assert_ne!(
            injected(tracer),
            0,
            "{how}: sendfile was not called so often"
        );
    }
}

#[test]
fn an_answer_that_the_system_fails_to_send_is_broken_off() {
    if !can_trace() {
        return;
    }
    let (server, mut device, chunk) = served(numbered(5 << 20));
    for how in [
        "error=EIO:when=1",
        "error=EIO:when=2",
        "error=ENOMEM:when=3",
    ] {
        let tracer = sabotage(&server, how);
        let (taken, end) = Taker::new(&server, &chunk_path(&chunk), "").takes_the_rest();
        assert_eq!(injected(tracer), 1, "{how}");
        assert_eq!(end, End::BrokenOff, "{how}");
        assert!(chunk.bytes.starts_with(&taken), "{how}: other bytes");
        let whole = device.get(&format!("chunks/{}", chunk.id)).expect(200);
        assert!(whole.body == chunk.bytes, "{how}: and then");
    }
}

#[test]
fn a_file_that_is_cut_while_it_is_sent_never_looks_whole() {
    let half = LARGE as u64 / 2;
    let cut = |how: &str, cases: &[(u64, Request)]| {
        for &(length, request) in cases {
            let (server, mut device, chunk) = served(numbered(LARGE));
            let tracer = (!how.is_empty()).then(|| sabotage(&server, how));
            let before = server.descriptors();
            let (path, header, from) = match request {
                Request::Chunk => (chunk_path(&chunk), "", 0),
                Request::Range => (chunk_path(&chunk), "range: bytes=1000-\r\n", 1000),
                Request::Bundle => (format!("/0.1/{}/bundle", user_id("ada")), "", 0),
            };
            let mut taker = Taker::new(&server, &path, header);
            taker.takes(1 << 20);

            let file = std::fs::File::options()
                .write(true)
                .open(file_of(&server, &chunk))
                .unwrap();
            file.set_len(length).unwrap();
            let what = format!("{request:?} cut to {length}, {how:?}");
            let (taken, end) = taker.takes_the_rest();
            assert_eq!(end, End::BrokenOff, "{what}");
            // What did come is right; a bundle has the header of its first member before it.
            let skipped = if matches!(request, Request::Bundle) {
                512
            } else {
                0
            };
            let bytes = &taken[skipped..];
            assert!(bytes.len() >= 1 << 19, "{what}: too few to be a test");
            assert!(
                chunk.bytes[from..].starts_with(bytes),
                "{what}: other bytes"
            );
            drop(taker);
            drop(tracer.map(Tracer::detach));

            // The server goes on, and holds nothing of it.
            let next = crate::kit::chunk("the next");
            device.put_chunk(&next).expect(201);
            let got = device.get(&format!("chunks/{}", next.id)).expect(200);
            assert_eq!(got.body, next.bytes, "{what}");
            let since = std::time::Instant::now();
            while server.descriptors() > before {
                assert!(since.elapsed() < PATIENCE, "{what}: something stays open");
                std::thread::sleep(Duration::from_millis(20));
            }
            // What is left is no chunk, which fsck says and a client that looks at the digest notices.
            let asked = device.get(&format!("chunks/{}", chunk.id));
            assert!(
                asked.status != 200 || asked.body.len() as u64 == length,
                "{what}"
            );
        }
    };
    cut(
        "",
        &[
            (0, Request::Chunk),
            (LARGE as u64 - 1, Request::Chunk),
            (half, Request::Range),
            (half, Request::Bundle),
        ],
    );
    if can_trace() {
        cut("error=EINVAL", &[(half, Request::Chunk)]);
    }
}

#[derive(Clone, Copy, Debug)]
enum Request {
    Chunk,
    Range,
    Bundle,
}

fn chunk_path(chunk: &Chunk) -> String {
    format!("/0.1/{}/chunks/{}", user_id("ada"), chunk.id)
}

/// How an answer ended.
#[derive(Debug, PartialEq)]
enum End {
    /// As its head announced.
    Whole,
    /// The connection was closed before.
    BrokenOff,
    /// The connection stayed open without the rest, or more came than was announced.
    Wrong(String),
}

/// A client that takes as much of an answer as it likes.
struct Taker {
    stream: TcpStream,
    /// What is announced; `None`: it comes in chunks.
    length: Option<usize>,
    taken: Vec<u8>,
}

impl Taker {
    /// Asks, and takes the head of the answer.
    fn new(server: &Server, path: &str, header: &str) -> Self {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n{header}\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 20"), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map(|length| length.parse().unwrap());
        assert!(length.is_some() || head.contains("chunked"), "{head}");
        Self {
            stream,
            length,
            taken: Vec::new(),
        }
    }

    fn takes(&mut self, length: usize) {
        let start = self.taken.len();
        self.taken.resize(start + length, 0);
        self.stream.read_exact(&mut self.taken[start..]).unwrap();
    }

    /// All that comes of the body, without what frames it, and how it ends.
    fn takes_the_rest(&mut self) -> (Vec<u8>, End) {
        let Some(length) = self.length else {
            let end = self.stream.read_to_end(&mut self.taken);
            return unframed(&self.taken, end.err());
        };
        let mut buffer = vec![0; 64 << 10];
        let end = loop {
            if self.taken.len() == length {
                break End::Whole;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => break End::BrokenOff,
                Ok(read) => self.taken.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                    break End::BrokenOff;
                }
                Err(other) => break End::Wrong(other.to_string()),
            }
            if self.taken.len() > length {
                break End::Wrong("more than was announced".to_owned());
            }
        };
        (std::mem::take(&mut self.taken), end)
    }
}

/// The body that came in chunks, as far as it came.
fn unframed(mut framed: &[u8], error: Option<std::io::Error>) -> (Vec<u8>, End) {
    let mut body = Vec::new();
    let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    if let Some(error) = error.filter(|error| !reset(error)) {
        return (body, End::Wrong(error.to_string()));
    }
    loop {
        let Some(line) = framed.windows(2).position(|two| two == b"\r\n") else {
            return (body, End::BrokenOff);
        };
        let digits = std::str::from_utf8(&framed[..line]).unwrap();
        let length = usize::from_str_radix(digits, 16).unwrap();
        framed = &framed[line + 2..];
        if length == 0 {
            return (body, End::Whole);
        }
        let there = length.min(framed.len());
        body.extend_from_slice(&framed[..there]);
        if framed.len() < length + 2 {
            return (body, End::BrokenOff);
        }
        framed = &framed[length + 2..];
    }
}
