//! What a request says, and how much whoever sends it may have.

pub mod body;
pub mod conditions;
pub mod door;
pub mod rooms;
