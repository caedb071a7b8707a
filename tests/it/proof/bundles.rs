//! What clients do with many chunks and transactions at once.

use std::io::Read;

use mentat_sync::disk::Place;
use mentat_sync::model::{ChunkId, TransactionId};
use mentat_sync::store::{
    Durable, Error, Group, PullBundle, PushBundle, PutChunk, Result, Store, Taken, Upload, Written,
};

use super::acts::{judge_advanced, judge_head, judge_refusal, promise, undisturbed};
use super::answers::{Answers, Book, Fact};
use super::cast::{self, Chunk, Content, user};

pub fn ask(store: &Store, book: &Book, before: &Answers, names: &[Chunk]) -> Result<()> {
    let ids: Vec<_> = names.iter().map(|name| cast::chunk_id(name)).collect();
    let lock = store.user(user()).shared_blocking()?;
    let missing = match lock {
        Some(lock) => lock.missing(&ids)?,
        None => store.user(user()).missing_all(&ids)?,
    };
    for name in names {
        if !missing.contains(&cast::chunk_id(name)) {
            promise(book, before, Fact::Chunk(name));
        } else if before.has(Fact::Chunk(name)) && undisturbed(book, before) {
            book.wrong(format!("chunk {name} is said to be missing"));
        }
    }
    Ok(())
}

/// In two groups, the second of which is written when the first has its names and is not told yet. Whoever finds the
/// lock held waits for it, and comes again. Each is answered by itself; the first error is given back.
pub fn put_chunks(store: &Store, book: &Book, before: &Answers, names: &[Chunk]) -> Result<()> {
    let mut told = Told::default();
    let mut group = Group::default();
    let (first, second) = names.split_at(names.len().div_ceil(2));
    for names in [first, second, &[]] {
        let mut written = Vec::new();
        for name in names {
            match upload(store, name).write() {
                Ok(one) => written.push((one, *name)),
                Err(error) => told.tell(book, before, name, Err(error)),
            }
        }
        step(store, &mut group, written, |name, outcome| {
            told.tell(book, before, name, outcome);
        });
    }
    for (one, name) in std::mem::take(&mut told.waiting) {
        match one.user.shared_blocking() {
            Ok(Some(lock)) => {
                let mut tell = |name, outcome| told.tell(book, before, name, outcome);
                group.name_under(lock, vec![(one, name)], &mut tell);
                step(store, &mut group, Vec::new(), tell);
            }
            Ok(None) => told.tell(book, before, name, Err(Error::UserGone)),
            Err(error) => told.tell(book, before, name, Err(error)),
        }
    }
    assert!(group.is_empty() && told.waiting.is_empty());
    assert_eq!(told.number, names.len());
    told.errors.into_iter().next().map_or(Ok(()), Err)
}

/// One step of a group commit: a sync, and names.
fn step(
    store: &Store,
    group: &mut Group<Chunk>,
    written: Vec<(Written, Chunk)>,
    mut tell: impl FnMut(Chunk, Result<Taken>),
) {
    let durable = group.sync(store, written, &mut tell);
    group.name(durable, &mut tell);
}

/// What the clients of some chunks were told.
#[derive(Default)]
struct Told {
    number: usize,
    errors: Vec<Error>,
    waiting: Vec<(Durable, Chunk)>,
}

impl Told {
    fn tell(&mut self, book: &Book, before: &Answers, name: Chunk, outcome: Result<Taken>) {
        self.number += 1;
        match outcome {
            Ok(Taken::Put(PutChunk::Stored)) => promise(book, before, Fact::Chunk(name)),
            Ok(Taken::Put(other)) => book.wrong(format!("PUT chunk {name} is answered {other:?}")),
            Ok(Taken::Unnamed(one)) => {
                self.number -= 1;
                self.waiting.push((*one, name));
            }
            Err(error) => self.errors.push(error),
        }
    }
}

fn upload(store: &Store, name: Chunk) -> Upload {
    Upload {
        user: store.user(user()),
        id: match cast::chunk_id(name) {
            ChunkId::Digest(digest) => digest,
            ChunkId::Alias(_) => panic!("aliases are put one by one"),
        },
        bytes: cast::chunk_bytes(name).to_vec(),
    }
}

pub fn push(
    store: &Store,
    book: &Book,
    before: &Answers,
    names: &[Content],
    with_head: bool,
    spare: &[Chunk],
) -> Result<()> {
    let tar = cast::bundle(names, with_head, spare);
    let (outcome, leftovers) = store.user(user()).push_bundle(&mut &tar[..])?;
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
    if !fine && undisturbed(book, before) {
        book.wrong(format!("a push of {names:?} is answered {outcome:?}"));
    }
    if let Some(leftovers) = leftovers {
        leftovers.clear();
    }
    Ok(())
}

pub fn pull(store: &Store, book: &Book, before: &Answers) -> Result<()> {
    let planned = store
        .user(user())
        .mending_log(|| store.user(user()).bundle(TransactionId::ROOT, None, 1000));
    let PullBundle::Ready(plan) = planned? else {
        book.wrong("a bundle from the root is refused");
        return Ok(());
    };
    let (mut reader, mut bytes) = (store.user(user()).read_bundle(&plan)?, Vec::new());
    let mut buffer = [0; 1 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            read => bytes.extend(&buffer[..read]),
        }
    }
    match judge_tar(&bytes, plan.to.id) {
        Ok(()) => judge_head(book, before, plan.to.id, "a bundle"),
        Err(what) if undisturbed(book, before) => book.wrong(format!("a bundle {what}")),
        Err(_) => {}
    }
    Ok(())
}

/// The chain up to here, each chunk before the transaction that names it, and HEAD.
fn judge_tar(bytes: &[u8], head: TransactionId) -> std::result::Result<(), String> {
    let mut archive = tar::Archive::new(bytes);
    let (mut chain, mut seen, mut ended) = (Vec::new(), Vec::new(), false);
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let place = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        if place == "HEAD" {
            ended = bytes == format!("{head}\n").as_bytes();
        } else if place.starts_with("transactions/") {
            let known = cast::read(&bytes).ok_or(format!("has something else at {place}"))?;
            for chunk in known.chunks {
                for file in cast::chunk_files(&Place::new(""), chunk) {
                    if !seen.contains(&file.as_str().to_owned()) {
                        return Err(format!("has {} before {file:?}", known.name));
                    }
                }
            }
            chain.push(known.id);
        } else if place.starts_with("chunks/")
            && !place.ends_with(&cast::digest(&bytes).to_string())
        {
            return Err(format!("has something else at {place}"));
        }
        seen.push(place);
    }
    match ended && Some(&chain) == cast::line(head).as_ref() {
        true => Ok(()),
        false => Err(format!("to {head} holds {seen:?}")),
    }
}
