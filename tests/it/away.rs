use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::faults::strace::{self, Tracer};
use crate::full_disk::{beside, in_own_namespace};
use crate::kit::{
    Device, ROOT, Server, chunk, run_with_deadline, skipped, transaction_id, user_id,
};
use crate::waiting::{Stream, event};

/// One way for a store to go away: what is done, and what undoes it.
struct Way {
    name: &'static str,
    goes: fn(&Path),
    comes: Option<fn(&Path)>,
}

fn other(data: &Path) -> PathBuf {
    data.with_file_name("elsewhere")
}

fn moved(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}

const WAYS: [Way; 8] = [
    Way {
        name: "the directory is moved away",
        goes: |data| moved(data, &other(data)),
        comes: Some(|data| moved(&other(data), data)),
    },
    Way {
        name: "and an empty one is in its place",
        goes: |data| {
            moved(data, &other(data));
            fs::create_dir(data).unwrap();
        },
        comes: Some(|data| {
            fs::remove_dir(data).unwrap();
            moved(&other(data), data);
        }),
    },
    Way {
        name: "and an empty store is in its place",
        goes: |data| {
            moved(data, &other(data));
            fs::create_dir_all(data.join("users")).unwrap();
            fs::write(data.join("FORMAT"), "mentat-sync 1\n").unwrap();
        },
        comes: Some(|data| {
            fs::remove_dir_all(data).unwrap();
            moved(&other(data), data);
        }),
    },
    Way {
        name: "the users are moved away",
        goes: |data| moved(&data.join("users"), &other(data)),
        comes: Some(|data| moved(&other(data), &data.join("users"))),
    },
    Way {
        name: "and an empty folder is in their place",
        goes: |data| {
            moved(&data.join("users"), &other(data));
            fs::create_dir(data.join("users")).unwrap();
        },
        comes: Some(|data| {
            fs::remove_dir(data.join("users")).unwrap();
            moved(&other(data), &data.join("users"));
        }),
    },
    Way {
        name: "the users are removed",
        goes: |data| fs::remove_dir_all(data.join("users")).unwrap(),
        comes: None,
    },
    Way {
        name: "and an empty folder is made with perhaps the same inode",
        goes: |data| {
            fs::remove_dir_all(data.join("users")).unwrap();
            fs::create_dir(data.join("users")).unwrap();
        },
        comes: None,
    },
    Way {
        name: "the directory is removed",
        goes: |data| fs::remove_dir_all(data).unwrap(),
        comes: None,
    },
];

/// Every kind of question about a user.
fn answers_say_damaged(server: &Server, way: &str, user: &str) {
    let (piece, id) = (chunk("milk"), transaction_id("next"));
    let body = json!({"parent": ROOT, "chunks": []}).to_string();
    let head = json!({ "head": id }).to_string();
    let ids = json!([piece.id]).to_string();
    let requests = [
        ("GET", "head".to_owned(), String::new()),
        ("GET", String::new(), String::new()),
        ("GET", "transactions".to_owned(), String::new()),
        ("GET", format!("transactions/{ROOT}"), String::new()),
        ("GET", format!("chunks/{}", piece.id), String::new()),
        ("GET", "bundle".to_owned(), String::new()),
        ("GET", "bundle?chunks=none".to_owned(), String::new()),
        ("GET", "events".to_owned(), String::new()),
        ("PUT", format!("chunks/{}", piece.id), "milk".to_owned()),
        ("PUT", format!("transactions/{id}"), body),
        ("PUT", "head".to_owned(), head),
        ("POST", "chunks/missing".to_owned(), ids.clone()),
        ("POST", "chunks/get".to_owned(), ids),
        ("POST", "bundle".to_owned(), String::new()),
        ("DELETE", String::new(), String::new()),
    ];
    for (method, rest, body) in &requests {
        let path = format!("/0.1/{}/{rest}", user_id(user));
        let sent = (*method != "GET").then_some(body.as_bytes());
        let answer = server.client().request(method, &path, &[], sent);
        assert_eq!(
            answer.status, 500,
            "{way}: {method} {rest} of {user}: {answer:?}"
        );
        assert_eq!(answer.json()["code"], "damaged", "{way}: {answer:?}");
    }
}

/// Every kind of question, about a user who is known and one who is not.
pub fn every_answer_says_damaged(server: &Server, way: &str) {
    for user in ["ada", "bob"] {
        answers_say_damaged(server, way, user);
    }
    let alive = server
        .client()
        .request("GET", "/__lbheartbeat__", &[], None);
    alive.expect(200);
    std::thread::sleep(Duration::from_millis(1100));
    let beats = server.client().request("GET", "/__heartbeat__", &[], None);
    assert_eq!(beats.status, 500, "{way}: {beats:?}");
}

#[test]
fn a_store_that_went_away_is_not_empty_and_serves_again_when_it_is_back() {
    for Way { name, goes, comes } in WAYS {
        let server = Server::with(&["--allow-delete"]);
        let mut ada = server.device("ada");
        let (milk, first) = (chunk("milk"), transaction_id("first"));
        ada.commit(&first, ROOT, &[&milk]);
        assert_eq!(server.device("bob").head(), (ROOT.to_owned(), 0));
        let mut events = Stream::open(server.address(), "ada", None);
        events.until(&event(&first, 1));
        let waiter = {
            let mut device = server.device("ada");
            let tag = format!("\"{first}\"");
            std::thread::spawn(move || device.get_with("head?wait=60", &[("If-None-Match", &tag)]))
        };
        std::thread::sleep(Duration::from_millis(300));

        let data = server.data();
        goes(&data);
        let since = Instant::now();
        every_answer_says_damaged(&server, name);
        let waited = waiter.join().unwrap();
        // While all is being removed there is a moment when one user is gone and the rest is there.
        let is_removed = comes.is_none();
        let was_right = waited.status == 500 || is_removed && waited.json()["seq"] == 0;
        assert!(was_right, "{name}: {waited:?}");
        let told = events.until("\r\n0\r\n\r\n");
        assert!(
            is_removed || !told.contains(&event(ROOT, 0)),
            "{name}: {told}"
        );
        assert!(since.elapsed() < Duration::from_secs(30), "{name}");
        let made = fs::read_dir(data.join("users"));
        let made = made.map_or(0, |names| names.count());
        assert_eq!(made, 0, "{name}: somebody was made anew");

        if let Some(comes) = comes {
            comes(&data);
            assert_eq!(ada.head(), (first.clone(), 1), "{name}");
            assert_eq!(server.device("bob").head(), (ROOT.to_owned(), 0), "{name}");
            let second = transaction_id("second");
            ada.commit(&second, &first, &[&milk]);
            let mut events = Stream::open(server.address(), "ada", Some(&first));
            events.until(&event(&second, 2));
        }
    }
}

/// Mounts something over a place in the data directory of a server in its own namespace, or unmounts it.
#[track_caller]
fn mount(server: &Server, program: &str, arguments: &[&str], place: &Path) {
    let mut command = beside(server, program);
    let ended = run_with_deadline(command.args(arguments).arg(place));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_file_system_that_is_mounted_over_the_store_or_a_user_is_damage_until_it_is_unmounted() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let Some(command) = in_own_namespace("true") else {
        return;
    };
    let server = Server::launch(command, data, &["--allow-delete"]);
    let mut ada = server.device("ada");
    let (milk, first) = (chunk("milk"), transaction_id("first"));
    ada.commit(&first, ROOT, &[&milk]);
    let tmpfs: &[&str] = &["-t", "tmpfs", "none"];
    let sound = |ada: &mut Device| {
        assert_eq!(ada.head(), (first.clone(), 1));
        ada.get(&format!("chunks/{}", milk.id)).expect(200);
        assert_eq!(server.device("bob").head(), (ROOT.to_owned(), 0));
    };
    for name in ["users", ""] {
        let place = server.data().join(name);
        mount(&server, "mount", tmpfs, &place);
        every_answer_says_damaged(&server, &format!("mounted over {place:?}"));
        mount(&server, "umount", &[], &place);
        sound(&mut ada);
    }
    server.has_said(|line| line.contains("ERROR") && line.contains("is mounted there"));

    // Over one user's folder: that user's answers alone.
    let place = server.folder("ada");
    mount(&server, "mount", tmpfs, &place);
    answers_say_damaged(&server, "mounted over a user", "ada");
    assert_eq!(server.device("bob").head(), (ROOT.to_owned(), 0));
    mount(&server, "umount", &[], &place);
    sound(&mut ada);

    // Inside it: those that need what is there.
    for inside in ["chunks", "incoming"] {
        let place = server.folder("ada").join(inside);
        mount(&server, "mount", tmpfs, &place);
        assert_eq!(ada.head(), (first.clone(), 1));
        let answer = match inside {
            "chunks" => ada.get(&format!("chunks/{}", milk.id)),
            _ => ada.put_chunk(&chunk("more")),
        };
        answer.expect_refusal(500, "damaged");
        mount(&server, "umount", &[], &place);
        sound(&mut ada);
    }
    ada.commit(&transaction_id("second"), &first, &[&chunk("more")]);
}

/// A user's own folder that is moved away and back is no matter of the store: the user is unknown meanwhile.
#[test]
fn a_user_whose_folder_is_moved_away_is_unknown_until_it_is_back() {
    let server = Server::start();
    let mut ada = server.device("ada");
    let first = transaction_id("first");
    ada.commit(&first, ROOT, &[&chunk("milk")]);
    let (folder, aside) = (server.folder("ada"), other(&server.data()));
    for _ in 0..3 {
        moved(&folder, &aside);
        assert_eq!(ada.head(), (ROOT.to_owned(), 0));
        ada.get(&format!("chunks/{}", chunk("milk").id))
            .expect_refusal(404, "unknown-chunk");
        moved(&aside, &folder);
        assert_eq!(ada.head(), (first.clone(), 1));
    }
}

/// A request that came before the store went away, and is at its end after it: what it wrote is nowhere.
#[test]
fn what_is_written_into_a_store_that_went_away_meanwhile_is_not_acknowledged() {
    let server = Server::start();
    let mut ada = server.device("ada");
    ada.commit(&transaction_id("first"), ROOT, &[&chunk("milk")]);
    let late = chunk("late");
    let (start, end) = late.bytes.split_at(2);
    for (way, from) in [("the directory", ""), ("the users", "users")] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let head = format!(
            "PUT /0.1/{}/chunks/{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            user_id("ada"),
            late.id,
            late.bytes.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(start).unwrap();
        // It is here, and was seen to be about a store that is there.
        std::thread::sleep(Duration::from_millis(300));
        let data = server.data();
        let place = match from {
            "" => data.clone(),
            below => data.join(below),
        };
        moved(&place, &other(&data));
        stream.write_all(end).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        moved(&other(&data), &place);
        assert!(answer.starts_with("HTTP/1.1 500"), "{way}: {answer}");
    }
    ada.put_chunk(&late).expect(201);
}

/// The same where it goes away between the upload's lock and its last sync, each of which takes a second.
#[test]
fn what_is_not_synced_when_the_store_goes_away_is_not_acknowledged() {
    if !strace::works() {
        skipped("syncs that are late", "strace cannot trace here");
        return;
    }
    let server = Server::with(&["--sync", "each"]);
    let mut ada = server.device("ada");
    let milk = chunk("milk");
    ada.commit(&transaction_id("first"), ROOT, &[&milk]);
    let late = [
        "-f",
        "-e",
        "trace=fsync",
        "-e",
        "inject=fsync:delay_enter=1000000",
    ];
    let log = server.data().with_file_name("late.log");
    let tracer = Tracer::attach_to(&[server.pid().to_string()], &log, &late.map(str::to_owned));
    let uploading = {
        let mut device = server.device("ada");
        std::thread::spawn(move || device.put_chunk(&chunk("late")))
    };
    // Its bytes are durable by then, and its name is there, and not durable.
    let name = format!(
        "incoming/chunks/{}/{}",
        &chunk("late").id[..2],
        chunk("late").id
    );
    let name = server.folder("ada").join(name);
    let since = Instant::now();
    while !name.exists() {
        assert!(since.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    let data = server.data();
    moved(&data, &other(&data));
    let answer = uploading.join().unwrap();
    moved(&other(&data), &data);
    tracer.detach();
    assert_eq!(answer.status, 500, "{answer:?}");
    ada.put_chunk(&chunk("late")).expect(201);
}
