use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::{
    Answer, Device, Ending, Finished, ROOT, Server, binary, chunk, run_with_deadline,
    transaction_id, tree, user_id,
};
use crate::waiting::Stream;

const ADA: &str = "ada";

pub fn users(data: &Path, arguments: &[&str]) -> Finished {
    let mut command = binary();
    run_with_deadline(command.arg("users").args(arguments).arg("--data").arg(data))
}

#[track_caller]
fn works(server: &Server, arguments: &[&str]) -> String {
    let ended = users(&server.data(), arguments);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    ended.stdout
}

#[track_caller]
fn fails(server: &Server, arguments: &[&str], words: &str) {
    let before = tree(&server.data());
    let ended = users(&server.data(), arguments);
    assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
    assert!(ended.stderr.contains(words), "{arguments:?}: {ended:?}");
    assert!(!ended.stderr.contains(&user_id(ADA)), "{ended:?}");
    assert_eq!(tree(&server.data()), before, "{arguments:?}");
}

/// Writes a file as a server would, for its owner alone.
fn write(file: &Path, text: impl AsRef<[u8]>) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[track_caller]
pub fn is_moving(answer: Answer) {
    let answer = answer.expect_refusal(503, "moving");
    let after = answer.header("retry-after").expect("it says when");
    assert!(after.parse::<u64>().is_ok_and(|after| after > 0), "{after}");
}

/// A user with one committed transaction, one that is pending, and a checkpoint.
fn with_something(server: &Server) -> Device {
    let mut device = server.device(ADA);
    let (a, b) = (chunk("a"), chunk("b"));
    let (first, second) = (transaction_id("first"), transaction_id("second"));
    device.put_chunk(&a).expect(201);
    device.put_chunk(&b).expect(201);
    device.put_transaction(&first, ROOT, &[&a.id]).expect(201);
    device.put_head(&first).expect(204);
    device
        .put_transaction(&second, &first, &[&b.id])
        .expect(201);
    let checkpoint = serde_json::json!({"transaction": first, "chunks": [a.id]});
    device.put("checkpoint", checkpoint.to_string()).expect(204);
    device
}

/// Everything that can be asked about a user: method, path, headers, body.
fn all_requests() -> Vec<(&'static str, String, Vec<(String, String)>, Option<Vec<u8>>)> {
    let (user, first) = (user_id(ADA), transaction_id("first"));
    let base = format!("/0.1/{user}");
    let a = chunk("a");
    let mut asked: Vec<(&str, String, Vec<(String, String)>, Option<Vec<u8>>)> = Vec::new();
    let mut ask = |method, path: String, body: Option<&str>| {
        let body = body.map(|body| body.as_bytes().to_vec());
        asked.push((method, path, Vec::new(), body));
    };
    for path in [
        "",
        "/",
        "/head",
        "/checkpoint",
        "/events",
        "/transactions",
        "/bundle",
    ] {
        ask("GET", format!("{base}{path}"), None);
        ask("HEAD", format!("{base}{path}"), None);
    }
    ask("GET", format!("{base}/head?wait=20"), None);
    ask("GET", format!("{base}/transactions/{first}"), None);
    ask("GET", format!("{base}/transactions/{ROOT}"), None);
    ask("GET", format!("{base}/chunks/{}", a.id), None);
    let second = transaction_id("second");
    ask(
        "PUT",
        format!("{base}/head"),
        Some(&format!("{{\"head\":\"{second}\"}}")),
    );
    let third = format!("{{\"parent\":\"{first}\",\"chunks\":[]}}");
    let path = format!("{base}/transactions/{}", transaction_id("third"));
    ask("PUT", path, Some(&third));
    ask(
        "PUT",
        format!("{base}/chunks/{}", chunk("new").id),
        Some("new"),
    );
    ask("PUT", format!("{base}/chunks/{}", a.id), Some("a"));
    let checkpoint = format!("{{\"transaction\":\"{first}\",\"chunks\":[]}}");
    ask("PUT", format!("{base}/checkpoint"), Some(&checkpoint));
    ask(
        "POST",
        format!("{base}/chunks/missing"),
        Some(&format!("[\"{}\"]", a.id)),
    );
    ask(
        "POST",
        format!("{base}/chunks/get"),
        Some(&format!("[\"{}\"]", a.id)),
    );
    ask("POST", format!("{base}/bundle"), Some(&"\0".repeat(1024)));
    for path in [format!("get-child-version/{ROOT}"), "snapshot".to_owned()] {
        ask("GET", format!("/v1/client/{path}"), None);
    }
    ask(
        "POST",
        format!("/v1/client/add-version/{first}"),
        Some("version"),
    );
    ask(
        "POST",
        format!("/v1/client/add-snapshot/{first}"),
        Some("snapshot"),
    );
    for (_, path, headers, _) in &mut asked {
        if path.starts_with("/v1") {
            headers.push(("X-Client-Id".to_owned(), user.clone()));
            let media = match path.contains("snapshot") {
                true => "application/vnd.taskchampion.snapshot",
                false => "application/vnd.taskchampion.history-segment",
            };
            headers.push(("Content-Type".to_owned(), media.to_owned()));
        }
    }
    // Once more with the user said elsewhere.
    asked.push((
        "GET",
        "/0.1/-/head".to_owned(),
        vec![("Authorization".to_owned(), format!("Bearer {user}"))],
        None,
    ));
    asked
}

#[track_caller]
fn all_are_moving(server: &Server) {
    for (method, path, headers, body) in all_requests() {
        let headers: Vec<(&str, &str)> = (headers.iter())
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let mut client = server.client();
        let answer = client.request(method, &path, &headers, body.as_deref());
        println!("{method} {path}");
        match method {
            "HEAD" => {
                let answer = answer.expect(503);
                assert!(answer.header("retry-after").is_some());
            }
            _ => is_moving(answer),
        }
    }
}

#[test]
fn every_request_about_a_frozen_user_is_answered_moving_by_every_process_and_moves_nothing() {
    let server = Server::with(&["--allow-delete"]);
    let other = server.another();
    with_something(&server);
    server.device("bob").put_chunk(&chunk("b")).expect(201);
    let said = works(&server, &["freeze", &user_id(ADA)]);
    assert!(said.contains("is frozen"), "{said}");
    let file = server.folder(ADA).join("frozen");
    assert_eq!(fs::read_to_string(file).unwrap(), "frozen\n");
    let before = tree(&server.folder(ADA));
    for server in [&server, &other] {
        all_are_moving(server);
        // Everybody else is served, and the server is well.
        server.device("bob").get("head").expect(200);
        server.client().get("/__heartbeat__").expect(200);
        server.client().get("/__lbheartbeat__").expect(200);
    }
    let after = tree(&server.folder(ADA));
    assert_eq!(after, before);
    // Also for who starts then.
    let server = server.restart();
    all_are_moving(&server);
    works(&server, &["thaw", &user_id(ADA)]);
    for server in [&server, &other] {
        let mut device = server.device(ADA);
        assert_eq!(device.head(), (transaction_id("first"), 1));
        device.get("checkpoint").expect(200);
    }
    let mut device = other.device(ADA);
    device.put_head(&transaction_id("second")).expect(204);
    assert_eq!(server.device(ADA).head(), (transaction_id("second"), 2));
}

#[test]
fn waiters_and_streams_of_a_user_who_freezes_end_at_once_on_every_process() {
    let server = Server::start();
    let other = server.another();
    let first = transaction_id("first");
    with_something(&server);
    let mut streams = Vec::new();
    let mut waiters = Vec::new();
    for server in [&server, &other] {
        let mut stream = Stream::open(server.address(), ADA, None);
        stream.until(&first);
        streams.push(stream);
        let (address, first) = (server.address(), first.clone());
        waiters.push(thread::spawn(move || {
            let mut device = Device::new(address, &user_id(ADA));
            let held = format!("\"{first}\"");
            let answer = device.get_with("head?wait=60", &[("If-None-Match", &held)]);
            (answer, Instant::now())
        }));
    }
    thread::sleep(Duration::from_millis(300));
    assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
    works(&server, &["freeze", &user_id(ADA)]);
    let frozen = Instant::now();
    for waiter in waiters {
        let (answer, when) = waiter.join().unwrap();
        is_moving(answer);
        assert!(
            when < frozen + Duration::from_millis(1500),
            "{:?}",
            when - frozen
        );
    }
    for mut stream in streams {
        assert!(!stream.try_until("never said"), "it ends");
        assert!(frozen.elapsed() < Duration::from_secs(3));
    }
    let errors = server.said();
    assert!(
        !errors.iter().any(|line| line.contains("ERROR")),
        "{errors:?}"
    );
}

/// What is acknowledged is there, though the user freezes and thaws under the writers all the time; and while the user is
/// frozen nothing changes.
#[test]
fn what_is_acknowledged_while_a_user_freezes_and_thaws_is_there_and_a_frozen_one_does_not_change() {
    let server = Server::start();
    let servers = [&server, &server.another()];
    let ends = AtomicBool::new(false);
    let acknowledged = AtomicU64::new(0);
    let refused = AtomicU64::new(0);
    works(&server, &["add", &user_id(ADA)]);
    thread::scope(|scope| {
        for (n, server) in servers.into_iter().enumerate() {
            let (ends, acknowledged, refused) = (&ends, &acknowledged, &refused);
            scope.spawn(move || {
                let mut device = server.device(ADA);
                for round in 0.. {
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    let head = device.get("head");
                    if head.status == 503 {
                        is_moving(head);
                        refused.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(1));
                        continue;
                    }
                    let head = head.expect(200).json()["head"].as_str().unwrap().to_owned();
                    let id = transaction_id(&format!("{n} {round}"));
                    let put = device.put_transaction(&id, &head, &[]);
                    if put.status != 201 {
                        continue;
                    }
                    match device.put_head(&id).status {
                        204 => acknowledged.fetch_add(1, Ordering::Relaxed),
                        409 => continue,
                        503 => refused.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other}"),
                    };
                }
            });
        }
        let _ending = Ending(&ends);
        for _ in 0..8 {
            thread::sleep(Duration::from_millis(100));
            works(&server, &["freeze", &user_id(ADA)]);
            let before = fs::read(server.folder(ADA).join("HEAD")).unwrap();
            thread::sleep(Duration::from_millis(50));
            assert_eq!(fs::read(server.folder(ADA).join("HEAD")).unwrap(), before);
            works(&server, &["thaw", &user_id(ADA)]);
        }
    });
    let (_, seq) = server.device(ADA).head();
    assert_eq!(seq, acknowledged.load(Ordering::Relaxed));
    assert!(seq > 0 && refused.load(Ordering::Relaxed) > 0);
}

#[test]
fn thaw_refuses_who_is_gone_or_incoming_and_says_what_force_risks() {
    let server = Server::start();
    with_something(&server);
    let (user, file) = (user_id(ADA), server.folder(ADA).join("frozen"));
    let short = &user[..8];
    assert!(works(&server, &["thaw", &user]).contains("is not frozen"));
    for (state, words) in [
        ("gone", "sent to another box"),
        ("incoming", "on its way here"),
    ] {
        write(&file, format!("{state}\n"));
        is_moving(server.device(ADA).get("head"));
        fails(&server, &["thaw", short], words);
        fails(&server, &["thaw", short], "--force");
        fails(&server, &["freeze", short], words);
        fails(&server, &["mv", short, &user_id("eve")], "frozen");
        let ended = users(&server.data(), &["thaw", "--force", short]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains("never comes together"), "{ended:?}");
        server.device(ADA).get("head").expect(200);
        assert!(!file.exists());
    }
    for rubbish in ["", "melted\n", "frozen", "frozen\nmore\n"] {
        write(&file, rubbish);
        is_moving(server.device(ADA).get("head"));
        if rubbish == "frozen" {
            works(&server, &["thaw", short]);
            continue;
        }
        fails(&server, &["thaw", short], "cannot be read");
        let fsck = run_with_deadline(binary().args(["fsck", "--data"]).arg(server.data()));
        assert_eq!(fsck.code, Some(1), "{fsck:?}");
        assert!(fsck.stdout.contains("thaw --force"), "{fsck:?}");
        works(&server, &["thaw", "--force", short]);
    }
    write(&file, "ready\n");
    fails(&server, &["freeze", short], "came from another box");
    works(&server, &["thaw", short]);
    server.device(ADA).get("head").expect(200);
    // Nothing is left that could be served, whatever is said.
    write(&file, "gone\n");
    fs::remove_file(server.folder(ADA).join("HEAD")).unwrap();
    fails(&server, &["thaw", "--force", short], "no HEAD here");
    is_moving(server.device(ADA).get("head"));
    fails(&server, &["thaw", &user_id("nobody")], "there is no user");
    fails(&server, &["freeze", &user_id("nobody")], "there is no user");
}

#[test]
fn a_frozen_user_is_listed_checked_and_removed_and_gc_lets_it_be() {
    let server = Server::with(&["--allow-delete"]);
    let user = user_id(ADA);
    for (state, deleted) in [
        ("frozen", true),
        ("ready", true),
        ("gone", false),
        ("incoming", false),
    ] {
        with_something(&server);
        let folder = server.folder(ADA);
        write(&folder.join("frozen"), format!("{state}\n"));
        let listed = works(&server, &["--json"]);
        let line: serde_json::Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(line["state"], state, "{listed}");
        let tool = |arguments: &[&str]| {
            let ended =
                run_with_deadline(binary().args(arguments).arg("--data").arg(server.data()));
            assert_eq!(ended.code, Some(0), "{arguments:?} {state}: {ended:?}");
            ended
        };
        let fsck = tool(&["fsck"]);
        assert!(!fsck.stdout.contains("frozen"), "{fsck:?}");
        let health = tool(&["health", "--json"]);
        let health: serde_json::Value = serde_json::from_str(&health.stdout).unwrap();
        assert_eq!(
            (&health["users"], &health["damaged"]),
            (&1.into(), &0.into())
        );
        let frozen = u64::from(state != "gone");
        assert_eq!(health["frozen"], frozen, "{state}");
        let line = tool(&["health"]).stdout;
        assert_eq!(line.contains("(1 frozen)"), state != "gone", "{line}");
        let before = tree(&folder);
        let gc = tool(&["gc", "--grace", "0s", "--force"]);
        assert!(gc.stderr.contains("frozen"), "{gc:?}");
        tool(&["gc", "--dry-run", "--grace", "0s"]);
        assert_eq!(tree(&folder), before);
        let path = format!("/0.1/{user}/");
        let answer = server.client().request("DELETE", &path, &[], None);
        if deleted {
            answer.expect(204);
            assert!(!folder.exists(), "{state}");
            continue;
        }
        is_moving(answer);
        assert_eq!(tree(&folder), before);
        if state == "incoming" {
            fails(&server, &["rm", "--yes", &user], "on the way here");
            works(&server, &["thaw", "--force", &user]);
        }
        works(&server, &["rm", "--yes", &user]);
        assert!(!folder.exists(), "{state}");
    }
}
