use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::kit::{
    Answer, Chunk, Connection, Device, Finished, ROOT, Server, chunk, run_with_deadline, skipped,
    transaction_id, tree, user_id,
};

/// The members of a bundle being made: names and contents.
#[derive(Default)]
struct Members(Vec<(String, Vec<u8>)>);

impl Members {
    fn chunk(mut self, chunk: &Chunk) -> Self {
        let name = format!("chunks/{}/{}", &chunk.id[..2], chunk.id);
        self.0.push((name, chunk.bytes.clone()));
        self
    }

    fn transaction(mut self, id: &str, seq: u64, parent: &str, chunks: &[&Chunk]) -> Self {
        let chunks: Vec<String> = chunks.iter().map(|c| format!("\"{}\"", c.id)).collect();
        let chunks = chunks.join(",");
        let json = format!(
            "{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":\"{parent}\",\"chunks\":[{chunks}]}}\n"
        );
        let name = format!("transactions/{}/{id}.json", &id[..2]);
        self.0.push((name, json.into_bytes()));
        self
    }

    fn head(mut self, id: &str) -> Self {
        self.0
            .push(("HEAD".to_owned(), format!("{id}\n").into_bytes()));
        self
    }

    fn other(mut self, name: &str, contents: &[u8]) -> Self {
        self.0.push((name.to_owned(), contents.to_vec()));
        self
    }

    fn tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, contents) in &self.0 {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(contents.len() as u64);
            tar.append_data(&mut header, name, &contents[..]).unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// The same as files in a folder.
    fn lay_out(&self, folder: &Path) {
        for (name, contents) in &self.0 {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents).unwrap();
        }
    }
}

fn first() -> String {
    transaction_id("first")
}

fn second() -> String {
    transaction_id("second")
}

/// Two transactions; the chunk of the first is named by both.
fn story() -> Members {
    let (milk, eggs) = (chunk("milk"), chunk("eggs"));
    Members::default()
        .chunk(&milk)
        .transaction(&first(), 1, ROOT, &[&milk])
        .chunk(&eggs)
        .transaction(&second(), 2, &first(), &[&eggs, &milk])
        .head(&second())
}

#[track_caller]
fn push(device: &mut Device, tar: &[u8]) -> Answer {
    let path = device.path("bundle");
    device.client.request("POST", &path, &[], Some(tar))
}

#[track_caller]
fn ask(device: &mut Device, headers: &[(&str, &str)], body: &str) -> Answer {
    let path = device.path("chunks/missing");
    let body = Some(body.as_bytes());
    device.client.request("POST", &path, headers, body)
}

/// What is in a user's `incoming/tmp`.
fn temporary_files(server: &Server, user: &str) -> usize {
    let folder = server.folder(user).join("incoming/tmp");
    std::fs::read_dir(folder).map_or(0, |entries| entries.count())
}

#[test]
fn a_push_is_answered_with_what_was_new() {
    let server = Server::start();
    let mut device = server.device("ada");
    let milk = chunk("milk");
    device.put_chunk(&milk).expect(201);
    let answer = push(&mut device, &story().tar()).expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let bytes: usize = story().0.iter().map(|(_, contents)| contents.len()).sum();
    let bytes = bytes - 37 - 4;
    let expected = serde_json::json!({
        "head": second(), "seq": 2,
        "stored": {"chunks": 1, "transactions": 2, "bytes": bytes},
        "existing": {"chunks": 1, "transactions": 0, "bytes": 4},
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(device.head(), (second(), 2));
    let got = device.get(&format!("chunks/{}", chunk("eggs").id));
    assert_eq!(got.expect(200).body, b"eggs");
}

#[test]
fn the_same_from_and_to_give_the_same_bytes_under_one_tag() {
    let server = Server::start();
    let mut device = server.device("ada");
    push(&mut device, &story().tar()).expect(200);
    let now = device.get("bundle").expect(200);
    assert_eq!(now.header("content-type"), Some("application/x-tar"));
    let pinned = format!("bundle?from={ROOT}&to={}", second());
    assert_eq!(now.header("content-location"), Some(pinned.as_str()));
    let tag = now.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"'), "{tag} is not strong");
    // HEAD goes on, and the pinned address stays what it was.
    let third = transaction_id("third");
    device.commit(&third, &second(), &[]);
    let then = device.get(&pinned).expect(200);
    assert_eq!(then.body, now.body);
    assert_eq!(then.header("etag"), Some(tag.as_str()));
    let later = device.get("bundle").expect(200);
    assert_ne!(later.header("etag"), Some(tag.as_str()));
    let held = [("if-none-match", tag.as_str())];
    device.get_with(&pinned, &held).expect(304);
    device.get_with("bundle", &held).expect(200);
    // A second server process on the directory answers the same.
    let another = server.another();
    let mut other = another.device("ada");
    assert_eq!(other.get(&pinned).expect(200).body, now.body);
    // A part at a time, by `limit`, is the same as asking for those ends.
    let part = device.get("bundle?limit=1").expect(200);
    let pinned = format!("bundle?from={ROOT}&to={}", first());
    assert_eq!(part.header("content-location"), Some(pinned.as_str()));
    assert_eq!(part.body, device.get(&pinned).expect(200).body);
    let path = device.path(&pinned);
    let head = device.client.request("HEAD", &path, &[], None).expect(200);
    let length = part.body.len().to_string();
    assert_eq!(head.header("content-length"), Some(length.as_str()));
}

#[test]
fn a_range_is_served_of_what_is_pinned() {
    let server = Server::start();
    let mut device = server.device("ada");
    push(&mut device, &story().tar()).expect(200);
    let pinned = format!("bundle?to={}", second());
    let whole = device.get(&pinned).expect(200);
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let length = whole.body.len();
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=510-514", 510, 514),
        ("bytes=1000-", 1000, length - 1),
        ("bytes=-1025", length - 1025, length - 1),
    ] {
        let part = device.get_with(&pinned, &[("range", range)]).expect(206);
        assert!(part.body == whole.body[first..=last], "{range}");
        let said = format!("bytes {first}-{last}/{length}");
        assert_eq!(part.header("content-range"), Some(said.as_str()));
    }
    let beyond = format!("bytes={length}-");
    let refused = device.get_with(&pinned, &[("range", &beyond)]);
    let refused = refused.expect_refusal(416, "range");
    let said = format!("bytes */{length}");
    assert_eq!(refused.header("content-range"), Some(said.as_str()));
    // Without `to` it may be another tar by now, unless the client says which it has.
    let part = [("range", "bytes=0-9")];
    assert_eq!(
        device.get_with("bundle", &part).expect(200).body.len(),
        length
    );
    let tag = whole.header("etag").unwrap();
    let same = [part[0], ("if-range", tag)];
    device.get_with("bundle", &same).expect(206);
    device.commit(&transaction_id("third"), &second(), &[]);
    device.get_with("bundle", &same).expect(200);
}

#[test]
fn what_a_pull_refuses() {
    let server = Server::start();
    let mut device = server.device("ada");
    push(&mut device, &story().tar()).expect(200);
    let pending = transaction_id("pending");
    device.put_transaction(&pending, &second(), &[]).expect(201);
    let nowhere = transaction_id("nowhere");
    for (query, status, code) in [
        (format!("from={nowhere}"), 404, "unknown-transaction"),
        (format!("to={nowhere}"), 404, "unknown-transaction"),
        (format!("from={pending}"), 404, "unknown-transaction"),
        (format!("to={pending}"), 404, "unknown-transaction"),
        (
            format!("from={}&to={}", second(), first()),
            400,
            "bad-query",
        ),
        ("limit=0".to_owned(), 400, "bad-query"),
        ("limit=100001".to_owned(), 400, "bad-query"),
        ("limit=1&limit=1".to_owned(), 400, "bad-query"),
        (format!("to={ROOT}&to={ROOT}"), 400, "bad-query"),
        ("from=x".to_owned(), 400, "malformed-id"),
        (
            format!("to={}", first().to_uppercase()),
            400,
            "malformed-id",
        ),
    ] {
        let answer = device.get(&format!("bundle?{query}"));
        answer.expect_refusal(status, code);
    }
    let path = device.path("bundle");
    for method in ["PUT", "DELETE"] {
        let answer = device.client.request(method, &path, &[], Some(b""));
        answer.expect_refusal(405, "method-not-allowed");
    }
    // An unknown user reads as empty, and nothing is made for it.
    let mut nobody = server.device("nobody");
    let empty = Members::default().head(ROOT).tar();
    assert_eq!(nobody.get("bundle").expect(200).body.len(), empty.len());
    assert!(!server.folder("nobody").exists());
}

#[test]
fn what_a_push_refuses_moves_nothing() {
    let milk = chunk("milk");
    let sound = || Members::default().chunk(&milk);
    let with = |members: Members| {
        members
            .transaction(&first(), 1, ROOT, &[&milk])
            .head(&first())
    };
    let other = chunk("other");
    let cut = story().tar();
    let rows: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("nothing", Vec::new(), 400, "bad-bundle"),
        ("no tar", b"hello".repeat(1000), 400, "bad-bundle"),
        (
            "cut off",
            cut[..cut.len() - 512].to_vec(),
            400,
            "bad-bundle",
        ),
        (
            "a wrong digest",
            with(sound().other(&format!("chunks/{}/{}", &other.id[..2], other.id), b"x")).tar(),
            400,
            "bad-bundle",
        ),
        (
            "the lock",
            with(sound().other("lock", b"")).tar(),
            400,
            "bad-bundle",
        ),
        (
            "a temporary file",
            with(sound().other("incoming/tmp/x", b"")).tar(),
            400,
            "bad-bundle",
        ),
        (
            "a member after HEAD",
            with(sound()).chunk(&other).tar(),
            400,
            "bad-bundle",
        ),
        (
            "a chunk that is not there",
            with(Members::default()).tar(),
            404,
            "missing-chunks",
        ),
        (
            "a parent that is not there",
            Members::default()
                .transaction(&second(), 2, &first(), &[])
                .tar(),
            409,
            "unknown-parent",
        ),
        (
            "HEAD that is not there",
            sound().head(&first()).tar(),
            409,
            "unknown-transaction",
        ),
    ];
    let server = Server::start();
    for (what, tar, status, code) in rows {
        let mut device = server.device(what);
        let refused = push(&mut device, &tar).expect_refusal(status, code).json();
        if code == "missing-chunks" {
            assert_eq!(refused["missing"], serde_json::json!([milk.id]));
        }
        if code == "unknown-transaction" {
            assert_eq!(
                (&refused["head"], &refused["seq"]),
                (&ROOT.into(), &0.into())
            );
        }
        assert_eq!(device.head(), (ROOT.to_owned(), 0), "{what}");
        assert_eq!(temporary_files(&server, what), 0, "{what}");
    }
    let small = Server::with(&["--max-chunk-bytes", "3"]);
    let answer = push(&mut small.device("ada"), &story().tar());
    assert_eq!(answer.expect_refusal(413, "too-large").json()["limit"], 3);
    let few = Server::with(&["--max-pending-transactions", "1"]);
    let upload = Members(story().0[..4].to_vec()).tar();
    let answer = push(&mut few.device("ada"), &upload).expect_refusal(507, "quota-exceeded");
    assert_eq!(
        (&answer.json()["limit"], &answer.json()["used"]),
        (&1.into(), &0.into())
    );
    // The HEAD of this one is not its last: it could only be pending, as 409 would say that it is.
    let followed = story().transaction(&transaction_id("after"), 3, &second(), &[]);
    let mut members = followed.0;
    let head = members.iter().position(|(name, _)| name == "HEAD").unwrap();
    let head = members.remove(head);
    members.push(head);
    let tar = Members(members).tar();
    let refused = push(&mut few.device("ada"), &tar);
    let refused = refused.expect_refusal(507, "quota-exceeded").json();
    assert_eq!(
        refused["detail"],
        "0 transactions that HEAD can still reach are pending, and with 3 more they would be more than the 1 \
         that may be: send one line as a bundle whose HEAD is the last of it (which needs no room)"
    );
    push(&mut server.device("roomy"), &tar).expect_refusal(409, "has-descendants");
}

/// The `detail` of a refusal of this push.
fn why_not(device: &mut Device, tar: &[u8]) -> String {
    let refused = push(device, tar).expect_refusal(400, "bad-bundle");
    refused.json()["detail"].as_str().unwrap().to_owned()
}

#[test]
fn a_body_that_is_no_tar_is_told_what_it_is() {
    let server = Server::start();
    let mut device = server.device("ada");
    let mut rows: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "empty"),
        (b"\xef\xbb\xbfhello".to_vec(), "byte order mark"),
        (b"{\"head\":1}".to_vec(), "JSON"),
        (
            b"--boundary\r\nContent-Disposition: form-data".to_vec(),
            "--data-binary",
        ),
        (b"PK\x03\x04".to_vec(), "zip"),
    ];
    for (program, format) in [
        ("gzip", "gzip"),
        ("bzip2", "bzip2"),
        ("xz", "xz"),
        ("zstd", "zstd"),
    ] {
        if let Some(compressed) = filter(program, &story().tar()) {
            rows.push((compressed, format));
        }
    }
    assert!(
        rows.iter().any(|(_, format)| *format == "gzip"),
        "gzip is on every box"
    );
    for (body, said) in rows {
        let why = why_not(&mut device, &body);
        assert!(
            why.contains(said) && !why.contains("cut off"),
            "{said}: {why}"
        );
    }
    // One that comes a byte at a time is told as well.
    let zipped = filter("gzip", &story().tar()).unwrap();
    let mut connection = Connection::open(server.address()).unwrap();
    let path = device.path("bundle");
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 64\r\n\r\n");
    connection.send(head).unwrap();
    for byte in &zipped[..64] {
        connection.send([*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let answer = connection.answer("POST").unwrap();
    assert!(answer.text().contains("gzip"), "{}", answer.text());
}

/// What a program makes of these bytes; `None` where the box has no such program.
fn filter(program: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(program)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    Some(child.wait_with_output().unwrap().stdout)
}

#[test]
fn a_transaction_may_be_spelt_as_put_takes_it_and_is_stored_in_the_one_spelling() {
    let milk = chunk("milk");
    let (one, id) = (first(), &milk.id);
    let ours = Members::default().transaction(&one, 1, ROOT, &[&milk]);
    let name = &ours.0[0].0;
    let spellings = [
        // As Python's json.dumps does it by default.
        format!(r#"{{"id": "{one}", "seq": 1, "parent": "{ROOT}", "chunks": ["{id}"]}}"#),
        format!(r#"{{"chunks":["{id}"],"parent":"{ROOT}","seq":1,"id":"{one}"}}"#),
        format!("\n{{\"parent\":\"{ROOT}\",\n\t\"chunks\":[\"{id}\"]}}\r\n"),
        format!(r#"{{"id":null,"seq":null,"parent":"{ROOT}","chunks":["{id}"]}}"#),
        format!(r#"{{"parent":"\u0030{}","chunks":["{id}"]}}"#, &ROOT[1..]),
    ];
    let server = Server::start();
    for (number, spelling) in spellings.iter().enumerate() {
        let mut device = server.device(&format!("spelling {number}"));
        // What PUT takes of it is the measure.
        device.put_chunk(&milk).expect(201);
        let put = device.path(&format!("transactions/{one}"));
        let json = [("content-type", "application/json")];
        let put = device
            .client
            .request("PUT", &put, &json, Some(spelling.as_bytes()));
        put.expect(201);
        let who = format!("pushed {number}");
        let mut device = server.device(&who);
        let bundle = Members::default()
            .chunk(&milk)
            .other(name, spelling.as_bytes())
            .head(&one);
        push(&mut device, &bundle.tar()).expect(200);
        assert_eq!(
            std::fs::read(server.folder(&who).join(name)).unwrap(),
            ours.0[0].1
        );
        // Once more, in the other spelling: it is the same transaction.
        let again = push(&mut device, &Members(bundle.0[..2].to_vec()).tar()).expect(200);
        assert_eq!(again.json()["existing"]["transactions"], 1);
        assert_eq!(again.json()["stored"]["transactions"], 0);
    }
}

#[test]
fn a_transaction_without_its_number_follows_its_parent() {
    let server = Server::start();
    let mut device = server.device("ada");
    let bare = |members: Members, id: &str, parent: &str| {
        let name = format!("transactions/{}/{id}.json", &id[..2]);
        members.other(
            &name,
            format!(r#"{{"parent":"{parent}","chunks":[]}}"#).as_bytes(),
        )
    };
    let third = transaction_id("third");
    let both = bare(
        bare(Members::default(), &first(), ROOT),
        &second(),
        &first(),
    )
    .head(&second());
    assert_eq!(push(&mut device, &both.tar()).expect(200).json()["seq"], 2);
    let more = bare(Members::default(), &third, &second()).head(&third);
    assert_eq!(push(&mut device, &more.tar()).expect(200).json()["seq"], 3);
    // Before its parent nobody can tell, and nothing is guessed.
    let mut other = server.device("other");
    let late = bare(
        bare(Members::default(), &second(), &first()),
        &first(),
        ROOT,
    )
    .head(&second());
    let why = why_not(&mut other, &late.tar());
    assert!(why.contains("says no seq"), "{why}");
    for (wrong, said) in [
        (format!(r#"["{ROOT}",[]]"#), "list"),
        (
            format!(r#"{{"parent":"{ROOT}","chunks":[],"more":1}}"#),
            "form",
        ),
        (
            format!(r#"{{"id":"{third}","parent":"{ROOT}","chunks":[]}}"#),
            "inside",
        ),
        (
            format!(r#"{{"parent":"{ROOT}","chunks":["x"]}}"#),
            "malformed",
        ),
        (format!(r#"{{"parent":"{ROOT}","chunks":[]"#), "not JSON"),
    ] {
        let name = format!("transactions/{}/{}.json", &first()[..2], first());
        let why = why_not(
            &mut other,
            &Members::default().other(&name, wrong.as_bytes()).tar(),
        );
        assert!(why.contains(said), "{why}");
    }
    assert_eq!(other.head(), (ROOT.to_owned(), 0));
}

#[test]
fn what_a_mac_adds_to_a_tar_is_passed_over() {
    let server = Server::start();
    let mut device = server.device("ada");
    let mut members = Members::default();
    for (name, contents) in &story().0 {
        let beside = match name.rsplit_once('/') {
            Some((directory, last)) => format!("{directory}/._{last}"),
            None => format!("._{name}"),
        };
        members = members.other(&beside, &[7; 1500]).other(name, contents);
    }
    let tar = members.other("._.", b"x").tar();
    assert_eq!(push(&mut device, &tar).expect(200).json()["head"], second());
    let files = tree(&server.folder("ada"));
    assert!(files.keys().all(|path| !path.contains("._")), "{files:?}");
    // A name that only looks like it is one of the others: refused.
    let why = why_not(
        &mut device,
        &Members::default().other("._x/HEAD", b"").tar(),
    );
    assert!(why.contains("not a name"), "{why}");
}

#[test]
fn a_lost_race_is_409_with_the_head_and_keeps_what_was_sent() {
    let server = Server::start();
    let mut device = server.device("ada");
    push(&mut device, &story().tar()).expect(200);
    let bread = chunk("bread");
    let mine = transaction_id("mine");
    let late = Members::default()
        .chunk(&bread)
        .transaction(&mine, 2, &first(), &[&bread])
        .head(&mine);
    let refused = push(&mut device, &late.tar()).expect_refusal(409, "not-a-descendant");
    let refused = refused.json();
    assert_eq!(
        (&refused["head"], &refused["seq"]),
        (&second().into(), &2.into())
    );
    let missing = ask(&mut device, &[], &format!("[\"{}\"]", bread.id));
    assert_eq!(
        missing.expect(200).json(),
        serde_json::json!({"missing": []})
    );
    let again = transaction_id("again");
    let rebase = Members::default()
        .transaction(&again, 3, &second(), &[&bread])
        .head(&again);
    let taken = push(&mut device, &rebase.tar()).expect(200).json();
    assert_eq!(taken["stored"]["chunks"], 0);
    // The answer got lost, and the client tries again: the 409 has its own head.
    let refused = push(&mut device, &rebase.tar()).expect_refusal(409, "not-a-descendant");
    assert_eq!(refused.json()["head"], again);
}

#[test]
fn missing_chunks_are_told_in_order_as_json_or_as_lines() {
    let server = Server::start();
    let mut device = server.device("ada");
    let (milk, eggs, bread) = (chunk("milk"), chunk("eggs"), chunk("bread"));
    let list = serde_json::json!([milk.id, eggs.id, bread.id]).to_string();
    // A user nobody has heard of has nothing, and is not made for the question.
    let nothing = ask(&mut server.device("nobody"), &[], &list)
        .expect(200)
        .json();
    assert_eq!(nothing["missing"].to_string(), list);
    assert!(!server.folder("nobody").exists());
    device.put_chunk(&eggs).expect(201);
    let missing = ask(&mut device, &[], &list).expect(200).json();
    assert_eq!(missing, serde_json::json!({"missing": [milk.id, bread.id]}));
    let text = [("content-type", "text/plain")];
    let lines = format!("{}\n{}\n{}", milk.id, eggs.id, bread.id);
    let answer = ask(&mut device, &text, &lines).expect(200);
    assert_eq!(answer.text(), format!("{}\n{}\n", milk.id, bread.id));
    let loud = [("content-type", "TEXT/Plain; charset=utf-8")];
    assert_eq!(ask(&mut device, &loud, &lines).text(), answer.text());
    let both = [text[0], ("accept", "application/json")];
    assert_eq!(ask(&mut device, &both, &lines).expect(200).json(), missing);
    for (headers, body, code) in [
        (&[][..], "[\"x\"]", "malformed-id"),
        (&[], "{}", "malformed-json"),
        (&text, "x", "malformed-id"),
    ] {
        ask(&mut device, headers, body).expect_refusal(400, code);
    }
    // Words that show what to do, not where a parser stopped.
    let marked = format!("\u{feff}{list}");
    for (headers, body, said) in [
        (&[][..], &lines[..], "Content-Type: text/plain"),
        (&[], &marked, "byte order mark"),
        (&text, &format!("\u{feff}{lines}"), "byte order mark"),
        (&[], "", "empty"),
        (&[], "\n", "empty"),
        (&[], "milk", "not JSON"),
    ] {
        let refused = ask(&mut device, headers, body);
        assert_eq!(refused.status, 400);
        let detail = refused.json()["detail"].to_string();
        assert!(detail.contains(said), "{detail}");
    }
    let uuid = format!("[\"{}\"]", first());
    ask(&mut device, &[], &uuid).expect_refusal(400, "malformed-id");
    let most = format!("{}\n", milk.id).repeat(100_000);
    ask(&mut device, &text, &most).expect(200);
    let answer = ask(&mut device, &text, &(most + &milk.id));
    assert_eq!(
        answer.expect_refusal(413, "too-large").json()["limit"],
        100_000
    );
}

#[test]
fn a_chunk_that_is_asked_about_is_young_again() {
    let server = Server::start();
    let mut device = server.device("ada");
    let eggs = chunk("eggs");
    device.put_chunk(&eggs).expect(201);
    let place = format!("incoming/chunks/{}/{}", &eggs.id[..2], eggs.id);
    let file = server.folder("ada").join(place);
    let old = SystemTime::now() - Duration::from_secs(13 * 24 * 3600);
    let times = std::fs::FileTimes::new().set_modified(old);
    let opened = std::fs::File::options().write(true).open(&file).unwrap();
    opened.set_times(times).unwrap();
    ask(&mut device, &[], &format!("[\"{}\"]", eggs.id)).expect(200);
    let age = file.metadata().unwrap().modified().unwrap().elapsed();
    assert!(age.unwrap() < Duration::from_secs(3600));
}

#[test]
fn a_push_that_stalls_or_breaks_off_leaves_nothing() {
    let server = Server::with(&["--body-timeout", "500ms"]);
    let tar = story().tar();
    let request = format!(
        "POST /0.1/{}/bundle HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        user_id("ada"),
        tar.len()
    );
    let mut stalls = Connection::open(server.address()).unwrap();
    stalls.send(&request).unwrap();
    stalls.send(&tar[..3000]).unwrap();
    let answer = stalls.answer("POST").unwrap();
    answer.expect_refusal(408, "timeout");
    let mut breaks = Connection::open(server.address()).unwrap();
    breaks.send(&request).unwrap();
    breaks.send(&tar[..3000]).unwrap();
    drop(breaks);
    let mut device = server.device("ada");
    assert_eq!(device.head(), (ROOT.to_owned(), 0));
    for _ in 0..200 {
        if temporary_files(&server, "ada") == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(temporary_files(&server, "ada"), 0);
}

#[test]
fn a_pull_that_fails_in_the_middle_never_looks_like_an_end() {
    let server = Server::start();
    let mut device = server.device("ada");
    push(&mut device, &story().tar()).expect(200);
    let eggs = chunk("eggs");
    let place = format!("chunks/{}/{}", &eggs.id[..2], eggs.id);
    std::fs::remove_file(server.folder("ada").join(place)).unwrap();
    // Nothing has been said yet when the first of it is read: so there is an answer, and another after it.
    let path = device.path("bundle");
    let mut connection = Connection::open(server.address()).unwrap();
    for _ in 0..20 {
        for what in ["head", "bundle"] {
            let path = device.path(what);
            connection
                .send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
                .unwrap();
        }
        connection.answer("GET").unwrap().expect(200);
        let answer = connection.answer("GET").unwrap();
        answer.expect_refusal(500, "damaged");
    }
    let answer = device.client.request("HEAD", &path, &[], None);
    assert_eq!(answer.status, 500);
    let pinned = [("range", "bytes=0-")];
    let path = device.path(&format!("bundle?to={}", second()));
    let answer = device.client.request("GET", &path, &pinned, None);
    answer.expect_refusal(500, "damaged");
}

#[test]
fn what_was_read_before_a_pull_failed_arrives_and_never_looks_like_an_end() {
    /// The length of the first piece of a bundle.
    const PIECE: usize = 256 << 10;
    let server = Server::start();
    let mut device = server.device("ada");
    let (large, lost) = (chunk(vec![b'x'; PIECE + 1]), chunk("lost"));
    device.commit(&first(), ROOT, &[&large, &lost]);
    let place = format!("chunks/{}/{}", &lost.id[..2], lost.id);
    std::fs::remove_file(server.folder("ada").join(place)).unwrap();
    let request = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", device.path("bundle"));
    for _ in 0..20 {
        let mut connection = std::net::TcpStream::connect(server.address()).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answer.len());
        assert!(answer.len() > PIECE, "{}", answer.len());
        assert!(!text.ends_with("\r\n0\r\n\r\n"));
    }
}

/// Runs a line of shell with `$STORE` as the address of a user's store.
#[track_caller]
fn shell(device: &Device, server: &Server, directory: &Path, line: &str) -> Finished {
    let store = format!("http://{}{}", server.address(), device.path(""));
    run_with_deadline(
        Command::new("bash")
            .args(["--norc", "-c", &format!("set -o pipefail; {line}")])
            .env("STORE", store.trim_end_matches('/'))
            .env("LC_ALL", "C.UTF-8")
            .current_dir(directory),
    )
}

#[track_caller]
fn has(programs: &[&str]) -> bool {
    programs.iter().all(|program| {
        let found = Command::new("sh")
            .args(["-c", "command -v \"$0\" >/dev/null", program])
            .status()
            .is_ok_and(|status| status.success());
        if !found {
            skipped(
                "bundles by other programs",
                format!("{program} is not here"),
            );
        }
        found
    })
}

#[test]
fn every_usual_tar_program_writes_a_bundle_that_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("copy");
    story().lay_out(&folder);
    let python = "import sys,tarfile
t = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=getattr(tarfile, sys.argv[1]))
for name in ['chunks', 'transactions', 'HEAD']: t.add('copy/' + name, name)
t.close()";
    std::fs::write(directory.path().join("pack.py"), python).unwrap();
    let mut tried = 0;
    for (program, line) in [
        ("tar", "tar c -C copy chunks transactions HEAD"),
        (
            "tar",
            "tar c --format=ustar -C copy transactions chunks HEAD",
        ),
        (
            "tar",
            "tar c --format=posix -C copy chunks transactions HEAD",
        ),
        ("tar", "tar c --format=v7 -C copy chunks transactions HEAD"),
        ("tar", "tar c -b 1 -C copy chunks transactions HEAD"),
        (
            "tar",
            "(cd copy && tar c --no-recursion $(find chunks transactions -type f) HEAD)",
        ),
        ("bsdtar", "bsdtar -cf - -C copy chunks transactions HEAD"),
        (
            "bsdtar",
            "bsdtar -cf - --format=ustar -C copy chunks transactions HEAD",
        ),
        (
            "bsdtar",
            "bsdtar -cf - --format=pax -C copy chunks transactions HEAD",
        ),
        (
            "bsdtar",
            "bsdtar -cf - --format=gnutar -C copy chunks transactions HEAD",
        ),
        ("python3", "python3 pack.py USTAR_FORMAT"),
        ("python3", "python3 pack.py GNU_FORMAT"),
        ("python3", "python3 pack.py PAX_FORMAT"),
    ] {
        if !has(&["bash", "curl", program]) {
            continue;
        }
        let server = Server::start();
        let mut device = server.device("ada");
        let line = format!("{line} | curl -sS -T - -X POST $STORE/bundle");
        let said = shell(&device, &server, directory.path(), &line);
        assert!(said.stdout.contains("\"seq\":2,"), "{line}: {said:?}");
        assert_eq!(device.head(), (second(), 2), "{line}");
        tried += 1;
    }
    println!("{tried} ways to write a bundle");
    assert!(tried > 0 || !has(&["tar", "curl"]));
}

#[test]
fn what_a_tar_program_should_not_have_packed_is_refused() {
    if !has(&["bash", "curl", "tar"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("copy");
    story().lay_out(&folder);
    std::os::unix::fs::symlink("HEAD", folder.join("chunks/link")).unwrap();
    std::fs::hard_link(folder.join("HEAD"), folder.join("HEAD2")).unwrap();
    let server = Server::start();
    for line in [
        "tar c -C copy .",
        "tar c -C copy ./chunks transactions HEAD",
        "tar c copy",
        "tar cP $PWD/copy/HEAD",
        "tar c -C copy chunks transactions HEAD",
        "tar c -C copy HEAD HEAD2",
        "tar c --transform 's,^,x/../,' -P -C copy HEAD",
        "tar cz -C copy transactions HEAD",
        "tar c --format=gnu --transform \"s,^,$(printf 'long%.0s' {1..40})/,\" -C copy HEAD",
        "tar c --format=posix --transform \"s,^,$(printf 'long%.0s' {1..80})/,\" -C copy HEAD",
        "(mkfifo fifo; tar c fifo)",
        "(truncate -s 1M sparse; tar cS sparse)",
    ] {
        let mut device = server.device("ada");
        let line = format!("{line} | curl -sS -T - -X POST $STORE/bundle");
        let said = shell(&device, &server, directory.path(), &line);
        assert!(said.stdout.contains("\"bad-bundle\""), "{line}: {said:?}");
        assert_eq!(device.head(), (ROOT.to_owned(), 0), "{line}");
    }
}

#[test]
fn a_clone_is_served_as_it_is_and_goes_on() {
    if !has(&["bash", "curl", "tar"]) {
        return;
    }
    let here = Server::start();
    let mut device = here.device("ada");
    push(&mut device, &story().tar()).expect(200);
    // Another box, where this user is not served yet.
    let server = Server::start();
    let folder = server.folder("ada");
    std::fs::create_dir_all(&folder).unwrap();
    let clone = "curl -sS $STORE/bundle | tar x";
    let said = shell(&device, &here, &folder, clone);
    assert_eq!(said.code, Some(0), "{said:?}");
    let mut copy = server.device("ada");
    assert_eq!(copy.head(), (second(), 2));
    assert_eq!(copy.chain_after(ROOT), [first(), second()]);
    assert_eq!(
        copy.get("bundle").expect(200).body,
        device.get("bundle").expect(200).body
    );
    let mut fsck = crate::kit::binary();
    let said = run_with_deadline(fsck.args(["fsck", "--data"]).arg(server.data()));
    assert_eq!(said.code, Some(0), "{said:?}");
    // What is new since then goes from one to the other through a pipe.
    let third = transaction_id("third");
    let bread = chunk("bread");
    device.commit(&third, &second(), &[&bread]);
    let target = format!("http://{}{}", server.address(), copy.path("bundle"));
    let pull = format!(
        "curl -sS $STORE/bundle?from={} | curl -sS -T - -X POST {target}",
        second()
    );
    let said = shell(&device, &here, &folder, &pull);
    assert!(said.stdout.contains("\"seq\":3,"), "{said:?}");
    assert_eq!(copy.head(), (third, 3));
    assert_eq!(
        copy.get("bundle").expect(200).body,
        device.get("bundle").expect(200).body
    );
}

#[test]
fn a_cut_pull_is_resumed_and_gives_the_same_file() {
    if !has(&["bash", "curl", "cmp", "head"]) {
        return;
    }
    let server = Server::start();
    let mut device = server.device("ada");
    let members = (0..300_u32).map(|n| chunk(n.to_le_bytes().repeat(300)));
    let members: Vec<Chunk> = members.collect();
    let named: Vec<&Chunk> = members.iter().collect();
    let all = members.iter().fold(Members::default(), Members::chunk);
    let tar = all
        .transaction(&first(), 1, ROOT, &named)
        .head(&first())
        .tar();
    push(&mut device, &tar).expect(200);
    let directory = tempfile::tempdir().unwrap();
    let resume = format!(
        "curl -sS -o whole \"$STORE/bundle?to={0}\" && head -c 123457 whole > part && \
         curl -sS -C - -o part \"$STORE/bundle?to={0}\" && cmp part whole && tar tf part | tail -n 1",
        first()
    );
    let said = shell(&device, &server, directory.path(), &resume);
    assert_eq!(
        (said.code, said.stdout.as_str()),
        (Some(0), "HEAD\n"),
        "{said:?}"
    );
}

/// A tar of so many chunks of 1 MiB under one transaction, made while it is sent.
fn send_large(connection: &mut Connection, user: &str, chunks: u64) {
    let length = {
        let header = 512;
        let json = format!(
            "{{\"id\":\"{}\",\"seq\":1,\"parent\":\"{ROOT}\",\"chunks\":[",
            first()
        );
        let json = json.len() as u64 + chunks * 66 + chunks - 1 + 3;
        chunks * (header + (1 << 20)) + header + json.div_ceil(512) * 512 + 2 * header + 1024
    };
    let request = format!(
        "POST /0.1/{}/bundle HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n",
        user_id(user)
    );
    connection.send(request).unwrap();
    let mut tar = tar::Builder::new(Sender(connection));
    let mut names = Vec::new();
    let mut add = |name: &str, contents: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(contents.len() as u64);
        tar.append_data(&mut header, name, contents).unwrap();
    };
    for n in 0..chunks {
        let mut bytes = vec![0; 1 << 20];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        let chunk = chunk(bytes);
        add(
            &format!("chunks/{}/{}", &chunk.id[..2], chunk.id),
            &chunk.bytes,
        );
        names.push(Chunk {
            id: chunk.id,
            bytes: Vec::new(),
        });
    }
    let named: Vec<&Chunk> = names.iter().collect();
    let rest = Members::default()
        .transaction(&first(), 1, ROOT, &named)
        .head(&first());
    for (name, contents) in &rest.0 {
        add(name, contents);
    }
    tar.finish().unwrap();
}

struct Sender<'a>(&'a mut Connection);

impl Write for Sender<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn memory_does_not_depend_on_the_size_of_a_bundle() {
    let server = Server::start();
    let mut device = server.device("warm");
    push(&mut device, &story().tar()).expect(200);
    device.get("bundle").expect(200);
    let before = server.memory("VmHWM");
    let mut connection = Connection::open(server.address()).unwrap();
    send_large(&mut connection, "ada", 192);
    connection.answer("POST").unwrap().expect(200);
    let pushed = server.memory("VmHWM");
    let mut curl = Command::new("sh")
        .args(["-c", "curl -s \"$0\" | wc -c"])
        .arg(format!(
            "http://{}/0.1/{}/bundle",
            server.address(),
            user_id("ada")
        ))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(curl.wait().unwrap().success());
    let pulled = server.memory("VmHWM");
    println!("{before} bytes, {pushed} after a push of 192 MiB, {pulled} after its pull");
    assert!(
        pulled - before < 24 << 20,
        "from {before} over {pushed} to {pulled}"
    );
}

/// What the fuzz target checks, over its corpus and over damage done to it.
#[path = "../fuzz/check.rs"]
mod check;

#[test]
fn no_bundle_of_the_corpus_damaged_or_not_does_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/bundle");
    let mut files: Vec<_> = std::fs::read_dir(corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 5);
    let site = check::Site::new();
    // Always the same damage.
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    for file in &files {
        let sound = std::fs::read(file).unwrap();
        site.check(&sound);
        for _ in 0..60 {
            let mut damaged = sound.clone();
            for _ in 0..1 + random(3) {
                let at = random(damaged.len());
                match random(5) {
                    0 => damaged.truncate(at),
                    1 => {
                        let rest = &mut damaged[at..];
                        rest.rotate_left(random(1024).min(rest.len()));
                    }
                    2 if at % 512 > 0 => drop(damaged.drain(at / 512 * 512..at)),
                    3 => {
                        let block: Vec<u8> = damaged.iter().skip(at).take(512).copied().collect();
                        damaged.splice(at..at, block);
                    }
                    _ => damaged[at] ^= 1 << random(8),
                }
                if damaged.is_empty() {
                    break;
                }
            }
            site.check(&damaged);
        }
    }
}

/// What had come of it lay in the folder that went.
#[test]
fn a_push_to_a_user_who_was_made_anew_meanwhile_is_told_to_come_again() {
    let server = Server::with(&["--allow-delete"]);
    let mut ada = server.device("ada");
    let (milk, id) = (chunk("milk"), transaction_id("one"));
    let members = Members::default()
        .chunk(&milk)
        .transaction(&id, 1, ROOT, &[&milk]);
    let tar = members.head(&id).tar();
    for end in [1024, tar.len() - 1] {
        ada.put_chunk(&chunk("eggs")).expect(201);
        let mut push = Connection::open(server.address()).unwrap();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            ada.path("bundle"),
            tar.len()
        );
        push.send(head).unwrap();
        push.send(&tar[..end]).unwrap();
        // Its first member has come.
        let staged = server.folder("ada").join("incoming/tmp");
        let deadline = Instant::now() + Duration::from_secs(30);
        while tree(&staged).values().all(|look| look.kind == 'd') {
            assert!(Instant::now() < deadline, "nothing comes");
        }
        let path = ada.path("");
        ada.client.request("DELETE", &path, &[], None).expect(204);
        ada.put_chunk(&chunk("bread")).expect(201);
        push.send(&tar[end..]).unwrap();
        push.answer("POST").unwrap().expect_refusal(503, "busy");
        assert_eq!(ada.head(), (ROOT.to_owned(), 0));
    }
}
