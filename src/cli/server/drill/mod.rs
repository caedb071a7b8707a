//! `mentat-sync drill`: whether a copy can be restored, proved by restoring it.

mod pull;
mod served;
mod stage;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::Args;
use serde::Serialize;

use self::pull::{Pulled, pull};
use self::served::Served;
use self::stage::Stage;
use crate::cli::arguments::is_set;
use crate::cli::failure::Failure;
use crate::cli::open::{in_the_way, not_usable, open, private};
use crate::cli::output::{counted, json_line, print};
use crate::cli::progress::FileBar;
use crate::disk::{Grouping, Real};
use crate::model::{Head, UserId};
use crate::store::{FrozenFile, Options, StoreKind};
use crate::upkeep::fsck::{self, CheckOptions, Finding, Mended, Observer, Severity};

/// Prove that a copy can be restored, without touching it: set it aside, check that with fsck, serve it on loopback, pull
/// every user's HEAD, list of transactions and bundle, and compare all of it with what the copy holds.
///
/// Exit status: 0 it restores; 1 it does not, and why; 2 wrong usage; 3 could not try.
#[derive(Args)]
pub struct DrillCommand {
    /// A directory that backup or snapshot made, or an archive of tar's.
    backup: PathBuf,
    /// Where to set it aside, in a directory that goes again. On the file system of a directory nothing needs room, since what never
    /// changes gets a second name for the time; elsewhere all of it is copied. Beside BACKUP, or else in the directory for temporary
    /// files, without this.
    #[arg(long, value_name = "DIR", env = "MENTAT_SYNC_TMP")]
    tmp: Option<PathBuf>,
    /// Say nothing when all is well.
    #[arg(long, env = "MENTAT_SYNC_QUIET", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    quiet: bool,
    /// Print one JSON object.
    #[arg(long, env = "MENTAT_SYNC_JSON", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    json: bool,
}

/// The proof as JSON.
#[derive(Default, Serialize)]
struct DrillLine {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    users: Vec<PulledLine>,
    transactions: u64,
    chunks: u64,
    bytes: u64,
}

/// One user's part of it.
#[derive(Serialize)]
struct PulledLine {
    user: String,
    head: String,
    transactions: u64,
    chunks: u64,
    bytes: u64,
}

/// Refuses the store of a device: it is not a server's to serve, so nothing is proved by trying.
fn not_a_devices(backup: &Path, data: &Path) -> Result<(), Failure> {
    let disk = Real::new(data, Grouping::Off).ok();
    let kind = disk.and_then(|disk| StoreKind::at(&disk));
    StoreKind::Server
        .expect(kind.unwrap_or_default())
        .map_err(|error| Failure::could_not_check(not_usable(backup, &error).words))
}

impl DrillCommand {
    /// Tries to restore the copy, and says what was proved. Fails where it cannot be restored.
    pub fn run(&self) -> Result<(), Failure> {
        private();
        let mut line = DrillLine::default();
        let tried = self.try_it(&mut line);
        line.ok = tried.is_ok();
        line.why = tried.as_ref().err().map(|failure| failure.words.clone());
        if self.json {
            print(|out| json_line(out, &line))?;
        }
        tried
    }

    fn try_it(&self, line: &mut DrillLine) -> Result<(), Failure> {
        let progress = (!self.quiet).then(|| FileBar::of(None));
        let step = |bytes| {
            if let Some(progress) = &progress {
                progress.step(bytes);
            }
        };
        let stage = Stage::of(&self.backup, self.tmp.as_deref(), &step)?;
        not_a_devices(&self.backup, &stage.data)?;
        self.check(&stage, &step)?;
        let options = Options {
            // As the server was that took them.
            uuid_chunk_ids: true,
            ..Options::default()
        };
        let store = open(&stage.data, options, Grouping::Auto)?;
        let users = store.users();
        let users = users.map_err(|error| Failure::failed(error.to_string()))?;
        let served = Served::start(store.clone())?;
        for user in users {
            // fsck has read it; served it is to be nowhere, or elsewhere.
            let frozen = store.user(user).frozen();
            if frozen.is_ok_and(|file| file != FrozenFile::Absent) {
                continue;
            }
            let Pulled {
                head,
                transactions,
                chunks,
                bytes,
            } = pull(&served.address, &user, &stage.origin, &step).map_err(|why| {
                Failure::failed(format!(
                    "{} does not restore: user {user}: {why}",
                    self.backup.display()
                ))
            })?;
            line.transactions += transactions;
            line.chunks += chunks;
            line.bytes += bytes;
            line.users.push(PulledLine {
                user: user.to_string(),
                head: head.to_string(),
                transactions,
                chunks,
                bytes,
            });
        }
        served.stop();
        if let Some(progress) = &progress {
            progress.end();
        }
        match self.json || self.quiet {
            true => Ok(()),
            false => self.tell(line),
        }
    }

    fn tell(&self, line: &DrillLine) -> Result<(), Failure> {
        print(|out| {
            let words = |transactions, chunks| {
                let [transactions, chunks] =
                    [(transactions, "transaction"), (chunks, "chunk")].map(counted);
                format!("{transactions} and {chunks}")
            };
            for one in &line.users {
                let held = words(one.transactions, one.chunks);
                writeln!(out, "{}: {held}, {} bytes", one.user, one.bytes)?;
            }
            let users = counted((line.users.len() as u64, "user"));
            let held = words(line.transactions, line.chunks);
            let place = self.backup.display();
            writeln!(out, "sound: {users}, {held} pulled from {place}")
        })
    }

    /// Checks all of what was set aside, the bytes of every chunk included.
    fn check(&self, stage: &Stage, step: &dyn Fn(u64)) -> Result<(), Failure> {
        let disk = Real::new(&stage.data, Grouping::Off);
        let disk = disk.map_err(|error| in_the_way(&stage.data, "open", &error))?;
        let damage = Damage::default();
        let options = CheckOptions {
            content_ids: false,
            ..CheckOptions::default()
        };
        let checked = fsck::check(Arc::new(disk), &options, &damage);
        step(0);
        let place = self.backup.display();
        let checked = checked.map_err(|error| Failure::failed(format!("{place}: {error}")))?;
        for finding in damage.0.into_inner().expect("nobody panics with this") {
            let (kind, at) = (finding.kind.as_str(), finding.place.as_str());
            eprintln!("mentat-sync: {kind}: {at}: {}", finding.detail);
        }
        match checked.damage + checked.unchecked {
            0 => Ok(()),
            pieces => Err(Failure::failed(format!(
                "fsck finds damage in {place}: {}",
                counted((pieces, "piece"))
            ))),
        }
    }
}

/// The findings of fsck, but for harmless ones.
#[derive(Default)]
struct Damage(Mutex<Vec<Finding>>);

impl Observer for Damage {
    fn found(&self, finding: &Finding) {
        if finding.severity != Severity::Harmless {
            let mut seen = self.0.lock().expect("nobody panics with this");
            seen.push(finding.clone());
        }
    }

    fn mended(&self, _: &Mended) {}

    fn newest_sound(&self, _: &UserId, _: Head) {}

    fn checked(&self, _: u64) {}
}
