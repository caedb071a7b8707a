//! How a command of a device failed: its exit status, a word for programs, and words for people.
//!
//! 1: failed, damaged or forged; 2: usage; 3: offline, try later; 4: others were quicker; 5: the server's history is not ours;
//! 6: another key.

use std::io;

use serde_json::{Map, Value, json};

use crate::cli::failure::Failure;
use crate::cli::output::{json_line, print};
use crate::client::{Divergence, Error, Parting, RemoteFileError};
use crate::disk;
use crate::model::TransactionId;

/// How a command of a device ends.
pub type Outcome<T = ()> = Result<T, DeviceTrouble>;

/// The failure of a command of a device.
#[derive(Debug)]
pub struct DeviceTrouble {
    status: u8,
    word: &'static str,
    words: String,
    hint: &'static str,
    more: Map<String, Value>,
}

impl DeviceTrouble {
    fn of(status: u8, word: &'static str, words: impl Into<String>) -> Self {
        Self {
            status,
            word,
            words: words.into(),
            hint: "",
            more: Map::new(),
        }
    }

    /// The command was asked for wrongly.
    pub fn usage(words: impl Into<String>) -> Self {
        Self::of(2, "usage", words)
    }

    /// The command was tried, and failed.
    pub fn failed(words: impl Into<String>) -> Self {
        Self::of(1, "failed", words)
    }

    /// The replica's own files are not what they must be.
    pub fn damaged(words: impl Into<String>) -> Self {
        Self::of(1, "damaged", words)
    }

    /// A push that was to send things as they are, and others were quicker.
    pub fn lost() -> Self {
        Self::of(4, "busy", "others were quicker, and nothing was sent").hint("`mentat-sync sync`")
    }

    /// A server that had this store knows nothing of it now, and is not filled unasked.
    pub fn moved_or_emptied() -> Self {
        Self::of(
            5,
            "diverged",
            "nothing was sent: this server had the store, and knows nothing of it now. Either it was emptied, or another device made a \
             new key (`rekey`) and the store has a new invite, so that whoever has the old one would read what is sent",
        )
        .with(json!({"how": "empty"}))
        .hint(
            "after a rekey: `mentat-sync clone` with the new invite into another directory, and `mentat-sync import --from` this one there; \
             where it was emptied: `mentat-sync push --seed --force`",
        )
    }

    /// The trouble with a line more, for a person.
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    /// Whether a later try may go well.
    pub fn may_pass(&self) -> bool {
        self.status == 3
    }

    fn with(mut self, fields: Value) -> Self {
        if let Value::Object(fields) = fields {
            self.more.extend(fields);
        }
        self
    }

    fn parted(parted: Divergence) -> Self {
        let Divergence {
            how,
            common,
            ours,
            theirs,
        } = parted;
        let (how, hint) = match how {
            Parting::Rollback => (
                "rollback",
                "was it restored from a backup? `mentat-sync push --restore` puts back what it lacks",
            ),
            Parting::Fork => (
                "fork",
                "`mentat-sync clone` into another directory, and `mentat-sync import --from` this one there, say again what is lost",
            ),
            Parting::Empty => (
                "empty",
                "did another device make a new key (`rekey`)? Then nothing is to be sent here: `mentat-sync clone` with the new invite into another \
                 directory, and `mentat-sync import --from` this one there. If it is a new box, `mentat-sync push --seed` fills it",
            ),
            Parting::Moved => (
                "moved",
                "`mentat-sync clone` with that one into another directory, and `mentat-sync import --from` this one there, say again what was \
                 not sent",
            ),
            _ => (
                "other-store",
                "is its address, or the invite, the right one?",
            ),
        };
        let common = (common.id != TransactionId::ROOT).then(|| common.id.to_string());
        let fields = json!({"how": how, "common": common, "ours": ours, "theirs": theirs});
        Self::of(5, "diverged", parted.to_string())
            .with(fields)
            .hint(hint)
    }

    /// The words for a person.
    pub fn words(&self) -> String {
        match self.hint {
            "" => self.words.clone(),
            hint => format!("{}\n  {hint}", self.words),
        }
    }
}

impl From<Error> for DeviceTrouble {
    fn from(error: Error) -> Self {
        let words = error.to_string();
        match error {
            Error::Offline { retry_after, .. } => {
                let seconds = retry_after.map(|time| time.as_secs());
                Self::of(3, "offline", words).with(match seconds {
                    Some(seconds) => json!({"retry_after": seconds}),
                    None => json!({}),
                })
            }
            Error::Refused { status, code, .. } if error.is_transient() => {
                Self::of(3, "offline", words)
                    .with(json!({"status": status, "code": code.to_string()}))
            }
            Error::Refused { status, code, .. } => Self::of(1, "refused", words)
                .with(json!({"status": status, "code": code.to_string()})),
            Error::Diverged(parted) => Self::parted(parted),
            Error::WrongKey { ours, theirs } => Self::of(6, "wrong-key", words)
                .with(json!({"ours": ours.to_string(), "theirs": theirs.to_string()})),
            Error::Forged { transaction, .. } => Self::of(1, "forged", words)
                .with(json!({"transaction": transaction.to_string()}))
                .hint("nothing of it was taken; the server, or somebody who knows the user's id, is not to be trusted"),
            Error::Busy => Self::of(3, "busy", words),
            Error::Damaged(_) | Error::UnopenedChunk { .. } | Error::MissingChunks(_) => {
                Self::damaged(words).hint("`mentat-sync fsck --data .mentat-sync/store` says more")
            }
            Error::Secrets(error) => error.into(),
            Error::NotThisReplica(_) => Self::usage(words),
            _ => Self::failed(words),
        }
    }
}

impl From<RemoteFileError> for DeviceTrouble {
    fn from(error: RemoteFileError) -> Self {
        let words = format!(".mentat-sync: {error}");
        match error {
            RemoteFileError::Disk(_) => Self::failed(words),
            _ => Self::damaged(words),
        }
    }
}

impl From<disk::Error> for DeviceTrouble {
    fn from(error: disk::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<io::Error> for DeviceTrouble {
    fn from(error: io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<Failure> for DeviceTrouble {
    fn from(failure: Failure) -> Self {
        let word = match failure.status {
            2 => "usage",
            _ => "failed",
        };
        Self::of(failure.status, word, failure.words)
    }
}

/// The failure of the process: told on stdout already, where JSON was asked for.
pub fn tell(json: bool, trouble: DeviceTrouble) -> Failure {
    let (status, words) = (trouble.status, trouble.words());
    if !json {
        return Failure { status, words };
    }
    let mut object = Map::new();
    object.insert("error".to_owned(), trouble.word.into());
    object.insert("message".to_owned(), trouble.words.into());
    object.extend(trouble.more);
    match print(|out| json_line(out, &object)) {
        Ok(()) => {
            let words = String::new();
            Failure { status, words }
        }
        // Where stdout takes nothing, stderr may.
        Err(_) => Failure { status, words },
    }
}
