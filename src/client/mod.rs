//! The other side of the wire: what a device makes of a store. CLIENT.md is the design.
//!
//! A [`Replica`] is a whole copy of one user's store, for use offline. An application commits entries to it and implements
//! [`App`], by which it sees those of all devices in one order; [`Replica::sync`] does the rest. A [`Remote`] is the server.

mod app;
pub(crate) mod beside;
mod connect;
mod entry;
mod envelope;
mod error;
mod file_body;
mod identity;
mod invite;
mod journal;
mod keyring;
mod keys;
mod old_keys;
mod order;
mod progress;
mod remote;
mod remote_file;
mod replica;
mod url;

pub use app::{App, Entry, Rebase};
pub use entry::{Nonce, Said};
pub use envelope::{Context, MAGIC, OpenError, TooLong, key_id, open, padded, seal};
pub use error::{BoxError, Divergence, Error, Forgery, Parting, Result};
pub use identity::{Identity, Masters};
pub use invite::InviteError;
pub use journal::{JournalBody, JournalEntry, JournalFile};
pub use keyring::Keyring;
pub use keys::{KeyId, Keys, Master};
pub use progress::Progress;
pub use remote::{
    AnswerBody, HttpOptions, HttpRemote, LocalRemote, Lookup, Parcel, Pauses, Proxies, PushAnswer,
    Remote, ServerName, SystemPauses, Tries, Unreached, WithChunks,
};
pub use remote_file::RemoteFileError;
pub use replica::{
    Entries, HOME, Imported, Replica, SavedState, Slip, Status, Synced, Woken, has_entries,
    say_farewell, store_in,
};
pub use url::{BadUrl, Url};
