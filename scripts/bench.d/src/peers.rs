//! Who the server is measured with, installed where they are missing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The peers that are to be had; `None` for one that is not.
pub struct Peers {
    pub nginx: Option<PathBuf>,
    pub wrk: bool,
    pub git: bool,
    pub rustic: Option<PathBuf>,
    /// TaskChampion's client, and a server for it.
    pub taskchampion: Option<TaskChampion>,
    /// What could not be installed, and why.
    pub complaints: Vec<String>,
}

/// The programs of scripts/bench-taskchampion.d.
pub struct TaskChampion {
    pub peer: PathBuf,
    pub client: PathBuf,
}

/// How the peers are to be had.
pub struct Ways<'a> {
    /// Where those of others are built.
    pub cache: &'a Path,
    /// Where Cargo builds what is in this repository.
    pub target: &'a Path,
    /// Nothing is measured: what takes minutes to build is left out, and the rest is built as quickly as can be.
    pub quick: bool,
    /// Whether rustic_server is wanted.
    pub rustic: bool,
    /// Whether TaskChampion's programs are wanted.
    pub taskchampion: bool,
}

/// Debian's packages of the programs that are needed.
const PROGRAMS: [(&str, &str); 4] = [
    ("nginx", "nginx"),
    ("wrk", "wrk"),
    ("git", "git"),
    ("curl", "curl"),
];

impl Peers {
    /// Finds them, and installs what is missing: Debian's packages with apt-get, rustic_server with cargo; and
    /// TaskChampion's programs are built.
    pub fn gather(ways: &Ways<'_>) -> Self {
        let mut complaints = Vec::new();
        let missing: Vec<&str> = PROGRAMS
            .into_iter()
            .filter(|(program, _)| find(program).is_none())
            .map(|(_, package)| package)
            .collect();
        if !missing.is_empty()
            && let Err(error) = install(&missing)
        {
            complaints.push(format!("{}: {error:#}", missing.join(", ")));
        }
        let rustic = match (rustic_in(ways.cache), ways.rustic && !ways.quick) {
            (Some(there), _) => Some(there),
            (None, false) => None,
            (None, true) => match build_rustic(ways.cache) {
                Ok(built) => Some(built),
                Err(error) => {
                    complaints.push(format!("rustic_server: {error:#}"));
                    None
                }
            },
        };
        let taskchampion = match ways.taskchampion.then(|| build_taskchampion(ways)) {
            Some(Ok(built)) => Some(built),
            Some(Err(error)) => {
                complaints.push(format!("TaskChampion's programs: {error:#}"));
                None
            }
            None => None,
        };
        Self {
            nginx: find("nginx"),
            wrk: find("wrk").is_some(),
            git: find("git").is_some(),
            rustic,
            taskchampion,
            complaints,
        }
    }
}

/// Where a program is; Debian keeps servers where a person's PATH does not lead.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    directories
        .map(|directory| directory.join(program))
        .find(|place| place.is_file())
}

fn install(packages: &[&str]) -> Result<()> {
    eprintln!("installing {} with apt-get", packages.join(", "));
    apt_get(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-qq", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    apt_get(&arguments)
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("no apt-get here")?;
    ensure!(
        output.status.success(),
        "apt-get {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn rustic_in(cache: &Path) -> Option<PathBuf> {
    let place = cache.join("bin/rustic-server");
    place.is_file().then_some(place)
}

fn build_rustic(cache: &Path) -> Result<PathBuf> {
    eprintln!("building rustic_server into {} (minutes)", cache.display());
    let status = Command::new("cargo")
        .args(["install", "--quiet", "--locked", "rustic_server", "--root"])
        .arg(cache)
        .current_dir("/")
        .status()
        .context("no cargo here")?;
    ensure!(status.success(), "cargo install: {status}");
    rustic_in(cache).context("cargo installed no rustic-server")
}

fn build_taskchampion(ways: &Ways<'_>) -> Result<TaskChampion> {
    let target = ways.target.join("bench-taskchampion");
    let (profile, built) = match ways.quick {
        true => ("dev", "debug"),
        false => ("release", "release"),
    };
    let programs = target.join(built);
    let [peer, client] =
        ["peer", "client"].map(|name| programs.join(format!("taskchampion-{name}")));
    if !peer.is_file() {
        eprintln!(
            "building TaskChampion's programs into {} (minutes)",
            programs.display()
        );
    }
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--profile", profile])
        .args(["--manifest-path", "scripts/bench-taskchampion.d/Cargo.toml"])
        .arg("--target-dir")
        .arg(&target)
        .status()
        .context("no cargo here")?;
    ensure!(status.success(), "cargo build: {status}");
    Ok(TaskChampion { peer, client })
}
