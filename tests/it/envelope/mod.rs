//! The envelope and what stands around it: held to the vectors that others use, to a second writing of the format, and
//! to changes of every single byte.

mod by_hand;
mod flips;
mod invites;
mod properties;
mod remote_file;
mod vectors;
mod wiped;

use mentat_sync::client::{Context, Keys, Master};
use mentat_sync::model::{ChunkDigest, TransactionId};
use sha2::{Digest, Sha256};

/// The master of the vectors: 00 01 … 1f.
pub fn master() -> [u8; 32] {
    std::array::from_fn(|at| at as u8)
}

fn keys() -> Keys {
    Keys::derive(&Master::from_bytes(&master()))
}

fn digest(bytes: &[u8]) -> ChunkDigest {
    ChunkDigest::from_bytes(Sha256::digest(bytes).into())
}

/// A place of each kind, with this many other chunks.
fn contexts(others: &[ChunkDigest]) -> [Context<'_>; 3] {
    let place = TransactionId::from_bytes([0x6c; 16]);
    [
        Context::Data,
        Context::Entry {
            parent: place,
            seq: 7,
            others,
        },
        Context::Checkpoint {
            transaction: place,
            seq: 7,
            others,
        },
    ]
}
