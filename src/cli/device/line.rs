//! Entries and heads as they are printed.

use serde::Serialize;

use crate::client::{Entry, JournalBody, JournalEntry};
use crate::model::{Head, TransactionId};

/// An entry as `follow` prints it.
#[derive(Serialize)]
pub struct EntryLine {
    id: String,
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<FileLine>>,
    pending: bool,
}

/// A file of an entry, as it is printed.
#[derive(Serialize)]
pub struct FileLine {
    name: String,
    size: u64,
}

impl EntryLine {
    /// The line of an entry. One that another application wrote has no more than its place.
    pub fn of(entry: &Entry) -> Self {
        let mut line = Self {
            id: entry.id.to_string(),
            seq: entry.seq,
            by: None,
            at: None,
            text: None,
            note: None,
            files: None,
            pending: entry.pending,
        };
        let Some(said) = JournalEntry::decode(&entry.body) else {
            return line;
        };
        (line.by, line.at, line.note) = (Some(said.by), Some(said.at), said.note);
        match said.what {
            JournalBody::Text(text) => line.text = Some(text),
            JournalBody::Files(files) => {
                let lines = files.into_iter().map(|file| FileLine {
                    name: file.name,
                    size: file.size,
                });
                line.files = Some(lines.collect());
            }
            JournalBody::Keys(_) | JournalBody::Moved => {}
        }
        line
    }
}

/// The first digits of an id, as two people compare them: `1d07-2f20-9a51`.
pub fn short(id: TransactionId) -> String {
    let digits = hex::encode(id.as_bytes());
    format!("{}-{}-{}", &digits[..4], &digits[4..8], &digits[8..12])
}

/// A head: the first digits of its id, and its number.
pub fn head_words(head: Head) -> String {
    match head == Head::ROOT {
        true => "nothing yet".to_owned(),
        false => format!("{} ({})", short(head.id), head.seq),
    }
}
