use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::kit::{
    Chunk, Device, ROOT, Server, chunk, look, run_with_deadline, transaction_id, tree, user_id,
};

/// A store with a chain of two transactions, and one that is pending.
struct Store {
    server: Server,
    device: Device,
    chunks: [Chunk; 3],
    first: String,
    second: String,
    pending: String,
}

impl Store {
    fn make() -> Self {
        let server = Server::start();
        let mut device = server.device("ada");
        let chunks = ["one", "two", "three"].map(chunk);
        let [first, second, pending] = ["first", "second", "pending"].map(transaction_id);
        device.commit(&first, ROOT, &[&chunks[0], &chunks[1]]);
        device.commit(&second, &first, &[&chunks[0]]);
        device.put_chunk(&chunks[2]).expect(201);
        device
            .put_transaction(&pending, &second, &[&chunks[2].id])
            .expect(201);
        Self {
            server,
            device,
            chunks,
            first,
            second,
            pending,
        }
    }

    /// The files that the document of the layout says there are, and no others.
    fn expected(&self) -> BTreeSet<String> {
        let user = format!("users/{}", user_id("ada"));
        let chunk = |n: usize| {
            let id = &self.chunks[n].id;
            format!("chunks/{}/{id}", &id[..2])
        };
        let transaction = |id: &str| format!("transactions/{}/{id}.json", &id[..2]);
        let mut files: BTreeSet<String> = [
            "HEAD".to_owned(),
            "gate".to_owned(),
            "lock".to_owned(),
            "log".to_owned(),
            chunk(0),
            chunk(1),
            transaction(&self.first),
            transaction(&self.second),
            format!("incoming/{}", chunk(2)),
            format!("incoming/transactions/{}.json", self.pending),
        ]
        .map(|name| format!("{user}/{name}"))
        .into();
        files.insert("FORMAT".to_owned());
        files.insert("serving".to_owned());
        files
    }
}

fn files(data: &Path) -> BTreeSet<String> {
    tree(data)
        .into_iter()
        .filter(|(_, look)| look.kind != 'd')
        .map(|(name, _)| name)
        .collect()
}

/// What was committed is unlinked from `incoming/` after the answer: soon, but not at once.
#[track_caller]
fn settles(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_directory_is_as_the_document_says() {
    let store = Store::make();
    let expected = store.expected();
    let data = store.server.data();
    settles("committed things leave incoming/", || {
        files(&data).difference(&expected).next().is_none()
    });
    assert_eq!(files(&data), expected);

    // Directories hold what they are for, and nothing empty stands about that has no place there.
    let folder = format!("users/{}", user_id("ada"));
    for (name, look) in tree(&data) {
        let wanted = if look.kind == 'd' { 0o700 } else { 0o600 };
        assert_eq!(look.mode, wanted, "{name}");
        if look.kind != 'd' {
            continue;
        }
        let known = match name.strip_prefix(&folder) {
            Some(rest) => {
                let rest = rest.trim_start_matches('/').trim_start_matches("incoming");
                let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
                match parts.as_slice() {
                    [] | ["chunks" | "transactions" | "tmp" | "lost+found"] => true,
                    ["chunks" | "transactions", shard] => {
                        shard.len() == 2 && hex::decode(shard).is_ok()
                    }
                    _ => false,
                }
            }
            None => ["users", "tmp", "trash"].contains(&name.as_str()),
        };
        assert!(known, "{name}");
    }
    assert_eq!(look(&data).mode, 0o700);
}

#[test]
fn the_files_say_what_the_answers_say() {
    let mut store = Store::make();
    let folder = store.server.folder("ada");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();

    assert_eq!(
        fs::read_to_string(store.server.data().join("FORMAT")).unwrap(),
        "mentat-sync 1\n"
    );
    assert_eq!(read("HEAD"), format!("{}\n", store.second));
    let log = read("log");
    assert_eq!(
        log,
        format!("{:012} {}\n{:012} {}\n", 1, store.first, 2, store.second)
    );
    assert_eq!(log.len(), 2 * 50);

    for id in [&store.first, &store.second] {
        let answer = store.device.get(&format!("transactions/{id}")).expect(200);
        assert_eq!(
            read(&format!("transactions/{}/{id}.json", &id[..2])),
            answer.text()
        );
    }
    // A pending one looks no different: it is moved, not rewritten.
    assert_eq!(
        read(&format!("incoming/transactions/{}.json", store.pending)),
        format!(
            "{{\"id\":\"{}\",\"seq\":3,\"parent\":\"{}\",\"chunks\":[\"{}\"]}}\n",
            store.pending, store.second, store.chunks[2].id
        )
    );
    for (chunk, area) in store.chunks.iter().zip(["", "", "incoming/"]) {
        let path = folder.join(format!("{area}chunks/{}/{}", &chunk.id[..2], chunk.id));
        assert_eq!(fs::read(path).unwrap(), chunk.bytes);
    }
}

#[test]
fn sha256sum_agrees_with_ls() {
    let store = Store::make();
    let checked = run_with_deadline(
        Command::new("sh")
            .args([
                "-c",
                "find users/*/chunks users/*/incoming/chunks -type f -printf '%f  %p\\n' \
                 | sha256sum --check --quiet && find users -path '*/chunks/*' -type f | wc -l",
            ])
            .current_dir(store.server.data()),
    );
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.trim().parse::<u32>().unwrap() >= 3);
}

#[test]
fn an_advance_links_what_was_uploaded_and_does_not_copy_it() {
    let server = Server::start();
    let mut device = server.device("ada");
    let chunk = chunk("the same inode");
    let first = transaction_id("first");
    device.put_chunk(&chunk).expect(201);
    let name = format!("chunks/{}/{}", &chunk.id[..2], chunk.id);
    let uploaded = look(&server.folder("ada").join("incoming").join(&name));
    device
        .put_transaction(&first, ROOT, &[&chunk.id])
        .expect(201);
    device.put_head(&first).expect(204);
    let committed = look(&server.folder("ada").join(&name));
    assert_eq!(committed.inode, uploaded.inode);
}

#[test]
fn a_replayed_upload_does_not_replace_the_file() {
    let mut store = Store::make();
    let folder = store.server.folder("ada");
    let [one, _, three] = &store.chunks;
    let paths = [
        folder.join(format!("chunks/{}/{}", &one.id[..2], one.id)),
        folder.join(format!("incoming/chunks/{}/{}", &three.id[..2], three.id)),
        folder.join(format!("incoming/transactions/{}.json", store.pending)),
    ];
    let before: Vec<_> = paths.iter().map(|path| look(path).inode).collect();
    store.device.put_chunk(one).expect(201);
    store.device.put_chunk(three).expect(201);
    store
        .device
        .put_transaction(&store.pending, &store.second, &[&three.id])
        .expect(201);
    let after: Vec<_> = paths.iter().map(|path| look(path).inode).collect();
    assert_eq!(after, before);
    // And a committed chunk does not come back to incoming/.
    assert!(
        !folder
            .join(format!("incoming/chunks/{}/{}", &one.id[..2], one.id))
            .exists()
    );
}

#[test]
fn a_replayed_upload_makes_the_file_young() {
    let mut store = Store::make();
    let folder = store.server.folder("ada");
    let three = &store.chunks[2];
    let chunk = folder.join(format!("incoming/chunks/{}/{}", &three.id[..2], three.id));
    let transaction = folder.join(format!("incoming/transactions/{}.json", store.pending));
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(20 * 86_400);
    for path in [&chunk, &transaction] {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    let age = |path: &Path| {
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        modified.elapsed().unwrap_or_default()
    };
    store.device.put_chunk(three).expect(201);
    store
        .device
        .put_transaction(&store.pending, &store.second, &[&three.id])
        .expect(201);
    for path in [&chunk, &transaction] {
        assert!(age(path) < Duration::from_secs(3600), "{}", path.display());
    }
}

#[test]
fn the_log_is_rebuilt_whatever_became_of_it() {
    let mut store = Store::make();
    let log = store.server.folder("ada").join("log");
    let whole = fs::read_to_string(&log).unwrap();
    let chain = [store.first.clone(), store.second.clone()];
    let other = transaction_id("other");
    let holed = format!("{}{}", "\0".repeat(50), &whole[50..]);
    let damages: [(&str, Option<String>); 8] = [
        ("missing", None),
        ("empty", Some(String::new())),
        ("short", Some(whole[..50].to_owned())),
        ("torn", Some(whole[..73].to_owned())),
        ("holed", Some(holed)),
        (
            "wrong at its end",
            Some(format!("{}{:012} {other}\n", &whole[..50], 2)),
        ),
        (
            "misnumbered",
            Some(whole.replace("000000000001", "000000000007")),
        ),
        (
            "longer than HEAD says",
            Some(format!("{whole}{:012} {other}\n", 3)),
        ),
    ];
    for restart in [false, true] {
        for (what, damage) in &damages {
            if restart {
                store.server = store.server.restart();
                store.device = store.server.device("ada");
            }
            match damage {
                Some(text) => fs::write(&log, text).unwrap(),
                None => fs::remove_file(&log).unwrap(),
            }
            assert_eq!(store.device.chain_after(ROOT), chain, "{what}");
            assert_eq!(store.device.chain_after(&store.first), chain[1..], "{what}");
            for id in &chain {
                store.device.get(&format!("transactions/{id}")).expect(200);
            }
            for id in [&other, &store.pending] {
                store
                    .device
                    .get(&format!("transactions?from={id}"))
                    .expect_refusal(404, "unknown-transaction");
            }
            assert_eq!(store.device.head(), (chain[1].clone(), 2), "{what}");
        }
    }
    // The next advance leaves it as if nothing had been.
    store.device.put_head(&store.pending).expect(204);
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        format!("{whole}{:012} {}\n", 3, store.pending)
    );
}

#[test]
fn a_transaction_off_the_chain_does_not_exist_though_its_file_does() {
    let mut store = Store::make();
    let folder = store.server.folder("ada");
    // As a crash leaves it: linked into the committed area, and HEAD not yet there.
    let id = store.pending.clone();
    let shard = folder.join(format!("transactions/{}", &id[..2]));
    fs::create_dir_all(&shard).unwrap();
    let file = shard.join(format!("{id}.json"));
    fs::hard_link(
        folder.join(format!("incoming/transactions/{id}.json")),
        &file,
    )
    .unwrap();
    store.server = store.server.crash();
    store.device = store.server.device("ada");
    store
        .device
        .get(&format!("transactions/{id}"))
        .expect_refusal(404, "unknown-transaction");
    store
        .device
        .get(&format!("transactions?from={id}"))
        .expect_refusal(404, "unknown-transaction");
    assert_eq!(store.device.head(), (store.second.clone(), 2));

    // Alone in the committed area it is no parent and no reason to refuse the id.
    fs::remove_file(folder.join(format!("incoming/transactions/{id}.json"))).unwrap();
    store.server = store.server.restart();
    store.device = store.server.device("ada");
    store
        .device
        .put_transaction(&transaction_id("child"), &id, &[])
        .expect_refusal(409, "unknown-parent");
    store
        .device
        .put_head(&id)
        .expect_refusal(409, "unknown-transaction");
    store
        .device
        .put_transaction(&id, &store.second, &[])
        .expect(201);
    store.device.put_head(&id).expect(204);
    let committed = store
        .device
        .get(&format!("transactions/{id}"))
        .expect(200)
        .json();
    assert_eq!(committed["chunks"], serde_json::json!([]));
}

#[test]
fn a_leftover_in_incoming_changes_nothing() {
    let mut store = Store::make();
    let folder = store.server.folder("ada");
    // As a crash leaves it: HEAD is there, and nothing has been unlinked yet.
    let [one, ..] = &store.chunks;
    fs::create_dir_all(folder.join(format!("incoming/chunks/{}", &one.id[..2]))).unwrap();
    for (from, to) in [
        (
            format!("transactions/{}/{}.json", &store.second[..2], store.second),
            format!("incoming/transactions/{}.json", store.second),
        ),
        (
            format!("chunks/{}/{}", &one.id[..2], one.id),
            format!("incoming/chunks/{}/{}", &one.id[..2], one.id),
        ),
    ] {
        settles("it was unlinked", || !folder.join(&to).exists());
        fs::hard_link(folder.join(from), folder.join(to)).unwrap();
    }
    store.server = store.server.crash();
    store.device = store.server.device("ada");
    assert_eq!(store.device.head(), (store.second.clone(), 2));
    store
        .device
        .put_head(&store.second)
        .expect_refusal(409, "not-a-descendant");
    store
        .device
        .put_transaction(&store.second, &store.first, &[&one.id])
        .expect(201);
    store.device.put_head(&store.pending).expect(204);
    assert_eq!(
        store.device.chain_after(ROOT),
        [store.first.as_str(), &store.second, &store.pending]
    );
}

#[test]
fn no_symlink_in_the_store_is_followed() {
    let secret = "what stands outside";
    // Each name is taken by a symlink to a file or a directory elsewhere.
    fn chunk_name(chunk: &Chunk) -> String {
        format!("chunks/{}/{}", &chunk.id[..2], chunk.id)
    }
    let plants: [(&str, fn(&Store) -> String); 12] = [
        ("HEAD", |_| "HEAD".into()),
        ("log", |_| "log".into()),
        ("lock", |_| "lock".into()),
        ("gate", |_| "gate".into()),
        ("a chunk", |store| chunk_name(&store.chunks[0])),
        ("a pending chunk", |store| {
            format!("incoming/{}", chunk_name(&store.chunks[2]))
        }),
        ("a transaction", |store| {
            format!("transactions/{}/{}.json", &store.first[..2], store.first)
        }),
        ("a pending transaction", |store| {
            format!("incoming/transactions/{}.json", store.pending)
        }),
        ("the chunks", |_| "chunks".into()),
        ("the transactions", |_| "transactions".into()),
        ("what is uploaded", |_| "incoming".into()),
        ("the user", |_| String::new()),
    ];
    for (what, place) in plants {
        let store = Store::make();
        let Store {
            server,
            chunks,
            first,
            second,
            pending,
            ..
        } = &store;
        let outside = tempfile::tempdir().unwrap();
        let place = server.folder("ada").join(place(&store));
        let place = place.to_str().unwrap().trim_end_matches('/').to_owned();
        let aside = outside.path().join("aside");
        fs::rename(&place, &aside).unwrap();
        let target = outside.path().join("target");
        if aside.is_dir() {
            // All that the store would find through the link is there, and readable.
            fs::rename(&aside, &target).unwrap();
        } else {
            fs::write(&target, secret).unwrap();
        }
        symlink(&target, &place).unwrap();
        let before = tree(outside.path());

        let server = store.server.another();
        let mut device = server.device("ada");
        let new = transaction_id("new");
        let extra = chunk("extra");
        let mut answers = vec![
            device.get("head"),
            device.get("transactions"),
            device.put_chunk(&extra),
            device.put_transaction(&new, second, &[&extra.id]),
            device.put_head(&new),
            device.put_head(pending),
        ];
        for id in [first, second, pending, &new] {
            answers.push(device.get(&format!("transactions/{id}")));
        }
        for chunk in chunks.iter().chain([&extra]) {
            answers.push(device.put_chunk(chunk));
            answers.push(device.get(&format!("chunks/{}", chunk.id)));
        }
        for answer in answers {
            let said = String::from_utf8_lossy(&answer.body);
            assert!(!said.contains(secret), "{what}: {said}");
        }
        assert_eq!(tree(outside.path()), before, "{what}");
        // What HEAD and the folder say is not looked for elsewhere.
        if matches!(what, "HEAD" | "the user") {
            device.get("head").expect(500);
        }
    }
}

#[test]
fn a_deleted_user_is_gone_from_the_disk() {
    let server = Server::with(&["--allow-delete"]);
    let mut device = server.device("ada");
    let mut other = server.device("ben");
    let [first, bens] = ["first", "ben's"].map(transaction_id);
    let chunk = chunk("gone");
    device.commit(&first, ROOT, &[&chunk]);
    other.commit(&bens, ROOT, &[]);
    let root = device.path("");
    for path in [root.as_str(), root.trim_end_matches('/'), &root] {
        let answer = device.client.request("DELETE", path, &[], None).expect(204);
        assert!(answer.body.is_empty());
        assert!(!server.folder("ada").exists());
        assert_eq!(device.head(), (ROOT.to_owned(), 0));
        device
            .get(&format!("transactions/{first}"))
            .expect_refusal(404, "unknown-transaction");
        device
            .get(&format!("chunks/{}", chunk.id))
            .expect_refusal(404, "unknown-chunk");
    }
    settles("the trash is emptied", || {
        fs::read_dir(server.data().join("trash"))
            .unwrap()
            .next()
            .is_none()
    });
    assert_eq!(other.head(), (bens, 1));
    // The id can be used anew, from the root.
    device.commit(&first, ROOT, &[]);
    assert_eq!(device.head(), (first, 1));
}

#[test]
fn what_a_killed_server_left_is_swept_at_start() {
    let server = Server::start();
    let mut device = server.device("ada");
    device.commit(&transaction_id("first"), ROOT, &[]);
    let data = server.data();
    let user = user_id("ben");
    let trash = data.join(format!("trash/{user}.0123456789abcdef"));
    let [old, young] = ["old", "young"].map(|name| data.join(format!("tmp/{user}.{name}")));
    for folder in [&trash, &old, &young] {
        fs::create_dir_all(folder.join("chunks/ab")).unwrap();
        fs::write(folder.join("chunks/ab/x"), "x").unwrap();
    }
    let two_days = std::time::SystemTime::now() - Duration::from_secs(2 * 86_400);
    for directory in ["chunks/ab", "chunks", ""] {
        let directory = fs::File::open(old.join(directory)).unwrap();
        directory.set_modified(two_days).unwrap();
    }
    let server = server.restart();
    settles("the trash is emptied", || !trash.exists());
    settles("a user's folder that was never finished goes", || {
        !old.exists()
    });
    assert!(young.exists(), "another process may be making it");
    assert_eq!(server.device("ada").head().1, 1);
}

#[test]
fn a_folder_that_is_moved_in_is_served() {
    let store = Store::make();
    let server = Server::start();
    // As `cp -r` or a plain `tar x` makes it, with looser modes and without what was pending.
    let copied = run_with_deadline(
        Command::new("sh")
            .args([
                "-c",
                "umask 022; mkdir \"$1/made\" && cd \"$0\" && cp -r HEAD log chunks transactions \"$1/made\" \
                 && mv \"$1/made\" \"$1/${0##*/}\"",
            ])
            .args([store.server.folder("ada"), server.data().join("users")]),
    );
    assert_eq!(copied.code, Some(0), "{copied:?}");
    let mut device = server.device("ada");
    assert_eq!(device.head(), (store.second.clone(), 2));
    assert_eq!(
        device.chain_after(ROOT),
        [store.first.as_str(), &store.second]
    );
    for chunk in &store.chunks[..2] {
        let got = device.get(&format!("chunks/{}", chunk.id)).expect(200);
        assert_eq!(got.body, chunk.bytes);
    }
    // And it goes on from there.
    device
        .get(&format!("chunks/{}", store.chunks[2].id))
        .expect_refusal(404, "unknown-chunk");
    device.commit(&store.pending, &store.second, &[&store.chunks[2]]);
    assert_eq!(device.head(), (store.pending.clone(), 3));
}
