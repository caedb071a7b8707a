//! Users frozen, thawed, and sent to another box.

use std::ffi::OsStr;
use std::path::Path;

use super::backup::whole;
use super::user_changes::Changed;
use crate::cli::failure::Failure;
use crate::cli::open::{in_the_way, private};
use crate::cli::output::print;
use crate::cli::progress::FileBar;
use crate::cli::whom::no_such_user;
use crate::disk::{Grouping, Real};
use crate::model::UserId;
use crate::store::{FreezeUser, Frozen, FrozenFile, Store, ThawUser};
use crate::upkeep;
use crate::upkeep::backup::{self, Destination};
use crate::upkeep::send::SendError;

/// Freezes a user, and says so; one who is frozen already stays as it is.
pub fn freeze(store: &Store, user: &UserId) -> Changed {
    let short = user.short();
    let theirs = store.user(*user).though_frozen();
    let Some(lock) = theirs.exclusive_blocking()? else {
        return Ok(Err(no_such_user(user)));
    };
    let said = match lock.freeze()? {
        FreezeUser::Frozen => format!("user {short} is frozen, until `mentat-sync users thaw`"),
        FreezeUser::Already(FrozenFile::Holds(Frozen::Frozen)) => {
            format!("user {short} is frozen already")
        }
        FreezeUser::Already(file) => {
            return Ok(Err(Failure::failed(format!(
                "user {short} is not served from here: {}",
                words_of(&file)
            ))));
        }
    };
    Ok(print(|out| writeln!(out, "{said}")))
}

/// Thaws a user, and says so.
pub fn thaw(store: &Store, user: &UserId, force: bool) -> Changed {
    let short = user.short();
    let theirs = store.user(*user).though_frozen();
    let Some(lock) = theirs.exclusive_blocking()? else {
        return Ok(Err(no_such_user(user)));
    };
    let before = lock.frozen()?;
    let said = match lock.thaw(force)? {
        ThawUser::Thawed => format!("user {short} is served from here"),
        ThawUser::NotFrozen => format!("user {short} is not frozen"),
        ThawUser::Refused(file) => {
            let (words, risk) = (words_of(&file), risk_of(&file));
            return Ok(Err(Failure::failed(format!(
                "user {short} stays as it is: {words}\n  --force thaws all the same: {risk}"
            ))));
        }
        ThawUser::Empty => {
            return Ok(Err(Failure::failed(format!(
                "user {short} has no HEAD here, so that nothing can be served: {}",
                words_of(&before)
            ))));
        }
    };
    if let FrozenFile::Holds(Frozen::Gone | Frozen::Incoming) = before {
        eprintln!("mentat-sync: {}", risk_of(&before));
    }
    Ok(print(|out| writeln!(out, "{said}")))
}

/// Sends a user to another data directory, and says what is to be done there.
pub fn send(store: &Store, data: &Path, user: &UserId, destination: &OsStr) -> Changed {
    private();
    let to = match Destination::parse(destination)
        .map_err(Failure::usage)
        .and_then(whole)
    {
        Ok(to) => to,
        Err(failure) => return Ok(Err(failure)),
    };
    let disk = match Real::new(data, Grouping::Off) {
        Ok(disk) => disk,
        Err(error) => return Ok(Err(in_the_way(data, "open", &error))),
    };
    let progress = FileBar::of(None);
    let sent = upkeep::send::send(store, &disk, user, &to, &|bytes| progress.step(bytes));
    progress.end();
    let shown = destination.to_string_lossy();
    let sent = match sent {
        Ok(sent) => sent,
        Err(SendError::NoSuchUser) => return Ok(Err(no_such_user(user))),
        Err(SendError::Store(error)) => return Err(error),
        Err(SendError::There(backup::Error::Lacking(words))) => {
            return Ok(Err(Failure::could_not_check(words)));
        }
        Err(SendError::There(error @ (backup::Error::Inside(_) | backup::Error::Around(_)))) => {
            return Ok(Err(Failure::usage(
                error.to_string().replace("DEST", &shown),
            )));
        }
        Err(error) => {
            let words = match error {
                SendError::There(backup::Error::Refused(why)) => {
                    format!("{shown} does not take it: {why}")
                }
                SendError::There(backup::Error::Taken) => {
                    format!("another send of it to {shown} is under way")
                }
                other => other.to_string().replace("DEST", &shown),
            };
            return Ok(Err(Failure::failed(format!(
                "user {}: {words}",
                user.short()
            ))));
        }
    };
    if sent.is_nameless {
        eprintln!(
            "mentat-sync: another user there has its name, so that it has none: `users name` gives one"
        );
    }
    Ok(print(|out| {
        let (short, directory) = (user.short(), directory_of(&to));
        match sent.frozen {
            Some(time) => writeln!(
                out,
                "user {short} is ready in {shown}, and gone here; nobody served it for {:.1} s",
                time.as_secs_f64()
            )?,
            None => writeln!(out, "user {short} is ready in {shown}, and gone here")?,
        }
        writeln!(
            out,
            "next, there: mentat-sync fsck --data {directory} --user {short}"
        )?;
        writeln!(
            out,
            "             mentat-sync users thaw {short} --data {directory}"
        )?;
        writeln!(
            out,
            "and the map of the proxy has a line for {short}, before its digits, that leads to that box"
        )
    }))
}

fn directory_of(to: &Destination) -> String {
    match to {
        Destination::Here(path) => path.display().to_string(),
        Destination::There { directory, .. } => directory.clone(),
    }
}

/// The words for why a user is not served.
fn words_of(file: &FrozenFile) -> String {
    match file {
        FrozenFile::Absent => "it is served".to_owned(),
        FrozenFile::Holds(Frozen::Frozen) => "it is frozen".to_owned(),
        FrozenFile::Holds(Frozen::Gone) => {
            "it was sent to another box, and is to be thawed there".to_owned()
        }
        FrozenFile::Holds(Frozen::Incoming) => {
            "it is on its way here; the same `users send` again, where it comes from, goes on with that".to_owned()
        }
        FrozenFile::Holds(Frozen::Ready) => {
            "it came from another box; `mentat-sync fsck --user`, and then `users thaw`".to_owned()
        }
        FrozenFile::Damaged(why) => format!("the file `frozen` cannot be read: {why}"),
    }
}

/// The words for what a thaw by force may do.
fn risk_of(file: &FrozenFile) -> &'static str {
    match file {
        FrozenFile::Holds(Frozen::Incoming) => {
            "not all of it may be here, and where it comes from it is served as well, or will be: what is then written here \
             and there never comes together again"
        }
        _ => {
            "the other box serves it as well, or will: what is then written here and there never comes together again, and \
             what was written there since is not here"
        }
    }
}
