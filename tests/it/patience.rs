use std::time::{Duration, Instant};

use crate::kit::{Connection, ROOT, Server, chunk, transaction_id};

/// How long the servers here wait for their clients.
const SHORT: &[&str] = &["--head-timeout", "1s", "--body-timeout", "1s"];

/// Long enough for any of it, also on a busy box.
const BY_THEN: Duration = Duration::from_secs(20);

/// The server lets go of the connection, and not before its time.
#[track_caller]
fn is_let_go(mut connection: Connection, since: Instant) {
    // A reset is an end too.
    assert!(connection.is_closed().unwrap_or(true));
    let waited = since.elapsed();
    assert!(waited > Duration::from_millis(900), "{waited:?}");
    assert!(waited < BY_THEN, "{waited:?}");
}

#[test]
fn a_first_request_that_does_not_come_to_its_end_is_timed_out() {
    let server = Server::with(SHORT);
    for said in ["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: x\r\nx: "] {
        let since = Instant::now();
        let mut connection = Connection::open(server.address()).unwrap();
        connection.send(said).unwrap();
        let answer = connection.answer("GET").unwrap();
        answer.expect_refusal(408, "timeout");
        is_let_go(connection, since);
    }
}

#[test]
fn a_later_request_that_does_not_come_to_its_end_is_timed_out() {
    let server = Server::with(SHORT);
    let mut connection = Connection::open(server.address()).unwrap();
    let whole = "GET /__version__ HTTP/1.1\r\nhost: x\r\n\r\n";
    connection.send(whole).unwrap();
    connection.answer("GET").unwrap().expect(200);

    // Between two requests there is time.
    std::thread::sleep(Duration::from_millis(1500));
    connection.send(whole).unwrap();
    connection.answer("GET").unwrap().expect(200);

    let since = Instant::now();
    connection.send("GET /__version__ HTTP/1.1\r\n").unwrap();
    let late = connection.answer("GET").unwrap();
    late.expect_refusal(408, "timeout");
    is_let_go(connection, since);
}

#[test]
fn an_answer_that_is_on_its_way_is_not_cut_short_by_what_comes_behind_its_request() {
    // Half a head, which has its time when it is its turn; and what is no head at all.
    let server = Server::with(&["--head-timeout", "1s"]);
    let mut device = server.device("ada");
    let large = chunk(vec![7; 32 << 20]);
    device.put_chunk(&large).expect(201);
    let get = |what: &str| {
        let path = device.path(&format!("chunks/{}", large.id));
        format!("{what} {path} HTTP/1.1\r\nhost: x\r\n\r\n")
    };
    for (behind, status, code) in [
        ("GET / HT", 408, "timeout"),
        ("\r\n", 0, ""),
        ("nothing\r\n\r\n", 400, "malformed-request"),
    ] {
        let mut connection = Connection::open(server.address()).unwrap();
        connection.send(get("GET") + behind).unwrap();
        std::thread::sleep(Duration::from_millis(2500));
        let answer = connection.answer("GET").unwrap().expect(200);
        assert!(answer.body == large.bytes, "{behind:?}");
        if status == 0 {
            connection.send(get("HEAD")).unwrap();
            connection.answer("HEAD").unwrap().expect(200);
            continue;
        }
        let since = Instant::now();
        let refused = connection.answer("GET").unwrap();
        refused.expect_refusal(status, code);
        assert!(status != 408 || since.elapsed() > Duration::from_millis(500));
        assert!(connection.is_closed().unwrap());
    }
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_let_go() {
    let server = Server::with(SHORT);
    let mut device = server.device("ada");
    let large = chunk(vec![7; 32 << 20]);
    device.put_chunk(&large).expect(201);

    let files = server.descriptors();
    let mut connection = Connection::open(server.address()).unwrap();
    let path = device.path(&format!("chunks/{}", large.id));
    connection
        .send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
        .unwrap();
    let since = Instant::now();
    server.has_said(|line| line.contains("broken off"));
    assert!(since.elapsed() > Duration::from_millis(900));
    // The connection and the file are closed.
    while server.descriptors() > files {
        assert!(since.elapsed() < BY_THEN);
        std::thread::sleep(Duration::from_millis(20));
    }
    // And a slow client is not one that takes nothing.
    let answer = device.get(&format!("chunks/{}", large.id)).expect(200);
    assert_eq!(answer.body, large.bytes);
}

#[test]
#[ignore = "full effort: it takes the minute"]
fn a_body_that_dribbles_is_let_go_after_a_minute() {
    let server = Server::start();
    let device = server.device("ada");
    let path = device.path(&format!("chunks/{}", chunk("never whole").id));
    let mut connection = Connection::open(server.address()).unwrap();
    let head = format!("PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 10000\r\n\r\n");
    connection.send(head).unwrap();
    let since = Instant::now();
    let answer = std::thread::scope(|scope| {
        let (told, over) = std::sync::mpsc::channel::<()>();
        let mut sender = connection.another();
        scope.spawn(move || {
            while over.recv_timeout(Duration::from_secs(1)).is_err() && sender.send("x").is_ok() {}
        });
        let answer = loop {
            match connection.answer("PUT") {
                Err(late) if late.kind() == std::io::ErrorKind::WouldBlock => {}
                other => break other.unwrap(),
            }
            assert!(since.elapsed() < Duration::from_secs(120));
        };
        told.send(()).unwrap();
        answer
    });
    let answer = answer.expect_refusal(408, "timeout");
    assert!(
        answer.text().contains("behind 128 bytes"),
        "{}",
        answer.text()
    );
    assert!(since.elapsed() > Duration::from_secs(59));
}

#[test]
fn a_client_that_waits_and_goes_away_makes_room_for_another() {
    let server = Server::with(&["--max-waiters", "1"]);
    let device = server.device("ada");
    let wait = format!(
        "GET {} HTTP/1.1\r\nhost: x\r\nif-none-match: \"{ROOT}\"\r\n\r\n",
        device.path("head?wait=300")
    );
    let mut first = Connection::open(server.address()).unwrap();
    first.send(&wait).unwrap();
    let since = Instant::now();
    loop {
        assert!(since.elapsed() < BY_THEN, "the first never waited");
        let mut other = server.device("ada");
        let none_match = format!("\"{ROOT}\"");
        let headers = [("if-none-match", none_match.as_str())];
        let asked = other.get_with("head?wait=1", &headers);
        if asked.status == 503 {
            asked.expect_refusal(503, "busy");
            break;
        }
        // The other was there before it, and it was refused itself.
        first = Connection::open(server.address()).unwrap();
        first.send(&wait).unwrap();
    }

    drop(first);
    let since = Instant::now();
    loop {
        let mut other = server.device("ada");
        let none_match = format!("\"{ROOT}\"");
        let headers = [("if-none-match", none_match.as_str())];
        if other.get_with("head?wait=1", &headers).status == 304 {
            break;
        }
        assert!(since.elapsed() < BY_THEN, "no room was made");
    }
}

#[test]
fn each_answer_is_to_its_own_request() {
    let server = Server::start();
    let mut device = server.device("ada");
    let (bytes, first) = (chunk("bytes"), transaction_id("first"));
    device.commit(&first, ROOT, &[&bytes]);
    let paths = [
        device.path("head"),
        device.path(&format!("chunks/{}", bytes.id)),
        device.path("transactions"),
        "/".to_owned(),
        device.path("nothing"),
    ];

    // A HEAD has no body, whatever comes after it, and a GET has its own, whatever comes after that.
    let mut all = String::new();
    let mut expected = Vec::new();
    for (index, path) in paths.iter().cycle().take(60).enumerate() {
        let method = if index % 3 == 1 { "HEAD" } else { "GET" };
        let body = if index % 4 == 2 {
            "content-length: 5\r\n\r\nhello"
        } else {
            "\r\n"
        };
        all += &format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{body}");
        expected.push((method, server.client().get(path)));
    }
    // Only the last answer is the last one.
    all += "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut connection = Connection::open(server.address()).unwrap();
    connection.send(all).unwrap();
    for (index, (method, alone)) in expected.into_iter().enumerate() {
        let answer = connection.answer(method).unwrap();
        assert_eq!(answer.status, alone.status, "{index}");
        assert_eq!(answer.header("connection"), None, "{index}");
        assert_eq!(
            answer.header("content-length"),
            alone.header("content-length"),
            "{index}"
        );
        let body = if method == "HEAD" {
            Vec::new()
        } else {
            alone.body
        };
        assert_eq!(answer.body, body, "{index}");
    }
    let last = connection.answer("GET").unwrap().expect(200);
    assert_eq!(last.header("connection"), Some("close"));
    assert!(connection.is_closed().unwrap());
}

#[test]
fn whoever_asks_whether_to_go_on_is_refused_after_the_body_where_that_is_read() {
    let server = Server::with(&["--max-chunk-bytes", "1KiB"]);
    let device = server.device("ada");
    let chunk = chunk("bytes");
    let path = device.path(&format!("chunks/{}", chunk.id));
    let length = |bytes: u64| format!("content-length: {bytes}");
    let chunked = "transfer-encoding: chunked".to_owned();
    let gzip = "\r\ncontent-encoding: gzip";
    let encoded = |framing: String| framing + gzip;
    let (put, post, none) = (
        format!("PUT {path}"),
        format!("POST {path}"),
        format!("PUT {path}x"),
    );
    for (line, headers, status, code, read) in [
        (&put, length(1025), 413, "too-large", true),
        (&put, length(256 << 20), 413, "too-large", true),
        (&put, length((256 << 20) + 1), 413, "too-large", false),
        (&put, length(u64::MAX), 413, "too-large", false),
        (&put, encoded(length(5)), 415, "encoding-unsupported", true),
        (
            &put,
            encoded(length(1 << 40)),
            415,
            "encoding-unsupported",
            false,
        ),
        (
            &put,
            encoded(chunked.clone()),
            415,
            "encoding-unsupported",
            true,
        ),
        (&post, length(5), 405, "method-not-allowed", true),
        (&post, length(1 << 30), 405, "method-not-allowed", false),
        (&none, length(5), 400, "malformed-id", true),
        (&none, chunked, 400, "malformed-id", true),
        (&none, length(1 << 30), 400, "malformed-id", false),
    ] {
        let mut connection = Connection::open(server.address()).unwrap();
        connection
            .send(format!(
                "{line} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n{headers}\r\n\r\n"
            ))
            .unwrap();
        let what = format!("{line} with {headers}");
        if !read {
            let answer = connection.answer("PUT").unwrap();
            let answer = answer.expect_refusal(status, code);
            // What follows could be the body or another request: nobody reads on.
            assert_eq!(answer.header("connection"), Some("close"), "{what}");
            assert!(connection.is_closed().unwrap_or(true), "{what}");
            continue;
        }
        let answer = connection.answer("PUT").unwrap();
        assert_eq!(answer.status, 100, "{what}");
        if headers.contains(&length(256 << 20)) {
            continue;
        }
        let body = match headers.contains("chunked") {
            true => "5\r\nhello\r\n0\r\n\r\n".to_owned(),
            false if headers.contains("1025") => "x".repeat(1025),
            false => "hello".to_owned(),
        };
        connection.send(body).unwrap();
        let refused = connection.answer("PUT").unwrap();
        let refused = refused.expect_refusal(status, code);
        // And it goes on: nothing of the body is left.
        assert_eq!(refused.header("connection"), None, "{what}");
        connection
            .send("GET /__version__ HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        connection.answer("GET").unwrap().expect(200);
    }
}
