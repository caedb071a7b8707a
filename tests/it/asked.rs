//! Many chunks by name in one request, and the part of the chain without its chunks.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kit::{
    Answer, Chunk, Connection, Device, ROOT, Server, chunk, digest, transaction_id, user_id,
};

const TEXT: [(&str, &str); 1] = [("content-type", "text/plain")];

fn get(device: &mut Device, ids: &[&str]) -> Answer {
    let path = device.path("chunks/get");
    let body = json!(ids).to_string();
    (device.client).request("POST", &path, &[], Some(body.as_bytes()))
}

fn get_lines(device: &mut Device, lines: &str) -> Answer {
    let path = device.path("chunks/get");
    (device.client).request("POST", &path, &TEXT, Some(lines.as_bytes()))
}

fn push(device: &mut Device, tar: &[u8]) -> Answer {
    let path = device.path("bundle");
    device.client.request("POST", &path, &[], Some(tar))
}

/// The members of a tar that has its end.
#[track_caller]
fn members(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    assert!(
        tar.len() >= 1024 && tar.len().is_multiple_of(512),
        "{}",
        tar.len()
    );
    assert!(tar[tar.len() - 1024..].iter().all(|byte| *byte == 0));
    whole_members(tar)
}

/// The members of a tar that came whole, whether it has its end or not.
fn whole_members(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().unwrap() {
        let Ok(mut entry) = entry else { break };
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        if entry.read_to_end(&mut bytes).is_err() || bytes.len() as u64 != entry.size() {
            break;
        }
        found.push((name, bytes));
    }
    found
}

fn member(chunk: &Chunk) -> (String, Vec<u8>) {
    let name = format!("chunks/{}/{}", &chunk.id[..2], chunk.id);
    (name, chunk.bytes.clone())
}

fn file_of(server: &Server, area: &str, chunk: &Chunk) -> PathBuf {
    let (name, _) = member(chunk);
    server.folder("ada").join(area).join(name)
}

#[test]
fn those_that_are_here_come_in_the_order_asked_each_once() {
    let server = Server::start();
    let mut device = server.device("ada");
    let [milk, eggs, pending, absent] = ["milk", "eggs", "pending", "absent"].map(chunk);
    let nothing = chunk("");
    device.put_chunk(&nothing).expect(201);
    device.commit(&transaction_id("first"), ROOT, &[&milk, &eggs]);
    device.put_chunk(&pending).expect(201);
    let asked = [&eggs, &absent, &pending, &eggs, &nothing, &milk, &milk];
    let asked = asked.map(|chunk| chunk.id.as_str());
    let answer = get(&mut device, &asked).expect(200);
    let expected = [&eggs, &pending, &nothing, &milk].map(member);
    assert_eq!(members(&answer.body), expected);
    assert_eq!(answer.header("content-type"), Some("application/x-tar"));
    assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
    // As lines, they say the same, byte for byte.
    let lines = get_lines(&mut device, &asked.join("\r\n")).expect(200);
    assert!(lines.body == answer.body);
    // Nothing that is here is a tar as well, and so is nothing that was asked for.
    for ids in [&[absent.id.as_str()][..], &[]] {
        let answer = get(&mut device, ids).expect(200);
        assert_eq!(answer.body, [0; 1024]);
    }
    // A user nobody has heard of has nothing, and is not made for the question.
    let answer = get(&mut server.device("nobody"), &asked).expect(200);
    assert_eq!(answer.body, [0; 1024]);
    assert!(!server.folder("nobody").exists());
    // Only a POST asks.
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let path = device.path("chunks/get");
        let answer = device.client.request(method, &path, &[], None);
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
    }
}

#[test]
fn a_chunk_of_a_checkpoint_alone_is_here() {
    let server = Server::start();
    let mut device = server.device("ada");
    let (milk, state) = (chunk("milk"), chunk("the state"));
    let first = transaction_id("first");
    device.commit(&first, ROOT, &[&milk]);
    device.put_chunk(&state).expect(201);
    let body = json!({"transaction": first, "chunks": [state.id]}).to_string();
    device.put("checkpoint", body).expect(204);
    fs::remove_file(file_of(&server, "incoming", &state)).unwrap();
    let answer = get(&mut device, &[&state.id]).expect(200);
    assert_eq!(members(&answer.body), [member(&state)]);
}

#[test]
fn what_is_asked_for_by_a_uuid_comes_with_its_alias() {
    let server = Server::with(&["--uuid-chunk-ids"]);
    let mut device = server.device("ada");
    let [one, other, lost] = ["one", "other", "lost"].map(transaction_id);
    let (milk, eggs) = (chunk("milk"), chunk("eggs"));
    for (alias, bytes) in [(&one, "milk"), (&other, "milk"), (&lost, "eggs")] {
        device.put(&format!("chunks/{alias}"), bytes).expect(201);
    }
    fs::remove_file(file_of(&server, "incoming", &eggs)).unwrap();
    let alias = |id: &str| {
        let line = format!("{}\n", milk.id).into_bytes();
        (format!("aliases/{}/{id}", &id[..2]), line)
    };
    for (asked, expected) in [
        (vec![&one], vec![member(&milk), alias(&one)]),
        (
            vec![&one, &other, &one, &milk.id],
            vec![member(&milk), alias(&one), alias(&other)],
        ),
        (vec![&milk.id, &other], vec![member(&milk), alias(&other)]),
        // An alias without its chunk would stand for nothing.
        (vec![&lost, &one], vec![member(&milk), alias(&one)]),
        (vec![&transaction_id("never")], vec![]),
    ] {
        let ids: Vec<&str> = asked.iter().map(|id| id.as_str()).collect();
        let answer = get(&mut device, &ids).expect(200);
        assert_eq!(members(&answer.body), expected, "{asked:?}");
        // It is what a push takes.
        push(&mut server.device("ben"), &answer.body).expect(200);
    }
    // Without the flag a uuid is no chunk's id.
    let strict = Server::start();
    get(&mut strict.device("ada"), &[&one]).expect_refusal(400, "malformed-id");
}

#[test]
fn what_is_no_list_of_ids_is_refused_as_by_missing() {
    let server = Server::start();
    let mut device = server.device("ada");
    let path = device.path("chunks/get");
    for (headers, body, status, code) in [
        (&[][..], "[\"x\"]", 400, "malformed-id"),
        (&[], "{}", 400, "malformed-json"),
        (&[], "", 400, "malformed-json"),
        (&TEXT, "x", 400, "malformed-id"),
        (
            &[("content-encoding", "gzip")],
            "[]",
            415,
            "encoding-unsupported",
        ),
    ] {
        let answer = (device.client).request("POST", &path, headers, Some(body.as_bytes()));
        answer.expect_refusal(status, code);
    }
    let most = format!("{}\n", chunk("milk").id).repeat(100_000);
    get_lines(&mut device, &most).expect(200);
    let answer = get_lines(&mut device, &(most + &chunk("milk").id));
    let refused = answer.expect_refusal(413, "too-large").json();
    assert_eq!(refused["limit"], 100_000);
    get_lines(&mut device, &" ".repeat((10 << 20) + 1)).expect_refusal(413, "too-large");
    let closed = Server::with(&["--new-users", "deny"]);
    for ids in [&[chunk("milk").id.as_str()][..], &[]] {
        get(&mut closed.device("ada"), ids).expect_refusal(403, "unknown-user");
    }
}

/// A request whose answer is read by hand.
fn begin(server: &Server, version: &str, ids: &[&str]) -> TcpStream {
    let body = json!(ids).to_string();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let path = format!("/0.1/{}/chunks/get", user_id("ada"));
    let length = body.len();
    let request =
        format!("POST {path} HTTP/{version}\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The rest of an answer, and whether it came to its end.
fn rest(mut stream: TcpStream, mut read: Vec<u8>) -> (Vec<u8>, bool) {
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return (read, false),
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
        if read.ends_with(b"\r\n0\r\n\r\n") {
            return (read, true);
        }
    }
}

#[test]
fn http_1_0_is_told_the_length() {
    let server = Server::start();
    let mut device = server.device("ada");
    let (milk, eggs) = (chunk("milk"), chunk(vec![b'e'; 600_000]));
    device.put_chunk(&milk).expect(201);
    device.put_chunk(&eggs).expect(201);
    let ids = [eggs.id.as_str(), &digest(b"absent"), &milk.id];
    let whole = get(&mut device, &ids).expect(200).body;
    let (answer, _) = rest(begin(&server, "1.0", &ids), Vec::new());
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = answer.split_at(head.unwrap() + 4);
    let head = String::from_utf8_lossy(head).to_lowercase();
    let length = format!("content-length: {}\r\n", whole.len());
    assert!(head.contains(&length), "{head}");
    assert!(body == whole);
}

#[test]
fn what_is_damaged_is_no_tar_that_looks_whole() {
    let server = Server::start();
    let mut device = server.device("ada");
    let (large, bad) = (chunk(vec![b'x'; 300 << 10]), chunk("bad"));
    device.commit(&transaction_id("first"), ROOT, &[&large, &bad]);
    let file = file_of(&server, "", &bad);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    // Nothing has been said yet when the first piece is read: so there is an answer.
    for ids in [[&bad.id, &large.id], [&bad.id, &bad.id]] {
        let answer = get(&mut device, &ids.map(String::as_str));
        answer.expect_refusal(500, "damaged");
    }
    for _ in 0..10 {
        let ids = [&large.id, &bad.id].map(String::as_str);
        let (answer, is_whole) = rest(begin(&server, "1.1", &ids), Vec::new());
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(!is_whole);
        assert!(answer.len() > 256 << 10, "{}", answer.len());
    }
    server.has_said(|line| line.contains("/0.1/{user}/chunks/get") && line.contains("broken off"));
}

/// A chunk of so many MiB, and the beginning of the answer to whoever asks for it and then for these.
fn half_read(server: &Server, large: &Chunk, then: &[&Chunk]) -> (TcpStream, Vec<u8>) {
    let mut ids = vec![large.id.as_str()];
    ids.extend(then.iter().map(|chunk| chunk.id.as_str()));
    let mut stream = begin(server, "1.1", &ids);
    let mut read = vec![0; 1 << 20];
    stream.read_exact(&mut read).unwrap();
    (stream, read)
}

/// The body of an answer in chunks, which came to its end.
fn unchunked(answer: &[u8]) -> Vec<u8> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let mut at = head.unwrap() + 4;
    let mut body = Vec::new();
    loop {
        let line = answer[at..]
            .windows(2)
            .position(|two| two == b"\r\n")
            .unwrap();
        let length = std::str::from_utf8(&answer[at..at + line]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        at += line + 2;
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&answer[at..at + length]);
        at += length + 2;
    }
}

/// Longer than what the system keeps for a client that does not read.
const LARGE: usize = 24 << 20;

#[test]
fn what_is_collected_meanwhile_is_whole_or_left_out() {
    let server = Server::start();
    let mut device = server.device("ada");
    let (large, later) = (chunk(vec![b'x'; LARGE]), chunk("later"));
    device.put_chunk(&large).expect(201);
    device.put_chunk(&later).expect(201);
    let (stream, read) = half_read(&server, &large, &[&later]);
    for chunk in [&large, &later] {
        fs::remove_file(file_of(&server, "incoming", chunk)).unwrap();
    }
    let (answer, is_whole) = rest(stream, read);
    assert!(is_whole);
    // The one that was open is whole; the other is not here any more, and nothing is said of it.
    assert!(members(&unchunked(&answer)) == [member(&large)]);
}

#[test]
fn a_file_that_is_cut_meanwhile_breaks_the_answer_off() {
    let server = Server::start();
    let mut device = server.device("ada");
    let (large, later) = (chunk(vec![b'x'; LARGE]), chunk("later"));
    device.put_chunk(&large).expect(201);
    device.put_chunk(&later).expect(201);
    let (stream, read) = half_read(&server, &large, &[&later]);
    let file = file_of(&server, "incoming", &large);
    let file = fs::File::options().write(true).open(file).unwrap();
    file.set_len(LARGE as u64 / 2).unwrap();
    let (answer, is_whole) = rest(stream, read);
    assert!(!is_whole);
    assert!(answer.len() < LARGE);
}

#[test]
fn of_a_user_who_went_meanwhile_nothing_is_said_to_be_missing() {
    let server = Server::with(&["--allow-delete"]);
    let mut device = server.device("ada");
    let (large, later) = (chunk(vec![b'x'; LARGE]), chunk("later"));
    device.put_chunk(&large).expect(201);
    device.put_chunk(&later).expect(201);
    let (stream, read) = half_read(&server, &large, &[&later]);
    let path = device.path("");
    device
        .client
        .request("DELETE", &path, &[], None)
        .expect(204);
    let (_, is_whole) = rest(stream, read);
    assert!(!is_whole);
}

#[test]
fn a_device_fetches_the_rest_of_a_bundle_that_broke_off() {
    let server = Server::start();
    let mut ada = server.device("ada");
    let mut chain = vec![ROOT.to_owned()];
    let mut chunks = Vec::new();
    for n in 0..5 {
        let own = [1, 2].map(|part| chunk(format!("{n} {part} ").repeat(500)));
        let id = transaction_id(&format!("number {n}"));
        ada.commit(&id, chain.last().unwrap(), &[&own[0], &own[1]]);
        chunks.extend(own);
        chain.push(id);
    }
    let whole = ada.get("bundle").expect(200).body;
    let cut = &whole[..whole.len() / 2];
    let had: Vec<_> = whole_members(cut);
    let has = |chunk: &Chunk| had.iter().any(|(name, _)| *name == member(chunk).0);
    let had_chunks = chunks.iter().filter(|chunk| has(chunk)).count();
    assert!(had_chunks > 2 && had_chunks < 9, "{had_chunks}");
    // The transactions say which chunks there are; those that are not here are asked for by name.
    let bare = ada.get("bundle?chunks=none").expect(200).body;
    let mut wanted = Vec::new();
    for (name, bytes) in members(&bare) {
        if name.starts_with("transactions/") {
            let transaction: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            for id in transaction["chunks"].as_array().unwrap() {
                wanted.push(id.as_str().unwrap().to_owned());
            }
        }
    }
    wanted.retain(|id| !had.iter().any(|(name, _)| name.ends_with(id.as_str())));
    assert_eq!(wanted.len(), 10 - had_chunks);
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let rest = get(&mut ada, &wanted).expect(200).body;
    // A store takes in what came of the one, then the other, and then the transactions with HEAD.
    let mut ben = server.device("ben");
    for (name, bytes) in &had {
        if let Some(("chunks", rest)) = name.split_once('/') {
            ben.put(&format!("chunks/{}", &rest[3..]), bytes)
                .expect(201);
        }
    }
    push(&mut ben, &bare).expect_refusal(404, "missing-chunks");
    push(&mut ben, &rest).expect(200);
    let taken = push(&mut ben, &bare).expect(200).json();
    assert_eq!(taken["seq"], 5);
    assert_eq!(taken["stored"]["chunks"], 0);
    assert_eq!(taken["stored"]["transactions"], 5);
    assert!(ben.get("bundle").expect(200).body == whole);
}

#[test]
fn a_bundle_without_its_chunks_is_the_transactions_and_head() {
    let server = Server::start();
    let mut device = server.device("ada");
    let [first, second, third] = ["first", "second", "third"].map(transaction_id);
    let large = chunk(vec![b'x'; 1 << 20]);
    device.commit(&first, ROOT, &[&large]);
    device.commit(&second, &first, &[]);
    device.commit(&third, &second, &[&large]);
    let names = |rest: &str, device: &mut Device| -> Vec<String> {
        let answer = device.get(rest).expect(200);
        members(&answer.body)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    };
    let file = |id: &str| format!("transactions/{}/{id}.json", &id[..2]);
    let head = || "HEAD".to_owned();
    for (query, expected) in [
        (
            "?chunks=none".to_owned(),
            vec![file(&first), file(&second), file(&third), head()],
        ),
        (
            format!("?chunks=none&from={first}&to={second}"),
            vec![file(&second), head()],
        ),
        (
            format!("?limit=1&from={second}&chunks=none"),
            vec![file(&third), head()],
        ),
        (format!("?from={third}&chunks=none"), vec![head()]),
    ] {
        assert_eq!(
            names(&format!("bundle{query}"), &mut device),
            expected,
            "{query}"
        );
    }
    for query in [
        "chunks=all",
        "chunks=",
        "chunks",
        "chunks=none&chunks=none",
        "chunks=NONE",
    ] {
        let answer = device.get(&format!("bundle?{query}"));
        answer.expect_refusal(400, "bad-query");
    }

    // Other bytes have another tag and another address.
    let whole = device.get("bundle").expect(200);
    let bare = device.get("bundle?chunks=none").expect(200);
    let (tag, other) = (bare.header("etag").unwrap(), whole.header("etag").unwrap());
    assert_ne!(tag, other);
    let pinned = bare.header("content-location").unwrap();
    assert_eq!(pinned, format!("bundle?from={ROOT}&to={third}&chunks=none"));
    let again = device.get(pinned).expect(200);
    assert!(again.body == bare.body);
    let same = [("if-none-match", tag)];
    device.get_with("bundle?chunks=none", &same).expect(304);
    device.get_with("bundle", &same).expect(200);
    let other = [("if-match", other)];
    device
        .get_with("bundle?chunks=none", &other)
        .expect_refusal(412, "precondition-failed");
    let path = device.path("bundle?chunks=none");
    let length = device.client.request("HEAD", &path, &[], None).expect(200);
    let bytes = bare.body.len().to_string();
    assert_eq!(length.header("content-length"), Some(bytes.as_str()));
    let part = device
        .get_with(pinned, &[("range", "bytes=100-")])
        .expect(206);
    assert!(part.body == bare.body[100..]);
    assert!(bare.body.len() < 8192, "{}", bare.body.len());
}

#[test]
fn a_bundle_without_its_chunks_does_not_need_them() {
    let server = Server::start();
    let mut device = server.device("ada");
    let milk = chunk("milk");
    device.commit(&transaction_id("first"), ROOT, &[&milk]);
    fs::remove_file(file_of(&server, "", &milk)).unwrap();
    device.get("bundle").expect_refusal(500, "damaged");
    device.get("bundle?chunks=none").expect(200);
}

#[test]
fn memory_depends_neither_on_what_is_asked_for_nor_on_its_length() {
    let server = Server::start();
    let mut device = server.device("ada");
    get(&mut device, &[&digest(b"absent")]).expect(200);
    let mut ids = Vec::new();
    for n in 0..96_u32 {
        let mut bytes = vec![0; 1 << 20];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        let chunk = chunk(bytes);
        device.put_chunk(&chunk).expect(201);
        ids.push(chunk.id);
    }
    ids.extend((ids.len()..100_000).map(|n| digest(&n.to_le_bytes())));
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let before = server.memory("VmHWM");
    let mut stream = begin(&server, "1.1", &ids);
    let mut buffer = vec![0; 1 << 16];
    let (mut sum, mut last) = (0, Vec::new());
    while !last.ends_with(b"\r\n0\r\n\r\n") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0);
        sum += count;
        last.extend_from_slice(&buffer[..count]);
        last.drain(..last.len().saturating_sub(16));
    }
    assert!(sum > 96 << 20, "{sum}");
    let after = server.memory("VmHWM");
    println!("{before} bytes, {after} after 96 MiB of 100,000 ids");
    assert!(after - before < 40 << 20, "from {before} to {after}");
}

#[test]
fn who_does_not_read_leaves_room_for_others() {
    let server = Server::start();
    let mut device = server.device("ada");
    let large = chunk(vec![b'x'; LARGE]);
    device.put_chunk(&large).expect(201);
    let mut ids = vec![large.id.clone()];
    ids.extend((1..100_000_u32).map(|n| digest(&n.to_le_bytes())));
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let slow = [(); 2].map(|()| {
        let mut stream = begin(&server, "1.1", &ids);
        stream.read_exact(&mut [0; 1000]).unwrap();
        stream
    });
    let refused = get(&mut device, &ids).expect_refusal(503, "busy");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // A short list has room whoever else there is, and so has any other question.
    get(&mut device, &ids[1..200]).expect(200);
    let path = device.path("chunks/missing");
    let body = json!(ids).to_string();
    (device.client)
        .request("POST", &path, &[], Some(body.as_bytes()))
        .expect(200);
    drop(slow);
    let since = Instant::now();
    while get(&mut device, &ids).status == 503 {
        assert!(since.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_list_that_does_not_come_is_not_waited_for() {
    let server = Server::with(&["--body-timeout", "500ms"]);
    let mut stalls = Connection::open(server.address()).unwrap();
    let path = format!("/0.1/{}/chunks/get", user_id("ada"));
    stalls
        .send(format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n[\""
        ))
        .unwrap();
    stalls
        .answer("POST")
        .unwrap()
        .expect_refusal(408, "timeout");
}

#[test]
fn the_server_has_each_feature_that_it_names() {
    let server = Server::start();
    let mut device = server.device("ada");
    let first = transaction_id("first");
    device.commit(&first, ROOT, &[]);
    let store = device.get("").expect(200).json();
    // The order is part of the protocol: a new one comes last.
    let expected = [
        "bundle",
        "wait",
        "events",
        "chunks-get",
        "checkpoint",
        "taskchampion",
    ];
    assert_eq!(store["features"], json!(expected));
    for feature in expected {
        match feature {
            "bundle" => {
                let bundle = device.get("bundle").expect(200).body;
                push(&mut server.device("ben"), &bundle).expect(200);
                device.get("bundle?chunks=none").expect(200);
            }
            "wait" => {
                let known = [("if-none-match", format!("\"{first}\""))];
                let known = known
                    .each_ref()
                    .map(|(name, value)| (*name, value.as_str()));
                let since = Instant::now();
                device.get_with("head?wait=1", &known).expect(304);
                assert!(since.elapsed() > Duration::from_millis(900));
            }
            "events" => {
                let mut stream = TcpStream::connect(server.address()).unwrap();
                let path = device.path("events");
                let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
                stream.write_all(request.as_bytes()).unwrap();
                stream
                    .set_read_timeout(Some(Duration::from_secs(60)))
                    .unwrap();
                let mut read = Vec::new();
                while !String::from_utf8_lossy(&read).contains(&format!("id: {first}")) {
                    let mut buffer = [0; 4096];
                    let count = stream.read(&mut buffer).unwrap();
                    assert!(count > 0);
                    read.extend_from_slice(&buffer[..count]);
                }
            }
            "chunks-get" => {
                get(&mut device, &[]).expect(200);
            }
            "checkpoint" => {
                let body = json!({"transaction": first, "chunks": []}).to_string();
                device.put("checkpoint", body).expect(204);
                device.get("checkpoint").expect(200);
            }
            "taskchampion" => {
                let client = user_id("client");
                let headers = [("x-client-id", client.as_str())];
                let path = format!("/v1/client/get-child-version/{ROOT}");
                let answer = device.client.request("GET", &path, &headers, None);
                assert_eq!(answer.status, 404);
                let text = answer.text();
                assert!(!text.contains("not-found"), "{text}");
            }
            other => panic!("{other} is not tried"),
        }
    }
}
