//! `mentat-sync commit`: something is said, offline.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::arguments::ReplicaFlags;
use super::opened::OpenReplica;
use super::told::{DeviceTrouble, Outcome};
use crate::cli::open::private;
use crate::cli::output::{json_line, print};
use crate::client::{Error, JournalBody, JournalFile};
use crate::model::{ChunkDigest, limits};

/// The name of a file whose bytes came from standard input.
const STDIN_NAME: &str = "stdin";

/// Commit bytes as one transaction, offline, and print its id: files, by their names; or standard input, which is a text if
/// it is UTF-8 and fits into an entry of 64 KiB, and else a file.
///
/// Any process may, at any time. A sync sends it.
#[derive(Args)]
pub struct CommitCommand {
    /// The files; - is standard input, and so is none.
    files: Vec<PathBuf>,
    /// A line about it, for people.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Commit nothing, but save this file with the server as the state of an application after all that is confirmed, which a
    /// new device can start from.
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    pub replica: ReplicaFlags,
}

/// Files that are put one after the other, with the chunks of all.
#[derive(Default)]
struct FilesSoFar {
    files: Vec<JournalFile>,
    chunks: Vec<ChunkDigest>,
    places: HashMap<ChunkDigest, u32>,
}

impl CommitCommand {
    /// Commits, and prints the id. Fails where a file cannot be read.
    pub fn run(&self) -> Outcome {
        private();
        let opened = OpenReplica::of(&self.replica, None)?;
        if let Some(file) = &self.checkpoint {
            return self.save(&opened, file);
        }
        let (what, chunks) = match self.files.as_slice() {
            [] => text_or_file(&opened)?,
            [only] if is_stdin(only) => text_or_file(&opened)?,
            files => gather(&opened, files)?,
        };
        let body = opened.entry(self.note.clone(), what)?.encode();
        let body = body.map_err(|error| match error {
            Error::TooLong { .. } => {
                DeviceTrouble::failed(format!("the entry would be too long: {error}"))
            }
            other => other.into(),
        })?;
        let entry = opened.replica.commit(&body, &chunks)?;
        let json = self.replica.json;
        print(|out| match json {
            true => json_line(
                out,
                &json!({"id": entry.id.to_string(), "seq": entry.seq, "pending": true}),
            ),
            false => writeln!(out, "{}", entry.id),
        })?;
        Ok(())
    }

    fn save(&self, opened: &OpenReplica, file: &Path) -> Outcome {
        let status = opened.replica.status()?;
        if status.pending > 0 {
            return Err(DeviceTrouble::failed(
                "a checkpoint is of what is confirmed, and something is pending",
            )
            .hint("`mentat-sync sync` first"));
        }
        let (what, chunks) = gather(opened, &[file.to_owned()])?;
        let body = opened.entry(self.note.clone(), what)?.encode()?;
        opened.replica.checkpoint(status.base.id, &body, &chunks)?;
        opened.home.heard();
        let json = self.replica.json;
        print(|out| match json {
            true => json_line(
                out,
                &json!({"checkpoint": status.base.id.to_string(), "seq": status.base.seq}),
            ),
            false => writeln!(out, "{}", status.base.id),
        })?;
        Ok(())
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Standard input: a text, or a file where it is none or too long.
fn text_or_file(opened: &OpenReplica) -> Outcome<(JournalBody, Vec<ChunkDigest>)> {
    let mut input = io::stdin().lock();
    let mut first = Vec::new();
    let read = (&mut input).take(limits::JOURNAL_BYTES as u64 + 1);
    { read }.read_to_end(&mut first).map_err(unreadable)?;
    let first = match String::from_utf8(first) {
        Ok(text) => {
            let what = JournalBody::Text(text);
            match (opened.entry(None, what.clone())?.encode(), what) {
                (Ok(_), what) => return Ok((what, Vec::new())),
                (Err(_), JournalBody::Text(text)) => text.into_bytes(),
                (Err(error), _) => return Err(error.into()),
            }
        }
        Err(error) => error.into_bytes(),
    };
    let mut gathered = FilesSoFar::default();
    gathered.put(opened, STDIN_NAME.to_owned(), first.chain(input))?;
    Ok(gathered.whole())
}

fn unreadable(error: io::Error) -> DeviceTrouble {
    DeviceTrouble::failed(format!("cannot read standard input: {error}"))
}

/// Puts all these files.
fn gather(opened: &OpenReplica, files: &[PathBuf]) -> Outcome<(JournalBody, Vec<ChunkDigest>)> {
    let mut named = Vec::new();
    for file in files {
        let name = match is_stdin(file) {
            true => Some(STDIN_NAME),
            false => file.file_name().and_then(|name| name.to_str()),
        };
        let name = name.ok_or_else(|| {
            DeviceTrouble::usage(format!("{}: its name is no UTF-8", file.display()))
        })?;
        if named.iter().any(|(_, other)| *other == name) {
            return Err(DeviceTrouble::usage(format!(
                "two files of one entry are called {name:?}"
            )));
        }
        named.push((file, name));
    }
    let mut gathered = FilesSoFar::default();
    for (file, name) in named {
        if is_stdin(file) {
            gathered.put(opened, name.to_owned(), io::stdin().lock())?;
            continue;
        }
        let failed =
            |error| DeviceTrouble::failed(format!("cannot read {}: {error}", file.display()));
        let bytes = File::open(file).map_err(failed)?;
        if bytes.metadata().map_err(failed)?.is_dir() {
            return Err(DeviceTrouble::usage(format!(
                "{} is a directory: name its files, or pack them",
                file.display()
            )));
        }
        gathered.put(opened, name.to_owned(), bytes)?;
    }
    Ok(gathered.whole())
}

impl FilesSoFar {
    /// Puts the bytes of one file.
    fn put(&mut self, opened: &OpenReplica, name: String, bytes: impl Read) -> Outcome {
        let mut counted = CountedReader { bytes, size: 0 };
        let chunks = opened.replica.put(&mut counted)?;
        let places = chunks.iter().map(|chunk| {
            *self.places.entry(*chunk).or_insert_with(|| {
                self.chunks.push(*chunk);
                self.chunks.len() as u32
            })
        });
        self.files.push(JournalFile {
            name,
            size: counted.size,
            chunks: places.collect(),
        });
        Ok(())
    }

    fn whole(self) -> (JournalBody, Vec<ChunkDigest>) {
        (JournalBody::Files(self.files), self.chunks)
    }
}

/// A reader that counts.
struct CountedReader<R> {
    bytes: R,
    size: u64,
}

impl<R: Read> Read for CountedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.size += read as u64;
        Ok(read)
    }
}
