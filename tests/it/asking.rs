use std::fs;
use std::time::Duration;

use crate::kit::{
    Answer, Client, Connection, Look, ROOT, Server, binary, chunk, run_with_deadline,
    transaction_id, transaction_json, tree, user_id,
};
use crate::openapi::{head_to, member, tar};

const ELSEWHERE: &str = "https://elsewhere.example";
const APP: &str = "https://app.example.org";

/// What is answered to this request, with these headers and no others, on a connection of its own.
fn tell(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    tell_with(server, method, path, headers, "")
}

fn tell_with(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let headers: String = (headers.iter())
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let mut connection = Connection::open(server.address()).unwrap();
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\n{headers}content-length: {length}\r\n\r\n{body}");
    connection.send(request).unwrap();
    connection.answer(method).unwrap()
}

fn bearer(user: &str) -> String {
    format!("Bearer {}", user_id(user))
}

fn lists(answer: &Answer, name: &str, word: &str) -> bool {
    let mut values = (answer.headers.iter()).filter(|(given, _)| given.eq_ignore_ascii_case(name));
    values.any(|(_, value)| {
        let mut words = value.split(',').map(str::trim);
        words.any(|given| given.eq_ignore_ascii_case(word))
    })
}

#[test]
fn a_user_who_is_said_in_a_header_is_the_same_as_in_the_path() {
    let server = Server::with(&["--allow-delete"]);
    let mut client = server.client();
    let who = bearer("ada");
    let says = [("Authorization", who.as_str())];
    let (milk, first) = (chunk("milk"), transaction_id("first"));
    let json = transaction_json(ROOT, &[&milk.id]);
    let put = |client: &mut Client, path: &str, body: &[u8], status| {
        client
            .request("PUT", path, &says, Some(body))
            .expect(status)
    };
    put(
        &mut client,
        &format!("/0.1/-/chunks/{}", milk.id),
        b"milk",
        201,
    );
    put(
        &mut client,
        &format!("/0.1/-/transactions/{first}"),
        json.as_bytes(),
        201,
    );
    put(&mut client, "/0.1/-/head", head_to(&first).as_bytes(), 204);
    assert_eq!(server.device("ada").head().0, first);
    for path in [
        "",
        "/",
        "/head",
        "/transactions",
        "/bundle",
        &format!("/chunks/{}", milk.id),
    ] {
        let (said, named) = (
            format!("/0.1/-{path}"),
            format!("/0.1/{}{path}", user_id("ada")),
        );
        let (one, other) = (client.get_with(&said, &says), client.get(&named));
        assert_eq!((one.status, &one.body), (200, &other.body), "{path}");
        // What a cache keeps under this address is one user's.
        assert!(lists(&one, "vary", "authorization"), "{path}");
        assert!(!lists(&other, "vary", "authorization"), "{path}");
    }
    let waits = client.get_with(
        "/0.1/-/head?wait=1",
        &[says[0], ("if-none-match", &format!("\"{first}\""))],
    );
    assert_eq!(waits.status, 304);
    // Another's is another's.
    let other = bearer("bob");
    let answer = client
        .get_with("/0.1/-/head", &[("authorization", &other)])
        .expect(200);
    assert_eq!(answer.json()["head"], ROOT);
    client.request("DELETE", "/0.1/-/", &says, None).expect(204);
    assert_eq!(server.device("ada").head().0, ROOT);
}

#[test]
fn who_is_not_said_is_unauthorized_and_who_is_said_badly_malformed() {
    let server = Server::start();
    let mut client = server.client();
    let upper = bearer("ada").to_uppercase();
    for (value, status, code) in [
        (None, 401, "unauthorized"),
        (Some("Basic YTpi"), 401, "unauthorized"),
        (Some("Bearer"), 400, "malformed-id"),
        (Some("Bearer ada"), 400, "malformed-id"),
        (Some(upper.as_str()), 400, "malformed-id"),
        (Some("Bearer -"), 400, "malformed-id"),
    ] {
        let headers = Vec::from_iter(value.map(|value| ("authorization", value)));
        let answer = client
            .get_with("/0.1/-/head", &headers)
            .expect_refusal(status, code);
        let asks = (status == 401).then_some("Bearer");
        assert_eq!(answer.header("www-authenticate"), asks, "{value:?}");
    }
    // Where the path says who it is, nobody looks at the header.
    for value in ["Bearer ada", &bearer("bob"), "x"] {
        let path = format!("/0.1/{}/head", user_id("ada"));
        client
            .get_with(&path, &[("authorization", value)])
            .expect(200);
    }
}

#[test]
fn a_user_said_in_a_header_is_in_no_log_and_no_answer() {
    let mut server = Server::start();
    let who = bearer("ada");
    for (method, path) in [
        ("GET", "/0.1/-/bundle"),
        ("PUT", "/0.1/-/head"),
        ("PATCH", "/0.1/-/x"),
    ] {
        let answer = tell(
            &server,
            method,
            path,
            &[("host", "x"), ("authorization", &who)],
        );
        let text = format!(
            "{:?} {}",
            answer.headers,
            String::from_utf8_lossy(&answer.body)
        );
        assert!(!text.contains(&user_id("ada")), "{text}");
        if let Some(location) = answer.header("content-location") {
            // Relative to the address that was asked, in which `-` stands.
            assert!(location.starts_with("bundle?"), "{location}");
        }
    }
    server.terminate();
    server.ended();
    let said = server.said().join("\n");
    assert!(said.contains(&user_id("ada")[..8]), "{said}");
    assert!(!said.contains(&user_id("ada")), "{said}");
}

#[test]
fn a_page_of_another_place_can_do_nothing_whatever_it_asks() {
    let server = Server::with(&["--allow-delete"]);
    let (milk, first) = (chunk("milk"), transaction_id("first"));
    server.device("ada").commit(&first, ROOT, &[&milk]);
    // What HEAD has reached leaves `incoming/` after the answer.
    let is_pending =
        |(path, look): (&String, &Look)| path.contains("/incoming/") && look.kind == 'f';
    while tree(&server.data()).iter().any(is_pending) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let before = tree(&server.data());
    let user = user_id("ada");
    let transaction = transaction_id("second");
    let members = [
        member(&transaction, 2, &first, &[]),
        ("HEAD".to_owned(), format!("{transaction}\n").into_bytes()),
    ];
    let bundle = String::from_utf8(tar(&members)).unwrap();
    let host = server.address().to_string();
    let near = format!("http://localhost:{}", server.address().port() ^ 1);
    let json = transaction_json(&first, &[]);
    for origin in [
        ELSEWHERE,
        "null",
        "",
        "https://127.0.0.1",
        "x",
        &near,
        &format!("http://{host}/"),
    ] {
        for (method, path, body) in [
            ("POST", format!("/0.1/{user}/bundle"), bundle.as_str()),
            (
                "PUT",
                format!("/0.1/{user}/transactions/{transaction}"),
                &json,
            ),
            ("PUT", format!("/0.1/{user}/head"), &head_to(&first)),
            ("POST", format!("/0.1/{user}/chunks/missing"), "[]"),
            ("POST", format!("/0.1/{user}/chunks/get"), "[]"),
            ("DELETE", format!("/0.1/{user}/"), ""),
            ("GET", format!("/0.1/{user}/head"), ""),
            ("GET", "/".to_owned(), ""),
            ("GET", "/nothing".to_owned(), ""),
            ("GET", "/0.1/-/head".to_owned(), ""),
            ("OPTIONS", format!("/0.1/{user}/bundle"), ""),
        ] {
            // As a form, or a script that no browser asks about beforehand, would send it.
            let headers = [
                ("host", host.as_str()),
                ("origin", origin),
                ("content-type", "text/plain"),
                ("access-control-request-method", "PUT"),
            ];
            let answer = tell_with(&server, method, &path, &headers, body);
            let answer = answer.expect_refusal(403, "cross-origin");
            assert_eq!(
                answer.header("access-control-allow-origin"),
                None,
                "{origin} {path}"
            );
        }
    }
    let twice = [
        ("host", host.as_str()),
        ("origin", "http://x"),
        ("origin", "http://x"),
    ];
    tell(&server, "GET", "/", &twice).expect_refusal(403, "cross-origin");
    assert_eq!(tree(&server.data()), before);
    // The same without an Origin, as programs send it, is taken.
    let headers = [("host", host.as_str()), ("content-type", "text/plain")];
    tell_with(
        &server,
        "POST",
        &format!("/0.1/{user}/bundle"),
        &headers,
        &bundle,
    )
    .expect(200);
}

#[test]
fn the_servers_own_pages_may_ask_by_whichever_scheme_they_came() {
    let server = Server::start();
    let port = server.address().port();
    for (host, origin) in [
        (
            format!("127.0.0.1:{port}"),
            format!("http://127.0.0.1:{port}"),
        ),
        (
            format!("127.0.0.1:{port}"),
            format!("https://127.0.0.1:{port}"),
        ),
        (
            format!("localhost:{port}"),
            format!("http://localhost:{port}"),
        ),
        (
            format!("LocalHost:{port}"),
            format!("http://localhost:{port}"),
        ),
        ("[::1]".to_owned(), "http://[::1]:80".to_owned()),
        ("127.0.0.1:443".to_owned(), "https://127.0.0.1".to_owned()),
        ("127.0.0.1".to_owned(), "http://127.0.0.1:443".to_owned()),
    ] {
        let answer = tell(&server, "GET", "/", &[("host", &host), ("origin", &origin)]).expect(200);
        // It needs no leave.
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[test]
fn named_pages_may_ask_and_read_the_answers() {
    let server = Server::with(&[
        "--cors-origin",
        APP,
        "--cors-origin",
        "http://localhost:5173",
    ]);
    let user = user_id("ada");
    let milk = chunk("milk");
    server
        .device("ada")
        .commit(&transaction_id("first"), ROOT, &[&milk]);
    for (origin, path, status) in [
        (APP, format!("/0.1/{user}/head"), 200),
        ("http://localhost:5173", format!("/0.1/{user}/bundle"), 200),
        (APP, format!("/0.1/{user}/chunks/{}", milk.id), 200),
        (APP, format!("/0.1/{user}/chunks/x"), 400),
        (APP, "/0.1/-/head".to_owned(), 401),
        (APP, "/nothing".to_owned(), 404),
    ] {
        let answer = tell(
            &server,
            "GET",
            &path,
            &[("host", "sync.example.org"), ("origin", origin)],
        );
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some(origin),
            "{path}"
        );
        assert!(lists(&answer, "vary", "origin"), "{path}");
        for name in ["ETag", "Content-Location", "Content-Range", "Retry-After"] {
            assert!(
                lists(&answer, "access-control-expose-headers", name),
                "{name} {path}"
            );
        }
    }
    // A cache must not give a page the answer that a program got.
    let plain = tell(
        &server,
        "GET",
        &format!("/0.1/{user}/head"),
        &[("host", "x")],
    )
    .expect(200);
    assert_eq!(plain.header("access-control-allow-origin"), None);
    assert!(lists(&plain, "vary", "origin"));
    for other in [
        ELSEWHERE,
        "null",
        "http://app.example.org",
        "https://app.example.org:8443",
    ] {
        let headers = [("host", "127.0.0.1"), ("origin", other)];
        tell(&server, "GET", "/", &headers).expect_refusal(403, "cross-origin");
    }
}

#[test]
fn a_preflight_of_a_named_page_is_answered_and_does_nothing() {
    let server = Server::with(&["--cors-origin", APP]);
    let before = tree(&server.data());
    let asks = [
        ("host", "127.0.0.1"),
        ("origin", APP),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization"),
    ];
    for path in ["/0.1/-/head", &format!("/0.1/{}/bundle", user_id("ada"))] {
        let answer = tell(&server, "OPTIONS", path, &asks).expect(204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(APP));
        let seconds = answer.header("access-control-max-age").unwrap();
        assert!(seconds.parse::<u64>().unwrap() > 0);
        assert!(lists(&answer, "vary", "origin"));
        for method in ["GET", "PUT", "POST", "DELETE"] {
            assert!(
                lists(&answer, "access-control-allow-methods", method),
                "{method}"
            );
        }
        for name in [
            "authorization",
            "content-type",
            "if-match",
            "if-none-match",
            "range",
            "last-event-id",
        ] {
            assert!(
                lists(&answer, "access-control-allow-headers", name),
                "{name}"
            );
        }
    }
    assert_eq!(tree(&server.data()), before);
    // Without a question it is only a method that nothing takes.
    let answer = tell(&server, "OPTIONS", "/", &asks[..2]);
    answer.expect_refusal(405, "method-not-allowed");
}

#[test]
fn any_page_may_ask_where_the_operator_says_so() {
    let server = Server::with(&["--cors-origin", "*"]);
    for origin in [ELSEWHERE, "null", APP] {
        let answer = tell(
            &server,
            "GET",
            "/",
            &[("host", "127.0.0.1"), ("origin", origin)],
        );
        let answer = answer.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
}

#[test]
fn a_name_that_may_lead_here_today_only_is_not_the_servers_own() {
    // A page of rebound.example, whose name was led to this machine after it had been loaded.
    let server = Server::start();
    let port = server.address().port();
    let rebound = format!("rebound.example:{port}");
    let origin = format!("http://{rebound}");
    let headers = [("host", rebound.as_str()), ("origin", &origin)];
    tell(&server, "GET", "/", &headers).expect_refusal(421, "wrong-host");
    tell(&server, "GET", "/", &headers[..1]).expect(200);
    let server = Server::with(&["--host", "sync.example.org", "--host", "LOCALHOST"]);
    for host in ["sync.example.org", "Sync.Example.org:8000", "localhost:1"] {
        let origin = format!("http://{host}").to_lowercase();
        tell(&server, "GET", "/", &[("host", host)]).expect(200);
        tell(&server, "GET", "/", &[("host", host), ("origin", &origin)]).expect(200);
    }
    for host in [
        "rebound.example",
        "127.0.0.1",
        "sync.example.org.evil.example",
        "x y",
        "",
    ] {
        for path in ["/", "/nothing", "/__heartbeat__"] {
            tell(&server, "GET", path, &[("host", host)]).expect_refusal(421, "wrong-host");
        }
    }
    // The target says for whom it is, if it does.
    tell(
        &server,
        "GET",
        "http://rebound.example/",
        &[("host", "localhost")],
    )
    .expect_refusal(421, "wrong-host");
}

#[test]
fn origins_and_hosts_that_are_none_are_said_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    for (flag, value) in [
        ("--cors-origin", "app.example.org"),
        ("--cors-origin", "https://app.example.org/"),
        ("--cors-origin", "null"),
        ("--host", "sync.example.org:443"),
        ("--host", "https://sync.example.org"),
    ] {
        let mut command = binary();
        command
            .args(["serve", flag, value, "--data"])
            .arg(directory.path());
        let finished = run_with_deadline(&mut command);
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains(value), "{finished:?}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
