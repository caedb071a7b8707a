//! The words of TaskChampion's sync protocol: header names and media types, as its client has them.

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
