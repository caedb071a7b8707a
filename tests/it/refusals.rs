use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kit::{
    Answer, Chunk, Client, Connection, ROOT, Server, chunk, digest, transaction_id,
    transaction_json, tree, user_id,
};

/// A request that must be refused, and how. `body` of `None` is a request without one.
struct Row {
    what: &'static str,
    method: &'static str,
    path: String,
    headers: &'static [(&'static str, &'static str)],
    body: Option<Vec<u8>>,
    status: u16,
    code: &'static str,
}

fn row(
    what: &'static str,
    (method, path): (&'static str, impl Into<String>),
    body: impl AsRef<[u8]>,
    (status, code): (u16, &'static str),
) -> Row {
    Row {
        what,
        method,
        path: path.into(),
        headers: &[],
        body: (method != "GET").then(|| body.as_ref().to_vec()),
        status,
        code,
    }
}

/// What a table's rows stand on: a chain of two transactions, and a pending one with a child.
struct Ground {
    server: Server,
    user: String,
    stored: Chunk,
    first: String,
    second: String,
    pending: String,
    child: String,
}

impl Ground {
    fn lay(flags: &[&str]) -> Self {
        let server = Server::with(flags);
        let mut device = server.device("ada");
        let stored = chunk("stored");
        let [first, second, pending, child] =
            ["first", "second", "pending", "child"].map(transaction_id);
        device.commit(&first, ROOT, &[&stored]);
        device.commit(&second, &first, &[]);
        device.put_transaction(&pending, &second, &[]).expect(201);
        device.put_transaction(&child, &pending, &[]).expect(201);
        // What was committed leaves incoming/ after its answer, and nothing else may move later on.
        let incoming = server.folder("ada").join("incoming");
        let deadline = Instant::now() + Duration::from_secs(10);
        while tree(&incoming)
            .values()
            .filter(|look| look.kind == 'f')
            .count()
            > 2
        {
            assert!(Instant::now() < deadline, "{:?}", tree(&incoming));
            std::thread::sleep(Duration::from_millis(5));
        }
        Self {
            server,
            user: user_id("ada"),
            stored,
            first,
            second,
            pending,
            child,
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/0.1/{}/{rest}", self.user)
    }

    /// Asks what the row says; the refusal must be well formed, tell no secret and move nothing.
    fn refuse(&self, client: &mut Client, row: &Row) -> Answer {
        let before = tree(&self.server.data());
        let answer = client
            .attempt(row.method, &row.path, row.headers, row.body.as_deref())
            .unwrap_or_else(|error| panic!("{}: {error}", row.what));
        if row.method == "HEAD" {
            assert_eq!(answer.status, row.status, "{}", row.what);
            return answer;
        }
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (row.status, Some(row.code)),
            "{}: {}",
            row.what,
            answer.text()
        );
        let answer = answer.expect_refusal(row.status, row.code);
        let said = answer.text();
        for secret in [
            self.user.as_str(),
            &self.user[9..],
            self.server.data().to_str().unwrap(),
            "users/",
            "incoming",
        ] {
            assert!(
                !said.contains(secret),
                "{}: {said} holds {secret}",
                row.what
            );
        }
        assert_eq!(
            tree(&self.server.data()),
            before,
            "{}: something moved",
            row.what
        );
        answer
    }
}

/// Every refusal that needs no special server: a row each.
fn table(ground: &Ground) -> Vec<Row> {
    let Ground {
        user,
        stored,
        first,
        second,
        pending,
        child,
        ..
    } = ground;
    let at = |rest: &str| ground.path(rest);
    let absent = chunk("absent");
    let new = transaction_id("new");
    let transaction = at(&format!("transactions/{new}"));
    let put_new = ("PUT", transaction.as_str());
    let plain = transaction_json(second, &[]);
    let malformed = (400, "malformed-id");
    let bad_json = (400, "malformed-json");
    let invalid = (400, "invalid-transaction");
    let bad_query = (400, "bad-query");
    let head_to = |id: &str| json!({ "head": id }).to_string();
    let listing = |query: &str| ("GET", at(&format!("transactions?{query}")));

    let mut rows = vec![
        // PUT head, in the order in which the reasons are looked for.
        row(
            "an advance to something nobody uploaded",
            ("PUT", at("head")),
            head_to(&new),
            (409, "unknown-transaction"),
        ),
        row(
            "an advance to HEAD itself",
            ("PUT", at("head")),
            head_to(second),
            (409, "not-a-descendant"),
        ),
        row(
            "an advance backwards",
            ("PUT", at("head")),
            head_to(first),
            (409, "not-a-descendant"),
        ),
        row(
            "an advance to the root",
            ("PUT", at("head")),
            head_to(ROOT),
            (409, "not-a-descendant"),
        ),
        row(
            "an advance to one that has a child",
            ("PUT", at("head")),
            head_to(pending),
            (409, "has-descendants"),
        ),
        row(
            "an advance without a body",
            ("PUT", at("head")),
            "",
            bad_json,
        ),
        row(
            "an advance that is no object",
            ("PUT", at("head")),
            "[]",
            bad_json,
        ),
        row(
            "an advance without head",
            ("PUT", at("head")),
            "{}",
            bad_json,
        ),
        row(
            "an advance to a number",
            ("PUT", at("head")),
            r#"{"head":1}"#,
            bad_json,
        ),
        row(
            "an advance with more than head",
            ("PUT", at("head")),
            format!(r#"{{"head":"{child}","force":true}}"#),
            bad_json,
        ),
        row(
            "an advance that says head twice",
            ("PUT", at("head")),
            format!(r#"{{"head":"{child}","head":"{child}"}}"#),
            bad_json,
        ),
        row(
            "an advance with something after it",
            ("PUT", at("head")),
            format!(r#"{{"head":"{child}"}} x"#),
            bad_json,
        ),
        row(
            "an advance that is cut off",
            ("PUT", at("head")),
            format!(r#"{{"head":"{child}""#),
            bad_json,
        ),
        row(
            "an advance that is not UTF-8",
            ("PUT", at("head")),
            [b"{\"head\":\"".as_slice(), b"\xff\"}"].concat(),
            bad_json,
        ),
        row(
            "an advance in more bytes than any needs",
            ("PUT", at("head")),
            format!(r#"{{"head":"{child}"{}}}"#, " ".repeat(4096)),
            (413, "too-large"),
        ),
        row(
            "an advance to what is no id",
            ("PUT", at("head")),
            head_to("newest"),
            malformed,
        ),
        row(
            "an advance to an id in upper case",
            ("PUT", at("head")),
            head_to(&child.to_uppercase()),
            malformed,
        ),
        // GET transactions.
        row(
            "a listing from something nobody uploaded",
            listing(&format!("from={new}")),
            "",
            (404, "unknown-transaction"),
        ),
        row(
            "a listing from a pending transaction",
            listing(&format!("from={pending}")),
            "",
            (404, "unknown-transaction"),
        ),
        row(
            "a listing from what is no id",
            listing("from=first"),
            "",
            malformed,
        ),
        row("a listing from nothing", listing("from="), "", malformed),
        row("a listing of none", listing("limit=0"), "", bad_query),
        row(
            "a listing of too many",
            listing("limit=1000001"),
            "",
            bad_query,
        ),
        row(
            "a listing of less than none",
            listing("limit=-1"),
            "",
            bad_query,
        ),
        row(
            "a listing of a number that no integer holds",
            listing("limit=99999999999999999999999"),
            "",
            bad_query,
        ),
        row("a listing of a few", listing("limit=few"), "", bad_query),
        row(
            "a listing with two limits",
            listing("limit=1&limit=1"),
            "",
            bad_query,
        ),
        row(
            "a listing with two starts",
            listing(&format!("from={ROOT}&from={first}")),
            "",
            bad_query,
        ),
        // PUT transactions.
        row("a transaction without a body", put_new, "", bad_json),
        row(
            "a transaction that is cut off",
            put_new,
            &plain[..plain.len() - 1],
            bad_json,
        ),
        row(
            "a transaction with an unknown field",
            put_new,
            format!(r#"{{"parent":"{second}","chunks":[],"colour":"red"}}"#),
            bad_json,
        ),
        row(
            "a transaction without a parent",
            put_new,
            r#"{"chunks":[]}"#,
            bad_json,
        ),
        row(
            "a transaction without chunks",
            put_new,
            format!(r#"{{"parent":"{second}"}}"#),
            bad_json,
        ),
        row(
            "a transaction whose chunks are no list",
            put_new,
            format!(r#"{{"parent":"{second}","chunks":{{}}}}"#),
            bad_json,
        ),
        row(
            "a transaction whose chunks are numbers",
            put_new,
            format!(r#"{{"parent":"{second}","chunks":[1]}}"#),
            bad_json,
        ),
        row(
            "a transaction whose seq is text",
            put_new,
            format!(r#"{{"parent":"{second}","chunks":[],"seq":"3"}}"#),
            bad_json,
        ),
        row(
            "a transaction deep in brackets",
            put_new,
            "[".repeat(100_000),
            bad_json,
        ),
        row(
            "a transaction whose parent is no id",
            put_new,
            transaction_json("parent", &[]),
            malformed,
        ),
        row(
            "a transaction with a chunk that is no id",
            put_new,
            transaction_json(second, &["chunk"]),
            malformed,
        ),
        row(
            "a transaction with a chunk in upper case",
            put_new,
            transaction_json(second, &[&stored.id.to_uppercase()]),
            malformed,
        ),
        row(
            "a transaction with a chunk called by a uuid",
            put_new,
            transaction_json(second, &[&new]),
            malformed,
        ),
        row(
            "a transaction with the root's id",
            ("PUT", at(&format!("transactions/{ROOT}"))),
            &plain,
            invalid,
        ),
        row(
            "a transaction that is its own parent",
            put_new,
            transaction_json(&new, &[]),
            invalid,
        ),
        row(
            "a transaction with another id in its body",
            put_new,
            format!(r#"{{"id":"{child}","parent":"{second}","chunks":[]}}"#),
            invalid,
        ),
        row(
            "a transaction with another number than its parent's plus one",
            put_new,
            format!(r#"{{"parent":"{second}","chunks":[],"seq":4}}"#),
            invalid,
        ),
        row(
            "a transaction of more chunks than there may be",
            put_new,
            transaction_json(second, &vec![stored.id.as_str(); 100_001]),
            invalid,
        ),
        row(
            "a transaction of more bytes than there may be",
            put_new,
            format!(
                r#"{{"parent":"{second}",{}"chunks":[]}}"#,
                " ".repeat(16 << 20)
            ),
            invalid,
        ),
        row(
            "a transaction after something nobody uploaded",
            put_new,
            transaction_json(&transaction_id("nowhere"), &[]),
            (409, "unknown-parent"),
        ),
        row(
            "a pending transaction with another parent",
            ("PUT", at(&format!("transactions/{pending}"))),
            transaction_json(first, &[]),
            (409, "transaction-exists"),
        ),
        row(
            "a pending transaction with other chunks",
            ("PUT", at(&format!("transactions/{pending}"))),
            transaction_json(second, &[&stored.id]),
            (409, "transaction-exists"),
        ),
        row(
            "a committed transaction with other chunks",
            ("PUT", at(&format!("transactions/{first}"))),
            transaction_json(ROOT, &[]),
            (409, "transaction-exists"),
        ),
        row(
            "a known transaction after an unknown parent: the parent is looked at first",
            ("PUT", at(&format!("transactions/{first}"))),
            transaction_json(&transaction_id("nowhere"), &[]),
            (409, "unknown-parent"),
        ),
        row(
            "a known transaction with chunks that are missing: whether it exists is looked at first",
            ("PUT", at(&format!("transactions/{first}"))),
            transaction_json(ROOT, &[&absent.id]),
            (409, "transaction-exists"),
        ),
        row(
            "a transaction with a chunk that nobody uploaded",
            put_new,
            transaction_json(second, &[&stored.id, &absent.id]),
            (404, "missing-chunks"),
        ),
        // GET transactions/{id}.
        row(
            "something nobody uploaded",
            ("GET", at(&format!("transactions/{new}"))),
            "",
            (404, "unknown-transaction"),
        ),
        row(
            "a pending transaction",
            ("GET", at(&format!("transactions/{pending}"))),
            "",
            (404, "unknown-transaction"),
        ),
        // Chunks.
        row(
            "a chunk that nobody uploaded",
            ("GET", at(&format!("chunks/{}", absent.id))),
            "",
            (404, "unknown-chunk"),
        ),
        row(
            "other bytes than the digest's",
            ("PUT", at(&format!("chunks/{}", absent.id))),
            "present",
            (400, "digest-mismatch"),
        ),
        row(
            "other bytes than the digest's where the chunk is there",
            ("PUT", at(&format!("chunks/{}", stored.id))),
            "present",
            (400, "digest-mismatch"),
        ),
        row(
            "no bytes under the digest of some",
            ("PUT", at(&format!("chunks/{}", absent.id))),
            "",
            (400, "digest-mismatch"),
        ),
        // A chunk is not called by a uuid unless the operator said so.
        row(
            "a chunk called by a uuid",
            ("PUT", at(&format!("chunks/{new}"))),
            "bytes",
            malformed,
        ),
        row(
            "a chunk asked for by a uuid",
            ("GET", at(&format!("chunks/{new}"))),
            "",
            malformed,
        ),
        // The user.
        row(
            "a deletion that the operator has not allowed",
            ("DELETE", at("")),
            "",
            (403, "delete-disabled"),
        ),
        row(
            "the same without the slash",
            ("DELETE", at("").trim_end_matches('/')),
            "",
            (403, "delete-disabled"),
        ),
        // Places that are not there.
        row(
            "no route at the top",
            ("GET", "/favicon.ico"),
            "",
            (404, "not-found"),
        ),
        row(
            "no route for a user",
            ("GET", at("tail")),
            "",
            (404, "not-found"),
        ),
        row(
            "another version",
            ("GET", format!("/0.2/{user}/head")),
            "",
            (404, "not-found"),
        ),
        row(
            "something below HEAD",
            ("GET", at("head/head")),
            "",
            (404, "not-found"),
        ),
        row(
            "something below a transaction",
            ("GET", at(&format!("transactions/{first}/chunks"))),
            "",
            malformed,
        ),
        row(
            "the user's folder from above",
            ("GET", at("../")),
            "",
            (404, "not-found"),
        ),
        row(
            "a place upwards, upload",
            ("PUT", at("chunks/../../HEAD")),
            "x",
            malformed,
        ),
    ];
    // Every verb that a path does not have.
    for (method, path) in [
        ("POST", at("head")),
        ("DELETE", at("head")),
        ("PUT", at("transactions")),
        ("POST", at(&format!("transactions/{first}"))),
        ("DELETE", at(&format!("transactions/{first}"))),
        ("DELETE", at(&format!("chunks/{}", stored.id))),
        ("PATCH", at(&format!("chunks/{}", stored.id))),
        ("PUT", at("")),
        ("POST", "/".into()),
        ("OPTIONS", at("head")),
    ] {
        rows.push(row(
            "a wrong method",
            (method, path),
            "",
            (405, "method-not-allowed"),
        ));
    }
    // No body may come encoded, whatever it would decode to.
    for coding in ["gzip", "deflate", "br", "zstd", "identity, gzip", "x"] {
        for (path, body) in [
            (at("head"), head_to(child)),
            (transaction.clone(), plain.clone()),
            (at(&format!("chunks/{}", absent.id)), "absent".to_owned()),
        ] {
            let mut encoded = row(
                "an encoded body",
                ("PUT", path),
                body,
                (415, "encoding-unsupported"),
            );
            encoded.headers = Vec::leak(vec![("content-encoding", coding)]);
            rows.push(encoded);
        }
    }
    // A range that the chunk does not have.
    let mut range = row(
        "a range past the end",
        ("GET", at(&format!("chunks/{}", stored.id))),
        "",
        (416, "range"),
    );
    range.headers = &[("range", "bytes=6-")];
    rows.push(range);
    rows
}

#[test]
fn every_refusal_has_its_status_and_code_and_moves_nothing() {
    let ground = Ground::lay(&[]);
    let mut client = ground.server.client();
    for row in table(&ground) {
        let answer = ground.refuse(&mut client, &row);
        match row.code {
            "unknown-transaction" | "not-a-descendant" | "has-descendants"
                if row.method == "PUT" =>
            {
                let problem = answer.json();
                assert_eq!(problem["head"], ground.second.as_str(), "{}", row.what);
                assert_eq!(problem["seq"], 2, "{}", row.what);
            }
            "method-not-allowed" => {
                let allow = answer.header("allow").expect("Allow says what would do");
                assert!(!allow.is_empty() && !allow.contains(row.method), "{allow}");
            }
            "range" => assert_eq!(answer.header("content-range"), Some("bytes */6")),
            _ => {}
        }
    }
}

#[test]
fn the_wrong_method_is_told_the_right_ones() {
    let ground = Ground::lay(&[]);
    let mut client = ground.server.client();
    for (path, method, allowed) in [
        ("", "POST", "DELETE GET HEAD"),
        ("head", "POST", "GET HEAD PUT"),
        ("transactions", "POST", "GET HEAD"),
        (&format!("transactions/{ROOT}"), "POST", "GET HEAD PUT"),
        (
            &format!("chunks/{}", ground.stored.id),
            "POST",
            "GET HEAD PUT",
        ),
    ] {
        let answer = client
            .request(method, &ground.path(path), &[], None)
            .expect_refusal(405, "method-not-allowed");
        let allow = answer.header("allow").expect("Allow is there");
        let methods: BTreeSet<&str> = allow.split(',').map(str::trim).collect();
        assert_eq!(
            methods,
            allowed.split(' ').collect::<BTreeSet<_>>(),
            "{path}"
        );
    }
}

#[test]
fn a_missing_chunk_is_named_once_and_in_order() {
    let ground = Ground::lay(&[]);
    let mut device = ground.server.device("ada");
    let [a, b] = ["a", "b"].map(chunk);
    let missing = device
        .put_transaction(
            &transaction_id("new"),
            ROOT,
            &[&b.id, &ground.stored.id, &a.id, &b.id],
        )
        .expect_refusal(404, "missing-chunks")
        .json();
    assert_eq!(missing["missing"], json!([b.id, a.id]));
}

/// Everything that uuid and hex libraries read, and that is not the id's one spelling.
fn misspelt(uuid: &str) -> Vec<String> {
    let bare = uuid.replace('-', "");
    vec![
        uuid.to_uppercase(),
        format!("{{{uuid}}}"),
        format!("urn:uuid:{uuid}"),
        bare.clone(),
        bare.to_uppercase(),
        uuid[1..].to_owned(),
        format!("{uuid}0"),
        format!("{}g", &uuid[..35]),
        format!("{}-{}", &uuid[..7], &uuid[8..]),
        format!("%{:02x}{}", uuid.as_bytes()[0], &uuid[1..]),
        format!("{}%2d{}", &uuid[..8], &uuid[9..]),
        format!("{uuid}%00"),
        format!("{uuid}%20"),
        format!("%20{uuid}"),
        format!("..%2f{uuid}"),
        format!("..%2F{uuid}"),
        format!("%2e%2e%2f{uuid}"),
        format!("{uuid}%2f.."),
        format!("..%5c{uuid}"),
        "%00".to_owned(),
        "%".to_owned(),
        "%zz".to_owned(),
        "..%2f..%2f..%2fetc%2fpasswd".to_owned(),
        "%c3%a4".to_owned(),
        "~".to_owned(),
        "...".to_owned(),
    ]
}

#[test]
fn an_id_has_one_spelling() {
    let ground = Ground::lay(&[]);
    let mut client = ground.server.client();
    let refused = |client: &mut Client, method: &'static str, path: String| {
        let row = row(
            "a misspelt id",
            (method, path.clone()),
            "x",
            (400, "malformed-id"),
        );
        let answer = ground.refuse(client, &row);
        assert_eq!(answer.status, 400, "{path}");
    };
    for spelling in misspelt(&ground.user) {
        for rest in ["", "head", "transactions", &format!("transactions/{ROOT}")] {
            refused(&mut client, "GET", format!("/0.1/{spelling}/{rest}"));
        }
        refused(&mut client, "PUT", format!("/0.1/{spelling}/head"));
        refused(&mut client, "DELETE", format!("/0.1/{spelling}/"));
    }
    for spelling in misspelt(&ground.first) {
        for method in ["GET", "PUT"] {
            let path = ground.path(&format!("transactions/{spelling}"));
            refused(&mut client, method, path);
        }
        let path = ground.path(&format!("transactions?from={spelling}"));
        refused(&mut client, "GET", path);
    }
    let digest = &ground.stored.id;
    for spelling in [
        digest.to_uppercase(),
        digest[1..].to_owned(),
        format!("{digest}0"),
        format!("{}g", &digest[1..]),
        format!("%{:02x}{}", digest.as_bytes()[0], &digest[1..]),
        format!("{digest}%00"),
        format!("..%2f{}", &digest[2..]),
        format!("..%2f{digest}"),
        format!("{}%2f{}", &digest[..2], &digest[3..]),
        "%00".repeat(64),
        "0x".to_owned() + &digest[2..],
        "HEAD".to_owned(),
    ] {
        for method in ["GET", "PUT"] {
            refused(
                &mut client,
                method,
                ground.path(&format!("chunks/{spelling}")),
            );
        }
    }
}

#[test]
fn bytes_that_are_no_request_are_refused_and_the_server_goes_on() {
    let ground = Ground::lay(&[]);
    let path = ground.path("head");
    for bytes in [
        format!(
            "GET /0.1/{}\0/head HTTP/1.1\r\nhost: x\r\n\r\n",
            ground.user
        ),
        format!(
            "GET /0.1/{}/chunks/\0 HTTP/1.1\r\nhost: x\r\n\r\n",
            ground.user
        ),
        "GET\r\n\r\n".to_owned(),
        format!("PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n{{}}"),
        format!(
            "PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"
        ),
        format!("PUT {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
    ] {
        let mut connection = Connection::open(ground.server.address()).unwrap();
        connection.send(&bytes).unwrap();
        // What is no HTTP gets a 400 or a closed connection; it is never taken for something else.
        if let Ok(answer) = connection.answer("GET") {
            assert_eq!(answer.status, 400, "{bytes:?}: {answer:?}");
        }
    }
    let mut device = ground.server.device("ada");
    assert_eq!(device.head(), (ground.second.clone(), 2));
}

#[test]
fn a_chunk_over_the_limit_is_too_large_however_it_is_sent() {
    let ground = Ground::lay(&["--max-chunk-bytes", "1KiB"]);
    let mut client = ground.server.client();
    let large = chunk(vec![b'x'; 1025]);
    let path = ground.path(&format!("chunks/{}", large.id));
    let too_large = row(
        "a byte too many",
        ("PUT", path.clone()),
        &large.bytes,
        (413, "too-large"),
    );
    ground.refuse(&mut client, &too_large);

    // No length announced.
    let mut connection = Connection::open(ground.server.address()).unwrap();
    connection
        .send(format!(
            "PUT {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        ))
        .unwrap();
    for _ in 0..41 {
        connection
            .send(format!("19\r\n{}\r\n", "x".repeat(25)))
            .unwrap();
    }
    connection.send("0\r\n\r\n").unwrap();
    connection
        .answer("PUT")
        .unwrap()
        .expect_refusal(413, "too-large");

    // The limit itself is legal.
    let fits = chunk(vec![b'x'; 1024]);
    let mut device = ground.server.device("ada");
    device.put_chunk(&fits).expect(201);
}

#[test]
fn an_announced_length_over_the_limit_is_not_waited_for() {
    let ground = Ground::lay(&["--max-chunk-bytes", "1KiB"]);
    let mut connection = Connection::open(ground.server.address()).unwrap();
    let path = ground.path(&format!("chunks/{}", digest(b"never sent")));
    let asked = Instant::now();
    connection
        .send(format!(
            "PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1099511627776\r\n\
             expect: 100-continue\r\n\r\n"
        ))
        .unwrap();
    let mut answer = connection.answer("PUT").unwrap();
    if answer.status == 100 {
        answer = connection.answer("PUT").unwrap();
    }
    answer.expect_refusal(413, "too-large");
    // At most the time that is given to a body that is thrown away (5 s), and some room.
    assert!(asked.elapsed() < Duration::from_secs(25));
}

#[test]
fn there_is_a_bound_on_what_is_pending() {
    let server = Server::with(&["--max-pending-transactions", "3"]);
    let mut device = server.device("ada");
    let ids: Vec<String> = (0..4).map(|n| transaction_id(&format!("{n}"))).collect();
    for id in &ids[..3] {
        device.put_transaction(id, ROOT, &[]).expect(201);
    }
    let refused = device
        .put_transaction(&ids[3], ROOT, &[])
        .expect_refusal(507, "quota-exceeded")
        .json();
    assert_eq!(
        (&refused["limit"], &refused["used"]),
        (&json!(3), &json!(3))
    );
    // A replay is none more.
    device.put_transaction(&ids[0], ROOT, &[]).expect(201);
    device.put_head(&ids[1]).expect(204);
    device.put_transaction(&ids[3], &ids[1], &[]).expect(201);
}

#[test]
fn a_user_whom_the_operator_does_not_know_is_turned_away() {
    let server = Server::with(&["--new-users", "deny"]);
    let mut device = server.device("stranger");
    let some = chunk("some");
    let id = transaction_id("first");
    device.put_chunk(&some).expect_refusal(403, "unknown-user");
    device
        .put_transaction(&id, ROOT, &[])
        .expect_refusal(403, "unknown-user");
    device.put_head(&id).expect_refusal(403, "unknown-user");
    for rest in [
        "",
        "head",
        "transactions",
        &format!("transactions/{ROOT}"),
        &format!("chunks/{}", some.id),
    ] {
        device.get(rest).expect_refusal(403, "unknown-user");
    }
    assert!(!server.folder("stranger").exists());
}

#[test]
fn a_folder_without_head_is_damaged_and_never_the_root() {
    let ground = Ground::lay(&[]);
    let mut device = ground.server.device("ada");
    let head = ground.server.folder("ada").join("HEAD");
    std::fs::remove_file(&head).unwrap();
    for rest in ["", "head", "transactions"] {
        let answer = device.get(rest).expect_refusal(500, "damaged");
        assert!(!answer.text().contains(&ground.user), "{}", answer.text());
        assert!(!answer.text().contains("users/"), "{}", answer.text());
    }
    device
        .put_head(&ground.child)
        .expect_refusal(500, "damaged");
    // What would be taken might go with the next try to copy.
    let just_started = ground.server.another();
    let mut its = just_started.device("ada");
    for bytes in [&b"new"[..], &[7; 1 << 20]] {
        let chunk = format!("chunks/{}", digest(bytes));
        its.put(&chunk, bytes).expect_refusal(500, "damaged");
        its.get(&chunk).expect_refusal(404, "unknown-chunk");
        let (path, ask) = (its.path("chunks/missing"), json!([digest(bytes)]));
        its.client
            .request("POST", &path, &[], Some(ask.to_string().as_bytes()))
            .expect_refusal(500, "damaged");
    }
    // Nor is one that holds no id.
    std::fs::write(&head, "").unwrap();
    device.get("head").expect_refusal(500, "damaged");
    std::fs::write(&head, format!("{}\n", ground.second)).unwrap();
    assert_eq!(device.head(), (ground.second.clone(), 2));
}

#[test]
fn what_is_no_request_is_refused_as_everything_else_is() {
    let ground = Ground::lay(&[]);
    let path = ground.path("head");
    let good = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let many: String = (0..120).map(|n| format!("a{n}: b\r\n")).collect();
    for (bad, status) in [
        ("G\x01T / HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        ("GET / HTTP/3.7\r\nhost: x\r\n\r\n", 400),
        ("GET /\r\nhost: x\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        ("GET /\u{fc} HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: x\r\na: \0\r\n\r\n", 400),
        ("GET / HTTP/1.1\nhost: x\n\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (&*format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n"), 431),
    ] {
        for after in [false, true] {
            let mut connection = Connection::open(ground.server.address()).unwrap();
            if after {
                connection.send(&good).unwrap();
                assert_eq!(connection.answer("GET").unwrap().status, 200);
            }
            connection.send(bad).unwrap();
            let refused = connection.answer("GET").unwrap();
            let refused = refused.expect_refusal(status, "malformed-request");
            assert_eq!(refused.header("connection"), Some("close"), "{bad:?}");
            assert!(connection.answer("GET").is_err(), "{bad:?}");
        }
    }
    // Bytes of ours that look like such a refusal are left alone.
    let mut device = ground.server.device("ada");
    let like = chunk("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    device.put_chunk(&like).expect(201);
    let get = device.get(&format!("chunks/{}", like.id));
    assert_eq!(get.expect(200).body, like.bytes);
}

#[test]
fn a_refusal_arrives_although_much_stands_behind_what_is_refused() {
    // Whoever is reset while it still sends may lose what it was answered.
    let server = Server::with(&["--head-timeout", "1s"]);
    let behind = vec![b'x'; 4 << 20];
    for head in ["nothing\r\n\r\n", "GET / HTTP/1.1\r\nhost: x\r\nx:\0"] {
        for _ in 0..5 {
            let mut connection = Connection::open(server.address()).unwrap();
            connection.send(head).unwrap();
            connection.send(&behind).unwrap();
            let refused = connection.answer("GET").unwrap();
            refused.expect_refusal(400, "malformed-request");
            assert!(connection.is_closed().unwrap());
        }
    }
}

#[test]
fn a_body_that_stalls_is_timed_out() {
    let ground = Ground::lay(&["--body-timeout", "1s"]);
    let chunk_path = ground.path(&format!("chunks/{}", digest(b"stalled")));
    let transaction_path = ground.path(&format!("transactions/{}", transaction_id("new")));
    let stalls: Vec<_> = [
        format!("PUT {chunk_path} HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\nsta"),
        format!(
            "PUT {chunk_path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nsta\r\n"
        ),
        format!("PUT {transaction_path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{"),
        format!(
            "PUT {} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n",
            ground.path("head")
        ),
    ]
    .into_iter()
    .map(|request| {
        let mut connection = Connection::open(ground.server.address()).unwrap();
        connection.send(&request).unwrap();
        (connection, Instant::now(), request)
    })
    .collect();
    for (mut connection, since, request) in stalls {
        let answer = connection
            .answer("PUT")
            .unwrap_or_else(|error| panic!("{error} {request}"));
        answer.expect_refusal(408, "timeout");
        let waited = since.elapsed();
        // A second for the stall; up to five are then given to a body that is thrown away.
        assert!(
            waited > Duration::from_millis(900) && waited < Duration::from_secs(25),
            "{waited:?} {request}"
        );
    }
    nothing_half_done(&ground);
}

#[test]
fn a_slow_body_is_not_a_stalled_one() {
    let ground = Ground::lay(&["--body-timeout", "1s"]);
    let slow = chunk("slow");
    let mut connection = Connection::open(ground.server.address()).unwrap();
    connection
        .send(format!(
            "PUT {} HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n",
            ground.path(&format!("chunks/{}", slow.id))
        ))
        .unwrap();
    for byte in &slow.bytes {
        std::thread::sleep(Duration::from_millis(500));
        connection.send([*byte]).unwrap();
    }
    connection.answer("PUT").unwrap().expect(201);
}

#[test]
fn a_refused_body_is_read_so_that_the_refusal_can_be() {
    let ground = Ground::lay(&["--max-chunk-bytes", "1KiB"]);
    let body = vec![b'x'; 1 << 20];
    let known = format!("chunks/{}", digest(&body));
    for (path, coding, status, code) in [
        (ground.path(&known), "gzip", 415, "encoding-unsupported"),
        (ground.path(&known), "", 413, "too-large"),
        (ground.path("chunks/x"), "", 400, "malformed-id"),
        (ground.path("nowhere"), "", 404, "not-found"),
        (ground.path("transactions"), "", 405, "method-not-allowed"),
        ("/0.1/x/head".to_owned(), "", 400, "malformed-id"),
    ] {
        for _ in 0..3 {
            let mut connection = Connection::open(ground.server.address()).unwrap();
            let mut request = format!(
                "PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n",
                body.len()
            );
            if !coding.is_empty() {
                request.push_str(&format!("content-encoding: {coding}\r\n"));
            }
            connection.send(request + "\r\n").unwrap();
            // All of it, as proxies do, before a look at the answer.
            connection
                .send(&body)
                .unwrap_or_else(|error| panic!("{code}: {error}"));
            connection
                .answer("PUT")
                .unwrap_or_else(|error| panic!("{code}: {error}"))
                .expect_refusal(status, code);
        }
    }
}

#[test]
fn a_refused_body_is_read_up_to_256_mib_and_for_five_seconds() {
    let ground = Ground::lay(&[]);
    let path = ground.path("chunks/x");
    let head = |framing: &str| format!("PUT {path} HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n");
    let piece = vec![b'x'; 1 << 20];
    let framed = [b"100000\r\n".as_slice(), &piece, b"\r\n"].concat();
    // All of it, as proxies do, before a look at the answer; and it goes on after it.
    let mut connection = Connection::open(ground.server.address()).unwrap();
    connection
        .send(head(&format!("content-length: {}", 256 << 20)))
        .unwrap();
    for _ in 0..256 {
        connection.send(&piece).unwrap();
    }
    let refused = connection.answer("PUT").unwrap();
    refused.expect_refusal(400, "malformed-id");
    connection.send(head("transfer-encoding: chunked")).unwrap();
    for _ in 0..64 {
        connection.send(&framed).unwrap();
    }
    connection.send("0\r\n\r\n").unwrap();
    let refused = connection.answer("PUT").unwrap();
    refused.expect_refusal(400, "malformed-id");

    // Beyond that it is answered, and not read on: more than the sockets hold cannot be sent.
    connection.send(head("transfer-encoding: chunked")).unwrap();
    let mut sent = 0;
    let since = Instant::now();
    while sent < 1 << 14 && connection.send(&framed).is_ok() {
        sent += 1;
        assert!(since.elapsed() < Duration::from_secs(60));
    }
    assert!((256..1 << 14).contains(&sent), "{sent} MiB");

    // Nor is anybody waited for: who says no more is answered.
    let mut connection = Connection::open(ground.server.address()).unwrap();
    let asked = Instant::now();
    connection.send(head("content-length: 10")).unwrap();
    let refused = connection.answer("PUT").unwrap();
    let refused = refused.expect_refusal(400, "malformed-id");
    assert_eq!(refused.header("connection"), Some("close"));
    let waited = asked.elapsed();
    assert!(waited > Duration::from_secs(4), "{waited:?}");
    assert!(waited < Duration::from_secs(25), "{waited:?}");
}

#[test]
fn head_moves_from_where_if_match_says_it_is_or_not_at_all() {
    let ground = Ground::lay(&[]);
    let mut device = ground.server.device("ada");
    let path = device.path("head");
    let mut put = |to: &str, tag: &str| {
        let body = json!({ "head": to }).to_string();
        let headers = [("if-match", tag)];
        (device.client).request("PUT", &path, &headers, Some(body.as_bytes()))
    };
    let [root, second] = [ROOT, &ground.second].map(|id| format!("\"{id}\""));
    for other in [
        "\"other\"",
        &root,
        &format!("W/{second}"),
        "",
        &ground.second,
    ] {
        let refused = put(&ground.child, other).expect_refusal(412, "precondition-failed");
        let refused = refused.json();
        assert_eq!(refused["head"], ground.second, "{other}");
        assert_eq!(refused["seq"], 2, "{other}");
        // It is asked first, whatever would be said of the rest.
        put(&ground.first, other).expect_refusal(412, "precondition-failed");
    }
    put(&ground.first, &second).expect_refusal(409, "not-a-descendant");
    put(&ground.child, &format!("{root}, {second}")).expect(204);
    put(&ground.child, &second).expect_refusal(412, "precondition-failed");
    put(&ground.child, "*").expect_refusal(409, "not-a-descendant");

    // Whom nobody knows has the root.
    let mut nobody = ground.server.device("nobody");
    let path = nobody.path("head");
    let body = json!({ "head": ground.first }).to_string();
    for (tag, status, code) in [
        (&second, 412, "precondition-failed"),
        (&root, 409, "unknown-transaction"),
    ] {
        (nobody.client)
            .request("PUT", &path, &[("if-match", tag)], Some(body.as_bytes()))
            .expect_refusal(status, code);
    }
    assert!(!ground.server.folder("nobody").exists());
}

#[test]
fn what_is_called_identity_is_no_encoding() {
    let ground = Ground::lay(&[]);
    let mut client = ground.server.client();
    for (n, coding) in [
        "identity",
        "Identity",
        "IDENTITY, identity",
        " identity ,",
        "",
    ]
    .into_iter()
    .enumerate()
    {
        let bytes = format!("plain {n}");
        let path = ground.path(&format!("chunks/{}", digest(bytes.as_bytes())));
        let headers = [("content-encoding", coding)];
        client
            .request("PUT", &path, &headers, Some(bytes.as_bytes()))
            .expect(201);
        client.request("GET", &path, &headers, None).expect(200);
    }
    for coding in [
        "gzip",
        "identity, gzip",
        "gzip, identity",
        "x-identity",
        "identity;q=1",
        "br",
    ] {
        let path = ground.path(&format!("chunks/{}", digest(b"plain")));
        client
            .request(
                "PUT",
                &path,
                &[("content-encoding", coding)],
                Some(b"plain"),
            )
            .expect_refusal(415, "encoding-unsupported");
    }
    let path = ground.path(&format!("chunks/{}", digest(b"plain")));
    let twice = [
        ("content-encoding", "identity"),
        ("content-encoding", "gzip"),
    ];
    client
        .request("PUT", &path, &twice, Some(b"plain"))
        .expect_refusal(415, "encoding-unsupported");
}

#[test]
fn two_slashes_side_by_side_are_pointed_at() {
    let ground = Ground::lay(&[]);
    let mut client = ground.server.client();
    for path in [
        format!("/{}", ground.path("head")),
        ground.path("/head"),
        ground.path(&format!("chunks//{}", ground.stored.id)),
        ground.path("/"),
        "//".to_owned(),
        "/0.1//head".to_owned(),
    ] {
        let refused = client.get(&path).expect_refusal(404, "not-found");
        assert!(
            refused.text().contains("two slashes"),
            "{path}: {}",
            refused.text()
        );
    }
    let plain = client
        .get(&ground.path("heads"))
        .expect_refusal(404, "not-found");
    assert!(!plain.text().contains("slashes"));
    // What is asked for behind a question mark is no path.
    client
        .get(&ground.path("transactions?from=//"))
        .expect_refusal(400, "malformed-id");
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    let ground = Ground::lay(&[]);
    let before = tree(&ground.server.data());
    let large = chunk(vec![b'x'; 1 << 20]);
    let path = ground.path(&format!("chunks/{}", large.id));
    let mut connections = Vec::new();
    for framing in ["content-length: 1048576", "transfer-encoding: chunked"] {
        for _ in 0..4 {
            let mut connection = Connection::open(ground.server.address()).unwrap();
            connection
                .send(format!(
                    "PUT {path} HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n"
                ))
                .unwrap();
            if framing.starts_with('t') {
                connection.send("80000\r\n").unwrap();
            }
            connection.send(&large.bytes[..1 << 19]).unwrap();
            connections.push(connection);
        }
    }
    let temporary = ground.server.folder("ada").join("incoming/tmp");
    let deadline = Instant::now() + Duration::from_secs(10);
    while tree(&temporary).len() < connections.len() {
        assert!(Instant::now() < deadline, "the uploads are not under way");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(connections);
    nothing_half_done(&ground);
    let mut device = ground.server.device("ada");
    device
        .get(&format!("chunks/{}", large.id))
        .expect_refusal(404, "unknown-chunk");
    assert!(tree(&ground.server.data()).keys().eq(before.keys()));
}

#[test]
fn a_refused_chunk_leaves_nothing_behind() {
    let ground = Ground::lay(&["--max-chunk-bytes", "1KiB"]);
    let mut device = ground.server.device("ada");
    let claimed = digest(b"claimed");
    device
        .put(&format!("chunks/{claimed}"), "other")
        .expect_refusal(400, "digest-mismatch");
    device
        .put(&format!("chunks/{claimed}"), vec![0; 4096])
        .expect_refusal(413, "too-large");
    nothing_half_done(&ground);
    device
        .get(&format!("chunks/{claimed}"))
        .expect_refusal(404, "unknown-chunk");
}

/// `incoming/tmp` becomes empty, within the time in which a server notices that a client is gone.
fn nothing_half_done(ground: &Ground) {
    let temporary = ground.server.folder("ada").join("incoming/tmp");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left: Vec<_> = std::fs::read_dir(&temporary)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{left:?} stays");
        std::thread::sleep(Duration::from_millis(20));
    }
}
