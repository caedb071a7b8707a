//! The data directory: what is in it, who may change it, and in which order it is written.
//!
//! A [`Store`] is an open data directory. [`Store::user`] gives a [`User`], who can be read without a lock.
//! [`User::shared`] and [`User::exclusive`] give the guards of the user's lock, [`Shared`] and [`Exclusive`]: whatever
//! needs a lock is a method of its guard, and cannot be called without it. Uploads are published under the shared one;
//! HEAD moves, and anything published goes, under the exclusive one.
//!
//! All but the taking of locks and [`GroupCommit::put`] is synchronous and may wait for the disk; an async caller gives
//! it a thread.
//!
//! A PUT of a small chunk, from top to bottom, with two threads at most for all that come at a time:
//!
//! - `group_commit: GroupCommit::put`, which waits to be told;
//! - `group_commit: Shift::write`, `group: Upload::write`, `staged: User::stage` and `Staged::write`: the bytes;
//! - `group_commit: Shift::step`, `group: Group::sync`: their sync;
//! - `group: Group::name`, `lock: User::shared_now`, `chunks: Locked::name_chunk`, `publish: Locked::publish`: the name;
//! - `group: Group::sync` of the next step, `Named::told`: its sync, and the answer.
//!
//! A PUT of HEAD:
//!
//! - `acquire: User::exclusive`, `extend: Exclusive::wants_log`, `advance: Exclusive::advance`;
//! - `head: Exclusive::head_under_lock`, `pending: Locked::look_at_pending`: where things stand;
//! - `line: Exclusive::line_to` and `Exclusive::check_chunks`: what HEAD is to reach;
//! - `link: Exclusive::link_line`: its committed names, which `move_head: Exclusive::or_take_back` takes back on failure;
//! - `move_head: Exclusive::move_head`: `log`, the syncs, and HEAD;
//! - `advance: Leftovers::clear`, once the answer is on its way.
//!
//! A PUT of the checkpoint: `put_checkpoint: Exclusive::put_checkpoint`; how it is told: `checkpoint: User::checkpoint`.
//!
//! What follows is the document of the files, `FORMAT.md` beside this one.
#![doc = include_str!("FORMAT.md")]

mod acquire;
mod admin;
mod adopt;
mod advance;
mod append;
mod aside;
mod bundle;
mod chain;
mod checkpoint;
pub(crate) mod checkpoint_file;
mod checkpoint_upkeep;
mod child;
mod chunks;
mod denied;
mod dirs;
mod draft;
mod error;
mod extend;
mod fair_queue;
mod files;
mod format;
mod frozen;
mod glance;
mod ground;
mod group;
mod group_commit;
mod head;
mod incoming;
mod incoming_files;
mod items;
pub(crate) mod json;
mod kind;
pub(crate) mod layout;
mod left;
mod line;
mod link;
mod local;
mod locate;
mod lock;
pub(crate) mod log;
mod log_file;
mod lookup;
mod lost;
mod meet;
mod mend;
mod met;
mod missing;
mod mistake;
mod move_head;
mod named;
mod naming;
mod open;
mod options;
mod outcome;
mod pending;
mod position;
mod probe;
mod proposal;
mod publish;
mod put_checkpoint;
mod rebuild;
mod remove;
mod replace;
mod room;
mod say;
mod serving;
mod staged;
mod stamp;
mod state;
#[allow(clippy::module_inception)]
mod store;
mod sweep;
mod tally;
mod to_sync;
mod transaction_files;
mod transactions;
mod unneeded;
mod usage;
mod user;
mod visit;
mod vouch;
mod waiting;
mod walk;
mod walking;
mod watched;

pub use admin::RenameUser;
pub use advance::Leftovers;
pub use append::{Addition, Append};
pub use bundle::{AskedReader, BundleReader, Counts, Plan, PullBundle, PushBundle};
#[cfg(feature = "client")]
pub(crate) use bundle::{END, Members, Trouble, header, padding};
pub use chain::Listing;
pub use child::Child;
pub use draft::Draft;
pub use error::{Error, Limit, Result};
pub(crate) use format::{Bytes, write_at_top};
pub use frozen::{FreezeUser, Frozen, FrozenFile, MoveName, ThawUser};
pub use glance::Weighed;
pub use ground::Footing;
#[cfg(feature = "mistakes")]
pub use group::{Durable, Group, Taken, Upload, Written};
pub use group_commit::GroupCommit;
pub use head::SeenHead;
pub use items::{CheckpointChunkFile, IncomingFile, Item, Needs, PendingFile, Swept};
pub use kind::StoreKind;
pub use local::FoundTransaction;
pub use lock::{Exclusive, Locked, Shared};
pub use meet::Glance;
pub use mistake::Mistake;
pub(crate) use naming::write_name;
pub use naming::{NameFile, Naming};
pub use options::Options;
pub use outcome::{Advance, AdvanceRefusal, Content, PutCheckpoint, PutChunk, PutTransaction};
pub use proposal::Proposal;
pub use staged::{Sealed, Staged};
pub use state::SweepStamp;
pub use store::{Store, UserNames};
pub use transactions::{PutLock, PutMode};
pub use unneeded::{NeededItems, UnneededItems};
pub use usage::Usage;
pub use user::User;
pub(crate) use walk::Position;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Grouping, Real};
    use crate::model::{ChunkId, Head, TransactionId, UserId};
    use std::sync::Arc;

    #[test]
    fn what_is_uploaded_becomes_visible_when_head_reaches_it() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(Real::new(directory.path(), Grouping::Auto).unwrap());
        let store = Store::open(disk, Options::default()).unwrap();
        store.probe().unwrap();
        let user = store.user(UserId::from_bytes([9; 16]));
        assert_eq!(user.head().unwrap(), Head::ROOT);
        assert!(store.users().unwrap().is_empty());

        let mut staged = user.stage().unwrap();
        staged.write(b"hello").unwrap();
        let sealed = staged.seal().unwrap();
        let chunk = ChunkId::Digest(sealed.digest());
        let lock = user.shared_blocking().unwrap().unwrap();
        let outcome = lock.put_chunk(sealed, &chunk).unwrap();
        assert_eq!(outcome, PutChunk::Stored);
        assert_eq!(user.chunk(&chunk).unwrap().unwrap().bytes, 5);

        let mut parent = TransactionId::ROOT;
        for n in 1..=3 {
            let id = TransactionId::from_bytes([n; 16]);
            let proposal = Proposal {
                id,
                parent,
                chunks: vec![chunk, chunk],
                seq: None,
            };
            let draft = user.draft(proposal).unwrap();
            let lock = user.shared_blocking().unwrap().unwrap();
            let outcome = lock.put_transaction(draft).unwrap();
            assert_eq!(outcome, PutTransaction::Accepted);
            assert!(user.transaction(id).unwrap().is_none());
            if n != 2 {
                let lock = user.exclusive_blocking().unwrap().unwrap();
                let (outcome, leftovers) = lock.advance(id).unwrap();
                leftovers.clear();
                let seq = u64::from(n);
                assert_eq!(outcome, Advance::Advanced(Head { id, seq }));
                assert_eq!(user.head().unwrap(), Head { id, seq });
                assert!(user.transaction(id).unwrap().is_some());
            }
            parent = id;
        }
        let mut listing = user.listing(TransactionId::ROOT, 2).unwrap().unwrap();
        let listed = listing.read(10).unwrap();
        let expected = [1, 2].map(|n| TransactionId::from_bytes([n; 16]));
        assert_eq!(listed, expected);
        assert_eq!(user.usage().unwrap().pending, 0);

        let lock = user.exclusive_blocking().unwrap().unwrap();
        lock.delete().unwrap();
        assert_eq!(user.head().unwrap(), Head::ROOT);
        assert!(store.users().unwrap().is_empty());
    }
}
