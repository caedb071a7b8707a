//! The endpoints, one file each: parse, call the store, return an answer or an error. The doc of each names every
//! status.

pub mod about;
pub mod asked;
pub mod bundles;
pub mod checkpoints;
pub mod chunks;
pub mod events;
pub mod heads;
pub mod missing;
pub mod module;
pub mod page;
pub mod snapshots;
pub mod stores;
mod tars;
pub mod taskchampion;
pub mod transactions;
mod upload;
mod urgency;
