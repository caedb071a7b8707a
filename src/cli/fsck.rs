//! `mentat-sync fsck`: whether a store is sound, and mending it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;

use super::arguments::{DataDirectory, is_set};
use super::failure::Failure;
use super::open::{in_the_way, not_usable};
use super::output::{counted, json_line, print};
use super::progress::{self, FileBar};
use super::whom::{Care, Whom};
use crate::disk::{Grouping, Real};
use crate::model::{Head, UserId, tame};
use crate::store::Store;
use crate::upkeep::fsck::{self, CheckOptions, Finding, Mended, Observer, Severity, Summary};

/// Check a data directory, and say what is not as it should be, one finding a line. Works beside a
/// running server. Exit status: 0 sound; 1 damage found, also where it was mended; 3 could not check.
#[derive(Args)]
pub struct FsckCommand {
    #[command(flatten)]
    pub(super) data: DataDirectory,
    /// Check this user only: the id, its first digits, the name, or - to read one of them from standard input.
    #[arg(long, env = "MENTAT_SYNC_USER")]
    user: Option<String>,
    /// Do not read the chunks, only look whether they are there.
    #[arg(long, env = "MENTAT_SYNC_QUICK", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    quick: bool,
    /// Mend what can be mended without loss: rebuild the log, clear leftovers, take damaged chunks out of
    /// the way so that clients can upload them again. HEAD never moves.
    #[arg(long, env = "MENTAT_SYNC_REPAIR", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    repair: bool,
    /// Print one JSON object a line.
    #[arg(long, env = "MENTAT_SYNC_JSON", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    json: bool,
}

/// A line of the output, as JSON. `type` tells the kinds apart.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FindingLine<'a> {
    Finding {
        severity: &'static str,
        kind: &'static str,
        user: Option<String>,
        place: &'a str,
        detail: &'a str,
    },
    Mended {
        done: bool,
        user: Option<String>,
        place: &'a str,
        detail: &'a str,
    },
    NewestSound {
        user: String,
        head: String,
        seq: u64,
    },
    Summary {
        users: u64,
        transactions: u64,
        chunks: u64,
        bytes: u64,
        harmless: u64,
        unchecked: u64,
        damage: u64,
    },
}

/// Prints what is found as it is found.
struct Printer<'a> {
    json: bool,
    progress: &'a FileBar,
    /// The first time that stdout could not be written to.
    broken: Mutex<Option<io::Error>>,
}

impl FsckCommand {
    /// Checks the store and prints the findings. Fails where there is damage, or nothing could be checked.
    pub fn run(&self) -> Result<(), Failure> {
        let path = &self.data.path;
        let unlooked =
            |error: io::Error| Failure::could_not_check(in_the_way(path, "open", &error).words);
        let disk = Arc::new(Real::new(path, Grouping::Auto).map_err(unlooked)?);
        let user = self.whom(&disk)?;
        // Counting costs a listing, which only a person's patience is worth.
        let files = progress::is_shown()
            .then(|| fsck::count(disk.clone(), user).ok())
            .flatten();
        let progress = FileBar::of(files);
        let printer = Printer {
            json: self.json,
            progress: &progress,
            broken: Mutex::default(),
        };
        let options = CheckOptions {
            user,
            quick: self.quick,
            repair: self.repair,
            ..CheckOptions::default()
        };
        let checked = fsck::check(disk, &options, &printer);
        progress.end();
        let summary = checked.map_err(|error| {
            let words = match error {
                fsck::Error::Store(error) => not_usable(path, &error).words,
                other => format!("{}: {other}", path.display()),
            };
            Failure::could_not_check(format!("cannot check {words}"))
        })?;
        printer.summary(&summary)?;
        if summary.damage > 0 {
            return Err(Failure::failed(pieces(summary.damage)));
        }
        if summary.unchecked > 0 {
            let files = counted((summary.unchecked, "file"));
            return Err(Failure::could_not_check(format!(
                "{files} could not be checked"
            )));
        }
        Ok(())
    }
}

impl FsckCommand {
    /// The only user to be checked, if one was named.
    fn whom(&self, disk: &Arc<Real>) -> Result<Option<UserId>, Failure> {
        let Some(word) = &self.user else {
            return Ok(None);
        };
        let store = Store::examine(disk.clone());
        let failed = |error| not_usable(&self.data.path, &error);
        let found = Whom::read(word)?.find(&store, Care::Usual, failed);
        found.map(Some).map_err(|failed| match failed.status {
            1 => Failure::could_not_check(failed.words),
            _ => failed,
        })
    }
}

fn pieces(damage: u64) -> String {
    format!("{} of damage", counted((damage, "piece")))
}

impl Printer<'_> {
    fn line(&self, line: &FindingLine) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            return json_line(&mut out, line);
        }
        match line {
            FindingLine::Finding {
                severity,
                kind,
                place,
                detail,
                ..
            } => writeln!(out, "{severity}: {kind}: {}: {}", tame(place), tame(detail)),
            FindingLine::Mended {
                done,
                place,
                detail,
                ..
            } => {
                let word = if *done { "mended" } else { "not mended" };
                writeln!(out, "{word}: {}: {}", tame(place), tame(detail))
            }
            FindingLine::NewestSound { user, head, seq } => writeln!(
                out,
                "newest sound: users/{user}: {head} (seq {seq}) is the newest transaction whose whole \
                 past is sound"
            ),
            FindingLine::Summary {
                users,
                transactions,
                chunks,
                bytes,
                harmless,
                unchecked,
                damage,
            } => {
                let looked = [
                    (*users, "user"),
                    (*transactions, "transaction"),
                    (*chunks, "chunk"),
                ];
                let [users, transactions, chunks] = looked.map(counted);
                let read = HumanBytes(*bytes);
                write!(
                    out,
                    "checked {users}, {transactions}, {chunks} ({read} read): "
                )?;
                match (damage, unchecked) {
                    (0, 0) => write!(out, "sound")?,
                    (0, _) => write!(out, "{unchecked} could not be checked")?,
                    _ => write!(out, "{}", pieces(*damage))?,
                }
                match harmless {
                    0 => writeln!(out),
                    _ => writeln!(out, "; {harmless} harmless"),
                }
            }
        }
    }

    fn tell(&self, line: &FindingLine) {
        let told = self.progress.aside(|| self.line(line));
        if let Err(error) = told {
            let mut broken = self.broken.lock().expect("nobody panics with this");
            broken.get_or_insert(error);
        }
    }

    fn summary(self, summary: &Summary) -> Result<(), Failure> {
        let Summary {
            users,
            transactions,
            chunks,
            bytes,
            harmless,
            unchecked,
            damage,
        } = *summary;
        self.tell(&FindingLine::Summary {
            users,
            transactions,
            chunks,
            bytes,
            harmless,
            unchecked,
            damage,
        });
        let broken = self.broken.into_inner().expect("nobody panics with this");
        print(|_| broken.map_or(Ok(()), Err))
    }
}

impl Observer for Printer<'_> {
    fn found(&self, finding: &Finding) {
        self.tell(&FindingLine::Finding {
            severity: Severity::as_str(finding.severity),
            kind: finding.kind.as_str(),
            user: finding.user.map(|user| user.to_string()),
            place: finding.place.as_str(),
            detail: &finding.detail,
        });
    }

    fn mended(&self, mended: &Mended) {
        let (done, detail) = match &mended.outcome {
            Ok(done) => (true, done),
            Err(why) => (false, why),
        };
        self.tell(&FindingLine::Mended {
            done,
            user: mended.user.map(|user| user.to_string()),
            place: mended.place.as_str(),
            detail,
        });
    }

    fn newest_sound(&self, user: &UserId, newest: Head) {
        self.tell(&FindingLine::NewestSound {
            user: user.to_string(),
            head: newest.id.to_string(),
            seq: newest.seq,
        });
    }

    fn checked(&self, bytes: u64) {
        self.progress.step(bytes);
    }
}
