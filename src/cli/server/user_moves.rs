//! Users frozen and thawed.

use super::user_changes::Changed;
use crate::cli::failure::Failure;
use crate::cli::output::print;
use crate::cli::whom::no_such_user;
use crate::model::UserId;
use crate::store::{self, FreezeUser, Frozen, FrozenFile, Store, ThawUser};

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
