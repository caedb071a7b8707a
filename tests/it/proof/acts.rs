//! What clients do, through the store's own API; each answer is judged at once and written down.

use std::sync::Arc;

use mentat_sync::model::{Head, TransactionId};
use mentat_sync::store::{
    Advance, AdvanceRefusal, Error, Exclusive, Mistake, Options, PutChunk, PutTransaction, Result,
    Shared, Store,
};

use super::answers::{Answers, Book, Fact};
use super::cast::{self, Chunk, Content, user};
use super::{additions, bundles, checkpoints, moves, outside, upkeep};
use simulated_disk::{Sim, SimDisk};

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    PutChunk(Chunk),
    /// These at a time, taken in together.
    PutChunks(&'static [Chunk]),
    PutTransaction(Content),
    Advance(Content),
    /// The chunk of this one is added to the chain after its parent, which is made if the chain is empty.
    Append(Content),
    /// The chain is read, one chunk after the other.
    Children,
    GetHead,
    GetListing,
    GetChunk(Chunk),
    GetTransaction(Content),
    Delete,
    /// Which of these are missing.
    Ask(&'static [Chunk]),
    /// A bundle of these, with their chunks, and HEAD at the last.
    Push(&'static [Content]),
    /// The same with a chunk that none of them names, so that nothing is committed at once.
    PushWithSpare(&'static [Content]),
    /// The same without HEAD.
    Upload(&'static [Content]),
    /// `GET bundle` of the whole chain.
    Pull,
    PutCheckpoint(checkpoints::Named),
    /// `GET checkpoint`, and then each chunk that it names.
    GetCheckpoint,
    /// `mentat-sync gc` on this user.
    Collect,
    /// `mentat-sync fsck --repair` on this user.
    Repair,
    /// `mentat-sync users freeze`, and `thaw`.
    Freeze,
    Thaw,
    /// What those who wait are told: what the store has seen, without a look.
    Told,
    /// A folder with this chain is moved in by hand, in place of the one there is, and nothing of it synced.
    Bring(&'static [Content]),
    /// `mentat-sync users mv` to another name, and back.
    RenameAway,
    RenameBack,
    /// A backup, of CHECKPOINT first, then of HEAD, then of the rest in this order, and what is restored from it.
    Copy(&'static [&'static str]),
    /// A backup of HEAD before CHECKPOINT, as none should be.
    CopyHeadFirst(&'static [&'static str]),
}

/// A process: the disk as it sees it, and its open store.
#[derive(Clone)]
pub struct Client {
    pub disk: SimDisk,
    pub store: Arc<Store>,
    mistake: Option<Mistake>,
}

impl Client {
    /// A new process on this box, whose store makes this mistake if any.
    pub fn new(sim: &Sim, mistake: Option<Mistake>) -> Self {
        let disk = sim.process();
        let options = Options {
            uuid_chunk_ids: true,
            ..Options::default()
        };
        let store = match mistake {
            Some(mistake) => Store::open_with_mistake(Arc::new(disk.clone()), options, mistake),
            None => Store::open(Arc::new(disk.clone()), options),
        };
        let store = store.unwrap_or_else(|error| panic!("the store does not open: {error}"));
        Self {
            disk,
            store: Arc::new(store),
            mistake,
        }
    }
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
    pub fn perform(self, client: &Client, book: &Book, world: World) -> Option<Error> {
        let store = &*client.store;
        let before = self.begin(book);
        let result = match self {
            Act::PutChunk(name) => put_chunk(store, book, &before, name),
            Act::PutChunks(names) => bundles::put_chunks(store, book, &before, names),
            Act::PutTransaction(name) => put_transaction(store, book, &before, name),
            Act::Advance(name) => advance(store, book, &before, name),
            Act::Append(name) => additions::append(store, book, &before, name),
            Act::Children => additions::children(store, book, &before),
            Act::GetHead => get_head(store, book, &before),
            Act::GetListing => get_listing(store, book, &before),
            Act::GetChunk(name) => get_chunk(store, book, &before, name),
            Act::GetTransaction(name) => get_transaction(store, book, &before, name),
            Act::Delete => delete(store, book),
            Act::Ask(names) => bundles::ask(store, book, &before, names),
            Act::Push(names) => bundles::push(store, book, &before, names, true, &[]),
            Act::PushWithSpare(names) => bundles::push(store, book, &before, names, true, &["x"]),
            Act::Upload(names) => bundles::push(store, book, &before, names, false, &[]),
            Act::Pull => bundles::pull(store, book, &before),
            Act::Collect => upkeep::collect(store),
            Act::Repair => upkeep::repair(&client.disk, client.mistake),
            Act::Freeze => moves::freeze(store, book),
            Act::Thaw => moves::thaw(store, book),
            Act::Told => told(store, book, &before),
            Act::Bring(names) => outside::bring(&client.disk, book, names),
            Act::RenameAway => outside::rename_away(store, book),
            Act::RenameBack => outside::rename_back(store),
            Act::PutCheckpoint(name) => checkpoints::put(store, book, &before, name),
            Act::GetCheckpoint => checkpoints::get(store, book, &before),
            Act::Copy(order) => upkeep::copy(&client.disk, book, &before, order, true),
            Act::CopyHeadFirst(order) => upkeep::copy(&client.disk, book, &before, order, false),
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
        let caught = caught || matches!(error, Error::Moving) && book.open().freezes;
        if world == World::Sound && !caught {
            book.wrong(format!("{self:?} fails: {error}"));
        }
        Some(error)
    }

    /// What it wants HEAD to be.
    fn aim(self) -> Option<Content> {
        match self {
            Act::Advance(name) | Act::Append(name) => Some(name),
            Act::Push(names) | Act::PushWithSpare(names) => names.last().copied(),
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
            Act::Append(name) => {
                answers.offered.insert(name);
                answers.offered.extend(additions::made_for(name));
            }
            Act::Push(names) | Act::PushWithSpare(names) | Act::Upload(names) => {
                answers.offered.extend(names);
            }
            Act::Delete => {
                answers.deletions.0 += 1;
                answers.facts.clear();
            }
            Act::Freeze => answers.freezes = true,
            Act::Bring(_) | Act::RenameAway => outside::begin(&mut answers),
            _ => {}
        }
        answers.clone()
    }
}

/// Writes down what an answer promises, unless a deletion makes it void.
pub fn promise(book: &Book, before: &Answers, fact: Fact) {
    let mut answers = book.open();
    if !answers.deleting() && answers.deletions == before.deletions {
        answers.facts.insert(fact);
    }
}

fn shared(store: &Store) -> Result<Shared> {
    (store.user(user()).shared_blocking()?).ok_or(Error::UserGone)
}

pub fn exclusive(store: &Store) -> Result<Exclusive> {
    (store.user(user()).exclusive_blocking()?).ok_or(Error::UserGone)
}

fn put_chunk(store: &Store, book: &Book, before: &Answers, name: Chunk) -> Result<()> {
    let bytes = cast::chunk_bytes(name);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut staged = store.user(user()).stage()?;
    staged.write(first)?;
    staged.write(second)?;
    let sealed = staged.seal()?;
    let lock = shared(store)?;
    match lock.put_chunk(sealed, &cast::chunk_id(name))? {
        PutChunk::Stored => promise(book, before, Fact::Chunk(name)),
        other => book.wrong(format!("PUT chunk {name} is answered {other:?}")),
    }
    Ok(())
}

fn put_transaction(store: &Store, book: &Book, before: &Answers, name: Content) -> Result<()> {
    let known = cast::known(name);
    let draft = store
        .user(user())
        .mending_log(|| store.user(user()).draft(known.proposal()))?;
    let lock = shared(store)?;
    let outcome = lock.put_transaction(draft)?;
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
        // There is room for many more.
        PutTransaction::WrongSeq { .. }
        | PutTransaction::TooManyPending { .. }
        | PutTransaction::Crowded(_) => false,
    };
    if !fine && undisturbed(book, before) {
        book.wrong(format!("PUT transaction {name} is answered {outcome:?}"));
    }
    Ok(())
}

fn advance(store: &Store, book: &Book, before: &Answers, name: Content) -> Result<()> {
    let to = cast::id(name);
    let lock = exclusive(store)?;
    let (outcome, leftovers) = lock.advance(to)?;
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
    leftovers.clear();
    Ok(())
}

/// An advance says where HEAD is now.
pub fn judge_advanced(book: &Book, before: &Answers, name: Content, head: Head) {
    promise(book, before, Fact::Head(head.id));
    if head.id != cast::id(name) || head.seq != cast::known(name).seq {
        book.wrong(format!("the advance to {name} says HEAD is {head:?}"));
    }
}

/// A refusal says where HEAD is, and why; both must be so. `there` says that the transaction was
/// acknowledged, or came with the request.
pub fn judge_refusal(
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
                (cast::all().iter()).any(|known| known.id == *id && known.parent == to)
            };
            !some.is_empty() && some.iter().all(child)
        }
    };
    if !fine && undisturbed(book, before) {
        book.wrong(format!(
            "the advance to {name} is refused, HEAD {head:?}: {why:?}"
        ));
    }
}

/// Nobody deleted the user meanwhile.
pub fn undisturbed(book: &Book, before: &Answers) -> bool {
    before.deletions == book.open().deletions && !before.deleting()
}

/// HEAD never goes back behind what was answered before a request began.
pub fn judge_head(book: &Book, before: &Answers, head: TransactionId, what: &str) {
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
    let head = store.user(user()).head()?;
    judge_head(book, before, head.id, "GET head");
    Ok(())
}

fn told(store: &Store, book: &Book, before: &Answers) -> Result<()> {
    if let Some(seen) = store.user(user()).seen() {
        judge_head(book, before, seen.head.id, "what those who wait are told");
    }
    Ok(())
}

fn get_listing(store: &Store, book: &Book, before: &Answers) -> Result<()> {
    let listing = store
        .user(user())
        .mending_log(|| store.user(user()).listing(TransactionId::ROOT, 1000));
    let Some(mut listing) = listing? else {
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
    match store.user(user()).chunk(&cast::chunk_id(name))? {
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
    match store
        .user(user())
        .mending_log(|| store.user(user()).transaction(id))?
    {
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
    if let Some(lock) = store.user(user()).exclusive_blocking()? {
        lock.delete()?;
    }
    let mut answers = book.open();
    answers.deletions.1 += 1;
    if !answers.deleting() {
        answers.facts.clear();
        answers.aims = answers.advancing.iter().copied().collect();
    }
    Ok(())
}
