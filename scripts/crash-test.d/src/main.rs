//! Power cuts on real file systems: what scripts/crash-test runs, as root, in a mount namespace.
//!
//! The server works on a file system whose disk is a block file of ours (`device`), which records all
//! that is written and flushed, and every answer that a client gets (`workload`, `mark`). Then the power
//! fails, again and again, at and after each answer: of what was not flushed, any part may be there
//! (`images`). Each such disk is mounted, which lets the file system recover; the ordinary server opens
//! what is there, and all that was answered must be found (`verify`).

mod blocks;
mod device;
mod images;
mod mark;
mod server;
mod verify;
mod workload;

// The client of the integration tests.
#[path = "../../../tests/it/kit/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../../../tests/it/kit/ids.rs"]
#[allow(dead_code)]
mod ids;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;
use fastrand::Rng;

use blocks::Blocks;
use device::{Device, Devices, Event};
use images::{Cut, Cutter, Kept};
use workload::Workload;

/// Cuts the power of the real server on real file systems.
#[derive(Parser)]
struct Arguments {
    /// The server under test.
    #[arg(long)]
    server: PathBuf,
    /// A server built with the feature `mistakes`: with a sync left out it must be caught.
    #[arg(long)]
    mistaken: PathBuf,
    /// Fewer answers and fewer images: a minute or so.
    #[arg(long)]
    quick: bool,
    /// Images for each file system [default: 800; with --quick 80].
    #[arg(long)]
    images: Option<usize>,
    /// Only file systems whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Chooses the work and the cuts; printed at the start [default: any].
    #[arg(long)]
    seed: Option<u64>,
}

/// A file system to try.
struct FileSystem {
    name: &'static str,
    megabytes: u64,
    mkfs: &'static [&'static str],
    options: &'static str,
    /// Beside another mount of the same file system.
    recover: &'static str,
}

const FILE_SYSTEMS: [FileSystem; 3] = [
    FileSystem {
        name: "ext4",
        megabytes: 64,
        mkfs: &[
            "mkfs.ext4",
            "-q",
            "-E",
            "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
        ],
        options: "loop",
        recover: "loop",
    },
    FileSystem {
        name: "ext4 noauto_da_alloc",
        megabytes: 64,
        mkfs: &[
            "mkfs.ext4",
            "-q",
            "-E",
            "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
        ],
        options: "loop,noauto_da_alloc",
        recover: "loop,noauto_da_alloc",
    },
    FileSystem {
        name: "xfs",
        megabytes: 300,
        mkfs: &["mkfs.xfs", "-q", "-K"],
        options: "loop,nouuid",
        recover: "loop,nouuid",
    },
];

/// Images that are checked at a time.
const WORKERS: usize = 3;

/// What came of one recording.
#[derive(Default)]
struct Tally {
    images: usize,
    answers: usize,
    /// Those in which something unflushed was there to be lost.
    lossy: usize,
    violations: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("crash-test: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<bool> {
    let seed = arguments
        .seed
        .unwrap_or_else(|| Rng::new().u64(..1_000_000));
    let count = arguments
        .images
        .unwrap_or(if arguments.quick { 80 } else { 800 });
    let answers = if arguments.quick { 60 } else { 200 };
    println!("crash-test: seed {seed}");
    let top = tempfile::tempdir()?;
    let folder = top.path().join("devices");
    std::fs::create_dir(&folder)?;
    let test = Test {
        arguments,
        devices: Devices::mount(&folder)?,
        top: top.path().to_owned(),
    };
    let mut good = true;
    let mut table = Vec::new();
    let (mut images, mut promises) = (0, 0);
    for file_system in FILE_SYSTEMS
        .iter()
        .filter(|fs| fs.name.contains(&arguments.only))
    {
        for clients in [1, 4] {
            let start = Instant::now();
            let run = Run {
                file_system,
                mistake: None,
                clients,
                answers,
                images: count / 2,
                seed,
            };
            let tally = test.run(&run)?;
            for violation in tally.violations.iter().take(5) {
                println!("  {violation}");
            }
            good &= tally.violations.is_empty();
            images += tally.images;
            promises += tally.answers;
            table.push(format!(
                "{:<22} {clients:>7} {:>7} {:>7} {:>9} {:>10}   {:.0} s",
                file_system.name,
                tally.images,
                tally.lossy,
                tally.answers,
                tally.violations.len(),
                start.elapsed().as_secs_f64()
            ));
        }
        for mistake in ["NoDirectorySync", "NoFileSync", "AnswerBeforeSync"] {
            let run = Run {
                file_system,
                mistake: Some(mistake),
                clients: 1,
                answers: 30,
                images: 60,
                seed,
            };
            let tally = test.run(&run)?;
            let caught = !tally.violations.is_empty();
            good &= caught;
            table.push(format!(
                "{:<22} broken build {mistake}: {}",
                file_system.name,
                match tally.violations.first() {
                    Some(first) => {
                        let first: String = first.trim_end().chars().take(160).collect();
                        format!("caught after {} images: {first}", tally.images)
                    }
                    None => format!("NOT CAUGHT in {} images", tally.images),
                },
            ));
        }
    }
    println!(
        "{:<22} {:>7} {:>7} {:>7} {:>9} {:>10}",
        "file system", "clients", "images", "lossy", "answers", "violations"
    );
    for line in table {
        println!("{line}");
    }
    println!(
        "crash-test: {images} images, {promises} answers looked for in them, {}",
        match good {
            true => "no violation; every broken build caught",
            false => "FAILED",
        }
    );
    Ok(good)
}

struct Test<'a> {
    arguments: &'a Arguments,
    devices: Devices,
    top: PathBuf,
}

/// One recording, and the cuts of it.
struct Run<'a> {
    file_system: &'a FileSystem,
    mistake: Option<&'a str>,
    clients: usize,
    answers: usize,
    images: usize,
    seed: u64,
}

impl Test<'_> {
    fn run(&self, run: &Run) -> io::Result<Tally> {
        let (start, recording) = self.record(run)?;
        let mut rng = Rng::with_seed(run.seed);
        let cuts = images::choose(&recording, run.images, &mut rng);
        let tally = Mutex::new(Tally::default());
        let next = Mutex::new((Cutter::new(start, &recording), cuts.iter()));
        let poisoned = "a worker that panics ends the test";
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..WORKERS)
                .map(|_| {
                    scope.spawn(|| {
                        loop {
                            let (cut, disk, losable) = {
                                let mut next = next.lock().expect(poisoned);
                                let caught = || {
                                    let found = &tally.lock().expect(poisoned).violations;
                                    run.mistake.is_some() && !found.is_empty()
                                };
                                let Some(&cut) = next.1.next().filter(|_| !caught()) else {
                                    return io::Result::Ok(());
                                };
                                let (disk, losable) = next.0.cut(cut);
                                (cut, disk, losable)
                            };
                            let promises = images::promises(&recording, cut.at);
                            let wrong = self.check(run, disk, &promises)?;
                            let mut tally = tally.lock().expect(poisoned);
                            tally.images += 1;
                            tally.answers += promises.answers;
                            tally.lossy += usize::from(losable > 0 && cut.kept != Kept::Everything);
                            if let Some(first) = wrong.first() {
                                tally.violations.push(describe(run, cut, first));
                            }
                        }
                    })
                })
                .collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().expect(poisoned))
        })?;
        Ok(tally.into_inner().expect(poisoned))
    }

    fn new_disk(&self, file_system: &FileSystem) -> io::Result<Device<'_>> {
        let device = self
            .devices
            .add(Blocks::default(), file_system.megabytes << 20);
        let (program, flags) = file_system.mkfs.split_first().expect("a program");
        succeed(Command::new(program).args(flags).arg(device.path()))?;
        Ok(device)
    }

    /// The disk at first, and what happened to it.
    fn record(&self, run: &Run) -> io::Result<(Blocks, Vec<Event>)> {
        let device = self.new_disk(run.file_system)?;
        let mount = Mount::new(&device, &self.top, run.file_system.options)?;
        let data = mount.path().join("data");
        succeed(Command::new("sync").arg("--file-system").arg(mount.path()))?;
        let start = device.record();
        let binary = match run.mistake {
            Some(_) => &self.arguments.mistaken,
            None => &self.arguments.server,
        };
        let workload = Workload {
            binary,
            data: &data,
            mistake: run.mistake,
            clients: run.clients,
            answers: run.answers,
            seed: run.seed,
        };
        workload.run(&self.devices)?;
        // Before it is unmounted, which would make everything durable.
        let recording = self.devices.take_recording();
        drop(mount);
        Ok((start, recording))
    }

    /// What is wrong with a disk that survived.
    fn check(&self, run: &Run, disk: Blocks, promises: &mark::Promises) -> io::Result<Vec<String>> {
        let device = self.devices.add(disk, run.file_system.megabytes << 20);
        let mount = match Mount::new(&device, &self.top, run.file_system.recover) {
            Ok(mount) => mount,
            Err(error) => return Ok(vec![format!("it cannot be mounted: {error}")]),
        };
        let data = mount.path().join("data");
        if promises.answers == 0 && !data.exists() {
            return Ok(Vec::new());
        }
        Ok(verify::verify(&self.arguments.server, &data, promises))
    }
}

fn describe(run: &Run, cut: Cut, what: &str) -> String {
    format!(
        "cut before event {}, {:?} kept, {} clients, seed {}: {what}",
        cut.at, cut.kept, run.clients, run.seed
    )
}

/// A mounted block file. Dropped, it is unmounted.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(device: &Device, top: &Path, options: &str) -> io::Result<Self> {
        let point = tempfile::Builder::new().prefix("mount").tempdir_in(top)?;
        succeed(
            Command::new("mount")
                .args(["-o", options])
                .arg(device.path())
                .arg(point.path()),
        )?;
        Ok(Self(point))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A process that another thread is starting holds our open files for a moment.
        for _ in 0..100 {
            if succeed(Command::new("umount").arg(self.path())).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("crash-test: {} stays mounted", self.path().display());
    }
}

/// Runs it to its end.
fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!(
        "{command:?}: {} {said}",
        output.status
    )))
}
