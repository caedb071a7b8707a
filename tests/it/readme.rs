use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::kit::{Server, binary, run_with_deadline};

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
    let path = format!("{}:{}", own.display(), std::env::var("PATH").unwrap());
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

#[test]
fn the_walk_through_prints_what_the_readme_says() {
    if !has(&["bash", "curl", "jq", "sha256sum", "find"]) {
        return;
    }
    let top = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::on(Arc::clone(&top), &[]);
    let address = server.address().to_string();
    // The README's server has `./data`, and so has this one.
    let mut shown = shown_in("A walk-through");
    for section in ["The files", "The protocol"] {
        shown.extend(shown_in(section));
    }
    // Back to where the server was started.
    shown.push(Shown {
        command: "cd ../../..".to_owned(),
        output: String::new(),
    });
    shown.extend(shown_in("Users"));
    run_shown(&shown, top.path(), &address);
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

/// The limits that the README names are the ones that the server tells.
#[test]
fn the_limits_are_the_real_ones() {
    let server = Server::start();
    let about = server.device("ada").get("").expect(200).json();
    let limits = section_of(README, "Limits and promises");
    for (field, written) in [
        ("chunk_bytes", "1 GiB"),
        ("transaction_bytes", "16 MiB"),
        ("transaction_chunks", "100,000"),
    ] {
        assert!(limits.contains(written), "{written}");
        let number: u64 = written
            .split(' ')
            .next()
            .unwrap()
            .replace(',', "")
            .parse()
            .unwrap();
        let unit = match written.split(' ').nth(1) {
            Some("GiB") => 1 << 30,
            Some("MiB") => 1 << 20,
            _ => 1,
        };
        assert_eq!(about["limits"][field], number * unit, "{field}");
    }
    let help = run_with_deadline(binary().args(["serve", "--help"])).stdout;
    for flag in limits.split('`').filter(|words| words.starts_with("--")) {
        let flag = flag.split([' ', '=']).next().unwrap();
        assert!(help.contains(flag), "{flag} is not in --help");
    }
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
