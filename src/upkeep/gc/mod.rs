//! Garbage collection (DESIGN, Garbage): mark without the lock, sweep in small batches under it.
//!
//! Every step of the order is load-bearing; `model/` shows what each one prevents. Costs in
//! proportion to what is in `incoming/`, in time and in memory, never to the chain.

mod checkpoint;
mod claims;
mod clock;
mod collect;
mod event;
mod mark;
mod run;
mod sweep;
mod timer;

pub use clock::{Clock, clock, last_run};
pub use collect::{Collected, collect};
pub use event::{CollectOptions, Ended, Event, Garbage, Why};
pub use run::run;
pub use timer::every;
