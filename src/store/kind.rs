//! The kinds of stores: whose a data directory is, as the file `FORMAT` says.

use super::{Error, Result};

/// The first word of every `FORMAT` that there ever was.
const NAME: &str = "mentat-sync ";

/// The kind of a store, by whose data directory it is. The files are the same, and two promises differ: what is pending at a server may go when
/// the grace period is over, what is pending at a device never; and only a server's takes pushes from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// A server's: of many users, for many devices.
    #[default]
    Server,
    /// A device's: a whole copy of one user's store, and what the server has not confirmed yet.
    Replica,
}

impl StoreKind {
    /// Each of them once.
    const ALL: [Self; 2] = [Self::Server, Self::Replica];

    /// The contents of the file `FORMAT`.
    pub(crate) const fn format(self) -> &'static str {
        match self {
            Self::Server => "mentat-sync 1\n",
            Self::Replica => "mentat-sync 1 replica\n",
        }
    }

    /// The kind that a file `FORMAT` with these contents says.
    ///
    /// # Errors
    /// Words for its fault.
    pub(crate) fn said(found: &[u8]) -> std::result::Result<Self, String> {
        let kinds = Self::ALL.into_iter();
        if let Some(kind) = kinds.clone().find(|kind| found == kind.format().as_bytes()) {
            return Ok(kind);
        }
        let said = String::from_utf8_lossy(found);
        let bare = said.trim_end().trim_start_matches('\u{feff}');
        for format in kinds.map(Self::format) {
            let ours = format.trim_end();
            if bare == ours {
                return Err(format!(
                    "FORMAT says {said:?} where it should say {format:?}, with one newline and nothing else \
                     after it: an editor may have written it; `echo {ours} > FORMAT` mends it"
                ));
            }
        }
        let [server, replica] = Self::ALL.map(Self::format);
        Err(format!(
            "FORMAT says {said:?}, and this program reads {server:?} and {replica:?} only: use the version of \
             mentat-sync that wrote it, or name another directory with --data"
        ))
    }

    /// Refuses a store of another kind than this one.
    ///
    /// # Errors
    /// [`Error::NotAStore`], with words for whoever named the directory.
    pub(crate) fn expect(self, found: Self) -> Result<()> {
        if self == found {
            return Ok(());
        }
        let what = match found {
            Self::Replica => {
                "this is the store of a device (a replica, as FORMAT says), of which a server's commands change nothing: \
                 it is not served, collected, backed up or given users; `mentat-sync fsck`, `log` and `snapshot` read it"
            }
            Self::Server => "this is the store of a server, and not of a device, as FORMAT says",
        };
        Err(Error::NotAStore(what.to_owned()))
    }

    /// Whether these contents of a `FORMAT` are a version or a kind that this program does not know, and another one may.
    pub(crate) fn is_of_another_version(found: &[u8]) -> bool {
        let words = |text: &str| {
            let (number, kind) = text.split_once(' ').unwrap_or((text, "replica"));
            number.parse::<u32>().is_ok()
                && !kind.is_empty()
                && kind.bytes().all(|byte| byte.is_ascii_lowercase())
        };
        let text = std::str::from_utf8(found).ok();
        let rest = text.and_then(|text| text.strip_prefix(NAME)?.strip_suffix('\n'));
        rest.is_some_and(words) && Self::said(found).is_err()
    }

    /// Whether these are the contents of a `FORMAT` of whatever version.
    pub(super) fn is_ours(found: &[u8]) -> bool {
        found.starts_with(NAME.trim_end().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_says_its_kind_only_byte_for_byte() {
        for kind in StoreKind::ALL {
            assert_eq!(StoreKind::said(kind.format().as_bytes()), Ok(kind));
        }
        for (found, words) in [
            ("mentat-sync 1", "echo mentat-sync 1 > FORMAT"),
            ("\u{feff}mentat-sync 1\n", "echo mentat-sync 1 > FORMAT"),
            (
                "mentat-sync 1 replica\r\n",
                "echo mentat-sync 1 replica > FORMAT",
            ),
            (
                "mentat-sync 1 replica\n\n",
                "echo mentat-sync 1 replica > FORMAT",
            ),
            ("mentat-sync 1  replica\n", "use the version"),
            ("mentat-sync 1 Replica\n", "use the version"),
            ("mentat-sync 2\n", "use the version"),
            ("", "use the version"),
        ] {
            let trouble = StoreKind::said(found.as_bytes()).unwrap_err();
            assert!(trouble.contains(words), "{found:?}: {trouble}");
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        for (found, is) in [
            ("mentat-sync 2\n", true),
            ("mentat-sync 2 replica\n", true),
            ("mentat-sync 1 shard\n", true),
            ("mentat-sync 1\n", false),
            ("mentat-sync 1 replica\n", false),
            ("mentat-sync 1 \n", false),
            ("mentat-sync 2", false),
            ("mentat-sync two\n", false),
            ("something else\n", false),
        ] {
            assert_eq!(
                StoreKind::is_of_another_version(found.as_bytes()),
                is,
                "{found:?}"
            );
        }
    }
}
