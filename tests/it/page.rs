use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::kit::{Answer, ROOT, Server, chunk, transaction_id, user_id};

/// What a browser says that it takes when somebody opens an address.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

fn index(server: &Server, accept: &str) -> Answer {
    let headers = [("accept", accept)];
    server.client().get_with("/", &headers).expect(200)
}

#[test]
fn the_index_is_a_page_for_whoever_asks_for_html_and_text_for_programs() {
    let server = Server::start();
    let plain = server.client().get("/").expect(200);
    assert!(plain.text().contains("GET    /0.1/USER/head"));
    for accept in ["*/*", "application/json", "text/plain, text/html;q=0.5"] {
        let text = index(&server, accept);
        assert_eq!(
            text.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(text.body, plain.body, "{accept}");
        assert_eq!(text.header("vary"), Some("Accept"));
    }
    let page = index(&server, BROWSER);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("vary"), Some("Accept"));
    assert!(page.text().starts_with("<!doctype html>"));
}

#[test]
fn the_page_runs_nothing_but_its_own_files_and_is_held_by_no_other() {
    let server = Server::start();
    let page = index(&server, BROWSER);
    let policy = page.header("content-security-policy").expect("it has one");
    let rules: BTreeMap<&str, &str> = (policy.split("; "))
        .map(|rule| rule.split_once(' ').expect("a name and a value"))
        .collect();
    for (name, value) in [
        ("default-src", "'none'"),
        ("script-src", "'self'"),
        ("style-src", "'self'"),
        ("connect-src", "'self'"),
        ("img-src", "'self' blob:"),
        ("base-uri", "'none'"),
        ("form-action", "'none'"),
        ("frame-ancestors", "'none'"),
        ("require-trusted-types-for", "'script'"),
    ] {
        assert_eq!(rules.get(name), Some(&value), "{name}");
    }
    for loose in ["unsafe", "http", "*", "data:"] {
        assert!(!policy.contains(loose), "{policy}");
    }
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    let text = page.text();
    for inline in ["style=", " onclick=", " onload=", " onerror=", "<style"] {
        assert!(!text.contains(inline), "{inline}");
    }
    assert_eq!(text.matches("<script").count(), 1);
    assert_eq!(text.matches("integrity=\"sha256-").count(), 3);
}

#[test]
fn the_files_of_the_page_have_their_media_types_and_are_asked_about_again() {
    let server = Server::start();
    for (file, media) in [
        ("page.js", "text/javascript; charset=utf-8"),
        ("mentat-sync.js", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
    ] {
        let path = format!("/page/{file}");
        let answer = server.client().get(&path).expect(200);
        assert_eq!(answer.header("content-type"), Some(media));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("public, no-cache"));
        let tag = answer.header("etag").expect("it has one");
        let kept = [("if-none-match", tag)];
        server.client().get_with(&path, &kept).expect(304);
    }
    for path in ["/page/", "/page/page.html", "/page/page.js/"] {
        server.client().get(path).expect_refusal(404, "not-found");
    }
}

#[test]
fn a_server_without_the_page_gives_text_to_all() {
    let server = Server::with(&["--no-page"]);
    let text = index(&server, BROWSER);
    assert_eq!(
        text.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(text.header("vary"), None);
    for file in ["page.js", "page.css", "mentat-sync.js"] {
        let path = format!("/page/{file}");
        server.client().get(&path).expect_refusal(404, "not-found");
    }
}

#[test]
fn a_chunk_that_a_browser_is_made_to_show_runs_nothing() {
    let server = Server::start();
    let mut device = server.device("ada");
    let hostile = chunk("<!doctype html><script>alert(1)</script>");
    device.put_chunk(&hostile).expect(201);
    let answer = device.get(&format!("chunks/{}", hostile.id)).expect(200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let policy = answer.header("content-security-policy");
    assert_eq!(policy, Some("default-src 'none'; sandbox"));
}

#[test]
fn the_newest_transactions_are_told_with_the_number_before_them() {
    let server = Server::start();
    let mut device = server.device("ada");
    let none = device.get("transactions?last=3").expect(200).json();
    assert_eq!(none["seq"], 0);
    assert_eq!(none["from"], ROOT);
    assert_eq!(none["transactions"].as_array().map(Vec::len), Some(0));

    let ids: Vec<String> = (1..=5).map(|n| transaction_id(&n.to_string())).collect();
    let mut parent = ROOT;
    for id in &ids {
        device.commit(id, parent, &[]);
        parent = id;
    }
    let mut told = |query: &str| {
        let json = device
            .get(&format!("transactions?{query}"))
            .expect(200)
            .json();
        let list = json["transactions"].as_array().expect("a list");
        let list = list.iter().map(|id| id.as_str().unwrap().to_owned());
        let from = json["from"].as_str().unwrap().to_owned();
        (
            from,
            json["seq"].as_u64().unwrap(),
            list.collect::<Vec<_>>(),
        )
    };
    assert_eq!(told("last=2"), (ids[2].clone(), 3, ids[3..].to_vec()));
    assert_eq!(told("last=5"), (ROOT.to_owned(), 0, ids.clone()));
    assert_eq!(told("last=1000000"), (ROOT.to_owned(), 0, ids.clone()));
    let to = |id: &str, last: u64| format!("last={last}&to={id}");
    assert_eq!(
        told(&to(&ids[2], 2)),
        (ids[0].clone(), 1, ids[1..3].to_vec())
    );
    assert_eq!(
        told(&to(&ids[0], 9)),
        (ROOT.to_owned(), 0, ids[..1].to_vec())
    );
    assert_eq!(told(&to(ROOT, 9)), (ROOT.to_owned(), 0, Vec::new()));
    let off = to(&transaction_id("nowhere"), 1);
    let refused = device.get(&format!("transactions?{off}"));
    refused.expect_refusal(404, "unknown-transaction");
    for bad in ["last=0", "last=x", "last=1&limit=1"] {
        let refused = device.get(&format!("transactions?{bad}"));
        refused.expect_refusal(400, "bad-query");
    }
}

#[test]
fn a_transaction_says_when_it_came() {
    let server = Server::start();
    let mut device = server.device("ada");
    let id = transaction_id("one");
    device.commit(&id, ROOT, &[]);
    let made = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let place = format!("transactions/{}/{id}.json", &id[..2]);
    let file = std::fs::File::options()
        .write(true)
        .open(server.folder("ada").join(place))
        .unwrap();
    file.set_modified(made).unwrap();
    let answer = device.get(&format!("transactions/{id}")).expect(200);
    let said = answer.header("last-modified");
    assert_eq!(said, Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    let root = device.get(&format!("transactions/{ROOT}")).expect(200);
    assert_eq!(root.header("last-modified"), None);
}

#[test]
fn a_user_who_is_counted_is_told_how_much_is_used_of_what() {
    let server = Server::with(&["--max-user-bytes", "1MiB"]);
    let mut device = server.device("ada");
    let milk = chunk("milk");
    let [first, second] = ["first", "second"].map(transaction_id);
    device.commit(&first, ROOT, &[&milk]);
    device.put_transaction(&second, &first, &[]).expect(201);
    let mut store = || device.get("").expect(200).json();
    let used = (0..200).find_map(|_| {
        let used = store()["used"].clone();
        std::thread::sleep(Duration::from_millis(50));
        used.is_object().then_some(used)
    });
    let used = used.expect("it is counted in ten seconds");
    assert_eq!(used["pending"], 1);
    assert!(used["bytes"].as_u64() > Some(4) && used["files"].as_u64() > Some(2));
    assert_eq!(store()["limits"]["user_bytes"], 1 << 20);

    // Anybody may ask about any uuid: whoever has nothing is not counted.
    let path = format!("/0.1/{}/", user_id("nobody"));
    for _ in 0..3 {
        let nobody = server.client().get(&path).expect(200).json();
        assert!(nobody.get("used").is_none());
    }
    let unlimited = Server::start();
    unlimited.device("ada").commit(&first, ROOT, &[]);
    let told = unlimited.device("ada").get("").expect(200).json();
    assert!(told.get("used").is_none() && told["limits"].get("user_bytes").is_none());
}
