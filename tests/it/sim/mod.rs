//! The simulated disk, processes that take turns on it, and what must hold of a store on it.

mod disk;
mod durable;
mod looks;
mod machine;
mod schedule;
mod survive;
mod tests;
mod world;

pub use machine::{Doing, Fault, Killed, Sim, SimDisk, Step};
pub use schedule::{Bounds, Chooser, Program, run};
pub use survive::Random;
pub use world::{Lie, Reading, World};
