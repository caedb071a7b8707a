//! The parts of `mentat-sync`, from the ground floor up.

pub mod disk;
pub mod model;
pub mod rules;
pub mod store;
pub mod upkeep;
