//! `mentat-sync health`: is all well?

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;

use super::heartbeat::{ServerAddress, server_address};
use super::values::{duration, size_or_none};
use crate::cli::arguments::is_set;
use crate::cli::failure::Failure;
use crate::cli::open::{in_the_way, not_usable};
use crate::cli::output::{counted, json_line, print};
use crate::disk::{Grouping, Real, Room};
use crate::model::{limits, tame};
use crate::store::Store;
use crate::upkeep::health::{Condition, condition};

/// The data directory that is looked at where nothing else is named.
const DATA: &str = "./data";

/// Say in one line whether all is well: a server is up, every user can be served, there is room.
///
/// Looks at the data directory, and asks the server at the address that `serve` leaves in DATA/serving; or the
/// one at --url, also where there is no data directory. What only reading everything finds is for fsck.
/// Exit status: 0 all is well; 1 not, and the line says why; 3 nothing could be looked at.
#[derive(Args)]
pub struct HealthCommand {
    /// The data directory [default: ./data, unless --url is given]. With --url, both are looked at.
    #[arg(long, value_name = "DIR", env = "MENTAT_SYNC_DATA")]
    data: Option<PathBuf>,

    /// The server to ask: http://HOST:PORT, the same with https (whatever its certificate is), HOST:PORT or unix:/path.
    #[arg(long, value_name = "URL", env = "MENTAT_SYNC_URL", value_parser = server_address)]
    url: Option<ServerAddress>,

    /// Print one JSON object.
    #[arg(long, env = "MENTAT_SYNC_JSON", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    json: bool,

    /// Room of which less is not well, as `serve` has it [default: 1 % of the disk]. 0 is as not given.
    #[arg(long, value_name = "SIZE", env = "MENTAT_SYNC_MIN_FREE", default_value = "0",
          hide_default_value = true, value_parser = size_or_none)]
    min_free: u64,

    /// Not well also where the last copy is older than this, or was never made.
    #[arg(long, value_name = "TIME", env = "MENTAT_SYNC_COPY_WITHIN", value_parser = duration)]
    copy_within: Option<Duration>,

    /// A directory that nobody is to serve (a copy, a standby): that no server is up is well.
    #[arg(long, env = "MENTAT_SYNC_AT_REST", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true, conflicts_with = "url")]
    at_rest: bool,
}

/// The line for a program. What was not looked at is null.
#[derive(Default, Serialize)]
struct HealthLine {
    ok: bool,
    up: bool,
    users: Option<u64>,
    damaged: Option<u64>,
    frozen: Option<u64>,
    free_bytes: Option<u64>,
    last_gc: Option<String>,
    last_copy: Option<String>,
    last_write: Option<String>,
}

/// The answer of those who may serve.
enum Serves {
    Up(String),
    /// Up, and has something to say.
    UpBut(String),
    Down(String),
    /// Perhaps up: this program cannot ask there.
    Unasked(String),
}

impl HealthCommand {
    /// Looks, prints the line, and fails where not all is well.
    pub fn run(&self) -> Result<(), Failure> {
        let path = match (&self.data, &self.url) {
            (Some(path), _) => Some(path.as_path()),
            (None, Some(_)) => None,
            (None, None) => Some(Path::new(DATA)),
        };
        let looked = path.map(look).transpose()?;
        let server = self.server(looked.as_ref().map(|(store, _)| store))?;
        let condition = looked.as_ref().map(|(_, condition)| condition);
        let mut troubles = Vec::new();
        let mut line = HealthLine::default();
        let mut words = Vec::new();
        match server {
            Serves::Up(at) => {
                line.up = true;
                words.push(format!("up at {at}"));
            }
            Serves::UpBut(what) => {
                line.up = true;
                troubles.push(what);
            }
            Serves::Down(_) if self.at_rest => words.push("at rest".to_owned()),
            Serves::Down(why) => troubles.push(why),
            Serves::Unasked(why) => return Err(Failure::could_not_check(why)),
        }
        if let Some(condition) = condition {
            self.judge(condition, &mut troubles);
            line.fill(condition);
            words.extend(in_words(condition));
        }
        line.ok = troubles.is_empty();
        let verdict = match line.ok {
            true => "well".to_owned(),
            false => format!("NOT WELL: {};", tame(&troubles.join("; "))),
        };
        print(|out| match self.json {
            true => json_line(out, &line),
            false if line.ok => writeln!(out, "{verdict}: {}", words.join(", ")),
            false => writeln!(out, "{verdict} {}", words.join(", ")),
        })?;
        match line.ok {
            true => Ok(()),
            false => Err(Failure::told()),
        }
    }

    /// Asks the server that was named, or else all that left an address.
    fn server(&self, store: Option<&Store>) -> Result<Serves, Failure> {
        let mark = store.and_then(Store::mark_now);
        if let Some(url) = &self.url {
            return Ok(ask(url, mark.as_deref(), false));
        }
        let lines = store.map(Store::serving).transpose();
        let lines = lines.map_err(|error| Failure::could_not_check(error.to_string()))?;
        let mut server = Serves::Down("no server is up".to_owned());
        for line in lines.unwrap_or_default() {
            let asked = match server_address(&line) {
                Ok(address) => ask(&address, mark.as_deref(), true),
                Err(why) => Serves::Unasked(format!("the server is at {line}: {why}")),
            };
            server = graver(server, asked);
        }
        Ok(server)
    }

    fn judge(&self, condition: &Condition, troubles: &mut Vec<String>) {
        for (user, what) in &condition.damaged {
            // The place of a file begins with the user's id, which is a secret.
            let what = what.replace(&user.to_string(), &user.short().to_string());
            troubles.push(format!("user {}: {what}", user.short()));
        }
        troubles.extend(condition.trouble.iter().cloned());
        troubles.extend(self.full(&condition.room));
        let Some(within) = self.copy_within else {
            return;
        };
        match condition.last_copy {
            None => troubles.push("no copy was ever made".to_owned()),
            // A copy that is yet to come is of a clock that was wrong.
            Some(copied) if copied.elapsed().is_ok_and(|age| age <= within) => {}
            Some(copied) => troubles.push(format!("the last copy is of {}", date(copied))),
        }
    }

    /// The words for a disk that has too little room.
    fn full(&self, room: &Room) -> Option<String> {
        let part = |all: u64| limits::FULL.of(all as usize) as u64;
        let least = match self.min_free {
            0 => part(room.bytes),
            bytes => bytes,
        };
        if room.free_bytes < least {
            let (free, least) = (HumanBytes(room.free_bytes), HumanBytes(least));
            return Some(format!("{free} free, and less than {least} is too little"));
        }
        let too_few =
            room.files > 0 && room.free_files < part(room.files).min(limits::MIN_FREE_FILES);
        too_few.then(|| {
            format!(
                "room for {} more files, which is too little",
                room.free_files
            )
        })
    }
}

impl HealthLine {
    fn fill(&mut self, condition: &Condition) {
        self.users = Some(condition.users);
        self.damaged = Some(condition.damaged.len() as u64);
        self.frozen = Some(condition.frozen);
        self.free_bytes = Some(condition.room.free_bytes);
        self.last_gc = condition.last_gc.map(date);
        self.last_copy = condition.last_copy.map(date);
        self.last_write = condition.last_write.map(date);
    }
}

/// Looks at a data directory. Nothing is made or synced.
fn look(path: &Path) -> Result<(Store, Condition), Failure> {
    let unlooked = |failure: Failure| Failure::could_not_check(failure.words);
    let disk = Real::new(path, Grouping::Off);
    let disk = disk.map_err(|error| unlooked(in_the_way(path, "open", &error)))?;
    let looked = Store::to_read(Arc::new(disk)).and_then(|store| {
        let condition = condition(&store)?;
        Ok((store, condition))
    });
    looked.map_err(|error| unlooked(not_usable(path, &error)))
}

/// Asks at one address. Who serves another directory than the one with this mark is not the one that is asked for; where
/// the address was left in the directory, neither is who says no mark at all.
fn ask(address: &ServerAddress, mark: Option<&str>, is_left: bool) -> Serves {
    let answer = match address.ask(limits::HEALTH_WAIT) {
        Ok(answer) => answer,
        Err(error) => return Serves::Down(format!("no server answers at {address} ({error})")),
    };
    let is_other = match (mark, answer.mark.as_deref()) {
        (Some(ours), Some(theirs)) => ours != theirs,
        (Some(_), None) => is_left && answer.status == 200,
        (None, _) => false,
    };
    match answer.status {
        _ if is_other => Serves::Down(format!("the server at {address} serves another directory")),
        200 => Serves::Up(address.to_string()),
        507 => Serves::UpBut(format!(
            "the server at {address} has no room to write (507)"
        )),
        status => Serves::Down(format!(
            "the server at {address} cannot use its directory (it answers {status})"
        )),
    }
}

/// The one of two that counts: one server that is up is enough.
fn graver(one: Serves, other: Serves) -> Serves {
    let rank = |server: &Serves| match server {
        Serves::Up(_) => 3,
        Serves::UpBut(_) => 2,
        Serves::Unasked(_) => 1,
        Serves::Down(_) => 0,
    };
    match rank(&one) > rank(&other) {
        true => one,
        false => other,
    }
}

fn in_words(condition: &Condition) -> Vec<String> {
    let date = |time: Option<SystemTime>| time.map_or("never".to_owned(), date);
    let users = counted((condition.users, "user"));
    let users = match condition.frozen {
        0 => users,
        frozen => format!("{users} ({frozen} frozen)"),
    };
    vec![
        users,
        format!("{} free", HumanBytes(condition.room.free_bytes)),
        format!("last write {}", date(condition.last_write)),
        format!("last gc {}", date(condition.last_gc)),
        format!("last copy {}", date(condition.last_copy)),
    ]
}

fn date(time: SystemTime) -> String {
    let first = SystemTime::UNIX_EPOCH;
    humantime::format_rfc3339_seconds(time.clamp(first, first + limits::LATEST_DATE)).to_string()
}
