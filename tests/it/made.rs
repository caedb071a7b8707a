use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::kit::{
    Finished, ROOT, Server, binary, chunk, run_with_deadline, transaction_id, tree, user_id,
};

/// The words of `serve` where it makes a store.
const MADE: &str = "mentat-sync: made a new store in ";

/// The binary with these arguments and this directory.
fn on(data: &Path, arguments: &[&str]) -> Command {
    let mut command = binary();
    command.args(arguments).arg("--data").arg(data);
    command
}

/// A server that cannot listen: it has ended by the time that it would.
fn serve_in_vain(data: &Path, more: &[&str]) -> Finished {
    // An address of documentation, which no box has.
    let mut command = on(data, &["serve", "--listen", "192.0.2.1:1"]);
    run_with_deadline(command.args(more))
}

#[track_caller]
fn refused(ended: &Finished, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in {ended:?}");
    }
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    assert!(!ended.stderr.contains(MADE), "{ended:?}");
}

/// A store with a user in it, `top/data`.
fn store() -> Arc<tempfile::TempDir> {
    let top = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::on(Arc::clone(&top), &[]);
    let mut ada = server.device("ada");
    ada.commit(&transaction_id("one"), ROOT, &[&chunk("precious")]);
    assert!(server.stop().success());
    top
}

#[test]
fn a_store_is_made_where_nothing_is_and_said_in_a_line_of_its_own() {
    let top = tempfile::tempdir().unwrap();
    let (absent, empty, mount) = (
        top.path().join("a/b"),
        top.path().join("empty"),
        top.path().join("mount"),
    );
    fs::create_dir(&empty).unwrap();
    fs::create_dir_all(mount.join("lost+found")).unwrap();
    for data in [&absent, &empty, &mount] {
        let ended = serve_in_vain(data, &[]);
        let said = format!("{MADE}{}", data.display());
        let line = ended.stderr.lines().find(|line| line.starts_with(&said));
        assert!(line.is_some(), "{ended:?}");
        assert!(data.join("FORMAT").exists());
        // It is there now, and nothing to be told.
        let ended = serve_in_vain(data, &[]);
        assert!(!ended.stderr.contains(MADE), "{ended:?}");
    }
    // A server that goes on says it too.
    let server = Server::start();
    let told = server.has_said(|line| line.starts_with(MADE));
    assert!(told.contains(server.data().to_str().unwrap()), "{told}");
}

#[test]
fn a_making_that_was_cut_short_is_gone_on_with() {
    for begun in [
        &["users"] as &[_],
        &["tmp"],
        &["users", "tmp", "trash"],
        &["lost+found", "users"],
    ] {
        let top = tempfile::tempdir().unwrap();
        for name in begun {
            fs::create_dir(top.path().join(name)).unwrap();
        }
        if begun.contains(&"tmp") {
            fs::write(top.path().join("tmp/probe.0123456789abcdef"), "mentat-").unwrap();
        }
        let ended = serve_in_vain(top.path(), &[]);
        assert!(ended.stderr.contains(MADE), "{ended:?}");
    }
}

#[test]
fn with_existing_no_store_is_ever_made() {
    let top = tempfile::tempdir().unwrap();
    let (absent, empty, begun) = (
        top.path().join("absent"),
        top.path().join("empty"),
        top.path().join("begun"),
    );
    fs::create_dir(&empty).unwrap();
    fs::create_dir_all(begun.join("users")).unwrap();
    let before = tree(top.path());
    for data in [&absent, &empty, &begun] {
        let ended = serve_in_vain(data, &["--existing"]);
        refused(&ended, 1, &[data.to_str().unwrap(), "mounted", "--init"]);
        let by_environment = run_with_deadline(
            on(data, &["serve", "--listen", "127.0.0.1:0"]).env("MENTAT_SYNC_EXISTING", "true"),
        );
        refused(&by_environment, 1, &["mounted"]);
    }
    assert_eq!(tree(top.path()), before);
    // One that was made is served.
    let server = Server::on(store(), &["--existing"]);
    assert_eq!(server.device("ada").head().1, 1);
}

#[test]
fn users_are_added_to_a_store_only_or_with_init() {
    let top = tempfile::tempdir().unwrap();
    let (absent, empty) = (top.path().join("absent"), top.path().join("empty"));
    fs::create_dir(&empty).unwrap();
    let before = tree(top.path());
    for data in [&absent, &empty] {
        let ended = run_with_deadline(&mut on(data, &["users", "add"]));
        refused(&ended, 1, &[data.to_str().unwrap(), "--init"]);
    }
    assert_eq!(tree(top.path()), before);
    for data in [&absent, &empty] {
        let made = run_with_deadline(&mut on(data, &["users", "add", "--init", &user_id("ada")]));
        assert_eq!(made.code, Some(0), "{made:?}");
        assert!(made.stderr.starts_with(MADE), "{made:?}");
        assert_eq!(made.stdout, format!("{}\n", user_id("ada")));
        // It does no harm where there is one.
        let again = run_with_deadline(&mut on(data, &["users", "add", "--init", &user_id("bob")]));
        assert_eq!((again.code, again.stderr.as_str()), (Some(0), ""));
        let ended = serve_in_vain(data, &["--existing"]);
        assert!(ended.stderr.contains("cannot listen"), "{ended:?}");
    }
}

#[test]
fn no_tool_makes_a_store() {
    let top = tempfile::tempdir().unwrap();
    let (empty, copy) = (top.path().join("empty"), top.path().join("copy"));
    fs::create_dir(&empty).unwrap();
    let (ada, bob) = (user_id("ada"), user_id("bob"));
    let before = tree(top.path());
    for (arguments, code) in [
        (&["users"] as &[&str], 1),
        (&["users", "rm", &ada], 1),
        (&["users", "mv", &ada, &bob], 1),
        (&["log", &ada], 1),
        (&["gc"], 1),
        (&["fsck", "--repair"], 3),
        (&["snapshot", copy.to_str().unwrap()], 1),
    ] {
        let ended = run_with_deadline(&mut on(&empty, arguments));
        refused(&ended, code, &["there is no store here"]);
        assert_eq!(tree(top.path()), before, "{arguments:?}");
    }
}

/// Directories that are no data directory, and words that tell which is.
fn wrong_directories(top: &Path) -> Vec<(std::path::PathBuf, Vec<String>)> {
    let data = top.join("data");
    let folder = data.join("users").join(user_id("ada"));
    let said = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let is_inside = format!("--data {}", data.canonicalize().unwrap().display());
    // Without the store above it, as in a copy.
    let apart = top.join("apart");
    let copied = Command::new("cp")
        .arg("-r")
        .args([&folder, &apart])
        .status();
    assert!(copied.unwrap().success());
    let users = top.join("some users");
    fs::create_dir_all(users.join(user_id("bob"))).unwrap();
    let other = top.join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), "dear").unwrap();
    let unfinished = top.join("unfinished");
    fs::create_dir_all(unfinished.join("users")).unwrap();
    fs::create_dir_all(unfinished.join("tmp/backup")).unwrap();
    let cut = top.join("cut");
    fs::create_dir_all(cut.join("users").join(user_id("ada"))).unwrap();
    vec![
        (folder.clone(), said(&["folder of one user", &is_inside])),
        (folder.join("chunks"), said(&[&is_inside])),
        (folder.join("incoming/tmp"), said(&[&is_inside])),
        (data.join("users"), said(&["looks like users/", &is_inside])),
        (data.join("tmp"), said(&[&is_inside])),
        (data.join("data"), said(&[&is_inside])),
        (data.join("tmp/a/b"), said(&[&is_inside])),
        (top.to_owned(), said(&["one below, in data"])),
        (apart.clone(), said(&["folder of one user", "two above"])),
        (apart.join("transactions"), said(&["other things"])),
        (users, said(&["looks like users/"])),
        (other, said(&["other things in it (letter.txt"])),
        (unfinished, said(&["not finished"])),
        (cut, said(&["FORMAT"])),
    ]
}

#[test]
fn a_wrong_directory_is_refused_with_words_that_help_and_nothing_is_made() {
    let top = store();
    let wrong = wrong_directories(top.path());
    let before = tree(top.path());
    for (data, words) in &wrong {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        refused(&serve_in_vain(data, &[]), 1, &words);
        let added = run_with_deadline(&mut on(data, &["users", "add", "--init"]));
        refused(&added, 1, &words);
        if data.exists() {
            for tool in [&["users"] as &[&str], &["users", "add"], &["gc"]] {
                let ended = run_with_deadline(&mut on(data, tool));
                let words = match words[0] {
                    // It is empty, and a part of a store all the same.
                    inside if inside.starts_with("--data") => &words[..],
                    _ => &words[..1],
                };
                refused(&ended, 1, words);
            }
        }
        assert_eq!(tree(top.path()), before, "{data:?}");
    }
    // By way of a symlink as well.
    let link = top.path().join("link");
    symlink(top.path().join("data/users"), &link).unwrap();
    refused(&serve_in_vain(&link, &[]), 1, &["looks like users/"]);
}

#[test]
fn a_store_that_lost_its_users_is_not_served_as_an_empty_one() {
    let top = store();
    let data = top.path().join("data");
    fs::rename(data.join("users"), top.path().join("elsewhere")).unwrap();
    let before = tree(top.path());
    for flags in [&[] as &[&str], &["--existing"]] {
        refused(&serve_in_vain(&data, flags), 1, &["no users/"]);
    }
    refused(
        &run_with_deadline(&mut on(&data, &["users", "add"])),
        1,
        &["no users/"],
    );
    assert_eq!(tree(top.path()), before);
}

#[test]
fn an_empty_variable_is_as_one_that_is_not_set() {
    let help = run_with_deadline(binary().args(["serve", "--help"])).stdout;
    let names: Vec<&str> = (help.split("[env: ").skip(1))
        .filter_map(|rest| rest.split('=').next())
        .collect();
    assert!(names.len() > 15, "{names:?}");
    let top = Arc::new(tempfile::tempdir().unwrap());
    let mut command = binary();
    command.envs(names.iter().map(|name| (*name, "")));
    let server = Server::launch(command, Arc::clone(&top), &[]);
    server
        .device("ada")
        .commit(&transaction_id("one"), ROOT, &[]);

    // The default of --data, too, and the filter of the log.
    let listed = run_with_deadline(
        binary()
            .args(["users"])
            .env("MENTAT_SYNC_DATA", "")
            .env("MENTAT_SYNC_JSON", "")
            .current_dir(top.path()),
    );
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(listed.stdout.contains(&user_id("ada")), "{listed:?}");
    let ended = run_with_deadline(
        on(
            top.path().join("data").as_path(),
            &["serve", "--listen", "192.0.2.1:1"],
        )
        .env("RUST_LOG", ""),
    );
    assert_eq!(ended.code, Some(1), "{ended:?}");
    // What is not empty is read, and refused by its name.
    let ended = run_with_deadline(
        binary()
            .args(["serve"])
            .env("MENTAT_SYNC_MAX_CHUNK_BYTES", " "),
    );
    refused(&ended, 2, &["--max-chunk-bytes"]);
}

#[test]
fn a_bare_port_is_refused_with_the_addresses_that_it_may_mean() {
    let top = tempfile::tempdir().unwrap();
    let data = top.path().join("data");
    for port in ["8000", ":8000"] {
        let ended = run_with_deadline(&mut on(&data, &["serve", "--listen", port]));
        refused(&ended, 2, &["127.0.0.1:8000", "0.0.0.0:8000"]);
        let ended = run_with_deadline(on(&data, &["serve"]).env("MENTAT_SYNC_LISTEN", port));
        refused(&ended, 2, &["127.0.0.1:8000", "0.0.0.0:8000"]);
    }
    assert!(!data.exists());
}
