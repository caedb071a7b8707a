//! What clients do who add to the chain one chunk at a time, and read it so.

use mentat_sync::model::TransactionId;
use mentat_sync::store::{Append, Child, Result, Store};

use super::acts::{exclusive, judge_advanced, judge_head, promise, read_all, undisturbed};
use super::answers::{Answers, Book, Fact};
use super::cast::{self, Content, user};

/// The transaction of no chunks that is made where an empty chain is to begin with this one's parent.
pub fn made_for(name: Content) -> Option<Content> {
    let known = cast::known(name);
    let empty = |other: &&cast::Known| other.id == known.parent && other.chunks.is_empty();
    cast::all().iter().find(empty).map(|other| other.name)
}

pub fn append(store: &Store, book: &Book, before: &Answers, name: Content) -> Result<()> {
    let known = cast::known(name);
    let [chunk] = known.chunks else {
        panic!("{name} is not of one chunk")
    };
    let user = store.user(user());
    let (first, second) = cast::chunk_bytes(chunk).split_at(3);
    let mut staged = user.stage()?;
    staged.write(first)?;
    staged.write(second)?;
    let appended = match user.addition(known.parent, known.id, staged)? {
        Ok(addition) => exclusive(store)?.append(addition, true)?,
        Err(head) => Append::Refused(head),
    };
    match appended {
        Append::Appended(head) => {
            judge_advanced(book, before, name, head);
            promise(book, before, Fact::Transaction(name));
            promise(book, before, Fact::Chunk(chunk));
        }
        Append::Refused(head) => {
            judge_head(book, before, head.id, "a refused addition");
            let offered = book.open().offered.clone();
            let is_offered = |other: &Content| cast::id(other) == known.parent;
            let may_be_pending = head.id == TransactionId::ROOT && offered.iter().any(is_offered);
            if head.id == known.parent && !may_be_pending && undisturbed(book, before) {
                book.wrong(format!("{name} is refused, and HEAD is its parent"));
            }
            if head.id == TransactionId::ROOT && !may_be_pending && undisturbed(book, before) {
                book.wrong(format!("{name} is refused, and the chain is empty"));
            }
        }
        Append::LogIsWrong(_) => book.wrong("an addition wants a log that it may rebuild"),
    }
    Ok(())
}

pub fn children(store: &Store, book: &Book, before: &Answers) -> Result<()> {
    let user = store.user(user());
    let mut here = TransactionId::ROOT;
    loop {
        match user.mending_log(|| user.child(here))? {
            Child::Chunk(id, content) => {
                let bytes = read_all(&content)?;
                let is_it = |known: &&cast::Known| {
                    (known.id, known.parent, known.chunks.len()) == (id, here, 1)
                        && cast::chunk_bytes(known.chunks[0]) == bytes
                };
                if !cast::all().iter().any(|known| is_it(&known)) {
                    book.wrong(format!("{id} is said to follow {here}"));
                    return Ok(());
                }
                here = id;
            }
            Child::NotYet => {
                judge_head(book, before, here, "the end of all children");
                return Ok(());
            }
            Child::Gone => {
                let other = |known: &cast::Known| known.parent == here && known.chunks.len() != 1;
                if !cast::all().iter().any(other) && undisturbed(book, before) {
                    book.wrong(format!("what follows {here} is said to be gone"));
                }
                return Ok(());
            }
        }
    }
}
