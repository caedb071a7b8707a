//! What is done to a store on the simulated disk, and what must hold of it whatever happens.

mod acts;
mod additions;
mod answers;
mod bundles;
pub mod cast;
pub mod checkpoints;
mod explore;
pub mod moves;
mod outside;
mod upkeep;
mod verdict;

pub use acts::{Act, Client, World as Disks};
pub use answers::{Answers, Book, Fact};
pub use cast::folder;
pub use explore::{Broken, Effort, Scenario, explore};
pub use upkeep::{findings, read, repair, write};
pub use verdict::{Files, judge, judge_files};
