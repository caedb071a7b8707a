//! Counting what the server does, and telling it at an address of its own.
//!
//! Requests only add to [`counters`], without a lock. Whoever scrapes has the rest looked at ([`exposition`]): nothing
//! there is counted file by file. [`scrapes`] answers at the address.

pub mod counters;
pub mod exposition;
pub mod scrapes;
