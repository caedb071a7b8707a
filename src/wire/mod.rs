//! The words that both sides of the wire share: the routes, the messages, the codes of refusals.
//!
//! No rules and no I/O: bytes and text in, values out, and back. The source of all of it is the
//! protocol table of the design.

mod codes;
mod messages;
mod query;
mod routes;
pub mod taskchampion;
mod text;
mod used;

pub use codes::Code;
pub use messages::{
    API, BundleMessage, CheckpointMessage, CheckpointSummary, CountsMessage, HeadMessage,
    LimitsMessage, ListingMessage, Malformed, MissingMessage, ProblemMessage, ProposedCheckpoint,
    ProposedTransaction, StoreMessage, TransactionMessage, VersionMessage, parse_checkpoint,
    parse_chunk_lines, parse_chunks, parse_head, parse_transaction,
};
pub use query::{BadQuery, BundleQuery, ListingQuery, NewestQuery, parse_wait};
pub use routes::{Miss, PageFile, Route, is_of_a_client, is_user_elsewhere};
pub use used::UsedMessage;

/// The media type of every refusal (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The media type of every other answer in JSON.
pub const JSON: &str = "application/json";

/// The path at which a server says whether it can write its data directory.
pub const HEARTBEAT: &str = "/__heartbeat__";

/// The header by which a server's heartbeat tells whoever has the data directory that it serves that one.
pub const STORE_MARK: &str = "mentat-sync-store";

/// The media type of lines.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The media type of a bundle.
pub const TAR: &str = "application/x-tar";

/// The media type of a chunk.
pub const OCTETS: &str = "application/octet-stream";
