//! The name that the owner of the box calls a user by, who has no other business with it.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::limits;

/// A name for a user: one line that is not empty, of [`limits::NAME_BYTES`] at most, with no `/`, no control
/// character, no blank at an end and no `-` at the beginning, and no uuid in any spelling. So it can be told from an
/// id and from a flag, and be shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(String);

/// The text is no name for a user; says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name {0}")]
pub struct MalformedName(&'static str);

impl UserName {
    /// The name as it is said.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = MalformedName;

    fn from_str(text: &str) -> Result<Self, MalformedName> {
        let refused = if text.is_empty() {
            "is not empty"
        } else if text.len() > limits::NAME_BYTES {
            "has 100 bytes at most"
        } else if text.chars().any(is_unseen) {
            "is one line, of what can be seen"
        } else if text.trim() != text {
            "has no blank at its beginning or end"
        } else if text.contains('/') {
            "has no / in it"
        } else if text.starts_with('-') {
            "does not begin with -"
        } else if Uuid::try_parse(text).is_ok() {
            "is no uuid"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(MalformedName(refused))
    }
}

/// Whether this steers a terminal, or cannot be seen at all: what turns the direction of a line, or ends it.
fn is_unseen(c: char) -> bool {
    let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    c.is_control() || turns
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_that_is_no_id_and_no_flag() {
        let longest = "n".repeat(limits::NAME_BYTES);
        for good in [
            "phone",
            "Ada's phone",
            "é",
            "67e55044",
            "a-b",
            ".",
            &longest,
        ] {
            assert_eq!(UserName::from_str(good).unwrap().as_str(), good);
        }
        let too_long = "n".repeat(limits::NAME_BYTES + 1);
        for (bad, why) in [
            ("", "empty"),
            (too_long.as_str(), "100 bytes"),
            ("two\nlines", "one line"),
            ("bell\u{7}", "one line"),
            ("\u{202e}enohp", "one line"),
            (" phone", "blank"),
            ("phone ", "blank"),
            ("a/b", "/"),
            ("-phone", "begin"),
            ("-", "begin"),
            ("67e55044-10b1-426f-9247-bb680e5fe0c8", "uuid"),
            ("67E55044-10B1-426F-9247-BB680E5FE0C8", "uuid"),
            ("67e5504410b1426f9247bb680e5fe0c8", "uuid"),
        ] {
            let told = UserName::from_str(bad).unwrap_err().to_string();
            assert!(told.contains(why), "{bad:?}: {told}");
        }
        assert_eq!(limits::NAME_BYTES, 100, "the words say so");
    }
}
