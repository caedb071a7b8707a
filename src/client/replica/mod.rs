//! A replica: a whole copy of one user's store on a device, for use offline (CLIENT, sections 3 and 5).
//!
//! It is a data directory of one user in the format that a server has. HEAD is what the server confirmed; `incoming/` holds
//! what it has not confirmed yet, and `local` names the tip of that: it is renamed over, which is the commit point of
//! `say` and `rebase`. All crash safety is the store's.
//!
//! - `tip`: where the chain and what is pending end;
//! - `say`: something is put and committed, offline; `entries`: it is read again;
//! - `puts`: what was put and is not named yet, and what killed commands left of that;
//! - `verify` and `pull`: the server's bundle goes into the store by way of a reader that lets nothing pass unverified, and HEAD
//!   last; `by_chunk` is for what is too large to come in one piece;
//! - `rebase`: what is pending is said again after what others said; `push`: it is sent, and `small` is what is held of it meanwhile;
//! - `checkpoint`: a saved state at the server; `taken`: the one that is kept here;
//! - `sync`: all of it in order; `parted`: a server whose history is not ours, and the ways out of that; `import` is one;
//!   `farewell`: the store went to another user.

mod both;
mod by_chunk;
mod checkpoint;
mod course;
mod entries;
mod farewell;
mod heard;
mod import;
mod known;
mod named;
mod open;
mod parcel;
mod parted;
mod poll;
mod pull;
mod push;
mod puts;
mod rebase;
#[allow(clippy::module_inception)]
mod replica;
mod say;
mod slip;
mod small;
mod sync;
mod taken;
mod tar;
mod tip;
mod unnamed;
mod verify;
mod wait;

pub use checkpoint::SavedState;
pub use entries::Entries;
pub use farewell::{has_entries, say_farewell};
pub use import::Imported;
pub use open::{HOME, store_in};
pub use replica::Replica;
pub use slip::Slip;
pub use sync::Synced;
pub use tip::Status;
pub use wait::Woken;
