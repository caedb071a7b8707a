//! Why a request was refused, as a word that a program can act on.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $word:literal,)*) => {
        /// The `code` of a refusal. The words are part of the protocol and do not change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl Code {
            /// All of them, as the design lists them.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => $word,)*
                }
            }
        }
    };
}

codes! {
    /// The bytes are no request of HTTP/1.1, or have more of a head than is taken.
    MalformedRequest => "malformed-request",
    /// An id in any spelling but the canonical one.
    MalformedId => "malformed-id",
    /// A body that is not the JSON asked for.
    MalformedJson => "malformed-json",
    /// Not a bundle, or one with something in it that no bundle has.
    BadBundle => "bad-bundle",
    /// A query parameter that says nothing, or says it twice.
    BadQuery => "bad-query",
    /// A transaction that can never be one, whatever the store holds.
    InvalidTransaction => "invalid-transaction",
    /// A transaction, or an ancestor of it, is not there; or it is not visible (yet).
    UnknownTransaction => "unknown-transaction",
    /// No device has put a checkpoint, or its transaction is not on the chain.
    NoCheckpoint => "no-checkpoint",
    UnknownParent => "unknown-parent",
    UnknownChunk => "unknown-chunk",
    /// New users are not admitted, and this one is not known.
    UnknownUser => "unknown-user",
    /// The path leaves the user to `Authorization: Bearer`, and that does not name one.
    Unauthorized => "unauthorized",
    /// A page of another place on the web asks, that the operator has not named.
    CrossOrigin => "cross-origin",
    /// The request is for a host that this server does not go by.
    WrongHost => "wrong-host",
    /// Another box is for this user.
    WrongShard => "wrong-shard",
    /// The id stands for another transaction.
    TransactionExists => "transaction-exists",
    /// The uuid stands for other bytes.
    ChunkExists => "chunk-exists",
    MissingChunks => "missing-chunks",
    /// The present checkpoint is of a later transaction.
    CheckpointOlder => "checkpoint-older",
    NotADescendant => "not-a-descendant",
    HasDescendants => "has-descendants",
    /// A version is not on the chain, or is followed by a transaction that is no version.
    Gone => "gone",
    /// The bytes are not those of the digest they were called by.
    DigestMismatch => "digest-mismatch",
    TooLarge => "too-large",
    /// A `Content-Encoding` was announced.
    EncodingUnsupported => "encoding-unsupported",
    /// No byte of the range asked for is there.
    Range => "range",
    /// The `If-Match` of a request does not hold (RFC 9110, 13.1.1).
    PreconditionFailed => "precondition-failed",
    /// The body is of another media type than the one that is taken.
    BadContentType => "bad-content-type",
    /// A body without a byte, where there must be one.
    EmptyBody => "empty-body",
    /// The body stalled.
    Timeout => "timeout",
    /// The body ended before it was whole, or its chunked framing is broken.
    IncompleteBody => "incomplete-body",
    NotFound => "not-found",
    MethodNotAllowed => "method-not-allowed",
    DeleteDisabled => "delete-disabled",
    /// Others are at it for too long; worth another try.
    Busy => "busy",
    /// The user is frozen, or on the way to another box; worth another try.
    Moving => "moving",
    NoSpace => "no-space",
    QuotaExceeded => "quota-exceeded",
    /// A file of the store is not what it should be.
    Damaged => "damaged",
    Internal => "internal",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_on_the_wire_is_the_word_in_json() {
        for &code in Code::ALL {
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), code);
        }
    }
}
