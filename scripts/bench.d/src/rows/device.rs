//! A device's commands, a process each time: a history that it has not pushed yet goes to a server and comes from there, and so does
//! one long file. git has as many commits, and curl sends and gets the same bundle as it is. Commits are the library's, many in
//! one process, beside PUTs of chunks of our own over one connection: both are durable one by one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bundle::{git, run_to_end, write_history};
use super::{Bench, Chunk, ROOT, new_id, text};
use crate::load::{self, Request};
use crate::measure::{Bar, Figures, Row, Unit, in_turns, timed};
use crate::running::{self, Running};

/// What a device says of where the server is, before there is one: of its file `remote`.
const NOWHERE: &str = "http://127.0.0.1:1";

/// The bar of a device's memory, in KiB.
const MEMORY: f64 = 64.0 * 1024.0;

/// How often a command's memory is looked at: it may take a little more just before it ends.
const LOOK: Duration = Duration::from_millis(2);

/// A device with something pending, the server that has it too, and the bundle of it.
struct Said<'a> {
    bench: &'a Bench,
    device: PathBuf,
    user: String,
    bundle: PathBuf,
    invite: PathBuf,
    server: Running,
    /// It has few files, and long ones: what a turn made of them goes after it, before the disk is full. The many of a history
    /// stay to the end, since ext4 searches long for inodes once they went.
    is_long: bool,
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
    let history = Said::new(bench, "history", false, || say_history(bench));
    let file = Said::new(bench, "file", true, || say_file(bench));
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
    let both = works.into_iter().zip(figures);
    let mut rows: Vec<_> = both
        .map(|((work, bar), figures)| Row::measured(work, bar, figures))
        .collect();
    rows.push(Row::measured(
        "a device's commit of 1 KiB, durable, by the library",
        Bar::AtLeast(0.67),
        commit(bench),
    ));
    for (what, said) in [("this history", &history), ("this file", &file)] {
        rows.push(Row::measured(
            format!("peak memory of a device's push and clone of {what}"),
            Bar::AtMost(1.0),
            said.as_ref().map_err(failed).and_then(Said::memory),
        ));
    }
    rows
}

/// As many commits a second as of our own PUTs, of chunks as long as the sealed entry is.
fn commit(bench: &Bench) -> Result<Figures> {
    let count = bench.sizes.uploads[2];
    in_turns(
        bench.sizes.runs,
        &bench.work,
        Unit::PerSecond,
        "our own PUT chunk, 1 connection",
        |run| {
            let place = bench.place(&format!("committed-{run}"));
            let seconds = timed(|| make_journal(bench, &place, count))?;
            Ok(count as f64 / seconds)
        },
        |run| {
            let user = new_id();
            let chunks =
                (0..count as u64).map(|number| Chunk::new(81 + run as u64, number, 1 << 10));
            let puts: Vec<Request> = chunks.map(|chunk| chunk.put(&user)).collect();
            Ok(load::run(bench.server.address, 1, &puts)?.rate())
        },
    )
}

impl<'a> Said<'a> {
    /// A device that has said this, and a server that it was pushed to.
    fn new(
        bench: &'a Bench,
        name: &str,
        is_long: bool,
        say: impl FnOnce() -> Result<PathBuf>,
    ) -> Result<Self> {
        let device = say()?;
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
            is_long,
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
                let took =
                    timed(|| run_to_end(ours(self.bench).arg("-C").arg(&device).arg("push")))?;
                drop(server);
                self.clear(&[&device, &self.bench.place(&name)])?;
                Ok(took)
            },
            |run| {
                let name = self.name(&format!("theirs-{run}"));
                let server = serve(self.bench, &name)?;
                let url = format!("http://{}/0.1/{}/bundle", server.address, new_id());
                let mut curl = Command::new("curl");
                curl.args(["-sS", "--fail-with-body", "-X", "POST", "-T"]);
                curl.arg(&self.bundle).arg(url);
                let took = timed(|| run_to_end(&mut curl))?;
                drop(server);
                self.clear(&[&self.bench.place(&name)])?;
                Ok(took)
            },
        )
    }

    /// The most that either takes.
    fn memory(&self) -> Result<Figures> {
        let peaks = (0..self.bench.sizes.runs).map(|run| {
            let name = self.name(&format!("lean-{run}"));
            let server = serve(self.bench, &name)?;
            let device = self.bench.place(&self.name(&format!("lean-device-{run}")));
            copy(&self.device, &device, &server)?;
            let mut push = ours(self.bench);
            let pushed = peak(push.arg("-C").arg(&device).arg("push"))?;
            let mut clone = ours(self.bench);
            clone.args(["clone", "--invite-file"]).arg(&self.invite);
            let target = self.bench.place(&self.name(&format!("lean-clone-{run}")));
            let cloned = peak(clone.arg(&target))?;
            drop(server);
            self.clear(&[&device, &target, &self.bench.place(&name)])?;
            Ok(pushed.max(cloned) as f64)
        });
        Ok(Figures {
            unit: Unit::Kibibytes,
            peer: "the bound".to_owned(),
            ours: peaks.collect::<Result<_>>()?,
            theirs: vec![MEMORY],
        })
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
            .and_then(|took| self.clear(&[&target]).map(|()| took))
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
                .and_then(|took| self.clear(&[&target]).map(|()| took))
            },
            theirs,
        )
    }

    /// Takes away what a turn made, if it is long.
    fn clear(&self, made: &[&Path]) -> Result<()> {
        for path in made.iter().filter(|_| self.is_long) {
            match path.is_dir() {
                true => fs::remove_dir_all(path)?,
                false => fs::remove_file(path)?,
            }
        }
        Ok(())
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

fn say_history(bench: &Bench) -> Result<PathBuf> {
    let place = bench.place("history-said");
    make_journal(bench, &place, bench.sizes.history)?;
    Ok(place.join("device"))
}

/// A device with so many commits of 1 KiB, one after the other, each durable before the next.
fn make_journal(bench: &Bench, place: &Path, count: usize) -> Result<()> {
    let program = bench.binary.with_file_name("examples").join("make-journal");
    let mut make = Command::new(program);
    run_to_end(make.arg(place).arg(count.to_string()).arg("--pending"))
}

fn say_file(bench: &Bench) -> Result<PathBuf> {
    let device = bench.place("file-said");
    run_to_end(ours(bench).args(["init", "--server", NOWHERE]).arg(&device))?;
    let path = bench.place("file");
    let mut file = File::create(&path)?;
    for number in 0..(bench.sizes.file >> 20) {
        file.write_all(&Chunk::new(80, number, 1 << 20).bytes)?;
    }
    run_to_end(ours(bench).arg("-C").arg(&device).arg("commit").arg(&path))?;
    Ok(device)
}

/// The most memory that this took, in KiB, as the system says it while it runs.
fn peak(command: &mut Command) -> Result<u64> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn()?;
    let mut peak = 0;
    let status = loop {
        peak = peak.max(running::peak_memory(child.id()).unwrap_or(0));
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(LOOK),
        }
    };
    ensure!(status.success(), "{command:?} ({status})");
    ensure!(peak > 0, "{command:?} was over too soon");
    Ok(peak)
}

fn synced(path: &Path) -> Result<()> {
    run_to_end(Command::new("sync").args(["-f", &text(path)]))
}
