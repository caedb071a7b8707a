use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kit::{Finished, ROOT, Server, run_with_deadline, skipped, transaction_id, user_id};

/// What makes a file as taskchampion-sync-server's storage does, by the statements of its source; the lines that it is given
/// are clients, versions and snapshots.
const MAKE: &str = r#"
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("PRAGMA journal_mode=WAL").fetchone()
for statement in [
    """CREATE TABLE IF NOT EXISTS clients (
        client_id STRING PRIMARY KEY,
        latest_version_id STRING,
        snapshot_version_id STRING,
        versions_since_snapshot INTEGER,
        snapshot_timestamp INTEGER,
        snapshot BLOB);""",
    "CREATE TABLE IF NOT EXISTS versions (version_id STRING PRIMARY KEY, client_id STRING, parent_version_id STRING, history_segment BLOB);",
    "CREATE INDEX IF NOT EXISTS versions_by_parent ON versions (parent_version_id);",
]:
    database.execute(statement)
for line in sys.argv[2:]:
    kind, *words = line.split(" ")
    if kind == "client":
        database.execute("INSERT INTO clients (client_id, latest_version_id) VALUES (?, ?)", words)
    elif kind == "version":
        client, version, parent, text = words
        database.execute("INSERT INTO versions (version_id, client_id, parent_version_id, history_segment) VALUES(?, ?, ?, ?)",
            (version, client, parent, text.encode()))
        database.execute("UPDATE clients SET latest_version_id = ?, versions_since_snapshot = versions_since_snapshot + 1 WHERE client_id = ?",
            (version, client))
    elif kind == "snapshot":
        client, version, text = words
        database.execute("UPDATE clients SET snapshot_version_id = ?, snapshot_timestamp = ?, versions_since_snapshot = ?, snapshot = ? WHERE client_id = ?",
            (version, 1700000000, 0, text.encode(), client))
database.commit()
"#;

struct Old {
    file: PathBuf,
}

impl Old {
    /// A file of the old server with these lines; `None` where there is no Python.
    fn with(directory: &Path, lines: &[String]) -> Option<Self> {
        let file = directory.join("taskchampion-sync-server.sqlite3");
        let old = Self { file };
        let has_python = Command::new("python3")
            .args(["-c", "import sqlite3"])
            .status();
        if !has_python.is_ok_and(|status| status.success()) {
            skipped("a list moves here", "there is no python3 with sqlite3");
            return None;
        }
        old.more(lines);
        Some(old)
    }

    fn more(&self, lines: &[String]) {
        let mut python = Command::new("python3");
        python.args(["-c", MAKE]).arg(&self.file).args(lines);
        let made = run_with_deadline(&mut python);
        assert_eq!(made.code, Some(0), "{made:?}");
    }

    fn move_to(&self, server: &Server, more: &[&str]) -> Finished {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/from-taskchampion");
        let url = format!("http://{}", server.address());
        run_with_deadline(Command::new(script).arg(&self.file).arg(url).args(more))
    }
}

fn version(user: &str, name: &str, parent: &str) -> String {
    let (user, id) = (user_id(user), transaction_id(name));
    format!("version {user} {id} {parent} bytes-of-{name}")
}

fn client(user: &str) -> String {
    format!("client {} {ROOT}", user_id(user))
}

/// The versions that a replica of this user's reads, from this one on.
fn read_from(server: &Server, user: &str, from: &str) -> Vec<(String, String)> {
    let (mut all, mut here) = (Vec::new(), from.to_owned());
    loop {
        let path = format!("/v1/client/get-child-version/{here}");
        let user = user_id(user);
        let answer = server.client().get_with(&path, &[("x-client-id", &user)]);
        if answer.status == 404 {
            return all;
        }
        let answer = answer.expect(200);
        here = answer.header("x-version-id").unwrap().to_owned();
        all.push((here.clone(), answer.text().to_owned()));
    }
}

fn told(names: &[&str]) -> Vec<(String, String)> {
    let one = |name: &&str| (transaction_id(name), format!("bytes-of-{name}"));
    names.iter().map(one).collect()
}

#[test]
fn the_lists_of_another_server_go_on_here_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let [one, two, first] = ["one", "two", "first"].map(transaction_id);
    let elsewhere = transaction_id("elsewhere");
    let lines = [
        client("ada"),
        version("ada", "one", ROOT),
        version("ada", "two", &one),
        version("ada", "three", &two),
        format!("snapshot {} {two} state-of-two", user_id("ada")),
        // Another one's versions, and one whose history began elsewhere.
        client("bob"),
        version("bob", "first", &elsewhere),
        version("bob", "second", &first),
        client("nobody yet"),
    ];
    let Some(old) = Old::with(directory.path(), &lines) else {
        return;
    };
    let server = Server::start();
    let moved = old.move_to(&server, &[]);
    assert_eq!(moved.code, Some(0), "{moved:?}");
    assert_eq!(moved.stdout.matches(" versions, ").count(), 2, "{moved:?}");
    assert!(moved.stdout.contains("nothing to move"), "{moved:?}");
    for user in ["ada", "bob"] {
        assert!(!moved.stdout.contains(&user_id(user)), "{moved:?}");
        assert!(moved.stdout.contains(&user_id(user)[..8]), "{moved:?}");
    }
    assert_eq!(
        read_from(&server, "ada", ROOT),
        told(&["one", "two", "three"])
    );
    assert_eq!(read_from(&server, "ada", &two), told(&["three"]));
    assert_eq!(
        read_from(&server, "bob", &elsewhere),
        told(&["first", "second"])
    );
    assert!(!server.folder("nobody yet").exists());
    let ada = user_id("ada");
    let headers = [("x-client-id", ada.as_str())];
    let snapshot = server.client().get_with("/v1/client/snapshot", &headers);
    let snapshot = snapshot.expect(200);
    assert_eq!(snapshot.header("x-version-id"), Some(&two[..]));
    assert_eq!(snapshot.text(), "state-of-two");
    assert!(
        moved.stdout.contains("3 versions, its snapshot"),
        "{moved:?}"
    );
    assert!(
        moved.stdout.contains("2 versions, no snapshot"),
        "{moved:?}"
    );
    // Nothing of it is pending, and all of it is sound.
    let pending = server.folder("bob").join("incoming/transactions");
    assert_eq!(std::fs::read_dir(pending).unwrap().count(), 0);
    let fsck = crate::kit::binary()
        .args(["fsck", "--data"])
        .arg(server.data())
        .status();
    assert!(fsck.unwrap().success());

    // Once more changes nothing, and what came to the old server since is added.
    let again = old.move_to(&server, &[&user_id("ada").to_uppercase()]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(again.stdout.lines().count(), 1, "{again:?}");
    let [three, four] = ["three", "four"].map(transaction_id);
    old.more(&[version("ada", "four", &three)]);
    let late = old.move_to(&server, &[&user_id("ada"), &user_id("stranger")]);
    assert_eq!(late.code, Some(1), "{late:?}");
    assert!(late.stderr.contains(&user_id("stranger")[..8]), "{late:?}");
    assert_eq!(server.device("ada").head(), (four.clone(), 4));
    // One who has gone on here stays; one who has gone on at both is not touched.
    let five = transaction_id("five");
    let milk = crate::kit::chunk("milk");
    server.device("ada").commit(&five, &four, &[&milk]);
    let again = old.move_to(&server, &[]);
    assert_eq!(again.code, Some(0), "{again:?}");
    old.more(&[version("ada", "six", &four)]);
    let both = old.move_to(&server, &[]);
    assert_eq!(both.code, Some(1), "{both:?}");
    assert!(both.stderr.contains("another history"), "{both:?}");
    assert_eq!(server.device("ada").head(), (five, 5));
}

#[test]
fn a_list_of_which_the_file_has_lost_a_version_does_not_pass_for_one_from_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(transaction_id);
    let lines = [
        client("ada"),
        version("ada", "one", ROOT),
        version("ada", "three", &two),
        client("bob"),
        format!("version {} {one}-x {ROOT} ", user_id("bob")),
    ];
    let Some(old) = Old::with(directory.path(), &lines) else {
        return;
    };
    let server = Server::start();
    let moved = old.move_to(&server, &[]);
    assert_eq!(moved.code, Some(1), "{moved:?}");
    assert!(moved.stderr.contains("only 1 of its 2"), "{moved:?}");
    assert!(!server.folder("ada").exists());
    assert!(!server.folder("bob").exists());
}

#[test]
fn a_list_that_the_new_server_refuses_on_its_way_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let mut lines = vec![client("ada")];
    let mut parent = ROOT.to_owned();
    for number in 0..40 {
        let (user, id) = (user_id("ada"), transaction_id(&format!("{number}")));
        let text = "x".repeat(30_000);
        lines.push(format!("version {user} {id} {parent} {text}{number}"));
        parent = id;
    }
    let Some(old) = Old::with(directory.path(), &lines) else {
        return;
    };
    for (flag, most, why) in [
        ("--max-chunk-bytes", "16KiB", "413"),
        ("--max-user-bytes", "64KiB", "507"),
    ] {
        let server = Server::with(&[flag, most]);
        let moved = old.move_to(&server, &[]);
        assert_eq!(moved.code, Some(1), "{moved:?}");
        assert!(moved.stderr.contains(why), "{moved:?}");
        assert_eq!(server.device("ada").head().0, ROOT);
    }
}

#[test]
fn a_file_that_is_none_of_the_other_servers_moves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let Some(old) = Old::with(directory.path(), &[]) else {
        return;
    };
    let server = Server::start();
    assert_eq!(old.move_to(&server, &[]).code, Some(0));
    // A version whose parent is its own child; one that is not there; one that is no id.
    let [one, two] = ["one", "two"].map(transaction_id);
    old.more(&[
        client("ada"),
        version("ada", "one", &two),
        version("ada", "two", &one),
        format!("client {} {}", user_id("bob"), transaction_id("nowhere")),
        client("cyd"),
        version("cyd", "three", "x"),
    ]);
    let moved = old.move_to(&server, &[]);
    assert_eq!(moved.code, Some(1), "{moved:?}");
    for why in ["in a ring", "not in the file", "is no id"] {
        assert!(moved.stderr.contains(why), "{moved:?}");
    }
    for user in ["ada", "bob", "cyd"] {
        assert!(!server.folder(user).exists(), "{user}");
    }
    std::fs::write(
        &old.file,
        "not a database, though it is long enough to be looked at",
    )
    .unwrap();
    let moved = old.move_to(&server, &[]);
    assert_eq!(moved.code, Some(1), "{moved:?}");
    assert!(
        moved.stderr.contains("no sound file of taskchampion"),
        "{moved:?}"
    );
    std::fs::remove_file(&old.file).unwrap();
    assert_eq!(old.move_to(&server, &[]).code, Some(2));
    let denied = Server::with(&["--new-users", "deny"]);
    let Some(old) = Old::with(
        directory.path(),
        &[client("ada"), version("ada", "one", ROOT)],
    ) else {
        return;
    };
    let moved = old.move_to(&denied, &[]);
    assert_eq!(moved.code, Some(1), "{moved:?}");
    assert!(moved.stderr.contains("403"), "{moved:?}");
}
