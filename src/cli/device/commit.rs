//! `mentat-sync commit`: something is said, offline.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::FileType;
use serde_json::json;

use super::arguments::ReplicaFlags;
use super::files::{gather, gather_stream, is_stdin};
use super::opened::OpenReplica;
use super::told::{DeviceTrouble, Outcome};
use crate::cli::open::private;
use crate::cli::output::{json_line, print};
use crate::client::{Entry, Error, JournalBody};
use crate::model::{ChunkDigest, Head, limits};

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

impl CommitCommand {
    /// Commits, and prints the id. Fails where a file cannot be read.
    pub fn run(&self) -> Outcome {
        private();
        let opened = OpenReplica::of(&self.replica, None)?;
        if let Some(file) = &self.checkpoint {
            return self.save(&opened, file);
        }
        let note = self.note.as_deref();
        let gathered = match self.files.as_slice() {
            [] => text_or_file(&opened, note),
            [only] if is_stdin(only) => text_or_file(&opened, note),
            files => gather(&opened, note, files),
        };
        opened.bar.end();
        let entry = gathered
            .and_then(|(what, chunks)| self.say(&opened, what, &chunks))
            .inspect_err(|_| opened.replica.take_back())?;
        let json = self.replica.json;
        print(|out| match json {
            true => json_line(
                out,
                &json!({"id": entry.id.to_string(), "seq": entry.seq, "pending": true}),
            ),
            false => writeln!(out, "{}", entry.id),
        })
        .map_err(|failure| {
            let trouble = DeviceTrouble::from(failure);
            trouble.hint("it is committed: `mentat-sync follow --once --pending` says its id")
        })
    }

    fn say(
        &self,
        opened: &OpenReplica,
        what: JournalBody,
        chunks: &[ChunkDigest],
    ) -> Outcome<Entry> {
        let body = opened.entry(self.note.clone(), what)?.encode();
        let body = body.map_err(|error| match error {
            Error::TooLong { .. } => {
                DeviceTrouble::failed(format!("the entry would be too long: {error}"))
            }
            other => other.into(),
        })?;
        Ok(opened.replica.commit(&body, chunks)?)
    }

    fn checkpoint(&self, opened: &OpenReplica, file: &Path, at: Head) -> Outcome {
        let (what, chunks) = gather(opened, self.note.as_deref(), &[file.to_owned()])?;
        let body = opened.entry(self.note.clone(), what)?.encode()?;
        Ok(opened.replica.checkpoint(at.id, &body, &chunks)?)
    }

    fn save(&self, opened: &OpenReplica, file: &Path) -> Outcome {
        let status = opened.replica.status()?;
        if status.pending > 0 {
            return Err(DeviceTrouble::failed(
                "a checkpoint is of what is confirmed, and something is pending",
            )
            .hint("`mentat-sync sync` first"));
        }
        let saved = self.checkpoint(opened, file, status.base);
        opened.bar.end();
        saved.inspect_err(|_| opened.replica.take_back())?;
        opened.home.clear();
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

/// Standard input: a text, or a file where it is none or too long for an entry with this note.
fn text_or_file(
    opened: &OpenReplica,
    note: Option<&str>,
) -> Outcome<(JournalBody, Vec<ChunkDigest>)> {
    let mut input = io::stdin().lock();
    let mut first = Vec::new();
    let read = (&mut input).take(limits::JOURNAL_BYTES as u64 + 1);
    { read }.read_to_end(&mut first).map_err(unreadable)?;
    let first = match String::from_utf8(first) {
        Ok(text) => {
            let what = JournalBody::Text(text);
            let whole = opened.entry(note.map(str::to_owned), what.clone())?;
            match (whole.encode(), what) {
                (Ok(_), what) => return Ok((what, Vec::new())),
                (Err(_), JournalBody::Text(text)) => text.into_bytes(),
                (Err(error), _) => return Err(error.into()),
            }
        }
        Err(error) => error.into_bytes(),
    };
    opened.bar.will_put(length_of_stdin());
    gather_stream(opened, note, first.chain(input))
}

/// The length of standard input, where it is a file.
fn length_of_stdin() -> Option<u64> {
    let stat = rustix::fs::fstat(io::stdin()).ok()?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    u64::try_from(stat.st_size).ok().filter(|_| is_file)
}

fn unreadable(error: io::Error) -> DeviceTrouble {
    DeviceTrouble::failed(format!("cannot read standard input: {error}"))
}
