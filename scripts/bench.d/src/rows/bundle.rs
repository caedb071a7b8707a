//! A history pushed and pulled as one bundle, beside git with the same history: as many commits, each
//! with one new file content of 1 KiB.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Bench, Chunk, ROOT, new_id, text};
use crate::measure::{Bar, Row, Unit, in_turns, settle, timed};
use crate::running::{self, Running};

const LENGTH: usize = 1 << 10;

/// What git is told on the receiving side: everything is durable when the push is answered.
const FSYNC: [&str; 2] = ["core.fsync", "all"];

/// The peers and the history, in both shapes.
struct Field<'a> {
    bench: &'a Bench,
    daemon: Running,
    repositories: PathBuf,
    tar: PathBuf,
}

pub fn rows(bench: &Bench) -> Vec<Row> {
    let count = bench.sizes.history;
    let push = format!("push {count} transactions of one 1 KiB chunk, POST bundle");
    let bare = "the same push beside its bare files, made and synced".to_owned();
    let pull = "pull of the same, GET bundle with curl, synced".to_owned();
    let unpack = "pull of the same into files, curl | tar x, synced".to_owned();
    let works = [
        (push, Bar::AtMost(1.5)),
        (bare, Bar::None),
        (pull, Bar::AtMost(1.0)),
        (unpack, Bar::None),
    ];
    let skip = |why: &str| {
        let skipped = |(work, bar): &(String, Bar)| Row::skipped(work, *bar, why);
        works.iter().map(skipped).collect()
    };
    if !bench.peers.git {
        return skip("no git here");
    }
    if !has_bundles(bench) {
        return skip("the server has no bundles yet");
    }
    let field = match Field::new(bench) {
        Ok(field) => field,
        Err(error) => return skip(&format!("{error:#}")),
    };
    let user = new_id();
    let figures = [
        field.push(&user),
        field.bare(),
        field.pull(&user, false),
        field.pull(&user, true),
    ];
    works
        .into_iter()
        .zip(figures)
        .map(|((work, bar), figures)| Row::measured(work, bar, figures))
        .collect()
}

/// Whether the server answers for an empty store's bundle.
fn has_bundles(bench: &Bench) -> bool {
    let url = format!("http://{}/0.1/{}/bundle", bench.server.address, new_id());
    let probe = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url])
        .output();
    probe.is_ok_and(|output| output.stdout == b"200")
}

impl<'a> Field<'a> {
    fn new(bench: &'a Bench) -> Result<Self> {
        let repositories = bench.place("git");
        fs::create_dir_all(&repositories)?;
        let chunks: Vec<Chunk> = (0..bench.sizes.history as u64)
            .map(|number| Chunk::new(77, number, LENGTH))
            .collect();
        let tar = bench.place("push.tar");
        write_bundle(&tar, &chunks).context("cannot write the bundle")?;
        write_history(&repositories.join("source"), &chunks).context("cannot make the history")?;
        let daemon = running::git_daemon(&repositories, bench.place("git-daemon.log"))?;
        Ok(Self {
            bench,
            daemon,
            repositories,
            tar,
        })
    }

    fn url(&self, user: &str) -> String {
        format!("http://{}/0.1/{user}/bundle", self.bench.server.address)
    }

    /// Pushes to a new user and a new repository each time; the first user's history stays for the
    /// pull.
    fn push(&self, user: &str) -> Result<crate::measure::Figures> {
        in_turns(
            self.bench.sizes.runs,
            &self.bench.work,
            Unit::Seconds,
            "git push, core.fsync=all",
            |run| {
                let user = if run == 0 { user.to_owned() } else { new_id() };
                timed(|| run_to_end(&mut self.post(&user)))
            },
            |run| {
                let name = format!("pushed-{run}.git");
                let target = self.repositories.join(&name);
                run_to_end(git().args(["init", "-q", "--bare"]).arg(&target))?;
                run_to_end(git().arg("-C").arg(&target).arg("config").args(FSYNC))?;
                let url = format!("git://{}/{name}", self.daemon.address);
                let mut push = git();
                push.arg("-C").arg(self.repositories.join("source"));
                push.args(["push", "-q", &url, "main"]);
                timed(|| run_to_end(&mut push))
            },
        )
    }

    /// What the file system alone takes for the files of a push: as many of as many bytes, in the store's
    /// directories, made by two threads and synced. Nothing is sent, read, checked or renamed.
    fn bare(&self) -> Result<crate::measure::Figures> {
        let members = members(&self.tar)?;
        in_turns(
            self.bench.sizes.runs,
            &self.bench.work,
            Unit::Seconds,
            "bare files, two threads and one syncfs",
            |_| timed(|| run_to_end(&mut self.post(&new_id()))),
            |run| {
                let target = self.bench.place(&format!("bare-{run}"));
                timed(|| {
                    make_directories(&target)?;
                    std::thread::scope(|scope| {
                        let (one, two) = members.split_at(members.len() / 2);
                        let halves = [one, two].map(|half| scope.spawn(|| make(&target, half)));
                        halves
                            .into_iter()
                            .try_for_each(|half| half.join().expect("it does not panic"))
                    })?;
                    settle(&target)
                })
            },
        )
    }

    fn post(&self, user: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "-X", "POST", "-T"])
            .arg(&self.tar)
            .arg(self.url(user));
        curl
    }

    /// Both are durable on the client's side at the end: git syncs what it clones by itself.
    fn pull(&self, user: &str, unpack: bool) -> Result<crate::measure::Figures> {
        let kind = if unpack { "tree" } else { "tar" };
        in_turns(
            self.bench.sizes.runs,
            &self.bench.work,
            Unit::Seconds,
            "git clone --bare",
            |run| {
                let target = self.bench.place(&format!("pulled-{run}.{kind}"));
                let (url, path) = (self.url(user), text(&target));
                let script = if unpack {
                    fs::create_dir(&target)?;
                    format!(
                        "set -e; curl -sSf {url} | tar x -C {path}; sync -f {path}; test -f {path}/HEAD"
                    )
                } else {
                    format!("set -e; curl -sSf -o {path} {url}; sync {path}")
                };
                timed(|| run_to_end(Command::new("sh").args(["-c", &script])))
            },
            |run| {
                let target = self.repositories.join(format!("cloned-{kind}-{run}.git"));
                let url = format!("git://{}/source/.git", self.daemon.address);
                let mut clone = git();
                clone.args(["clone", "-q", "--bare", &url]).arg(&target);
                timed(|| run_to_end(&mut clone))
            },
        )
    }
}

/// git as it is, whoever runs it.
pub(super) fn git() -> Command {
    let mut command = Command::new("git");
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    command
}

pub(super) fn run_to_end(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ({}): {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The members of a bundle but HEAD, each by name and contents.
fn members(tar: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut members = Vec::new();
    for entry in tar::Archive::new(File::open(tar)?).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        if name.contains('/') {
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents)?;
            members.push((name, contents));
        }
    }
    Ok(members)
}

/// The directories of a store that has them all.
fn make_directories(target: &Path) -> Result<()> {
    for shelf in ["chunks", "transactions"] {
        for byte in 0..=255 {
            fs::create_dir_all(target.join(format!("{shelf}/{byte:02x}")))?;
        }
    }
    Ok(())
}

fn make(target: &Path, members: &[(String, Vec<u8>)]) -> Result<()> {
    for (name, contents) in members {
        File::create_new(target.join(name))?.write_all(contents)?;
    }
    Ok(())
}

/// The history as a bundle: for each transaction its chunk, then itself; HEAD last.
fn write_bundle(path: &Path, chunks: &[Chunk]) -> Result<()> {
    let mut tar = tar::Builder::new(BufWriter::new(File::create(path)?));
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes)
    };
    let mut parent = ROOT.to_owned();
    for (index, chunk) in chunks.iter().enumerate() {
        add(
            &format!("chunks/{}/{}", &chunk.id[..2], chunk.id),
            &chunk.bytes,
        )?;
        let (id, seq) = (new_id(), index + 1);
        let json = format!(
            "{{\"id\":\"{id}\",\"seq\":{seq},\"parent\":\"{parent}\",\"chunks\":[\"{}\"]}}\n",
            chunk.id
        );
        add(
            &format!("transactions/{}/{id}.json", &id[..2]),
            json.as_bytes(),
        )?;
        parent = id;
    }
    add("HEAD", format!("{parent}\n").as_bytes())?;
    tar.into_inner()?.flush()?;
    Ok(())
}

/// The history as a repository with one commit for each chunk, packed as a clone of it would be.
pub(super) fn write_history(path: &Path, chunks: &[Chunk]) -> Result<()> {
    run_to_end(git().args(["init", "-q", "-b", "main"]).arg(path))?;
    let mut import = git()
        .arg("-C")
        .arg(path)
        .args(["fast-import", "--quiet", "--force"])
        .stdin(Stdio::piped())
        .spawn()?;
    let input = import.stdin.take().context("its input is a pipe")?;
    let mut input = BufWriter::new(input);
    for (index, chunk) in chunks.iter().enumerate() {
        let time = 1_700_000_000 + index;
        let (id, length) = (&chunk.id, chunk.bytes.len());
        write!(
            input,
            "commit refs/heads/main\n\
             committer Bench <bench@localhost> {time} +0000\n\
             data {}\n{id}\nM 100644 inline file\ndata {length}\n",
            id.len()
        )?;
        input.write_all(&chunk.bytes)?;
        input.write_all(b"\n")?;
    }
    input.flush()?;
    drop(input);
    ensure!(import.wait()?.success(), "git fast-import failed");
    run_to_end(git().arg("-C").arg(path).args(["repack", "-q", "-a", "-d"]))
}
