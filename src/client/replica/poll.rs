//! A question to the server that is under way.

use std::sync::mpsc::Receiver;

use crate::client::error::Result;
use crate::model::{Head, TransactionId};

/// A question for another HEAD than this that is under way, on a thread of its own.
pub(super) struct Poll {
    pub seen: TransactionId,
    pub answer: Receiver<Result<Head>>,
}
