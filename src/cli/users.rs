//! `mentat-sync users`: who is here. Works beside a running server.

use clap::{Args, Subcommand};
use serde::Serialize;
use uuid::Uuid;

use super::Failure;
use super::arguments::{DataDirectory, is_set};
use super::open::{not_usable, open, open_or_make};
use super::output::{Table, json_line, print};
use crate::disk::{Grouping, Mode};
use crate::model::UserId;
use crate::store::{self, Options, RenameUser, Store, Usage};

/// List the users, each with its head, sequence number, files, bytes and pending transactions; or
/// add, remove and rename them. Works beside a running server.
#[derive(Args)]
pub struct Users {
    #[command(flatten)]
    data: DataDirectory,
    /// Print one JSON object a line.
    #[arg(long, env = "MENTAT_SYNC_JSON", value_parser = is_set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", default_value = "false",
          hide_default_value = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Make a folder for a user, and print the id. Needed with `serve --new-users deny`.
    Add {
        /// The id; a random one if there is none.
        user: Option<UserId>,
    },
    /// Remove a user and all that is theirs. There is no way back.
    Rm { user: UserId },
    /// Give a user another id: a new secret for the same store.
    Mv { old: UserId, new: UserId },
}

/// One line of the list.
#[derive(Serialize)]
struct Line {
    user: String,
    head: String,
    seq: u64,
    files: u64,
    bytes: u64,
    pending: u64,
}

impl Users {
    pub fn run(&self) -> Result<(), Failure> {
        let path = &self.data.path;
        let store = match self.command {
            Some(Command::Add { .. }) => open_or_make(path, Options::default(), Grouping::Off),
            _ => open(path, Options::default(), Grouping::Off),
        }?;
        let done = match &self.command {
            None => return self.list(&store),
            Some(Command::Add { user }) => add(&store, *user),
            Some(Command::Rm { user }) => remove(&store, user),
            Some(Command::Mv { old, new }) => rename(&store, old, new),
        };
        done.map_err(|error| not_usable(path, &error))?
    }

    /// Lists all of them; one who cannot be read is told of on stderr, and fails the command.
    fn list(&self, store: &Store) -> Result<(), Failure> {
        let path = &self.data.path;
        let users = store.users().map_err(|error| not_usable(path, &error))?;
        let mut lines = Vec::new();
        let mut unreadable = 0;
        for user in users {
            match line(store, &user) {
                Ok(line) => lines.push(line),
                Err(error) => {
                    let Failure { words, .. } = not_usable(path, &error);
                    eprintln!("mentat-sync: user {user}: {words}");
                    unreadable += 1;
                }
            }
        }
        print(|out| {
            if self.json {
                return lines.iter().try_for_each(|line| json_line(out, line));
            }
            let headings = ["USER", "HEAD", "SEQ", "FILES", "BYTES", "PENDING"];
            let mut table = Table::new(headings, 2);
            for line in &lines {
                let numbers = [line.seq, line.files, line.bytes, line.pending];
                let [seq, files, bytes, pending] = numbers.map(|number| number.to_string());
                table.row([
                    line.user.clone(),
                    line.head.clone(),
                    seq,
                    files,
                    bytes,
                    pending,
                ]);
            }
            table.write(out)
        })?;
        match unreadable {
            0 => Ok(()),
            count => Err(Failure::failed(format!(
                "{count} of the users cannot be read"
            ))),
        }
    }
}

fn line(store: &Store, user: &UserId) -> store::Result<Line> {
    let head = store.head(user)?;
    let Usage {
        files,
        bytes,
        pending,
    } = store.usage(user)?;
    Ok(Line {
        user: user.to_string(),
        head: head.id.to_string(),
        seq: head.seq,
        files,
        bytes,
        pending,
    })
}

fn add(store: &Store, user: Option<UserId>) -> store::Result<Result<(), Failure>> {
    let user = user.unwrap_or_else(|| UserId::from_bytes(*Uuid::new_v4().as_bytes()));
    if !store.add_user(&user)? {
        eprintln!("mentat-sync: that user is here already");
    }
    Ok(print(|out| writeln!(out, "{user}")))
}

fn remove(store: &Store, user: &UserId) -> store::Result<Result<(), Failure>> {
    let Some(lock) = store.lock_blocking(user, Mode::Exclusive)? else {
        return Ok(Err(no_such_user(user)));
    };
    store.delete_user(lock)?;
    Ok(Ok(()))
}

fn rename(store: &Store, old: &UserId, new: &UserId) -> store::Result<Result<(), Failure>> {
    let Some(lock) = store.lock_blocking(old, Mode::Exclusive)? else {
        return Ok(Err(no_such_user(old)));
    };
    Ok(match store.rename_user(lock, new)? {
        RenameUser::Renamed => Ok(()),
        RenameUser::NoSuchUser => Err(no_such_user(old)),
        RenameUser::Taken => Err(Failure::failed(format!("there is a user {new} already"))),
    })
}

/// The user that was asked for has no folder.
pub fn no_such_user(user: &UserId) -> Failure {
    Failure::failed(format!("there is no user {user}"))
}
