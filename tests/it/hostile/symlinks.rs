//! Symlinks that somebody who may write into the store has planted there, at every kind of place: what
//! they lead to is never read and never written. The places of `files::no_symlink_in_the_store_is_followed`
//! are names that hold one thing; here are the folders between, and what only some requests or commands touch.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use crate::kit::{
    Chunk, ROOT, Server, binary, chunk, run_with_deadline, transaction_id, transaction_json, tree,
    user_id,
};

const FLAGS: &[&str] = &["--uuid-chunk-ids", "--allow-delete"];

/// What stands outside, under whatever name.
const SECRET: &str = "what stands outside";

/// A store with something at every kind of place, that nobody serves.
struct Store {
    data: Arc<TempDir>,
    committed: Chunk,
    pending: Chunk,
    first: String,
    next: String,
    /// Aliases of the two chunks.
    aliases: [String; 2],
}

impl Store {
    fn make() -> Self {
        let server = Server::with(FLAGS);
        let mut device = server.device("ada");
        let [committed, pending] = ["committed", "pending"].map(chunk);
        let [first, next] = ["first", "next"].map(transaction_id);
        let aliases = ["committed alias", "pending alias"].map(transaction_id);
        let mut upload = |alias: &String, chunk: &Chunk| {
            device
                .put(&format!("chunks/{alias}"), &chunk.bytes)
                .expect(201);
        };
        upload(&aliases[0], &committed);
        upload(&aliases[1], &pending);
        device
            .put_transaction(&first, ROOT, &[&aliases[0]])
            .expect(201);
        device.put_head(&first).expect(204);
        device
            .put_transaction(&next, &first, &[&aliases[1]])
            .expect(201);
        let data = server.keeper();
        assert_eq!(server.stop().code(), Some(0));
        Self {
            data,
            committed,
            pending,
            first,
            next,
            aliases,
        }
    }

    fn top(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// A place by its name, in which `{…}` stands for one of the ids and `ab/` for its first digits.
    fn place(&self, name: &str) -> PathBuf {
        let ids = [
            ("{committed}", &self.committed.id),
            ("{pending}", &self.pending.id),
            ("{first}", &self.first),
            ("{next}", &self.next),
            ("{alias}", &self.aliases[0]),
            ("{pending alias}", &self.aliases[1]),
        ];
        let mut name = name.replace("{user}", &format!("users/{}", user_id("ada")));
        for (word, id) in ids {
            name = name.replace(&format!("ab/{word}"), &format!("{}/{id}", &id[..2]));
            name = name.replace(&format!("ab-of-{word}"), &id[..2]);
            name = name.replace(word, id);
        }
        assert!(!name.contains('{'), "{name}");
        self.top().join(name)
    }
}

/// Every kind of place in the store.
const PLACES: &[&str] = &[
    "users",
    "tmp",
    "trash",
    "{user}",
    "{user}/HEAD",
    "{user}/log",
    "{user}/lock",
    "{user}/gate",
    "{user}/lost+found",
    "{user}/chunks",
    "{user}/chunks/ab-of-{committed}",
    "{user}/chunks/ab-of-{pending}",
    "{user}/chunks/ab/{committed}",
    "{user}/chunks/ab/{pending}",
    "{user}/transactions",
    "{user}/transactions/ab-of-{first}",
    "{user}/transactions/ab-of-{next}",
    "{user}/transactions/ab/{first}.json",
    "{user}/transactions/ab/{next}.json",
    "{user}/aliases",
    "{user}/aliases/ab-of-{alias}",
    "{user}/aliases/ab-of-{pending alias}",
    "{user}/aliases/ab/{alias}",
    "{user}/aliases/ab/{pending alias}",
    "{user}/incoming",
    "{user}/incoming/tmp",
    "{user}/incoming/chunks",
    "{user}/incoming/chunks/ab-of-{pending}",
    "{user}/incoming/chunks/ab/{pending}",
    "{user}/incoming/transactions",
    "{user}/incoming/transactions/{next}.json",
    "{user}/incoming/aliases",
    "{user}/incoming/aliases/ab-of-{pending alias}",
    "{user}/incoming/aliases/ab/{pending alias}",
];

/// Puts a symlink at a place. It leads outside, to what stood there before, with a file of each
/// kind added that the store would take, or to a secret; or to nothing, for a write to make.
fn plant(place: &Path, outside: &Path, dangling: bool) {
    let target = outside.join("target");
    if place.symlink_metadata().is_ok() {
        fs::rename(place, &target).unwrap();
    } else {
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        if !dangling {
            let is_folder = place.extension().is_none()
                && (place.file_name().unwrap().len() < 20 || place.ends_with("users"));
            match is_folder {
                true => fs::create_dir(&target).unwrap(),
                false => fs::write(&target, SECRET).unwrap(),
            }
        }
    }
    // Whoever reads a file or a chunk through the link gives itself away.
    if target.is_file() {
        fs::write(&target, SECRET).unwrap();
    } else if target.is_dir() {
        for name in tree(&target).into_keys() {
            let file = target.join(name);
            if file.file_name().unwrap().len() == 64 {
                fs::write(file, SECRET).unwrap();
            }
        }
    }
    if dangling {
        let _ = fs::rename(&target, outside.join("aside"));
    }
    symlink(&target, place).unwrap();
}

/// Everything that comes back for a request, also where it is broken off.
fn say(server: &Server, method: &str, rest: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let path = server.device("ada").path(rest);
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut heard = Vec::new();
    // What came before it broke off counts too.
    let _ = stream.read_to_end(&mut heard);
    format!("{method} {path}: {}", String::from_utf8_lossy(&heard))
}

/// All that a client may ask, and what comes of it.
fn ask(store: &Store, server: &Server) -> Vec<String> {
    let (extra, last) = (chunk("extra"), transaction_id("last"));
    let chunks = [&store.committed, &store.pending, &extra];
    let ids = chunks.map(|chunk| &chunk.id).into_iter();
    let ids: Vec<&String> = ids.chain(&store.aliases).collect();
    let (first, next) = (&store.first, &store.next);
    let mut heard = Vec::new();
    let mut say = |method: &str, rest: &str, body: &[u8]| {
        heard.push(say(server, method, rest, body));
    };
    for round in 0..2 {
        for rest in ["", "head", "transactions", "bundle"] {
            say("GET", rest, b"");
        }
        for id in &ids {
            say("GET", &format!("chunks/{id}"), b"");
        }
        for id in [first, next, &last] {
            say("GET", &format!("transactions/{id}"), b"");
        }
        say("POST", "chunks/missing", json!(ids).to_string().as_bytes());
        for id in &ids {
            say("POST", "chunks/get", json!([id]).to_string().as_bytes());
        }
        if round == 1 {
            break;
        }
        for chunk in chunks {
            say("PUT", &format!("chunks/{}", chunk.id), &chunk.bytes);
        }
        for (alias, chunk) in store.aliases.iter().zip(chunks) {
            say("PUT", &format!("chunks/{alias}"), &chunk.bytes);
        }
        for (id, parent, chunk) in [
            (first, ROOT, &store.aliases[0]),
            (next, first, &store.aliases[1]),
            (&last, next, &extra.id),
        ] {
            let body = transaction_json(parent, &[chunk]);
            say("PUT", &format!("transactions/{id}"), body.as_bytes());
            let body = json!({ "head": id }).to_string();
            say("PUT", "head", body.as_bytes());
        }
    }
    heard
}

/// What the commands print, all that they may change asked for.
fn commands(store: &Store) -> String {
    let data = store.top();
    let mut said = String::new();
    for arguments in [
        &["users", "--json"] as &[&str],
        &["log", &user_id("ada")],
        &["fsck", "--json"],
        &["gc", "--grace", "0s", "--force"],
        &["fsck", "--repair"],
    ] {
        let mut command = binary();
        command.args(arguments).arg("--data").arg(&data);
        let finished = run_with_deadline(&mut command);
        assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
        said += &finished.stdout;
        said += &finished.stderr;
    }
    said
}

/// One place, with a link that leads to something or to nothing.
fn try_place(name: &str, dangling: bool) {
    let what = format!("{name}, dangling: {dangling}");
    let store = Store::make();
    let outside = tempfile::tempdir().unwrap();
    plant(&store.place(name), outside.path(), dangling);
    let before = tree(outside.path());

    let mut heard = Vec::new();
    // It may refuse to start: then that is what came of it.
    let start = || std::panic::catch_unwind(|| Server::on(Arc::clone(&store.data), FLAGS)).ok();
    if let Some(server) = start() {
        heard = ask(&store, &server);
    }
    assert_eq!(tree(outside.path()), before, "{what}");
    heard.push(commands(&store));
    assert_eq!(tree(outside.path()), before, "{what}: by a command");
    if let Some(server) = start() {
        heard.push(say(&server, "DELETE", "", b""));
    }
    assert_eq!(tree(outside.path()), before, "{what}: deleted");
    for said in heard {
        assert!(!said.contains(SECRET), "{what}: {said}");
        // Nor is anything told that only stands behind the link.
        let behind = match name {
            "users" | "{user}" | "{user}/HEAD" => "head",
            name if name.starts_with("{user}/transactions") && name.contains("first") => {
                &store.first
            }
            "{user}/transactions" => &store.first,
            _ => continue,
        };
        let (asked, answered) = said.split_once(": ").unwrap_or_default();
        let told = answered.starts_with("HTTP/1.1 200") && answered.contains(&store.first);
        let is_read = asked.starts_with("GET") && asked.ends_with(behind);
        assert!(!is_read || !told, "{what}: {said}");
    }
}

#[test]
fn no_symlink_at_any_kind_of_place_is_read_or_written_through() {
    std::thread::scope(|scope| {
        let each = PLACES.len().div_ceil(4);
        for places in PLACES.chunks(each) {
            scope.spawn(move || {
                for name in places {
                    for dangling in [false, true] {
                        try_place(name, dangling);
                    }
                }
            });
        }
    });
}
