//! What an operator does in the years after installing: checking and mending a store, copying it.
//! Findings and outcomes are values; printing them is the command line's.

pub mod fsck;
pub mod snapshot;
