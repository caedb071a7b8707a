//! One of several boxes: the users that it is for, those who were moved to it, and all others.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::kit::{
    Answer, Client, Device, ROOT, Server, binary, chunk, run_with_deadline, transaction_id,
};

const HERE: &str = "2b44d1fb-10b1-426f-9247-bb680e5fe0c8";
const ELSEWHERE: &str = "6b44d1fb-10b1-426f-9247-bb680e5fe0c8";

/// A device of the user with this id.
fn device(server: &Server, user: &str) -> Device {
    Device::new(server.address(), user)
}

fn folder(server: &Server, user: &str) -> PathBuf {
    server.data().join("users").join(user)
}

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    Client::new(server.address()).request(method, path, headers, Some(b""))
}

/// The paths of the document that are about a user, each with its methods, as requests for this one: path and headers.
fn questions_about(user: &str) -> Vec<(String, String, Vec<(String, String)>)> {
    let document: Value =
        serde_json::from_str(include_str!("../../src/http/openapi.json")).unwrap();
    let bearer = format!("Bearer {user}");
    let mut questions = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let of_a_client = path.starts_with("/v1/");
        if !path.contains("{user}") && !of_a_client {
            continue;
        }
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            if !["GET", "HEAD", "PUT", "POST", "DELETE"].contains(&method.as_str()) {
                continue;
            }
            let mut path = path.clone();
            while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
                let id = match &path[from + 1..to] {
                    "user" => "USER".to_owned(),
                    "chunk" => chunk("a").id,
                    _ => transaction_id("a"),
                };
                path.replace_range(from..=to, &id);
            }
            let history = "application/vnd.taskchampion.history-segment";
            let media = ("content-type".to_owned(), history.to_owned());
            let told = ("authorization".to_owned(), bearer.clone());
            let client = ("x-client-id".to_owned(), user.to_owned());
            if of_a_client {
                for who in [
                    client,
                    ("x-client-id".to_owned(), user.to_uppercase()),
                    told,
                ] {
                    questions.push((method.clone(), path.clone(), vec![media.clone(), who]));
                }
            } else {
                let named = path.replace("USER", user);
                questions.push((method.clone(), named, Vec::new()));
                questions.push((method, path.replace("USER", "-"), vec![told]));
            }
        }
    }
    assert!(questions.len() > 30, "{}", questions.len());
    questions
}

#[test]
fn whatever_is_asked_about_a_user_of_another_box_is_misdirected_and_leaves_nothing() {
    for flags in [&["--new-users", "allow"], &["--new-users", "deny"]] {
        let flags = [&["--allow-delete", "--shard", "0-5"], &flags[..]].concat();
        let server = Server::with(&flags);
        for (method, path, headers) in questions_about(ELSEWHERE) {
            let headers: Vec<_> = headers
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()))
                .collect();
            let answer = ask(&server, &method, &path, &headers);
            if method == "HEAD" {
                answer.expect(421);
                continue;
            }
            let answer = answer.expect_refusal(421, "wrong-shard");
            assert!(!answer.text().contains(ROOT), "{method} {path}");
            assert!(!answer.text().contains("10b1"), "{method} {path}");
        }
        assert!(!folder(&server, ELSEWHERE).exists());
        ask(&server, "GET", "/__heartbeat__", &[]).expect(200);
        ask(
            &server,
            "GET",
            "/0.1/6B44D1FB-10b1-426f-9247-bb680e5fe0c8/head",
            &[],
        )
        .expect_refusal(400, "malformed-id");
    }
}

#[test]
fn a_user_of_this_box_is_served_and_may_be_new() {
    let server = Server::with(&["--shard", "00-1f,2b,c0"]);
    let mut theirs = device(&server, HERE);
    assert_eq!(theirs.head(), (ROOT.to_owned(), 0));
    theirs.commit(&transaction_id("one"), ROOT, &[&chunk("one")]);
    assert_eq!(theirs.head().1, 1);
    device(&server, ELSEWHERE)
        .get("head")
        .expect_refusal(421, "wrong-shard");
}

#[test]
fn a_user_who_was_moved_to_this_box_is_served_until_the_folder_goes() {
    let old = Server::start();
    let one = transaction_id("one");
    device(&old, ELSEWHERE).commit(&one, ROOT, &[&chunk("one")]);
    let server = Server::with(&["--shard", "0-5", "--allow-delete"]);
    let mut theirs = device(&server, ELSEWHERE);
    theirs.get("head").expect_refusal(421, "wrong-shard");
    let copied = run_with_deadline(
        std::process::Command::new("cp")
            .arg("-a")
            .arg(folder(&old, ELSEWHERE))
            .arg(folder(&server, ELSEWHERE)),
    );
    assert_eq!(copied.code, Some(0), "{copied:?}");
    assert_eq!(theirs.head(), (one.clone(), 1));
    let two = transaction_id("two");
    theirs.commit(&two, &one, &[&chunk("two")]);
    assert_eq!(theirs.head(), (two.clone(), 2));
    // A client that waits when the folder goes is not told of the root either.
    let mut events = std::net::TcpStream::connect(server.address()).unwrap();
    let request = format!("GET /0.1/{ELSEWHERE}/events HTTP/1.1\r\nhost: x\r\n\r\n");
    std::io::Write::write_all(&mut events, request.as_bytes()).unwrap();
    let timeout = Some(std::time::Duration::from_secs(3));
    events.set_read_timeout(timeout).unwrap();
    let mut seen = vec![0; 4096];
    let read = events.read(&mut seen).unwrap();
    let mut told = String::from_utf8_lossy(&seen[..read]).into_owned();
    fs::rename(folder(&server, ELSEWHERE), server.data().join("moved")).unwrap();
    while let Ok(read @ 1..) = events.read(&mut seen) {
        told.push_str(&String::from_utf8_lossy(&seen[..read]));
    }
    assert!(told.contains(&two) && !told.contains(ROOT), "{told}");
    theirs.get("head").expect_refusal(421, "wrong-shard");
    theirs
        .put_transaction(&transaction_id("three"), &two, &[])
        .expect_refusal(421, "wrong-shard");
    assert!(!folder(&server, ELSEWHERE).exists());
    fs::rename(server.data().join("moved"), folder(&server, ELSEWHERE)).unwrap();
    assert_eq!(theirs.head(), (two, 2));
    let all = format!("/0.1/{ELSEWHERE}/");
    ask(&server, "DELETE", &all, &[]).expect(204);
    ask(&server, "DELETE", &all, &[]).expect_refusal(421, "wrong-shard");
}

#[test]
fn a_range_that_says_nothing_is_a_mistake_of_usage() {
    let top = Arc::new(tempfile::tempdir().unwrap());
    for bad in ["5-0", "0-05", "A", "x", "0-", ",", "0-5,00"] {
        let mut command = binary();
        command.args(["serve", "--shard", bad, "--listen", "127.0.0.1:0", "--data"]);
        let refused = run_with_deadline(command.arg(top.path().join("data")));
        assert_eq!(refused.code, Some(2), "{bad}: {refused:?}");
        assert!(refused.stderr.contains("--shard"), "{refused:?}");
    }
    assert!(!top.path().join("data").exists());
}

#[test]
fn a_user_is_added_or_renamed_only_to_an_id_that_the_box_is_for() {
    let server = Server::with(&["--shard", "0-5"]);
    let data = server.data();
    let users = |words: &[&str]| {
        let mut command = binary();
        command
            .env("MENTAT_SYNC_SHARD", "0-5")
            .arg("users")
            .arg("--data");
        run_with_deadline(command.arg(&data).args(words))
    };
    let refused = users(&["add", ELSEWHERE]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("another box"), "{refused:?}");
    assert!(!refused.stderr.contains("10b1"), "{refused:?}");
    assert!(!folder(&server, ELSEWHERE).exists());
    assert_eq!(users(&["add", HERE]).code, Some(0));
    assert_eq!(users(&["mv", HERE, ELSEWHERE]).code, Some(1));
    assert!(folder(&server, HERE).exists());
    for _ in 0..12 {
        let added = users(&["add"]);
        assert_eq!(added.code, Some(0), "{added:?}");
        assert!(
            matches!(added.stdout.as_bytes()[0], b'0'..=b'5'),
            "{added:?}"
        );
    }
    let wrong = users(&["add", "--shard", "5-0"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}
