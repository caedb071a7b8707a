//! Users frozen, thawed, and sent to another box.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::SignalKind;

use super::backup::whole;
use super::signalled::Signalled;
use super::user_changes::Changed;
use crate::cli::failure::Failure;
use crate::cli::open::{in_the_way, private};
use crate::cli::output::print;
use crate::cli::progress::FileBar;
use crate::cli::whom::{first_digits, no_such_user};
use crate::disk::{Grouping, Real};
use crate::model::UserId;
use crate::store::{FreezeUser, Frozen, FrozenFile, Store, ThawUser};
use crate::upkeep;
use crate::upkeep::backup::{self, Destination};
use crate::upkeep::send::{SendError, SentUser, StopSend};

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

/// Sends a user to another data directory, and says what is to be done there; where it fails, what the user is here now. SIGINT,
/// SIGTERM and SIGHUP have it stop where the user is not gone here yet.
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
    let stop = Arc::new(StopSend::default());
    let signals = match Signalled::stops(stop.clone()) {
        Ok(signals) => signals,
        Err(error) => {
            let words = format!("cannot listen for signals: {error}");
            return Ok(Err(Failure::failed(words)));
        }
    };
    let progress = FileBar::of(None);
    let copied = |bytes| progress.step(bytes);
    let sent = upkeep::send::send(store, &disk, user, &to, &copied, &stop);
    progress.end();
    match sent {
        Ok(sent) => Ok(said(store, user, &to, destination, &sent)?),
        Err(SendError::NoSuchUser) => Ok(Err(no_such_user(user))),
        Err(error) => {
            let signal = signals.first().filter(|_| stop.is_asked());
            let shown = destination.to_string_lossy();
            Ok(Err(unsent(store, user, &shown, error, signal)))
        }
    }
}

/// Prints that a user was sent, and the commands that come next.
fn said(
    store: &Store,
    user: &UserId,
    to: &Destination,
    destination: &OsStr,
    sent: &SentUser,
) -> Changed {
    let users = store.names_of_users()?.folders;
    let (digits, directory) = (first_digits(user, &users), directory_of(to));
    let short = user.short().to_string();
    let shown = destination.to_string_lossy();
    if sent.is_nameless {
        eprintln!(
            "mentat-sync: another user there has its name, so that it has none: `users name` gives one"
        );
    }
    Ok(print(|out| {
        match sent.frozen {
            Some(time) => writeln!(
                out,
                "user {digits} is ready in {shown}, and gone here; nobody served it for {:.1} s",
                time.as_secs_f64()
            )?,
            None => writeln!(out, "user {digits} is ready in {shown}, and gone here")?,
        }
        writeln!(
            out,
            "next, there: mentat-sync fsck --data {directory} --user {digits}"
        )?;
        writeln!(
            out,
            "             mentat-sync users thaw {digits} --data {directory}"
        )?;
        writeln!(
            out,
            "and the map of the proxy has a line for {short}, before its digits, that leads to that box"
        )?;
        if digits != short {
            writeln!(
                out,
                "(another user here begins with {short}: a map that knows 8 digits leads both there, so send both)"
            )?;
        }
        Ok(())
    }))
}

/// The failure of a send, with what the user is here now and what goes on from there.
fn unsent(
    store: &Store,
    user: &UserId,
    shown: &str,
    error: SendError,
    signal: Option<SignalKind>,
) -> Failure {
    let why = match error {
        SendError::There(backup::Error::Lacking(words)) => return Failure::could_not_check(words),
        SendError::There(error @ (backup::Error::Inside(_) | backup::Error::Around(_))) => {
            return Failure::usage(error.to_string().replace("DEST", shown));
        }
        SendError::There(backup::Error::Refused(why)) => {
            format!("{shown} does not take it: {why}")
        }
        SendError::There(backup::Error::Taken) => {
            format!("another send of it to {shown} is under way")
        }
        other => other.to_string().replace("DEST", shown),
    };
    let short = user.short();
    let now = match store.user(*user).frozen() {
        Ok(FrozenFile::Absent) => "it is served here".to_owned(),
        Ok(FrozenFile::Holds(Frozen::Frozen)) => format!(
            "it is frozen here: the same command again goes on, and `mentat-sync users thaw {short}` has it served here again"
        ),
        Ok(FrozenFile::Holds(Frozen::Gone)) => {
            format!(
                "it is gone here: the same command again ends what was begun, and {shown} alone can have it served"
            )
        }
        Ok(file) => words_of(&file),
        Err(error) => format!("what it is here cannot be told: {error}"),
    };
    // Paths that rsync names have the whole id, which is a secret.
    let why = why.replace(&user.to_string(), &short.to_string());
    let failure = Failure::failed(format!("user {short}: {why}\n  {now}"));
    match signal {
        None => failure,
        // As a shell says it of whoever a signal ended.
        Some(signal) => Failure {
            status: 128 + signal.as_raw_value() as u8,
            words: format!("user {short}: stopped\n  {now}"),
        },
    }
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
