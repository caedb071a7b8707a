//! The checkpoint: put and told, and what must hold of it on the disk (the model's scenario 29).

use mentat_sync::disk::Place;
use mentat_sync::model::{ChunkDigest, ChunkId, TransactionId};
use mentat_sync::store::{Error, PutCheckpoint, Result, Store};

use super::acts::{promise, read_all, undisturbed};
use super::answers::{Answers, Book, Fact};
use super::cast::{self, Chunk, Content, folder, user};
use simulated_disk::World;

/// What a checkpoint is called here.
pub type Named = &'static str;

/// Name, transaction, chunks.
const ROWS: [(Named, Content, &[Chunk]); 7] = [
    ("KA", "A", &["x"]),
    ("KA2", "A", &["c"]),
    ("Kb", "A", &["b"]),
    ("KB", "B", &["c"]),
    ("KBx", "B", &["a", "x"]),
    ("KC", "C", &["x"]),
    ("KS", "S", &["x", "a", "x"]),
];

fn row(name: Named) -> (Content, &'static [Chunk]) {
    let found = ROWS.iter().find(|row| row.0 == name);
    let (_, transaction, chunks) = found.unwrap_or_else(|| panic!("no checkpoint is {name}"));
    (transaction, chunks)
}

/// The transaction of a checkpoint.
pub fn transaction_of(name: Named) -> TransactionId {
    cast::id(row(name).0)
}

fn digest(chunk: Chunk) -> ChunkDigest {
    cast::digest(cast::chunk_bytes(chunk))
}

/// The file of a checkpoint (DESIGN, Files).
fn json(name: Named) -> String {
    let (transaction, chunks) = row(name);
    let known = cast::known(transaction);
    let chunks: Vec<_> = (chunks.iter())
        .map(|chunk| format!("\"{}\"", digest(chunk)))
        .collect();
    format!(
        "{{\"transaction\":\"{}\",\"seq\":{},\"chunks\":[{}]}}\n",
        known.id,
        known.seq,
        chunks.join(",")
    )
}

fn read(bytes: &[u8]) -> Option<Named> {
    let found = (ROWS.iter()).find(|row| json(row.0).as_bytes() == bytes);
    found.map(|row| row.0)
}

/// Where a chunk stands in `checkpoint/`.
pub fn chunk_file(chunk: Chunk) -> Place {
    let digest = digest(chunk).to_string();
    folder().join("checkpoint").join(&digest[..2]).join(&digest)
}

/// Whether this one was told, or a later one.
fn told_later(answers: &Answers, than: TransactionId) -> bool {
    let later = |fact: &Fact| match fact {
        Fact::Checkpoint(name) => {
            let id = transaction_of(name);
            id != than && cast::is_on_line(than, id)
        }
        _ => false,
    };
    answers.facts.iter().any(later)
}

pub fn put(store: &Store, book: &Book, before: &Answers, name: Named) -> Result<()> {
    let (transaction, chunks) = row(name);
    let ids: Vec<ChunkId> = chunks.iter().map(|chunk| cast::chunk_id(chunk)).collect();
    let lock = (store.user(user()).exclusive_blocking()?).ok_or(Error::UserGone)?;
    let outcome = lock.put_checkpoint(cast::id(transaction), &ids)?;
    drop(lock);
    let fine = match &outcome {
        PutCheckpoint::Stored => {
            promise(book, before, Fact::Checkpoint(name));
            promise(book, before, Fact::Head(cast::id(transaction)));
            true
        }
        PutCheckpoint::UnknownTransaction { head } => {
            promise(book, before, Fact::Head(head.id));
            !before.passed(cast::id(transaction))
        }
        PutCheckpoint::Older { head, present } => {
            promise(book, before, Fact::Head(head.id));
            let told = ROWS.iter().find(|row| {
                let chunks: Vec<_> = row.2.iter().map(|chunk| digest(chunk)).collect();
                (cast::id(row.1), &chunks) == (present.transaction, &present.chunks)
            });
            match told {
                Some(row) => {
                    promise(book, before, Fact::Checkpoint(row.0));
                    let later = cast::id(row.1);
                    later != cast::id(transaction) && cast::is_on_line(cast::id(transaction), later)
                }
                None => false,
            }
        }
        PutCheckpoint::MissingChunks(missing) => {
            let acknowledged = |chunk: &&Chunk| {
                missing.contains(&cast::chunk_id(chunk)) && before.has(Fact::Chunk(chunk))
            };
            !missing.is_empty() && !chunks.iter().any(|chunk| acknowledged(&chunk))
        }
    };
    if !fine && undisturbed(book, before) {
        book.wrong(format!("PUT checkpoint {name} is answered {outcome:?}"));
    }
    Ok(())
}

/// What a reader does: the checkpoint, and then all that it names.
pub fn get(store: &Store, book: &Book, before: &Answers) -> Result<()> {
    let user = store.user(user());
    let told = user.mending_log(|| user.checkpoint())?;
    let is_told = |fact: &Fact| matches!(fact, Fact::Checkpoint(_));
    let Some(told) = told else {
        if before.facts.iter().any(is_told) && undisturbed(book, before) {
            book.wrong("GET checkpoint answers that there is none, and one was told");
        }
        return Ok(());
    };
    let known = ROWS.iter().find(|row| {
        let chunks: Vec<_> = row.2.iter().map(|chunk| digest(chunk)).collect();
        (cast::id(row.1), &chunks) == (told.transaction, &told.chunks)
    });
    let Some((name, transaction, chunks)) = known else {
        book.wrong(format!("GET checkpoint answers {told:?}"));
        return Ok(());
    };
    if told_later(before, cast::id(transaction)) && undisturbed(book, before) {
        book.wrong(format!(
            "GET checkpoint answers {name}, and a later one was told"
        ));
    }
    promise(book, before, Fact::Checkpoint(name));
    promise(book, before, Fact::Head(cast::id(transaction)));
    for chunk in *chunks {
        let there = user.chunk(&cast::chunk_id(chunk))?;
        let bytes = there.map(|content| read_all(&content)).transpose()?;
        if bytes.as_deref() != Some(cast::chunk_bytes(chunk)) && undisturbed(book, before) {
            book.wrong(format!("GET chunk {chunk} of the checkpoint {name} fails"));
        }
    }
    Ok(())
}

/// CHECKPOINT is no older than any that was told, and what it names is there to stay.
pub fn judge(
    world: &World,
    answers: &Answers,
    is_on_chain: impl Fn(TransactionId) -> bool,
) -> std::result::Result<(), String> {
    let present = match world.read_file(&folder().join("CHECKPOINT")) {
        Some(bytes) => match read(&bytes) {
            Some(name) => Some(name),
            None => {
                return Err(format!(
                    "CHECKPOINT is {:?}",
                    String::from_utf8_lossy(&bytes)
                ));
            }
        },
        None => None,
    };
    for fact in &answers.facts {
        let Fact::Checkpoint(told) = fact else {
            continue;
        };
        let Some(present) = present.filter(|name| is_on_chain(transaction_of(name))) else {
            return Err(format!("the checkpoint {told} was told, and there is none"));
        };
        if !cast::is_on_line(transaction_of(told), transaction_of(present)) {
            return Err(format!("the checkpoint is {present}, and {told} was told"));
        }
    }
    for chunk in present.map_or(&[][..], |name| row(name).1) {
        let committed = &cast::chunk_files(&folder(), chunk)[0];
        if world.at(committed).is_err() && world.at(&chunk_file(chunk)).is_err() {
            return Err(format!(
                "CHECKPOINT names {chunk}, which has no place to stay"
            ));
        }
    }
    for (place, bytes, _) in world.files_below(&folder().join("checkpoint")) {
        if place.name() != cast::digest(&bytes).to_string() {
            return Err(format!("{place:?} holds something else"));
        }
    }
    Ok(())
}
