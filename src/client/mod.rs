//! The other side of the wire: what a device makes of a store. CLIENT.md is the design; this is built of it so far: the keys,
//! the envelope, and who we are to whom.

mod app;
mod entry;
mod envelope;
mod error;
mod file_body;
mod identity;
mod invite;
mod keyring;
mod keys;
mod remote_file;
mod remote;
mod replica;
mod url;

pub use app::{App, Entry, Rebase};
pub use entry::{Nonce, Said};
pub use envelope::{
    Context, MAGIC, OpenError, TooLong, key_id, open, padded, seal, transaction_id,
};
pub use error::{BoxError, Divergence, Error, Forgery, Parting, Result};
pub use identity::{Identity, Masters};
pub use invite::InviteError;
pub use keyring::Keyring;
pub use keys::{KeyId, Keys, Master};
pub use remote_file::RemoteFileError;
pub use remote::{AnswerBody, LocalRemote, Parcel, PushAnswer, Remote, WithChunks};
pub use replica::{Entries, HOME, Imported, Replica, SavedState, Slip, Status, Synced, Woken};
pub use url::{BadUrl, Url};
