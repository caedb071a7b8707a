//! A device's commands, a process each time: a history that it has not pushed yet goes to a server and comes from there, and so does
//! one long file. git has as many commits, and curl sends and gets the same bundle as it is.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::bundle::{git, run_to_end, write_history};
use super::{Bench, Chunk, ROOT, new_id, text};
use crate::measure::{Bar, Figures, Row, Unit, in_turns, timed};
use crate::running::{self, Running};

/// What a device says of where the server is, before there is one: of its file `remote`.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A device with something pending, the server that has it too, and the bundle of it.
struct Said<'a> {
    bench: &'a Bench,
    device: PathBuf,
    user: String,
    bundle: PathBuf,
    invite: PathBuf,
    server: Running,
}

pub fn rows(bench: &Bench) -> Vec<Row> {
    let count = bench.sizes.history;
    let file = format!("one file of {} MiB", bench.sizes.file >> 20);
    let works = [
        (
            format!("a device's push of {count} transactions of one 1 KiB chunk"),
            Bar::AtMost(1.2),
        ),
        (
            "a device's clone of the same, synced".to_owned(),
            Bar::AtMost(2.0),
        ),
        (format!("a device's push of {file}"), Bar::AtMost(1.2)),
        (
            "a device's clone of the same file, synced".to_owned(),
            Bar::AtMost(1.5),
        ),
    ];
    let history = Said::new(bench, "history", |device| say_history(bench, device));
    let file = Said::new(bench, "file", |device| say_file(bench, device));
    let failed = |error: &anyhow::Error| anyhow::anyhow!("{error:#}");
    let figures = [
        history.as_ref().map_err(failed).and_then(Said::push),
        match bench.peers.git {
            true => history.as_ref().map_err(failed).and_then(Said::clone_git),
            false => Err(anyhow::anyhow!("no git here")),
        },
        file.as_ref().map_err(failed).and_then(Said::push),
        file.as_ref().map_err(failed).and_then(Said::clone_curl),
    ];
    works
        .into_iter()
        .zip(figures)
        .map(|((work, bar), figures)| Row::measured(work, bar, figures))
        .collect()
}

impl<'a> Said<'a> {
    /// A device that has said this, and a server that it was pushed to.
    fn new(bench: &'a Bench, name: &str, say: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let device = bench.place(&format!("{name}-device"));
        run_to_end(ours(bench).args(["init", "--server", NOWHERE]).arg(&device))?;
        say(&device)?;
        let identity: serde_json::Value =
            serde_json::from_slice(&fs::read(device.join(".mentat-sync/remote"))?)?;
        let user = identity["user"].as_str().context("no user")?.to_owned();
        let server = serve(bench, &format!("{name}-server"))?;
        let pushed = bench.place(&format!("{name}-pushed"));
        copy(&device, &pushed, &server)?;
        run_to_end(ours(bench).arg("-C").arg(&pushed).arg("push"))?;
        let bundle = bench.place(&format!("{name}.tar"));
        let url = format!("http://{}/0.1/{user}/bundle?from={ROOT}", server.address);
        run_to_end(
            Command::new("curl")
                .args(["-sSf", "-o"])
                .arg(&bundle)
                .arg(url),
        )?;
        let invite = bench.place(&format!("{name}-invite"));
        let said = ours(bench)
            .arg("-C")
            .arg(&pushed)
            .args(["invite", "--force"])
            .stderr(Stdio::null())
            .output()?;
        ensure!(said.status.success(), "no invite ({})", said.status);
        fs::write(&invite, said.stdout)?;
        Ok(Self {
            bench,
            device,
            user,
            bundle,
            invite,
            server,
        })
    }

    /// To a server that has nothing, each time.
    fn push(&self) -> Result<Figures> {
        in_turns(
            self.bench.sizes.runs,
            &self.bench.work,
            Unit::Seconds,
            "curl, POST of the same bundle",
            |run| {
                let name = self.name(&format!("ours-{run}"));
                let server = serve(self.bench, &name)?;
                let device = self.bench.place(&format!("{name}-device"));
                copy(&self.device, &device, &server)?;
                crate::measure::settle(&self.bench.work)?;
                timed(|| run_to_end(ours(self.bench).arg("-C").arg(&device).arg("push")))
            },
            |run| {
                let server = serve(self.bench, &self.name(&format!("theirs-{run}")))?;
                let url = format!("http://{}/0.1/{}/bundle", server.address, new_id());
                let mut curl = Command::new("curl");
                curl.args(["-sS", "--fail-with-body", "-X", "POST", "-T"]);
                curl.arg(&self.bundle).arg(url);
                timed(|| run_to_end(&mut curl))
            },
        )
    }

    fn clone_git(&self) -> Result<Figures> {
        let repositories = self.bench.place("device-git");
        fs::create_dir_all(&repositories)?;
        let chunks = (0..self.bench.sizes.history as u64).map(|n| Chunk::new(78, n, 1 << 10));
        write_history(&repositories.join("source"), &chunks.collect::<Vec<_>>())?;
        let daemon = running::git_daemon(&repositories, self.bench.place("device-git.log"))?;
        let url = format!("git://{}/source/.git", daemon.address);
        self.clone_beside("git clone --bare of as many commits", |run| {
            let target = repositories.join(format!("cloned-{run}.git"));
            timed(|| {
                run_to_end(git().args(["clone", "-q", "--bare", &url]).arg(&target))?;
                synced(&target)
            })
        })
    }

    fn clone_curl(&self) -> Result<Figures> {
        let url = format!("http://{}/0.1/{}/bundle", self.server.address, self.user);
        self.clone_beside("curl of the bundle to a synced file", |run| {
            let target = self.bench.place(&self.name(&format!("got-{run}.tar")));
            timed(|| {
                let mut curl = Command::new("curl");
                run_to_end(curl.args(["-sSf", "-o"]).arg(&target).arg(&url))?;
                run_to_end(Command::new("sync").arg(&target))
            })
        })
    }

    fn clone_beside(
        &self,
        peer: &str,
        theirs: impl FnMut(usize) -> Result<f64>,
    ) -> Result<Figures> {
        in_turns(
            self.bench.sizes.runs,
            &self.bench.work,
            Unit::Seconds,
            peer,
            |run| {
                let target = self.bench.place(&self.name(&format!("clone-{run}")));
                timed(|| {
                    let mut clone = ours(self.bench);
                    clone.args(["clone", "--invite-file"]).arg(&self.invite);
                    run_to_end(clone.arg(&target))?;
                    synced(&target)
                })
            },
            theirs,
        )
    }

    fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.user)
    }
}

fn ours(bench: &Bench) -> Command {
    Command::new(&bench.binary)
}

/// A server that has nothing.
fn serve(bench: &Bench, name: &str) -> Result<Running> {
    let data = bench.place(name);
    let log = bench.place(&format!("{name}.log"));
    running::mentat_sync(&bench.binary, &data, "warn", log)
}

/// The same device, whose server this is.
fn copy(device: &Path, to: &Path, server: &Running) -> Result<()> {
    run_to_end(Command::new("cp").arg("-r").arg(device).arg(to))?;
    let remote = to.join(".mentat-sync/remote");
    let there = format!("http://{}", server.address);
    let said = fs::read_to_string(&remote)?;
    ensure!(said.contains(NOWHERE), "the server stands elsewhere");
    Ok(fs::write(&remote, said.replace(NOWHERE, &there))?)
}

/// A process for each, as a person commits.
fn say_history(bench: &Bench, device: &Path) -> Result<()> {
    for number in 0..bench.sizes.history as u64 {
        let mut commit = ours(bench)
            .arg("-C")
            .arg(device)
            .arg("commit")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let text = hex::encode(Chunk::new(79, number, 425).bytes);
        let input = commit.stdin.take().context("its input is a pipe")?;
        { input }.write_all(text.as_bytes())?;
        ensure!(commit.wait()?.success(), "commit failed");
    }
    Ok(())
}

fn say_file(bench: &Bench, device: &Path) -> Result<()> {
    let path = bench.place("file");
    let mut file = File::create(&path)?;
    for number in 0..(bench.sizes.file >> 20) {
        file.write_all(&Chunk::new(80, number, 1 << 20).bytes)?;
    }
    run_to_end(ours(bench).arg("-C").arg(device).arg("commit").arg(&path))
}

fn synced(path: &Path) -> Result<()> {
    run_to_end(Command::new("sync").args(["-f", &text(path)]))
}
