//! Ids. Each has one parser and one `Display`, and they agree: what parses is printed back the same.
//!
//! Only the canonical spelling is an id (DESIGN, Protocol): uuids in lower-case hyphenated form,
//! digests as exactly 64 lower-case hex digits. A path is only ever built from a parsed id.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The text is not the canonical spelling of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub struct MalformedId(&'static str);

fn parse_uuid(text: &str, what: &'static str) -> Result<Uuid, MalformedId> {
    // `Uuid` also reads braces, urn:, no hyphens and upper case: printing it back tells them apart.
    let id = Uuid::try_parse(text).map_err(|_| MalformedId(what))?;
    let mut buffer = Uuid::encode_buffer();
    if id.hyphenated().encode_lower(&mut buffer) == text {
        Ok(id)
    } else {
        Err(MalformedId(what))
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The id with these 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;
            fn from_str(text: &str) -> Result<Self, MalformedId> {
                parse_uuid(text, $what).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
    };
}

uuid_id!(
    /// A user. Knowing the id is the access, so it is a secret: `Debug` and [`UserId::short`] show
    /// only its first 8 digits, and nothing else may go into a log line or an answer.
    UserId,
    "user id (a uuid in lower case, with hyphens)"
);

uuid_id!(
    /// A transaction.
    TransactionId,
    "transaction id (a uuid in lower case, with hyphens)"
);

impl UserId {
    /// The first 8 digits, which log lines may show.
    pub fn short(&self) -> ShortUserId {
        let (first, ..) = self.0.as_fields();
        ShortUserId(first)
    }
}

/// The first 8 digits of a user's id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShortUserId(u32);

impl fmt::Display for ShortUserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({}…)", self.short())
    }
}

impl TransactionId {
    /// The transaction before all others: seq 0, no parent, no chunks, always there.
    pub const ROOT: TransactionId = TransactionId(Uuid::nil());
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The SHA-256 of a chunk's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkDigest([u8; 32]);

impl ChunkDigest {
    /// The digest with these 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for ChunkDigest {
    type Err = MalformedId;
    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let malformed = MalformedId("chunk id (64 hex digits in lower case)");
        let mut bytes = [0; 32];
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(malformed);
        }
        hex::decode_to_slice(text, &mut bytes).map_err(|_| malformed)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for ChunkDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0, &mut digits).expect("64 digits hold 32 bytes");
        f.write_str(std::str::from_utf8(&digits).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for ChunkDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name that a client has for a chunk: its digest or, where `--uuid-chunk-ids` allows it, a uuid that is
/// an immutable alias of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChunkId {
    Digest(ChunkDigest),
    Alias(Uuid),
}

impl FromStr for ChunkId {
    type Err = MalformedId;
    fn from_str(text: &str) -> Result<Self, MalformedId> {
        if text.len() == 36 {
            parse_uuid(text, "chunk id").map(ChunkId::Alias)
        } else {
            text.parse().map(ChunkId::Digest)
        }
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChunkId::Digest(digest) => digest.fmt(f),
            ChunkId::Alias(uuid) => uuid.hyphenated().fmt(f),
        }
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        let good = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        assert_eq!(good.parse::<UserId>().unwrap().to_string(), good);
        for bad in [
            "",
            "67E55044-10b1-426f-9247-bb680e5fe0c8",
            "{67e55044-10b1-426f-9247-bb680e5fe0c8}",
            "urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8",
            "67e5504410b1426f9247bb680e5fe0c8",
            "67e55044-10b1-426f-9247-bb680e5fe0c8 ",
            "67e55044-10b1-426f-9247-bb680e5fe0c",
            "67e5504-410b1-426f-9247-bb680e5fe0c8",
        ] {
            assert!(bad.parse::<UserId>().is_err(), "{bad}");
            assert!(bad.parse::<ChunkId>().is_err(), "{bad}");
        }
        let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(digest.parse::<ChunkId>().unwrap().to_string(), digest);
        for bad in [
            digest.to_uppercase(),
            digest[1..].into(),
            format!("{digest}0"),
        ] {
            assert!(bad.parse::<ChunkId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_is_not_shown_whole_by_debug() {
        let user: UserId = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
        assert_eq!(user.short().to_string(), "67e55044");
        assert!(!format!("{user:?}").contains("10b1"));
    }
}
