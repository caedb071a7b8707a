//! What it was measured on, and with which versions.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value};

use crate::peers::Peers;

/// The machine and the versions, each under its name, in the order in which they are printed.
pub fn describe(disk: &Path, server: &Path, peers: &Peers) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut say = |name: &str, fact: String| {
        facts.insert(name.to_owned(), Value::String(fact));
    };
    say("cores", format!("{} × {}", cores(), processor()));
    say("memory", memory());
    say("kernel", first_line(Command::new("uname").arg("-sr")));
    say("file system", file_system(disk));
    say("mentat-sync", {
        let version = first_line(Command::new(server).arg("--version"));
        let commit = first_line(Command::new("git").args(["rev-parse", "--short", "HEAD"]));
        format!("{version} ({commit})")
    });
    say("rustc", first_line(Command::new("rustc").arg("--version")));
    if let Some(nginx) = &peers.nginx {
        say("nginx", first_line(Command::new(nginx).arg("-v")));
    }
    if let Some(rustic) = &peers.rustic {
        say(
            "rustic_server",
            first_line(Command::new(rustic).arg("--version")),
        );
    }
    say("git", first_line(Command::new("git").arg("--version")));
    say("wrk", first_line(Command::new("wrk").arg("-v")));
    say("curl", first_line(Command::new("curl").arg("--version")));
    say(
        "sha256sum",
        first_line(Command::new("sha256sum").arg("--version")),
    );
    facts
}

/// Processors that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = line.and_then(|line| line.split_once(": "));
    name.map_or("unknown", |(_, name)| name).to_owned()
}

fn memory() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.map_or("unknown".to_owned(), |kib| format!("{} MiB", kib >> 10))
}

fn file_system(disk: &Path) -> String {
    let mut command = Command::new("findmnt");
    command.args(["-n", "-o", "FSTYPE,OPTIONS", "-T"]).arg(disk);
    first_line(&mut command)
}

/// The first line that a command says, on whichever of its two outputs.
fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.output() else {
        return "not found".to_owned();
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    said.lines().next().unwrap_or("unknown").trim().to_owned()
}
