//! Requests whose framing two readers could understand differently (RFC 9112, 11.2). Behind each stands
//! a whole upload: read as a request of its own, it would be one that a proxy in front never saw.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::kit::{Chunk, Connection, ROOT, Server, chunk, transaction_id, tree};

/// How long the servers here wait for what does not come.
const SHORT: &[&str] = &["--head-timeout", "1s", "--body-timeout", "1s"];

/// The body of the request in front, plain and in chunks.
const HELLO: &str = "hello";
const CHUNKED: &str = "5\r\nhello\r\n0\r\n\r\n";

/// A request in front: its request line and headers, without `PUT path ` and the empty line, and its body.
struct Front {
    what: String,
    method: &'static str,
    head: Vec<u8>,
    body: Vec<u8>,
}

fn front(what: &str, head: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Front {
    Front {
        what: what.to_owned(),
        method: "PUT",
        head: head.as_ref().to_vec(),
        body: body.as_ref().to_vec(),
    }
}

/// Headers that say too much, or nothing that can be relied on, about where the body ends.
fn lengths() -> Vec<Front> {
    let mut fronts = Vec::new();
    let mut add = |headers: &str, body: &str| {
        let head = format!(" HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        fronts.push(front(headers, head, body));
    };
    for both in [
        "content-length: 15\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 15",
        "content-length: 0\r\ntransfer-encoding: chunked",
        "Content-Length: 5\r\nTransfer-Encoding: Chunked",
    ] {
        add(both, CHUNKED);
    }
    for length in [
        "5\r\ncontent-length: 0",
        "0\r\ncontent-length: 5",
        "5\r\ncontent-length: 5",
        "5, 5",
        "5,0",
        "+5",
        "-5",
        "5 5",
        "0x5",
        "5.0",
        "5e0",
        "5;",
        "",
        "\"5\"",
        "\u{665}",
        "\u{b}5",
        "5\u{c}",
        "18446744073709551621",
    ] {
        add(&format!("content-length: {length}"), HELLO);
    }
    for coding in [
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, chunked",
        "chunked\r\ntransfer-encoding: chunked",
        "chunked\r\ntransfer-encoding: identity",
        "identity\r\ntransfer-encoding: chunked",
        "identity",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "\"chunked\"",
        "chunked,",
        ",chunked",
        "\u{b}chunked",
        "chunked\u{c}",
        "",
    ] {
        add(&format!("transfer-encoding: {coding}"), CHUNKED);
    }
    fronts
}

/// Heads that are cut into lines and fields differently by different readers.
fn lines() -> Vec<Front> {
    let mut fronts = Vec::new();
    for headers in [
        // A space where none may be.
        "content-length : 5\r\n",
        "content-length\t: 5\r\n",
        " content-length: 5\r\n",
        "content length: 5\r\n",
        // Lines that go on.
        "x: y\r\n z\r\ncontent-length: 5\r\n",
        "x: y\r\n\tz\r\ncontent-length: 5\r\n",
        "content-length:\r\n 5\r\n",
        "content-length: 0\r\n 5\r\n",
        "x: y\r\n content-length: 5\r\n",
        // A carriage return alone.
        "x: y\rcontent-length: 5\r\n",
        "x: y\r\r\ncontent-length: 5\r\n",
        "\rcontent-length: 5\r\n",
        "content-length: 5\r",
        "content-length: 5\r\r\n",
        // A line feed alone.
        "x: y\ncontent-length: 5\r\n",
        "content-length: 5\n",
        "content-length: 5\r\n\n",
        "\ncontent-length: 5\r\n",
        // What is no text.
        "x: y\0\r\ncontent-length: 5\r\n",
        "x\0: y\r\ncontent-length: 5\r\n",
        "content-length: 5\0\r\n",
        "content-length\0: 5\r\n",
        "x: \u{1}\r\ncontent-length: 5\r\n",
        "x: \u{7f}\r\ncontent-length: 5\r\n",
        // What is no field.
        "content-length 5\r\n",
        ": 5\r\ncontent-length: 5\r\n",
        "x\r\ncontent-length: 5\r\n",
        "(x): y\r\ncontent-length: 5\r\n",
        "x\u{e9}: y\r\ncontent-length: 5\r\n",
        // Hosts.
        "host: x\r\ncontent-length: 5\r\n",
        "host: y\r\ncontent-length: 5\r\n",
    ] {
        let head = format!(" HTTP/1.1\r\nhost: x\r\n{headers}");
        fronts.push(front(headers, head, HELLO));
    }
    let length = "host: x\r\ncontent-length: 5\r\n";
    for (what, head) in [
        ("no host", " HTTP/1.1\r\ncontent-length: 5\r\n".to_owned()),
        (
            "a space before the first field",
            format!(" HTTP/1.1\r\n {length}"),
        ),
        (
            "a line feed after the request line",
            format!(" HTTP/1.1\n{length}"),
        ),
        ("a carriage return after it", format!(" HTTP/1.1\r{length}")),
        (
            "a space after the version",
            format!(" HTTP/1.1 \r\n{length}"),
        ),
        (
            "a word after the version",
            format!(" HTTP/1.1 x\r\n{length}"),
        ),
        (
            "a space in the target",
            format!("/x y HTTP/1.1\r\n{length}"),
        ),
        ("a NUL in the target", format!("\0 HTTP/1.1\r\n{length}")),
        ("no version", format!("\r\n{length}")),
        ("version 2.0", format!(" HTTP/2.0\r\n{length}")),
        ("version 1.2", format!(" HTTP/1.2\r\n{length}")),
        ("version 1.10", format!(" HTTP/1.10\r\n{length}")),
        ("a version in lower case", format!(" http/1.1\r\n{length}")),
        (
            "a request line of 64 KiB",
            format!("{} HTTP/1.1\r\n{length}", "x".repeat(64 << 10)),
        ),
        (
            "a field of 64 KiB",
            format!(" HTTP/1.1\r\nx: {}\r\n{length}", "y".repeat(64 << 10)),
        ),
        (
            "a thousand fields",
            format!(" HTTP/1.1\r\n{}{length}", "x: y\r\n".repeat(1000)),
        ),
    ] {
        fronts.push(front(what, head, HELLO));
    }
    let old = " HTTP/1.0\r\nhost: x\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n";
    fronts.push(front("chunks in HTTP/1.0", old, CHUNKED));
    fronts
}

/// Bodies in chunks whose chunks are none.
fn chunks() -> Vec<Front> {
    let head = " HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n";
    [
        // Sizes that are none, or that overflow to 5 or to 0.
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "10000000000000000\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "5 0\r\nhello\r\n0\r\n\r\n",
        "5,\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "\r\n\r\n",
        ";x\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        // Extensions that hide a line end.
        "5;x\nhello\r\n0\r\n\r\n",
        "5;x\ry\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "0;x\n\r\n",
        // Line ends that are none, or are not there.
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\rhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloxx0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\n\n",
        "5\r\nhello\r\n0\r\n\rx",
        "5\r\nhello\r\n0\r\n\n",
        // A trailer with a line end of its own.
        "5\r\nhello\r\n0\r\nx: y\n\r\n",
        "5\r\nhello\r\n0\r\nx: y\n\n",
        "5\r\nhello\r\n0\r\nx: y\rz\r\n\r\n",
    ]
    .into_iter()
    .map(|body| front(body, head, body))
    .collect()
}

/// A server, and what stands in it before anybody tries.
struct Ground {
    server: Server,
    before: Vec<String>,
}

impl Ground {
    fn lay() -> Self {
        let server = Server::with(SHORT);
        let mut device = server.device("ada");
        device.commit(&transaction_id("first"), ROOT, &[&chunk("stored")]);
        // What was committed leaves incoming/ after its answer.
        let since = Instant::now();
        let left =
            |name: &String| name.contains("/incoming/") && server.data().join(name).is_file();
        while names(&server).iter().any(left) {
            assert!(since.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(5));
        }
        let before = names(&server);
        Self { server, before }
    }

    /// Sends the front and, behind it, an upload of `hidden`, after another request or none. The
    /// statuses of all that is answered, and whether the server lets go.
    fn send(&self, front: &Front, hidden: &Chunk, after: bool) -> (Vec<u16>, bool) {
        let device = self.server.device("ada");
        let path = match front.method {
            "GET" => device.path("head"),
            _ => device.path(&format!("chunks/{}", chunk(HELLO).id)),
        };
        let mut bytes = format!("{} {path}", front.method).into_bytes();
        bytes.extend(&front.head);
        bytes.extend(b"\r\n");
        bytes.extend(&front.body);
        let hidden_path = device.path(&format!("chunks/{}", hidden.id));
        let length = hidden.bytes.len();
        bytes.extend(
            format!("PUT {hidden_path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n")
                .into_bytes(),
        );
        bytes.extend(&hidden.bytes);

        let mut connection = Connection::open(self.server.address()).unwrap();
        if after {
            let plain = "GET /__version__ HTTP/1.1\r\nhost: x\r\n\r\n";
            connection.send(plain).unwrap();
            connection.answer("GET").unwrap().expect(200);
        }
        // It may be refused, and closed, before all is said.
        let _ = connection.send(&bytes);
        let mut statuses = Vec::new();
        loop {
            match connection.answer(front.method) {
                Ok(answer) => statuses.push(answer.status),
                Err(error) => return (statuses, error.kind() != io::ErrorKind::WouldBlock),
            }
            if statuses.len() == 2 {
                return (statuses, false);
            }
        }
    }

    /// Nothing came of it: the front is refused, what stands behind it is never answered, and neither
    /// is in the store.
    #[track_caller]
    fn refuses(&self, front: &Front, may_answer: bool) {
        for after in [false, true] {
            let hidden = chunk(format!("hidden behind {} {after}", front.what));
            let (statuses, closed) = self.send(front, &hidden, after);
            let what = format!("{:?} of a {}: {statuses:?}", front.what, front.method);
            assert!(closed, "{what}: the connection goes on");
            assert!(statuses.len() < 2, "{what}");
            let refused = |status: &u16| (400..500).contains(status);
            assert!(may_answer || statuses.iter().all(refused), "{what}");
            let mut device = self.server.device("ada");
            for chunk in [&hidden, &chunk(HELLO)] {
                let path = format!("chunks/{}", chunk.id);
                assert_eq!(device.get(&path).status, 404, "{what} is stored");
            }
        }
    }

    /// All of them, at a time: a broken body is waited for until its time is up.
    fn refuses_all(&self, fronts: Vec<Front>, get_may_answer: bool) {
        std::thread::scope(|scope| {
            for mut front in fronts {
                scope.spawn(move || {
                    self.refuses(&front, false);
                    front.method = "GET";
                    self.refuses(&front, get_may_answer);
                });
            }
        });
        self.nothing_moved();
    }

    #[track_caller]
    fn nothing_moved(&self) {
        assert_eq!(names(&self.server), self.before);
    }
}

fn names(server: &Server) -> Vec<String> {
    tree(&server.data()).into_keys().collect()
}

#[test]
fn what_stands_behind_a_sound_request_is_answered_and_stored() {
    // The one case that must go through, or the tests below would find nothing.
    let ground = Ground::lay();
    let sound = " HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n";
    let chunked = " HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n";
    for (head, body) in [(sound, HELLO), (chunked, CHUNKED)] {
        for after in [false, true] {
            let hidden = chunk(format!("{head} {after}"));
            let (statuses, closed) = ground.send(&front("sound", head, body), &hidden, after);
            assert_eq!((statuses, closed), (vec![201, 201], false), "{head}");
            let path = format!("chunks/{}", hidden.id);
            ground.server.device("ada").get(&path).expect(200);
        }
    }
}

#[test]
fn a_body_of_two_lengths_or_of_none_hides_no_request() {
    Ground::lay().refuses_all(lengths(), false);
}

#[test]
fn a_head_that_is_cut_into_lines_in_two_ways_hides_no_request() {
    Ground::lay().refuses_all(lines(), false);
}

#[test]
fn a_body_in_chunks_that_are_none_hides_no_request() {
    // Nobody reads the body of a GET, which may be answered before that is seen to be broken.
    Ground::lay().refuses_all(chunks(), true);
}

#[test]
fn a_target_in_absolute_form_is_the_path_in_it() {
    // A server must take it (RFC 9112, 3.2.2); the path in it is as strict as any.
    let ground = Ground::lay();
    let path = ground.server.device("ada").path("head");
    for (target, status) in [
        (format!("http://elsewhere{path}"), 200),
        (format!("http://elsewhere//{path}"), 404),
        (format!("http://elsewhere/x/..{path}"), 404),
        ("http://elsewhere".to_owned(), 200),
        ("*".to_owned(), 404),
        ("elsewhere:80".to_owned(), 404),
        (path[1..].to_owned(), 400),
    ] {
        let mut connection = Connection::open(ground.server.address()).unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
        connection.send(request).unwrap();
        let answer = connection.answer("GET").unwrap();
        assert_eq!(answer.status, status, "{target}");
    }
}

#[test]
fn a_protocol_that_is_not_taken_up_hides_nothing_in_a_body() {
    let ground = Ground::lay();
    for (headers, body) in [
        ("upgrade: websocket\r\ncontent-length: 5", HELLO),
        (
            "connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 5",
            HELLO,
        ),
        (
            "connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 5",
            HELLO,
        ),
        ("upgrade: websocket\r\ntransfer-encoding: chunked", CHUNKED),
    ] {
        let head = format!(" HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        let hidden = chunk(headers);
        let (statuses, closed) = ground.send(&front(headers, &head, body), &hidden, false);
        // Both requests are sound: each is answered as what it is.
        let stored = (ground.server.device("ada"))
            .get(&format!("chunks/{}", hidden.id))
            .status;
        assert_eq!(
            (statuses, closed, stored),
            (vec![201, 201], false, 200),
            "{headers}"
        );
    }
}

/// Wishes for another protocol, as clients spell them.
const WISHES: &[&str] = &[
    // What `curl --http2` says with each request.
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n",
    "Connection: keep-alive, UPGRADE\r\nUpgrade: x\r\n",
    "Connection: keep-alive\r\nConnection:\tupgrade\r\nUpgrade: TLS/1.0\r\nConnection: te\r\n",
    "CONNECTION: uPgrade ,,\r\nUPGRADE: WebSocket, x\r\nUpgrade: WebSocket\r\n",
    "Upgrade: websocket\r\n",
    "Connection: upgrade\r\n",
];

#[test]
fn a_wish_for_another_protocol_is_passed_over_and_the_connection_stays() {
    let ground = Ground::lay();
    let path = ground.server.device("ada").path("head");
    let plain = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    for wish in WISHES {
        for (first, pause) in [(3, 0), (1, 100)] {
            let mut connection = Connection::open(ground.server.address()).unwrap();
            let wishing = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{wish}\r\n");
            let requests = [&wishing, &plain, &wishing, &plain];
            let (at_once, later) = requests.split_at(first);
            let text = |some: &[&String]| some.iter().map(|some| some.as_str()).collect::<String>();
            connection.send(text(at_once)).unwrap();
            std::thread::sleep(Duration::from_millis(pause));
            connection.send(text(later)).unwrap();
            for turn in 0..requests.len() {
                let answer = connection.answer("GET");
                let answer = answer.unwrap_or_else(|error| panic!("{wish:?}, {turn}: {error}"));
                assert_eq!(answer.status, 200, "{wish:?}");
                for header in ["connection", "upgrade"] {
                    assert_eq!(answer.header(header), None, "{wish:?}");
                }
            }
        }
    }
}

#[test]
fn what_stands_beside_a_wish_for_another_protocol_keeps_its_meaning() {
    let ground = Ground::lay();
    let path = ground.server.device("ada").path("head");
    for (method, version, option, answered) in [
        ("GET", "1.1", "upgrade, close", 1),
        ("GET", "1.1", "close, Upgrade", 1),
        ("GET", "1.1", "upgrade\r\nconnection: close", 1),
        ("GET", "1.1", "upgrade, te", 2),
        ("GET", "1.0", "Upgrade", 1),
        ("GET", "1.0", "upgrade, keep-alive", 2),
        ("CONNECT", "1.1", "upgrade", 1),
    ] {
        let mut stream = TcpStream::connect(ground.server.address()).unwrap();
        let target = if method == "CONNECT" { "x:80" } else { &path };
        let requests = format!(
            "{method} {target} HTTP/{version}\r\nhost: x\r\nupgrade: h2c\r\nconnection: {option}\r\n\r\n\
             GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(requests.as_bytes()).unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        let found = answers.matches("referrer-policy").count();
        assert_eq!(found, answered, "{method} {version} {option}: {answers}");
    }
}

/// Bytes that look, from here to there and in each half, like a refusal without a word.
fn refusal_lookalike(status: &str, length: usize) -> Vec<u8> {
    let of = |length: usize| {
        let start = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\nx: ");
        let filler = "y".repeat(length - start.len() - 4);
        format!("{start}{filler}\r\n\r\n")
    };
    of(length / 2).repeat(2).into_bytes()
}

#[test]
fn bytes_that_look_like_a_refusal_are_bytes() {
    // As long as each of the pieces in which files go out, and in each of the ways in which they do.
    const PIECES: [usize; 5] = [256, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
    let server = Server::start();
    let mut device = server.device("ada");
    let mut parent = ROOT.to_owned();
    let mut asked = Vec::new();
    for (n, status) in ["400 Bad Request", "431 Request Header Fields Too Large"]
        .iter()
        .enumerate()
    {
        for piece in PIECES {
            let many = (4 << 20) / piece.max(64 << 10);
            let chunk = chunk(refusal_lookalike(status, piece).repeat(many));
            let id = transaction_id(&format!("{n} {piece}"));
            device.commit(&id, &parent, &[&chunk]);
            let path = device.path(&format!("chunks/{}", chunk.id));
            asked.push((path, String::new(), chunk.bytes.clone()));
            let path = device.path(&format!("bundle?from={parent}&to={id}"));
            // In a bundle it comes behind its 512 bytes of header.
            let last = 511 + chunk.bytes.len();
            asked.push((path, format!("range: bytes=512-{last}\r\n"), chunk.bytes));
            parent = id;
        }
    }
    let (path, _, small) = &asked[0];
    let behind = [
        // Not a request; one that is; half of one; and several before it.
        ("nothing\r\n\r\n".to_owned(), vec![], Some(400)),
        ("GET / HTTP/1.1\r\nhost: x\r\nx".to_owned(), vec![], None),
        ("x\n".to_owned(), vec![], Some(400)),
        (
            format!("HEAD {path} HTTP/1.1\r\nhost: x\r\n\r\n"),
            vec!["HEAD"],
            None,
        ),
        (
            format!(
                "HEAD {path} HTTP/1.1\r\nhost: x\r\n\r\nGET {path} HTTP/1.1\r\nhost: x\r\nif-none-match: *\r\n\r\nG\u{1}T / HTTP/1.1\r\n"
            ),
            vec!["HEAD", "304"],
            Some(400),
        ),
        (
            format!(
                "GET {path} HTTP/1.1\r\nhost: x\r\nx: {}",
                "y".repeat(20_000)
            ),
            vec![],
            Some(431),
        ),
    ];
    for (path, headers, bytes) in &asked {
        for (behind, then, refused) in &behind {
            let mut connection = Connection::open(server.address()).unwrap();
            let get = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
            connection.send(get + behind).unwrap();
            let answer = connection.answer("GET").unwrap();
            assert!(matches!(answer.status, 200 | 206), "{path}");
            assert!(
                &answer.body == bytes,
                "{path} with {behind:?} behind it: other bytes"
            );
            for what in then {
                let answer = connection.answer("HEAD").unwrap();
                assert_eq!(answer.status, if *what == "304" { 304 } else { 200 });
                if *what == "HEAD" {
                    let length = small.len().to_string();
                    assert_eq!(answer.header("content-length"), Some(length.as_str()));
                }
            }
            if let Some(status) = refused {
                let answer = connection.answer("GET").unwrap();
                answer.expect_refusal(*status, "malformed-request");
                assert!(connection.answer("GET").is_err(), "{behind:?}");
            }
        }
    }
}

#[test]
fn a_request_that_is_cut_anywhere_is_answered_as_what_it_is() {
    // Sound and wrong ones, one behind the other, in two packets.
    let server = Server::start();
    let mut device = server.device("ada");
    let stored = chunk("stored");
    device.put_chunk(&stored).expect(201);
    let path = device.path(&format!("chunks/{}", stored.id));
    let sound = format!(
        "PUT {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n6\r\nstored\r\n0\r\n\r\n"
    );
    for (wrong, status, code) in [
        ("GET / HTTP/1.1\r\nhost x\r\n\r\n", 400, "malformed-request"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "malformed-request"),
        (&sound.replace("6\r\nst", "7\r\nst"), 400, "incomplete-body"),
    ] {
        let all = format!("{sound}{wrong}{sound}");
        for cut in (0..all.len()).step_by(3) {
            let mut connection = Connection::open(server.address()).unwrap();
            connection.send(&all[..cut]).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            // It may have been refused already.
            let _ = connection.send(&all[cut..]);
            connection.answer("PUT").unwrap().expect(201);
            let refused = connection.answer("PUT").unwrap();
            let refused = refused.expect_refusal(status, code);
            assert_eq!(
                refused.header("connection"),
                Some("close"),
                "{wrong} at {cut}"
            );
            assert!(connection.answer("PUT").is_err(), "{wrong} at {cut}");
        }
    }
}
