use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mentat_sync::model::limits;

use crate::kit::{Device, Server, binary, run_with_deadline, skipped};

use crate::documents::{
    APPS, BROWSERS, CONTRIBUTING, COPIES, DEVICES, OPERATIONS, PAGES, PERFORMANCE, PROTOCOL, Page,
    README, RECIPES, SCALE, TASKWARRIOR, TESTING, WATCHING, WRITE_A_CLIENT,
};

/// The address that the README's server listens at.
pub const WRITTEN_ADDRESS: &str = "127.0.0.1:8000";

/// How a line begins that says why the block below it is not run; it ends with a full stop and an asterisk.
const NOT_RUN: &str = "*Not run as a test: ";

/// How a line begins that says which script runs the block below it, since a test cannot.
const RUN_BY_STRANGER: &str = "*Run by `scripts/stranger-test` and not here: ";

/// How many console blocks are not run, page by page: a new one is counted here.
const NOT_RUN_BLOCKS: [(&Page, usize); 14] = [
    (&README, 4),
    (&OPERATIONS, 1),
    (&COPIES, 0),
    (&PROTOCOL, 0),
    (&WRITE_A_CLIENT, 0),
    (&TASKWARRIOR, 2),
    (&RECIPES, 0),
    (&PERFORMANCE, 1),
    (&TESTING, 0),
    (&SCALE, 0),
    (&WATCHING, 0),
    (&DEVICES, 0),
    (&APPS, 0),
    (&BROWSERS, 0),
];

/// A command of a ```console block, and what is printed below it.
#[derive(Debug)]
pub struct Shown {
    pub command: String,
    pub output: String,
}

/// The commands of a text's console blocks, but for the blocks that say that they are not run; and how many those are.
pub fn shown_in(text: &str) -> (Vec<Shown>, usize) {
    let mut shown: Vec<Shown> = Vec::new();
    let (mut inside, mut not_run) = (false, 0);
    let mut said = "";
    for line in text.lines() {
        match line {
            "```console" if said.starts_with(NOT_RUN) || said.starts_with(RUN_BY_STRANGER) => {
                assert!(
                    said.ends_with(".*") && said.len() > NOT_RUN.len() + 10,
                    "{said}"
                );
                not_run += 1;
            }
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match (line.strip_prefix("$ "), line.strip_prefix("> ")) {
                (Some(command), _) => shown.push(Shown {
                    command: command.to_owned(),
                    output: String::new(),
                }),
                (None, Some(more)) => {
                    let last = shown.last_mut().expect("a line goes on from one");
                    last.command.push('\n');
                    last.command.push_str(more);
                }
                (None, None) => {
                    let last = shown.last_mut().expect("output comes after its command");
                    last.output.push_str(line);
                    last.output.push('\n');
                }
            },
        }
        if !line.is_empty() {
            said = line;
        }
    }
    (shown, not_run)
}

/// What stands below this headline, up to the next one like it.
fn section_of<'a>(text: &'a str, headline: &str) -> &'a str {
    let (_, rest) = text
        .split_once(&format!("\n## {headline}\n"))
        .unwrap_or_else(|| panic!("no section {headline}"));
    rest.split_once("\n## ")
        .map_or(rest, |(section, _)| section)
}

/// Whether these programs are here; says so where one is not.
pub fn has(programs: &[&str]) -> bool {
    programs.iter().all(|program| {
        let found = Command::new("sh")
            .args(["-c", "command -v \"$0\" >/dev/null", program])
            .status()
            .is_ok_and(|status| status.success());
        if !found {
            skipped(
                "commands of the documents",
                format!("{program} is not here"),
            );
        }
        found
    })
}

/// Runs the commands one after the other in one shell, in this directory, and compares what is
/// printed with what the README says is.
pub fn run_shown(shown: &[Shown], directory: &Path, address: &str) {
    // A line that no command prints, between the outputs.
    const SEAM: &str = "~~~ seam ~~~";
    let mut script = "set -o pipefail\n".to_owned();
    for Shown { command, .. } in shown {
        script.push_str(&command.replace(WRITTEN_ADDRESS, address));
        script.push_str(&format!("\necho '{SEAM}'\n"));
    }
    let own = Path::new(binary().get_program())
        .parent()
        .unwrap()
        .to_owned();
    let path = format!(
        "{}:{}:{}",
        directory.join("bin").display(),
        own.display(),
        std::env::var("PATH").unwrap()
    );
    let ran = run_with_deadline(
        Command::new("bash")
            .args(["--norc", "-c", &format!("exec 2>&1\n{script}")])
            .current_dir(directory)
            .env("PATH", path)
            .env("LC_ALL", "C.UTF-8"),
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let printed = ran.stdout.replace(address, WRITTEN_ADDRESS);
    let seam = format!("{SEAM}\n");
    let mut outputs = printed.split(&seam);
    for Shown { command, output } in shown {
        let got = outputs.next().expect("as many outputs as commands");
        // Of all that is printed the time alone is never what is written.
        let [got, output] = [got, output].map(any_time);
        assert_eq!(got, output, "$ {command}");
    }
}

/// The text, with one and the same time in the place of each.
fn any_time(text: &str) -> String {
    let time = regex_lite::Regex::new(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ").unwrap();
    time.replace_all(text, "2026-11-28T12:48:11Z").into_owned()
}

/// The scripts as a clone has them, and an `ssh` whose every host is the folder `box`.
pub fn clone_with_another_machine(top: &Path) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    std::os::unix::fs::symlink(scripts, top.join("scripts")).unwrap();
    for folder in ["bin", "box"] {
        std::fs::create_dir(top.join(folder)).unwrap();
    }
    let ssh = top.join("bin/ssh");
    let text = format!(
        "#!/bin/sh\nwhile :; do case $1 in -*) shift 2;; *) break;; esac; done\nshift\n\
         cd '{}' && exec sh -c \"$*\"\n",
        top.join("box").display()
    );
    std::fs::write(&ssh, text).unwrap();
    std::fs::set_permissions(&ssh, PermissionsExt::from_mode(0o755)).unwrap();
}

/// Runs the README from top to bottom in one shell, and then this page in the same; the README itself for the README.
/// Gives back the directory, with what the commands left there.
fn follow(page: &Page) -> Option<Arc<tempfile::TempDir>> {
    let tools = [
        "bash",
        "curl",
        "jq",
        "sha256sum",
        "find",
        "awk",
        "grep",
        "tar",
        "rsync",
        "flock",
    ];
    if !has(&tools) {
        return None;
    }
    let top = Arc::new(tempfile::tempdir().unwrap());
    // The README's server has `./data`, and so has this one.
    let server = Server::on(Arc::clone(&top), &[]);
    clone_with_another_machine(top.path());
    let (mut shown, _) = shown_in(README.text);
    // The first one is what started the server.
    shown.remove(0);
    if page.path != README.path {
        let (of_page, _) = shown_in(page.text);
        assert!(!of_page.is_empty(), "nothing is shown in {}", page.path);
        shown.extend(of_page);
    }
    run_shown(&shown, top.path(), &server.address().to_string());
    Some(top)
}

/// Whoever copies the commands one after the other, into one shell, sees what is written below them.
#[test]
fn from_top_to_bottom_it_prints_what_the_readme_says() {
    follow(&README);
}

#[test]
fn the_commands_of_the_protocol_print_what_the_page_says() {
    follow(&PROTOCOL);
}

#[test]
fn what_watches_a_server_prints_what_the_page_says() {
    follow(&WATCHING);
}

#[test]
fn what_taskwarriors_users_look_at_is_as_the_page_says() {
    follow(&TASKWARRIOR);
}

#[test]
fn what_a_person_with_two_devices_does_prints_what_the_page_says() {
    follow(&DEVICES);
}

#[test]
fn the_recipes_print_what_the_page_says() {
    follow(&RECIPES);
}

#[test]
fn what_an_operator_does_prints_what_the_page_says_and_the_new_box_serves_what_came_to_it() {
    let Some(top) = follow(&OPERATIONS) else {
        return;
    };
    let new_box = Arc::new(tempfile::tempdir().unwrap());
    std::fs::rename(top.path().join("box/sync"), new_box.path().join("data")).unwrap();
    let moved = Server::on(new_box, &[]);
    let mut device = Device::new(moved.address(), "67e55044-10b1-426f-9247-bb680e5fe0c8");
    let newest = "33333333-3333-4333-8333-333333333333".to_owned();
    assert_eq!(device.head(), (newest, 2));
}

#[test]
fn copies_are_made_as_the_page_says_and_the_standby_takes_over() {
    // What needs restic is run where there is one.
    let with_restic = has(&["restic"]);
    let restic = section_of(COPIES.text, "With restic");
    let text = match with_restic {
        true => COPIES.text.to_owned(),
        false => COPIES.text.replace(restic, ""),
    };
    let page = Page {
        path: COPIES.path,
        text: text.leak(),
    };
    let Some(top) = follow(&page) else {
        return;
    };
    assert_eq!(top.path().join("restic/config").exists(), with_restic);
    let standby = Arc::new(tempfile::tempdir().unwrap());
    std::fs::rename(top.path().join("box/sync"), standby.path().join("data")).unwrap();
    let promoted = Server::on(standby, &[]);
    let mut device = Device::new(promoted.address(), "67e55044-10b1-426f-9247-bb680e5fe0c8");
    let newest = "33333333-3333-4333-8333-333333333333".to_owned();
    assert_eq!(device.head(), (newest.clone(), 2));
    // The loss is what was acknowledged after the last copy. The device that has it is told so, and brings it back.
    let lost = "44444444-4444-4444-8444-444444444444";
    let from = device.get(&format!("transactions?from={lost}"));
    from.expect_refusal(404, "unknown-transaction");
    device.put_transaction(lost, &newest, &[]).expect(201);
    device.put_head(lost).expect(204);
    assert_eq!(device.head(), (lost.to_owned(), 3));
    // And who moved to another box is there.
    let other = Arc::new(tempfile::tempdir().unwrap());
    std::fs::rename(top.path().join("box/moved"), other.path().join("data")).unwrap();
    let other = Server::on(other, &[]);
    let mut device = Device::new(other.address(), "67e55044-10b1-426f-9247-bb680e5fe0c8");
    assert_eq!(device.head(), (newest, 2));
}

/// Each block that is said to be run by the stranger's script is one that the script types, in order.
#[test]
fn what_the_stranger_is_said_to_type_is_typed() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = std::fs::read_to_string(top.join("scripts/stranger-test")).unwrap();
    let mark = RUN_BY_STRANGER.split(" and ").next().unwrap();
    assert!(script.contains(&format!("shown_below \"{}\"", mark.replace('`', "\\`"))));
    let blocks = README.text.matches(RUN_BY_STRANGER).count();
    assert!(blocks >= 4, "{blocks}");
    for block in 1..=blocks {
        assert!(
            script.contains(&format!("\n    type_block {block}\n")),
            "{block}"
        );
    }
    assert!(!script.contains(&format!("type_block {}", blocks + 1)));
}

/// Every page's commands are run by a test above, or marked as not run, which is counted.
#[test]
fn each_page_is_run_but_for_the_blocks_that_say_why_they_are_not() {
    let counted: Vec<&str> = NOT_RUN_BLOCKS.iter().map(|(page, _)| page.path).collect();
    let pages: Vec<&str> = PAGES.iter().map(|page| page.path).collect();
    assert_eq!(counted, pages);
    let followed = [
        &README,
        &OPERATIONS,
        &COPIES,
        &PROTOCOL,
        &TASKWARRIOR,
        &RECIPES,
        &WATCHING,
        &DEVICES,
    ]
    .map(|page| page.path);
    for (page, expected) in NOT_RUN_BLOCKS {
        let (shown, not_run) = shown_in(page.text);
        assert_eq!(
            not_run, expected,
            "{} has other blocks that are not run",
            page.path
        );
        assert_eq!(
            page.text.matches(NOT_RUN).count() + page.text.matches(RUN_BY_STRANGER).count(),
            not_run,
            "{}: a mark stands directly above its block",
            page.path
        );
        let is_followed = followed.contains(&page.path);
        assert_eq!(
            !shown.is_empty(),
            is_followed,
            "{} is run by a test",
            page.path
        );
    }
}

#[test]
fn the_two_commands_are_the_ones_that_work() {
    let (shown, _) = shown_in(section_of(README.text, "Start"));
    let [build, _] = shown.as_slice() else {
        panic!("two commands, not {shown:?}");
    };
    // The first is what `cargo` does with this package; its start-up line is the real one.
    assert_eq!(build.command, "cargo run --release -- serve");
    let top = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::on(Arc::clone(&top), &[]);
    let line = server.has_said(|line| line.contains(" serves "));
    let line = line
        .replace(&server.address().to_string(), WRITTEN_ADDRESS)
        .replace(
            server.data().to_str().unwrap(),
            "/home/you/mentat-sync/data",
        );
    assert_eq!(build.output, format!("{line}\n"));
    if has(&["bash", "curl"]) {
        let address = server.address().to_string();
        run_shown(&shown[1..], top.path(), &address);
    }
}

/// The limits that the pages name are the ones that the server has.
#[test]
fn the_limits_are_the_real_ones() {
    let section = section_of(PROTOCOL.text, "Limits");
    let short = section_of(README.text, "Limits and promises").replace('\n', " ");
    let said = "A chunk is at most 1 GiB, a transaction at most 100,000 chunks, and a user may have 100,000 pending transactions.";
    assert!(short.contains(said), "{short}");
    for (written, limit) in [
        (
            "at most 1 GiB (`--max-chunk-bytes`)",
            limits::CHUNK_BYTES == 1 << 30,
        ),
        (
            "at most 16 MiB of JSON",
            limits::TRANSACTION_BYTES == 16 << 20,
        ),
        ("with 100,000 chunks", limits::TRANSACTION_CHUNKS == 100_000),
        (
            "100,000 pending transactions",
            limits::PENDING_TRANSACTIONS == 100_000,
        ),
        (
            "stall for 30 seconds",
            limits::BODY_STALL == Duration::from_secs(30),
        ),
    ] {
        let section = section.replace('\n', " ");
        assert!(section.contains(written), "{written}");
        assert!(limit, "{written}");
    }
    let parts = section_of(PROTOCOL.text, "What one user may have");
    let words = |part: limits::Part| match (part.0, part.1) {
        (1, 4) => "a quarter",
        (1, 2) => "half",
        (3, 4) => "three quarters",
        other => panic!("{other:?} has no word"),
    };
    let of_address = words(limits::ADDRESS_PART);
    for (shared, of_user) in [
        (
            format!("{} bundles that are taken in at a time", limits::PUSHES),
            words(limits::PUSHES_PART),
        ),
        (
            format!("{} MiB of large JSON bodies", limits::GATHERED_BYTES >> 20),
            words(limits::GATHERED_PART),
        ),
        (
            "clients that wait for HEAD (`--max-waiters`)".to_owned(),
            words(limits::WAITERS_PART),
        ),
    ] {
        let row = format!("| {shared} | {of_user} | {of_address} |\n");
        assert!(parts.contains(&row), "{row}");
    }
    assert!(parts.contains(&format!(
        "| connections (`--max-connections`) | | {of_address} |\n"
    )));
    let wait = format!("{} seconds at most", limits::LONGEST_WAIT.as_secs());
    assert!(PROTOCOL.text.contains(&wait));
    let garbage = section_of(OPERATIONS.text, "Garbage and room");
    assert!(garbage.contains("is kept for 14 days (`--grace`)"));
    assert!(short.contains("goes after 14 days"));
    assert_eq!(limits::GRACE, Duration::from_secs(14 * 24 * 3600));
    assert!(
        OPERATIONS
            .text
            .contains("end for up to 30 seconds (`--shutdown-timeout`)")
    );
    assert_eq!(limits::SHUTDOWN, Duration::from_secs(30));
    assert!(
        OPERATIONS
            .text
            .contains("A second SIGTERM within a second is the first one")
    );
    assert_eq!(limits::SAME_SIGNAL, Duration::from_secs(1));
}

/// Every flag and variable that a page names is one that there is.
#[test]
fn the_flags_are_real() {
    let commands = [
        "serve",
        "gc",
        "fsck",
        "snapshot",
        "backup",
        "drill",
        "users",
        "users add",
        "users rm",
        "users name",
        "log",
        "example",
        "completions",
        "man",
        "health",
        "init",
        "clone",
        "commit",
        "push",
        "follow",
        "status",
        "invite",
        "rekey",
        "import",
    ];
    let help_of =
        |command: &&str| run_with_deadline(binary().args(command.split(' ')).arg("--help")).stdout;
    let all = commands.iter().map(help_of).collect::<String>();
    let mut named = 0;
    for page in PAGES {
        let mut of_client = false;
        for line in page.text.lines() {
            // What other programs are told is theirs.
            let foreign = line.starts_with("$ ") && !line.contains("mentat-sync");
            // A client's program calls nothing of ours.
            match line {
                "```bash" | "```python" => of_client = true,
                "```" => of_client = false,
                _ => {}
            }
            if of_client || foreign || line.contains("scripts/") || line.contains("git clone") {
                continue;
            }
            let words = line.split([' ', '`', '=', '(', ')', ',', ';', '.', ':', '*']);
            for word in words.filter(|word| {
                word.len() > 2 && word.starts_with("--") || word.starts_with("MENTAT_SYNC_")
            }) {
                let of_others = ["--release", "--path", "--now", "--help", "--ignore-ctime"];
                let of_others = of_others.contains(&word);
                assert!(
                    of_others || all.contains(word),
                    "{word} of {} is not in --help",
                    page.path
                );
                named += usize::from(!of_others);
            }
        }
    }
    assert!(named > 30, "{named}");
}

/// Each file and folder that the map names is there, and no folder of the source is left out.
#[test]
fn the_map_of_the_code_is_of_this_code() {
    let map = section_of(CONTRIBUTING, "The code");
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named: Vec<&str> = map
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| {
            name.starts_with("src/") || name.starts_with("tests/") || name.starts_with("scripts/")
        })
        .collect();
    assert!(!named.is_empty());
    for name in &named {
        assert!(top.join(name).exists(), "{name} is not there");
    }
    for entry in std::fs::read_dir(top.join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "main.rs" && name != "lib.rs" {
            let name = name.trim_end_matches(".rs");
            assert!(
                map.contains(&format!("src/{name}")),
                "src/{name} is not on the map"
            );
        }
    }
}

/// Each script that the table names is there, with figures, and CI runs it just so.
#[test]
fn what_was_tested_is_by_scripts_that_are_there() {
    let section = section_of(TESTING.text, "The campaigns");
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ci = std::fs::read_to_string(top.join(".ci/run")).unwrap();
    let mut rows = 0;
    for row in section.lines().filter(|line| line.contains("`scripts/")) {
        let (_, script) = row.split_once("`scripts/").unwrap();
        let (script, _) = script.split_once('`').unwrap();
        let name = script.split(' ').next().unwrap();
        assert!(top.join("scripts").join(name).exists(), "{name}");
        // `cargo test` runs what is on the simulated disk.
        let runs = ci.contains(&format!("\nscripts/{script}\n")) || name == "sim-test";
        assert!(runs, "CI does not run {script}");
        let figures = row.split('|').nth(3).unwrap();
        assert!(figures.chars().any(|c| c.is_ascii_digit()), "{row}");
        rows += 1;
    }
    assert!(rows >= 6, "{rows}");
}
