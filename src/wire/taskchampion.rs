//! The words of TaskChampion's sync protocol: header names, media types and ids, as its clients have them.

use std::str::FromStr;

/// The header that names the user.
pub const CLIENT_ID: &str = "x-client-id";

/// The header that names the version of an answer.
pub const VERSION_ID: &str = "x-version-id";

/// The header that names the version before that; of a 409, the one that a version must follow.
pub const PARENT_VERSION_ID: &str = "x-parent-version-id";

/// The header that asks for a snapshot.
pub const SNAPSHOT_REQUEST: &str = "x-snapshot-request";

/// The media type of a snapshot.
pub const SNAPSHOT: &str = "application/vnd.taskchampion.snapshot";

/// The media type of a version.
pub const HISTORY_SEGMENT: &str = "application/vnd.taskchampion.history-segment";

/// The id that a client of TaskChampion's means: in either case, since there are clients whose language prints a uuid in
/// upper case, and a uuid that comes in is the same in both (RFC 9562, 4).
///
/// # Errors
/// What the parser says of text that is no id with hyphens.
pub fn id<T: FromStr>(text: &str) -> Result<T, T::Err> {
    text.to_ascii_lowercase().parse()
}
