//! The request: who asks, its body, its conditions, and how much of everything its client may have.

pub mod bearer;
pub mod body;
pub mod choice;
pub mod clients;
pub mod conditions;
pub mod door;
pub mod limiters;
pub mod origins;
