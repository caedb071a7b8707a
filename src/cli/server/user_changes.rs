//! The changes that `mentat-sync users` makes: users added, removed, moved and named.

use std::io::{self, BufRead, IsTerminal, Write};

use bytesize::ByteSize;

use crate::cli::failure::Failure;
use crate::cli::output::{counted, date, print};
use crate::cli::whom::no_such_user;
use crate::model::{UserId, UserName};
use crate::store::{self, Frozen, FrozenFile, NameFile, Naming, RenameUser, Store, User};

/// The outcome of a change: the inner failure is a refusal in words, the outer one the store's.
pub type Changed = store::Result<Result<(), Failure>>;

/// Adds a user, and prints the id.
pub fn add(store: &Store, user: UserId, name: Option<&UserName>) -> Changed {
    let added = match name {
        None => store.user(user).add()?,
        Some(name) => {
            let naming = store.naming()?;
            if let Some(taken) = taken(&naming, name, &user)? {
                return Ok(Err(taken));
            }
            let added = store.user(user).add_named(&naming, name)?;
            if !added && let Some(lock) = store.user(user).exclusive_blocking()? {
                lock.set_name(&naming, Some(name))?;
            }
            added
        }
    };
    if !added {
        eprintln!("mentat-sync: that user is here already");
    }
    Ok(print(|out| writeln!(out, "{user}")))
}

/// Gives a user a name, or takes it away.
pub fn name(store: &Store, user: &UserId, name: Option<&UserName>) -> Changed {
    let naming = store.naming()?;
    if let Some(name) = name
        && let Some(taken) = taken(&naming, name, user)?
    {
        return Ok(Err(taken));
    }
    let Some(lock) = store.user(*user).exclusive_blocking()? else {
        return Ok(Err(no_such_user(user)));
    };
    lock.set_name(&naming, name)?;
    Ok(Ok(()))
}

fn taken(naming: &Naming, name: &UserName, user: &UserId) -> store::Result<Option<Failure>> {
    let holder = naming.holder(name, user)?;
    Ok(holder.map(|other| {
        let other = other.short();
        Failure::failed(format!("another user is called {name} already: {other}"))
    }))
}

/// Removes a user, once a person at a terminal has seen what goes and agreed; says what went.
pub fn remove(store: &Store, user: &UserId, agreed: bool) -> Changed {
    if !store.user(*user).has_folder()? {
        return Ok(Err(no_such_user(user)));
    }
    let what = about(&store.user(*user));
    if !agreed && io::stdin().is_terminal() {
        match asks(&what) {
            Ok(true) => {}
            Ok(false) => return Ok(Err(Failure::failed("nothing was removed"))),
            Err(error) => {
                let words = format!("cannot ask, so nothing was removed: {error}");
                return Ok(Err(Failure::failed(words)));
            }
        }
    }
    let theirs = store.user(*user).though_frozen();
    let Some(lock) = theirs.exclusive_blocking()? else {
        return Ok(Err(no_such_user(user)));
    };
    if lock.frozen()? == FrozenFile::Holds(Frozen::Incoming) {
        return Ok(Err(Failure::failed(format!(
            "user {} is on the way here, and is not removed: `users send` again, where it comes from, goes on with that; \
             where that is not to be, `users thaw --force` first",
            user.short()
        ))));
    }
    lock.delete()?;
    Ok(print(|out| writeln!(out, "removed {what}")))
}

/// Asks on the terminal; anything but a yes is none.
fn asks(what: &str) -> io::Result<bool> {
    let mut out = io::stderr();
    write!(
        out,
        "{what}\nThis removes the user and all of that. There is no way back. Remove it? [y/N] "
    )?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    let answer = answer.trim().to_lowercase();
    Ok(matches!(answer.as_str(), "y" | "yes"))
}

/// The words for all that a user has, as far as it can be read; the id by its first digits.
fn about(user: &User) -> String {
    let mut words = format!("user {}", user.id().short());
    if let Ok(NameFile::Holds(name)) = user.name() {
        words += &format!(" ({name})");
    }
    words += &match user.glance_at_head() {
        Ok(head) => format!(
            ": {}",
            counted((head.map_or(0, |head| head.seq), "transaction"))
        ),
        Err(_) => ": HEAD leads nowhere, or cannot be read".to_owned(),
    };
    match user.usage() {
        Ok(usage) => {
            if usage.pending > 0 {
                words += &format!(", {} pending", usage.pending);
            }
            words += &format!(
                ", {} in {}",
                ByteSize(usage.bytes),
                counted((usage.files, "file"))
            );
            if let Some(time) = usage.last_write {
                words += &format!(", last written to {}", date(time));
            }
        }
        Err(_) => words += ", not all of which can be read",
    }
    words
}

/// Gives a user another id.
pub fn rename(store: &Store, old: &UserId, new: &UserId) -> Changed {
    let Some(lock) = store.user(*old).exclusive_blocking()? else {
        return Ok(Err(no_such_user(old)));
    };
    Ok(match lock.rename(new)? {
        RenameUser::Renamed => Ok(()),
        RenameUser::NoSuchUser => Err(no_such_user(old)),
        RenameUser::Taken => Err(Failure::failed(format!("there is a user {new} already"))),
    })
}
