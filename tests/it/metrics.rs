use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::kit::{
    Answer, Client, ROOT, Server, chunk, digest, run_with_deadline, transaction_id, user_id,
};

/// Where a server tells its numbers.
fn metrics_of(server: &Server) -> SocketAddr {
    let line = server.has_said(|line| line.contains(" metrics at http://"));
    let (_, address) = line.split_once(" metrics at http://").unwrap();
    address.parse().unwrap()
}

fn counting(more: &[&str]) -> (Server, SocketAddr) {
    let server = Server::with(&[&["--metrics-listen", "127.0.0.1:0"], more].concat());
    let address = metrics_of(&server);
    (server, address)
}

/// One scrape, read line by line: the samples, and the names that are declared.
#[derive(Debug, Default)]
struct Scrape {
    text: String,
    samples: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
}

impl Scrape {
    #[track_caller]
    fn of(address: SocketAddr) -> Self {
        let answer = Client::new(address).get("/metrics").expect(200);
        assert_eq!(
            answer.header("content-type"),
            Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
        );
        Self::parse(answer.text())
    }

    /// Reads the text as OpenMetrics 1.0 has it: each family declared once, before its samples; the last line says that
    /// it is whole.
    #[track_caller]
    fn parse(text: &str) -> Self {
        let mut scrape = Scrape {
            text: text.to_owned(),
            ..Scrape::default()
        };
        let (mut helped, mut family) = (BTreeSet::new(), String::new());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.last(), Some(&"# EOF"), "{text}");
        assert!(text.ends_with('\n'));
        for line in &lines[..lines.len() - 1] {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').unwrap();
                assert!(helped.insert(name.to_owned()), "twice: {line}");
                assert!(words.ends_with('.') && words.len() > 10, "{line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(name.starts_with("mentat_sync_"), "{line}");
                assert!(helped.contains(name), "no HELP: {line}");
                let before = scrape.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "twice: {line}");
                family = name.to_owned();
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let bare = name.split('{').next().unwrap();
                let suffixes: &[&str] = match scrape.types[&family].as_str() {
                    "counter" => &["_total"],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "gauge" => &[""],
                    other => panic!("{other}"),
                };
                let is_of = |suffix: &&str| bare == format!("{family}{suffix}");
                assert!(suffixes.iter().any(is_of), "{line} under {family}");
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
                assert_eq!(
                    scrape.samples.insert(name.to_owned(), value),
                    None,
                    "twice: {line}"
                );
            }
        }
        scrape
    }

    fn get(&self, name: &str) -> f64 {
        self.samples
            .get(&format!("mentat_sync_{name}"))
            .copied()
            .unwrap_or(0.0)
    }

    fn requests(&self, route: &str, status: u16) -> f64 {
        self.get(&format!(
            "requests_total{{route=\"{route}\",status=\"{status}\"}}"
        ))
    }

    /// All the requests that were answered.
    fn all_requests(&self) -> BTreeMap<String, u64> {
        let name = "mentat_sync_requests_total";
        let requests = self
            .samples
            .iter()
            .filter(|(sample, _)| sample.starts_with(name));
        requests
            .map(|(sample, count)| (sample[name.len()..].to_owned(), *count as u64))
            .collect()
    }
}

const HEAD: &str = "/0.1/{user}/head";
const CHUNK: &str = "/0.1/{user}/chunks/{chunk}";
const TRANSACTION: &str = "/0.1/{user}/transactions/{transaction}";

#[test]
fn each_request_is_counted_once_under_its_route_and_status() {
    let (server, metrics) = counting(&[]);
    assert!(Scrape::of(metrics).all_requests().is_empty());
    let mut ada = server.device("ada");
    let one = chunk("one");
    let [first, second, third] = ["first", "second", "third"].map(transaction_id);
    ada.commit(&first, ROOT, &[&one]);
    ada.put_chunk(&one).expect(201);
    ada.get(&format!("chunks/{}", one.id)).expect(200);
    ada.get(&format!("chunks/{}", digest(b"never"))).expect(404);
    ada.get_with("head", &[("if-none-match", &format!("\"{first}\""))])
        .expect(304);
    ada.put("head", "{").expect(400);
    // Two build on the first: one wins, the other has lost a race.
    ada.put_transaction(&second, &first, &[]).expect(201);
    ada.put_transaction(&third, &first, &[]).expect(201);
    ada.put_head(&second).expect(204);
    ada.put_head(&third).expect_refusal(409, "not-a-descendant");
    // To say the same again is no race; nor is a transaction that nobody knows.
    ada.put_head(&second)
        .expect_refusal(409, "not-a-descendant");
    ada.put_head(&transaction_id("nobody"))
        .expect_refusal(409, "unknown-transaction");
    let path = ada.path("head");
    let body = format!("{{\"head\":\"{third}\"}}");
    let stale = [("if-match", "\"not it\"")];
    ada.client
        .request("PUT", &path, &stale, Some(body.as_bytes()))
        .expect(412);
    let scrape = Scrape::of(metrics);
    let expected = [
        (HEAD, 204, 2),
        (HEAD, 304, 1),
        (HEAD, 400, 1),
        (HEAD, 409, 3),
        (HEAD, 412, 1),
        (CHUNK, 201, 2),
        (CHUNK, 200, 1),
        (CHUNK, 404, 1),
        (TRANSACTION, 201, 3),
    ];
    let expected: BTreeMap<String, u64> = expected
        .into_iter()
        .map(|(route, status, count)| (format!("{{route=\"{route}\",status=\"{status}\"}}"), count))
        .collect();
    assert_eq!(scrape.all_requests(), expected);
    assert_eq!(scrape.get("head_moves_total"), 2.0);
    assert_eq!(scrape.get("races_lost_total"), 2.0);
    // Each is timed once.
    for (route, count) in [(HEAD, 8.0), (CHUNK, 4.0), (TRANSACTION, 3.0)] {
        let labels = format!("{{route=\"{route}\"}}");
        assert_eq!(scrape.get(&format!("request_seconds_count{labels}")), count);
        assert!(scrape.get(&format!("request_seconds_sum{labels}")) > 0.0);
        let all = format!("request_seconds_bucket{{le=\"+Inf\",route=\"{route}\"}}");
        assert_eq!(scrape.get(&all), count, "{}", scrape.text);
    }
    assert!(scrape.get("sync_seconds_count") > 0.0);
    assert!(scrape.get("free_bytes") > 0.0);
    assert_eq!(scrape.types["mentat_sync_request_seconds"], "histogram");
    // Scrapes are not counted as requests.
    assert_eq!(Scrape::of(metrics).all_requests(), expected);
}

#[test]
fn a_bundle_that_loses_a_race_and_one_that_wins_are_counted() {
    let (server, metrics) = counting(&[]);
    let [first, second, third] = ["first", "second", "third"].map(transaction_id);
    let mut ada = server.device("ada");
    ada.commit(&first, ROOT, &[&chunk("one")]);
    ada.commit(&second, &first, &[&chunk("two")]);
    let all = ada.get("bundle").expect(200).body;
    // Another user takes in the same, and then loses against it.
    let mut ben = server.device("ben");
    let push = |ben: &mut crate::kit::Device, bundle: &[u8]| -> Answer {
        let path = ben.path("bundle");
        ben.client.request("POST", &path, &[], Some(bundle))
    };
    push(&mut ben, &all).expect(200);
    assert_eq!(Scrape::of(metrics).get("head_moves_total"), 3.0);
    let mut cat = server.device("cat");
    cat.commit(&third, ROOT, &[]);
    push(&mut cat, &all).expect_refusal(409, "not-a-descendant");
    let scrape = Scrape::of(metrics);
    assert_eq!(scrape.get("head_moves_total"), 4.0);
    assert_eq!(scrape.get("races_lost_total"), 1.0);
    let bundle = "/0.1/{user}/bundle";
    assert_eq!(
        (scrape.requests(bundle, 200), scrape.requests(bundle, 409)),
        (2.0, 1.0)
    );
}

#[test]
fn whoever_guesses_paths_makes_no_new_names() {
    let (server, metrics) = counting(&[]);
    let mut client = server.client();
    for number in 0..200 {
        client.get(&format!("/{number}.php")).expect(404);
        client.get(&format!("/0.1/{number}/head")).expect(400);
        let odd = format!("M{number}");
        client
            .request(&odd, &format!("/0.1/{}/head", user_id(&odd)), &[], None)
            .expect(405);
    }
    // Bytes that are no request.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"nonsense\r\n\r\n").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    let scrape = Scrape::of(metrics);
    let expected = [
        ("{route=\"-\",status=\"400\"}", 201),
        ("{route=\"-\",status=\"404\"}", 200),
        ("{route=\"/0.1/{user}/head\",status=\"405\"}", 200),
    ];
    let expected = expected.map(|(labels, count)| (labels.to_owned(), count));
    assert_eq!(scrape.all_requests(), BTreeMap::from(expected));
}

#[test]
fn connections_and_those_who_wait_are_told_while_they_are_there() {
    let (server, metrics) = counting(&[]);
    let settles = |name: &str, value: f64| {
        let until = Instant::now() + Duration::from_secs(30);
        while Scrape::of(metrics).get(name) != value {
            assert!(
                Instant::now() < until,
                "{name}: {}",
                Scrape::of(metrics).get(name)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    settles("connections", 0.0);
    let mut ada = server.device("ada");
    let first = transaction_id("first");
    ada.commit(&first, ROOT, &[]);
    settles("connections", 1.0);
    settles("waiters", 0.0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let held = format!("\"{first}\"");
            server
                .device("ada")
                .get_with("head?wait=60", &[("if-none-match", &held)])
                .expect(200)
        });
        settles("waiters", 1.0);
        settles("connections", 2.0);
        let second = transaction_id("second");
        ada.put_transaction(&second, &first, &[]).expect(201);
        ada.put_head(&second).expect(204);
        waiting.join().unwrap();
    });
    settles("waiters", 0.0);
    drop(ada);
    settles("connections", 0.0);
    let scrape = Scrape::of(metrics);
    // The one who waited is counted, and not timed: that was its choice.
    assert_eq!(scrape.requests(HEAD, 200), 1.0);
    assert_eq!(
        scrape.get("request_seconds_count{route=\"/0.1/{user}/head\"}"),
        2.0
    );
    assert_eq!(scrape.get("queue"), 0.0);
}

#[test]
fn who_is_frozen_is_counted_by_the_word_and_so_is_a_proxy_that_leads_to_the_wrong_box() {
    let (server, metrics) = counting(&["--shard", "0"]);
    let user = format!("0{}", &user_id("ada")[1..]);
    let data = server.data();
    let users = |arguments: &[&str]| {
        let mut command = crate::kit::binary();
        let ended = run_with_deadline(
            command
                .arg("users")
                .args(arguments)
                .arg("--data")
                .arg(&data),
        );
        assert_eq!(ended.code, Some(0), "{ended:?}");
    };
    users(&["add", &user]);
    users(&["freeze", &user]);
    let frozen = |state: &str| format!("users_frozen{{state=\"{state}\"}}");
    let until = Instant::now() + Duration::from_secs(60);
    let scrape = loop {
        let scrape = Scrape::of(metrics);
        if scrape.get(&frozen("frozen")) == 1.0 {
            break scrape;
        }
        assert!(Instant::now() < until, "{}", scrape.text);
        std::thread::sleep(Duration::from_millis(100));
    };
    for state in ["gone", "incoming", "ready"] {
        assert_eq!(scrape.get(&frozen(state)), 0.0, "{state}");
    }
    let mut client = server.client();
    client.get(&format!("/0.1/{user}/head")).expect(503);
    let other = format!("1{}", &user_id("ada")[1..]);
    client.get(&format!("/0.1/{other}/head")).expect(421);
    let scrape = Scrape::of(metrics);
    for status in [421, 503] {
        assert_eq!(scrape.requests(HEAD, status), 1.0, "{status}");
    }
}

#[test]
fn users_are_told_of_only_where_that_is_asked_for_and_by_eight_digits() {
    let short = &user_id("ada")[..8];
    let wait = |metrics: SocketAddr, name: &str| {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let scrape = Scrape::of(metrics);
            // Numbers of before its last write are told as well.
            let pending = format!("mentat_sync_user_pending{{user=\"{short}\"}}");
            let is_early = (scrape.samples.get(&pending)).is_some_and(|number| *number < 1.0);
            if scrape.samples.contains_key(&format!("mentat_sync_{name}")) && !is_early {
                return scrape;
            }
            assert!(Instant::now() < until, "no {name}: {}", scrape.text);
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let work = |server: &Server| {
        let mut ada = server.device("ada");
        ada.commit(&transaction_id("first"), ROOT, &[&chunk("one")]);
        ada.put_transaction(&transaction_id("idle"), &transaction_id("first"), &[])
            .expect(201);
        let data = server.data();
        let gc = run_with_deadline(crate::kit::binary().args(["gc", "--data"]).arg(data));
        assert_eq!(gc.code, Some(0), "{gc:?}");
    };
    let (server, metrics) = counting(&[]);
    work(&server);
    let scrape = wait(metrics, "gc_last_run_seconds");
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs_f64();
    assert!((now - scrape.get("gc_last_run_seconds")).abs() < 120.0);
    assert!(
        !scrape.text.contains("{user=\"") && !scrape.text.contains(short),
        "{}",
        scrape.text
    );

    let (server, metrics) = counting(&["--metrics-users"]);
    work(&server);
    wait(metrics, &format!("user_bytes{{user=\"{short}\"}}"));
    let scrape = wait(
        metrics,
        &format!("user_last_write_seconds{{user=\"{short}\"}}"),
    );
    let of = |name: &str| scrape.get(&format!("{name}{{user=\"{short}\"}}"));
    assert!((now - of("user_last_write_seconds")).abs() < 120.0);
    assert_eq!(of("user_pending"), 1.0);
    assert!(of("user_bytes") > 100.0);
    assert_eq!(scrape.get("bytes"), of("user_bytes"));
    assert!(scrape.get("files") > 3.0);
    // No more than 8 digits of anything.
    for id in [user_id("ada"), transaction_id("first"), chunk("one").id] {
        assert!(!scrape.text.contains(&id[..9]), "{id}");
    }
    assert!(!scrape.text.contains(&user_id("ada")[9..]));
    let uuid = regex_lite::Regex::new("[0-9a-f]{9}|[0-9a-f]{4}-[0-9a-f]{4}").unwrap();
    let names = scrape.samples.keys().find(|name| uuid.is_match(name));
    assert_eq!(names, None);
}

#[test]
fn nothing_else_is_answered_where_numbers_are_told_and_no_numbers_elsewhere() {
    let (server, metrics) = counting(&[]);
    server.client().get("/metrics").expect(404);
    let user = user_id("ada");
    for path in [
        "/",
        "/metrics/",
        "/__heartbeat__",
        "/openapi.json",
        "/mentat-sync.js",
        &format!("/0.1/{user}/head"),
    ] {
        Client::new(metrics).get(path).expect(404);
    }
    let refused = Client::new(metrics)
        .request("POST", "/metrics", &[], Some(b"x"))
        .expect(405);
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    let head = Client::new(metrics)
        .request("HEAD", "/metrics", &[], None)
        .expect(200);
    assert!(
        head.header("content-length")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 1000
    );
    let mut stream = TcpStream::connect(metrics).unwrap();
    stream.write_all(b"nonsense\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    // Without the flag nobody listens, and nothing is said of it.
    let plain = Server::start();
    plain.client().get("/metrics").expect(404);
    assert!(!plain.said().iter().any(|line| line.contains("metrics")));
}

#[test]
fn scrapers_that_hang_hold_up_neither_each_other_for_long_nor_those_who_sync() {
    let (server, metrics) = counting(&[]);
    // As many as may be, each half-way through a request; and as many more.
    let mut slow = Vec::new();
    for _ in 0..32 {
        let mut stream = TcpStream::connect(metrics).unwrap();
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\n");
        slow.push(stream);
    }
    let before = Instant::now();
    for _ in 0..100 {
        server.client().get("/__version__").expect(200);
    }
    assert!(before.elapsed() < Duration::from_secs(8));
    // They are let go, and then there is room again.
    let until = Instant::now() + Duration::from_secs(60);
    let scraped = loop {
        let mut stream = TcpStream::connect(metrics).unwrap();
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
        let mut said = String::new();
        if stream.read_to_string(&mut said).is_ok() && said.ends_with("# EOF\n") {
            break said;
        }
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(
        scraped.contains("mentat_sync_requests_total{route=\"/__version__\",status=\"200\"} 100")
    );
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_socket_in_the_file_system_will_do_and_goes_with_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("metrics");
    let at = format!("unix:{}", socket.display());
    let server = Server::with(&["--metrics-listen", &at]);
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    Scrape::parse(said.split_once("\r\n\r\n").unwrap().1);
    assert_eq!(server.stop().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn an_address_that_is_taken_is_said_and_nothing_is_served() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let ended = run_with_deadline(
        crate::kit::binary()
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--metrics-listen",
                &address,
                "--data",
            ])
            .arg(data.path().join("data")),
    );
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains(&format!("cannot listen at {address}")),
        "{ended:?}"
    );
    assert_eq!(ended.stdout, "");
    assert!(!data.path().join("data/serving").exists());
}

const PAGE: &str = include_str!("../../src/docs/watching.md");

/// The names of ours in a text.
fn named_in(text: &str) -> BTreeSet<String> {
    let name = regex_lite::Regex::new("mentat_sync_[a-z_]+").unwrap();
    name.find_iter(text)
        .map(|found| found.as_str().to_owned())
        .collect()
}

#[test]
fn the_page_names_the_numbers_that_there_are_and_the_alerts_use_no_others() {
    let (server, metrics) = counting(&["--metrics-users"]);
    std::fs::write(server.data().join("last-copy"), "2026-11-28T21:50:00Z\n").unwrap();
    let mut ada = server.device("ada");
    ada.commit(&transaction_id("first"), ROOT, &[&chunk("one")]);
    let gc = run_with_deadline(
        crate::kit::binary()
            .args(["gc", "--data"])
            .arg(server.data()),
    );
    assert_eq!(gc.code, Some(0), "{gc:?}");
    let until = Instant::now() + Duration::from_secs(60);
    let scrape = loop {
        let scrape = Scrape::of(metrics);
        let all = [
            "user_bytes",
            "user_pending",
            "gc_last_run_seconds",
            "last_copy_seconds",
        ];
        if all
            .iter()
            .all(|name| scrape.text.contains(&format!("\nmentat_sync_{name}")))
        {
            break scrape;
        }
        assert!(Instant::now() < until, "{}", scrape.text);
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(scrape.get("last_copy_seconds"), 1_795_902_600.0);
    let families: BTreeSet<String> = (scrape.types.iter())
        .map(|(name, kind)| match kind.as_str() {
            "counter" => format!("{name}_total"),
            _ => name.clone(),
        })
        .collect();
    let (table, alerts) = PAGE.split_once("## Alerts").unwrap();
    let (_, table) = table.split_once("## All numbers").unwrap();
    assert_eq!(named_in(table), families);
    // What the rules ask for are samples, as they stand in a scrape.
    let samples: BTreeSet<&str> = scrape
        .samples
        .keys()
        .map(|name| name.split('{').next().unwrap())
        .collect();
    let asked = named_in(alerts);
    assert_eq!(asked.len(), 4);
    for name in asked {
        assert!(samples.contains(name.as_str()), "{name}");
    }
}
