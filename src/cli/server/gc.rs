//! `mentat-sync gc`: what nothing reachable needs, and nobody asked for lately, goes.

use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use clap::Args;
use serde::Serialize;

use super::values::grace;
use crate::cli::arguments::{DataDirectory, is_set};
use crate::cli::failure::Failure;
use crate::cli::open::{not_usable, open};
use crate::cli::output::{json_line, print};
use crate::cli::progress::FileBar;
use crate::cli::whom::{Care, Whom, no_such_user};
use crate::disk::Grouping;
use crate::model::UserId;
use crate::store::{self, Item, Options, Store};
use crate::upkeep::gc::{CollectOptions, Ended, Event, Why, run};

/// Remove garbage: what was uploaded, is not reachable from HEAD, and is older than the grace period.
///
/// Only what is pending is looked at, and where a chunk would go, the chain once, which may name it. Works beside
/// a running server, and on a full disk. A dry run prints the path of every file that would go; a run says how much went, and
/// nothing if nothing did.
#[derive(Args)]
pub struct GcCommand {
    #[command(flatten)]
    data: DataDirectory,

    /// Only this user's: the id, its first digits, the name, or - to read one of them from standard input.
    #[arg(long, env = "MENTAT_SYNC_USER")]
    user: Option<String>,

    /// How long what nothing reachable needs is kept after it was last uploaded or asked about.
    #[arg(long, value_name = "TIME", env = "MENTAT_SYNC_GRACE", default_value = "14d",
          value_parser = grace)]
    grace: Duration,

    /// Print what would go, and touch nothing.
    #[arg(long, env = "MENTAT_SYNC_DRY_RUN", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    dry_run: bool,

    /// Collect though the clock is further from the last run than the grace period.
    #[arg(long, env = "MENTAT_SYNC_FORCE", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    force: bool,

    /// Print one JSON object a line for everything that goes.
    #[arg(long, env = "MENTAT_SYNC_JSON", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    json: bool,
}

/// A line about a file that went, or would go.
#[derive(Serialize)]
struct GarbageLine<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    kind: &'a str,
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    removed: bool,
}

/// How much went.
#[derive(Default)]
struct Total {
    files: u64,
    bytes: u64,
    failed: u64,
}

impl GcCommand {
    /// Collects garbage and prints what went. Fails where the clock cannot be believed, or some of it stays.
    pub fn run(&self) -> Result<(), Failure> {
        let path = &self.data.path;
        let whom = self.user.as_deref().map(Whom::read).transpose()?;
        let store = open(path, Options::default(), Grouping::Auto)?;
        let failed = |error| not_usable(path, &error);
        let user = whom.map(|whom| whom.find(&store, Care::Usual, failed));
        let user = user.transpose()?;
        if let Some(user) = &user
            && !store.users().map_err(failed)?.contains(user)
        {
            return Err(no_such_user(user));
        }
        let mut total = Total::default();
        let mut ran = Ok(Ended::Done);
        let progress = FileBar::of(None);
        print(|out| {
            let mut written = Ok(());
            ran = self.collect(&store, user.as_ref(), &mut total, &progress, &mut |line| {
                // Whoever reads may stop reading: what was begun is done to its end.
                if written.is_ok() {
                    written = match self.json {
                        true => json_line(out, &line),
                        false => writeln!(out, "{}", line.path),
                    };
                }
            });
            progress.end();
            written
        })?;
        match ran.map_err(failed)? {
            Ended::ClockLeapt { last, now } => Err(leapt(last, now)),
            Ended::ClockUnset { now } => Err(unset(now)),
            Ended::Done => self.sum_up(&total),
        }
    }

    fn collect(
        &self,
        store: &Store,
        user: Option<&UserId>,
        total: &mut Total,
        progress: &FileBar,
        print: &mut dyn FnMut(GarbageLine),
    ) -> store::Result<Ended> {
        let how = CollectOptions {
            grace: self.grace,
            dry_run: self.dry_run,
            force: self.force,
        };
        let shown = self.json || self.dry_run;
        run(store, user, &how, &mut |event| {
            match event {
            Event::Garbage { user, garbage } => {
                total.files += 1;
                total.bytes += garbage.bytes;
                if shown {
                    print(GarbageLine {
                        path: store.user(user).place_of(&garbage.item).as_str(),
                        user: Some(user.to_string()),
                        kind: kind(&garbage.item),
                        why: why(garbage.why),
                        bytes: Some(garbage.bytes),
                        removed: !self.dry_run,
                    });
                } else {
                    progress.step(0);
                }
            }
            Event::LeftBehind(place) => {
                total.files += 1;
                if shown {
                    print(GarbageLine {
                        path: place.as_str(),
                        user: None,
                        kind: "folder",
                        why: why(Why::LeftBehind),
                        bytes: None,
                        removed: !self.dry_run,
                    });
                }
            }
            Event::Overtaken(user) => {
                progress.aside(|| {
                    eprintln!("mentat-sync: user {user}: another collection is at work there");
                });
            }
            Event::Frozen(user) => {
                progress.aside(|| {
                    eprintln!("mentat-sync: user {user}: frozen, nothing of theirs goes");
                });
            }
            Event::Redated { user, files } => progress.aside(|| {
                let files = match files {
                    1 => "1 file has a date".to_owned(),
                    files => format!("{files} files have dates"),
                };
                eprintln!(
                    "mentat-sync: user {user}: {files} that cannot be right: kept, as if uploaded now"
                );
            }),
            Event::PutBack { user, files } => progress.aside(|| {
                let files = match files {
                    1 => "1 committed file was lost and has".to_owned(),
                    files => format!("{files} committed files were lost and have"),
                };
                let what = match self.dry_run {
                    true => "it would be put back into its place",
                    false => "put back into its place",
                };
                eprintln!("mentat-sync: user {user}: {files} come again: {what}");
            }),
            Event::Unsure { user, error } => {
                total.failed += 1;
                let Failure { words, .. } = not_usable(&self.data.path, &error);
                progress.aside(|| {
                    eprintln!("mentat-sync: user {user}: what the chain or the checkpoint may name stays: {words}");
                });
            }
            Event::Failed { user, error } => {
                total.failed += 1;
                let whose = user.map_or(String::new(), |user| format!("user {user}: "));
                let Failure { words, .. } = not_usable(&self.data.path, &error);
                progress.aside(|| eprintln!("mentat-sync: {whose}{words}"));
                if matches!(error, store::Error::Damaged { .. }) {
                    let hint = "  nothing of this user's goes before `mentat-sync fsck` is happy";
                    progress.aside(|| eprintln!("{hint}"));
                }
            }
        }
        })
    }

    fn sum_up(&self, total: &Total) -> Result<(), Failure> {
        if total.failed > 0 {
            return Err(Failure::failed("some garbage stays"));
        }
        if self.json || self.dry_run || total.files == 0 {
            return Ok(());
        }
        let files = match total.files {
            1 => "1 file".to_owned(),
            files => format!("{files} files"),
        };
        let bytes = ByteSize(total.bytes);
        print(|out| writeln!(out, "removed {files}, {bytes}"))
    }
}

fn kind(item: &Item) -> &'static str {
    match item {
        Item::Transaction(_) => "transaction",
        Item::Alias(_) => "alias",
        Item::Chunk(_) | Item::CheckpointChunk(_) => "chunk",
        Item::Temporary(_) => "temporary",
    }
}

fn why(why: Why) -> &'static str {
    match why {
        Why::Abandoned => "abandoned",
        Why::Leftover => "leftover",
        Why::LeftBehind => "left-behind",
    }
}

fn leapt(last: SystemTime, now: SystemTime) -> Failure {
    let time = humantime::format_rfc3339_seconds;
    Failure::failed(format!(
        "the clock says {}, and gc last ran at {}: longer ago than the grace period, so that everything \
         may look old that is not; nothing was touched\n  if the clock is right, run it with --force",
        time(now),
        time(last),
    ))
}

fn unset(now: SystemTime) -> Failure {
    Failure::failed(format!(
        "the clock says {}, so it has not been set, and no age can be told; nothing was touched",
        humantime::format_rfc3339_seconds(now.max(SystemTime::UNIX_EPOCH)),
    ))
}
