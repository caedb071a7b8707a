//! The work of an operator in the years after installing: checking and mending a store, collecting its
//! garbage, copying it. Findings and outcomes are values; no HTTP, and no paths but those that the layout
//! builds.

pub mod backup;
pub mod census;
pub mod fsck;
pub mod gc;
pub mod health;
pub mod send;
pub mod snapshot;
