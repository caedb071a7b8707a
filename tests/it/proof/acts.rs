//! What clients do, through the store's own API; each answer is judged at once and written down.

use mentat_sync::disk::Mode;
use mentat_sync::model::{Head, TransactionId};
use mentat_sync::store::{
    Advance, AdvanceRefusal, Error, PushBundle, PutChunk, PutTransaction, Result, Store, UserLock,
};

use mentat_sync::upkeep::gc;

use super::answers::{Answers, Book, Fact};
use super::cast::{self, Chunk, Content, user};

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    PutChunk(Chunk),
    PutTransaction(Content),
    Advance(Content),
    GetHead,
    GetListing,
    GetChunk(Chunk),
    GetTransaction(Content),
    /// A bundle of these, with their chunks, and HEAD at the last.
    Push(&'static [Content]),
    /// The same without HEAD.
    Upload(&'static [Content]),
    /// Which of these are missing.
    Ask(&'static [Chunk]),
    Delete,
    /// `mentat-sync gc` on this user.
    Collect,
}

/// Whether a request may be refused for reasons of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Everything works: an error is a wrong answer, unless the user is being deleted.
    Sound,
    /// The disk fails now and then: an error is fine, and promises nothing.
    Failing,
}

impl Act {
    /// Does it, and judges the answer. Gives back the error where there was one.
    pub fn perform(self, store: &Store, book: &Book, world: World) -> Option<Error> {
        let before = self.begin(book);
        let result = match self {
            Act::PutChunk(name) => put_chunk(store, book, &before, name),
            Act::PutTransaction(name) => put_transaction(store, book, &before, name),
            Act::Advance(name) => advance(store, book, &before, name),
            Act::GetHead => get_head(store, book, &before),
            Act::GetListing => get_listing(store, book, &before),
            Act::GetChunk(name) => get_chunk(store, book, &before, name),
            Act::GetTransaction(name) => get_transaction(store, book, &before, name),
            Act::Push(names) => push(store, book, &before, names, true),
            Act::Upload(names) => push(store, book, &before, names, false),
            Act::Ask(names) => ask(store, book, &before, names),
            Act::Delete => delete(store, book),
            Act::Collect => {
                let grace = gc::Options::default();
                gc::collect(store, &user(), &grace, &mut |_| {}).map(drop)
            }
        };
        if let Some(name) = self.aim() {
            let mut answers = book.open();
            let id = cast::id(name);
            if let Some(index) = answers.advancing.iter().position(|other| *other == id) {
                answers.advancing.remove(index);
            }
        }
        let error = result.err()?;
        let caught = matches!(error, Error::UserGone | Error::Busy) && book.open().deletions.0 > 0;
        if world == World::Sound && !caught {
            book.wrong(format!("{self:?} fails: {error}"));
        }
        Some(error)
    }

    /// Where it wants HEAD to go.
    fn aim(self) -> Option<Content> {
        match self {
            Act::Advance(name) => Some(name),
            Act::Push(names) => names.last().copied(),
            _ => None,
        }
    }

    fn begin(self, book: &Book) -> Answers {
        let mut answers = book.open();
        if let Some(name) = self.aim() {
            answers.aims.insert(cast::id(name));
            answers.advancing.push(cast::id(name));
        }
        match self {
            Act::PutTransaction(name) => {
                answers.offered.insert(name);
            }
            Act::Push(names) | Act::Upload(names) => answers.offered.extend(names),
            Act::Delete => {
                answers.deletions.0 += 1;
                answers.facts.clear();
            }
            _ => {}
        }
        answers.clone()
    }
}

/// Writes down what an answer promises, unless a deletion makes it void.
fn promise(book: &Book, before: &Answers, fact: Fact) {
    let mut answers = book.open();
    if !answers.deleting() && answers.deletions == before.deletions {
        answers.facts.insert(fact);
    }
}

fn lock(store: &Store, mode: Mode) -> Result<UserLock> {
    store.lock_blocking(&user(), mode)?.ok_or(Error::UserGone)
}

fn put_chunk(store: &Store, book: &Book, before: &Answers, name: Chunk) -> Result<()> {
    let bytes = cast::chunk_bytes(name);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut staged = store.stage(&user())?;
    staged.write(first)?;
    staged.write(second)?;
    let sealed = store.seal(staged)?;
    let lock = lock(store, Mode::Shared)?;
    match store.put_chunk(lock, sealed, &cast::chunk_id(name))? {
        PutChunk::Stored => promise(book, before, Fact::Chunk(name)),
        other => book.wrong(format!("PUT chunk {name} is answered {other:?}")),
    }
    Ok(())
}

fn put_transaction(store: &Store, book: &Book, before: &Answers, name: Content) -> Result<()> {
    let known = cast::known(name);
    let draft = store.draft(&user(), known.proposal())?;
    let lock = lock(store, Mode::Shared)?;
    let outcome = store.put_transaction(lock, draft)?;
    let twin = |other: &Content| *other != name && cast::id(other) == known.id;
    let fine = match &outcome {
        PutTransaction::Accepted => {
            promise(book, before, Fact::Transaction(name));
            true
        }
        PutTransaction::UnknownParent => {
            let parent = |fact: &Fact| match fact {
                Fact::Transaction(name) => cast::id(name) == known.parent,
                _ => false,
            };
            let there = before.passed(known.parent) || before.facts.iter().any(parent);
            !there || !book.open().may_live(known.parent)
        }
        PutTransaction::MissingChunks(missing) => {
            let there = |chunk| {
                let named = |name: &&Chunk| cast::chunk_id(name) == chunk;
                let name = known.chunks.iter().find(named);
                name.is_none_or(|name| before.has(Fact::Chunk(name)))
            };
            !missing.is_empty() && !missing.iter().any(|chunk| there(*chunk))
        }
        PutTransaction::TransactionExists => book.open().offered.iter().any(twin),
        PutTransaction::WrongSeq { .. } | PutTransaction::TooManyPending { .. } => false,
    };
    if !fine && before.deletions == book.open().deletions && !before.deleting() {
        book.wrong(format!("PUT transaction {name} is answered {outcome:?}"));
    }
    Ok(())
}

fn advance(store: &Store, book: &Book, before: &Answers, name: Content) -> Result<()> {
    let to = cast::id(name);
    let lock = lock(store, Mode::Exclusive)?;
    let (outcome, leftovers) = store.advance(lock, to)?;
    match &outcome {
        Advance::Advanced(head) => judge_advanced(book, before, name, *head),
        Advance::Refused { head, why } => {
            let acknowledged = |fact: &Fact| match fact {
                Fact::Transaction(name) => cast::id(name) == to,
                _ => false,
            };
            let there = before.facts.iter().any(acknowledged);
            judge_refusal(book, before, name, there, *head, why);
        }
    }
    leftovers.clear(store);
    Ok(())
}

fn judge_advanced(book: &Book, before: &Answers, name: Content, head: Head) {
    promise(book, before, Fact::Head(head.id));
    if head.id != cast::id(name) || head.seq != cast::known(name).seq {
        book.wrong(format!("the advance to {name} says HEAD is {head:?}"));
    }
}

/// Whether HEAD may be refused to go there; `there` says that the transaction was acknowledged, or
/// came with the request.
fn judge_refusal(
    book: &Book,
    before: &Answers,
    name: Content,
    there: bool,
    head: Head,
    why: &AdvanceRefusal,
) {
    promise(book, before, Fact::Head(head.id));
    let to = cast::id(name);
    let there = there && !cast::is_on_line(to, head.id);
    let descends = to != head.id && cast::is_on_line(head.id, to);
    let fine = match why {
        AdvanceRefusal::UnknownTransaction => !there || !descends,
        AdvanceRefusal::MissingChunks(_) => !there,
        AdvanceRefusal::NotADescendant => !descends,
        AdvanceRefusal::HasDescendants(some) => {
            let child = |id: &TransactionId| {
                cast::all()
                    .iter()
                    .any(|known| known.id == *id && known.parent == to)
            };
            !some.is_empty() && some.iter().all(child)
        }
    };
    let answers = book.open();
    let undisturbed = before.deletions == answers.deletions && !before.deleting();
    drop(answers);
    if !fine && undisturbed {
        book.wrong(format!("HEAD to {name} is refused: {why:?}"));
    }
}

fn push(
    store: &Store,
    book: &Book,
    before: &Answers,
    names: &[Content],
    with_head: bool,
) -> Result<()> {
    let tar = cast::bundle(names, with_head);
    let (outcome, leftovers) = store.push_bundle(&user(), &mut &tar[..])?;
    let all_is_there = || {
        for name in names {
            promise(book, before, Fact::Transaction(name));
            for chunk in cast::known(name).chunks {
                promise(book, before, Fact::Chunk(chunk));
            }
        }
    };
    let last = names.last().expect("a bundle has a transaction");
    let fine = match &outcome {
        PushBundle::Taken { head, .. } => {
            all_is_there();
            match with_head {
                true => judge_advanced(book, before, last, *head),
                false => promise(book, before, Fact::Head(head.id)),
            }
            true
        }
        PushBundle::Refused { head, why } => {
            all_is_there();
            judge_refusal(book, before, last, true, *head, why);
            with_head
        }
        PushBundle::UnknownParent(id) => {
            let parent = cast::all().iter().find(|known| known.id == *id);
            let parent = parent.map(|known| known.parent);
            let acknowledged = |fact: &Fact| match fact {
                Fact::Transaction(name) => Some(cast::id(name)) == parent,
                _ => false,
            };
            !before.facts.iter().any(acknowledged) && !parent.is_some_and(|id| before.passed(id))
        }
        PushBundle::TransactionExists(id) => {
            let twin = |other: &Content| cast::id(other) == *id && !names.contains(other);
            book.open().offered.iter().any(twin)
        }
        _ => false,
    };
    if !fine && before.deletions == book.open().deletions && !before.deleting() {
        book.wrong(format!("a push of {names:?} is answered {outcome:?}"));
    }
    if let Some(leftovers) = leftovers {
        leftovers.clear(store);
    }
    Ok(())
}

fn ask(store: &Store, book: &Book, before: &Answers, names: &[Chunk]) -> Result<()> {
    let ids: Vec<_> = names.iter().map(|name| cast::chunk_id(name)).collect();
    let lock = store.lock_blocking(&user(), Mode::Shared)?;
    let missing = store.missing(&user(), lock, &ids)?;
    for (name, id) in names.iter().zip(&ids) {
        if !missing.contains(id) {
            promise(book, before, Fact::Chunk(name));
        } else if before.has(Fact::Chunk(name)) && before.deletions == book.open().deletions {
            book.wrong(format!(
                "{name} is said to be missing, and was acknowledged"
            ));
        }
    }
    Ok(())
}

/// HEAD never goes back behind what was answered before a request began.
fn judge_head(book: &Book, before: &Answers, head: TransactionId, what: &str) {
    let behind = |fact: &Fact| match fact {
        Fact::Head(passed) => !cast::is_on_line(*passed, head),
        _ => false,
    };
    if before.facts.iter().any(behind) && before.deletions == book.open().deletions {
        book.wrong(format!(
            "{what} says HEAD is {head}, and it had been further"
        ));
    }
    promise(book, before, Fact::Head(head));
}

fn get_head(store: &Store, book: &Book, before: &Answers) -> Result<()> {
    let head = store.head(&user())?;
    judge_head(book, before, head.id, "GET head");
    Ok(())
}

fn get_listing(store: &Store, book: &Book, before: &Answers) -> Result<()> {
    let Some(mut listing) = store.listing(&user(), TransactionId::ROOT, 1000)? else {
        book.wrong("a listing from the root is refused");
        return Ok(());
    };
    let mut ids = Vec::new();
    while listing.left() > 0 {
        ids.extend(listing.read(2)?);
    }
    let last = ids.last().copied().unwrap_or(TransactionId::ROOT);
    if cast::line(last).as_ref() != Some(&ids) {
        book.wrong(format!("the listing is {ids:?}"));
    }
    judge_head(book, before, last, "the listing");
    Ok(())
}

/// Reads a file from the store to its end.
pub fn read_all(content: &mentat_sync::store::Content) -> Result<Vec<u8>> {
    let mut bytes = vec![0; content.bytes as usize + 1];
    let read = content.handle.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn get_chunk(store: &Store, book: &Book, before: &Answers, name: Chunk) -> Result<()> {
    match store.chunk(&user(), &cast::chunk_id(name))? {
        Some(content) => {
            if read_all(&content)? != cast::chunk_bytes(name) {
                book.wrong(format!("GET chunk {name} answers other bytes"));
            }
            // No promise: what is still in `incoming/` may be on its way there.
        }
        None if before.has(Fact::Chunk(name)) && before.deletions == book.open().deletions => {
            book.wrong(format!(
                "GET chunk {name} answers 404, and it was acknowledged"
            ));
        }
        None => {}
    }
    Ok(())
}

fn get_transaction(store: &Store, book: &Book, before: &Answers, name: Content) -> Result<()> {
    let id = cast::id(name);
    match store.transaction(&user(), id)? {
        Some(content) => {
            match cast::read(&read_all(&content)?) {
                Some(known) if known.id == id => {}
                _ => book.wrong(format!("GET transaction {name} answers something else")),
            }
            promise(book, before, Fact::Head(id));
        }
        None if before.passed(id) && before.deletions == book.open().deletions => {
            book.wrong(format!(
                "GET transaction {name} answers 404, and HEAD has passed it"
            ));
        }
        None => {}
    }
    Ok(())
}

fn delete(store: &Store, book: &Book) -> Result<()> {
    if let Some(lock) = store.lock_blocking(&user(), Mode::Exclusive)? {
        store.delete_user(lock)?;
    }
    let mut answers = book.open();
    answers.deletions.1 += 1;
    if !answers.deleting() {
        answers.facts.clear();
        answers.aims = answers.advancing.iter().copied().collect();
    }
    Ok(())
}
