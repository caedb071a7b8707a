//! Requests: a success and the refusals of every operation, on a server with a chain of two.

use serde_json::json;

use crate::kit::{
    Answer, Chunk, Client, Connection, ROOT, Server, chunk, digest, transaction_id,
    transaction_json, user_id,
};

/// A request of an operation, and the status of its answer.
pub struct Row {
    pub method: &'static str,
    /// Below the user, or from the top.
    pub template: &'static str,
    /// In place of what [`Ground::url`] makes of the template; what begins with `?` goes behind it.
    pub url: Option<String>,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<Vec<u8>>,
    pub status: u16,
}

pub fn row(method: &'static str, template: &'static str, status: u16) -> Row {
    Row {
        method,
        template,
        url: None,
        headers: Vec::new(),
        body: None,
        status,
    }
}

impl Row {
    pub fn at(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }
}

pub const INDEX: &str = "/";
pub const DOCUMENT: &str = "/openapi.json";
pub const MODULE: &str = "/mentat-sync.js";
pub const PAGE_FILE: &str = "/page/{file}";
pub const STORE: &str = "/0.1/{user}/";
pub const HEAD: &str = "/0.1/{user}/head";
pub const CHECKPOINT: &str = "/0.1/{user}/checkpoint";
pub const EVENTS: &str = "/0.1/{user}/events";
pub const TRANSACTIONS: &str = "/0.1/{user}/transactions";
pub const TRANSACTION: &str = "/0.1/{user}/transactions/{transaction}";
pub const CHUNK: &str = "/0.1/{user}/chunks/{chunk}";
pub const MISSING: &str = "/0.1/{user}/chunks/missing";
pub const ASKED: &str = "/0.1/{user}/chunks/get";
pub const BUNDLE: &str = "/0.1/{user}/bundle";
pub const ADD_VERSION: &str = "/v1/client/add-version/{parent}";
pub const ADD_SNAPSHOT: &str = "/v1/client/add-snapshot/{version}";
pub const SNAPSHOT: &str = "/v1/client/snapshot";
pub const CHILD_VERSION: &str = "/v1/client/get-child-version/{parent}";

/// The media type of a snapshot.
pub const SNAPSHOT_MEDIA: &str = "application/vnd.taskchampion.snapshot";

/// The media type of a version.
pub const SEGMENT: &str = "application/vnd.taskchampion.history-segment";

/// A server with a chain of two, and one pending.
pub struct Ground {
    pub server: Server,
    pub milk: Chunk,
    pub first: String,
    pub second: String,
    pub pending: String,
}

impl Ground {
    pub fn lay(flags: &[&str]) -> Self {
        let server = Server::with(flags);
        let mut device = server.device("ada");
        let milk = chunk("milk");
        let [first, second, pending] = ["first", "second", "pending"].map(transaction_id);
        device.commit(&first, ROOT, &[&milk]);
        device.commit(&second, &first, &[&milk]);
        device.put_transaction(&pending, &second, &[]).expect(201);
        Self {
            server,
            milk,
            first,
            second,
            pending,
        }
    }

    /// The address of something that is there.
    pub fn url(&self, template: &str) -> String {
        template
            .replace("{user}", &user_id("ada"))
            .replace("{file}", "page.js")
            .replace("{transaction}", &self.first)
            .replace("{parent}", &self.first)
            .replace("{version}", &self.first)
            .replace("{chunk}", &self.milk.id)
    }

    pub fn ask(&self, row: &Row) -> Answer {
        let url = match row.url.as_deref() {
            None => self.url(row.template),
            Some(query) if query.starts_with('?') => self.url(row.template) + query,
            Some(other) => self.url(other),
        };
        let user = user_id("ada");
        let mut headers: Vec<(&str, &str)> = (row.headers.iter())
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        headers.extend(who(row.template, &user));
        if (row.method, row.template, row.status) == ("GET", EVENTS, 200) {
            return self.ask_for_events(&url);
        }
        Client::new(self.server.address()).request(row.method, &url, &headers, row.body.as_deref())
    }

    /// Its answer does not end: the first event is enough.
    fn ask_for_events(&self, url: &str) -> Answer {
        let mut connection = Connection::open(self.server.address()).unwrap();
        connection
            .send(format!("GET {url} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .unwrap();
        let mut answer = connection.answer("HEAD").unwrap();
        answer.body.clear();
        answer
    }

    /// What is answered to these bytes, on a connection of their own.
    pub fn tell(&self, method: &str, bytes: &str) -> Answer {
        let mut connection = Connection::open(self.server.address()).unwrap();
        connection.send(bytes).unwrap();
        connection.answer(method).unwrap()
    }
}

/// The header that names the user where no path does.
pub fn who<'a>(template: &str, user: &'a str) -> Option<(&'static str, &'a str)> {
    (template.starts_with("/v1/client/")).then_some(("x-client-id", user))
}

/// A tar of these members.
pub fn tar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, contents) in members {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(contents.len() as u64);
        tar.append_data(&mut header, name, &contents[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A transaction as a member of a bundle.
pub fn member(id: &str, seq: u64, parent: &str, chunks: &[&str]) -> (String, Vec<u8>) {
    let chunks = json!(chunks);
    let json =
        format!("{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":\"{parent}\",\"chunks\":{chunks}}}\n");
    (
        format!("transactions/{}/{id}.json", &id[..2]),
        json.into_bytes(),
    )
}

pub fn head_to(id: &str) -> String {
    json!({ "head": id }).to_string()
}

/// Reads: each as GET, and as HEAD where that is answered alike.
pub fn reads(ground: &Ground) -> Vec<Row> {
    let Ground { first, milk, .. } = ground;
    let absent = format!("/0.1/{{user}}/chunks/{}", digest(b"absent"));
    let unknown = format!("/0.1/{{user}}/transactions/{}", transaction_id("new"));
    let mut rows = Vec::new();
    for method in ["GET", "HEAD"] {
        for template in [
            INDEX,
            DOCUMENT,
            MODULE,
            PAGE_FILE,
            STORE,
            HEAD,
            EVENTS,
            TRANSACTIONS,
            TRANSACTION,
            CHUNK,
            BUNDLE,
            CHILD_VERSION,
            "/__heartbeat__",
            "/__lbheartbeat__",
            "/__version__",
        ] {
            rows.push(row(method, template, 200));
        }
        for template in [
            DOCUMENT,
            MODULE,
            PAGE_FILE,
            HEAD,
            TRANSACTION,
            CHUNK,
            BUNDLE,
            CHILD_VERSION,
        ] {
            rows.push(row(method, template, 304).with("if-none-match", "*"));
            rows.push(row(method, template, 412).with("if-match", "\"other\""));
        }
        rows.extend([
            row(method, INDEX, 200).with("accept", "text/html"),
            row(method, PAGE_FILE, 200).at("/page/page.css"),
            row(method, PAGE_FILE, 404).at("/page/none"),
            row(method, HEAD, 304)
                .at("?wait=1")
                .with("if-none-match", format!("\"{}\"", ground.second)),
            row(method, HEAD, 400).at("?wait=x"),
            row(method, TRANSACTIONS, 200).at(format!("?from={first}&limit=1")),
            row(method, TRANSACTIONS, 200).at("?last=1"),
            row(method, TRANSACTIONS, 200).at(format!("?last=1&to={first}")),
            row(method, TRANSACTIONS, 400).at("?last=1&limit=1"),
            row(method, TRANSACTIONS, 404).at(format!("?last=1&to={}", ground.pending)),
            row(method, TRANSACTIONS, 400).at("?limit=0"),
            row(method, TRANSACTIONS, 404).at(format!("?from={}", ground.pending)),
            row(method, TRANSACTION, 200).at(format!("/0.1/{{user}}/transactions/{ROOT}")),
            row(method, TRANSACTION, 404).at(&unknown),
            row(method, CHUNK, 404).at(&absent),
            row(method, BUNDLE, 200).at(format!("?to={first}")),
            row(method, BUNDLE, 200).at(format!("?to={first}&chunks=none")),
            row(method, BUNDLE, 400).at("?limit=0"),
            row(method, BUNDLE, 400).at("?chunks=all"),
            row(method, BUNDLE, 404).at(format!("?to={}", ground.pending)),
            row(method, CHILD_VERSION, 404).at(CHILD_VERSION.replace("{parent}", &ground.second)),
            row(method, CHILD_VERSION, 410).at(CHILD_VERSION.replace("{parent}", &ground.pending)),
        ]);
    }
    for (template, url) in [
        (TRANSACTION, format!("/0.1/{{user}}/transactions/{first}")),
        (CHUNK, format!("/0.1/{{user}}/chunks/{}", milk.id)),
        (BUNDLE, format!("/0.1/{{user}}/bundle?to={first}")),
    ] {
        rows.push(
            row("GET", template, 206)
                .at(&url)
                .with("range", "bytes=1-2"),
        );
        rows.push(
            row("GET", template, 416)
                .at(&url)
                .with("range", "bytes=999999-"),
        );
    }
    rows
}

/// Uploads of chunks and transactions, and advances of HEAD.
pub fn writes(ground: &Ground) -> Vec<Row> {
    let Ground { first, milk, .. } = ground;
    let new = transaction_id("new");
    let at_new = format!("/0.1/{{user}}/transactions/{new}");
    let absent = digest(b"absent");
    let alias = format!("/0.1/{{user}}/chunks/{}", transaction_id("alias"));
    let list = json!([milk.id, absent]).to_string();
    let too_many = format!("{absent}\n").repeat(100_001);
    vec![
        row("PUT", CHUNK, 201).body("milk"),
        row("PUT", CHUNK, 400).body("eggs"),
        row("PUT", CHUNK, 201).at(&alias).body("milk"),
        row("PUT", CHUNK, 409).at(&alias).body("eggs"),
        row("PUT", CHUNK, 413).body(vec![0; 5000]),
        row("POST", MISSING, 200).body(list.clone()),
        row("POST", MISSING, 200)
            .body(format!("{absent}\n"))
            .with("content-type", "text/plain"),
        row("POST", MISSING, 400).body("milk"),
        row("POST", ASKED, 200).body(list.clone()),
        row("POST", ASKED, 200)
            .body(format!("{absent}\n"))
            .with("content-type", "text/plain"),
        row("POST", ASKED, 400).body("milk"),
        row("POST", ASKED, 413)
            .body(too_many.clone())
            .with("content-type", "text/plain"),
        row("POST", MISSING, 413)
            .body(too_many)
            .with("content-type", "text/plain"),
        row("PUT", TRANSACTION, 201)
            .at(&at_new)
            .body(transaction_json(first, &[&milk.id])),
        row("PUT", TRANSACTION, 400)
            .at(&at_new)
            .body(transaction_json(&new, &[])),
        row("PUT", TRANSACTION, 400).at(&at_new).body("{}"),
        row("PUT", TRANSACTION, 404)
            .at(format!(
                "/0.1/{{user}}/transactions/{}",
                transaction_id("other")
            ))
            .body(transaction_json(first, &[&absent])),
        row("PUT", TRANSACTION, 409)
            .at(&at_new)
            .body(transaction_json(&absent_parent(), &[])),
        row("PUT", TRANSACTION, 409).body(transaction_json(ROOT, &[])),
        row("PUT", HEAD, 400).body("[]"),
        row("PUT", HEAD, 409).body(head_to(&absent_parent())),
        row("PUT", HEAD, 409).body(head_to(first)),
        row("PUT", HEAD, 412)
            .with("if-match", "\"other\"")
            .body(head_to(&ground.pending)),
        row("PUT", HEAD, 413).body(" ".repeat(5000)),
        row("PUT", HEAD, 204).body(head_to(&ground.pending)),
    ]
}

fn snapshot(status: u16, bytes: &str) -> Row {
    let row = row("POST", ADD_SNAPSHOT, status);
    row.with("content-type", SNAPSHOT_MEDIA).body(bytes)
}

fn version(status: u16, parent: &str, bytes: &str) -> Row {
    row("POST", ADD_VERSION, status)
        .at(ADD_VERSION.replace("{parent}", parent))
        .with("content-type", SEGMENT)
        .body(bytes)
}

pub fn checkpoint_of(transaction: &str, chunks: &[&str]) -> String {
    json!({ "transaction": transaction, "chunks": chunks }).to_string()
}

/// The checkpoint: none at first.
pub fn checkpoints(ground: &Ground) -> Vec<Row> {
    let Ground { first, milk, .. } = ground;
    let absent = digest(b"absent");
    let many = vec![milk.id.as_str(); 100_001];
    let mut rows = Vec::new();
    for method in ["GET", "HEAD"] {
        rows.push(row(method, CHECKPOINT, 404));
        rows.push(row(method, SNAPSHOT, 404));
    }
    let put = |status, body: String| row("PUT", CHECKPOINT, status).body(body);
    rows.extend([
        put(400, "[]".to_owned()),
        put(404, checkpoint_of(first, &[&absent])),
        put(409, checkpoint_of(&ground.pending, &[])),
        put(412, checkpoint_of(first, &[])).with("if-match", "*"),
        put(413, checkpoint_of(first, &many)),
        put(204, checkpoint_of(&ground.second, &[&milk.id])),
        put(409, checkpoint_of(first, &[])),
        row("GET", STORE, 200),
    ]);
    for method in ["GET", "HEAD"] {
        rows.push(row(method, SNAPSHOT, 200));
        rows.push(row(method, SNAPSHOT, 304).with("if-none-match", "*"));
        rows.push(row(method, SNAPSHOT, 412).with("if-match", "\"other\""));
        rows.push(row(method, CHECKPOINT, 200));
        rows.push(row(method, CHECKPOINT, 304).with("if-none-match", "*"));
        rows.push(row(method, CHECKPOINT, 412).with("if-match", "\"other\""));
    }
    rows
}

pub fn absent_parent() -> String {
    transaction_id("nowhere")
}

/// Bundles, and at last the end of all.
pub fn pushes(ground: &Ground) -> Vec<Row> {
    let third = transaction_id("third");
    let head = |id: &str| ("HEAD".to_owned(), format!("{id}\n").into_bytes());
    let after = |parent: &str, chunks: &[&str]| member(&third, 4, parent, chunks);
    let absent = digest(b"absent");
    let large = chunk(vec![b'x'; 5000]);
    let large = (
        format!("chunks/{}/{}", &large.id[..2], large.id),
        large.bytes,
    );
    let pending = ground.pending.as_str();
    vec![
        row("POST", BUNDLE, 400).body("not a tar"),
        row("POST", BUNDLE, 404).body(tar(&[after(pending, &[&absent])])),
        row("POST", BUNDLE, 409).body(tar(&[after(&absent_parent(), &[])])),
        row("POST", BUNDLE, 409).body(tar(&[head(&ground.first)])),
        row("POST", BUNDLE, 413).body(tar(&[large])),
        row("POST", BUNDLE, 200).body(tar(&[after(pending, &[]), head(&third)])),
        version(409, &ground.first, "milk"),
        version(400, &third, ""),
        version(413, &third, &"x".repeat(5000)),
        version(200, &third, "milk"),
        snapshot(400, ""),
        snapshot(413, &"x".repeat(5000)),
        snapshot(200, "a state"),
        row("DELETE", STORE, 204),
        row("DELETE", STORE, 204),
    ]
}
