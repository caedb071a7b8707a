//! How a device reaches a server: the messages of the wire that it needs, synchronous.

mod contract;
mod http;
mod local;

pub use contract::{AnswerBody, Parcel, PushAnswer, Remote, WithChunks};
pub use http::{
    HttpOptions, HttpRemote, Lookup, Pauses, Proxies, ServerName, SystemPauses, Tries, Unreached,
};
pub use local::LocalRemote;
