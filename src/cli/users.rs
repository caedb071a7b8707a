//! `mentat-sync users`: who is here. Works beside a running server.

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;
use uuid::Uuid;

use super::arguments::{DataDirectory, is_set};
use super::failure::Failure;
use super::open::{in_the_way, not_usable, open_made_before, open_or_make};
use super::output::{json_line, print};
use crate::disk::{Grouping, Real};
use crate::model::UserId;
use crate::store::{self, Options, RenameUser, Store, User};

/// The hint for `users add` where there is no store.
const INIT: &str = "--init makes a store first";

/// List the users, each with its head, sequence number, files, bytes and pending transactions; or
/// add, remove and rename them. Works beside a running server.
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
        /// The id; a random one if there is none.
        user: Option<UserId>,
        /// Make a store first, where the data directory is not there or empty. It belongs to the directory's owner.
        #[arg(long, env = "MENTAT_SYNC_INIT", value_parser = is_set, num_args = 0..=1,
              require_equals = true, default_missing_value = "true", default_value = "false",
              hide_default_value = true)]
        init: bool,
    },
    /// Remove a user and all that is theirs. There is no way back.
    Rm { user: UserId },
    /// Give a user another id: a new secret for the same store.
    Mv { old: UserId, new: UserId },
}

/// One line of the list.
#[derive(Serialize)]
struct UserLine {
    user: String,
    head: String,
    seq: u64,
    files: u64,
    bytes: u64,
    pending: u64,
}

impl UsersCommand {
    /// Lists or changes the users. Fails where the store refuses.
    pub fn run(&self) -> Result<(), Failure> {
        let path = &self.data.path;
        let Some(command) = &self.command else {
            return self.list();
        };
        let (options, grouping) = (Options::default(), Grouping::Off);
        let (store, _) = match command {
            UserChange::Add { init: true, .. } => open_or_make(path, options, grouping),
            UserChange::Add { .. } => open_made_before(path, options, grouping, INIT),
            _ => open_made_before(path, options, grouping, ""),
        }?;
        let done = match command {
            UserChange::Add { user, .. } => add(&store, *user),
            UserChange::Rm { user } => remove(&store, user),
            UserChange::Mv { old, new } => rename(&store, old, new),
        };
        done.map_err(|error| not_usable(path, &error))?
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
                match line(&store.user(user)) {
                    Ok(Some(line)) if self.json => json_line(out, &line)?,
                    Ok(Some(line)) => out.write_all(line.row().as_bytes())?,
                    // Deleted or renamed since it was listed.
                    Ok(None) => {}
                    Err(error) => {
                        let Failure { words, .. } = not_usable(path, &error);
                        eprintln!("mentat-sync: user {user}: {words}");
                        unreadable += 1;
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
const HEADINGS: [&str; 6] = ["USER", "HEAD", "SEQ", "FILES", "BYTES", "PENDING"];

fn row([user, head, seq, files, bytes, pending]: [&str; 6]) -> String {
    format!("{user:<36}  {head:<36}  {seq:>9}  {files:>9}  {bytes:>14}  {pending:>7}\n")
}

impl UserLine {
    fn row(&self) -> String {
        let numbers = [self.seq, self.files, self.bytes, self.pending];
        let [seq, files, bytes, pending] = numbers.map(|number| number.to_string());
        row([&self.user, &self.head, &seq, &files, &bytes, &pending])
    }
}

/// The line about a user; `None` for one who has no folder any more.
fn line(user: &User) -> store::Result<Option<UserLine>> {
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
        head: head.id.to_string(),
        seq: head.seq,
        files: usage.files,
        bytes: usage.bytes,
        pending: usage.pending,
    }))
}

fn add(store: &Store, user: Option<UserId>) -> store::Result<Result<(), Failure>> {
    let user = user.unwrap_or_else(|| UserId::from_bytes(*Uuid::new_v4().as_bytes()));
    if !store.user(user).add()? {
        eprintln!("mentat-sync: that user is here already");
    }
    Ok(print(|out| writeln!(out, "{user}")))
}

fn remove(store: &Store, user: &UserId) -> store::Result<Result<(), Failure>> {
    let Some(lock) = store.user(*user).exclusive_blocking()? else {
        return Ok(Err(no_such_user(user)));
    };
    lock.delete()?;
    Ok(Ok(()))
}

fn rename(store: &Store, old: &UserId, new: &UserId) -> store::Result<Result<(), Failure>> {
    let Some(lock) = store.user(*old).exclusive_blocking()? else {
        return Ok(Err(no_such_user(old)));
    };
    Ok(match lock.rename(new)? {
        RenameUser::Renamed => Ok(()),
        RenameUser::NoSuchUser => Err(no_such_user(old)),
        RenameUser::Taken => Err(Failure::failed(format!("there is a user {new} already"))),
    })
}

/// The user that was asked for has no folder.
pub fn no_such_user(user: &UserId) -> Failure {
    Failure::failed(format!("there is no user {user}"))
}
