//! fsck of the chunks that were read, beside as many processes of sha256sum as there are cores.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::get::Library;
use super::{Bench, text};
use crate::machine::cores;
use crate::measure::{Bar, Figures, Row, Unit, in_turns, timed};

/// How many files one process of sha256sum is given: enough that starting it does not count.
const FILES: usize = 500;

pub fn rows(bench: &Bench, library: Option<&Library>) -> Vec<Row> {
    let bar = Bar::AtMost(1.0);
    let Some(library) = library else {
        return vec![Row::skipped("fsck", bar, "nothing was committed to check")];
    };
    let work = format!("fsck of {} MiB of chunks", library.bytes >> 20);
    if !bench.has_subcommand("fsck") {
        return vec![Row::skipped(work, bar, "the program has no fsck yet")];
    }
    vec![Row::measured(work, bar, check(bench, library))]
}

fn check(bench: &Bench, library: &Library) -> Result<Figures> {
    let chunks = bench.data.join(format!("users/{}/chunks", library.user));
    let processes = cores();
    let script = format!(
        "find {} -type f -print0 | xargs -0 -n {FILES} -P {processes} sha256sum",
        text(&chunks)
    );
    let name = format!("sha256sum, {processes} processes");
    in_turns(
        bench.sizes.runs,
        &bench.work,
        Unit::Seconds,
        &name,
        |_| {
            let mut fsck = Command::new(&bench.binary);
            fsck.args(["fsck", "--user", &library.user, "--data"])
                .arg(&bench.data);
            timed(|| quietly(&mut fsck))
        },
        |_| timed(|| quietly(Command::new("sh").args(["-c", &script]))),
    )
}

fn quietly(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
