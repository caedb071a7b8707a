use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::kit::{
    Chunk, Connection, Device, ROOT, Server, chunk, transaction_id, transaction_json,
};

/// A chain of one transaction with this chunk.
fn with_chunk(bytes: impl Into<Vec<u8>>) -> (Server, Device, Chunk, String) {
    let server = Server::start();
    let mut device = server.device("ada");
    let chunk = chunk(bytes);
    let first = transaction_id("first");
    device.commit(&first, ROOT, &[&chunk]);
    (server, device, chunk, first)
}

#[test]
fn an_upload_is_answered_with_201_and_nothing_else() {
    let server = Server::start();
    let mut device = server.device("ada");
    let chunk = chunk("bytes");
    let first = transaction_id("first");
    for _ in 0..2 {
        let answer = device.put_chunk(&chunk).expect(201);
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("content-length"), Some("0"));
        let answer = device
            .put_transaction(&first, ROOT, &[&chunk.id])
            .expect(201);
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("content-length"), Some("0"));
    }
    let answer = device.put_head(&first).expect(204);
    assert_eq!(answer.header("content-length"), None, "RFC 9110, 8.6");
    assert_eq!(answer.header("transfer-encoding"), None);
}

#[test]
fn a_replay_is_answered_as_the_first_was() {
    let (_server, mut device, chunk, first) = with_chunk("bytes");
    let second = transaction_id("second");
    // Pending, and, further down, committed: the same.
    device
        .put_transaction(&second, &first, &[&chunk.id, &chunk.id])
        .expect(201);
    device.put_chunk(&chunk).expect(201);
    device
        .put_transaction(&second, &first, &[&chunk.id, &chunk.id])
        .expect(201);
    device.put_head(&second).expect(204);
    device.put_chunk(&chunk).expect(201);
    device
        .put_transaction(&first, ROOT, &[&chunk.id])
        .expect(201);
    device
        .put_transaction(&second, &first, &[&chunk.id, &chunk.id])
        .expect(201);

    // An advance is not a state but a step: its replay tells who was there already.
    let refused = device
        .put_head(&second)
        .expect_refusal(409, "not-a-descendant")
        .json();
    assert_eq!(refused["head"], second.as_str());
    assert_eq!(refused["seq"], 2);
    assert_eq!(device.head(), (second, 2));
}

#[test]
fn id_and_seq_may_be_sent_along() {
    let server = Server::start();
    let mut device = server.device("ada");
    let first = transaction_id("first");
    let whole = json!({"id": first, "seq": 1, "parent": ROOT, "chunks": []}).to_string();
    let path = format!("transactions/{first}");
    device.put(&path, &whole).expect(201);
    device.put_head(&first).expect(204);
    // What GET answers may be PUT as it is.
    let answered = device.get(&path).expect(200);
    device.put(&path, &answered.body).expect(201);
}

#[test]
fn no_bytes_are_a_chunk() {
    let (_server, mut device, empty, first) = with_chunk("");
    assert_eq!(
        empty.id,
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let answer = device.get(&format!("chunks/{}", empty.id)).expect(200);
    assert!(answer.body.is_empty());
    let transaction = device.get(&format!("transactions/{first}")).expect(200);
    assert_eq!(transaction.json()["chunks"], json!([empty.id]));
}

#[test]
fn a_chunk_is_kept_for_ever_by_who_has_it() {
    let (_server, mut device, chunk, _) = with_chunk("bytes");
    let path = format!("chunks/{}", chunk.id);
    let answer = device.get(&path).expect(200);
    let tag = format!("\"{}\"", chunk.id);
    assert_eq!(answer.header("etag"), Some(tag.as_str()));
    assert_eq!(
        answer.header("cache-control"),
        Some("private, max-age=31536000, immutable")
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(answer.header("content-length"), Some("5"));
    assert_eq!(answer.header("accept-ranges"), Some("bytes"));

    for known in [&tag, "*", &format!("\"other\", {tag}"), &format!("W/{tag}")] {
        let answer = device
            .get_with(&path, &[("if-none-match", known)])
            .expect(304);
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("etag"), Some(tag.as_str()), "{known}");
        assert_eq!(
            answer.header("cache-control"),
            Some("private, max-age=31536000, immutable")
        );
    }
    for other in ["\"other\"", "W/\"other\""] {
        device
            .get_with(&path, &[("if-none-match", other)])
            .expect(200);
    }
    // What is not there is not unchanged.
    device
        .get_with(
            &format!("chunks/{}", crate::kit::digest(b"absent")),
            &[("if-none-match", "*")],
        )
        .expect_refusal(404, "unknown-chunk");
}

#[test]
fn head_is_asked_for_again_cheaply() {
    let (_server, mut device, _, first) = with_chunk("bytes");
    let answer = device.get("head").expect(200);
    assert_eq!(answer.json(), json!({"head": first, "seq": 1}));
    let tag = format!("\"{first}\"");
    assert_eq!(answer.header("etag"), Some(tag.as_str()));
    let same = device
        .get_with("head", &[("if-none-match", &tag)])
        .expect(304);
    assert_eq!(same.header("etag"), Some(tag.as_str()));
    assert!(same.body.is_empty());

    let second = transaction_id("second");
    device.commit(&second, &first, &[]);
    let answer = device
        .get_with("head", &[("if-none-match", &tag)])
        .expect(200);
    assert_eq!(answer.json(), json!({"head": second, "seq": 2}));
}

#[test]
fn the_json_of_answers_is_compact_and_in_order() {
    let (_server, mut device, chunk, first) = with_chunk("bytes");
    let transaction = device.get(&format!("transactions/{first}")).expect(200);
    assert_eq!(transaction.header("content-type"), Some("application/json"));
    assert_eq!(
        transaction.text(),
        format!(
            "{{\"id\":\"{first}\",\"seq\":1,\"parent\":\"{ROOT}\",\"chunks\":[\"{}\"]}}\n",
            chunk.id
        )
    );
    let head = device.get("head").expect(200);
    assert_eq!(head.header("content-type"), Some("application/json"));
    assert_eq!(
        head.text().trim_end(),
        format!("{{\"head\":\"{first}\",\"seq\":1}}")
    );
    let listing = device.get("transactions?limit=7").expect(200);
    assert_eq!(listing.header("content-type"), Some("application/json"));
    assert_eq!(
        listing.text().trim_end(),
        format!("{{\"from\":\"{ROOT}\",\"limit\":7,\"transactions\":[\"{first}\"]}}")
    );
}

#[test]
fn a_part_of_a_chunk_can_be_asked_for() {
    let (_server, mut device, chunk, _) = with_chunk("0123456789");
    let path = format!("chunks/{}", chunk.id);
    let tag = format!("\"{}\"", chunk.id);
    for (range, part, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=-20", "0123456789", "bytes 0-9/10"),
        ("bytes=5-99", "56789", "bytes 5-9/10"),
        ("bytes=9-9", "9", "bytes 9-9/10"),
        ("bytes=3-18446744073709551615", "3456789", "bytes 3-9/10"),
    ] {
        for headers in [
            &[("range", range)] as &[_],
            &[("range", range), ("if-range", tag.as_str())],
        ] {
            let answer = device.get_with(&path, headers).expect(206);
            assert_eq!(answer.text(), part, "{range}");
            assert_eq!(answer.header("content-range"), Some(content_range));
            assert_eq!(answer.header("etag"), Some(tag.as_str()));
            let length = part.len().to_string();
            assert_eq!(answer.header("content-length"), Some(length.as_str()));
        }
    }
    for range in ["bytes=10-", "bytes=99-100", "bytes=-0"] {
        let answer = device
            .get_with(&path, &[("range", range)])
            .expect_refusal(416, "range");
        assert_eq!(answer.header("content-range"), Some("bytes */10"));
    }
    // What is no range of bytes is no range, and another version's range is the whole of this one.
    for headers in [
        &[("range", "lines=1-2")] as &[_],
        &[("range", "bytes=4-2")],
        &[("range", "bytes=x-y")],
        &[("range", "bytes=")],
        &[("range", "bytes=2-4"), ("if-range", "\"other\"")],
        &[("range", "bytes=2-4"), ("if-range", &format!("W/{tag}"))],
        &[
            ("range", "bytes=2-4"),
            ("if-range", "Sat, 29 Oct 1994 19:43:31 GMT"),
        ],
    ] {
        let answer = device.get_with(&path, headers).expect(200);
        assert_eq!(answer.text(), "0123456789", "{headers:?}");
        assert_eq!(answer.header("content-range"), None);
    }
    // Unchanged comes before a part of it (RFC 9110, 13.2.2).
    device
        .get_with(&path, &[("range", "bytes=2-4"), ("if-none-match", &tag)])
        .expect(304);
}

#[test]
fn a_large_chunk_comes_back_whole_and_in_parts() {
    // Longer than any buffer on the way, and of no even length.
    let bytes: Vec<u8> = (0..3_000_017_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let (_server, mut device, chunk, _) = with_chunk(bytes);
    let path = format!("chunks/{}", chunk.id);
    assert!(device.get(&path).expect(200).body == chunk.bytes);
    for (first, last) in [(0, 262_143), (262_144, 2_999_999), (1_234_567, 3_000_016)] {
        let part = device
            .get_with(&path, &[("range", &format!("bytes={first}-{last}"))])
            .expect(206);
        assert!(part.body == chunk.bytes[first..=last], "{first}-{last}");
    }
}

#[test]
fn head_requests_answer_as_get_does_without_the_body() {
    let (_server, mut device, chunk, first) = with_chunk("bytes");
    for path in [
        device.path(""),
        device.path("head"),
        device.path("transactions"),
        device.path("transactions?limit=1"),
        device.path(&format!("transactions/{first}")),
        device.path(&format!("transactions/{ROOT}")),
        device.path(&format!("chunks/{}", chunk.id)),
        device.path(&format!("chunks/{}", crate::kit::digest(b"absent"))),
        device.path("nowhere"),
        "/".to_owned(),
        "/__lbheartbeat__".to_owned(),
        "/__version__".to_owned(),
    ] {
        let get = device.client.get(&path);
        let head = device.client.request("HEAD", &path, &[], None);
        assert_eq!(head.status, get.status, "{path}");
        for name in ["content-length", "content-type", "etag", "cache-control"] {
            // A listing is streamed; RFC 9110 (9.3.2) lets HEAD leave out what only the body tells.
            if name == "content-length" && get.header(name).is_none() {
                continue;
            }
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
    }
    // The connection is still in step.
    assert_eq!(device.head(), (first, 1));
}

#[test]
fn a_client_of_http_1_0_gets_no_pieces() {
    let (server, mut device, chunk, _) = with_chunk("bytes");
    let whole = device.get("bundle").expect(200).body;
    for keeps in ["connection: close\r\n", ""] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let path = device.path("bundle");
        write!(stream, "GET {path} HTTP/1.0\r\n{keeps}\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = answer.split_at(end.unwrap() + 4);
        let head = std::str::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.0 200 "), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        // Or else a bundle that broke off would look like a whole one.
        let length = format!("content-length: {}\r\n", whole.len());
        assert!(head.contains(&length), "{head}");
        assert!(body == whole, "{keeps}");
    }
    // A stream without an end is what comes until the connection ends.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let path = device.path("events");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    while !answer.ends_with("\"seq\":1}\n\n") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "{answer}");
        answer += std::str::from_utf8(&buffer[..read]).unwrap();
    }
    assert!(!answer.contains("transfer-encoding"), "{answer}");
    assert!(answer.contains("\r\n\r\nid: "), "{answer}");
    // Where the length is known the connection may stay.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let path = device.path(&format!("chunks/{}", chunk.id));
    let request = format!("GET {path} HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    for _ in 0..20 {
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nbytes") {
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..read]);
        }
        // And nobody else is taken for such a client.
        device.head();
        server.device("ada").head();
    }
}

#[test]
fn every_answer_says_that_it_is_private() {
    let (_server, mut device, chunk, first) = with_chunk("bytes");
    let answers = [
        device.get("head"),
        device.get("transactions"),
        device.get(&format!("transactions/{first}")),
        device.get(&format!("chunks/{}", chunk.id)),
        device.get("nowhere"),
        device.get("chunks/x"),
        device.put_chunk(&chunk),
        device.put_head(&first),
        device.client.get("/"),
        device.client.get("/__version__"),
    ];
    for answer in answers {
        // The user's id stands in the address, and is the only secret there is.
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    // No cache that others share keeps anything, and what changes is asked for anew.
    for (path, cache) in [
        ("", "private, no-cache"),
        ("head", "private, no-cache"),
        ("transactions", "private, no-cache"),
        (
            &format!("transactions/{first}"),
            "private, max-age=31536000, immutable",
        ),
        (
            &format!("chunks/{}", chunk.id),
            "private, max-age=31536000, immutable",
        ),
        ("nowhere", "no-store"),
        (
            &format!("transactions/{}", transaction_id("later")),
            "no-store",
        ),
        (
            &format!("chunks/{}", crate::kit::digest(b"later")),
            "no-store",
        ),
    ] {
        assert_eq!(
            device.get(path).header("cache-control"),
            Some(cache),
            "{path}"
        );
    }
}

#[test]
fn a_listing_starts_and_ends_where_it_is_told() {
    let server = Server::start();
    let mut device = server.device("ada");
    let ids: Vec<String> = (1..=12).map(|n| transaction_id(&format!("{n}"))).collect();
    let mut parent = ROOT;
    for id in &ids {
        device.put_transaction(id, parent, &[]).expect(201);
        parent = id;
    }
    device.put_head(parent).expect(204);

    let mut list = |query: &str| {
        device
            .get(&format!("transactions{query}"))
            .expect(200)
            .json()
    };
    assert_eq!(
        list(""),
        json!({"from": ROOT, "limit": 1_000_000, "transactions": ids})
    );
    assert_eq!(list("?")["transactions"], json!(ids));
    assert_eq!(
        list("?limit=5"),
        json!({"from": ROOT, "limit": 5, "transactions": ids[..5]})
    );
    assert_eq!(
        list(&format!("?from={}&limit=3", ids[4])),
        json!({"from": ids[4], "limit": 3, "transactions": ids[5..8]})
    );
    assert_eq!(
        list(&format!("?limit=1000000&from={}", ids[9])),
        json!({"from": ids[9], "limit": 1_000_000, "transactions": ids[10..]})
    );
    assert_eq!(
        list(&format!("?from={}", ids[11])),
        json!({"from": ids[11], "limit": 1_000_000, "transactions": []})
    );
    assert_eq!(
        list(&format!("?from={ROOT}&limit=1"))["transactions"],
        json!([ids[0]])
    );
}

#[test]
fn the_head_of_the_listing_can_be_polled_until_it_ends() {
    let server = Server::start();
    let mut device = server.device("ada");
    let ids: Vec<String> = (0..25).map(|n| transaction_id(&format!("{n}"))).collect();
    let mut parent = ROOT;
    for id in &ids {
        device.put_transaction(id, parent, &[]).expect(201);
        parent = id;
    }
    device.put_head(parent).expect(204);
    let (mut pulled, mut from) = (Vec::new(), ROOT.to_owned());
    loop {
        let page = device
            .get(&format!("transactions?from={from}&limit=4"))
            .expect(200)
            .json();
        let page: Vec<String> = serde_json::from_value(page["transactions"].clone()).unwrap();
        let Some(last) = page.last() else { break };
        from.clone_from(last);
        pulled.extend(page);
    }
    assert_eq!(pulled, ids);
}

#[test]
fn a_body_may_come_in_pieces_of_any_length() {
    let server = Server::start();
    let mut device = server.device("ada");
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let whole = chunk(bytes);
    let first = transaction_id("first");
    let mut connection = Connection::open(server.address()).unwrap();
    let transaction = transaction_json(ROOT, &[&whole.id]);
    let head = json!({ "head": first }).to_string();
    for (path, body, status) in [
        (format!("chunks/{}", whole.id), whole.bytes.as_slice(), 201),
        (format!("transactions/{first}"), transaction.as_bytes(), 201),
        ("head".to_owned(), head.as_bytes(), 204),
    ] {
        connection
            .send(format!(
                "PUT {} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
                device.path(&path)
            ))
            .unwrap();
        let mut rest = body;
        for length in [1, 2, 3, 5, 8, 4096, 10_000].into_iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(length));
            if piece.is_empty() {
                break;
            }
            let mut framed = format!("{:x}\r\n", piece.len()).into_bytes();
            framed.extend_from_slice(piece);
            framed.extend_from_slice(b"\r\n");
            connection.send(framed).unwrap();
            rest = after;
        }
        connection.send("0\r\n\r\n").unwrap();
        connection.answer("PUT").unwrap().expect(status);
    }
    let got = device.get(&format!("chunks/{}", whole.id)).expect(200);
    assert!(got.body == whole.bytes);
    assert_eq!(device.head(), (first, 1));
}

#[test]
fn a_client_that_asks_whether_to_go_on_is_told_to() {
    let server = Server::start();
    let chunk = chunk("awaited");
    let device = server.device("ada");
    let mut connection = Connection::open(server.address()).unwrap();
    connection
        .send(format!(
            "PUT {} HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\nexpect: 100-continue\r\n\r\n",
            device.path(&format!("chunks/{}", chunk.id))
        ))
        .unwrap();
    connection.answer("PUT").unwrap().expect(100);
    connection.send(&chunk.bytes).unwrap();
    connection.answer("PUT").unwrap().expect(201);
}

#[test]
fn requests_may_be_sent_without_awaiting_answers() {
    let server = Server::start();
    let device = server.device("ada");
    let mut connection = Connection::open(server.address()).unwrap();
    let chunks: Vec<Chunk> = (0..30).map(|n| chunk(format!("piped {n}"))).collect();
    let ids: Vec<&str> = chunks.iter().map(|chunk| chunk.id.as_str()).collect();
    let first = transaction_id("first");
    let put = |path: &str, body: &[u8]| {
        let mut request = format!(
            "PUT {} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            device.path(path),
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        request
    };
    let mut all = Vec::new();
    for chunk in &chunks {
        all.extend(put(&format!("chunks/{}", chunk.id), &chunk.bytes));
    }
    // A refusal in between does not lose the step.
    all.extend(put("chunks/x", b"refused"));
    all.extend(put(
        &format!("transactions/{first}"),
        transaction_json(ROOT, &ids).as_bytes(),
    ));
    all.extend(put("head", json!({ "head": first }).to_string().as_bytes()));
    all.extend(format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", device.path("head")).into_bytes());
    for chunk in &chunks {
        let path = device.path(&format!("chunks/{}", chunk.id));
        all.extend(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes());
    }
    connection.send(all).unwrap();

    for _ in &chunks {
        connection.answer("PUT").unwrap().expect(201);
    }
    connection
        .answer("PUT")
        .unwrap()
        .expect_refusal(400, "malformed-id");
    connection.answer("PUT").unwrap().expect(201);
    connection.answer("PUT").unwrap().expect(204);
    let head = connection.answer("GET").unwrap().expect(200).json();
    assert_eq!(head, json!({"head": first, "seq": 1}));
    for chunk in &chunks {
        let answer = connection.answer("GET").unwrap().expect(200);
        assert_eq!(answer.body, chunk.bytes);
    }
}

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let (server, device, _, first) = with_chunk("bytes");
    let mut connection = Connection::open(server.address()).unwrap();
    connection
        .send(format!(
            "GET {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            device.path("head")
        ))
        .unwrap();
    connection.finish_sending().unwrap();
    let head = connection.answer("GET").unwrap().expect(200).json();
    assert_eq!(head["head"], first.as_str());
    assert!(connection.is_closed().unwrap());
}

#[test]
fn the_heartbeats_answer() {
    let server = Server::start();
    let mut client = server.client();
    client.get("/__lbheartbeat__").expect(200);
    client.get("/__heartbeat__").expect(200);
    let version = client.get("/__version__").expect(200).json();
    assert_eq!(version["name"], "mentat-sync");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}
