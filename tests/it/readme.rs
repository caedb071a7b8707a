use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mentat_sync::model::limits;

use crate::kit::{Device, Server, binary, run_with_deadline};

const README: &str = include_str!("../../README.md");

/// The address that the README's server listens at.
const WRITTEN_ADDRESS: &str = "127.0.0.1:8000";

/// A command of a ```console block, and what is printed below it.
#[derive(Debug)]
struct Shown {
    command: String,
    output: String,
}

/// What stands between ```console and ``` in this section, command by command.
fn shown_in(section: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in section_of(README, section).lines() {
        match line {
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
    }
    assert!(!shown.is_empty(), "nothing is shown in {section}");
    shown
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
fn has(programs: &[&str]) -> bool {
    programs.iter().all(|program| {
        let found = Command::new("sh")
            .args(["-c", "command -v \"$0\" >/dev/null", program])
            .status()
            .is_ok_and(|status| status.success());
        if !found {
            eprintln!("SKIPPED: {program} is not here, and the README's walk-through needs it");
        }
        found
    })
}

/// Runs the commands one after the other in one shell, in this directory, and compares what is
/// printed with what the README says is.
fn run_shown(shown: &[Shown], directory: &Path, address: &str) {
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
        assert_eq!(got, output, "$ {command}");
    }
}

/// The scripts as a clone has them, and an `ssh` whose every host is the folder `box`.
fn clone_with_another_machine(top: &Path) {
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

/// Whoever copies the commands one after the other, into one shell, sees what is written below them.
#[test]
fn from_top_to_bottom_it_prints_what_the_readme_says() {
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
        return;
    }
    let top = Arc::new(tempfile::tempdir().unwrap());
    // The README's server has `./data`, and so has this one.
    let server = Server::on(Arc::clone(&top), &[]);
    clone_with_another_machine(top.path());
    let headlines = README
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter(|headline| section_of(README, headline).contains("```console"));
    let shown: Vec<Shown> = headlines.flat_map(shown_in).collect();
    // The first one is what started the server.
    run_shown(&shown[1..], top.path(), &server.address().to_string());

    // The new box serves what came to it.
    let new_box = Arc::new(tempfile::tempdir().unwrap());
    std::fs::rename(top.path().join("box/sync"), new_box.path().join("data")).unwrap();
    let moved = Server::on(new_box, &[]);
    let mut device = Device::new(moved.address(), "67e55044-10b1-426f-9247-bb680e5fe0c8");
    let newest = "33333333-3333-4333-8333-333333333333".to_owned();
    assert_eq!(device.head(), (newest, 2));
}

#[test]
fn the_two_commands_are_the_ones_that_work() {
    let shown = shown_in("Start");
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

/// The limits that the README names are the ones that the server has.
#[test]
fn the_limits_are_the_real_ones() {
    let section = section_of(README, "Limits and promises");
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
    let garbage = section_of(README, "Garbage and room");
    assert!(garbage.contains("is kept for 14 days (`--grace`)"));
    assert_eq!(limits::GRACE, Duration::from_secs(14 * 24 * 3600));
    assert!(README.contains("end for up to 30 seconds (`--shutdown-timeout`)"));
    assert_eq!(limits::SHUTDOWN, Duration::from_secs(30));
    assert!(README.contains("A second SIGTERM within a second is the first one"));
    assert_eq!(limits::SAME_SIGNAL, Duration::from_secs(1));
}

/// Every flag and variable that the README names is one that there is.
#[test]
fn the_flags_are_real() {
    let help_of = |command: &&str| run_with_deadline(binary().args([command, "--help"])).stdout;
    let serve = help_of(&"serve");
    let all = ["serve", "gc", "fsck", "snapshot"].iter().map(help_of);
    let all = all.collect::<String>();
    let mut named = 0;
    for (section, help) in [
        ("Limits and promises", &serve),
        ("Users", &serve),
        ("Behind a proxy, under systemd", &serve),
        ("Check, back up, restore, move", &all),
        ("Garbage and room", &all),
    ] {
        // What `tar` is told is `tar`'s.
        let lines = section_of(README, section).lines();
        let lines = lines.filter(|line| !line.starts_with("$ tar "));
        let words = lines.flat_map(|line| line.split([' ', '`', '=', '(', ')', ',', ';']));
        for word in words.filter(|word| word.starts_with("--") || word.starts_with("MENTAT_SYNC_"))
        {
            assert!(
                help.contains(word) || word == "--json",
                "{word} of {section} is not in --help"
            );
            named += 1;
        }
    }
    assert!(named > 18, "{named}");
}

/// Each file and folder that the map names is there, and no folder of the source is left out.
#[test]
fn the_map_of_the_code_is_of_this_code() {
    let map = section_of(README, "The code");
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
    let section = section_of(README, "Security and what was tested");
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
