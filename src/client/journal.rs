//! The journal's entry: what the commands of a device write, and any program may read (CLIENT, section 7a).
//!
//! ```json
//! {"v":1,"app":"journal","by":"desk","at":"2026-11-28T09:12:04Z","note":"the garden",
//!  "files":[{"name":"photo.jpg","size":4201,"chunks":[1]}]}
//! ```
//!
//! It has a `text`, or `files` whose `chunks` are places in the transaction's list (0 is the entry itself), or the `keys` from
//! before a `rekey`, in base64url and the newest first; or it is `"moved":true`, the last word under a user whom a `rekey`
//! left.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::{Error, Result};
use super::keys::Master;
use crate::model::{ChunkDigest, limits};

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// The name by which the journal tells its entries from those of other applications.
const APP: &str = "journal";

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// The device that said it.
    pub by: String,
    /// The time by its clock, RFC 3339.
    pub at: String,
    pub note: Option<String>,
    pub what: JournalBody,
}

/// One of the four things that an entry can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalBody {
    Text(String),
    Files(Vec<JournalFile>),
    /// The masters from before a `rekey`, the newest first.
    Keys(Vec<Master>),
    /// The store has another user now, and a new invite: nothing more is said here.
    Moved,
}

/// A file of an entry: its bytes are those of these chunks, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalFile {
    pub name: String,
    pub size: u64,
    /// Places in the transaction's list of chunks, in which 0 is the entry itself.
    pub chunks: Vec<u32>,
}

impl JournalFile {
    /// The names of the chunks of this file, where `chunks` are those of its entry.
    ///
    /// # Errors
    /// [`Error::MissingChunks`] where it names a place that there is not.
    pub fn among(&self, chunks: &[ChunkDigest]) -> Result<Vec<ChunkDigest>> {
        let places = self.chunks.iter().map(|place| {
            let place = usize::try_from(*place).ok()?.checked_sub(1)?;
            chunks.get(place).copied()
        });
        let found: Option<Vec<_>> = places.collect();
        found.ok_or_else(|| Error::MissingChunks(Vec::new()))
    }
}

#[derive(Serialize, Deserialize)]
struct JournalFields {
    v: u32,
    app: String,
    by: String,
    at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<Vec<JournalFile>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<Zeroizing<String>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved: Option<bool>,
}

impl JournalEntry {
    /// The bytes of the entry.
    ///
    /// # Errors
    /// [`Error::TooLong`] where they are more than [`JOURNAL_BYTES`](limits::JOURNAL_BYTES).
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        let mut spelled = JournalFields {
            v: VERSION,
            app: APP.to_owned(),
            by: self.by.clone(),
            at: self.at.clone(),
            note: self.note.clone(),
            text: None,
            files: None,
            keys: None,
            moved: None,
        };
        match &self.what {
            JournalBody::Text(text) => spelled.text = Some(text.clone()),
            JournalBody::Files(files) => spelled.files = Some(files.clone()),
            JournalBody::Keys(keys) => {
                spelled.keys = Some(keys.iter().map(Master::spelled).collect())
            }
            JournalBody::Moved => spelled.moved = Some(true),
        }
        let bytes = Zeroizing::new(serde_json::to_vec(&spelled).expect("these fields are JSON"));
        match bytes.len() > limits::JOURNAL_BYTES {
            true => Err(Error::TooLong {
                bytes: bytes.len() as u64,
                limit: limits::JOURNAL_BYTES as u64,
            }),
            false => Ok(bytes),
        }
    }

    /// Reads an entry; `None` where another application, or a newer version of this one, wrote it. Fields that are not known are
    /// left out.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let spelled: JournalFields = serde_json::from_slice(body).ok()?;
        if spelled.v != VERSION || spelled.app != APP {
            return None;
        }
        let what = match (spelled.text, spelled.files, spelled.keys, spelled.moved) {
            (Some(text), None, None, None) => JournalBody::Text(text),
            (None, Some(files), None, None) => JournalBody::Files(files),
            (None, None, None, Some(true)) => JournalBody::Moved,
            (None, None, Some(keys), None) => {
                let masters = keys.iter().map(|key| Master::of_spelled(key));
                JournalBody::Keys(masters.collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(Self {
            by: spelled.by,
            at: spelled.at,
            note: spelled.note,
            what,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(what: JournalBody) -> JournalEntry {
        JournalEntry {
            by: "desk".to_owned(),
            at: "2026-11-28T09:12:04Z".to_owned(),
            note: Some("the garden".to_owned()),
            what,
        }
    }

    #[test]
    fn an_entry_is_spelled_as_the_design_has_it_and_read_again() {
        let file = JournalFile {
            name: "photo.jpg".to_owned(),
            size: 4201,
            chunks: vec![1],
        };
        let garden = entry(JournalBody::Files(vec![file]));
        let spelled = r#"{"v":1,"app":"journal","by":"desk","at":"2026-11-28T09:12:04Z","note":"the garden","files":[{"name":"photo.jpg","size":4201,"chunks":[1]}]}"#;
        assert_eq!(garden.encode().unwrap().as_slice(), spelled.as_bytes());
        let keys = JournalBody::Keys(vec![Master::from_bytes(&[7; 32])]);
        let text = JournalBody::Text("milk\n".to_owned());
        for what in [garden.what, text, keys, JournalBody::Moved] {
            let entry = entry(what);
            let bytes = entry.encode().unwrap();
            assert_eq!(JournalEntry::decode(&bytes), Some(entry));
        }
    }

    #[test]
    fn an_entry_has_64_kib_at_most() {
        let whole = |bytes: usize| entry(JournalBody::Text("x".repeat(bytes))).encode();
        let beside = whole(0).unwrap().len();
        assert!(whole((64 << 10) - beside).is_ok());
        assert!(matches!(
            whole((64 << 10) - beside + 1),
            Err(Error::TooLong { .. })
        ));
    }

    #[test]
    fn entries_of_others_and_of_later_versions_are_none_of_ours() {
        for other in [
            "",
            "milk",
            "{}",
            r#"{"v":1,"app":"folder","by":"desk","at":"","text":""}"#,
            r#"{"v":2,"app":"journal","by":"desk","at":"","text":""}"#,
            r#"{"v":1,"app":"journal","by":"desk","at":""}"#,
            r#"{"v":1,"app":"journal","by":"desk","at":"","text":"","files":[]}"#,
            r#"{"v":1,"app":"journal","by":"desk","at":"","keys":["AAAA"]}"#,
            r#"{"v":1,"app":"journal","by":"desk","at":"","moved":false}"#,
            r#"{"v":1,"app":"journal","by":"desk","at":"","text":"","moved":true}"#,
        ] {
            assert_eq!(JournalEntry::decode(other.as_bytes()), None, "{other}");
        }
        let more = r#"{"v":1,"app":"journal","by":"","at":"","text":"","mood":"good"}"#;
        assert!(JournalEntry::decode(more.as_bytes()).is_some());
    }

    #[test]
    fn a_file_that_names_places_that_there_are_not_is_refused() {
        let chunks = [[1; 32], [2; 32]].map(ChunkDigest::from_bytes);
        let file = |places: &[u32]| JournalFile {
            name: String::new(),
            size: 0,
            chunks: places.to_vec(),
        };
        assert_eq!(
            file(&[2, 1, 2]).among(&chunks).unwrap(),
            [chunks[1], chunks[0], chunks[1]]
        );
        for places in [[0], [3], [u32::MAX]] {
            assert!(file(&places).among(&chunks).is_err());
        }
    }
}
