//! `mentat-sync cat`: what a transaction says.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;

use super::arguments::ReplicaFlags;
use super::line::EntryLine;
use super::opened::OpenReplica;
use super::told::{DeviceTrouble, Outcome};
use crate::cli::output::{json_line, print};
use crate::client::{Entry, JournalBody, JournalEntry, JournalFile, Replica};
use crate::model::{ChunkDigest, TransactionId, limits};

/// Print what a transaction says: its text, or its file where it has one alone; with :NAME this file of it, with #N the
/// N-th chunk of it (0 is the entry). As it was committed, byte for byte.
///
/// `cat checkpoint` prints the newest state of an application that is kept here: the one that `clone` took, or that was
/// committed here.
#[derive(Args)]
pub struct CatCommand {
    /// The id, or its first digits where only one begins so; one that was replaced when others were quicker, too.
    #[arg(value_name = "ID[:NAME|#N]")]
    what: String,
    /// For a checkpoint: take the one that the server keeps now.
    #[arg(long)]
    fetch: bool,
    #[command(flatten)]
    pub replica: ReplicaFlags,
}

/// The word for the checkpoint, in the place of an id.
pub const CHECKPOINT: &str = "checkpoint";

/// The part of an entry that is meant.
enum PartOf<'a> {
    Whole,
    File(&'a str),
    Chunk(usize),
}

impl CatCommand {
    /// Prints it. Fails where there is no such thing.
    pub fn run(&self) -> Outcome {
        let (id, part) = parse(&self.what)?;
        let opened = OpenReplica::of(&self.replica, None)?;
        let replica = &opened.replica;
        if self.fetch && id != CHECKPOINT {
            return Err(DeviceTrouble::usage("--fetch is for `cat checkpoint`"));
        }
        if self.fetch {
            let taken = replica.take_checkpoint();
            opened.bar.end();
            taken?;
            opened.home.clear();
        }
        let entry = match id {
            CHECKPOINT => kept(replica)?,
            id => find(replica, id)?,
        };
        if self.replica.json {
            return describe(&entry, &part);
        }
        match part {
            PartOf::Chunk(0) => bytes(&entry.body),
            PartOf::Chunk(place) => match entry.chunks.get(place - 1) {
                Some(chunk) => chunks(replica, &[*chunk]),
                None => Err(no_chunk(&entry, place)),
            },
            PartOf::Whole => match JournalEntry::decode(&entry.body).map(|said| said.what) {
                Some(JournalBody::Text(text)) => bytes(text.as_bytes()),
                Some(JournalBody::Files(files)) => file(replica, &entry, the_only(&files)?),
                Some(JournalBody::Keys(_)) => Err(DeviceTrouble::failed(
                    "this entry has the keys from before a rekey, and nothing to be read",
                )),
                Some(JournalBody::Moved) => Err(DeviceTrouble::failed(
                    "this entry says that the store has a new invite, and nothing else",
                )),
                None => bytes(&entry.body),
            },
            PartOf::File(name) => file(replica, &entry, named(&files_of(&entry), name)?),
        }
    }
}

/// The state that is kept here, as an entry: of the transaction that it stands for, and pending until the chain reaches that.
pub fn kept(replica: &Replica) -> Outcome<Entry> {
    let Some(state) = replica.kept_state()? else {
        return Err(DeviceTrouble::failed("there is no checkpoint here")
            .hint("`mentat-sync cat checkpoint --fetch` asks the server for one"));
    };
    Ok(Entry {
        id: state.at.id,
        seq: state.at.seq,
        parent: state.at.id,
        body: state.body,
        chunks: state.chunks,
        pending: !state.confirmed,
    })
}

/// The transaction whose id this is, or begins so.
pub fn find(replica: &Replica, id: &str) -> Outcome<Entry> {
    let digits: String = id.chars().filter(|c| *c != '-').collect();
    let is_one = digits.len() <= 32 && digits.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    if !is_one {
        return Err(DeviceTrouble::usage(
            "an id is a uuid in lower case, or the first digits of one",
        ));
    }
    if digits.len() < limits::FIRST_DIGITS {
        return Err(DeviceTrouble::usage(format!(
            "it takes {} digits of an id at least to stand for it",
            limits::FIRST_DIGITS
        )));
    }
    let nothing = || DeviceTrouble::failed(format!("there is no transaction {id} here"));
    let ids: Vec<TransactionId> = match id.parse() {
        Ok(whole) => vec![whole],
        Err(_) => replica.ids_beginning(&digits)?,
    };
    match ids.as_slice() {
        [] => Err(nothing()),
        [only] => replica.entry(*only)?.ok_or_else(nothing),
        several => Err(DeviceTrouble::usage(format!(
            "{} transactions have an id that begins so: say which by more digits",
            several.len()
        ))),
    }
}

fn parse(what: &str) -> Outcome<(&str, PartOf<'_>)> {
    let at = what.find([':', '#']);
    let Some(at) = at else {
        return Ok((what, PartOf::Whole));
    };
    let (id, part) = (&what[..at], &what[at + 1..]);
    if what[at..].starts_with(':') {
        return Ok((id, PartOf::File(part)));
    }
    match part.parse() {
        Ok(place) => Ok((id, PartOf::Chunk(place))),
        Err(_) => Err(DeviceTrouble::usage(
            "behind the # stands the number of a chunk",
        )),
    }
}

fn files_of(entry: &Entry) -> Vec<JournalFile> {
    match JournalEntry::decode(&entry.body).map(|said| said.what) {
        Some(JournalBody::Files(files)) => files,
        _ => Vec::new(),
    }
}

fn the_only(files: &[JournalFile]) -> Outcome<&JournalFile> {
    match files {
        [only] => Ok(only),
        files => {
            let names: Vec<_> = files
                .iter()
                .map(|file| format!("{:?}", file.name))
                .collect();
            Err(DeviceTrouble::usage(format!(
                "it has {} files: say which, as ID:NAME, of {}",
                files.len(),
                names.join(", ")
            )))
        }
    }
}

fn named<'a>(files: &'a [JournalFile], name: &str) -> Outcome<&'a JournalFile> {
    let found = files.iter().find(|file| file.name == name);
    found.ok_or_else(|| DeviceTrouble::failed(format!("it has no file called {name:?}")))
}

fn no_chunk(entry: &Entry, place: usize) -> DeviceTrouble {
    let last = entry.chunks.len();
    DeviceTrouble::failed(format!("it has no chunk {place}: the last one is {last}"))
}

/// Prints what is meant as an object, instead of its bytes.
fn describe(entry: &Entry, part: &PartOf<'_>) -> Outcome {
    let line = match part {
        PartOf::Whole => None,
        PartOf::File(name) => {
            let files = files_of(entry);
            let file = named(&files, name)?;
            Some(json!({"id": entry.id.to_string(), "name": file.name, "size": file.size}))
        }
        PartOf::Chunk(place) => {
            let chunk = place.checked_sub(1).map(|at| entry.chunks.get(at));
            let chunk = match chunk {
                Some(None) => return Err(no_chunk(entry, *place)),
                Some(Some(chunk)) => Some(chunk.to_string()),
                None => None,
            };
            Some(json!({"id": entry.id.to_string(), "place": place, "chunk": chunk}))
        }
    };
    print(|out| match &line {
        Some(line) => json_line(out, line),
        None => json_line(out, &EntryLine::of(entry)),
    })?;
    Ok(())
}

fn file(replica: &Replica, entry: &Entry, file: &JournalFile) -> Outcome {
    chunks(replica, &file.among(&entry.chunks)?)
}

fn chunks(replica: &Replica, ids: &[ChunkDigest]) -> Outcome {
    for id in ids {
        let chunk = replica.read(id)?;
        if !is_read(|out| out.write_all(&chunk))? {
            break;
        }
    }
    Ok(())
}

fn bytes(bytes: &[u8]) -> Outcome {
    is_read(|out| out.write_all(bytes))?;
    Ok(())
}

/// Writes to stdout; `false` where nobody reads it any more.
pub fn is_read(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Outcome<bool> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(DeviceTrouble::failed(format!(
            "cannot write to stdout: {error}"
        ))),
    }
}
