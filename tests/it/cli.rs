use serde_json::{Value, json};

use crate::faults::strace;
use crate::kit::{
    Finished, ROOT, Server, binary, chunk, run_with_deadline, skipped, transaction_id, tree,
    user_id,
};
use crate::stock::Stock;

/// The binary with these arguments, on the directory of this server, which goes on serving it.
fn beside(server: &Server, command: &str, arguments: &[&str]) -> Finished {
    run_with_deadline(
        binary()
            .arg(command)
            .arg("--data")
            .arg(server.data())
            .args(arguments),
    )
}

#[track_caller]
fn succeeds(finished: Finished) -> String {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stderr, "");
    finished.stdout
}

#[track_caller]
fn fails(finished: Finished, code: i32, words: &str) {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    assert!(finished.stderr.contains(words), "{finished:?}");
    assert!(!finished.stderr.contains("panicked"), "{finished:?}");
    assert_eq!(finished.stdout, "");
}

/// The objects of a `--json` output, one a line.
#[track_caller]
fn objects(stdout: &str) -> Vec<Value> {
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is an object"))
        .collect()
}

#[test]
fn users_are_listed_with_what_they_have() {
    let server = Server::start();
    assert_eq!(
        objects(&succeeds(beside(&server, "users", &["--json"]))),
        [] as [Value; 0]
    );

    let mut ada = server.device("ada");
    let [first, second, pending] = ["first", "second", "pending"].map(transaction_id);
    let one = chunk("twelve bytes");
    ada.commit(&first, ROOT, &[&one]);
    ada.commit(&second, &first, &[]);
    ada.put_transaction(&pending, &second, &[]).expect(201);
    let mut ben = server.device("ben");
    ben.put_chunk(&one).expect(201);

    // What was committed leaves incoming/ only after its answer, and is counted as one file then.
    let folder = |user: &str| {
        let files: Vec<_> = tree(&server.folder(user))
            .into_values()
            .filter(|look| look.kind == 'f')
            .collect();
        let names = files.len();
        let bytes: u64 = files.iter().map(|look| look.bytes).sum();
        (names, bytes)
    };
    while folder("ada").0 > 8 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut expected =
        [("ada", second.as_str(), 2, 1), ("ben", ROOT, 0, 0)].map(|(user, head, seq, pending)| {
            let (files, bytes) = folder(user);
            json!({
                "user": user_id(user), "name": null, "head": head, "seq": seq,
                "files": files, "bytes": bytes, "pending": pending, "state": "serving",
            })
        });
    expected.sort_by_key(|line| line["user"].to_string());
    let mut listed = objects(&succeeds(beside(&server, "users", &["--json"])));
    listed.sort_by_key(|line| line["user"].to_string());
    let mut last_writes = Vec::new();
    for line in &mut listed {
        let last = line.as_object_mut().unwrap().remove("last_write");
        last_writes.push(last.unwrap().as_str().unwrap().to_owned());
    }
    assert_eq!(listed, expected);

    // The table for people says the same.
    let table = succeeds(beside(&server, "users", &[]));
    let mut lines = table.lines();
    let headings: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(
        headings,
        [
            "USER",
            "HEAD",
            "SEQ",
            "FILES",
            "BYTES",
            "PENDING",
            "LAST-WRITE",
            "NAME"
        ]
    );
    let mut rows: Vec<Vec<&str>> = lines
        .map(|line| line.split_whitespace().collect())
        .collect();
    rows.sort();
    for ((row, object), last) in rows.iter().zip(&expected).zip(last_writes) {
        let mut cells: Vec<String> = ["user", "head", "seq", "files", "bytes", "pending"]
            .map(|key| match &object[key] {
                Value::String(text) => text.clone(),
                number => number.to_string(),
            })
            .into();
        cells.push(last);
        assert_eq!(*row, cells);
    }
    assert_eq!(rows.len(), 2);
}

/// The system calls of `mentat-sync users`, with its arguments, in order; `None` where nothing can be traced.
fn calls_of_listing(data: &std::path::Path) -> Option<Vec<String>> {
    if !strace::works() {
        skipped("how many calls are made", "strace cannot trace here");
        return None;
    }
    let log = data.with_file_name("users.strace");
    let mut traced = std::process::Command::new("strace");
    traced.args(["-f", "-s", "200", "-o"]).arg(&log);
    traced.arg(binary().get_program()).args(["users", "--data"]);
    succeeds(run_with_deadline(traced.arg(data)));
    let lines = std::fs::read_to_string(log).unwrap();
    let call = |line: &str| line.split_once(' ').map(|(_, call)| call.trim().to_owned());
    Some(lines.lines().filter_map(call).collect())
}

/// A directory with so many users, each with a chain of one transaction.
fn populated(users: usize) -> Stock {
    let stock = Stock::full(2);
    for n in 1..users {
        let other = stock.path(&format!("users/86868686-8686-4686-8686-{n:012x}"));
        let mut copy = std::process::Command::new("cp");
        assert!(
            copy.arg("-a")
                .arg(stock.file(""))
                .arg(&other)
                .status()
                .unwrap()
                .success()
        );
    }
    stock
}

#[test]
fn a_list_of_users_looks_at_what_is_there_once_and_syncs_nothing() {
    let stocks = [1, 4].map(populated);
    let mut counts = Vec::new();
    for stock in &stocks {
        let Some(calls) = calls_of_listing(&stock.data()) else {
            return;
        };
        for call in &calls {
            let changes = [
                "fsync",
                "fdatasync",
                "syncfs",
                "sync(",
                "mkdir",
                "rename",
                "link",
            ];
            assert!(!changes.iter().any(|name| call.starts_with(name)), "{call}");
            assert!(!call.contains("O_CREAT"), "{call}");
        }
        counts.push(calls.len());
    }
    let there = tree(&stocks[0].file("")).len();
    let more = (counts[1] - counts[0]) / 3;
    // A directory is opened, listed to its end and closed; a file opened, looked at and closed. And HEAD is read, and
    // where it leads.
    assert!(
        more <= 6 * there + 20,
        "{more} calls for a user of {there} files and directories"
    );
}

#[test]
fn users_are_listed_as_they_are_counted() {
    let stock = populated(4);
    let Some(calls) = calls_of_listing(&stock.data()) else {
        return;
    };
    // Between the first look at each user and the next one's, the row is out.
    let mut seen = Vec::new();
    for call in &calls {
        if call.starts_with("openat") && call.contains("/HEAD\"") {
            seen.push("look");
        } else if call.starts_with("write(1,") {
            seen.push("row");
        }
    }
    seen.dedup();
    let expected = ["row", "look"].iter().cycle().take(9).copied();
    assert_eq!(seen, expected.collect::<Vec<_>>());
}

#[test]
fn a_file_with_two_names_is_counted_once_in_the_list_of_users() {
    let stock = Stock::full(3);
    let list = || {
        let mut users = binary();
        users.args(["users", "--json", "--data"]);
        objects(&succeeds(run_with_deadline(users.arg(stock.data())))).remove(0)
    };
    let before = list();
    // As an advance leaves it that was cut short at its very end.
    let chunk = stock.chunk_file("", "chunk 2");
    let leftover = stock.chunk_file("incoming/", "chunk 2");
    std::fs::create_dir_all(leftover.parent().unwrap()).unwrap();
    std::fs::hard_link(&chunk, &leftover).unwrap();
    assert_eq!(list(), before);
    // And a second name elsewhere, as in a snapshot, changes nothing.
    std::fs::hard_link(&chunk, stock.directory.path().join("elsewhere")).unwrap();
    assert_eq!(list(), before);
}

#[test]
fn a_list_of_users_makes_no_store_where_there_is_none() {
    let empty = tempfile::tempdir().unwrap();
    let mut users = binary();
    let told = run_with_deadline(users.args(["users", "--data"]).arg(empty.path()));
    fails(told, 1, "there is no store here");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn a_user_who_is_added_is_let_in() {
    let server = Server::with(&["--new-users", "deny"]);
    let mut ada = server.device("ada");
    ada.put_chunk(&chunk("x"))
        .expect_refusal(403, "unknown-user");
    let added = succeeds(beside(&server, "users", &["add", &user_id("ada")]));
    assert_eq!(added, format!("{}\n", user_id("ada")));
    assert_eq!(ada.head(), (ROOT.to_owned(), 0));
    ada.commit(&transaction_id("first"), ROOT, &[&chunk("x")]);

    // Without an id, a random one is made and printed.
    let made = succeeds(beside(&server, "users", &["add"]));
    let mut made = crate::kit::Device::new(server.address(), made.trim_end());
    made.commit(&transaction_id("first"), ROOT, &[]);

    // To add one who is there changes nothing.
    let again = beside(&server, "users", &["add", &user_id("ada")]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(ada.head().1, 1);
}

#[test]
fn a_user_can_get_a_new_secret_for_the_same_store() {
    let server = Server::start();
    let mut old = server.device("old");
    let mut new = server.device("new");
    let [first, pending] = ["first", "pending"].map(transaction_id);
    let kept = chunk("kept");
    old.commit(&first, ROOT, &[&kept]);
    old.put_transaction(&pending, &first, &[]).expect(201);
    succeeds(beside(
        &server,
        "users",
        &["mv", &user_id("old"), &user_id("new")],
    ));

    // The server, which has not been told, knows it at the next request.
    assert_eq!(old.head(), (ROOT.to_owned(), 0));
    old.get(&format!("chunks/{}", kept.id))
        .expect_refusal(404, "unknown-chunk");
    assert_eq!(new.head(), (first.clone(), 1));
    let got = new.get(&format!("chunks/{}", kept.id)).expect(200);
    assert_eq!(got.body, kept.bytes);
    new.put_head(&pending).expect(204);
    assert!(!server.folder("old").exists());

    // The old id begins anew, like any other.
    old.commit(&transaction_id("other"), ROOT, &[]);
    fails(
        beside(&server, "users", &["mv", &user_id("old"), &user_id("new")]),
        1,
        &user_id("new"),
    );
    fails(
        beside(
            &server,
            "users",
            &["mv", &user_id("nobody"), &user_id("ben")],
        ),
        1,
        &user_id("nobody"),
    );
    assert_eq!(new.head(), (pending, 2));
    assert_eq!(old.head(), (transaction_id("other"), 1));
}

#[test]
fn a_user_can_be_removed_beside_a_running_server() {
    let server = Server::start();
    let mut ada = server.device("ada");
    let first = transaction_id("first");
    ada.commit(&first, ROOT, &[&chunk("x")]);
    succeeds(beside(&server, "users", &["rm", &user_id("ada")]));
    assert!(!server.folder("ada").exists());
    assert_eq!(tree(&server.data().join("trash")).len(), 0);
    assert_eq!(ada.head(), (ROOT.to_owned(), 0));
    ada.get(&format!("chunks/{}", chunk("x").id))
        .expect_refusal(404, "unknown-chunk");
    fails(
        beside(&server, "users", &["rm", &user_id("ada")]),
        1,
        &user_id("ada"),
    );
    ada.commit(&first, ROOT, &[&chunk("x")]);
    assert_eq!(ada.head(), (first, 1));
}

#[test]
fn the_log_is_the_chain_with_the_newest_last() {
    let server = Server::start();
    let mut ada = server.device("ada");
    let ids: Vec<String> = (1..=3).map(|n| transaction_id(&n.to_string())).collect();
    let mut parent = ROOT;
    for id in &ids {
        ada.commit(id, parent, &[]);
        parent = id;
    }
    ada.put_transaction(&transaction_id("pending"), parent, &[])
        .expect(201);
    let user = user_id("ada");
    let expected: Vec<Value> = (1..)
        .zip(&ids)
        .map(|(seq, id)| json!({"seq": seq, "id": id}))
        .collect();
    let json = succeeds(beside(&server, "log", &[&user, "--json"]));
    assert_eq!(objects(&json), expected);
    let table = succeeds(beside(&server, "log", &[&user]));
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let expected: Vec<Vec<String>> = (1..)
        .zip(&ids)
        .map(|(seq, id): (u32, _)| vec![seq.to_string(), id.clone()])
        .collect();
    assert_eq!(rows, expected);

    fails(
        beside(&server, "log", &[&user_id("nobody")]),
        1,
        &user_id("nobody"),
    );
    fails(beside(&server, "log", &["ada"]), 2, "ada");
    // There is one user alone, so it need not be said whom.
    assert_eq!(succeeds(beside(&server, "log", &[])), table);
}

#[test]
fn nothing_is_made_by_looking() {
    let top = tempfile::tempdir().unwrap();
    let data = top.path().join("data");
    for arguments in [
        &["users"] as &[&str],
        &["users", "rm", &user_id("ada")],
        &["log", &user_id("ada")],
    ] {
        let looked = run_with_deadline(binary().args(arguments).env("MENTAT_SYNC_DATA", &data));
        fails(looked, 1, data.to_str().unwrap());
        assert!(!data.exists(), "{arguments:?}");
    }
}

#[test]
fn the_data_directory_is_where_one_stands_unless_told() {
    let server = Server::start();
    let mut ada = server.device("ada");
    ada.commit(&transaction_id("first"), ROOT, &[]);
    let top = server.data().parent().unwrap().to_owned();
    let logged = run_with_deadline(binary().args(["log", &user_id("ada")]).current_dir(&top));
    assert!(succeeds(logged).contains(&transaction_id("first")));
    // The environment says where, and a flag says it louder.
    let told = run_with_deadline(
        binary()
            .args(["log", &user_id("ada"), "--data", "data"])
            .env("MENTAT_SYNC_DATA", "/nowhere")
            .current_dir(&top),
    );
    assert!(succeeds(told).contains(&transaction_id("first")));
}

#[test]
fn a_reader_who_has_seen_enough_is_no_failure() {
    let server = Server::start();
    let mut ada = server.device("ada");
    let mut parent = ROOT.to_owned();
    // More than a pipe holds.
    for n in 0..1_500 {
        let id = transaction_id(&n.to_string());
        ada.put_transaction(&id, &parent, &[]).expect(201);
        parent = id;
    }
    ada.put_head(&parent).expect(204);
    let piped = run_with_deadline(
        std::process::Command::new("bash")
            .args(["-c", "set -o pipefail; \"$0\" \"$@\" | head -n 1"])
            .arg(binary().get_program())
            .args(["log", "--json", &user_id("ada"), "--data"])
            .arg(server.data()),
    );
    assert_eq!(succeeds(piped).lines().count(), 1);
}

#[test]
fn every_subcommand_has_help() {
    let all = succeeds(run_with_deadline(binary().arg("--help")));
    for command in ["serve", "users", "log", "example", "completions", "man"] {
        assert!(all.contains(command), "{all}");
        succeeds(run_with_deadline(binary().args([command, "--help"])));
    }
    let version = succeeds(run_with_deadline(binary().arg("--version")));
    assert_eq!(
        version,
        format!("mentat-sync {}\n", env!("CARGO_PKG_VERSION"))
    );
    fails(run_with_deadline(&mut binary()), 2, "Usage");
}

#[test]
fn a_shell_completes_with_what_is_printed_for_it() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = succeeds(run_with_deadline(binary().args(["completions", shell])));
        for word in ["snapshot", "new-users", "deny"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    fails(
        run_with_deadline(binary().args(["completions", "tcsh"])),
        2,
        "possible values",
    );
    // As bash does at a tabulator: the words so far, and which of them is to be completed.
    let program = binary().get_program().to_owned();
    for (words, number, expected) in [
        ("mentat-sync exa", 1, "example"),
        ("mentat-sync serve --new-u", 2, "--new-users"),
        ("mentat-sync example hap", 2, "haproxy"),
    ] {
        let script = format!(
            "source <(\"$0\" completions bash)\nCOMP_WORDS=({words}) COMP_CWORD={number} COMP_LINE='{words}'\n\
             _mentat__sync mentat-sync \"${{COMP_WORDS[$COMP_CWORD]}}\" x\necho \"${{COMPREPLY[@]}}\""
        );
        let completed = run_with_deadline(
            std::process::Command::new("bash")
                .args(["--norc", "-c", &script])
                .arg(&program),
        );
        assert_eq!(succeeds(completed).trim(), expected, "{words}");
    }
}

#[test]
fn each_command_has_a_manual_page_with_all_of_its_flags() {
    let top = tempfile::tempdir().unwrap();
    let directory = top.path().join("share/man1");
    succeeds(run_with_deadline(binary().arg("man").arg(&directory)));
    // Once more, as for a newer version.
    succeeds(run_with_deadline(binary().arg("man").arg(&directory)));
    let pages: std::collections::BTreeSet<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let whole = succeeds(run_with_deadline(binary().arg("--help")));
    let (_, listed) = whole.split_once("A server:\n").unwrap();
    let (listed, _) = listed.split_once("\nOptions:").unwrap();
    let mut seen = 0;
    for line in listed
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
    {
        let command = line.split_whitespace().next().unwrap();
        if command == "help" {
            continue;
        }
        let name = format!("mentat-sync-{command}.1");
        assert!(pages.contains(&name), "{name} of {pages:?}");
        let page = std::fs::read_to_string(directory.join(name)).unwrap();
        let page = page
            .replace("\\-", "-")
            .replace("\\fB", "")
            .replace("\\fR", "");
        let help = succeeds(run_with_deadline(binary().args([command, "--help"])));
        let flags = help.split(|c: char| c.is_whitespace() || "[=,`;:.()".contains(c));
        for flag in flags.filter(|word| word.starts_with("--") && word.len() > 2) {
            assert!(page.contains(flag), "{flag} of {command}");
        }
        seen += 1;
    }
    assert!(
        seen > 20 && pages.contains("mentat-sync.1") && pages.contains("mentat-sync-users-rm.1")
    );
    // A file is in the way.
    let file = top.path().join("file");
    std::fs::write(&file, "").unwrap();
    fails(
        run_with_deadline(binary().arg("man").arg(&file)),
        1,
        "cannot write manual pages",
    );
}
