//! A user who is frozen, and thawed.

use mentat_sync::model::TransactionId;
use mentat_sync::store::{Error, Exclusive, FreezeUser, Result, Store, ThawUser};

use super::answers::Book;
use super::cast::{folder, user};
use simulated_disk::World;

/// What was said of whether the user is frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ice {
    /// It may be or not: somebody is at it.
    #[default]
    Unknown,
    /// It is, with HEAD there.
    Frozen(TransactionId),
    Thawed,
}

fn locked(store: &Store) -> Result<Exclusive> {
    let user = store.user(user()).though_frozen();
    user.exclusive_blocking()?.ok_or(Error::UserGone)
}

/// `mentat-sync users freeze`.
pub fn freeze(store: &Store, book: &Book) -> Result<()> {
    let lock = locked(store)?;
    let before = std::mem::take(&mut book.open().ice);
    let head = lock.head()?.id;
    if let (FreezeUser::Already(_), Ice::Thawed) = (lock.freeze()?, before) {
        book.wrong("the user is frozen, and was said to be thawed");
    }
    book.open().ice = Ice::Frozen(head);
    Ok(())
}

/// `mentat-sync users thaw`.
pub fn thaw(store: &Store, book: &Book) -> Result<()> {
    let lock = locked(store)?;
    let before = std::mem::take(&mut book.open().ice);
    if let Ice::Frozen(head) = before {
        let now = lock.head()?.id;
        if now != head {
            book.wrong(format!(
                "HEAD moved from {head} to {now} while the user was frozen"
            ));
        }
    }
    if let (ThawUser::NotFrozen, Ice::Frozen(_)) = (lock.thaw(false)?, before) {
        book.wrong("the user is thawed, and was said to be frozen");
    }
    book.open().ice = Ice::Thawed;
    Ok(())
}

/// Whether the files are as it was said.
pub fn judge(world: &World, ice: Ice, head: TransactionId) -> std::result::Result<(), String> {
    let is_frozen = world.at(&folder().join("frozen")).is_ok();
    match ice {
        Ice::Frozen(_) if !is_frozen => {
            Err("the user is thawed, and was said to be frozen".to_owned())
        }
        Ice::Frozen(was) if was != head => {
            Err(format!("HEAD is {head}, and was {was} when the user froze"))
        }
        Ice::Thawed if is_frozen => Err("the user is frozen, and was said to be thawed".to_owned()),
        _ => Ok(()),
    }
}
