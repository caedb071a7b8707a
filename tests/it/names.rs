use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::kit::{
    Finished, ROOT, Server, binary, chunk, run_with_deadline, skipped, transaction_id, tree,
    user_id,
};

const PHONE: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";
const LAPTOP: &str = "67e56000-10b1-426f-9247-bb680e5fe0c8";

/// A store, served or not.
struct House {
    top: tempfile::TempDir,
}

impl House {
    /// A store with these users, by id and name.
    fn with(users: &[(&str, &str)]) -> Self {
        let house = Self {
            top: tempfile::tempdir().unwrap(),
        };
        for (id, name) in users {
            house.works(&["users", "add", "--init", "--name", name, id]);
        }
        house
    }

    fn data(&self) -> std::path::PathBuf {
        self.top.path().join("data")
    }

    fn folder(&self, user: &str) -> std::path::PathBuf {
        self.data().join("users").join(user)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command.args(arguments).arg("--data").arg(self.data());
        command
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        run_with_deadline(&mut self.command(arguments))
    }

    #[track_caller]
    fn works(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.stdout
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32, words: &str) {
        let before = tree(self.top.path());
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{ended:?}");
        assert_eq!(tree(self.top.path()), before, "{arguments:?}");
    }

    /// The command with this on its standard input.
    #[track_caller]
    fn told(&self, arguments: &[&str], input: &str) -> Finished {
        let mut child = (self.command(arguments).stdin(Stdio::piped()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let ended = child.wait_with_output().unwrap();
        Finished {
            code: ended.status.code(),
            stdout: String::from_utf8(ended.stdout).unwrap(),
            stderr: String::from_utf8(ended.stderr).unwrap(),
        }
    }

    /// The users as `users --json` tells them.
    fn listed(&self) -> Vec<Value> {
        let said = self.run(&["users", "--json"]).stdout;
        let lines = said.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    /// The name of each user.
    fn names(&self) -> Vec<(String, Option<String>)> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let users = self.listed();
        (users.iter())
            .map(|user| (text(&user["user"]).unwrap(), text(&user["name"])))
            .collect()
    }
}

fn named(id: &str, name: &str) -> (String, Option<String>) {
    (id.to_owned(), Some(name.to_owned()))
}

#[test]
fn a_user_has_a_name_that_is_one_line_in_a_file_and_can_be_changed() {
    let house = House::with(&[(PHONE, "phone")]);
    let file = house.folder(PHONE).join("name");
    assert_eq!(fs::read_to_string(&file).unwrap(), "phone\n");
    house.works(&["users", "add", LAPTOP]);
    assert_eq!(
        house.names(),
        [named(PHONE, "phone"), (LAPTOP.to_owned(), None)]
    );
    house.works(&["users", "name", LAPTOP, "old laptop"]);
    house.works(&["users", "name", "old laptop", "laptop"]);
    assert_eq!(
        house.names(),
        [named(PHONE, "phone"), named(LAPTOP, "laptop")]
    );
    house.works(&["users", "name", "phone", "--remove"]);
    assert!(!file.exists());
    // Whoever is here already gets the name as well.
    house.works(&["users", "add", PHONE, "--name", "phone"]);
    house.works(&["users", "mv", "phone", &user_id("new")]);
    let expected = [named(&user_id("new"), "phone"), named(LAPTOP, "laptop")];
    for one in expected {
        assert!(house.names().contains(&one), "{:?}", house.names());
    }
    house.works(&["users", "rm", "phone"]);
    assert_eq!(house.names(), [named(LAPTOP, "laptop")]);
    // Nothing is left of the making.
    assert_eq!(tree(&house.folder(LAPTOP).join("incoming/tmp")).len(), 0);
    let table = house.works(&["users"]);
    assert!(
        table.lines().nth(1).unwrap().ends_with("  laptop"),
        "{table}"
    );
    house.works(&["fsck"]);
}

#[test]
fn a_name_that_breaks_the_rules_is_refused_and_nothing_is_made() {
    let house = House::with(&[(PHONE, "phone"), (LAPTOP, "laptop")]);
    let long = "n".repeat(101);
    for (bad, words) in [
        ("", "empty"),
        ("two\nlines", "one line"),
        ("\u{1b}[2J", "one line"),
        ("a/b", "no /"),
        (" x", "blank"),
        (&user_id("ada"), "no uuid"),
        (&user_id("ada").to_uppercase(), "no uuid"),
        (&long, "100 bytes"),
    ] {
        house.fails(&["users", "name", PHONE, bad], 2, words);
        house.fails(&["users", "add", "--name", bad], 2, words);
    }
    house.fails(&["users", "add", "--name=-x"], 2, "begin with -");
    house.fails(&["users", "name", PHONE, "-x"], 2, "-x");
    house.fails(&["users", "name", PHONE], 2, "NAME");
    // A name is one user's.
    house.fails(&["users", "name", PHONE, "laptop"], 1, "67e56000");
    house.fails(&["users", "add", "--name", "laptop"], 1, "67e56000");
    house.fails(&["users", "name", "nobody", "x"], 1, "nobody");
    house.fails(&["users", "name", &user_id("nobody"), "x"], 1, "no user");
    // One's own again is no other's.
    house.works(&["users", "name", PHONE, "phone"]);
}

#[test]
fn two_who_give_one_name_at_a_time_do_not_both_get_it() {
    let house = House::with(&[(PHONE, "phone")]);
    let children: Vec<_> = (0..8)
        .map(|_| {
            let mut add = house.command(&["users", "add", "--name", "tablet"]);
            add.stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let codes: Vec<_> = (children.into_iter())
        .map(|mut child| child.wait().unwrap().code())
        .collect();
    assert_eq!(
        codes.iter().filter(|code| **code == Some(0)).count(),
        1,
        "{codes:?}"
    );
    assert_eq!(house.listed().len(), 2);
}

#[test]
fn a_user_is_meant_by_id_name_first_digits_or_a_line_of_standard_input_everywhere() {
    let house = House::with(&[(PHONE, "phone"), (LAPTOP, "laptop")]);
    for word in [PHONE, "phone", "67e55", "67e55044", "67e55044-10b1"] {
        house.works(&["log", word]);
        house.works(&["log", "--long", "--json", word]);
        house.works(&["gc", "--user", word]);
        let said = house.works(&["fsck", "--json", "--user", word]);
        assert!(said.contains("\"users\":1"), "{said}");
        house.works(&["users", "name", word, "phone"]);
        for arguments in [
            &["log", "-"] as &[&str],
            &["gc", "--user", "-"],
            &["fsck", "--user", "-"],
            &["users", "name", "-", "phone"],
        ] {
            for end in ["\n", "", "\r\n"] {
                let ended = house.told(arguments, &format!("{word}{end}"));
                assert_eq!(ended.code, Some(0), "{arguments:?} {word:?}: {ended:?}");
            }
        }
    }
    let by_environment =
        run_with_deadline(house.command(&["fsck"]).env("MENTAT_SYNC_USER", "laptop"));
    assert_eq!(by_environment.code, Some(0), "{by_environment:?}");

    // Nobody, or more than one.
    for word in ["67e5", "67e"] {
        let words = if word == "67e" {
            "4 digits"
        } else {
            "67e55044, 67e56000"
        };
        house.fails(&["log", word], 2, words);
        house.fails(&["users", "rm", word], 2, words);
        house.fails(&["users", "mv", word, &user_id("new")], 2, words);
        house.fails(&["users", "name", word, "x"], 2, words);
        house.fails(&["gc", "--user", word], 2, words);
        house.fails(&["fsck", "--user", word], 2, words);
    }
    for word in ["nobody", "1234", &user_id("nobody")] {
        house.fails(&["log", word], 1, word);
        house.fails(&["users", "rm", word], 1, word);
        house.fails(&["users", "mv", word, &user_id("new")], 1, word);
        house.fails(&["gc", "--user", word], 1, word);
        house.fails(&["fsck", "--user", word], 3, "no");
    }
    for word in [PHONE.to_uppercase(), PHONE.replace('-', "")] {
        for arguments in [
            &["log", &word] as &[&str],
            &["users", "rm", &word],
            &["users", "mv", &word, LAPTOP],
            &["users", "mv", PHONE, &word],
            &["users", "add", &word],
            &["fsck", "--user", &word],
        ] {
            house.fails(arguments, 2, "lower case");
        }
    }
    for word in ["67e55044-10b1-426f-9247-bb680e5fe0c", "67e5"] {
        house.fails(&["users", "add", word], 2, "cut short");
        house.fails(&["users", "mv", PHONE, word], 2, "cut short");
    }
    house.fails(&["users", "add", "phone"], 2, "is no id");
}

#[test]
fn ids_need_not_be_shown_to_whoever_sees_the_arguments() {
    let house = House::with(&[(PHONE, "phone")]);
    let new = user_id("new");
    let added = house.told(&["users", "add", "-"], &format!("{}\n", user_id("ada")));
    assert_eq!(added.code, Some(0), "{added:?}");
    let moved = house.told(&["users", "mv", "-", "-"], &format!("{PHONE}\n{new}\n"));
    assert_eq!(moved.code, Some(0), "{moved:?}");
    assert!(house.names().contains(&named(&new, "phone")));
    let moved = house.told(&["users", "mv", "phone", "-"], &format!("{PHONE}\n"));
    assert_eq!(moved.code, Some(0), "{moved:?}");
    let removed = house.told(&["users", "rm", "-"], "phone\n");
    assert_eq!(removed.code, Some(0), "{removed:?}");
    assert!(!removed.stdout.contains(PHONE), "{removed:?}");
    assert_eq!(house.names().len(), 1);
    let before = tree(house.top.path());
    for (arguments, input) in [
        (&["users", "rm", "-"] as &[&str], ""),
        (&["users", "rm", "-"], "\n"),
        (&["users", "mv", "-", "-"], &format!("{}\n", user_id("ada"))),
        (&["users", "add", "-"], ""),
        (&["users", "add", "-"], "67e55044\n"),
    ] {
        let ended = house.told(arguments, input);
        assert_eq!(ended.code, Some(2), "{arguments:?} {input:?}: {ended:?}");
        assert_eq!(tree(house.top.path()), before, "{arguments:?}");
    }
}

#[test]
fn a_name_of_digits_goes_before_an_id_but_not_to_remove_or_move() {
    let house = House::with(&[(PHONE, "phone"), (LAPTOP, "67e55044")]);
    house.works(&["users", "name", "67e55044", "67e55044"]);
    assert!(house.names().contains(&named(LAPTOP, "67e55044")));
    house.fails(&["users", "rm", "67e55044"], 2, "67e56000, 67e55044");
    house.fails(
        &["users", "mv", "67e55044", &user_id("new")],
        2,
        "67e56000, 67e55044",
    );
    house.works(&["users", "rm", "67e55044-"]);
    house.works(&["users", "rm", "67e55044"]);
    assert_eq!(house.names().len(), 0);
}

#[test]
fn a_name_is_in_every_copy_and_in_no_answer() {
    let top = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let server = Server::on(std::sync::Arc::clone(&top), &[]);
    let mut ada = server.device("ada");
    ada.commit(&transaction_id("one"), ROOT, &[&chunk("precious")]);
    let on = |arguments: &[&str]| {
        let ended = run_with_deadline(binary().args(arguments).arg("--data").arg(server.data()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    };
    on(&["users", "name", &user_id("ada"), "Ada's phone"]);
    for path in ["name", "", "head", "bundle", "transactions"] {
        let answer = ada.get(path);
        assert!(
            !String::from_utf8_lossy(&answer.body).contains("Ada's"),
            "{path}"
        );
        assert_eq!(answer.status == 200, path != "name", "{path}");
    }
    let name_in = |copy: &Path| {
        let name = copy.join("users").join(user_id("ada")).join("name");
        fs::read_to_string(name).unwrap_or_default()
    };
    let copy = top.path().join("snapshot");
    on(&["snapshot", copy.to_str().unwrap()]);
    assert_eq!(name_in(&copy), "Ada's phone\n");
    if crate::readme::has(&["rsync"]) {
        let copy = top.path().join("backup");
        let again = |expected: &str| {
            on(&["backup", copy.to_str().unwrap()]);
            assert_eq!(name_in(&copy), expected);
        };
        again("Ada's phone\n");
        // Nothing else is new.
        on(&["users", "name", "Ada's phone", "phone"]);
        again("phone\n");
        on(&["users", "name", "phone", "Ada's"]);
        ada.commit(
            &transaction_id("two"),
            &transaction_id("one"),
            &[&chunk("more")],
        );
        again("Ada's\n");
        let checked = run_with_deadline(binary().args(["fsck", "--data"]).arg(&copy));
        assert_eq!(checked.code, Some(0), "{checked:?}");
        assert!(checked.stdout.ends_with("sound\n"), "{checked:?}");
    }
}

#[test]
fn a_damaged_name_is_found_by_fsck_and_harms_nobody() {
    let house = House::with(&[(PHONE, "phone"), (LAPTOP, "laptop")]);
    let file = house.folder(PHONE).join("name");
    let reset = || {
        let _ = fs::remove_file(&file).or_else(|_| fs::remove_dir(&file));
    };
    for (bytes, words) in [
        (b"two\nlines\n" as &[u8], "one line"),
        (b"\xff\xfe", "UTF-8"),
        (b"", "empty"),
        (&[b'n'; 4000], "100 bytes"),
        (b"laptop\n", "is called laptop as well"),
    ] {
        fs::write(&file, bytes).unwrap();
        let found = house.works(&["fsck", "--repair"]);
        assert!(found.contains("harmless: name: "), "{found}");
        assert!(found.contains(words), "{found}");
        let copy = house.top.path().join("copy");
        house.works(&["snapshot", copy.to_str().unwrap()]);
        fs::remove_dir_all(&copy).unwrap();
    }
    // Who is called as another is, is found by neither.
    house.fails(&["log", "laptop"], 2, "are called so");
    reset();
    fs::create_dir(&file).unwrap();
    assert!(house.works(&["fsck"]).contains("harmless: name: "));
    house.works(&["log", PHONE]);
    assert_eq!(
        house.names(),
        [(PHONE.to_owned(), None), named(LAPTOP, "laptop")]
    );
    reset();
    std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
    assert!(house.works(&["fsck"]).contains("harmless: name: "));
    assert_eq!(house.names()[0], (PHONE.to_owned(), None));
    // To name it mends it, and writes nowhere else.
    house.works(&["users", "name", PHONE, "phone"]);
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
    assert!(house.works(&["fsck"]).ends_with("sound\n"));
    // A name that an editor wrote without its newline is one.
    fs::write(&file, "telephone").unwrap();
    house.works(&["log", "telephone"]);
}

#[test]
fn users_are_listed_with_their_last_write_and_their_state() {
    let house = House::with(&[(PHONE, "phone"), (LAPTOP, "laptop")]);
    let head = house.folder(PHONE).join("HEAD");
    let written = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let opened = fs::File::options().append(true).open(&head).unwrap();
    opened.set_modified(written).unwrap();
    // Not a write of a client's: a lock, a collection.
    house.works(&["gc"]);
    let listed = house.listed();
    assert_eq!(listed[0]["last_write"], "2023-11-14T22:13:20Z");
    assert_eq!(listed[0]["state"], "serving");
    assert_eq!(listed[0].get("why"), None);
    assert!(
        house
            .works(&["users"])
            .contains("2023-11-14T22:13:20Z  phone")
    );
    fs::remove_file(&head).unwrap();
    let ended = house.run(&["users", "--json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let listed = house.listed();
    assert_eq!(listed.len(), 2);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["state"]),
        (&"phone".into(), &"damaged".into())
    );
    assert!(
        listed[0]["why"].as_str().unwrap().contains("HEAD"),
        "{listed:?}"
    );
    assert_eq!(
        (&listed[0]["head"], &listed[0]["seq"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(listed[1]["state"], "serving");
}

#[test]
fn the_long_log_tells_date_chunks_and_bytes() {
    let server = Server::start();
    let mut ada = server.device("ada");
    let [one, two] = ["one", "two"].map(transaction_id);
    let [a, b] = [chunk("four"), chunk("seventy")];
    ada.commit(&one, ROOT, &[&a, &b, &a]);
    ada.commit(&two, &one, &[]);
    let file = server
        .folder("ada")
        .join(format!("transactions/{}/{one}.json", &one[..2]));
    let written = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    fs::File::open(&file)
        .unwrap()
        .set_modified(written)
        .unwrap();
    let log = |flags: &[&str]| {
        let mut command = binary();
        command
            .args(["log", &user_id("ada"), "--data"])
            .arg(server.data());
        let ended = run_with_deadline(command.args(flags));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout
    };
    let said = log(&["--long", "--json"]);
    let first: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let expected = serde_json::json!({
        "seq": 1, "id": one, "date": "2023-11-14T22:13:20Z", "chunks": 3, "bytes": 15,
    });
    assert_eq!(first, expected);
    let said = log(&["--long"]);
    let rows: Vec<Vec<&str>> = (said.lines())
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["1", &one, "2023-11-14T22:13:20Z", "3", "15"]);
    assert_eq!(
        (rows[1][1], rows[1][3], rows[1][4]),
        (two.as_str(), "0", "0")
    );
    // Without it, as ever.
    assert_eq!(
        log(&["--json"]).lines().next().unwrap(),
        format!("{{\"seq\":1,\"id\":\"{one}\"}}")
    );
    fs::remove_file(
        server
            .folder("ada")
            .join(format!("chunks/{}/{}", &a.id[..2], a.id)),
    )
    .unwrap();
    assert!(log(&["--long"]).lines().next().unwrap().ends_with(" -"));
    assert!(log(&["--long", "--json"]).contains("\"bytes\":null"));
}

/// Runs a command of the shell on a terminal of its own, and types this once it asks.
fn on_a_terminal(command: &str, typed: &str) -> Option<(Option<i32>, String)> {
    if !crate::readme::has(&["script"]) {
        skipped("what is asked on a terminal", "script is not here");
        return None;
    }
    let mut child = Command::new("script")
        .args(["-qefc", command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (mut said, mut buffer) = (String::new(), [0; 4096]);
    let mut is_typed = false;
    while let Ok(read @ 1..) = out.read(&mut buffer) {
        said += &String::from_utf8_lossy(&buffer[..read]);
        if !is_typed && said.contains("[y/N]") {
            stdin.write_all(typed.as_bytes()).unwrap();
            is_typed = true;
        }
    }
    Some((child.wait().unwrap().code(), said))
}

#[test]
fn to_remove_a_user_on_a_terminal_asks_and_says_what_goes() {
    let top = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let server = Server::on(std::sync::Arc::clone(&top), &[]);
    let mut ada = server.device("ada");
    ada.commit(&transaction_id("one"), ROOT, &[&chunk("precious")]);
    ada.put_transaction(&transaction_id("two"), &transaction_id("one"), &[])
        .expect(201);
    let data = server.data().display().to_string();
    let program = binary().get_program().to_str().unwrap().to_owned();
    let named = run_with_deadline(binary().args([
        "users",
        "name",
        &user_id("ada"),
        "phone",
        "--data",
        &data,
    ]));
    assert_eq!(named.code, Some(0), "{named:?}");
    let command = format!("{program} users rm phone --data {data}");
    for no in ["n\n", "\n", "yeah\n", "\u{4}"] {
        let Some((code, said)) = on_a_terminal(&command, no) else {
            return;
        };
        assert_eq!(code, Some(1), "{said}");
        for words in [
            &user_id("ada")[..8],
            "(phone)",
            "1 transaction, 1 pending",
            " in ",
            "last written to 2",
            "nothing was removed",
        ] {
            assert!(said.contains(words), "no {words} in {said}");
        }
        assert!(!said.contains(&user_id("ada")), "{said}");
        assert!(server.folder("ada").exists());
    }
    let (code, said) = on_a_terminal(&command, "y\n").unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("removed user"), "{said}");
    assert!(!server.folder("ada").exists());
    // With --yes nobody is asked.
    ada.commit(&transaction_id("one"), ROOT, &[]);
    let command = format!("{program} users rm --yes {} --data {data}", user_id("ada"));
    let (code, said) = on_a_terminal(&command, "").unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        !said.contains("[y/N]") && said.contains("1 transaction"),
        "{said}"
    );
    assert!(!server.folder("ada").exists());
}

#[test]
fn to_remove_a_user_in_a_script_asks_nobody_and_says_what_went() {
    let house = House::with(&[(PHONE, "phone")]);
    let said = house.works(&["users", "rm", PHONE]);
    assert!(
        said.starts_with("removed user 67e55044 (phone): 0 transactions, "),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
    // One that is damaged goes as well.
    house.works(&["users", "add", LAPTOP]);
    fs::write(house.folder(LAPTOP).join("HEAD"), "nonsense").unwrap();
    let said = house.works(&["users", "rm", LAPTOP]);
    assert!(said.contains("HEAD leads nowhere"), "{said}");
    assert!(!house.folder(LAPTOP).exists());
}
