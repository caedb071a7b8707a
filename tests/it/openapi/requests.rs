//! The document against what a server answers: a success and the refusals of every operation. Both
//! ways: whatever is answered is documented, and what is documented is answered to somebody.

use std::collections::BTreeSet;

use serde_json::json;

use super::document::Document;
use super::rows::{
    ADD_SNAPSHOT, ADD_VERSION, ASKED, BUNDLE, CHECKPOINT, CHUNK, EVENTS, Ground, HEAD, MISSING,
    SEGMENT, SNAPSHOT_MEDIA, TRANSACTION, checkpoint_of, checkpoints, head_to, pushes, reads, row,
    tar, who, writes,
};
use crate::kit::{Answer, Connection, ROOT, Server, chunk, digest, transaction_json, user_id};

/// Statuses that no request gets from a server in good health.
const OF_TROUBLE: [u16; 3] = [500, 503, 507];

/// More header fields than any request may have.
const MANY: usize = 200;

/// What was answered so far: every answer is looked up in the document.
struct Witness {
    document: Document,
    seen: BTreeSet<(String, String, u16)>,
}

impl Witness {
    fn new() -> Self {
        Self {
            document: Document::of_the_source(),
            seen: BTreeSet::new(),
        }
    }

    /// This operation has answered like this.
    #[track_caller]
    fn sees(&mut self, path: &str, method: &str, answer: &Answer) {
        if let Err(why) = self.document.foretells(path, method, answer) {
            panic!("{method} {path}: {why}: {answer:?}");
        }
        self.seen
            .insert((path.to_owned(), method.to_owned(), answer.status));
    }

    /// What is documented, and has not been seen, although it takes no trouble.
    fn unseen(&self) -> Vec<(String, String, u16)> {
        let responses = self.document.each_response().into_iter();
        responses
            .map(|(path, method, status, _)| (path, method, status))
            .filter(|response| !self.seen.contains(response) && !OF_TROUBLE.contains(&response.2))
            .collect()
    }
}

/// What any operation answers, whatever it is about: asked in a way that no endpoint sees.
fn asks_what_all_refuse(ground: &Ground, witness: &mut Witness) {
    let document = witness.document.clone();
    for (path, method) in document.operations() {
        let url = ground.url(&path);
        let mut client = ground.server.client();
        let ada = user_id("ada");
        let mut headers = vec![("content-encoding", "gzip")];
        headers.extend(who(&path, &ada));
        let encoded = client.request(&method, &url, &headers, None);
        witness.sees(&path, &method, &encoded.expect(415));

        let many = format!(
            "{method} {url} HTTP/1.1\r\nhost: x\r\n{}\r\n",
            "x: y\r\n".repeat(MANY)
        );
        let answer = ground.tell(&method, &many).expect(431);
        witness.sees(&path, &method, &answer);

        let broken = format!("{method} {url} HTTP/1.1\r\nhost x\r\n\r\n");
        let answer = ground.tell(&method, &broken).expect(400);
        witness.sees(&path, &method, &answer);

        let foreign = [("origin", "https://elsewhere.example")];
        let answer = client.request(&method, &url, &foreign, None).expect(403);
        witness.sees(&path, &method, &answer);
        let rebound = format!("{method} {url} HTTP/1.1\r\nhost: x\r\norigin: http://x\r\n\r\n");
        let answer = ground.tell(&method, &rebound).expect(421);
        witness.sees(&path, &method, &answer);

        if let Some(named) = who(&path, "ada") {
            for headers in [&[][..], &[named]] {
                let answer = client.request(&method, &url, headers, None).expect(400);
                witness.sees(&path, &method, &answer);
            }
        }
        if path.contains("{user}") {
            let nobody = url.replace(&user_id("ada"), "-");
            let answer = client.request(&method, &nobody, &[], None).expect(401);
            witness.sees(&path, &method, &answer);
            let url = url.replace(&user_id("ada"), "ada");
            let answer = client.request(&method, &url, &[], None).expect(400);
            witness.sees(&path, &method, &answer);
        }
    }
    for (path, methods) in document.paths() {
        for other in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
            if methods.contains(other) {
                continue;
            }
            let ada = user_id("ada");
            let headers = Vec::from_iter(who(path, &ada));
            let answer = (ground.server.client())
                .request(other, &ground.url(path), &headers, None)
                .expect(405);
            for method in &methods {
                // What HEAD would be told has no body; this has.
                let told = if other == "HEAD" { "HEAD" } else { method };
                if told == "HEAD" && method != "HEAD" {
                    continue;
                }
                witness.sees(path, method, &answer);
            }
        }
    }
}

/// The media type of a body that this path takes.
fn media_of(path: &str) -> &'static str {
    match path {
        ADD_SNAPSHOT => SNAPSHOT_MEDIA,
        _ => SEGMENT,
    }
}

/// Where the head of a request does not come to its end, and where the user is not let in.
fn asks_other_servers(witness: &mut Witness) {
    let operations = witness.document.operations();
    let hasty = Ground::lay(&["--head-timeout", "1s"]);
    let mut slow = Vec::new();
    for (path, method) in operations.clone() {
        let mut connection = Connection::open(hasty.server.address()).unwrap();
        let url = hasty.url(&path);
        connection
            .send(format!("{method} {url} HTTP/1.1\r\n"))
            .unwrap();
        slow.push((path, method, connection));
    }
    for (path, method, mut connection) in slow {
        let answer = connection.answer(&method).unwrap().expect(408);
        witness.sees(&path, &method, &answer);
    }
    let ben = user_id("ben");
    let headers = [
        ("x-client-id", ben.as_str()),
        ("content-type", SNAPSHOT_MEDIA),
    ];
    let url = hasty.url(ADD_SNAPSHOT);
    let answer = (hasty.server.client()).request("POST", &url, &headers, Some(b"x"));
    witness.sees(ADD_SNAPSHOT, "POST", &answer.expect(404));
    let strict = Server::with(&["--new-users", "deny"]);
    let about_users = operations
        .iter()
        .filter(|(path, _)| path.contains("{user}") || who(path, "").is_some());
    for (path, method) in about_users {
        let body = match (method.as_str(), path.as_str()) {
            ("PUT", CHUNK) => Some("milk".to_owned()),
            ("PUT", TRANSACTION) => Some(transaction_json(ROOT, &[])),
            ("PUT", CHECKPOINT) => Some(checkpoint_of(&hasty.first, &[])),
            ("PUT", HEAD) => Some(head_to(&hasty.first)),
            ("POST", MISSING | ASKED) => Some("[]".to_owned()),
            ("POST", BUNDLE) => Some(String::from_utf8(tar(&[])).unwrap()),
            ("POST", ADD_VERSION | ADD_SNAPSHOT) => Some("milk".to_owned()),
            _ => None,
        };
        let (url, body) = (hasty.url(path), body.as_deref().map(str::as_bytes));
        let ada = user_id("ada");
        let mut headers = Vec::from_iter(who(path, &ada));
        headers.push(("content-type", media_of(&path)));
        let answer = strict.client().request(method, &url, &headers, body);
        witness.sees(path, method, &answer.expect(403));
    }
}

#[test]
fn every_answer_is_documented_and_everything_documented_is_answered() {
    let mut witness = Witness::new();
    let flags = [
        "--uuid-chunk-ids",
        "--allow-delete",
        "--max-chunk-bytes",
        "4KiB",
    ];
    let ground = Ground::lay(&flags);
    asks_what_all_refuse(&ground, &mut witness);
    asks_other_servers(&mut witness);
    let rows = [
        reads(&ground),
        checkpoints(&ground),
        writes(&ground),
        pushes(&ground),
    ];
    for row in rows.into_iter().flatten() {
        let answer = ground.ask(&row).expect(row.status);
        witness.sees(row.template, row.method, &answer);
    }
    let unseen = witness.unseen();
    assert!(
        unseen.is_empty(),
        "documented, but not answered: {unseen:?}"
    );
}

/// The statuses of trouble that a test can make: a damaged file, a full store, too many who wait.
#[test]
fn trouble_is_answered_as_documented() {
    let mut witness = Witness::new();
    let ground = Ground::lay(&["--max-user-files", "40", "--max-waiters", "1"]);
    let events = ground.url(EVENTS);
    let mut waits = Connection::open(ground.server.address()).unwrap();
    waits
        .send(format!("GET {events} HTTP/1.1\r\nhost: x\r\n\r\n"))
        .unwrap();
    waits.answer("HEAD").unwrap().expect(200);
    witness.sees(EVENTS, "GET", &ground.ask(&row("GET", EVENTS, 503)));
    let stored = |number: u32| {
        let chunk = chunk(number.to_string());
        let put = row("PUT", CHUNK, 507).at(format!("/0.1/{{user}}/chunks/{}", chunk.id));
        ground.ask(&put.body(chunk.bytes))
    };
    // What the user has is counted beside the first uploads: until then there is room for more.
    let full = (0..5000).map(stored).find(|answer| answer.status != 201);
    witness.sees(
        CHUNK,
        "PUT",
        &full.expect("the count comes to its end").expect(507),
    );

    let head = ground.server.folder("ada").join("HEAD");
    std::fs::write(head, "damaged\n").unwrap();
    for (path, method) in witness.document.operations() {
        let body = matches!(method.as_str(), "PUT" | "POST").then_some(b"[]".as_slice());
        let ada = user_id("ada");
        let mut headers = Vec::from_iter(who(&path, &ada));
        if (path.contains("{user}") || !headers.is_empty()) && path != EVENTS {
            let mut client = ground.server.client();
            headers.push(("content-type", media_of(&path)));
            let answer = client.request(&method, &ground.url(&path), &headers, body);
            witness.sees(&path, &method, &answer);
        }
    }
    let seen = witness.seen.iter().map(|(_, _, status)| *status);
    let seen: BTreeSet<u16> = seen.filter(|status| OF_TROUBLE.contains(status)).collect();
    assert_eq!(seen, OF_TROUBLE.into());
}

/// What the test above stands on: a document that leaves something out, or says what is not so, is caught.
#[test]
fn a_document_that_is_not_true_is_noticed() {
    let ground = Ground::lay(&[]);
    let answer = ground.ask(&row("GET", HEAD, 200)).expect(200);
    let absent = format!("/0.1/{{user}}/chunks/{}", digest(b"absent"));
    let refused = ground.ask(&row("GET", CHUNK, 404).at(absent)).expect(404);
    let is_true = |document: &Document| {
        document
            .foretells(HEAD, "GET", &answer)
            .and_then(|()| document.foretells(CHUNK, "GET", &refused))
    };
    let document = Document::of_the_source();
    assert_eq!(is_true(&document), Ok(()));

    let head = "/paths/~10.1~1{user}~1head/get/responses";
    let components = "/components";
    for (place, name) in [
        (head.to_owned(), "200"),
        (
            "/paths/~10.1~1{user}~1chunks~1{chunk}/get/responses".to_owned(),
            "404",
        ),
        (
            format!("{components}/responses/Head/content"),
            "application/json",
        ),
        (format!("{components}/schemas/Head/properties"), "seq"),
        (format!("{components}/schemas/Problem/properties"), "detail"),
    ] {
        let mut changed = document.clone();
        let place = changed
            .0
            .pointer_mut(&place)
            .unwrap()
            .as_object_mut()
            .unwrap();
        assert!(place.remove(name).is_some(), "{name}");
        assert!(is_true(&changed).is_err(), "{name} is left out unnoticed");
    }
    for (place, other) in [
        ("schemas/Head/properties/seq", json!({"type": "string"})),
        ("schemas/TransactionId/pattern", json!("^[0-9a-f]{64}$")),
        ("headers/ETag/schema/pattern", json!("^W/")),
        (
            "schemas/UnknownChunkProblem/allOf/1/properties/code/enum",
            json!(["range"]),
        ),
    ] {
        let mut changed = document.clone();
        let place = format!("{components}/{place}");
        *changed.0.pointer_mut(&place).unwrap() = other;
        assert!(is_true(&changed).is_err(), "{place} is changed unnoticed");
    }
}
