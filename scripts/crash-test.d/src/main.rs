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
mod mount;
mod server;
mod trial;
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
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use clap::Parser;
use fastrand::Rng;

use device::Devices;
use mount::{FILE_SYSTEMS, FileSystem};
use trial::{Bench, Tally, Trial, say};

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
    /// Where disks in violation are kept, to be looked into [default: the temporary folder].
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Only file systems whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Chooses the work and the cuts; printed at the start [default: any].
    #[arg(long)]
    seed: Option<u64>,
}

/// Rules that are broken on purpose, each in a build that must be caught.
const MISTAKES: [&str; 3] = ["NoDirectorySync", "NoFileSync", "AnswerBeforeSync"];

/// A broken build is recorded anew so many times, each time with more answers, before it counts as not caught:
/// whether a sync that was left out shows depends on what the file system did by itself meanwhile, as it does
/// more of on a busy box.
const RECORDINGS: u64 = 4;

/// The answers, and the images, of the first of them.
const MISTAKEN: (usize, usize) = (30, 60);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments
        .seed
        .unwrap_or_else(|| Rng::new().u64(..1_000_000));
    match run(&arguments, seed) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format_args!("crash-test: seed {seed}: FAILED: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Prints each line of the table as soon as its row is done.
fn run(arguments: &Arguments, seed: u64) -> io::Result<bool> {
    let count = arguments
        .images
        .unwrap_or(if arguments.quick { 80 } else { 800 });
    let answers = if arguments.quick { 60 } else { 200 };
    let top = tempfile::tempdir()?;
    let folder = top.path().join("devices");
    std::fs::create_dir(&folder)?;
    let temporary = std::env::temp_dir();
    let bench = Bench {
        server: &arguments.server,
        mistaken: &arguments.mistaken,
        devices: Devices::mount(&folder)?,
        top: top.path().to_owned(),
        keep: arguments.keep.as_deref().unwrap_or(&temporary),
        kept: AtomicUsize::new(0),
    };
    say(&format_args!(
        "crash-test: seed {seed}\n{:<22} {:>7} {:>7} {:>7} {:>9} {:>10}\n",
        "file system", "clients", "images", "lossy", "answers", "violations"
    ));
    let (mut images, mut promises, mut again) = (0, 0, 0);
    let (mut violations, mut escaped) = (0, 0);
    for file_system in FILE_SYSTEMS
        .iter()
        .filter(|fs| fs.name.contains(&arguments.only))
    {
        for clients in [1, 4] {
            let start = Instant::now();
            let tally = bench.run(&Trial {
                file_system,
                mistake: None,
                clients,
                answers,
                images: count / 2,
                seed,
            })?;
            say(&format_args!(
                "{:<22} {clients:>7} {:>7} {:>7} {:>9} {:>10}   {:.0} s\n",
                file_system.name,
                tally.images,
                tally.lossy,
                tally.answers,
                tally.violations.len(),
                start.elapsed().as_secs_f64()
            ));
            images += tally.images;
            promises += tally.answers;
            again += tally.again;
            violations += tally.violations.len();
        }
        for mistake in MISTAKES {
            let start = Instant::now();
            let tally = catch(&bench, file_system, mistake, seed)?;
            let what = match tally.violations.first() {
                Some(first) => format!(
                    "caught after {} images: {}",
                    tally.images,
                    first.split_whitespace().collect::<Vec<_>>().join(" ")
                ),
                None => format!("NOT CAUGHT in {} images", tally.images),
            };
            let what: String = what.chars().take(200).collect();
            say(&format_args!(
                "{:<22} broken build {mistake}: {what}   {:.0} s\n",
                file_system.name,
                start.elapsed().as_secs_f64()
            ));
            escaped += usize::from(tally.violations.is_empty());
        }
    }
    let good = violations == 0 && escaped == 0;
    say(&format_args!(
        "crash-test: seed {seed}: {images} images, {promises} answers looked for in them, {}{}\n",
        match good {
            true => "no violation; every broken build caught".to_owned(),
            false => format!(
                "FAILED: {violations} images in violation, {escaped} broken builds not caught"
            ),
        },
        match again {
            0 => String::new(),
            _ => format!("; {again} looks were made again, since the machine was in the way"),
        }
    ));
    Ok(good)
}

/// Records and cuts a broken build until it is caught.
fn catch(bench: &Bench, file_system: &FileSystem, mistake: &str, seed: u64) -> io::Result<Tally> {
    let mut all = Tally::default();
    for round in 1..=RECORDINGS {
        let tally = bench.run(&Trial {
            file_system,
            mistake: Some(mistake),
            clients: 1,
            answers: MISTAKEN.0 * round as usize,
            images: MISTAKEN.1 * round as usize,
            seed: seed + round - 1,
        })?;
        all.images += tally.images;
        all.violations = tally.violations;
        if !all.violations.is_empty() {
            break;
        }
    }
    Ok(all)
}
