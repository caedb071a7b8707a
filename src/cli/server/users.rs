//! `mentat-sync users`: who is here. Works beside a running server.

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;
use uuid::Uuid;

use super::user_changes::{add, name, remove, rename};
use super::user_moves::{freeze, send, thaw};
use crate::cli::arguments::{DataDirectory, is_set};
use crate::cli::failure::Failure;
use crate::cli::open::{
    in_the_way, not_usable, open, open_made_before, open_or_make, say_on_stderr,
};
use crate::cli::output::{date, json_line, print};
use crate::cli::whom::{Care, Whom, new_id};
use crate::disk::{Grouping, Real};
use crate::model::{Shard, UserId, UserName};
use crate::store::{self, Frozen, FrozenFile, NameFile, Options, Store, User};

/// The hint for `users add` where there is no store.
const INIT: &str = "--init makes a store first";

/// List the users, each with its head, sequence number, files, bytes, pending transactions, last write and name; or
/// add, remove, move and name them. Works beside a running server.
#[derive(Args)]
pub struct UsersCommand {
    #[command(flatten)]
    data: DataDirectory,
    /// Print one JSON object a line.
    #[arg(long, env = "MENTAT_SYNC_JSON", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<UserChange>,
}

#[derive(Subcommand)]
enum UserChange {
    /// Make a folder for a user, and print the id. Needed with `serve --new-users deny`.
    Add {
        /// The id, or - to read it from standard input; a random one if there is none.
        user: Option<String>,
        /// A name for the user, by which the other commands know one too.
        #[arg(long, env = "MENTAT_SYNC_NAME")]
        name: Option<UserName>,
        /// Make a store first, where the data directory is not there or empty. It belongs to the directory's owner.
        #[arg(long, env = "MENTAT_SYNC_INIT", value_parser = is_set, num_args = 0..=1,
              require_equals = true, default_missing_value = "true", default_value = "false",
              hide_default_value = true)]
        init: bool,
        #[command(flatten)]
        of: OfShard,
    },
    /// Remove a user and all that is theirs. There is no way back. On a terminal it says what goes, and asks.
    Rm {
        /// The id, its first digits, the name, or - to read one of them from standard input.
        user: String,
        /// Do not ask.
        #[arg(long, env = "MENTAT_SYNC_YES", value_parser = is_set, num_args = 0..=1,
              require_equals = true, default_missing_value = "true", default_value = "false",
              hide_default_value = true)]
        yes: bool,
    },
    /// Give a user another id: a new secret for the same store.
    Mv {
        /// The id, its first digits, the name, or - to read one of them from standard input.
        old: String,
        /// The new id, or - to read it from standard input, after OLD if both are.
        new: String,
        #[command(flatten)]
        of: OfShard,
    },
    /// Give a user a name, which the other commands take in place of the id. Clients never see it.
    Name {
        /// The id, its first digits, the name, or - to read one of them from standard input.
        user: String,
        /// The name: one line that is no id, has no / and does not begin with -, and that no other user has.
        #[arg(required_unless_present = "remove")]
        name: Option<UserName>,
        /// Take the name away.
        #[arg(long, env = "MENTAT_SYNC_REMOVE", value_parser = is_set, num_args = 0..=1,
              require_equals = true, default_missing_value = "true", default_value = "false",
              hide_default_value = true, conflicts_with = "name")]
        remove: bool,
    },
    /// Freeze a user: from now on every server on this directory answers each read and write of theirs 503 `moving`.
    Freeze {
        /// The id, its first digits, the name, or - to read one of them from standard input.
        user: String,
    },
    /// Serve a user again who is frozen, or who came from another box by `users send`.
    Thaw {
        /// The id, its first digits, the name, or - to read one of them from standard input.
        user: String,
        /// Also one who was sent to another box, or is on the way here: two boxes may serve the user then, and what is
        /// written on the one is lost to the other.
        #[arg(long, env = "MENTAT_SYNC_FORCE", value_parser = is_set, num_args = 0..=1,
              require_equals = true, default_missing_value = "true", default_value = "false",
              hide_default_value = true)]
        force: bool,
    },
    /// Send a user to another data directory, also while it is served: all is copied, the user is frozen, the rest is copied and
    /// compared, and the user is gone here and ready there, where `users thaw` has it served. May be repeated whatever stopped it; one
    /// that fails before the user is gone has it served here again. Takes rsync, and on another machine ssh.
    Send {
        /// The id, its first digits, the name, or - to read one of them from standard input.
        user: String,
        /// The data directory, which may be served: a directory, or host:directory over ssh.
        #[arg(value_name = "DEST", value_parser = clap::builder::OsStringValueParser::new())]
        destination: std::ffi::OsString,
    },
}

/// The users that the box is for, as `serve` has it: the environment of the service says it to both.
#[derive(Args)]
struct OfShard {
    /// As `serve --shard` has it: an id beyond these first digits is refused, and a random one has them.
    #[arg(long, value_name = "RANGE", env = "MENTAT_SYNC_SHARD")]
    shard: Option<Shard>,
}

impl OfShard {
    /// The id, or a random one that the box is for. Fails for an id whose user the proxy would look for elsewhere.
    fn id_or_random(&self, id: Option<UserId>) -> Result<UserId, Failure> {
        let is_here = |id: &UserId| self.shard.as_ref().is_none_or(|shard| shard.has(id));
        let random = || UserId::from_bytes(*Uuid::new_v4().as_bytes());
        match id {
            Some(id) if is_here(&id) => Ok(id),
            Some(id) => Err(Failure::failed(format!(
                "another box is for {}: this one is for others (--shard)",
                id.short()
            ))),
            None => match &self.shard {
                None => Ok(random()),
                Some(shard) => Ok(shard.bring_in(random())),
            },
        }
    }
}

/// One line of the list.
#[derive(Default, Serialize)]
struct UserLine {
    user: String,
    name: Option<String>,
    head: Option<String>,
    seq: Option<u64>,
    files: u64,
    bytes: u64,
    pending: u64,
    last_write: Option<String>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl UsersCommand {
    /// Lists or changes the users. Fails where the store refuses.
    pub fn run(&self) -> Result<(), Failure> {
        match &self.command {
            None => self.list(),
            Some(change) => self.change(change),
        }
    }

    fn change(&self, change: &UserChange) -> Result<(), Failure> {
        let path = &self.data.path;
        let failed = |error: store::Error| not_usable(path, &error);
        let (options, grouping) = (Options::default(), Grouping::Off);
        let opened = || open(path, Options::default(), Grouping::Off);
        // Standard input is read, and what is malformed refused, before anything is opened or made.
        let done = match change {
            UserChange::Add {
                user,
                name,
                init,
                of,
            } => {
                let id = of.id_or_random(user.as_deref().map(new_id).transpose()?)?;
                let (store, _) = match init {
                    true => open_or_make(path, options, grouping, say_on_stderr),
                    false => open_made_before(path, options, grouping, INIT),
                }?;
                add(&store, id, name.as_ref())
            }
            UserChange::Rm { user, yes } => {
                let whom = Whom::read(user)?;
                let store = opened()?;
                remove(&store, &whom.find(&store, Care::Utmost, failed)?, *yes)
            }
            UserChange::Mv { old, new, of } => {
                let (whom, new) = (Whom::read(old)?, of.id_or_random(Some(new_id(new)?))?);
                let store = opened()?;
                rename(&store, &whom.find(&store, Care::Utmost, failed)?, &new)
            }
            UserChange::Name { user, name, .. } => {
                let whom = Whom::read(user)?;
                let store = opened()?;
                let user = whom.find(&store, Care::Usual, failed)?;
                self::name(&store, &user, name.as_ref())
            }
            UserChange::Freeze { user } => {
                let whom = Whom::read(user)?;
                let store = opened()?;
                freeze(&store, &whom.find(&store, Care::Utmost, failed)?)
            }
            UserChange::Thaw { user, force } => {
                let whom = Whom::read(user)?;
                let store = opened()?;
                thaw(&store, &whom.find(&store, Care::Utmost, failed)?, *force)
            }
            UserChange::Send { user, destination } => {
                let whom = Whom::read(user)?;
                let store = opened()?;
                send(
                    &store,
                    path,
                    &whom.find(&store, Care::Utmost, failed)?,
                    destination,
                )
            }
        };
        done.map_err(failed)?
    }

    /// Lists all of them, each as soon as it is known; one who cannot be read is told of on stderr, and fails the
    /// command. A mere look: nothing is made or synced.
    fn list(&self) -> Result<(), Failure> {
        let path = &self.data.path;
        let disk = Real::new(path, Grouping::Off).map_err(|e| in_the_way(path, "open", &e))?;
        let look = || {
            let store = Store::to_read(Arc::new(disk))?;
            let names = store.names_of_users()?;
            let mut users = [names.folders, names.others].concat();
            users.sort_unstable();
            Ok((store, users))
        };
        let (store, users) = look().map_err(|error| not_usable(path, &error))?;
        let mut unreadable = 0;
        let listed = print(|out| {
            if !self.json {
                out.write_all(row(HEADINGS).as_bytes())?;
            }
            for user in users {
                // What is there so far is seen while the next one is counted.
                out.flush()?;
                let user = store.user(user);
                match line(&user) {
                    Ok(Some(line)) if self.json => json_line(out, &line)?,
                    Ok(Some(line)) => out.write_all(line.row().as_bytes())?,
                    // Deleted or renamed since it was listed.
                    Ok(None) => {}
                    Err(error) => {
                        let Failure { words, .. } = not_usable(path, &error);
                        eprintln!("mentat-sync: user {}: {words}", user.id());
                        unreadable += 1;
                        if self.json {
                            json_line(out, &damaged_line(&user, words))?;
                        }
                    }
                }
            }
            Ok(())
        });
        listed?;
        match unreadable {
            0 => Ok(()),
            count => Err(Failure::failed(format!(
                "{count} of the users cannot be read"
            ))),
        }
    }
}

/// The columns, which are as wide as what nearly every user has: the rows after a row are not known when it is
/// printed.
const HEADINGS: [&str; 8] = [
    "USER",
    "HEAD",
    "SEQ",
    "FILES",
    "BYTES",
    "PENDING",
    "LAST-WRITE",
    "NAME",
];

fn row([user, head, seq, files, bytes, pending, last, name]: [&str; 8]) -> String {
    let row = format!(
        "{user:<36}  {head:<36}  {seq:>9}  {files:>9}  {bytes:>14}  {pending:>7}  {last:<20}  {name}"
    );
    format!("{}\n", row.trim_end())
}

impl UserLine {
    fn row(&self) -> String {
        let seq = self.seq.unwrap_or_default();
        let numbers = [seq, self.files, self.bytes, self.pending];
        let [seq, files, bytes, pending] = numbers.map(|number| number.to_string());
        let [head, last, name] =
            [&self.head, &self.last_write, &self.name].map(|text| text.as_deref().unwrap_or(""));
        row([&self.user, head, &seq, &files, &bytes, &pending, last, name])
    }
}

/// The line about a user; `None` for one who has no folder any more.
fn line(user: &User) -> store::Result<Option<UserLine>> {
    let frozen = user.frozen()?;
    let state = match &frozen {
        FrozenFile::Absent => "serving",
        FrozenFile::Holds(frozen) => frozen.as_str(),
        FrozenFile::Damaged(why) => {
            return match user.has_folder()? {
                true => Ok(Some(damaged_line(user, format!("frozen: {why}")))),
                false => Ok(None),
            };
        }
    };
    if let FrozenFile::Holds(Frozen::Gone | Frozen::Incoming) = frozen {
        // Its HEAD is elsewhere, or may be another one when it has come.
        return Ok(Some(UserLine {
            state,
            why: None,
            ..damaged_line(user, String::new())
        }));
    }
    let looked = user.glance_at_head().and_then(|head| {
        let usage = head.map(|_| user.usage()).transpose()?;
        Ok(head.zip(usage))
    });
    let (head, usage) = match looked {
        Ok(Some(both)) => both,
        Ok(None) => return Ok(None),
        Err(_) if !user.has_folder()? => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(UserLine {
        user: user.id().to_string(),
        name: name_of(user),
        head: Some(head.id.to_string()),
        seq: Some(head.seq),
        files: usage.files,
        bytes: usage.bytes,
        pending: usage.pending,
        last_write: usage.last_write.map(date),
        state,
        why: None,
    }))
}

/// The line about a user of whom requests are answered 500, as far as there is something to tell.
fn damaged_line(user: &User, why: String) -> UserLine {
    let usage = user.usage().unwrap_or_default();
    UserLine {
        user: user.id().to_string(),
        name: name_of(user),
        files: usage.files,
        bytes: usage.bytes,
        pending: usage.pending,
        last_write: usage.last_write.map(date),
        state: "damaged",
        why: Some(why),
        ..UserLine::default()
    }
}

/// The user's name, if one can be read.
fn name_of(user: &User) -> Option<String> {
    match user.name() {
        Ok(NameFile::Holds(name)) => Some(name.to_string()),
        _ => None,
    }
}
