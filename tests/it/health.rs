use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use mentat_sync::upkeep::fsck::CheckOptions;

use crate::kit::{
    Finished, ROOT, Server, binary, chunk, run_with_deadline, transaction_id, user_id,
};
use crate::stock::{Stock, check};

fn health(arguments: &[&str]) -> Finished {
    run_with_deadline(binary().arg("health").args(arguments))
}

fn health_of(data: &Path, arguments: &[&str]) -> Finished {
    run_with_deadline(
        binary()
            .arg("health")
            .arg("--data")
            .arg(data)
            .args(arguments),
    )
}

/// What `--json` says, and with which exit status.
#[track_caller]
fn told(finished: Finished) -> (Option<i32>, Value) {
    assert_eq!(finished.stdout.lines().count(), 1, "{finished:?}");
    assert_eq!(finished.stderr, "", "{finished:?}");
    let told = serde_json::from_str(&finished.stdout).expect("an object");
    (finished.code, told)
}

/// The exit status, and the one line for a person.
#[track_caller]
fn said(finished: Finished) -> (Option<i32>, String) {
    assert_eq!(finished.stdout.lines().count(), 1, "{finished:?}");
    assert_eq!(finished.stderr, "", "{finished:?}");
    (finished.code, finished.stdout.trim_end().to_owned())
}

fn addresses(server: &Server) -> Vec<String> {
    let text = fs::read_to_string(server.data().join("serving")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until there are so many addresses in `serving`.
#[track_caller]
fn until_there_are(server: &Server, count: usize) {
    let until = Instant::now() + Duration::from_secs(60);
    while addresses(server).len() != count {
        assert!(Instant::now() < until, "{:?}", addresses(server));
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address())
}

#[test]
fn all_is_well_with_a_store_that_is_served() {
    let server = Server::start();
    let (code, fresh) = told(health_of(&server.data(), &["--json"]));
    assert_eq!(code, Some(0));
    let keys: Vec<&String> = fresh.as_object().unwrap().keys().collect();
    let mut expected = [
        "ok",
        "up",
        "users",
        "damaged",
        "frozen",
        "free_bytes",
        "last_gc",
        "last_copy",
        "last_write",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(fresh["ok"], true);
    assert_eq!(fresh["up"], true);
    assert_eq!((&fresh["users"], &fresh["damaged"]), (&json!(0), &json!(0)));
    assert!(fresh["free_bytes"].as_u64().unwrap() > 0);
    for never in ["last_gc", "last_copy", "last_write"] {
        assert_eq!(fresh[never], Value::Null, "{never}");
    }

    let before = std::time::SystemTime::now() - Duration::from_secs(1);
    let mut ada = server.device("ada");
    ada.commit(&transaction_id("first"), ROOT, &[&chunk("one")]);
    server.device("ben").put_chunk(&chunk("one")).expect(201);
    let gc = run_with_deadline(binary().args(["gc", "--data"]).arg(server.data()));
    assert_eq!(gc.code, Some(0), "{gc:?}");
    fs::write(server.data().join("last-copy"), "2026-11-28T21:50:00Z\n").unwrap();
    let (code, told) = told(health_of(&server.data(), &["--json"]));
    assert_eq!(code, Some(0));
    assert_eq!(told["users"], 2);
    assert_eq!(told["last_copy"], "2026-11-28T21:50:00Z");
    for now in ["last_gc", "last_write"] {
        let time = humantime::parse_rfc3339(told[now].as_str().unwrap()).unwrap();
        assert!(time >= before - Duration::from_secs(1), "{now} {told}");
    }
    let (code, line) = said(health_of(&server.data(), &[]));
    assert_eq!(code, Some(0));
    assert!(
        line.starts_with(&format!("well: up at {}, 2 users, ", url(&server))),
        "{line}"
    );
    assert!(line.contains("last copy 2026-11-28T21:50:00Z"), "{line}");
}

#[test]
fn the_address_is_there_while_the_server_serves_and_no_longer() {
    let server = Server::start();
    assert_eq!(addresses(&server), [url(&server)]);
    let kept = server.keeper();
    assert_eq!(server.stop().code(), Some(0));
    let data = kept.path().join("data");
    assert!(!data.join("serving").exists());
    let (code, told) = told(health_of(&data, &["--json"]));
    assert_eq!(
        (code, &told["ok"], &told["up"]),
        (Some(1), &json!(false), &json!(false))
    );
    assert_eq!(told["users"], 0);
    // Who is not to be served is well.
    let (code, line) = said(health_of(&data, &["--at-rest"]));
    assert_eq!(code, Some(0), "{line}");
    assert!(line.starts_with("well: at rest, "), "{line}");
}

#[test]
fn the_address_of_a_killed_server_misleads_nobody() {
    let mut server = Server::start();
    let address = server.address();
    server.kill();
    assert_eq!(addresses(&server).len(), 1);
    let is_down = |words: &str| {
        let (code, told) = told(health_of(&server.data(), &["--json"]));
        assert_eq!((code, &told["up"]), (Some(1), &json!(false)), "{words}");
        let (code, line) = said(health_of(&server.data(), &[]));
        assert_eq!(code, Some(1));
        assert!(
            line.starts_with("NOT WELL: ") && line.contains(words),
            "{line}"
        );
    };
    is_down("no server answers at http://");
    // Another server of ours has the port now, for another directory.
    let mut taker = Server::with(&["--listen", &address.to_string()]);
    is_down("serves another directory");
    taker.kill();
    // Or a program that says yes to everything.
    let listener = TcpListener::bind(address).unwrap();
    let answering = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    is_down("serves another directory");
    answering.join().unwrap();
}

#[test]
fn several_servers_on_one_directory_each_leave_their_address() {
    let server = Server::start();
    let mut second = server.another();
    let third = server.another();
    let mut expected = [&server, &second, &third].map(url);
    expected.sort();
    let mut listed = addresses(&server);
    listed.sort();
    assert_eq!(listed, expected);
    second.kill();
    let ended = url(&third);
    assert_eq!(third.stop().code(), Some(0));
    let left = addresses(&server);
    assert!(
        left.contains(&url(&server)) && !left.contains(&ended),
        "{left:?}"
    );
    // One that is up is enough, whichever it is.
    let (code, told) = told(health_of(&server.data(), &["--json"]));
    assert_eq!((code, &told["up"]), (Some(0), &json!(true)));
    // The next one to start clears what the killed one left.
    let fourth = server.another();
    until_there_are(&server, 2);
    assert_eq!(addresses(&server), [url(&server), url(&fourth)]);
}

#[test]
fn many_servers_that_start_and_end_at_once_lose_no_address() {
    let server = Server::start();
    let others: Vec<Server> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..6).map(|_| scope.spawn(|| server.another())).collect();
        starting
            .into_iter()
            .map(|one| one.join().unwrap())
            .collect()
    });
    assert_eq!(addresses(&server).len(), 7);
    std::thread::scope(|scope| {
        for other in others {
            scope.spawn(move || assert_eq!(other.stop().code(), Some(0)));
        }
    });
    assert_eq!(addresses(&server), [url(&server)]);
}

#[test]
fn a_server_is_asked_without_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let unix = format!("unix:{}", socket.display());
    let server = Server::with(&["--listen", &unix]);
    let host = server.address().to_string();
    for way in [
        url(&server),
        format!("{}/", url(&server)),
        host,
        unix.clone(),
    ] {
        let (code, told) = told(health(&["--json", "--url", &way]));
        assert_eq!(code, Some(0), "{way}");
        let nothing = json!({
            "ok": true, "up": true, "users": null, "damaged": null, "frozen": null, "free_bytes": null,
            "last_gc": null, "last_copy": null, "last_write": null,
        });
        assert_eq!(told, nothing);
        let (code, line) = said(health(&["--url", &way]));
        assert_eq!((code, line), (Some(0), format!("well: up at {way}")));
    }
    assert_eq!(addresses(&server), [url(&server), unix.clone()]);
    // And with one, both are looked at: another directory is not this server's.
    let (code, _) = told(health_of(&server.data(), &["--json", "--url", &unix]));
    assert_eq!(code, Some(0));
    let stock = Stock::full(3);
    let (code, line) = said(health_of(&stock.data(), &["--url", &unix]));
    assert_eq!(code, Some(1));
    assert!(line.contains("serves another directory"), "{line}");
    let way = url(&server);
    assert_eq!(server.stop().code(), Some(0));
    for way in [way, unix] {
        let (code, told) = told(health(&["--json", "--url", &way]));
        assert_eq!(
            (code, &told["up"], &told["ok"]),
            (Some(1), &json!(false), &json!(false))
        );
    }
}

#[test]
fn whatever_is_at_the_address_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // It takes the connection, and drips bytes for ever.
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                while stream
                    .write_all(b"HTTP/1.1 200 OK\r\nx: y\r\n".get(..1).unwrap())
                    .is_ok()
                {
                    std::thread::sleep(Duration::from_millis(300));
                }
            });
        }
    });
    let before = Instant::now();
    let (code, line) = said(health(&["--url", &address]));
    assert_eq!(code, Some(1));
    assert!(line.contains("no server answers at"), "{line}");
    assert!(before.elapsed() < Duration::from_secs(30));
    for (answer, words) in [
        ("HTTP/1.1 500 no\r\n\r\n", "it answers 500"),
        ("HTTP/1.1 301 no\r\nLocation: /\r\n\r\n", "it answers 301"),
        ("SSH-2.0-OpenSSH\r\n", "no server of HTTP"),
        ("", "no server of HTTP"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = std::io::Read::read(&mut stream, &mut [0; 1000]);
            let _ = stream.write_all(answer.as_bytes());
        });
        let (code, line) = said(health(&["--url", &address]));
        answering.join().unwrap();
        assert_eq!(code, Some(1), "{answer}");
        assert!(line.contains(words), "{answer}: {line}");
    }
}

/// What is done to a user's folder, for a person, and what the line says of it.
type Harm = (&'static str, fn(&Path), &'static str);

#[test]
fn whoever_cannot_be_served_is_counted_and_named_by_eight_digits() {
    let harms: &[Harm] = &[
        (
            "no HEAD",
            |folder| fs::remove_file(folder.join("HEAD")).unwrap(),
            "unfinished copy",
        ),
        (
            "a HEAD of nothing",
            |folder| fs::write(folder.join("HEAD"), "").unwrap(),
            "not one id",
        ),
        (
            "a HEAD that leads nowhere",
            |folder| fs::write(folder.join("HEAD"), format!("{}\n", transaction_id("?"))).unwrap(),
            "it is not there",
        ),
        (
            "a symlink",
            |folder| {
                let moved = folder.with_extension("elsewhere");
                fs::rename(folder, &moved).unwrap();
                std::os::unix::fs::symlink(&moved, folder).unwrap();
            },
            "no folder has the name",
        ),
        (
            "a file",
            |folder| {
                fs::remove_dir_all(folder).unwrap();
                fs::write(folder, "").unwrap();
            },
            "no folder has the name",
        ),
        (
            "a mode that shuts it",
            |folder| fs::set_permissions(folder, fs::Permissions::from_mode(0o000)).unwrap(),
            "",
        ),
        (
            "a directory for the lock",
            |folder| {
                fs::remove_file(folder.join("lock")).unwrap();
                fs::create_dir(folder.join("lock")).unwrap();
            },
            "of another kind",
        ),
    ];
    for (what, harm, words) in harms {
        let server = Server::start();
        for user in ["ada", "ben"] {
            server
                .device(user)
                .commit(&transaction_id("first"), ROOT, &[&chunk("one")]);
        }
        harm(&server.folder("ada"));
        let (code, told) = told(health_of(&server.data(), &["--json"]));
        assert_eq!(code, Some(1), "{what}");
        let seen = (&told["ok"], &told["up"], &told["users"], &told["damaged"]);
        assert_eq!(
            seen,
            (&json!(false), &json!(true), &json!(2), &json!(1)),
            "{what}"
        );
        let (code, line) = said(health_of(&server.data(), &[]));
        assert_eq!(code, Some(1), "{what}");
        let ada = user_id("ada");
        assert!(
            line.contains(&format!("NOT WELL: user {}", &ada[..8])),
            "{what}: {line}"
        );
        assert!(
            line.contains(words) && !line.contains(&ada),
            "{what}: {line}"
        );
        assert!(!line.contains(&user_id("ben")[..8]), "{what}: {line}");
        // So that it can be cleared away.
        if server.folder("ada").is_dir() {
            fs::set_permissions(server.folder("ada"), fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
}

#[test]
fn what_cannot_be_looked_at_is_not_called_well_or_unwell() {
    let directory = tempfile::tempdir().unwrap();
    for (path, words) in [
        (directory.path().join("absent"), "cannot open"),
        (directory.path().to_owned(), "no store here"),
    ] {
        let finished = health_of(&path, &["--json"]);
        assert_eq!(finished.code, Some(3), "{finished:?}");
        assert!(finished.stderr.contains(words), "{finished:?}");
        assert_eq!(finished.stdout, "");
    }
    // Nothing was made.
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    for bad in [
        &["--url", "ftp://localhost:1"][..],
        &["--url", "8000"],
        &["--url", "localhost:1", "--at-rest"],
        &["--what"],
    ] {
        assert_eq!(health(bad).code, Some(2), "{bad:?}");
    }
}

#[test]
fn too_little_room_is_not_well() {
    let stock = Stock::full(3);
    let (code, told) = told(health_of(&stock.data(), &["--json", "--at-rest"]));
    assert_eq!(code, Some(0));
    let more = told["free_bytes"].as_u64().unwrap().saturating_mul(2);
    let (code, line) = said(health_of(
        &stock.data(),
        &["--at-rest", "--min-free", &more.to_string()],
    ));
    assert_eq!(code, Some(1));
    assert!(line.contains("is too little"), "{line}");
}

#[test]
fn a_copy_that_is_too_old_is_not_well_where_it_is_asked_for() {
    let stock = Stock::full(3);
    let ask = |more: &[&str]| said(health_of(&stock.data(), &[&["--at-rest"], more].concat()));
    let within = ["--copy-within", "2d"];
    assert_eq!(ask(&[]).0, Some(0));
    let (code, line) = ask(&within);
    assert_eq!(code, Some(1));
    assert!(line.contains("no copy was ever made"), "{line}");
    let ago = |days: u64| {
        let time = std::time::SystemTime::now() - Duration::from_secs(days * 86_400);
        let line = format!("{}\n", humantime::format_rfc3339_seconds(time));
        fs::write(stock.path("last-copy"), line).unwrap();
    };
    ago(1);
    assert_eq!(ask(&within).0, Some(0));
    ago(3);
    let (code, line) = ask(&within);
    assert_eq!(code, Some(1));
    assert!(line.contains("the last copy is of 2"), "{line}");
    fs::write(stock.path("last-copy"), "yesterday\n").unwrap();
    assert_eq!(ask(&[]).0, Some(0));
    assert_eq!(ask(&within).0, Some(1));
}

#[test]
fn the_two_files_at_the_top_are_no_strangers() {
    let server = Server::start();
    server
        .device("ada")
        .commit(&transaction_id("first"), ROOT, &[&chunk("one")]);
    fs::write(server.data().join("last-copy"), "2026-11-28T21:50:00Z\n").unwrap();
    assert!(server.data().join("serving").exists());
    let seen = check(&server.data(), &CheckOptions::default());
    assert_eq!(seen.words(), [] as [&str; 0], "{seen:#?}");
    let copy = server.data().with_file_name("copy");
    let taken = run_with_deadline(
        binary()
            .args(["snapshot", "--data"])
            .arg(server.data())
            .arg(&copy),
    );
    assert_eq!(taken.code, Some(0), "{taken:?}");
    // Nobody serves the copy, and no copy was made of it.
    for file in ["serving", "last-copy"] {
        assert!(!copy.join(file).exists(), "{file}");
    }
    // A server starts where they are.
    let kept: Arc<TempDir> = server.keeper();
    drop(server);
    let server = Server::on(kept, &[]);
    server.client().get("/__heartbeat__").expect(200);
}

#[test]
fn a_server_that_goes_by_another_host_is_asked_all_the_same() {
    let server = Server::with(&["--host", "sync.example.org"]);
    server.client().get("/__heartbeat__").expect(421);
    let (code, told) = told(health_of(&server.data(), &["--json"]));
    assert_eq!((code, &told["up"]), (Some(0), &json!(true)));
    let (code, line) = said(health(&["--url", &url(&server)]));
    assert_eq!(code, Some(0), "{line}");
}
