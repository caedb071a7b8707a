use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit::{
    Client, ROOT, Server, address_in, binary, chunk, run_with_deadline, transaction_id, user_id,
};

/// A server whose log nobody reads until its stderr is taken.
struct Unread {
    child: Child,
    client: Client,
    _data: tempfile::TempDir,
}

impl Unread {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = binary()
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path().join("data"))
            .env("RUST_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let client = Client::new(address_in(line.trim_end()).expect("a start-up line"));
        Self {
            child,
            client,
            _data: data,
        }
    }

    fn stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().unwrap()
    }

    /// SIGTERM; how long it takes to end.
    fn terminate(&mut self) -> Duration {
        let pid = rustix::process::Pid::from_child(&self.child);
        let since = Instant::now();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        since.elapsed()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// More than a pipe and the queue hold together, at some 100 bytes a line.
const MANY: usize = 20_000;

#[test]
fn a_log_that_nobody_reads_holds_up_no_request_and_what_is_dropped_is_counted() {
    let mut server = Unread::start();
    let mut stderr = server.stderr();
    for _ in 0..MANY {
        server.client.get("/__version__").expect(200);
    }
    server.client.get("/__heartbeat__").expect(200);
    // Now somebody reads: every request has a line or is counted, and new ones are told again.
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        said
    });
    std::thread::sleep(Duration::from_millis(500));
    server.client.get("/__lbheartbeat__").expect(200);
    server.terminate();
    let said = reader.join().unwrap();
    let lines = said
        .lines()
        .filter(|line| line.contains(" access "))
        .count();
    let dropped: usize = said
        .lines()
        .filter_map(|line| {
            line.split_once(" WARN  log ")?
                .1
                .split(' ')
                .next()?
                .parse::<usize>()
                .ok()
        })
        .sum();
    assert!(dropped > 0, "the test is to fill the queue");
    assert_eq!(lines + dropped, MANY + 2);
    assert!(said.contains("/__lbheartbeat__"));
    assert!(said.lines().last().unwrap().ends_with("stopped"));
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_end() {
    let mut server = Unread::start();
    for _ in 0..2_000 {
        server.client.get("/__version__").expect(200);
    }
    assert!(server.terminate() < Duration::from_secs(10));
}

#[test]
fn a_log_whose_reader_went_away_holds_up_nothing() {
    let mut server = Unread::start();
    drop(server.stderr());
    for _ in 0..100 {
        server.client.get("/__version__").expect(200);
    }
    assert!(server.terminate() < Duration::from_secs(10));
}

/// A server's lines on stderr that are objects, each parsed.
fn objects(server: &Server) -> Vec<Value> {
    let said = server.said();
    let lines = said.iter().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// Waits for the access line of this route and status.
#[track_caller]
fn access_line(server: &Server, route: &str, status: u64) -> Value {
    let line = server.has_said(|line| {
        serde_json::from_str::<Value>(line)
            .is_ok_and(|object| object["route"] == route && object["status"] == status)
    });
    serde_json::from_str(&line).unwrap()
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

#[test]
fn with_a_format_for_programs_every_line_on_stderr_is_an_object() {
    let server = Server::with(&["--log-format", "json", "--log-client"]);
    let mut ada = server.device("ada");
    ada.commit(&transaction_id("first"), ROOT, &[&chunk("one")]);
    let id = chunk("one").id;
    ada.get(&format!("chunks/{id}")).expect(200);
    let mut client = server.client();
    client.get("/\"x\\").expect(404);
    let put = access_line(&server, "/0.1/{user}/chunks/{chunk}", 201);
    let expected = [
        "client", "in", "level", "method", "ms", "out", "route", "status", "target", "time", "user",
    ];
    assert_eq!(keys(&put), expected);
    assert_eq!(put["target"], "access");
    assert_eq!(put["level"], "INFO");
    assert_eq!(put["method"], "PUT");
    assert_eq!(put["user"], user_id("ada")[..8]);
    assert_eq!(put["client"], "127.0.0.1");
    assert_eq!((&put["in"], &put["out"]), (&json!(3), &json!(0)));
    assert!(put["ms"].as_f64().unwrap() > 0.0);
    let time = put["time"].as_str().unwrap();
    humantime::parse_rfc3339(time).unwrap();
    let miss = access_line(&server, "-", 404);
    assert!(miss.get("user").is_none());
    // What goes wrong, with a place of the box and the id in it.
    std::fs::write(server.folder("ada").join("HEAD"), "no id\n").unwrap();
    server.device("ada").get("head").expect(500);
    access_line(&server, "/0.1/{user}/head", 500);
    let all = objects(&server);
    let starting = all.iter().find(|object| {
        let message = object["message"].as_str().unwrap_or_default();
        message.starts_with("mentat-sync ") && message.contains(" serves ")
    });
    assert!(starting.is_some(), "{all:?}");
    let error = all
        .iter()
        .find(|object| object["level"] == "ERROR")
        .expect("an error");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("users/{}…/HEAD", &user_id("ada")[..8])),
        "{message}"
    );
    // All but the promised line on stdout.
    let others: Vec<String> = (server.said().into_iter())
        .filter(|line| !line.starts_with('{'))
        .collect();
    assert_eq!(others.len(), 1, "{others:?}");
    assert!(others[0].starts_with("mentat-sync "), "{others:?}");
    let said = server.said().join("\n");
    assert!(!said.contains(&user_id("ada")[..9]), "{said}");
}

#[test]
fn a_server_that_cannot_start_says_so_in_the_format_that_was_asked_for() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let mut command = binary();
        command.args(["serve", "--listen", &address]).args(more);
        command
            .arg("--data")
            .arg(data.path().join("data"))
            .env("RUST_LOG", "info");
        run_with_deadline(&mut command)
    };
    let ended = run(&["--log-format", "json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let objects: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let words = format!("cannot listen at {address}");
    let is_it = |object: &Value| {
        object["message"]
            .as_str()
            .unwrap_or_default()
            .contains(&words)
    };
    assert!(
        objects
            .iter()
            .any(|object| object["level"] == "ERROR" && is_it(object)),
        "{ended:?}"
    );
    let ended = run(&[]);
    assert!(
        ended.stderr.contains(&format!("mentat-sync: {words}")),
        "{ended:?}"
    );
    assert_eq!(run(&["--log-format", "xml"]).code, Some(2));
    assert_eq!(run(&["--trusted-proxy", "10.0.0.0/33"]).code, Some(2));
}

/// The client in the access line of a request for this user, sent with this header.
#[track_caller]
fn client_told(server: &Server, user: &str, forwarded: &str) -> String {
    let path = format!("/0.1/{}/head", user_id(user));
    let headers = [("x-forwarded-for", forwarded)];
    server.client().get_with(&path, &headers).expect(200);
    let mark = format!("user={} client=", &user_id(user)[..8]);
    let line = server.has_said(|line| {
        line.contains(" access GET /0.1/{user}/head 200 ") && line.contains(&mark)
    });
    let (_, client) = line.split_once(" client=").unwrap();
    client.split(' ').next().unwrap().to_owned()
}

#[test]
fn a_client_is_told_only_where_asked_for_and_nobody_can_pass_for_another() {
    let plain = Server::start();
    plain
        .client()
        .get_with("/__version__", &[("x-forwarded-for", "6.6.6.6")])
        .expect(200);
    let line = plain.has_said(|line| line.contains("/__version__ 200"));
    assert!(
        !line.contains("client") && !line.contains("127.0.0.1"),
        "{line}"
    );

    // Whoever connects without a proxy may say what they like.
    let open = Server::with(&["--log-client"]);
    assert_eq!(client_told(&open, "a", "6.6.6.6"), "127.0.0.1");
    let elsewhere = Server::with(&["--log-client", "--trusted-proxy", "10.0.0.0/8"]);
    assert_eq!(client_told(&elsewhere, "a", "6.6.6.6"), "127.0.0.1");

    let behind = [
        "--log-client",
        "--trusted-proxy",
        "127.0.0.1",
        "--trusted-proxy",
        "10.0.0.0/8",
    ];
    let behind = Server::with(&behind);
    let rows = [
        ("a", "1.1.1.1", "1.1.1.1"),
        ("b", "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        ("c", "6.6.6.6, 1.1.1.1, 10.1.2.3", "1.1.1.1"),
        ("d", "1.1.1.1, not an address", "127.0.0.1"),
        ("e", "1.1.1.1 user=00000000 client=9.9.9.9", "127.0.0.1"),
        ("f", "2001:db8::7", "2001:db8::7"),
    ];
    for (user, forwarded, told) in rows {
        assert_eq!(client_told(&behind, user, forwarded), told, "{forwarded}");
    }
}

#[test]
fn whoever_comes_by_a_socket_in_the_file_system_has_an_address_only_by_a_proxys_word() {
    let directory = tempfile::tempdir().unwrap();
    for (more, told) in [
        (&[][..], None),
        (&["--trusted-proxy", "unix"], Some("1.1.1.1")),
    ] {
        let socket = directory.path().join(format!("socket-{}", more.len()));
        let at = format!("unix:{}", socket.display());
        let server = Server::with(
            &[
                &["--log-client", "--log-format", "json", "--listen", &at],
                more,
            ]
            .concat(),
        );
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        let request = "GET /__version__ HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 1.1.1.1\r\nconnection: close\r\n\r\n";
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        stream.read_to_string(&mut String::new()).unwrap();
        let line = access_line(&server, "/__version__", 200);
        assert_eq!(line.get("client").and_then(Value::as_str), told);
    }
}
