//! Measures mentat-sync beside its peers. See `scripts/bench`, which builds and starts this.

mod load;
mod machine;
mod measure;
mod peers;
mod rows;
mod running;
mod table;
mod wrk;

use std::fs::{self, DirBuilder};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;

use measure::{Bar, Figures, Outcome, Row, Unit};
use peers::{Peers, Ways};
use rows::{Bench, Sizes};
use running::Running;

/// Measures mentat-sync beside nginx, rustic_server, git, sha256sum and a server of TaskChampion's, and prints a table. Ends with
/// 1 when a row failed, and with --strict also when a bar was missed.
#[derive(Parser)]
#[command(name = "scripts/bench")]
struct Arguments {
    /// Only prove that every row runs: tiny sizes, one turn, no figures worth anything, and
    /// rustic_server only if it is built already.
    #[arg(long)]
    quick: bool,
    /// Where the raw figures go.
    #[arg(long, value_name = "FILE", default_value_os_t = built("bench/figures.json"))]
    json: PathBuf,
    /// Turns of each side (5; with --quick 1).
    #[arg(long)]
    runs: Option<usize>,
    /// Only these themes.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Theme>,
    /// Ends with 1 when a bar is missed.
    #[arg(long)]
    strict: bool,
    /// The server's program.
    #[arg(
        long,
        value_name = "FILE",
        default_value_os_t = built("release/mentat-sync")
    )]
    server: PathBuf,
    /// Where the stores lie while they are measured: on the disk that is meant.
    #[arg(long, value_name = "DIR", default_value_os_t = built("bench"))]
    work: PathBuf,
    /// Where peers are built [default: mentat-sync-bench in the user's cache directory]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// A path in the directory that Cargo builds in.
fn built(path: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").filter(|named| !named.is_empty());
    target
        .map_or_else(|| "target".into(), PathBuf::from)
        .join(path)
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Theme {
    Get,
    Put,
    Advance,
    Bundle,
    Device,
    Fsck,
    Scale,
    Taskchampion,
}

/// How long ext4 searches for inodes after a big tree was deleted: no run starts before.
const CALM: Duration = Duration::from_secs(70);

/// The bar of the server's memory, in KiB.
const MEMORY: f64 = 128.0 * 1024.0;

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut sizes = if arguments.quick {
        Sizes::QUICK
    } else {
        Sizes::FULL
    };
    sizes.runs = arguments.runs.unwrap_or(sizes.runs).max(1);
    let cache = arguments.cache.clone().unwrap_or_else(default_cache);
    let peers = Peers::gather(&Ways {
        cache: &cache,
        target: &built(""),
        quick: arguments.quick,
        rustic: wanted(&arguments.only, Theme::Put),
        taskchampion: wanted(&arguments.only, Theme::Taskchampion),
    });
    for complaint in &peers.complaints {
        eprintln!("not to be had: {complaint}");
    }
    let bench = prepare(&arguments, sizes, peers)?;
    let machine = machine::describe(&bench.work, &bench.binary, &bench.peers);
    if !arguments.quick {
        wait_for_calm(&bench.kept);
    }
    let rows = measure(&bench, &arguments.only);
    print!(
        "{}",
        table::markdown(&rows, &machine, sizes.runs, arguments.quick)
    );
    note_skipped(&rows)?;
    if arguments.quick {
        println!("\nA quick run: it shows that the rows run, and measures nothing.");
    }
    let figures =
        json!({ "runs": sizes.runs, "quick": arguments.quick, "machine": machine, "rows": rows });
    if let Some(directory) = arguments.json.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(
        &arguments.json,
        serde_json::to_string_pretty(&figures)? + "\n",
    )
    .with_context(|| format!("cannot write {}", arguments.json.display()))?;
    let Bench {
        server, work, kept, ..
    } = bench;
    drop(server);
    fs::remove_dir_all(&work)?;
    fs::write(kept.join("deleted"), "")?;
    let failed = rows.iter().any(|row| match &row.outcome {
        Outcome::Failed(_) => true,
        Outcome::Measured(figures) => arguments.strict && !row.bar.is_met(figures.ratio()),
        Outcome::Skipped(_) => false,
    });
    Ok(ExitCode::from(u8::from(failed)))
}

/// Adds the rows that did not run to the file `$MENTAT_SYNC_SKIPPED`, where there is one: `.ci/run` reads it.
fn note_skipped(rows: &[Row]) -> Result<()> {
    let Some(file) = std::env::var_os("MENTAT_SYNC_SKIPPED").filter(|file| !file.is_empty()) else {
        return Ok(());
    };
    let mut file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)?;
    for row in rows {
        if let Outcome::Skipped(why) = &row.outcome {
            writeln!(file, "skipped: {}: {why}", row.work)?;
        }
    }
    Ok(())
}

fn default_cache() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    cache
        .or_else(home)
        .unwrap_or_else(std::env::temp_dir)
        .join("mentat-sync-bench")
}

fn prepare(arguments: &Arguments, sizes: Sizes, peers: Peers) -> Result<Bench> {
    fs::create_dir_all(&arguments.work)?;
    let kept = fs::canonicalize(&arguments.work)?;
    let work = kept.join(format!("run-{}", std::process::id()));
    let data = work.join("data");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&data)?;
    let binary = fs::canonicalize(&arguments.server)
        .with_context(|| format!("no program at {}", arguments.server.display()))?;
    let server = running::mentat_sync(&binary, &data, "warn", work.join("server.log"))?;
    Ok(Bench {
        binary,
        work,
        kept,
        server,
        data,
        peers,
        sizes,
    })
}

/// Waits until the tree that the last run deleted is long gone.
fn wait_for_calm(kept: &Path) {
    let Ok(deleted) = fs::metadata(kept.join("deleted")).and_then(|meta| meta.modified()) else {
        return;
    };
    let since = SystemTime::now()
        .duration_since(deleted)
        .unwrap_or_default();
    if let Some(left) = CALM.checked_sub(since) {
        eprintln!("waiting {} s: a tree was deleted just now", left.as_secs());
        std::thread::sleep(left);
    }
}

fn wanted(only: &[Theme], theme: Theme) -> bool {
    only.is_empty() || only.contains(&theme)
}

fn measure(bench: &Bench, only: &[Theme]) -> Vec<Row> {
    let wanted = |theme| wanted(only, theme);
    let mut rows = Vec::new();
    let mut library = None;
    if wanted(Theme::Get) || wanted(Theme::Fsck) {
        let (read, made) = rows::get::rows(bench);
        rows.extend(read);
        library = made;
    }
    if wanted(Theme::Put) {
        rows.extend(rows::put::rows(bench));
    }
    if wanted(Theme::Advance) {
        rows.extend(rows::advance::rows(bench));
    }
    if wanted(Theme::Bundle) {
        rows.extend(rows::bundle::rows(bench));
    }
    if wanted(Theme::Device) {
        rows.extend(rows::device::rows(bench));
    }
    if wanted(Theme::Fsck) {
        rows.extend(rows::fsck::rows(bench, library.as_ref()));
    }
    if wanted(Theme::Taskchampion) {
        rows.extend(rows::taskchampion::rows(bench));
    }
    let mut long = None;
    if wanted(Theme::Scale) {
        let (scaled, served) = rows::scale::rows(bench);
        rows.extend(scaled);
        long = served;
    }
    rows.push(memory(
        "peak memory of the server under all of this",
        &bench.server,
    ));
    rows.extend(long.map(|long| memory("the same of the one on the long chain", &long)));
    rows
}

fn memory(work: &str, server: &Running) -> Row {
    let figures = server.peak_memory().map(|peak| Figures {
        unit: Unit::Kibibytes,
        peer: "the bound".to_owned(),
        ours: vec![peak as f64],
        theirs: vec![MEMORY],
    });
    Row::measured(work, Bar::AtMost(1.0), figures)
}
