//! What the server has promised a client, and what must therefore be there after a power cut.

use std::collections::BTreeMap;
use std::fmt;

/// An answer that a client has got, or a request after which less can be expected.
#[derive(Clone, Debug)]
pub enum Mark {
    /// 201, or "not missing": the chunk is there.
    Chunk {
        user: String,
        id: String,
        bytes: Vec<u8>,
    },
    /// 201: the transaction is there.
    Transaction {
        user: String,
        id: String,
        parent: String,
        chunks: Vec<String>,
    },
    /// This transaction is HEAD: so said the answer to an advance, to a GET, or a 409.
    Head { user: String, id: String },
    /// The checkpoint is of this transaction, or there was a later one: so said the answer to a PUT or a GET, or a 409.
    Checkpoint { user: String, transaction: String },
    /// The client is about to ask for the user's removal.
    Deleting { user: String },
    /// 204: the user is gone.
    Deleted { user: String },
}

/// What was promised about one user.
#[derive(Default)]
pub struct Promised {
    pub chunks: BTreeMap<String, Vec<u8>>,
    /// Parent and chunks, by id.
    pub transactions: BTreeMap<String, (String, Vec<String>)>,
    pub heads: Vec<String>,
    /// The transactions of checkpoints.
    pub checkpoints: Vec<String>,
    pub deletion: Deletion,
}

/// How far the removal of a user has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deletion {
    #[default]
    No,
    /// All may be there, or nothing.
    Asked,
    Done,
}

/// All that was promised.
#[derive(Default)]
pub struct Promises {
    pub users: BTreeMap<String, Promised>,
    /// How many answers that is.
    pub answers: usize,
}

impl Promises {
    /// Another one.
    pub fn add(&mut self, mark: &Mark) {
        let user = match mark {
            Mark::Chunk { user, .. }
            | Mark::Transaction { user, .. }
            | Mark::Head { user, .. }
            | Mark::Checkpoint { user, .. }
            | Mark::Deleting { user }
            | Mark::Deleted { user } => user,
        };
        let promised = self.users.entry(user.clone()).or_default();
        self.answers += 1;
        match mark {
            Mark::Chunk { id, bytes, .. } => {
                promised.chunks.insert(id.clone(), bytes.clone());
            }
            Mark::Transaction {
                id, parent, chunks, ..
            } => {
                let content = (parent.clone(), chunks.clone());
                promised.transactions.insert(id.clone(), content);
            }
            Mark::Head { id, .. } => promised.heads.push(id.clone()),
            Mark::Checkpoint { transaction, .. } => promised.checkpoints.push(transaction.clone()),
            Mark::Deleting { .. } => {
                promised.deletion = Deletion::Asked;
                self.answers -= 1;
            }
            Mark::Deleted { .. } => promised.deletion = Deletion::Done,
        }
    }
}

/// One line for each, for a person who looks into a disk in violation.
impl fmt::Display for Promises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (user, promised) in &self.users {
            writeln!(f, "user {user}, removal: {:?}", promised.deletion)?;
            for (id, bytes) in &promised.chunks {
                writeln!(f, "  chunk {id} of {} bytes", bytes.len())?;
            }
            for (id, (parent, chunks)) in &promised.transactions {
                writeln!(f, "  transaction {id} upon {parent} with {chunks:?}")?;
            }
            for id in &promised.heads {
                writeln!(f, "  HEAD was {id}")?;
            }
            for id in &promised.checkpoints {
                writeln!(f, "  the checkpoint was of {id}")?;
            }
        }
        Ok(())
    }
}
