use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mentat_sync::client::{Error, HttpOptions, PushAnswer, Remote, Tries, Unreached, WithChunks};
use mentat_sync::model::{Head, TransactionId, limits};
use mentat_sync::wire::Code;

use super::wire::{First, Relay, Say, Scripted, answer, json};
use super::{
    InMemory, NotedPauses, broken, impatient, options, remote, remote_at, unreached, user, whole,
};
use crate::kit::{ROOT, Server, chunk, transaction_id, user_id};

const HEAD: &str = r#"{"head":"00000000-0000-0000-0000-000000000000","seq":0}"#;

/// A user's chain of one transaction with this many bytes; HEAD.
fn one(server: &Server, name: &str, bytes: usize) -> Head {
    let (id, chunk) = (transaction_id("first"), chunk(vec![7; bytes]));
    server.device(name).commit(&id, ROOT, &[&chunk]);
    Head {
        id: id.parse().unwrap(),
        seq: 1,
    }
}

#[test]
fn an_answer_that_is_cut_anywhere_is_asked_for_again() {
    let server = Server::start();
    let head = one(&server, "ann", 10);
    let whole = server.device("ann").get("head").expect(200);
    let most = 120 + whole.body.len();
    for cut in (0..most).step_by(7) {
        let relay = Relay::to(server.address(), First::CutAnswer(cut));
        assert_eq!(
            remote(relay.address, "ann").head().unwrap(),
            head,
            "cut at {cut}"
        );
        assert_eq!(relay.connections(), 2, "cut at {cut}");
    }
}

#[test]
fn a_push_whose_request_or_answer_is_lost_is_sent_again_from_its_beginning() {
    let server = Server::start();
    let head = one(&server, "ann", 1 << 20);
    let parcel = InMemory::of(server.device("ann").get("bundle").expect(200).body);
    let cuts = [
        First::CutRequest(0),
        First::CutRequest(100),
        First::CutRequest(1 << 19),
        First::CutAnswer(0),
        First::CutAnswer(60),
    ];
    for (number, first) in cuts.into_iter().enumerate() {
        let relay = Relay::to(server.address(), first);
        let name = format!("user {number}");
        let before = parcel.opened.load(Ordering::SeqCst);
        let pushed = remote(relay.address, &name).push_bundle(&parcel).unwrap();
        // Where the first one was taken and its answer lost, HEAD is where the second one wants it.
        let is_there = [PushAnswer::Taken(head), PushAnswer::Lost(head)].contains(&pushed);
        assert!(is_there, "{number}: {pushed:?}");
        assert_eq!(parcel.opened.load(Ordering::SeqCst), before + 2, "{number}");
        assert_eq!(server.device(&name).head().0, head.id.to_string());
    }
}

#[test]
fn a_body_that_is_cut_never_looks_like_an_end() {
    let server = Server::start();
    one(&server, "ann", 5000);
    let whole_bundle = server.device("ann").get("bundle").expect(200).body.len();
    for cut in (1000..whole_bundle).step_by(997) {
        let relay = Relay::to(server.address(), First::CutAnswer(cut));
        let remote = remote(relay.address, "ann");
        let Ok(body) = remote.bundle(TransactionId::ROOT, 10, WithChunks::All) else {
            panic!("the head of the answer is cut at {cut}")
        };
        let error = broken(body.unwrap());
        let why = Unreached::within(&error);
        assert!(
            matches!(why, Some(Unreached::Cut { .. })),
            "cut at {cut}: {error:?}"
        );
    }
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    let busy = |seconds: &str| {
        let headers =
            format!("content-type: application/problem+json\r\nretry-after: {seconds}\r\n");
        let body = r#"{"type":"about:blank","status":503,"title":"","detail":"others are at it","code":"busy"}"#;
        answer("503 Service Unavailable", &headers, body)
    };
    let pauses = NotedPauses::default();
    let noted = || HttpOptions {
        pauses: Arc::new(pauses.clone()),
        ..options()
    };
    let good = json("200 OK", HEAD);
    let server = Scripted::answering(&[&busy("3"), &busy("9"), &good]);
    let url = format!("http://{}", server.address);
    assert_eq!(remote_at(&url, "ann", noted()).head().unwrap(), Head::ROOT);
    assert_eq!(pauses.all(), [3, 9].map(Duration::from_secs));
    // One that is busy for long is left alone, and its word is passed on.
    let server = Scripted::answering(&[&busy("600")]);
    let url = format!("http://{}", server.address);
    let outcome = remote_at(&url, "ann", options()).head();
    assert!(matches!(
        unreached(&outcome),
        Unreached::Busy { status: 503, .. }
    ));
    assert!(outcome.as_ref().is_err_and(Error::is_transient));
    let Err(Error::Offline {
        retry_after,
        source,
    }) = outcome
    else {
        unreachable!()
    };
    assert_eq!(retry_after, Some(Duration::from_secs(600)));
    assert!(source.to_string().contains("others are at it"), "{source}");
    assert_eq!(server.asked().len(), 1);
    // A request of which the body stalled on its way, and a proxy that counts requests.
    for status in ["408 Request Timeout", "429 Too Many Requests"] {
        let page = answer(status, "content-type: text/html\r\n", "<p>");
        let server = Scripted::answering(&[&page, &good]);
        assert_eq!(
            remote(server.address, "ann").head().unwrap(),
            Head::ROOT,
            "{status}"
        );
    }
}

#[test]
fn a_refusal_is_not_asked_for_again() {
    let refusal = |code: &str| {
        let detail = format!("no {}", user_id("ann"));
        format!(
            r#"{{"type":"about:blank","status":400,"title":"","detail":"{detail}","code":"{code}"}}"#
        )
    };
    for (status, code, expected) in [
        ("403 Forbidden", "unknown-user", Code::UnknownUser),
        (
            "507 Insufficient Storage",
            "quota-exceeded",
            Code::QuotaExceeded,
        ),
        ("500 Internal Server Error", "damaged", Code::Damaged),
        (
            "413 Content Too Large",
            "a-word-of-next-year",
            Code::TooLarge,
        ),
        (
            "418 I'm a teapot",
            "a-word-of-next-year",
            Code::MalformedRequest,
        ),
    ] {
        let server = Scripted::answering(&[&json(status, &refusal(code))]);
        let outcome = remote(server.address, "ann").head();
        let Err(Error::Refused {
            status: told,
            code: got,
            detail,
        }) = outcome
        else {
            panic!("{outcome:?}")
        };
        assert_eq!((told.to_string(), got), (status[..3].to_owned(), expected));
        assert!(!detail.contains(&user_id("ann")), "{detail}");
        if code.contains("next-year") {
            assert!(detail.contains(code), "{detail}");
        }
        assert_eq!(server.asked().len(), 1, "{status}");
    }
}

#[test]
fn what_is_no_server_of_ours_is_not_taken_for_one() {
    let page = |status: &str| answer(status, "content-type: text/html\r\n", "<p>Log in");
    let long = format!("[{}]", " ".repeat(limits::ANSWER_BYTES));
    for (answer, asked) in [
        (page("200 OK"), 1),
        (page("404 Not Found"), 1),
        (page("502 Bad Gateway"), 3),
        (page("504 Gateway Timeout"), 3),
        (json("200 OK", "[]"), 1),
        (json("200 OK", "{\"head\":1}"), 1),
        (json("404 Not Found", "not JSON"), 1),
        // The right words, which say that they are something else.
        (answer("200 OK", "content-type: text/html\r\n", HEAD), 1),
        (answer("200 OK", "", HEAD), 1),
        (json("200 OK", &long), 1),
    ] {
        let server = Scripted::answering(&[&answer]);
        let outcome = remote(server.address, "ann").head();
        let why = unreached(&outcome);
        assert!(matches!(why, Unreached::NotOurs { .. }), "{why}");
        assert_eq!(server.asked().len(), asked, "{why}");
    }
    // A page in place of a bundle, which nobody reads as one.
    let server = Scripted::answering(&[&page("200 OK")]);
    let outcome = remote(server.address, "ann").bundle(TransactionId::ROOT, 1, WithChunks::All);
    let outcome = outcome.map(|body| body.map(whole));
    let why = unreached(&outcome);
    assert!(matches!(why, Unreached::NotOurs { .. }), "{why}");
    let server = Scripted::answering(&["SSH-2.0-OpenSSH_9.2\r\n\r\n"]);
    let outcome = remote(server.address, "ann").head();
    let why = unreached(&outcome);
    assert!(matches!(why, Unreached::NotOurs { .. }), "{why}");
}

#[test]
fn a_redirect_is_followed_nowhere() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let to = other.local_addr().unwrap();
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let moved = answer(
            status,
            &format!("location: http://u:secret@{to}/0.1/-/head?x\r\n"),
            "",
        );
        let server = Scripted::answering(&[&moved]);
        let remote = remote(server.address, "ann");
        let outcomes = [
            remote.head().map(|_| ()),
            remote.missing(&[]).map(|_| ()),
            remote.push_bundle(&InMemory::of(vec![0; 10])).map(|_| ()),
        ];
        for outcome in outcomes {
            let why = unreached(&outcome);
            assert!(
                matches!(why, Unreached::Redirected { .. }),
                "{status}: {why}"
            );
            let words = why.to_string();
            assert!(words.contains(&format!("http://{to}")), "{words}");
            assert!(!words.contains("secret"), "{words}");
        }
        assert!(server.asked().len() <= 3, "{:?}", server.asked());
    }
    assert!(other.accept().is_err(), "somebody followed");
}

#[test]
fn an_answer_that_stops_ends_in_time_and_a_slow_one_does_not() {
    let began_with = |bytes: usize| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-tar\r\ncontent-length: {bytes}\r\n\r\n"
        );
        Say::Bytes(head.into_bytes())
    };
    let bundle = |answer: Vec<Say>| {
        let server = Scripted::saying(vec![answer]);
        let remote = remote_at(&format!("http://{}", server.address), "ann", impatient());
        remote.bundle(TransactionId::ROOT, 1, WithChunks::All)
    };
    let began = Instant::now();
    // No answer at all, half of its head, half of its body.
    let silent = bundle(vec![Say::Hang]).map(|_| ());
    assert!(
        matches!(unreached(&silent), Unreached::AnswerTimeout { .. }),
        "{silent:?}"
    );
    let half = bundle(vec![Say::Bytes(b"HTTP/1.1 200 OK\r\n".to_vec()), Say::Hang]).map(|_| ());
    assert!(
        matches!(unreached(&half), Unreached::AnswerTimeout { .. }),
        "{half:?}"
    );
    let stopped = bundle(vec![began_with(20), Say::Bytes(vec![b'x'; 10]), Say::Hang]);
    let error = broken(stopped.unwrap().unwrap());
    let why = Unreached::within(&error);
    assert!(matches!(why, Some(Unreached::Stalled { .. })), "{error:?}");
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    // One that goes on is read to its end, however long that takes: here twice what it may stop for.
    let slow = vec![
        began_with(20),
        Say::Drip(b'x', 20, Duration::from_millis(100)),
    ];
    assert_eq!(whole(bundle(slow).unwrap().unwrap()), [b'x'; 20]);
}

#[test]
fn a_server_that_is_not_there_is_told_apart_from_a_name_that_leads_nowhere() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let pauses = NotedPauses::default();
    let noted = HttpOptions {
        pauses: Arc::new(pauses.clone()),
        ..options()
    };
    let refused = remote_at(&format!("http://{closed}"), "ann", noted).head();
    assert!(
        matches!(unreached(&refused), Unreached::Connect { .. }),
        "{refused:?}"
    );
    assert_eq!(pauses.all().len(), 2);
    let nowhere = remote_at("http://nothing.invalid", "ann", options()).head();
    assert!(
        matches!(unreached(&nowhere), Unreached::Name { .. }),
        "{nowhere:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("none").display());
    let absent = remote_at(&socket, "ann", options()).head();
    assert!(
        matches!(unreached(&absent), Unreached::Connect { .. }),
        "{absent:?}"
    );
    for outcome in [refused, nowhere, absent] {
        assert!(outcome.is_err_and(|error| error.is_transient()));
    }
}

#[test]
fn one_who_tries_for_ever_is_there_when_the_server_is_back() {
    let busy = answer("503 Service Unavailable", "", "");
    let mut answers = vec![busy.as_str(); 20];
    let good = json("200 OK", HEAD);
    answers.push(&good);
    let server = Scripted::answering(&answers);
    let forever = HttpOptions {
        tries: Tries::Forever,
        ..options()
    };
    let url = format!("http://{}", server.address);
    assert_eq!(remote_at(&url, "ann", forever).head().unwrap(), Head::ROOT);
    assert_eq!(server.asked().len(), 21);
}

#[test]
fn a_server_that_does_not_wait_is_not_asked_all_the_time() {
    let server = Scripted::answering(&["HTTP/1.1 304 Not Modified\r\n\r\n"]);
    let pauses = NotedPauses::default();
    let noted = HttpOptions {
        pauses: Arc::new(pauses.clone()),
        ..options()
    };
    let remote = remote_at(&format!("http://{}", server.address), "ann", noted);
    // Of the last question, which is for HEAD itself, 304 is no answer.
    let outcome = remote.wait(TransactionId::ROOT, Duration::from_secs(2));
    assert!(
        matches!(unreached(&outcome), Unreached::NotOurs { .. }),
        "{outcome:?}"
    );
    let (paused, asked) = (pauses.all().len(), server.asked().len());
    assert!(
        paused + 1 >= asked,
        "{asked} questions with {paused} pauses"
    );
}

#[test]
fn nobody_is_shown_the_users_id() {
    let id = user_id("ann");
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{closed}");
    let remote = remote_at(&url, "ann", options());
    let error = remote.head().unwrap_err();
    let shown = [
        format!("{remote:?}"),
        format!("{error}"),
        format!("{error:?}"),
        format!("{:?}", options()),
    ];
    for words in shown {
        assert!(
            !words.contains(&id) && !words.contains(&id.replace('-', "")),
            "{words}"
        );
        assert!(!words.contains(&id[..13]), "{words}");
    }
    assert_eq!(user("ann").to_string(), id);
}
