//! The simulated disk: a box in memory whose processes see a file system by [`Disk`], take turns on it step by step,
//! and lose at a power cut whatever was not synced.
//!
//! It stands apart from the tests that use it so that it is optimised in every build of them: they spend much of
//! their time here.
//!
//! [`Disk`]: mentat_sync::disk::Disk

mod disk;
mod durable;
mod looks;
mod machine;
mod schedule;
mod survive;
mod world;

pub use machine::{Doing, Fault, Killed, Sim, SimDisk, Step};
pub use schedule::{Bounds, Chooser, Program, run};
pub use survive::Random;
pub use world::{Lie, Reading, World};
