//! How a device reaches a server: the messages of the wire that it needs, synchronous.

mod contract;
mod local;

pub use contract::{AnswerBody, Parcel, PushAnswer, Remote, WithChunks};
pub use local::LocalRemote;
