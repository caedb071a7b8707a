//! How much a user has, as `GET /0.1/{user}/` tells it.

use serde::{Deserialize, Serialize};

/// How much a user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedMessage {
    pub bytes: u64,
    pub files: u64,
    /// Transactions that are pending.
    pub pending: u64,
}
