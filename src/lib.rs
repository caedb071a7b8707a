//! The parts of `mentat-sync`, from the ground floor up.

pub mod cli;
pub mod disk;
pub mod http;
pub mod model;
pub mod rules;
pub mod store;
pub mod upkeep;
pub mod wire;
