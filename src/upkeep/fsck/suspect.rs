//! A file that may be left over from an advance, or may belong to one that is under way.

use crate::store::layout::Thing;

/// A file, or the end of one, that may be left over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspect {
    /// In the committed area, and the chain does not name it.
    OffChain(Thing),
    /// In `incoming/`, and committed.
    Leftover(Thing),
    /// `log` goes on after HEAD.
    LogTail,
}
