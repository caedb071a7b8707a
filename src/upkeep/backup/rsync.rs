//! One run of rsync: from folders that are held open to where they are laid aside.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use super::destination::{Destination, SSH};
use super::outcome::Error;
use crate::model::{UserId, limits};

/// The kinds of files that are copied: all that HEAD and CHECKPOINT reach, `log` and `name`, and each CHECKPOINT as it was laid
/// aside. HEAD itself comes later.
const WANTED: [&str; 9] = [
    "+ /*/",
    "+ /*/chunks/***",
    "+ /*/aliases/***",
    "+ /*/transactions/***",
    "+ /*/checkpoint/***",
    "+ /.checkpoint/*",
    "+ /*/log",
    "+ /*/name",
    "- *",
];

/// The directory beside the folders in which each CHECKPOINT lies, by its user's name.
pub(super) const CHECKPOINTS: &str = ".checkpoint";

/// How a run ended that did its work.
pub(in crate::upkeep) enum Ran {
    Whole,
    /// Some files vanished: they were off the chain, or their user went. (Exit status 24.)
    Vanished,
    /// Some files could not be read: who lacks them is told from the chain. (Exit status 23.)
    Partly,
}

/// Copies the files of these users' folders, found by their names in `farm`, into `tmp/backup/new` of DEST, but for those that DEST
/// has already. Calls `copied` with the length of each. Adds to the complaints what rsync says.
///
/// # Errors
/// [`Error::Lacking`] without rsync; [`Error::Rsync`] where nothing is known of what is there by now.
pub(super) fn run(
    farm: &Path,
    users: &[UserId],
    (to, there): (&Destination, &OsStr),
    copied: &dyn Fn(u64),
    complaints: &mut String,
) -> Result<Ran, Error> {
    let mut list = format!("{CHECKPOINTS}/\n");
    for user in users {
        list += &format!("{user}/\n");
    }
    carry_out(
        command(farm, to, there),
        list.into_bytes(),
        copied,
        complaints,
    )
}

/// Runs an rsync that reads this list, and says the length of each file on a line.
///
/// # Errors
/// As [`run`].
pub(in crate::upkeep) fn carry_out(
    mut command: Command,
    names: Vec<u8>,
    copied: &dyn Fn(u64),
    complaints: &mut String,
) -> Result<Ran, Error> {
    command.current_dir("/").env("LC_ALL", "C");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let failed = |error: io::Error| Error::Rsync(error.to_string());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::Lacking("rsync is not here: install it".to_owned()),
        _ => failed(error),
    })?;
    let mut list = child.stdin.take().expect("it was piped");
    let said = BufReader::new(child.stdout.take().expect("it was piped"));
    let complained = child.stderr.take().expect("it was piped");
    let complained = std::thread::scope(|scope| {
        // It need not read all of the list: then its status says why.
        scope.spawn(move || {
            let _ = list.write_all(&names);
        });
        let complained = scope.spawn(|| read_some(complained));
        // Read to its end, for rsync says something of each file; and where nobody is left to read that, it ends.
        for line in said.split(b'\n').map_while(Result::ok) {
            let length = std::str::from_utf8(&line).ok();
            if let Some(length) = length.and_then(|line| line.parse().ok()) {
                copied(length);
            }
        }
        complained.join().unwrap_or_default()
    });
    let status = child.wait().map_err(failed)?;
    complaints.push_str(&complained);
    match status.code() {
        Some(0) => Ok(Ran::Whole),
        Some(23) => Ok(Ran::Partly),
        Some(24) => Ok(Ran::Vanished),
        _ => Err(Error::Rsync(format!(
            "{}{}",
            complained
                .lines()
                .map(|line| format!("{line}\n  "))
                .collect::<String>(),
            meaning(status)
        ))),
    }
}

fn command(farm: &Path, to: &Destination, there: &OsStr) -> Command {
    let below = |tail: &str| {
        let mut path = there.to_owned();
        path.push(tail);
        path
    };
    let mut known = OsString::from("--compare-dest=");
    known.push(below("/users"));
    let mut from = farm.as_os_str().to_owned();
    from.push("/");
    let mut command = Command::new("rsync");
    command
        .args([
            "-rtm",
            "--modify-window=-1",
            "--no-implied-dirs",
            "--delete",
            "--chmod=D0700,F0600",
            "--out-format=%l",
            "--files-from=-",
        ])
        .args(WANTED.map(|rule| format!("--filter={rule}")))
        .arg(known);
    if let Destination::There { .. } = to {
        command.arg("-e").arg(SSH.join(" "));
    }
    command
        .arg(from)
        .arg(to.for_rsync(&below("/tmp/backup/new/")));
    command
}

/// Reads to the end, and keeps the beginning.
fn read_some(mut from: impl Read) -> String {
    let mut kept = Vec::new();
    let most = limits::BACKUP_COMPLAINTS;
    // What cannot be read of it says nothing.
    let _ = from.by_ref().take(most).read_to_end(&mut kept);
    let _ = io::copy(&mut from, &mut io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}

/// The meaning of an exit status of rsync's, or of the ssh that it runs.
fn meaning(status: ExitStatus) -> String {
    let words = match status.code() {
        Some(1 | 2 | 4) => "this rsync lacks what a copy needs: 3.2 or later has it",
        Some(3) => "files cannot be opened or made",
        Some(5 | 10 | 12) => "the connection broke, or there is no rsync there",
        Some(11) => "a file cannot be written: is the disk full?",
        Some(20) => "it was interrupted",
        Some(22) => "memory is lacking",
        Some(30 | 35) => "the other side does not answer",
        Some(127) => "there is no rsync there",
        Some(255) => "ssh does not get there",
        _ => "for a reason that it may have said",
    };
    format!("{words} ({status})")
}
