//! `mentat-sync backup`: a copy on another disk or machine, beside a running server.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::scratch::Scratch;
use crate::cli::arguments::{DataDirectory, is_set};
use crate::cli::failure::Failure;
use crate::cli::open::{in_the_way, no_store, not_usable, private};
use crate::cli::output::{counted, json_line, print};
use crate::cli::progress::FileBar;
use crate::disk::{Disk, Grouping, Real};
use crate::model::UserId;
use crate::store;
use crate::upkeep::backup::{self, BackedUp, Destination, Error};

/// Copy the data directory to another disk or machine, and bring an earlier copy up to date: only what is new is copied. Works beside a
/// running server. The copy is a store like any other, at every moment from the end of the first one on, also after a kill or a power cut. No
/// user that it has is ever deleted there. Takes rsync, here and there.
///
/// After a good copy the file `last-copy` in the data directory holds its time.
///
/// Exit status: 0 all users are copied; 1 not, or not all: of those who are named, DEST has what the last good copy had; 2 wrong
/// usage; 3 rsync or ssh is not here, or the data directory cannot be read.
#[derive(Args)]
pub struct BackupCommand {
    #[command(flatten)]
    data: DataDirectory,
    /// Where: a directory that is empty or not there yet, or that has an earlier copy; or host:directory, over ssh.
    #[arg(value_name = "DEST", value_parser = clap::builder::OsStringValueParser::new())]
    destination: OsString,
    /// Say nothing when all is well.
    #[arg(long, env = "MENTAT_SYNC_QUIET", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    quiet: bool,
    /// Print one JSON object, also where users are left out.
    #[arg(long, env = "MENTAT_SYNC_JSON", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    json: bool,
}

/// The copy as JSON.
#[derive(Serialize)]
struct BackupLine<'a> {
    ok: bool,
    destination: String,
    /// The time at which it came to its end.
    time: &'a str,
    users: usize,
    left: BTreeMap<String, &'a str>,
    went: Vec<String>,
    anew: Vec<String>,
    kept: u64,
}

impl BackupCommand {
    /// Makes the copy, says what became of it, and marks the data directory. Fails where a user is left out, or all are.
    pub fn run(&self) -> Result<(), Failure> {
        private();
        let path = &self.data.path;
        let to = Destination::parse(&self.destination).map_err(Failure::usage)?;
        let to = whole(to)?;
        let disk = Real::new(path, Grouping::Off).map_err(|error| unread(path, &error))?;
        let disk = Arc::new(disk);
        let progress = (!self.quiet).then(|| FileBar::of(None));
        let scratch = scratch()?;
        let copied = backup::backup(disk.clone(), &to, scratch.path(), &|bytes| {
            if let Some(progress) = &progress {
                progress.step(bytes);
            }
        });
        if let Some(progress) = &progress {
            progress.end();
        }
        let copied = copied.map_err(|error| self.failed(error))?;
        let time = humantime::format_rfc3339_seconds(disk.now()).to_string();
        self.tell(&copied, &time)?;
        if !copied.left.is_empty() {
            let users = counted((copied.left.len() as u64, "user"));
            return Err(Failure::failed(format!(
                "{users} left as the last good copy had them"
            )));
        }
        // The copy is good all the same, but whoever asks `health` is told of an older one.
        if let Err(error) = backup::mark(&*disk, &format!("{time}\n")) {
            let matter = &error.source;
            let path = path.display();
            eprintln!("mentat-sync: the copy is good, and not noted in {path}/last-copy: {matter}");
        }
        Ok(())
    }

    fn tell(&self, copied: &BackedUp, time: &str) -> Result<(), Failure> {
        let destination = self.destination.to_string_lossy();
        let many = copied.users.len();
        if !self.quiet || !copied.left.is_empty() {
            eprint!("{}", copied.complaints);
        }
        if !self.quiet {
            for user in &copied.went {
                eprintln!("mentat-sync: user {user} was deleted meanwhile");
            }
            for user in &copied.anew {
                eprintln!("mentat-sync: user {user} is another than before, and its copy as well");
            }
            if copied.kept > 0 {
                let kept = copied.kept;
                eprintln!(
                    "mentat-sync: users that DATA has no more, and DEST has as they were: {kept}"
                );
            }
        }
        for (user, why) in &copied.left {
            eprintln!(
                "mentat-sync: user {user} is not in the copy, or as the last good one had it: {why}"
            );
        }
        let names = |users: &std::collections::BTreeSet<UserId>| {
            users.iter().map(UserId::to_string).collect::<Vec<_>>()
        };
        print(|out| match (self.json, self.quiet) {
            (true, _) => json_line(
                out,
                &BackupLine {
                    ok: copied.left.is_empty(),
                    destination: destination.into_owned(),
                    time,
                    users: many,
                    left: (copied.left.iter())
                        .map(|(user, why)| (user.to_string(), why.as_str()))
                        .collect(),
                    went: names(&copied.went),
                    anew: names(&copied.anew),
                    kept: copied.kept,
                },
            ),
            (false, true) => Ok(()),
            (false, false) => {
                let users = counted((many as u64, "user"));
                writeln!(out, "{users} copied to {destination}")
            }
        })
    }

    fn failed(&self, error: Error) -> Failure {
        let path = &self.data.path;
        match error {
            Error::Lacking(words) => Failure::could_not_check(words),
            Error::Inside(_) | Error::Around(_) => Failure::usage(error.to_string()),
            Error::Store(store::Error::NotAStore(why)) => no_store(path, &why),
            Error::Store(store::Error::Disk(disk)) => {
                unread(&path.join(disk.place.as_str()), &disk.source)
            }
            Error::Store(other) => not_usable(path, &other),
            other => Failure::failed(
                (other.to_string()).replace("DEST", &self.destination.to_string_lossy()),
            ),
        }
    }
}

/// A directory for the time of the copy, among temporary files.
fn scratch() -> Result<Scratch, Failure> {
    let made = tempfile::Builder::new()
        .prefix("mentat-sync-backup.")
        .tempdir();
    let made = made.and_then(Scratch::of);
    made.map_err(|error| in_the_way(&std::env::temp_dir(), "make a directory in", &error))
}

/// The words for a data directory that cannot be read: not to be let near it is no failure of the copy.
fn unread(path: &Path, error: &io::Error) -> Failure {
    let words = in_the_way(path, "read", error);
    match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::could_not_check(words.words),
        io::ErrorKind::NotFound => no_store(path, &format!("there is no store here: {error}")),
        _ => words,
    }
}

/// The place by its whole path, since programs that are run for it start elsewhere.
pub fn whole(to: Destination) -> Result<Destination, Failure> {
    let Destination::Here(path) = to else {
        return Ok(to);
    };
    let here = std::path::absolute(&path).map_err(|error| {
        Failure::failed(format!("cannot tell where {} is: {error}", path.display()))
    })?;
    Ok(Destination::Here(here))
}
