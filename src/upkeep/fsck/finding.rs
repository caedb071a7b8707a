//! Findings of fsck, as values.

use crate::disk::Place;
use crate::model::UserId;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A leftover, a stranger, a loose mode: nothing is lost or wrong.
    Harmless,
    /// The disk did not let us look, so nobody knows.
    Unchecked,
    /// A promise does not hold.
    Damage,
}

impl Severity {
    /// The word for it, as printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Harmless => "harmless",
            Severity::Unchecked => "unchecked",
            Severity::Damage => "damage",
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// The kind of a finding. The words are stable: scripts may rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Kind] = &[$(Kind::$name,)*];

            /// The word for it, as printed.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Kind::$name => $word,)*
                }
            }
        }
    };
}

kinds! {
    /// `FORMAT` is missing beside users, or says nothing that any version has written.
    Format = "format",
    /// A user's folder has no HEAD: an unfinished copy.
    NoHead = "no-head",
    /// HEAD is not one id and a newline.
    HeadMalformed = "head-malformed",
    /// HEAD names a transaction that is not there.
    HeadToNowhere = "head-to-nowhere",
    /// A transaction's file is not, byte for byte, a transaction of its name.
    TransactionDamaged = "transaction-damaged",
    /// The chain needs a transaction that is not there.
    TransactionMissing = "transaction-missing",
    /// A transaction's number is not its parent's plus one.
    WrongSeq = "wrong-seq",
    /// An id of version 8 is not the one that the transaction's content has.
    WrongId = "wrong-id",
    /// The chain does not end at the root where its numbers do.
    BrokenChain = "broken-chain",
    /// A line of `log` is not what the chain says.
    LogWrong = "log-wrong",
    /// `log` is missing or ends before HEAD. Whoever needs it rebuilds it.
    LogShort = "log-short",
    /// `log` goes on after HEAD: an advance that did not come to its end.
    LogTail = "log-tail",
    /// A chunk's bytes are not those of its name.
    ChunkDamaged = "chunk-damaged",
    /// A transaction or CHECKPOINT names a chunk (or an alias) that is not there.
    ChunkMissing = "chunk-missing",
    /// The chain or CHECKPOINT names a chunk (or an alias) that is in `incoming/` only, where gc may take it.
    ChunkUncommitted = "chunk-uncommitted",
    /// An alias's file is not one digest and a newline.
    AliasDamaged = "alias-damaged",
    /// An alias stands for a chunk that is not there.
    AliasDangling = "alias-dangling",
    /// CHECKPOINT is not a checkpoint, or has another number than its transaction.
    CheckpointDamaged = "checkpoint-damaged",
    /// The transaction of CHECKPOINT is not on the chain: it reads as none.
    CheckpointOffChain = "checkpoint-off-chain",
    /// `local` of a device's store is not one id and a newline, or does not lead to the chain.
    LocalDamaged = "local-damaged",
    /// A pending transaction whose parent is not there: dead.
    Orphan = "orphan",
    /// A file in the committed area that the chain does not name: it does not exist, for any purpose.
    OffChain = "off-chain",
    /// An entry in `incoming/` for something committed.
    Leftover = "leftover",
    /// A name that the layout does not know.
    Stranger = "stranger",
    /// A symlink, directory or device where a file should be, or anything else where a directory should, as under a
    /// user's name.
    NotAFile = "not-a-file",
    /// Others than the owner may read the file.
    ModeLoose = "mode-loose",
    /// The owner may not do with the file what the server must.
    ModeTight = "mode-tight",
    /// A file is somebody else's, and the owner of the data directory may not read or write it.
    ForeignOwner = "foreign-owner",
    /// The file `name` holds no name that a user may have, or one that another user has as well.
    Name = "name",
    /// The file `frozen` says none of the words that it may.
    Frozen = "frozen",
    /// A temporary file or folder that is older than a day.
    Temporary = "temporary",
    /// A deleted user whose files are still on their way out.
    Trash = "trash",
    /// A mark in `lost+found/chunks` for a chunk that is there again.
    Mark = "mark",
    /// The disk says that it cannot read the file.
    Unreadable = "unreadable",
    /// fsck may not read the file, or ran out of descriptors or memory.
    Unchecked = "unchecked",
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub severity: Severity,
    /// The user in whose folder it is; `None` at the top.
    pub user: Option<UserId>,
    /// Where it is.
    pub place: Place,
    /// The finding in words for a person.
    pub detail: String,
}

/// The outcome of `--repair` about one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    pub user: Option<UserId>,
    pub place: Place,
    /// The mend, or why there was none.
    pub outcome: Result<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|k| k.as_str()).collect();
        assert_eq!(words.len(), Kind::ALL.len());
    }
}
