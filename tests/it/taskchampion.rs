use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::kit::{
    Answer, Client, Connection, ROOT, Server, chunk, digest, transaction_id, tree, user_id,
};
use crate::openapi::head_to;

const SEGMENT: &str = "application/vnd.taskchampion.history-segment";

/// A replica of a user's, as far as the server sees it.
struct Replica {
    client: Client,
    user: String,
}

impl Replica {
    fn of(server: &Server, user: &str) -> Self {
        Self {
            client: server.client(),
            user: user_id(user),
        }
    }

    fn ask(&mut self, method: &str, path: &str, media: &[&str], body: Option<&[u8]>) -> Answer {
        let mut headers = vec![("X-Client-Id", self.user.as_str())];
        headers.extend(media.iter().map(|media| ("Content-Type", *media)));
        let path = format!("/v1/client/{path}");
        self.client.request(method, &path, &headers, body)
    }

    #[track_caller]
    fn add(&mut self, parent: &str, bytes: &[u8]) -> Answer {
        let path = format!("add-version/{parent}");
        self.ask("POST", &path, &[SEGMENT], Some(bytes))
    }

    /// Adds a version, which must succeed; returns its id.
    #[track_caller]
    fn added(&mut self, parent: &str, bytes: &[u8]) -> String {
        let answer = self.add(parent, bytes).expect(200);
        assert_eq!(answer.header("x-parent-version-id"), None);
        assert_eq!(answer.header("content-length"), Some("0"));
        let id = answer
            .header("x-version-id")
            .expect("the new one")
            .to_owned();
        let id: uuid::Uuid = id.parse().unwrap();
        assert_eq!(id.get_version_num(), 4);
        id.to_string()
    }

    #[track_caller]
    fn child(&mut self, parent: &str) -> Answer {
        self.ask("GET", &format!("get-child-version/{parent}"), &[], None)
    }

    /// The id and the bytes of the version that follows, which must be there.
    #[track_caller]
    fn next(&mut self, parent: &str) -> (String, Vec<u8>) {
        let answer = self.child(parent).expect(200);
        assert_eq!(answer.header("content-type"), Some(SEGMENT));
        assert_eq!(answer.header("x-parent-version-id"), Some(parent));
        assert_eq!(answer.header("cache-control"), Some("no-store, max-age=0"));
        let id = answer.header("x-version-id").expect("its id").to_owned();
        (id, answer.body)
    }

    /// All versions after this one, as a client reads them.
    #[track_caller]
    fn all_after(&mut self, parent: &str) -> Vec<(String, Vec<u8>)> {
        let (mut all, mut here) = (Vec::new(), parent.to_owned());
        loop {
            match self.child(&here).status {
                404 => return all,
                _ => {
                    let next = self.next(&here);
                    here = next.0.clone();
                    all.push(next);
                }
            }
        }
    }

    /// A version is refused, and told what it should follow.
    #[track_caller]
    fn refused(&mut self, parent: &str, newest: &str) {
        let answer = self
            .add(parent, b"late")
            .expect_refusal(409, "not-a-descendant");
        assert_eq!(answer.header("x-parent-version-id"), Some(newest));
        assert_eq!(answer.header("x-version-id"), None);
        assert_eq!(answer.json()["head"], newest);
    }
}

#[test]
fn a_version_is_a_transaction_of_one_chunk_and_the_newest_is_head() {
    let server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    let one = ada.added(ROOT, b"first");
    let two = ada.added(&one, b"second");
    assert_eq!(ada.next(ROOT), (one.clone(), b"first".to_vec()));
    assert_eq!(ada.next(&one), (two.clone(), b"second".to_vec()));
    ada.child(&two).expect_refusal(404, "unknown-transaction");

    let mut device = server.device("ada");
    assert_eq!(device.head(), (two.clone(), 2));
    let json = device
        .get(&format!("transactions/{two}"))
        .expect(200)
        .json();
    let second = digest(b"second");
    let expected = serde_json::json!({"id": two, "seq": 2, "parent": one, "chunks": [second]});
    assert_eq!(json, expected);
    // As files, and nothing beside them: what came was never pending.
    let folder = server.folder("ada");
    let file = folder.join(format!("chunks/{}/{second}", &second[..2]));
    assert_eq!(std::fs::read(file).unwrap(), b"second");
    assert_eq!(left_in_incoming(&server, "ada"), Vec::<String>::new());
}

/// The files in a user's `incoming/`.
fn left_in_incoming(server: &Server, user: &str) -> Vec<String> {
    let incoming = server.folder(user).join("incoming");
    let is_file = |name: &String| incoming.join(name).is_file();
    tree(&incoming).into_keys().filter(is_file).collect()
}

#[test]
fn a_version_that_does_not_follow_the_newest_is_told_which_that_is() {
    let server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    let one = ada.added(ROOT, b"first");
    let two = ada.added(&one, b"second");
    for parent in [ROOT, &one, &transaction_id("nobody's")] {
        ada.refused(parent, &two);
    }
    assert_eq!(ada.all_after(ROOT).len(), 2);
    assert_eq!(left_in_incoming(&server, "ada"), Vec::<String>::new());
}

#[test]
fn a_list_that_moves_here_goes_on_from_a_parent_that_was_never_seen() {
    let server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    let elsewhere = transaction_id("elsewhere");
    // There is nothing yet, and so a version may be added to any.
    for parent in [ROOT, &elsewhere] {
        ada.child(parent).expect_refusal(404, "unknown-transaction");
    }
    let one = ada.added(&elsewhere, b"from elsewhere");
    assert_eq!(
        ada.next(&elsewhere),
        (one.clone(), b"from elsewhere".to_vec())
    );
    // Who has nothing of what was before cannot have it from here.
    ada.child(ROOT).expect_refusal(410, "gone");
    ada.child(&transaction_id("nobody's"))
        .expect_refusal(410, "gone");
    ada.refused(ROOT, &one);
    let mut device = server.device("ada");
    assert_eq!(device.chain_after(ROOT), [elsewhere.clone(), one.clone()]);
    let before = device.get(&format!("transactions/{elsewhere}")).expect(200);
    assert_eq!(before.json()["chunks"], serde_json::json!([]));
    assert_eq!(device.head(), (one, 2));
}

#[test]
fn what_the_two_ways_to_ask_make_of_one_user_is_right_for_each() {
    let server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    let mut device = server.device("ada");
    let (milk, eggs) = (chunk("milk"), chunk("eggs"));
    // A transaction of one chunk is a version, whoever made it.
    let [plain, double, empty] = ["plain", "double", "empty"].map(transaction_id);
    device.commit(&plain, ROOT, &[&milk]);
    assert_eq!(ada.next(ROOT), (plain.clone(), b"milk".to_vec()));
    let one = ada.added(&plain, b"eggs");
    assert_eq!(device.head(), (one.clone(), 2));
    // One of two chunks is none, and neither is one of no chunks; a version may follow it.
    device.commit(&double, &one, &[&milk, &eggs]);
    ada.child(&one).expect_refusal(410, "gone");
    ada.child(&double)
        .expect_refusal(404, "unknown-transaction");
    ada.refused(&one, &double);
    let two = ada.added(&double, b"after two");
    device.commit(&empty, &two, &[]);
    ada.child(&two).expect_refusal(410, "gone");
    let three = ada.added(&empty, b"after none");
    assert_eq!(ada.next(&empty), (three.clone(), b"after none".to_vec()));
    // What is pending may still be named as HEAD, and loses where a version came before.
    let late = transaction_id("late");
    device
        .put_transaction(&late, &three, &[&milk.id])
        .expect(201);
    let four = ada.added(&three, b"quicker");
    let answer = device
        .put_head(&late)
        .expect_refusal(409, "not-a-descendant");
    assert_eq!(answer.json()["head"], *four);
    // And one that is not on the chain is none, though it is there.
    ada.child(&late).expect_refusal(410, "gone");
    ada.refused(&late, &four);
}

#[test]
fn an_empty_chain_does_not_begin_with_what_is_pending() {
    let server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    let mut device = server.device("ada");
    let (milk, plain) = (chunk("milk"), transaction_id("plain"));
    device.put_chunk(&milk).expect(201);
    device
        .put_transaction(&plain, ROOT, &[&milk.id])
        .expect(201);
    ada.refused(&plain, ROOT);
    device.put_head(&plain).expect(204);
    ada.added(&plain, b"next");
    // Of a chunk that was uploaded before, one copy is left.
    device.put_chunk(&chunk("eggs")).expect(201);
    let (head, _) = device.head();
    let three = ada.added(&head, b"eggs");
    assert_eq!(ada.next(&head), (three, b"eggs".to_vec()));
    assert_eq!(left_in_incoming(&server, "ada"), Vec::<String>::new());
}

#[test]
fn a_request_that_is_not_as_the_client_makes_it_is_refused() {
    let server = Server::with(&["--max-chunk-bytes", "1MiB"]);
    let mut ada = Replica::of(&server, "ada");
    let add = format!("add-version/{ROOT}");
    for media in [&[][..], &["application/json"], &["x"], &[""]] {
        let answer = ada.ask("POST", &add, media, Some(b"x"));
        answer.expect_refusal(400, "bad-content-type");
    }
    ada.add(ROOT, b"").expect_refusal(400, "empty-body");
    ada.ask("POST", &add, &[SEGMENT], None)
        .expect_refusal(400, "empty-body");
    ada.add(ROOT, &vec![b'x'; (1 << 20) + 1])
        .expect_refusal(413, "too-large");
    ada.ask("GET", &add, &[], None)
        .expect_refusal(405, "method-not-allowed");
    let child = format!("get-child-version/{ROOT}");
    ada.ask("POST", &child, &[SEGMENT], Some(b"x"))
        .expect_refusal(405, "method-not-allowed");
    for path in ["add-version/x", "get-child-version/x", "get-child-version/"] {
        let method = if path.starts_with("add") {
            "POST"
        } else {
            "GET"
        };
        let answer = ada.ask(method, path, &[SEGMENT], Some(b"x"));
        answer.expect_refusal(400, "malformed-id");
    }
    for path in ["", "x", "versions", "snapshots"] {
        ada.ask("GET", path, &[], None)
            .expect_refusal(404, "not-found");
    }
    let (path, whole) = (format!("/v1/client/{add}"), Some(&b"x"[..]));
    let media = ("Content-Type", SEGMENT);
    let together = user_id("ada").replace('-', "");
    for who in [&[][..], &["x"], &[ROOT, ROOT], &[&together]] {
        let mut headers = vec![media];
        headers.extend(who.iter().map(|who| ("X-Client-Id", *who)));
        let answer = ada.client.request("POST", &path, &headers, whole);
        answer.expect_refusal(400, "malformed-id");
    }
    let coded = [
        media,
        ("X-Client-Id", &ada.user),
        ("Content-Encoding", "gzip"),
    ];
    let answer = ada.client.request("POST", &path, &coded, whole);
    answer.expect_refusal(415, "encoding-unsupported");
    assert!(
        !server.folder("ada").exists(),
        "a refused one makes no folder"
    );

    // As browsers and proxies spell it.
    let spelt = format!("{}; x=y", SEGMENT.to_uppercase());
    ada.ask("POST", &add, &[&spelt], Some(b"x")).expect(200);
    assert!(server.folder("ada").exists());
}

/// RFC 9110, 15.5.6: the methods are those of the resource, whoever asks.
#[test]
fn a_method_that_a_path_does_not_take_is_told_before_who_asks() {
    let server = Server::start();
    let mut client = server.client();
    let id = transaction_id("any");
    let add = format!("/v1/client/add-version/{id}");
    for (method, path) in [
        ("PUT", add.as_str()),
        ("TRACE", &add),
        ("DELETE", "/v1/client/snapshot"),
        ("POST", "/0.1/-/head"),
        ("TRACE", "/0.1/-/bundle"),
    ] {
        for said in [
            vec![],
            vec![("x-client-id", "0")],
            vec![("authorization", "Bearer 0")],
        ] {
            let answer = client.request(method, path, &said, None);
            answer.expect_refusal(405, "method-not-allowed");
        }
    }
}

#[test]
fn ids_in_upper_case_are_the_same_and_are_answered_in_lower_case() {
    let server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    let lower = ada.user.clone();
    ada.user = lower.to_uppercase();
    let one = ada.added(ROOT, b"first");
    let two = ada.added(&one.to_uppercase(), b"second");
    let answer = ada.child(&one.to_uppercase()).expect(200);
    assert_eq!(answer.header("x-parent-version-id"), Some(&one[..]));
    assert_eq!(answer.header("x-version-id"), Some(&two[..]));
    ada.add_snapshot(&two.to_uppercase(), b"state").expect(200);
    ada.user = lower;
    assert_eq!(ada.snapshot(), (two.clone(), b"state".to_vec()));
    assert_eq!(ada.all_after(ROOT).len(), 2);
    assert_eq!(server.device("ada").head(), (two, 2));
}

#[test]
fn a_body_of_as_many_bytes_as_may_be_is_taken_and_one_more_is_not() {
    let server = Server::with(&["--max-chunk-bytes", "64KiB"]);
    let mut ada = Replica::of(&server, "ada");
    let most = vec![b'x'; 64 << 10];
    let over = [&most[..], b"x"].concat();
    let one = ada.added(ROOT, &most);
    ada.add(&one, &over).expect_refusal(413, "too-large");
    assert_eq!(ada.next(ROOT), (one.clone(), most.clone()));
    ada.add_snapshot(&one, &over)
        .expect_refusal(413, "too-large");
    ada.add_snapshot(&one, &most).expect(200);
    assert_eq!(ada.snapshot(), (one.clone(), most));
    ada.child(&one).expect_refusal(404, "unknown-transaction");
}

#[test]
fn a_user_who_is_renamed_or_removed_takes_versions_and_snapshot_along() {
    let server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    let one = ada.added(ROOT, b"first");
    ada.add_snapshot(&one, b"state").expect(200);
    let bob = user_id("bob");
    let run = |arguments: &[&str]| {
        let mut command = crate::kit::binary();
        command.args(arguments).arg("--data").arg(server.data());
        assert!(command.status().unwrap().success(), "{arguments:?}");
    };
    run(&["users", "mv", &ada.user, &bob]);
    // Whoever still has the old id finds nothing there, and is told that a version may be added.
    ada.child(&one).expect_refusal(404, "unknown-transaction");
    ada.ask("GET", "snapshot", &[], None).expect(404);
    let mut bob = Replica::of(&server, "bob");
    assert_eq!(bob.next(ROOT), (one.clone(), b"first".to_vec()));
    assert_eq!(bob.snapshot(), (one.clone(), b"state".to_vec()));
    let two = bob.added(&one, b"second");
    run(&["users", "rm", &bob.user]);
    bob.ask("GET", "snapshot", &[], None).expect(404);
    // A replica that was there begins the list again, with what it has not sent.
    let three = bob.added(&two, b"third");
    assert_eq!(bob.next(&two).0, three);
    assert_eq!(server.device("bob").chain_after(ROOT), [two, three]);
}

#[test]
fn a_user_may_be_said_as_anywhere_else_and_is_in_no_log() {
    let mut server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    let one = ada.added(ROOT, b"first");
    let bearer = format!("Bearer {}", user_id("ada"));
    let path = format!("/v1/client/get-child-version/{ROOT}");
    let mut client = server.client();
    let answer = client
        .get_with(&path, &[("authorization", &bearer)])
        .expect(200);
    assert_eq!(answer.header("x-version-id"), Some(&one[..]));
    let vary = answer.header("vary").unwrap().to_ascii_lowercase();
    assert!(vary.contains("x-client-id"), "{vary}");
    // A proxy's own password beside it is nobody's matter.
    let both = [("x-client-id", &*ada.user), ("authorization", "Basic YTpi")];
    client.get_with(&path, &both).expect(200);

    server.terminate();
    server.ended();
    let said = server.said().join("\n");
    assert!(
        said.contains("POST /v1/client/add-version/{parent}"),
        "{said}"
    );
    assert!(
        said.contains("GET /v1/client/get-child-version/{parent}"),
        "{said}"
    );
    assert!(
        !said.contains(&user_id("ada")) && !said.contains(&one),
        "{said}"
    );
    assert!(said.contains(&user_id("ada")[..8]), "{said}");
}

#[test]
fn pages_that_are_named_may_ask_and_read_and_no_others() {
    const APP: &str = "https://tasks.example.org";
    let server = Server::with(&["--cors-origin", APP]);
    let mut client = server.client();
    let path = format!("/v1/client/add-version/{ROOT}");
    let asked = [
        ("origin", APP),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "content-type, x-client-id",
        ),
    ];
    let answer = client.request("OPTIONS", &path, &asked, None).expect(204);
    let allowed = answer.header("access-control-allow-headers").unwrap();
    assert!(allowed.contains("x-client-id"), "{allowed}");
    let user = user_id("ada");
    let mut add = |origin, status| {
        let headers = [
            ("origin", origin),
            ("x-client-id", &*user),
            ("content-type", SEGMENT),
        ];
        client
            .request("POST", &path, &headers, Some(b"x"))
            .expect(status)
    };
    add("https://elsewhere.example", 403);
    let answer = add(APP, 200);
    let exposed = answer.header("access-control-expose-headers").unwrap();
    for name in ["X-Version-Id", "X-Parent-Version-Id", "X-Snapshot-Request"] {
        assert!(exposed.contains(name), "{exposed}");
    }
}

#[test]
fn users_who_are_not_admitted_have_neither_versions_nor_a_folder() {
    let server = Server::with(&["--new-users", "deny"]);
    let mut ada = Replica::of(&server, "ada");
    ada.add(ROOT, b"x").expect_refusal(403, "unknown-user");
    ada.add_snapshot(ROOT, b"x")
        .expect_refusal(403, "unknown-user");
    ada.ask("GET", "snapshot", &[], None)
        .expect_refusal(403, "unknown-user");
    ada.child(ROOT).expect_refusal(403, "unknown-user");
    assert!(!server.folder("ada").exists());
}

#[test]
fn a_long_version_is_taken_piece_by_piece_and_one_without_a_length_too() {
    let server = Server::with(&["--max-chunk-bytes", "8MiB"]);
    let mut ada = Replica::of(&server, "ada");
    let long = b"0123456789abcde\n".repeat(300_000);
    let one = ada.added(ROOT, &long);
    assert_eq!(ada.next(ROOT), (one.clone(), long));
    let mut connection = Connection::open(server.address()).unwrap();
    let user = &ada.user;
    let head = format!(
        "POST /v1/client/add-version/{one} HTTP/1.1\r\nhost: x\r\nx-client-id: {user}\r\n\
         content-type: {SEGMENT}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    connection
        .send(format!("{head}5\r\nhello\r\n0\r\n\r\n"))
        .unwrap();
    let answer = connection.answer("POST").unwrap().expect(200);
    let two = answer.header("x-version-id").unwrap().to_owned();
    assert_eq!(ada.next(&one), (two.clone(), b"hello".to_vec()));
    // One that goes on for too long is no version, and leaves nothing.
    let mut piece = format!("{:x}\r\n", 9 << 20).into_bytes();
    piece.extend(vec![b'x'; 9 << 20]);
    let mut connection = Connection::open(server.address()).unwrap();
    connection.send(head.replace(&one, &two)).unwrap();
    let _ = connection.send(piece);
    connection
        .answer("POST")
        .unwrap()
        .expect_refusal(413, "too-large");
    // And so is one that breaks off.
    let mut connection = Connection::open(server.address()).unwrap();
    connection
        .send(format!("{}6\r\nhel", head.replace(&one, &two)))
        .unwrap();
    connection.finish_sending().unwrap();
    connection
        .answer("POST")
        .unwrap()
        .expect_refusal(400, "incomplete-body");
    ada.child(&two).expect(404);
    assert_eq!(left_in_incoming(&server, "ada"), Vec::<String>::new());
}

#[test]
fn a_version_counts_for_the_quota_like_anything_else() {
    let server = Server::with(&["--max-user-bytes", "64KiB"]);
    let mut ada = Replica::of(&server, "ada");
    let mut newest = ada.added(ROOT, b"small");
    // The first look at what the user has is taken beside it.
    let refused = (0..2000).find_map(|number| {
        let bytes = format!("{number} {}", "x".repeat(4096));
        let answer = ada.add(&newest, bytes.as_bytes());
        match answer.status {
            200 => {
                newest = answer.header("x-version-id").unwrap().to_owned();
                std::thread::sleep(Duration::from_millis(5));
                None
            }
            _ => Some(answer),
        }
    });
    let refused = refused.expect("it never is");
    refused.expect_refusal(507, "quota-exceeded");
    assert_eq!(server.device("ada").head().0, newest);
    ada.child(&newest).expect(404);
}

#[test]
fn of_those_who_add_to_the_same_one_a_single_one_wins_over_any_number_of_servers() {
    let servers = [Server::start()];
    let servers = [&servers[0], &servers[0].another()];
    let mut parent = ROOT.to_owned();
    for round in 0..12 {
        let won = AtomicUsize::new(0);
        let newest = std::thread::scope(|scope| {
            let adders: Vec<_> = (0..6)
                .map(|number| {
                    let (won, parent, server) = (&won, &parent, servers[number % 2]);
                    scope.spawn(move || {
                        let mut ada = Replica::of(server, "ada");
                        let bytes = format!("{round} {number}");
                        let answer = ada.add(parent, bytes.as_bytes());
                        let name = match answer.status {
                            200 => {
                                won.fetch_add(1, Ordering::Relaxed);
                                "x-version-id"
                            }
                            _ => {
                                assert_eq!(answer.status, 409, "{}", answer.text());
                                "x-parent-version-id"
                            }
                        };
                        answer.header(name).unwrap().to_owned()
                    })
                })
                .collect();
            let told: Vec<_> = adders
                .into_iter()
                .map(|adder| adder.join().unwrap())
                .collect();
            assert!(told.iter().all(|newest| *newest == told[0]), "{told:?}");
            told[0].clone()
        });
        assert_eq!(won.into_inner(), 1);
        let mut other = Replica::of(servers[1], "ada");
        assert_eq!(other.next(&parent).0, newest);
        parent = newest;
    }
}

#[test]
fn versions_bundles_and_heads_race_and_each_loser_is_told_the_winner() {
    let server = Server::start();
    let other = server.another();
    let milk = chunk("milk");
    let mut parent = transaction_id("first");
    server.device("ada").commit(&parent, ROOT, &[&milk]);
    for round in 0..10 {
        let [put, pushed] = ["put", "pushed"].map(|how| transaction_id(&format!("{how} {round}")));
        let mut device = server.device("ada");
        device
            .put_transaction(&put, &parent, &[&milk.id])
            .expect(201);
        let tar = crate::openapi::tar(&[
            crate::openapi::member(&pushed, round + 2, &parent, &[&milk.id]),
            ("HEAD".to_owned(), format!("{pushed}\n").into_bytes()),
        ]);
        let of = |answer: Answer, id: &str| match answer.status {
            200 | 204 => (true, id.to_owned()),
            _ => (
                false,
                answer.expect(409).json()["head"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            ),
        };
        let told = std::thread::scope(|scope| {
            let version = scope.spawn(|| {
                let mut ada = Replica::of(&other, "ada");
                let answer = ada.add(&parent, b"version");
                match answer.status {
                    200 => (true, answer.header("x-version-id").unwrap().to_owned()),
                    _ => {
                        let answer = answer.expect(409);
                        (
                            false,
                            answer.header("x-parent-version-id").unwrap().to_owned(),
                        )
                    }
                }
            });
            let bundle = scope.spawn(|| {
                let path = format!("/0.1/{}/bundle", user_id("ada"));
                of(
                    other.client().request("POST", &path, &[], Some(&tar)),
                    &pushed,
                )
            });
            let head = scope.spawn(|| of(server.device("ada").put_head(&put), &put));
            [version, bundle, head].map(|one| one.join().unwrap())
        });
        let winners = told.iter().filter(|(won, _)| *won).count();
        assert_eq!(winners, 1, "{told:?}");
        assert!(
            told.iter().all(|(_, newest)| *newest == told[0].1),
            "{told:?}"
        );
        parent = told[0].1.clone();
        assert_eq!(other.device("ada").head().0, parent);
    }
}

#[test]
fn a_client_that_lost_the_answer_finds_its_own_version() {
    let server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    let one = ada.added(ROOT, b"first");
    let user = &ada.user;
    let mut connection = Connection::open(server.address()).unwrap();
    let request = format!(
        "POST /v1/client/add-version/{one} HTTP/1.1\r\nhost: x\r\nx-client-id: {user}\r\n\
         content-type: {SEGMENT}\r\ncontent-length: 5\r\n\r\nagain"
    );
    connection.send(request).unwrap();
    let mut device = server.device("ada");
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while device.head().0 == one {
        assert!(std::time::Instant::now() < deadline);
    }
    drop(connection);
    // It asks what follows before it sends anything again, and its own is what follows.
    let (two, bytes) = ada.next(&one);
    assert_eq!(bytes, b"again");
    ada.refused(&one, &two);
    assert_eq!(ada.all_after(ROOT).len(), 2);
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let mut server = Server::start();
    let mut newest = ROOT.to_owned();
    for round in 0..6 {
        let victim = server;
        let mut told = Vec::new();
        std::thread::scope(|scope| {
            let adds = scope.spawn(|| {
                let (mut ada, mut told) = (Replica::of(&victim, "ada"), Vec::new());
                let mut parent = newest.clone();
                for number in 0.. {
                    let bytes = format!("{round} {number}");
                    let path = format!("/v1/client/add-version/{parent}");
                    let user = ada.user.clone();
                    let headers = [("x-client-id", &*user), ("content-type", SEGMENT)];
                    let tried = ada
                        .client
                        .attempt("POST", &path, &headers, Some(bytes.as_bytes()));
                    let Ok(answer) = tried else { break };
                    parent = answer
                        .expect(200)
                        .header("x-version-id")
                        .unwrap()
                        .to_owned();
                    told.push(parent.clone());
                }
                told
            });
            std::thread::sleep(Duration::from_millis(60 + 37 * round));
            let pid = rustix::process::Pid::from_raw(victim.pid() as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            told = adds.join().unwrap();
        });
        server = victim.crash();
        let mut ada = Replica::of(&server, "ada");
        let there: Vec<_> = ada
            .all_after(&newest)
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        // One more may have got through, of which nobody was told.
        assert_eq!(there[..told.len()], told);
        assert!(there.len() <= told.len() + 1, "{there:?} {told:?}");
        newest = there.last().unwrap_or(&newest).clone();
        assert_eq!(server.device("ada").head().0, newest);
    }
}

#[test]
fn a_chain_whose_log_is_gone_is_read_and_goes_on() {
    let server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    let one = ada.added(ROOT, b"first");
    let two = ada.added(&one, b"second");
    let log = server.folder("ada").join("log");
    std::fs::remove_file(&log).unwrap();
    assert_eq!(ada.next(&one), (two.clone(), b"second".to_vec()));
    std::fs::write(&log, "nonsense").unwrap();
    let three = ada.added(&two, b"third");
    assert_eq!(ada.next(&two).0, three);
    assert_eq!(server.device("ada").chain_after(ROOT), [one, two, three]);
}

#[test]
fn a_version_whose_bytes_are_lost_or_short_is_damage_and_comes_again() {
    let server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    let one = ada.added(ROOT, b"first");
    let id = digest(b"first");
    let file = server
        .folder("ada")
        .join(format!("chunks/{}/{id}", &id[..2]));
    // Not 404: the client would take that for the end, and add to what it has not read.
    std::fs::remove_file(&file).unwrap();
    ada.child(ROOT).expect_refusal(500, "damaged");
    let two = ada.added(&one, b"first");
    assert_eq!(ada.next(ROOT), (one, b"first".to_vec()));
    std::fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(2)
        .unwrap();
    ada.added(&two, b"first");
    assert_eq!(std::fs::read(&file).unwrap(), b"first");
    let mut file = std::fs::File::create(server.folder("ada").join("HEAD")).unwrap();
    file.write_all(b"x").unwrap();
    ada.child(ROOT).expect_refusal(500, "damaged");
}

#[test]
fn a_name_that_a_crash_left_off_the_chain_is_in_nobodys_way() {
    let server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    let elsewhere = transaction_id("elsewhere");
    server
        .device("ada")
        .put_chunk(&chunk("so that there is a folder"))
        .expect(201);
    let dir = server
        .folder("ada")
        .join(format!("transactions/{}", &elsewhere[..2]));
    std::fs::create_dir_all(&dir).unwrap();
    let left = format!(
        "{{\"id\":\"{elsewhere}\",\"seq\":1,\"parent\":\"{ROOT}\",\"chunks\":[\"{}\"]}}\n",
        digest(b"of another try")
    );
    std::fs::write(dir.join(format!("{elsewhere}.json")), left).unwrap();
    let one = ada.added(&elsewhere, b"here");
    assert_eq!(ada.next(&elsewhere).0, one);
    let there = server
        .device("ada")
        .get(&format!("transactions/{elsewhere}"))
        .expect(200);
    assert_eq!(there.json()["chunks"], serde_json::json!([]));
    let head = server.device("ada").head();
    assert_eq!(head, (one, 2));
    let waits = server.device("ada").put("head", head_to(&elsewhere));
    waits.expect(409);
}

const SNAPSHOT: &str = "application/vnd.taskchampion.snapshot";

impl Replica {
    fn add_snapshot(&mut self, version: &str, bytes: &[u8]) -> Answer {
        let path = format!("add-snapshot/{version}");
        self.ask("POST", &path, &[SNAPSHOT], Some(bytes))
    }

    /// Of which version the snapshot is, and its bytes, which must be there.
    #[track_caller]
    fn snapshot(&mut self) -> (String, Vec<u8>) {
        let answer = self.ask("GET", "snapshot", &[], None).expect(200);
        assert_eq!(answer.header("content-type"), Some(SNAPSHOT));
        let id = answer.header("x-version-id").expect("its version");
        (id.to_owned(), answer.body)
    }

    /// Adds a version; returns its id, and whether a snapshot is asked for.
    #[track_caller]
    fn asked(&mut self, parent: &str) -> (String, Option<String>) {
        let answer = self.add(parent, b"x").expect(200);
        let asks = answer.header("x-snapshot-request").map(str::to_owned);
        (answer.header("x-version-id").unwrap().to_owned(), asks)
    }
}

#[test]
fn a_snapshot_is_the_checkpoint_and_the_newest_alone_is_kept() {
    let server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    ada.ask("GET", "snapshot", &[], None)
        .expect_refusal(404, "no-checkpoint");
    ada.add_snapshot(ROOT, b"x")
        .expect_refusal(404, "unknown-transaction");
    assert!(
        !server.folder("ada").exists(),
        "a refused one makes no folder"
    );
    let one = ada.added(ROOT, b"first");
    let two = ada.added(&one, b"second");
    // What is not kept is answered alike, and leaves nothing.
    for version in [ROOT, &transaction_id("nobody's")] {
        ada.add_snapshot(version, b"of nothing").expect(200);
        ada.ask("GET", "snapshot", &[], None).expect(404);
    }
    let answer = ada.add_snapshot(&one, b"after the first").expect(200);
    assert!(answer.body.is_empty());
    assert_eq!(ada.snapshot(), (one.clone(), b"after the first".to_vec()));
    ada.add_snapshot(&one, b"another of the same").expect(200);
    assert_eq!(ada.snapshot().1, b"after the first");
    let long = b"state ".repeat(200_000);
    ada.add_snapshot(&two, &long).expect(200);
    ada.add_snapshot(&one, b"late").expect(200);
    assert_eq!(ada.snapshot(), (two.clone(), long.clone()));
    let mut device = server.device("ada");
    let checkpoint = device.get("checkpoint").expect(200).json();
    let expected = serde_json::json!({"transaction": two, "seq": 2, "chunks": [digest(&long)]});
    assert_eq!(checkpoint, expected);
    for bytes in [&b"of nothing"[..], b"another of the same", b"late"] {
        device.get(&format!("chunks/{}", digest(bytes))).expect(404);
    }
    // One of several chunks is no snapshot, though a checkpoint.
    let milk = chunk("milk");
    device.put_chunk(&milk).expect(201);
    let three = ada.added(&two, b"third");
    let body = serde_json::json!({"transaction": three, "chunks": [milk.id, milk.id]});
    device.put("checkpoint", body.to_string()).expect(204);
    ada.ask("GET", "snapshot", &[], None)
        .expect_refusal(404, "no-checkpoint");
    assert_eq!(ada.asked(&three).1.as_deref(), Some("urgency=high"));
    ada.add_snapshot(&three, b"one of one").expect(200);
    assert_eq!(ada.snapshot(), (three.clone(), b"one of one".to_vec()));
    // And as any upload it is of its media type, and of a byte at least.
    let path = format!("add-snapshot/{three}");
    ada.ask("POST", &path, &[SEGMENT], Some(b"x"))
        .expect_refusal(400, "bad-content-type");
    ada.ask("POST", &path, &[SNAPSHOT], Some(b""))
        .expect_refusal(400, "empty-body");
    let restarted = server.crash();
    let mut ada = Replica::of(&restarted, "ada");
    assert_eq!(ada.snapshot(), (three, b"one of one".to_vec()));
}

#[test]
fn a_snapshot_is_asked_for_when_there_is_none_or_it_is_old() {
    let server = Server::with(&["--snapshot-versions", "4", "--snapshot-days", "2"]);
    let mut ada = Replica::of(&server, "ada");
    let (mut newest, asks) = ada.asked(ROOT);
    assert_eq!(asks.as_deref(), Some("urgency=high"));
    ada.add_snapshot(&newest, b"state").expect(200);
    let mut all = Vec::new();
    for _ in 0..8 {
        let asks;
        (newest, asks) = ada.asked(&newest);
        all.push(asks.map_or(0, |asks| {
            ["urgency=low", "urgency=high"]
                .iter()
                .position(|one| *one == asks)
                .unwrap()
                + 1
        }));
    }
    assert_eq!(all, [0, 0, 0, 0, 1, 1, 2, 2]);
    ada.add_snapshot(&newest, b"state").expect(200);
    assert_eq!(ada.asked(&newest).1, None);
    let file = server.folder("ada").join("CHECKPOINT");
    for (days, expected) in [
        (1, None),
        (2, Some("urgency=low")),
        (3, Some("urgency=high")),
    ] {
        let (head, _) = server.device("ada").head();
        let then = std::time::SystemTime::now() - Duration::from_secs(days * 86_400 + 60);
        std::fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(then)
            .unwrap();
        assert_eq!(ada.asked(&head).1.as_deref(), expected, "{days}");
    }
}

#[test]
fn a_version_wakes_those_who_wait_for_another_head() {
    let server = Server::start();
    let mut ada = Replica::of(&server, "ada");
    let one = ada.added(ROOT, b"first");
    let tag = format!("\"{one}\"");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut device = server.device("ada");
            device
                .get_with("head?wait=60", &[("if-none-match", &tag)])
                .expect(200)
        });
        std::thread::sleep(Duration::from_millis(200));
        let since = std::time::Instant::now();
        let two = ada.added(&one, b"second");
        assert_eq!(waiting.join().unwrap().json()["head"], *two);
        assert!(since.elapsed() < Duration::from_secs(20));
    });
}
